"""Question 6. Does generative distillation help temporal detection?"""

from worlds import DETECTION, TUNED_IN, WORLDS, named, seed_of, tuning, with_choices

from kdlab.measure.detection import best_width, evaluated, mean_aps
from kdlab.night.untrimmed import Untrimmed, UntrimmedStream
from kdlab.papers.generative.detection_recipes import CLASSES
from kdlab.papers.generative.detection_recipes import conditions as detection
from kdlab.study import Question, Study
from kdlab.train.recipe import Recipe
from kdlab.train.runs import Run
from kdlab.train.sizes import VARIETY

TITLES = {
    "det_teacher": "teacher",
    "det_student": "labels alone",
    "det_genkd": "GenKD",
    "det_untrained": "an untrained teacher",
    "det_student_2x": "twice the steps",
}
#: Condition → the values that are tuned.
CANDIDATES = {
    "labels alone": ({}, {"settings.lr": 2e-3}),
    "GenKD": ({}, {"method.beta": 1.0}),
    "an untrained teacher": "GenKD",
    "twice the steps": "labels alone",
}


def base(size, world: int) -> dict[str, Recipe]:
    train, val, test = size.videos
    videos = (train, val + test, 1) if world in TUNED_IN else size.videos
    data = UntrimmedStream(Untrimmed(CLASSES, videos, size.seconds, VARIETY, seed=world))
    return named(detection(size, seed_of(world), data), TITLES)


def scored(runs: dict[str, Run], split: str) -> dict[str, float]:
    """mAP in percent over tIoU 0.1 to 0.5. The width of soft-NMS is chosen on the validation videos of the first of the
    runs that learnt from labels."""
    first = next(run for name, run in runs.items() if name.startswith("labels alone"))
    sigma = best_width(first)
    return {
        name: float(mean_aps([evaluated(run, split, sigma=sigma)])[0]) for name, run in runs.items()
    }


def measure(runs: dict[str, Run]) -> dict[str, float]:
    return scored(runs, "test")


def on_validation(runs: dict[str, Run]) -> dict[str, float]:
    return scored(runs, "val")


QUESTIONS = [
    Question(
        "6",
        "Does generative distillation help temporal detection?",
        "GenKD",
        "labels alone",
        rivals=("an untrained teacher", "twice the steps"),
        teacher="teacher",
        metric="mAP over tIoU 0.1 to 0.5, %",
        spread=2.5,
    )
]

tuned = tuning("detection", base, CANDIDATES, DETECTION, on_validation)
study = Study(
    "detection",
    with_choices("detection", base, CANDIDATES),
    QUESTIONS,
    DETECTION,
    measure=measure,
    worlds=WORLDS,
)
