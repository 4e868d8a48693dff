"""Studies: conditions × seeds → predictions → paired differences → verdicts, and the files that keep them.

A study leaves its evidence (:mod:`kdlab.evidence`): ``<study>.csv`` (one tidy row per number) and
``predictions/<study>-<data>.npz`` (what every run said of every test clip); all tables and figures are computed from
these, never typed.
"""

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats
from scipy.special import softmax

from kdlab import exit_profiles, generative_profiles, paths
from kdlab.clips.night import Night
from kdlab.many import obtain_all
from kdlab.measure.accuracy import expected_calibration_error
from kdlab.measure.paired import Effect, effect
from kdlab.measure.transfer import asked, mean_recall, narrowed
from kdlab.profiles import DEMO, TITLES, dual_light
from kdlab.recipe import Recipe, UserClips, portable
from kdlab.runs import Run, committed_runs, find, save_arrays
from kdlab.sources import source_hash

__all__ = ["Scores", "answers", "beside", "collect", "compare_with_committed", "compare_with_pretrained",
           "convergence", "doubled", "flat", "fused", "lies", "load_rows", "pooled", "recall_rows", "rows",
           "stale_studies", "tested", "three_seed_range"]


@dataclass(frozen=True)
class Scores:
    """What every run of a study said of the same test clips.

    ``predicted``: condition → ``(S, N)`` class indices, row s of every condition being seed ``seeds[s]``, or
    ``(S, N, E)`` of networks with E exits;
    ``logits``: condition → ``(N, K)`` of the first seed; ``units (N,)`` are what the bootstrap resamples together.
    """

    classes: tuple[str, ...]
    seeds: tuple[int, ...]
    ids: np.ndarray
    units: np.ndarray
    labels: np.ndarray
    predicted: dict[str, np.ndarray]
    logits: dict[str, np.ndarray]
    recipes: dict[str, list[str]]
    sources: dict[str, str] = dataclasses.field(default_factory=dict)  # condition → hash of what trained it

    def correct(self, condition: str) -> np.ndarray:
        """``(S, N)`` in {0, 1}, or ``(S, N, E)``."""
        said = self.predicted[condition]
        return (said == np.expand_dims(self.labels, tuple(range(1, said.ndim - 1)))).astype(float)

    def accuracy(self, condition: str) -> np.ndarray:
        """Percent, ``(S,)``."""
        return 100 * self.correct(condition).mean(1)

    def effect(self, condition: str, baseline: str) -> Effect:
        """Paired difference in points."""
        return effect(self.correct(condition), self.correct(baseline), self.units)

    def save(self, path: Path) -> None:
        """One compressed npz without pickles: classes as uint8, logits as float16."""
        note = {"classes": self.classes, "seeds": self.seeds, "recipes": self.recipes, "sources": self.sources}
        arrays = {"ids": self.ids, "units": self.units, "labels": self.labels.astype(np.uint8)}
        arrays |= {f"predicted/{k}": v.astype(np.uint8) for k, v in self.predicted.items()}
        arrays |= {f"logits/{k}": v.astype(np.float16) for k, v in self.logits.items()}

        save_arrays(path, {"note": np.array(json.dumps(note))} | arrays)

    @classmethod
    def load(cls, path: Path) -> "Scores":
        """Raises ``FileNotFoundError``, and ``ValueError`` naming a file that cannot be read."""
        try:
            with np.load(path, allow_pickle=False) as file:
                some = {name: file[name] for name in file.files}
            note = json.loads(str(some["note"]))
            under = lambda prefix: {k.removeprefix(prefix): v for k, v in some.items() if k.startswith(prefix)}  # noqa: E731
            return cls(tuple(note["classes"]), tuple(note["seeds"]), some["ids"], some["units"],
                       some["labels"].astype(int), under("predicted/"), under("logits/"), note["recipes"],
                       note["sources"])
        except FileNotFoundError:
            raise
        except Exception as error:  # broken bytes make the reader raise anything, from BadZipFile to struct.error
            raise ValueError(f"{path} is damaged ({type(error).__name__}: {error}): restore the committed file, or run "
                             "its study again") from error


