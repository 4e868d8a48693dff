"""The predictions of all runs of a study on the same test clips, and the function that collects them."""

import json
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import numpy as np

from kdlab.measure.paired import Effect, effect
from kdlab.system.files import save_arrays
from kdlab.system.values import one_of
from kdlab.train.many import obtain_all
from kdlab.train.recipe import Recipe
from kdlab.train.runs import Run, named_with


@dataclass(frozen=True)
class Scores:
    """The predictions of all runs of a study on the same N test clips.

    ``predicted``: condition → class indices ``(S, N)``, or ``(S, N, E)`` for networks with E exits. Row s of every
    condition belongs to seed ``seeds[s]``. ``units (N,)``: the test unit of each clip; intervals treat clips of the
    same unit as one. ``logits``: condition → ``(S, N, K)`` or ``(S, N, E, K)`` in 16 bits, less the largest of each
    prediction, which thereby stays the largest.
    """

    classes: tuple[str, ...]
    seeds: tuple[int, ...]
    ids: np.ndarray
    units: np.ndarray
    labels: np.ndarray
    predicted: dict[str, np.ndarray] = field(default_factory=dict)
    logits: dict[str, np.ndarray] = field(default_factory=dict)

    def correct(self, condition: str) -> np.ndarray:
        """1 for each correct prediction, else 0: ``(S, N)``, or ``(S, N, E)`` with E exits."""
        predicted = self.predicted[condition].swapaxes(1, -1)
        return (predicted == self.labels).swapaxes(1, -1).astype(float)

    def accuracy(self, condition: str) -> np.ndarray:
        """The accuracy of each seed in percent, ``(S,)``."""
        return 100 * self.correct(condition).mean(1)

    def effect(self, condition: str, baseline: str) -> Effect:
        """The paired difference ``condition`` − ``baseline`` in points, with its interval over seeds and units."""
        return effect(self.correct(condition), self.correct(baseline), self.units)

    def save(self, path: Path) -> None:
        """Write one compressed npz without pickles, with classes in the smallest integer type that holds them."""
        whole = np.min_scalar_type(-len(self.classes))  # signed: -1 is no label
        arrays = {
            "note": np.array(json.dumps({"classes": self.classes, "seeds": self.seeds})),
            "ids": self.ids,
            "units": self.units,
            "labels": self.labels.astype(whole),
        }
        arrays |= {f"predicted/{name}": each.astype(whole) for name, each in self.predicted.items()}
        arrays |= {f"logits/{name}": each.astype(np.float16) for name, each in self.logits.items()}
        save_arrays(path, arrays)

    @classmethod
    def load(cls, path: Path) -> Self:
        """The scores that :meth:`save` wrote. Raises ``FileNotFoundError``, and ``ValueError`` for a damaged file."""
        try:
            with np.load(path, allow_pickle=False) as file:
                arrays = dict(file)
            note = json.loads(str(arrays["note"]))
            return cls(
                tuple(note["classes"]),
                tuple(note["seeds"]),
                arrays["ids"],
                arrays["units"],
                arrays["labels"].astype(int),
                named_with("predicted/", arrays),
                named_with("logits/", arrays),
            )
        except FileNotFoundError:
            raise
        # broken bytes make the reader raise anything, from BadZipFile to struct.error
        except Exception as error:
            raise ValueError(
                f"{path} is damaged ({type(error).__name__}: {error}): restore the committed file, or run "
                "its study again"
            ) from error


def collect(
    recipes: dict[str, list[Recipe]],
    *,
    unit: str = "clip",
    pretrained: bool = False,
    stale: str = "retrain",
    workers: int | None = None,
    say=print,
) -> tuple[Scores, dict[str, list[Run]]]:
    """The scores of ``recipes``, and condition → runs; missing runs are trained. ``recipes`` is condition → one recipe
    per seed. The seeds are the same in each; those of teachers among the conditions may differ.

    ``unit`` is ``"clip"`` or ``"group"``. Raises ``ValueError`` when conditions differ in seeds or test clips, when
    runs of one condition differ in their sources, or when runs on the same data differ in their clips. The last two can
    happen with ``stale="use"``.
    """
    one_of(("clip", "group"), unit=unit)
    seeds = _seeds(recipes)
    every = [(condition, recipe) for condition, column in recipes.items() for recipe in column]
    obtained = obtain_all(
        [recipe for _, recipe in every],
        pretrained=pretrained,
        stale=stale,
        workers=workers,
        say=say,
    )
    first, shared = obtained[0].predictions(), {}
    runs, logits = defaultdict(list), defaultdict(list)
    for (condition, recipe), run in zip(every, obtained, strict=True):
        _check_alike(shared, "sources", condition, run)
        _check_alike(shared, "data", recipe.data, run)
        tested = run.predictions()
        if [*tested.ids, *tested.labels] != [*first.ids, *first.labels]:
            raise ValueError(
                f"{run.folder} was tested on other clips or labels than the rest of the study; retrain it"
            )
        runs[condition].append(run)
        logits[condition].append(tested.logits - tested.logits.max(-1, keepdims=True))
    # windows of untrimmed video have no label, and detectors predict no classes
    known = (first.labels >= 0).all()
    logits = {name: np.stack(rows) for name, rows in logits.items()} if known else {}
    predicted = {name: rows.argmax(-1) for name, rows in logits.items()}
    classes = tuple(obtained[0].provenance["classes"])
    units = first.groups if unit == "group" else first.ids
    return Scores(classes, seeds, first.ids, units, first.labels, predicted, logits), dict(runs)


def _seeds(recipes: dict[str, list[Recipe]]) -> tuple[int, ...]:
    """The seeds that all conditions share, but for teachers among them. Raises ``ValueError`` where they differ."""
    students = {
        name: column
        for name, column in recipes.items()
        if not name.rpartition(":")[2].startswith("teacher")
    }
    columns = (students or recipes).values()
    seeds = {tuple(recipe.seed for recipe in column) for column in columns}
    if len(seeds) != 1:
        raise ValueError(
            f"every condition needs the same seeds in the same order, got {sorted(seeds)}"
        )
    return seeds.pop()


def _check_alike(first: dict[tuple, Run], what: str, among: object, run: Run) -> None:
    """Raise ``ValueError`` where ``run`` was made from another ``what`` than the ``first`` run ``among`` its like."""
    other = first.setdefault((what, among), run)
    if run.provenance[what] != other.provenance[what]:
        raise ValueError(
            f"{other.folder} and {run.folder} disagree: they were made from different {what}. "
            "Retrain the older one: delete it, or use stale='retrain'"
        )
