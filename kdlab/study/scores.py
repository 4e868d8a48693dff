"""The predictions of all runs of a study on the same test clips, and the function that collects them."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np

from kdlab.measure.paired import Effect, effect
from kdlab.system.files import save_arrays
from kdlab.system.values import one_of
from kdlab.train.many import obtain_all
from kdlab.train.recipe import Recipe
from kdlab.train.runs import Run


@dataclass(frozen=True)
class Scores:
    """The predictions of all runs of a study on the same N test clips.

    ``predicted``: condition → class indices ``(S, N)``, or ``(S, N, E)`` for networks with E exits. Row s of every
    condition belongs to seed ``seeds[s]``. ``logits``: condition → ``(N, K)`` of the first seed. ``units (N,)``: the
    test unit of each clip; intervals treat clips of the same unit as one.
    """

    classes: tuple[str, ...]
    seeds: tuple[int, ...]
    ids: np.ndarray
    units: np.ndarray
    labels: np.ndarray
    predicted: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)
    logits: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)
    recipes: dict[str, list[str]] = dataclasses.field(default_factory=dict)
    sources: dict[str, str] = dataclasses.field(default_factory=dict)  # condition → hash of the code that trained it

    def correct(self, condition: str) -> np.ndarray:
        """1 for each correct prediction, else 0: ``(S, N)``, or ``(S, N, E)`` with E exits."""
        predicted = self.predicted[condition]
        return (predicted == np.expand_dims(self.labels, tuple(range(1, predicted.ndim - 1)))).astype(float)

    def accuracy(self, condition: str) -> np.ndarray:
        """The accuracy of each seed in percent, ``(S,)``."""
        return 100 * self.correct(condition).mean(1)

    def effect(self, condition: str, baseline: str) -> Effect:
        """The paired difference ``condition`` − ``baseline`` in points."""
        return effect(self.correct(condition), self.correct(baseline), self.units)

    def save(self, path: Path) -> None:
        """Write one compressed npz without pickles. Classes are stored in the smallest integer type that holds them,
        logits as float16."""
        note = {"classes": self.classes, "seeds": self.seeds, "recipes": self.recipes, "sources": self.sources}
        whole = np.min_scalar_type(len(self.classes) - 1)
        arrays = {"ids": self.ids, "units": self.units, "labels": self.labels.astype(whole)}
        arrays |= {f"predicted/{k}": v.astype(whole) for k, v in self.predicted.items()}
        arrays |= {f"logits/{k}": v.astype(np.float16) for k, v in self.logits.items()}
        save_arrays(path, {"note": np.array(json.dumps(note))} | arrays)

    @classmethod
    def load(cls, path: Path) -> Self:
        """The scores that :meth:`save` wrote. Raises ``FileNotFoundError``, and ``ValueError`` for a damaged file."""
        try:
            with np.load(path, allow_pickle=False) as file:
                arrays = dict(file)
            note = json.loads(str(arrays["note"]))
            tables = {kind: {k.removeprefix(f"{kind}/"): v for k, v in arrays.items() if k.startswith(f"{kind}/")}
                      for kind in ("predicted", "logits")}
            return cls(tuple(note["classes"]), tuple(note["seeds"]), arrays["ids"], arrays["units"],
                       arrays["labels"].astype(int), recipes=note["recipes"], sources=note["sources"], **tables)
        except FileNotFoundError:
            raise
        except Exception as error:  # broken bytes make the reader raise anything, from BadZipFile to struct.error
            raise ValueError(f"{path} is damaged ({type(error).__name__}: {error}): restore the committed file, or run "
                             "its study again") from error


def same_seeds(recipes: Mapping[str, Sequence[Recipe]]) -> tuple[int, ...]:
    """The seeds of the conditions, which must be the same in the same order. Teachers among the conditions may have
    other seeds, in the rows of their students. Raises ``ValueError`` where seeds differ."""
    students = {c: column for c, column in recipes.items() if not c.rpartition(":")[2].startswith("teacher")}
    seeds = {tuple(r.seed for r in column) for column in (students or recipes).values()}
    if len(seeds) != 1:
        raise ValueError(f"every condition needs the same seeds in the same order, got {sorted(seeds)}")
    return seeds.pop()


def collect(recipes: dict[str, list[Recipe]], *, unit: str = "clip", pretrained: bool = False, stale: str = "retrain",
            workers: int | None = None, say=print) -> tuple[Scores, dict[str, list[Run]]]:
    """The scores of a study, and condition → runs; missing runs are trained. ``recipes`` is condition → one recipe per
    seed (the same seeds in each).

    ``unit`` is ``"clip"`` or ``"group"``. Raises ``ValueError`` when conditions differ in seeds or test clips, when
    runs of one condition differ in their sources, or when runs on the same data differ in their clips. The last two can
    happen with ``stale="use"``.
    """
    one_of(("clip", "group"), unit=unit)
    seeds = same_seeds(recipes)
    every = list(dict.fromkeys(recipe for column in recipes.values() for recipe in column))
    found = obtain_all(every, pretrained=pretrained, stale=stale, workers=workers, say=say)
    run_of = dict(zip(every, found, strict=True))
    runs = {condition: [run_of[recipe] for recipe in column] for condition, column in recipes.items()}
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
    units = np.asarray(first.groups) if unit == "group" else first.ids
    predicted = {c: np.stack([p.logits.argmax(-1) for p in column]) for c, column in predictions.items()}
    logits = {c: column[0].logits for c, column in predictions.items()}
    names = {c: [run.folder.name for run in column] for c, column in runs.items()}
    sources = {c: column[0].provenance["sources"] for c, column in runs.items()}
    return Scores(tuple(classes), seeds, first.ids, units, first.labels, predicted, logits, names, sources), runs
