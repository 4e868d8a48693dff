"""Question 1. A network learns from dark clips with all labels: does DL-KDD beat labels alone?

How far the teacher is ahead is set by its light: the raw clip, its gamma view, and the noise-free bright twin itself.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

from worlds import (
    FROM_NOTHING,
    Evidence,
    agreed,
    clips,
    for_share,
    in_training,
    learnt,
    named,
    seed_of,
    tuning,
    with_choices,
)

from kdlab.clips.views import View
from kdlab.distill.adaptation import AsItIs
from kdlab.papers.dual_light.controls import RandomGamma
from kdlab.papers.dual_light.recipes import dual_light
from kdlab.study import Question
from kdlab.study.study import accuracies
from kdlab.train.recipe import Recipe
from kdlab.train.runs import Run
from kdlab.train.settings import Settings
from kdlab.video.decode import each_frame


@dataclass(frozen=True)
class Twin(View):
    """The bright, noise-free twin of a dark clip of `night`."""

    name = "twin"

    def each_frame(self, path: Path, indices=None) -> Iterator:
        """Yield the twin's frames: all, or those at ascending ``indices``."""
        data, name = path.parents[2], f"{path.stem}.avi"
        return each_frame(data / "bright" / path.parent.name / name, indices)


TITLES = {
    "ce_raw": "labels alone",
    "dlkdd": "DL-KDD",
    "same_light": "same-light KD",
    "label_smoothing": "matched smoothing",
    "random_gamma": "brightness augmentation",
    "teacher": "teacher, enhanced",
    "teacher_raw": "teacher, raw",
}
#: The light of the brightest teacher. DL-KDD's own is gamma 1.8, and same-light KD is the dose without light.
TWIN = "bright twin"
#: A step of KD costs 4/3 of one of labels (in the tuning's worlds), so labels' CPU time pays this share of its steps.
EQUAL_COST = Fraction(3, 4)
_RATES = {"settings.lr": (2e-3, 4e-3)}
_SOFT = _RATES | {"method.alpha": (0.25, 0.9)}
CANDIDATES = {
    "labels alone": _RATES | {"settings.weight_decay": (1e-3, 1e-1)},
    "DL-KDD": _RATES | {"method.alpha": (0.1, 0.25, 0.9)},  # 0.25 was the last value, and the best
    "same-light KD": _SOFT,
    "matched smoothing": _SOFT,
    "a random teacher": _SOFT,
    "brightness augmentation": _RATES | {"method.high": (2.0, 4.5, 6.0)},  # likewise 4.5
    "twice the steps": "labels alone",
    "DL-KDD in labels' time": "DL-KDD",
    f"DL-KDD, {TWIN}": "DL-KDD",
}


def base(size, world: int) -> dict[str, Recipe]:
    data = clips(size.night, world)
    made = dual_light(replace(size, night=data), seed_of(world, "from_nothing"))
    made |= {
        "random_gamma": replace(made["ce_raw"], condition="random_gamma", method=RandomGamma()),
        "teacher": made["dlkdd"].teacher,
        "teacher_raw": made["same_light"].teacher,
    }
    recipes = named(made, TITLES)
    student, teacher = made["dlkdd"], made["teacher"]
    untrained = replace(
        made["teacher_raw"], condition="untrained", method=AsItIs(), settings=Settings(1)
    )
    recipes["a random teacher"] = replace(student, condition="random_teacher", teacher=untrained)
    recipes["DL-KDD in labels' time"] = for_share(student, EQUAL_COST)
    recipes["twice the steps"] = for_share(made["ce_raw"], 2)  # also the last point of its curve
    brightest = recipes[f"teacher, {TWIN}"] = replace(teacher, view=Twin())
    recipes[f"DL-KDD, {TWIN}"] = replace(student, teacher=brightest)
    return recipes


QUESTIONS = [
    Question(
        "1",
        "From nothing, on dark clips with all labels: does DL-KDD beat labels alone?",
        "DL-KDD",
        "labels alone",
        rivals=(
            "same-light KD",
            "a random teacher",
            "matched smoothing",
            "brightness augmentation",
            "twice the steps",
        ),
        teacher="teacher, enhanced",
        spread=2.6,
    )
]
#: Student → teacher: the teacher's light is the dose.
DOSES = {
    "same-light KD": "teacher, raw",
    "DL-KDD": "teacher, enhanced",
    f"DL-KDD, {TWIN}": f"teacher, {TWIN}",
}
#: Those whose fidelity to a teacher is measured.
TAUGHT = DOSES | {"matched smoothing": "teacher, enhanced"}
#: Differences that stand beside the answer of a question: text, condition, other.
ALSO = {
    "1": [
        ("in labels' CPU time", "DL-KDD in labels' time", "labels alone"),
        ("same-light KD over labels alone", "same-light KD", "labels alone"),
        ("twice the steps over labels alone", "twice the steps", "labels alone"),
    ]
}
NOTES = {
    "1": "The slope compares doses within a world; a random teacher is not among them. All was tuned with 30 clips a "
    "class; the worlds have 60."
}
#: Those of whom accuracy against steps is drawn: labels alone, the method, its sharpest control.
DRAWN = "labels alone", "DL-KDD", "same-light KD"


def measure(runs: dict[str, Run]) -> dict[str, float]:
    """Accuracies, losses in training, and how often students gave their teacher's class there."""
    seen = in_training(runs)
    return accuracies(runs) | learnt(seen) | agreed(seen, DOSES)


tuned = tuning("from_nothing", base, CANDIDATES, FROM_NOTHING)
conditions = with_choices("from_nothing", base, CANDIDATES, DRAWN)
study = Evidence("from_nothing", conditions, QUESTIONS, FROM_NOTHING, measure)