def collect(recipes: dict[str, list[Recipe]], *, unit: str = "clip", pretrained: bool = False, stale: str = "refuse",
            workers: int | None = None, say=print) -> tuple[Scores, dict[str, list[Run]]]:
    """Obtain every run of a study: ``recipes`` is condition → one recipe per seed (the same seeds in each).

    ``unit`` is ``"clip"`` or ``"group"``. Raises ``ValueError`` when conditions differ in seeds or test clips, runs of
    one condition in their sources, or runs on the same data in their clips (with ``stale="use"`` they can).
    """
    seeds = {tuple(r.seed for r in column) for column in recipes.values()}
    if len(seeds) != 1:
        raise ValueError(f"every condition needs the same seeds in the same order, got {sorted(seeds)}")
    every = flat(recipes)
    obtained = obtain_all(every, pretrained=pretrained, stale=stale, workers=workers, say=say)
    found = dict(zip(every, obtained, strict=True))
    runs = {condition: [found[r] for r in column] for condition, column in recipes.items()}
    shared: dict[tuple, Run] = {}
    for condition, recipe in ((c, recipe) for c, column in recipes.items() for recipe in column):
        for what, among in (("sources", condition), ("data", recipe.data)):
            run = found[recipe]
            other = shared.setdefault((what, among), run)
            if run.provenance[what] != other.provenance[what]:
                raise ValueError(f"{other.folder} and {run.folder} disagree: they were made from different {what}. "
                                 "Retrain the older one: delete it, or use stale='retrain'")
    predictions = {c: [run.predictions("test") for run in column] for c, column in runs.items()}
    first = next(iter(predictions.values()))[0]
    for condition, column in predictions.items():
        for run, p in zip(runs[condition], column, strict=True):
            if not np.array_equal(p.ids, first.ids):
                raise ValueError(f"{run.folder} was tested on other clips than the rest of the study; retrain it")
    scores = Scores(
        tuple(next(iter(runs.values()))[0].provenance["classes"]), seeds.pop(), first.ids,
        first.groups if unit == "group" else first.ids, first.labels,
        {c: np.stack([p.logits.argmax(-1) for p in column]) for c, column in predictions.items()},
        {c: column[0].logits for c, column in predictions.items()},
        {c: [run.folder.name for run in column] for c, column in runs.items()},
        {c: column[0].provenance["sources"] for c, column in runs.items()},
    )
    return scores, runs


def answers(scores: Scores, name: str, logits: Sequence[np.ndarray], recipes: Sequence[str]) -> Scores:
    """``scores`` with the condition ``name`` added: for each seed logits ``(N, K)`` and the name of their origin."""
    return dataclasses.replace(
        scores,
        predicted=scores.predicted | {name: np.stack([z.argmax(1) for z in logits])},
        logits=scores.logits | {name: logits[0]},
        recipes=scores.recipes | {name: list(recipes)},
    )


def beside(size) -> str:
    """The name of the size of the runs that a study of ``size`` has beside its own, for ``kdlab reproduce`` and the
    committed weights: demo, and smoke beside smoke."""
    return "smoke" if size.name == "smoke" else "demo"


def flat(*tables: dict[str, list[Recipe]]) -> list[Recipe]:
    """All recipes of some tables of a study."""
    return [recipe for table in tables for column in table.values() for recipe in column]


def fused(scores: Scores, name: str, a: Sequence[Run], b: Sequence[Run]) -> Scores:
    """``scores`` with one more condition: the mean of the *probabilities* of ``a`` and ``b``, seed by seed."""
    both = list(zip(a, b, strict=True))
    logits = [np.log(softmax(x.predictions().logits, 1) + softmax(y.predictions().logits, 1)) for x, y in both]
    return answers(scores, name, logits, [f"{x.folder.name}+{y.folder.name}" for x, y in both])


def tested(runs: dict[str, list[Run]], data: Night | UserClips, *, unit: str = "clip") -> Scores:
    """What finished ``runs`` (condition → one a seed) say of the test clips of other ``data``, among its classes only.

    ``unit`` as in :func:`collect`. Raises ``ValueError`` naming a class that the networks were not trained on.
    """
    catalogue = data.catalogue()
    records = catalogue.split("test")
    ids = np.array([r.id for r in records])
    scores = Scores(
        tuple(catalogue.classes), tuple(run.recipe.seed for run in next(iter(runs.values()))), ids,
        np.array([r.group for r in records]) if unit == "group" else ids, np.array([r.label for r in records]),
        {}, {}, {}, {c: column[0].provenance["sources"] for c, column in runs.items()},
    )
    for condition, column in runs.items():
        said = [narrowed(asked(run, data), run.provenance["classes"], scores.classes) for run in column]
        scores = answers(scores, condition, said, [run.folder.name for run in column])
    return scores


