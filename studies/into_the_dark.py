"""Questions 2 and 3. A network of bright clips meets dark ones, without labels or with ten per class.

How far the teacher is ahead is *set*: by three gammas, and by the bright twin itself. A teacher that is ahead without a
second light, an ensemble of bright networks, tells light from a better teacher.
"""

from dataclasses import replace

from ensemble import Ensemble, Together
from from_nothing import TWIN, Twin
from worlds import (
    INTO_THE_DARK,
    Evidence,
    agreed,
    changed,
    clips,
    in_training,
    learnt,
    named,
    seed_of,
    tuning,
    with_choices,
)

from kdlab.clips.enhance import Gamma
from kdlab.clips.views import Enhanced
from kdlab.distill.adaptation import AsItIs
from kdlab.night.make import NightStream
from kdlab.papers.dual_light.regimes import start, with_labels, without_labels
from kdlab.study import Question
from kdlab.study.study import accuracies
from kdlab.train.recipe import Recipe
from kdlab.train.runs import Run, find_run
from kdlab.train.settings import Settings

#: Bright clips are those of another data seed, so that no dark clip shares their people and places.
BRIGHT = 1000
MEMBERS = 3
#: The learning rates of the starts, and of adaptation without labels (studies/budgets/).
RATE, ADAPTED = 8e-3, 3e-3
#: The views of brighter and darker teachers; the second light itself is gamma 1.8.
LIGHTS = {
    "gamma 1.2": Enhanced(Gamma(1.2)),
    "gamma 2.5": Enhanced(Gamma(2.5)),
    TWIN: Twin(),
}
WITHOUT = {
    "as_is": "the bright network as it is",
    "re_estimated": "re-estimated statistics",
    "enhanced_re": "teacher, enhanced",
    "dlkdd_re": "a second light",
    "entropy": "entropy minimisation",
    "same_light_re": "same-light distillation",
    "augmented_re": "augmentation, re-estimated",
    "self": "enhanced, self-distilled",
    "ensemble": "teacher, raw ensemble",
    "ensemble_kd": "a raw ensemble",
    "random": "a random teacher",
}
WITH = {
    "ce_raw": "ten labels alone",
    "dlkdd": "DL-KDD with ten labels",
    "same_light": "same-light KD with ten labels",
    "label_smoothing": "matched smoothing with ten labels",
    "ce_2x": "twice the steps with ten labels",
    "dlkdd:teacher": "teacher, enhanced, ten labels",
    "random": "a random teacher with ten labels",
}
_SECOND = {"settings.lr": (1e-3, 1e-2, 3e-2), "method.temperature": (0.5, 2.0, 4.0)}
_TARGETS = {"settings.lr": (1e-4, 3e-4, 3e-3), "method.alpha": (0.1, 0.25, 0.9, 1.0)}
#: Condition → what is tuned: of the augmentation how dark it makes clips before they are learnt. A random teacher is the
#: better the less it teaches (docs/log.md), so it has the method's values.
CANDIDATES = {
    "a second light": _SECOND,
    "same-light distillation": {
        "settings.lr": (3e-4, 1e-3, 1e-2),
        "method.temperature": (0.5, 2.0),
    },
    "enhanced, self-distilled": _SECOND,
    "a raw ensemble": _SECOND,
    "a random teacher": "a second light",
    "entropy minimisation": {"settings.lr": (1e-4, 3e-4, 1e-3, 1e-2)},
    "augmentation, re-estimated": {"start.method.low": (0.1, 0.5)},
    "ten labels alone": {
        "settings.lr": (3e-4, 3e-3),
        "settings.weight_decay": (1e-3, 1e-1, 1.0, 10.0),
    },
    "DL-KDD with ten labels": _TARGETS,
    "same-light KD with ten labels": _TARGETS,
    "a random teacher with ten labels": "DL-KDD with ten labels",
    "matched smoothing with ten labels": _TARGETS,
    "twice the steps with ten labels": "ten labels alone",
}
CANDIDATES |= {f"a second light, {light}": "a second light" for light in LIGHTS}


