"""What every run of a study predicted on the same test clips, and how such tables of predictions are made."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Self

import numpy as np
from scipy.special import softmax

from kdlab.clips.user_clips import UserClips
from kdlab.measure.paired import Effect, effect
from kdlab.measure.transfer import logits_on
from kdlab.night import Night
from kdlab.system.files import save_arrays
from kdlab.system.values import one_of
from kdlab.train.many import obtain_all
from kdlab.train.recipe import Recipe
from kdlab.train.runs import Run


@dataclass(frozen=True)
class Scores:
    """What every run of a study said of the same test clips.

    ``predicted``: condition → ``(S, N)`` class indices, row s of every condition being seed ``seeds[s]``, or
    ``(S, N, E)`` of networks with E exits;
    ``logits``: condition → ``(N, K)`` of the first seed; ``units (N,)``: clips of one count as one in intervals.
    """

    classes: tuple[str, ...]
    seeds: tuple[int, ...]
    ids: np.ndarray
    units: np.ndarray
    labels: np.ndarray
    predicted: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)
    logits: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)
    recipes: dict[str, list[str]] = dataclasses.field(default_factory=dict)
    sources: dict[str, str] = dataclasses.field(default_factory=dict)  # condition → hash of what trained it

    def correct(self, condition: str) -> np.ndarray:
        """``(S, N)`` in {0, 1}, or ``(S, N, E)``."""
        predicted = self.predicted[condition]
        return (predicted == np.expand_dims(self.labels, tuple(range(1, predicted.ndim - 1)))).astype(float)

    def accuracy(self, condition: str) -> np.ndarray:
        """Percent, ``(S,)``."""
        return 100 * self.correct(condition).mean(1)

    def effect(self, condition: str, baseline: str) -> Effect:
        """Paired difference in points."""
        return effect(self.correct(condition), self.correct(baseline), self.units)

    def save(self, path: Path) -> None:
        """One compressed npz without pickles: classes as the smallest whole numbers that hold them, logits as
        float16."""
        note = {"classes": self.classes, "seeds": self.seeds, "recipes": self.recipes, "sources": self.sources}
        arrays = {"ids": self.ids, "units": self.units, "labels": self.labels.astype(self._whole)}
        save_arrays(path, {"note": np.array(json.dumps(note))} | arrays | self._arrays())

    @classmethod
    def load(cls, path: Path) -> Self:
        """What :meth:`save` kept, read once as long as the file stays as it is: a board of claims asks for the same
        tables a hundred times. Its arrays cannot be written to. Raises ``FileNotFoundError``, and ``ValueError`` naming
        a file that cannot be read."""
        now = path.stat()
        return _loaded(cls, path.resolve(), now.st_mtime_ns, now.st_size)

    @classmethod
    def _read(cls, path: Path) -> Self:
        try:
            with np.load(path, allow_pickle=False) as file:
                arrays = dict(file)
            for array in arrays.values():
                array.setflags(write=False)
            note = json.loads(str(arrays["note"]))
            places = arrays["ids"], arrays["units"], arrays["labels"].astype(int)
            more = cls._from(arrays, note) | {name: note[name] for name in ("recipes", "sources")}
            return cls(tuple(note["classes"]), tuple(note["seeds"]), *places, **more)
        except FileNotFoundError:
            raise
        except Exception as error:  # broken bytes make the reader raise anything, from BadZipFile to struct.error
            raise ValueError(f"{path} is damaged ({type(error).__name__}: {error}): restore the committed file, or run "
                             "its study again") from error

    @property
    def _whole(self) -> np.dtype:
        return np.min_scalar_type(len(self.classes) - 1)

    def _arrays(self) -> dict[str, np.ndarray]:
        return {f"predicted/{k}": v.astype(self._whole) for k, v in self.predicted.items()} | {
            f"logits/{k}": v.astype(np.float16) for k, v in self.logits.items()}

    @classmethod
    def _from(cls, arrays: dict[str, np.ndarray], note: dict) -> dict:
        """The other fields, of what :meth:`_arrays` gave."""
        return {kind: {k.removeprefix(f"{kind}/"): v for k, v in arrays.items() if k.startswith(f"{kind}/")}
                for kind in ("predicted", "logits")}


@lru_cache(maxsize=128)
def _loaded(kind: type[Scores], path: Path, changed: int, size: int) -> Scores:
    return kind._read(path)


def units_of(unit: str, ids: np.ndarray, groups: Sequence[str]) -> np.ndarray:
    """What intervals count as one: ``ids`` for ``"clip"``, ``groups`` for ``"group"``. Raises ``ValueError`` else."""
    one_of(("clip", "group"), unit=unit)
    return np.asarray(groups) if unit == "group" else ids


def same_seeds(recipes: Mapping[str, Sequence[Recipe]]) -> tuple[int, ...]:
    """The seeds that all conditions have, in the same order; teachers among them may have others, each that of its
    student's row. Raises ``ValueError`` where they differ."""
    students = {c: column for c, column in recipes.items() if not c.rpartition(":")[2].startswith("teacher")}
    seeds = {tuple(r.seed for r in column) for column in (students or recipes).values()}
    if len(seeds) != 1:
        raise ValueError(f"every condition needs the same seeds in the same order, got {sorted(seeds)}")
    return seeds.pop()


