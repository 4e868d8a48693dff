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
            was, now = portable(scores.recipes.get(condition, [""])[0]), name_of(recipe)
            if was != now and was.rpartition("-")[0] != now:
                stale[path.name] = f"{condition} was another recipe ({now} today)"
            elif scores.sources[condition] != source_hash(recipe):
                stale[path.name] = f"{condition} was trained by other sources"
    return stale


def name_of(recipe: Recipe) -> str:
    """The recipe's name; without the digits where the clips that they tell of are not on this machine."""
    try:
        return recipe.name
    except FileNotFoundError:
        return recipe.stem


def compare_with_pretrained() -> tuple[list[str], bool]:
    """How today's runs agree with the committed ones of the same recipe, one line each; False where they do not.

    Of the same clips, kind of CPU and versions the same bits are expected. Where there are others, the line says which
    of these differ, as far as they tell, and the numbers decide: the first ten losses must agree within 1e-3, and test
    accuracy within 3 points on average over these runs, or within three standard errors of their gaps where those are
    wider: other rounding leads a demo-size training to another minimum, and has moved a single one by 12 points. A
    student whose teacher has other weights learns from other targets; its accuracy is told, not judged.
    """
    lines, gaps, good = [], [], True
    for committed in committed_runs():
        folder = paths.runs_dir() / committed.folder.name
        if not (folder / "run.json").is_file():
            continue
        run = Run(folder)
        own, their = run.provenance, committed.provenance
        if own["weights"] == their["weights"]:
            lines.append(f"{folder.name}: the same bits")
            continue
        try:
            gap = run.predictions().accuracy - committed.predictions().accuracy
        except NoPredictions:
            gap = np.nan
        message = "" if np.isnan(gap) else f"accuracy {gap:+.1f} points"
        if own["needed"] != their["needed"]:
            lines.append(f"{folder.name}: its teacher has other weights; {message or 'not judged'}")
            continue
        losses = np.abs(np.subtract(own["first_losses"], their["first_losses"])).max()
        near = losses <= 1e-3
        gaps += [gap] if message else []
        lines.append(f"{folder.name}: OTHER bits, {_others(own, their)}; first losses within {losses:.1g}"
                     f"{'' if near else ': TOO FAR'}{message and ', '}{message}")
        good &= bool(near)
    if gaps:
        # More than 3 points, and more than runs scatter: one of a few demo runs alone can move by twelve.
        error = np.std(gaps, ddof=1) / len(gaps) ** 0.5 if len(gaps) > 1 else 0.0
        far = abs(np.mean(gaps)) > max(3, 3 * error)
        lines.append(f"mean of {len(gaps)} runs: {np.mean(gaps):+.1f} points{': TOO FAR' if far else ''}")
        good &= not far
    return lines, good


def _others(own: Mapping, their: Mapping) -> str:
    """What two trainings of one recipe differ in, as far as their notes tell."""
    words = {"sources": "by other sources", "clips": "of clips with other pixels", "cpu": "on another kind of CPU",
             "device": "on another device", "versions": "by other versions"}
    found = [words[key] for key in words if key in their and own.get(key) != their[key]]
    return ", ".join(found) or "though clips, kind of CPU and versions are the same"
