"""Question 1. A network learns from dark clips with all labels: does DL-KDD beat labels alone?"""

from dataclasses import replace

from worlds import FROM_NOTHING, WORLDS, clips, named, seed_of, tuning, with_choices

from kdlab.papers.dual_light.controls import RandomGamma
from kdlab.papers.dual_light.recipes import dual_light
from kdlab.study import Question, Study
from kdlab.train.recipe import Recipe

TITLES = {
    "ce_raw": "labels alone",
    "dlkdd": "DL-KDD",
    "same_light": "same-light KD",
    "label_smoothing": "matched smoothing",
    "ce_2x": "twice the steps",
    "random_gamma": "brightness augmentation",
    "teacher": "teacher, enhanced",
    "teacher_raw": "teacher, raw",
}
_TARGETS = ({}, {"method.alpha": 0.9})
#: Condition → the values that are tuned.
CANDIDATES = {
    "labels alone": ({}, {"settings.lr": 2e-3}),
    "DL-KDD": _TARGETS,
    "same-light KD": _TARGETS,
    "matched smoothing": _TARGETS,
    "brightness augmentation": ({}, {"method.high": 2.0}),
    "twice the steps": "labels alone",
}


def base(size, world: int) -> dict[str, Recipe]:
    made = dual_light(replace(size, night=clips(size.night, world)), seed_of(world))
    made |= {
        "random_gamma": replace(made["ce_raw"], condition="random_gamma", method=RandomGamma()),
        "teacher": made["dlkdd"].teacher,
        "teacher_raw": made["same_light"].teacher,
    }
    return named(made, TITLES)


QUESTIONS = [
    Question(
        "1",
        "From nothing, on dark clips with all labels: does DL-KDD beat labels alone?",
        "DL-KDD",
        "labels alone",
        rivals=("matched smoothing", "same-light KD", "twice the steps", "brightness augmentation"),
        teacher="teacher, enhanced",
        spread=2.6,
    )
]
#: Differences that stand beside the answer of a question: text, condition, other.
ALSO = {
    "1": [
        ("the raw teacher's lead", "teacher, raw", "labels alone"),
        ("same-light KD over labels alone", "same-light KD", "labels alone"),
        ("twice the steps over labels alone", "twice the steps", "labels alone"),
    ]
}
NOTES = {
    "1": "No lead of the teacher is seen here. *Twice the steps* is labels alone, trained twice as long."
}

tuned = tuning("from_nothing", base, CANDIDATES, FROM_NOTHING)
study = Study(
    "from_nothing",
    with_choices("from_nothing", base, CANDIDATES),
    QUESTIONS,
    FROM_NOTHING,
    worlds=WORLDS,
)
