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


def curve(script: ModuleType, question: str, measure) -> Study:
    """The study of other budgets than the whole. The width of soft-NMS is chosen as it was for the answers."""
    name = script.study.name
    every = with_choices(name, script.base, script.CANDIDATES, DRAWN[question])

    def conditions(size, world: int) -> dict:
        recipes = every(size, world)
        return {
            condition: recipe
            for condition, recipe in recipes.items()
            if "×" in condition or condition == "labels alone"
        }

    return Study(
        f"{name}_steps", conditions, size=script.study.size, measure=measure, worlds=CURVES
    )


def mean_ap(runs: Mapping[str, Run]) -> dict[str, float]:
    """mAP on test videos."""
    return detection.scored(dict(runs), "test")


of_generative = curve(generative, "5", accuracies)
of_detection = curve(detection, "6", mean_ap)