def pooled(folds: Sequence[Scores]) -> Scores:
    """One :class:`Scores` over the test clips of all ``folds``: row s is what the runs of seed s, one for each fold,
    said of their own. Raises ``ValueError`` when a unit is tested in two folds, or seeds or classes differ."""
    first = folds[0]
    units = [unit for scores in folds for unit in np.unique(scores.units)]
    if len(set(units)) < len(units) or any(s.seeds != first.seeds or s.classes != first.classes for s in folds):
        raise ValueError("folds to pool need the same seeds and classes, and each unit tested in one fold only")
    join = lambda get, axis=0: np.concatenate([get(scores) for scores in folds], axis)  # noqa: E731
    return dataclasses.replace(
        first, ids=join(lambda s: s.ids), units=join(lambda s: s.units), labels=join(lambda s: s.labels),
        predicted={c: join(lambda s, c=c: s.predicted[c], 1) for c in first.predicted},
        logits={c: join(lambda s, c=c: s.logits[c]) for c in first.logits},
        recipes={c: ["+".join(names) for names in zip(*(s.recipes[c] for s in folds), strict=True)]
                 for c in first.recipes},
    )


def rows(study: str, data: str, scores: Scores, runs: dict[str, list[Run]], fold: str = "") -> list[dict]:
    """Tidy rows: test and validation accuracy and CPU seconds of every run, ECE of the first seed."""
    out = []
    for condition in scores.predicted:
        for s, seed in enumerate(scores.seeds):
            name = scores.recipes[condition][s]
            row = dict(study=study, data=data, condition=condition, seed=seed, fold=fold, recipe=name)
            numbers = [("accuracy", scores.accuracy(condition)[s], "%")]
            if s == 0:  # of the logits as they are committed, so that the row can be computed again from them
                kept = scores.logits[condition].astype(np.float16).astype(float)
                numbers.append(("ece", expected_calibration_error(kept, scores.labels), "%"))
            if condition in runs:
                run = runs[condition][s]
                numbers += [("val_accuracy", run.predictions("val").accuracy, "%"),
                            ("cpu_seconds", run.provenance["cpu_seconds"], "s")]
            out += [row | {"metric": m, "value": round(float(v), 4), "unit": u} for m, v, u in numbers]
    return out


def recall_rows(scores: Scores, about: dict, say=print) -> list[dict]:
    """Tidy rows that begin as ``about``: mean recall over classes of every condition, with its interval's ends."""
    table = []
    for condition in scores.predicted:
        mean, low, high = mean_recall(scores.correct(condition), scores.labels)
        say(f"{about['data']} {about['fold']}, {condition}: mean recall {mean:.1f} % ({low:.1f} to {high:.1f})")
        ends = ("mean_recall", mean), ("mean_recall_low", low), ("mean_recall_high", high)
        table += [about | dict(condition=condition, metric=m, value=round(v, 4), unit="%") for m, v in ends]
    return table


def load_rows(study: str) -> pd.DataFrame:
    """The committed rows of a study. Raises ``FileNotFoundError`` naming the command that makes them."""
    path = paths.figures_dir() / f"{study}.csv"
    if not path.is_file():
        root = paths.project_root()
        place = path.relative_to(root) if path.is_relative_to(root) else path
        raise FileNotFoundError(f"{place} is missing: run `kdlab study {study}` to make it")
    return pd.read_csv(path, keep_default_na=False)


def convergence(table: pd.DataFrame, data: str) -> tuple[float, float, str]:
    """Gain in *validation* accuracy from doubling the steps (points), its 95 % half-width over seeds, and the word.

    Surely under two points, the comparison of methods is fair at this budget ("converged"); surely above, the study is
    "under-trained"; "undecided" where the interval holds two.
    """
    some = table[(table.data == data) & (table.metric == "val_accuracy")]
    wide = some.pivot_table(index="seed", columns="condition", values="value")  # the mean over folds, if there are any
    gains = (wide.ce_2x - wide.ce_raw).to_numpy(float)
    if len(gains) < 2:
        raise ValueError("the convergence check needs at least two seeds")
    return doubled(gains)


def doubled(gains: np.ndarray) -> tuple[float, float, str]:
    """Of the points ``(S,)`` that twice the steps gained: mean, 95 % half-width (one seed: infinite), and the word."""
    gain = float(gains.mean())
    half = float(stats.t.ppf(0.975, len(gains) - 1) * stats.sem(gains)) if len(gains) > 1 else np.inf
    word = "converged" if gain + half < 2 else "under-trained" if gain - half > 2 else "undecided"
    return gain, half, word


