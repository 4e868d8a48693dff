"""Is what is committed of today's sources, and do today's runs agree with the committed ones of the same recipes?"""

from collections.abc import Mapping, Sequence

import numpy as np

from kdlab import paths
from kdlab.study.scores import Scores
from kdlab.system.sources import source_hash
from kdlab.train.recipe import Recipe, portable
from kdlab.train.runs import NoPredictions, Run, committed_runs


def stale_predictions(committed: Mapping[str, Mapping[str, Sequence[Recipe]]]) -> dict[str, str]:
    """Committed predictions that today's sources would not give: file → reason. Whether real clips are still those
    that were trained on is seen only where they are.

    ``committed``: name of the predictions file → condition → today's recipes, of which the first seed's is compared.
    """
    stale = {}
    for name, columns in committed.items():
        path = paths.figures_dir() / "predictions" / f"{name}.npz"
        if not path.is_file():
            stale[path.name] = "missing"
            continue
        scores = Scores.load(path)
        for condition, (recipe, *_) in columns.items():
            was, now = portable(scores.recipes.get(condition, [""])[0]), _name(recipe)
            if was != now and was.rpartition("-")[0] != now:
                stale[path.name] = f"{condition} was another recipe ({now} today)"
            elif scores.sources[condition] != source_hash(recipe):
                stale[path.name] = f"{condition} was trained by other sources"
    return stale


def _name(recipe: Recipe) -> str:
    """The recipe's name; without the digits where the clips that they tell of are not on this machine."""
    try:
        return recipe.name
    except FileNotFoundError:
        return recipe.stem


def compare_with_pretrained() -> tuple[list[str], bool]:
    """How today's runs agree with the committed ones of the same recipe, one line each; False where they do not.

    Same kind of CPU and versions: every bit must be equal. Elsewhere the first ten losses must agree within 1e-3, and
    test accuracy within 3 points on average over these runs, or within three standard errors of their gaps where those
    are wider: other rounding leads a demo-size training to another minimum, and has moved a single one by 12 points. A
    student whose teacher has other weights learns from other targets; its accuracy is told, not judged.
    """
    lines, gaps, good = [], [], True
    for committed in committed_runs():
        folder = paths.runs_dir() / committed.folder.name
        if not (folder / "run.json").is_file():
            continue
        run = Run(folder)
        own, their = run.provenance, committed.provenance
        try:
            gap = run.predictions().accuracy - committed.predictions().accuracy
        except NoPredictions:
            gap = np.nan
        message = "" if np.isnan(gap) else f"accuracy {gap:+.1f} points"
        if all(own[k] == their[k] for k in ("cpu", "device", "versions")):
            agrees = own["weights"] == their["weights"]
            lines.append(f"{folder.name}: {'the same bits' if agrees else 'OTHER bits, on the same kind of CPU'}")
        elif own["needed"] != their["needed"]:
            agrees = True
            lines.append(f"{folder.name}: its teacher was trained on another kind of CPU; {message or 'not judged'}")
        else:
            losses = np.abs(np.subtract(own["first_losses"], their["first_losses"])).max()
            agrees = losses <= 1e-3
            gaps += [gap] if message else []
            lines.append(f"{folder.name}: another CPU or other versions; first losses within {losses:.1g}"
                         f"{'' if agrees else ': TOO FAR'}{message and ', '}{message}")
        good &= bool(agrees)
    if gaps:
        # More than 3 points, and more than runs scatter: one of a few demo runs alone can move by twelve.
        far = abs(np.mean(gaps)) > max(3, 3 * np.std(gaps) / np.sqrt(len(gaps)))
        lines.append(f"mean of {len(gaps)} runs: {np.mean(gaps):+.1f} points{': TOO FAR' if far else ''}")
        good &= not far
    return lines, good