def base(size, world: int) -> dict[str, Recipe]:
    seed, night = seed_of(world, "into_the_dark"), clips(size.night, world)
    bright = clips(replace(size.night, per_class=size.bright), world)
    of_bright = {"data": NightStream(replace(bright, seed=BRIGHT + world)), "settings.lr": RATE}
    starts = [changed(start(size, seed + k), of_bright) for k in range(MEMBERS)]
    darkened = changed(start(size, seed, augmented=True), of_bright)
    made = without_labels(size, starts[0], darkened, night, Gamma())
    for name in ("entropy", "same_light_re", "dlkdd_re"):
        made[name] = changed(made[name], {"settings.lr": ADAPTED})
    anew, student, enhanced = made["re_estimated"], made["dlkdd_re"], made["enhanced_re"]
    members = tuple(replace(anew, start=one, seed=one.seed) for one in starts)
    together = Ensemble(
        "ensemble",
        night,
        method=AsItIs(),
        net=Together(anew.net, MEMBERS),
        window=size.window,
        settings=Settings(1),
        seed=seed,
        members=members,
    )
    made |= {
        "self": replace(student, condition="self", view=Enhanced(Gamma()), start=enhanced),
        "ensemble": together,
        "ensemble_kd": replace(student, condition="ensemble_kd", teacher=together),
    }
    untrained = replace(
        anew, condition="untrained", method=AsItIs(), settings=Settings(1), start=None
    )
    made["random"] = replace(student, condition="random", teacher=untrained)
    recipes = named(made, WITHOUT)
    for light, view in LIGHTS.items():
        brighter = replace(enhanced, view=view)
        recipes[f"teacher, {light}"] = brighter
        recipes[f"a second light, {light}"] = replace(student, teacher=brighter)
    few = replace(night, per_class=(size.few, *night.per_class[1:]))
    made = with_labels(size, starts[0], few, Gamma(), size.tuned)
    made["random"] = replace(
        made["dlkdd"], condition="random", teacher=replace(untrained, data=few)
    )
    return recipes | named(made, WITH)


QUESTIONS = [
    Question(
        "2",
        "A network of bright clips meets the dark without labels: what does a second light add to "
        "re-estimated statistics?",
        "a second light",
        "re-estimated statistics",
        rivals=(
            "augmentation, re-estimated",
            "entropy minimisation",
            "same-light distillation",
            "enhanced, self-distilled",
            "a raw ensemble",
            "a random teacher",
        ),
        teacher="teacher, enhanced",
        spread=4.0,
    ),
    Question(
        "3",
        "The same with ten labels per class: what does a second light add to labels?",
        "DL-KDD with ten labels",
        "ten labels alone",
        rivals=(
            "same-light KD with ten labels",
            "a random teacher with ten labels",
            "matched smoothing with ten labels",
            "twice the steps with ten labels",
        ),
        teacher="teacher, enhanced, ten labels",
        spread=2.2,
    ),
]
#: Student → teacher: the teacher's light is the dose.
DOSES = {
    "same-light distillation": "re-estimated statistics",
    "a second light": "teacher, enhanced",
}
DOSES |= {f"a second light, {light}": f"teacher, {light}" for light in LIGHTS}
TAUGHT = DOSES | {"a raw ensemble": "teacher, raw ensemble"}
#: Differences that stand beside the answer of a question: text, condition, other.
ALSO = {
    "2": [
        (f"{student}: {what}", one, "re-estimated statistics")
        for student, teacher in TAUGHT.items()
        for what, one in (("its teacher's lead", teacher), ("its gain", student))
    ]
}
ALSO["2"] += [
    ("a second light over its teacher", "a second light", "teacher, enhanced"),
    (
        "re-estimated statistics over the network as it is",
        "re-estimated statistics",
        "the bright network as it is",
    ),
]
NOTES = {
    "2": "The second light is gamma 1.8, if no other is named. *Enhanced, self-distilled* learns from itself and "
    "is tested on enhanced clips; *augmentation* darkens bright training clips. In the failed drawings of worlds 211 "
    "and 216 a second light − re-estimated statistics was +0.2 and +9.3."
}
#: The ends of the axis of a question's picture.
AXIS = {"2": (-4, 16)}


def measure(runs: dict[str, Run]) -> dict[str, float]:
    """Accuracies; the losses in training of starts, and of networks that learn from labels; agreement in training."""
    started = {
        "the bright start": runs["the bright network as it is"],
        "the darkened start": runs["augmentation, re-estimated"],
    }
    begun = {name: find_run(run.recipe.start, pretrained=False) for name, run in started.items()}
    labelled = {name: runs[name] for name in WITH.values()}
    taught = {name: runs[name] for name in {*DOSES, *DOSES.values()}}
    return (
        accuracies(runs)
        | learnt(in_training(begun | labelled))
        | agreed(in_training(taught), DOSES)
    )


tuned = tuning("into_the_dark", base, CANDIDATES, INTO_THE_DARK)
conditions = with_choices("into_the_dark", base, CANDIDATES)
study = Evidence("into_the_dark", conditions, QUESTIONS, INTO_THE_DARK, measure)
