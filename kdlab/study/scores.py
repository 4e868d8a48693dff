"""The predictions of all runs of a study on the same test clips, and the function that collects them."""

import dataclasses
import json
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
    condition belongs to seed ``seeds[s]``. ``units (N,)``: the test unit of each clip; intervals treat clips of the
    same unit as one.
    """

    classes: tuple[str, ...]
    seeds: tuple[int, ...]
    ids: np.ndarray
    units: np.ndarray
    labels: np.ndarray
    predicted: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)

    def correct(self, condition: str) -> np.ndarray:
        """1 for each correct prediction, else 0: ``(S, N)``, or ``(S, N, E)`` with E exits."""
        predicted = self.predicted[condition]
        return (
            predicted == np.expand_dims(self.labels, tuple(range(1, predicted.ndim - 1)))
        ).astype(float)

    def accuracy(self, condition: str) -> np.ndarray:
        """The accuracy of each seed in percent, ``(S,)``."""
        return 100 * self.correct(condition).mean(1)

    def effect(self, condition: str, baseline: str) -> Effect:
        """The paired difference ``condition`` − ``baseline`` in points, with its interval over seeds and units."""
        return effect(self.correct(condition), self.correct(baseline), self.units)

    def save(self, path: Path) -> None:
        """Write one compressed npz without pickles, with classes in the smallest integer type that holds them."""
        whole = np.min_scalar_type(len(self.classes) - 1)
        note = np.array(json.dumps({"classes": self.classes, "seeds": self.seeds}))
        arrays = {
            "note": note,
            "ids": self.ids,
            "units": self.units,
            "labels": self.labels.astype(whole),
        }
        save_arrays(
            path, arrays | {f"predicted/{k}": v.astype(whole) for k, v in self.predicted.items()}
        )

    @classmethod
    def load(cls, path: Path) -> Self:
        """The scores that :meth:`save` wrote. Raises ``FileNotFoundError``, and ``ValueError`` for a damaged file."""
        try:
            with np.load(path, allow_pickle=False) as file:
                arrays = dict(file)
            note = json.loads(str(arrays["note"]))
            predicted = {
                k.removeprefix("predicted/"): v
                for k, v in arrays.items()
                if k.startswith("predicted/")
            }
            return cls(
                tuple(note["classes"]),
                tuple(note["seeds"]),
                arrays["ids"],
                arrays["units"],
                arrays["labels"].astype(int),
                predicted,
            )
        except FileNotFoundError:
            raise
        except (
            Exception
        ) as error:  # broken bytes make the reader raise anything, from BadZipFile to struct.error
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
    students = {
        c: column for c, column in recipes.items() if not c.rpartition(":")[2].startswith("teacher")
    } or recipes
    if len(seeds := {tuple(r.seed for r in column) for column in students.values()}) != 1:
        raise ValueError(
            f"every condition needs the same seeds in the same order, got {sorted(seeds)}"
        )
    every = [recipe for column in recipes.values() for recipe in column]
    found = iter(obtain_all(every, pretrained=pretrained, stale=stale, workers=workers, say=say))
    runs = {condition: [next(found) for _ in column] for condition, column in recipes.items()}
    shared: dict[tuple, Run] = {}
    first, predicted = (
        next(iter(runs.values()))[0].predictions(),
        {condition: [] for condition in runs},
    )
    for condition, column in runs.items():
        for recipe, run in zip(recipes[condition], column, strict=True):
            for what, among in (("sources", condition), ("data", recipe.data)):
                other = shared.setdefault((what, among), run)
                if run.provenance[what] != other.provenance[what]:
                    raise ValueError(
                        f"{other.folder} and {run.folder} disagree: they were made from different {what}. "
                        "Retrain the older one: delete it, or use stale='retrain'"
                    )
            tested = run.predictions()
            if not np.array_equal(tested.ids, first.ids):
                raise ValueError(
                    f"{run.folder} was tested on other clips than the rest of the study; retrain it"
                )
            predicted[condition].append(tested.logits.argmax(-1))
    # windows of untrimmed video have no label, and detectors predict no classes
    predicted = (
        {c: np.stack(some) for c, some in predicted.items()} if (first.labels >= 0).all() else {}
    )
    classes, units = (
        next(iter(runs.values()))[0].provenance["classes"],
        first.groups if unit == "group" else first.ids,
    )
    return Scores(
        tuple(classes), seeds.pop(), first.ids, np.asarray(units), first.labels, predicted
    ), runs
