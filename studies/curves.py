"""Accuracy against steps for questions 5 and 6. It was drawn after their answers, in five of their worlds."""

from collections.abc import Mapping
from types import ModuleType

import detection
import generative
from worlds import CURVES, with_choices

from kdlab.study import Study
from kdlab.study.study import accuracies
from kdlab.train.runs import Run

#: Question → labels alone, the method, its sharpest control.
DRAWN = {
    "5": ("gated labels alone", "GenKD", "KD of the same teacher"),
    "6": ("gated labels alone", "GenKD", "an untrained teacher"),
}


def curve(script: ModuleType, question: str, measure, first: tuple[str, ...] = ()) -> Study:
    """The study of other budgets than the whole, and of the conditions ``first``. The answer
    has labels alone with twice the steps."""
    name = script.study.name
    drawn = DRAWN[question]
    every = with_choices(name, script.base, script.CANDIDATES, drawn)

    def conditions(size, world: int) -> dict:
        recipes = every(size, world)
        own = [name for name in recipes if "×" in name and name != f"{drawn[0]}, ×2"]
        return {condition: recipes[condition] for condition in (*first, *own)}

    return Study(
        f"{name}_steps", conditions, size=script.study.size, measure=measure, worlds=CURVES
    )


def mean_ap(runs: Mapping[str, Run]) -> dict[str, float]:
    """mAP on test videos."""
    return detection.scored(dict(runs), "test")


of_generative = curve(generative, "5", accuracies)
# the width of soft-NMS is chosen on the network that chose it for the answers
of_detection = curve(detection, "6", mean_ap, ("labels alone",))
