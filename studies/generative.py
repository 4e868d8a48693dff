"""Question 5. Does generative distillation beat KD of the same teacher, and labels?"""

from dataclasses import replace

from worlds import GENERATIVE, WORLDS, clips, named, seed_of, tuning, with_choices

from kdlab.night import ACTIONS, Night
from kdlab.night.make import NightStream
from kdlab.papers.dual_light.method import MatchedSmoothing
from kdlab.papers.generative.method import explained
from kdlab.papers.generative.recipes import conditions as recognition
from kdlab.study import Question, Study
from kdlab.study.study import accuracies
from kdlab.train.recipe import Recipe
from kdlab.train.runs import Run
from kdlab.train.sizes import VARIETY

TITLES = {
    "student_ce": "labels alone",
    "student_gate": "gated labels alone",
    "genkd": "GenKD",
    "kd_gate": "KD of the same teacher",
    "kd": "KD, plain networks",
    "untrained": "an untrained teacher",
    "smoothing": "matched smoothing",
    "simkd": "SimKD",
    "attention_transfer": "attention transfer",
    "student_2x": "twice the steps",
    "teacher_fr": "teacher",
    "teacher_ce": "teacher, plain",
}
_TARGETS = ({}, {"method.alpha": 0.9})
#: Condition → the values that are tuned: near those that were best in the bench. SimKD has no weight.
CANDIDATES = {
    "labels alone": ({}, {"settings.lr": 6e-3}),
    "GenKD": ({}, {"method.beta": 1.0}),
    "KD of the same teacher": _TARGETS,
    "KD, plain networks": _TARGETS,
    "matched smoothing": _TARGETS,
    "attention transfer": ({"method.weight": 1.0}, {"method.weight": 10.0}),
    "SimKD": (),
    "twice the steps": "labels alone",
    "an untrained teacher": "GenKD",
}


def base(size, world: int) -> dict[str, Recipe]:
    night = clips(Night(ACTIONS, size.per_class, VARIETY), world)
    made = recognition(size, NightStream(night), seed_of(world))
    made["smoothing"] = replace(made["kd"], condition="smoothing", method=MatchedSmoothing())
    return named(made, TITLES)


def measure(runs: dict[str, Run]) -> dict[str, float]:
    """Accuracies, and how much of the features' variance the CVAEs generate from attention alone, in percent."""
    rows = {
        f"R² of generated features, {name}": explained(runs[name])["generated"]
        for name in ("GenKD", "teacher")
    }
    return accuracies(runs) | rows


QUESTIONS = [
    Question(
        "5",
        "Does generative distillation beat KD of the same teacher, and labels?",
        "GenKD",
        "labels alone",
        rivals=(
            "KD of the same teacher",
            "KD, plain networks",
            "an untrained teacher",
            "matched smoothing",
            "SimKD",
            "attention transfer",
            "twice the steps",
        ),
        teacher="teacher",
        spread=2.8,
    )
]
#: Differences and values that stand beside the answer of a question: text, condition, other.
ALSO = {
    "5": [
        ("KD of the same teacher over labels alone", "KD of the same teacher", "labels alone"),
        ("twice the steps over labels alone", "twice the steps", "labels alone"),
        ("an untrained teacher over labels alone", "an untrained teacher", "labels alone"),
        ("R² of generated features, teacher, %", "R² of generated features, teacher", "zero"),
        ("R² of generated features, GenKD, %", "R² of generated features, GenKD", "zero"),
    ]
}
NOTES = {
    "5": "*An untrained teacher* is GenKD with one. R² is what features generated from λ explain; 0 % is no more "
    "than mean features."
}

tuned = tuning("generative", base, CANDIDATES, GENERATIVE)
conditions = with_choices("generative", base, CANDIDATES)
study = Study("generative", conditions, QUESTIONS, GENERATIVE, measure=measure, worlds=WORLDS)