def three_seed_range(values: np.ndarray, seeds: int = 3) -> tuple[float, float]:
    """Where the mean of ``seeds`` new runs should fall with 95 % probability, given committed ``values`` (percent)."""
    n = len(values)
    if n < 3:
        raise ValueError(f"a prediction interval needs at least three committed runs, got {n}")
    half = stats.t.ppf(0.975, n - 1) * values.std(ddof=1) * np.sqrt(1 / seeds + 1 / n)
    return float(values.mean() - half), float(values.mean() + half)


def stale_studies(committed: dict[str, dict[str, list[Recipe]]]) -> dict[str, str]:
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


def compare_with_committed() -> list[str]:
    """One line per condition: where today's demo runs lie in the range that the committed demo-size runs cover."""
    lines = []
    asked = [("dual_light", "night_demo", TITLES, DEMO.seeds, lambda seed: dual_light(DEMO, seed), slice(None)),
             ("generative", "night_bright_demo", generative_profiles.TITLES, generative_profiles.DEMO.seeds,
              _demo_generative, slice(None)),
             ("progressive", "night_context_demo", exit_profiles.TITLES, exit_profiles.DEMO.seeds,
              _demo_exits, list(exit_profiles.TRAINED))]
    for name, data, titles, seeds, recipes, exits in asked:
        committed = load_rows(name)
        committed = committed[(committed.data == data) & (committed.metric == "accuracy")]
        for condition, column in committed.groupby("condition", sort=False):
            runs = [find(recipes(seed)[condition], pretrained=True) for seed in range(seeds)]
            if None in runs:
                lines.append(f"{titles[condition]}: not trained here yet")
                continue
            mine = 100 * np.mean([run.predictions().correct.T[exits].mean() for run in runs])
            lines.append(f"{titles[condition]}: your {lies(mine, column.value, seeds)}")
    return lines


def lies(mine: float, committed: pd.Series, seeds: int) -> str:
    """``58.2 lies in 54.1…63.0``, or OUTSIDE: the mean of ``seeds`` new runs in the range that ``committed`` cover."""
    low, high = three_seed_range(committed.to_numpy(float), seeds)
    return f"{mine:.1f} {'lies in' if low <= mine <= high else 'lies OUTSIDE'} {low:.1f}…{high:.1f}"


def _demo_exits(seed: int) -> dict[str, Recipe]:
    size = exit_profiles.DEMO
    return exit_profiles.conditions(size, exit_profiles.trio(size, exit_profiles.night(size), seed))


def _demo_generative(seed: int) -> dict[str, Recipe]:
    size = generative_profiles.DEMO
    return generative_profiles.conditions(size, generative_profiles.night(size), seed)


def compare_with_pretrained() -> tuple[list[str], bool]:
    """How today's runs agree with the committed ones of the same recipe, one line each; False where they do not.

    Same kind of CPU and versions: every bit must be equal. Elsewhere the first ten losses must agree within 1e-3, and
    test accuracy within 3 points on average over these runs, or within three standard errors of their gaps where those
    are wider: other rounding leads a demo-size training to another minimum, and has moved a single one by 12 points. A
    student whose teacher has other weights learns from other targets; its accuracy is told, not judged.
    """
    lines, gaps, good = [], [], True
    for theirs in committed_runs():
        folder = paths.runs_dir() / theirs.folder.name
        if not (folder / "run.json").is_file():
            continue
        mine = Run(folder)
        ours, their = mine.provenance, theirs.provenance
        gap = mine.predictions().accuracy - theirs.predictions().accuracy
        told = "" if np.isnan(gap) else f"accuracy {gap:+.1f} points"
        if all(ours[k] == their[k] for k in ("cpu", "device", "versions")):
            agrees = ours["weights"] == their["weights"]
            lines.append(f"{folder.name}: {'the same bits' if agrees else 'OTHER bits, on the same kind of CPU'}")
        elif ours["needed"] != their["needed"]:
            agrees = True
            lines.append(f"{folder.name}: its teacher was trained on another kind of CPU; {told or 'not judged'}")
        else:
            losses = np.abs(np.subtract(ours["first_losses"], their["first_losses"])).max()
            agrees = losses <= 1e-3
            gaps += [gap] if told else []
            lines.append(f"{folder.name}: another CPU or other versions; first losses within {losses:.1g}"
                         f"{'' if agrees else ': TOO FAR'}{told and ', '}{told}")
        good &= bool(agrees)
    if gaps:
        # More than 3 points, and more than runs scatter: one of a few demo runs alone can move by twelve.
        far = abs(np.mean(gaps)) > max(3, 3 * np.std(gaps) / np.sqrt(len(gaps)))
        lines.append(f"mean of {len(gaps)} runs: {np.mean(gaps):+.1f} points{': TOO FAR' if far else ''}")
        good &= not far
    return lines, good