def obtained(recipes: Mapping[str, Sequence[Recipe]], **how) -> dict[str, list[Run]]:
    """Condition → its runs, of condition → recipes; ``how`` as in :func:`kdlab.train.many.obtain_all`."""
    every = list(dict.fromkeys(recipe for column in recipes.values() for recipe in column))
    found = dict(zip(every, obtain_all(every, **how), strict=True))
    return {condition: [found[recipe] for recipe in column] for condition, column in recipes.items()}


def origin(runs: Mapping[str, Sequence[Run]]) -> dict[str, dict]:
    """The fields of :class:`Scores` that tell where they are from."""
    return {"recipes": {c: [run.folder.name for run in column] for c, column in runs.items()},
            "sources": {c: column[0].provenance["sources"] for c, column in runs.items()}}


def collect(recipes: dict[str, list[Recipe]], *, unit: str = "clip", pretrained: bool = False, stale: str = "retrain",
            workers: int | None = None, say=print) -> tuple[Scores, dict[str, list[Run]]]:
    """Obtain every run of a study: ``recipes`` is condition → one recipe per seed (the same seeds in each).

    ``unit`` is ``"clip"`` or ``"group"``. Raises ``ValueError`` when conditions differ in seeds or test clips, runs of
    one condition in their sources, or runs on the same data in their clips (with ``stale="use"`` they can).
    """
    seeds = same_seeds(recipes)
    runs = obtained(recipes, pretrained=pretrained, stale=stale, workers=workers, say=say)
    shared: dict[tuple, Run] = {}
    for condition, recipe, run in ((c, *pair) for c in recipes for pair in zip(recipes[c], runs[c], strict=True)):
        for what, among in (("sources", condition), ("data", recipe.data)):
            other = shared.setdefault((what, among), run)
            if run.provenance[what] != other.provenance[what]:
                raise ValueError(f"{other.folder} and {run.folder} disagree: they were made from different {what}. "
                                 "Retrain the older one: delete it, or use stale='retrain'")
    predictions = {c: [run.predictions("test") for run in column] for c, column in runs.items()}
    first, classes = next(iter(predictions.values()))[0], next(iter(runs.values()))[0].provenance["classes"]
    for condition, column in predictions.items():
        for run, p in zip(runs[condition], column, strict=True):
            if not np.array_equal(p.ids, first.ids):
                raise ValueError(f"{run.folder} was tested on other clips than the rest of the study; retrain it")
    units = units_of(unit, first.ids, first.groups)
    predicted = {c: np.stack([p.logits.argmax(-1) for p in column]) for c, column in predictions.items()}
    logits = {c: column[0].logits for c, column in predictions.items()}
    return Scores(tuple(classes), seeds, first.ids, units, first.labels, predicted, logits, **origin(runs)), runs


def answers(scores: Scores, name: str, logits: Sequence[np.ndarray], recipes: Sequence[str]) -> Scores:
    """``scores`` with the condition ``name`` added: for each seed logits ``(N, K)`` and the name of their origin."""
    predicted = scores.predicted | {name: np.stack([z.argmax(1) for z in logits])}
    kept, names = scores.logits | {name: logits[0]}, scores.recipes | {name: list(recipes)}
    return dataclasses.replace(scores, predicted=predicted, logits=kept, recipes=names)


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
    units = units_of(unit, ids, [r.group for r in records])
    seeds, labels = tuple(run.recipe.seed for run in next(iter(runs.values()))), np.array([r.label for r in records])
    scores = Scores(tuple(catalogue.classes), seeds, ids, units, labels, **origin(runs))
    for condition, column in runs.items():
        logits = [logits_on(run, data, among=scores.classes) for run in column]
        scores = answers(scores, condition, logits, [run.folder.name for run in column])
    return scores


def pooled(folds: Sequence[Scores]) -> Scores:
    """One :class:`Scores` over the test clips of all ``folds``: row s is what the runs of seed s, one for each fold,
    said of their own. Raises ``ValueError`` when a unit is tested in two folds, or seeds or classes differ."""
    first = folds[0]
    units = [unit for scores in folds for unit in np.unique(scores.units)]
    if len(set(units)) < len(units):
        raise ValueError(f"{max(units, key=units.count)} was tested in two of the folds to pool, which need units of "
                         "their own: make the folds of whole groups")
    for what, each in (("seeds", [s.seeds for s in folds]), ("classes", [s.classes for s in folds])):
        if other := [its for its in each if its != each[0]]:
            raise ValueError(f"folds to pool have other {what}, {each[0]} and {other[0]}: run the study again, so that "
                             "all have the same")
    joined = {field: np.concatenate([getattr(s, field) for s in folds]) for field in ("ids", "units", "labels")}
    for field, axis in (("predicted", 1), ("logits", 0)):
        each = [getattr(s, field) for s in folds]
        joined[field] = {c: np.concatenate([table[c] for table in each], axis) for c in each[0]}
    of_seeds = {c: zip(*(s.recipes[c] for s in folds), strict=True) for c in first.recipes}
    recipes = {c: ["+".join(names) for names in seeds] for c, seeds in of_seeds.items()}
    return dataclasses.replace(first, recipes=recipes, **joined)
