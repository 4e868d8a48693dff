"""Question 5. Does generative distillation beat KD of the same teacher, and labels?

GenKD's student has a gate on its features. So every rival has it, too; the plain network of labels alone shows what the
gate does by itself. How far the teacher is ahead is set by its width.
"""

from dataclasses import replace

from worlds import (
    GENERATIVE,
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

from kdlab.distill.baselines import AttentionTransfer
from kdlab.night import ACTIONS, Night
from kdlab.night.make import NightStream
from kdlab.papers.dual_light.method import MatchedSmoothing
from kdlab.papers.generative.method import explained
from kdlab.papers.generative.recipes import conditions as recognition
from kdlab.study import Question
from kdlab.study.study import accuracies
from kdlab.train.recipe import Recipe
from kdlab.train.runs import Run
from kdlab.train.sizes import VARIETY

TITLES = {
    "student_ce": "labels alone",
    "student_gate": "gated labels alone",
    "genkd": "GenKD",
    "kd_gate": "KD of the same teacher",
    "untrained": "an untrained teacher",
    "smoothing": "matched smoothing",
    "attention_transfer": "attention transfer",
    "gate_2x": "gated twice the steps",
    "teacher_fr": "teacher",
    "narrow": "teacher, as wide as its student",
    "genkd_narrow": "GenKD, narrow teacher",
}
_RATES = 6e-3, 2.4e-2, 4.8e-2
CANDIDATES = {
    "gated labels alone": {"settings.lr": _RATES, "settings.weight_decay": (1e-3, 1e-1)},
    "GenKD": {"settings.lr": _RATES, "method.beta": (0.01, 1.0, 10.0)},
    "KD of the same teacher": {
        "settings.lr": (3e-3, *_RATES),
        "method.alpha": (0.1, 0.25, 0.9),
    },
    "matched smoothing": {
        "settings.lr": (*_RATES, 9.6e-2),
        "method.alpha": (0.25, 0.9, 1.0),
    },
    "attention transfer": {
        "settings.lr": (*_RATES, 9.6e-2),
        "method.weight": (1.0, 100.0),
    },
    "labels alone": "gated labels alone",
    "gated twice the steps": "gated labels alone",
    "an untrained teacher": "GenKD",
    "GenKD, narrow teacher": "GenKD",
    "GenKD in labels' time": "GenKD",
}


def base(size, world: int) -> dict[str, Recipe]:
    night = clips(Night(ACTIONS, size.per_class, VARIETY), world)
    made = recognition(size, NightStream(night), seed_of(world, "generative"))
    gated, kd, genkd = made["student_gate"], made["kd_gate"], made["genkd"]
    made["smoothing"] = replace(kd, condition="smoothing", method=MatchedSmoothing())
    made["attention_transfer"] = replace(
        kd, condition="at_gate", method=AttentionTransfer(weight=10.0)
    )
    wide = genkd.teacher
    made["narrow"] = replace(wide, condition="teacher_narrow", net=gated.net)
    made["genkd_narrow"] = replace(genkd, condition="genkd_narrow", teacher=made["narrow"])
    recipes = named(made, TITLES)
    # a step of GenKD costs 3.2 times one of gated labels
    return recipes | {"GenKD in labels' time": for_share(recipes["GenKD"], 1 / 3.2)}


#: Student → teacher.
TAUGHT = dict.fromkeys(
    ("GenKD", "KD of the same teacher", "matched smoothing", "attention transfer"), "teacher"
) | {"GenKD, narrow teacher": "teacher, as wide as its student"}


def measure(runs: dict[str, Run]) -> dict[str, float]:
    """Beside the answers, how much of the features' variance the CVAEs generate from attention alone, in percent."""
    rows = {
        f"R² of generated features, {name}": explained(runs[name])["generated"]
        for name in ("GenKD", "teacher")
    }
    seen = in_training(runs)
    return accuracies(runs) | learnt(seen) | agreed(seen, TAUGHT) | rows


QUESTIONS = [
    Question(
        "5",
        "Does generative distillation beat KD of the same teacher, and labels?",
        "GenKD",
        "gated labels alone",
        rivals=(
            "KD of the same teacher",
            "an untrained teacher",
            "matched smoothing",
            "attention transfer",
            "gated twice the steps",
        ),
        teacher="teacher",
        spread=2.8,
    )
]
#: Student → teacher: the teacher's width is the dose.
DOSES = {"GenKD": "teacher", "GenKD, narrow teacher": "teacher, as wide as its student"}
#: Differences and values that stand beside the answer of a question: text, condition, other.
ALSO = {
    "5": [
        ("in labels' CPU time", "GenKD in labels' time", "gated labels alone"),
        ("the gate alone", "gated labels alone", "labels alone"),
        (
            "KD of the same teacher over gated labels alone",
            "KD of the same teacher",
            "gated labels alone",
        ),
        ("gated twice the steps over gated labels", "gated twice the steps", "gated labels alone"),
        ("R² of generated features, teacher, %", "R² of generated features, teacher", "zero"),
        ("R² of generated features, GenKD, %", "R² of generated features, GenKD", "zero"),
    ]
}
NOTES = {"5": "In labels' CPU time, GenKD trains for 30 of 96 epochs, and keeps 0.5 to 0.6 nats."}
tuned = tuning("generative", base, CANDIDATES, GENERATIVE)
conditions = with_choices("generative", base, CANDIDATES)
study = Evidence("generative", conditions, QUESTIONS, GENERATIVE, measure)
