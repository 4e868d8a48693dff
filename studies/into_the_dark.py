"""Questions 2 and 3. A network of bright clips meets dark ones, without labels or with ten per class.

How far the teacher is ahead is *set*: by three gammas and by Zero-DCE. A teacher that is ahead without a second light,
an ensemble of bright networks, tells light from a better teacher.
"""

from dataclasses import replace

from ensemble import Ensemble, Together
from worlds import INTO_THE_DARK, WORLDS, clips, named, seed_of, tuning, with_choices

from kdlab.clips.enhance import Gamma
from kdlab.clips.views import Enhanced
from kdlab.distill.adaptation import AsItIs
from kdlab.night.make import NightStream
from kdlab.papers.dual_light.enhancer import TrainedCurves
from kdlab.papers.dual_light.regimes import start, with_labels, without_labels
from kdlab.study import Question, Study
from kdlab.train.recipe import Recipe
from kdlab.train.settings import Settings

#: Bright clips are those of another data seed, so that no dark clip shares their people and places.
BRIGHT = 1000
MEMBERS = 3
ENHANCERS = {
    "gamma 1.2": lambda night: Gamma(1.2),
    "gamma 2.5": lambda night: Gamma(2.5),
    "Zero-DCE": lambda night: TrainedCurves(night, width=8, seed=night.seed),
}
#: The last world with Zero-DCE: it takes nine CPU minutes to brighten the clips of a world; all else takes 46.
WITH_ZERO_DCE = WORLDS[4]
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
}
WITH = {
    "ce_raw": "ten labels alone",
    "dlkdd": "DL-KDD with ten labels",
    "same_light": "same-light KD with ten labels",
    "label_smoothing": "matched smoothing with ten labels",
    "ce_2x": "twice the steps with ten labels",
    "dlkdd:teacher": "teacher, enhanced, ten labels",
}
_SOFT, _TARGETS = ({}, {"method.temperature": 2.0}), ({}, {"method.alpha": 0.9})
_SLOWER = ({}, {"settings.lr": 3e-4})
#: Condition → the values that are tuned: of the augmentation how dark it makes clips before they are learnt.
CANDIDATES = {
    "a second light": _SOFT,
    "same-light distillation": _SOFT,
    "enhanced, self-distilled": _SOFT,
    "a raw ensemble": _SOFT,
    "entropy minimisation": _SLOWER,
    "augmentation, re-estimated": ({}, {"start.method.low": 0.5}),
    "ten labels alone": _SLOWER,
    "DL-KDD with ten labels": _TARGETS,
    "same-light KD with ten labels": _TARGETS,
    "matched smoothing with ten labels": _TARGETS,
    "twice the steps with ten labels": "ten labels alone",
}
CANDIDATES |= {
    "re-estimated statistics": (),
    "a second light, gamma 1.2": "a second light",
    "a second light, gamma 2.5": "a second light",
}


def base(size, world: int) -> dict[str, Recipe]:
    seed, night = seed_of(world), clips(size.night, world)
    bright = NightStream(replace(night, seed=BRIGHT + world, per_class=size.bright))
    starts = [replace(start(size, seed + k), data=bright) for k in range(MEMBERS)]
    darkened = replace(start(size, seed, augmented=True), data=bright)
    made = without_labels(size, starts[0], darkened, night, Gamma())
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
    found = named(made, WITHOUT)
    for name, enhancer in ENHANCERS.items():
        if name == "Zero-DCE" and world > WITH_ZERO_DCE:
            continue
        made = without_labels(size, starts[0], darkened, night, enhancer(night))
        found |= {
            f"teacher, {name}": made["enhanced_re"],
            f"a second light, {name}": made["dlkdd_re"],
        }
    few = replace(night, per_class=(size.few, *night.per_class[1:]))
    return found | named(with_labels(size, starts[0], few, Gamma(), size.tuned), WITH)


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
            "matched smoothing with ten labels",
            "twice the steps with ten labels",
        ),
        teacher="teacher, enhanced, ten labels",
        spread=2.2,
    ),
]
LIGHTS = {name: (f"teacher, {name}", f"a second light, {name}") for name in ENHANCERS}
LIGHTS |= {"a raw ensemble": ("teacher, raw ensemble", "a raw ensemble")}
#: Differences that stand beside the answer of a question: text, condition, other.
ALSO = {
    "2": [
        (f"{name}: {what}", one, "re-estimated statistics")
        for name, pair in LIGHTS.items()
        for what, one in zip(("the teacher's lead", "its student's gain"), pair, strict=True)
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
    "is tested on enhanced clips; *augmentation* darkens bright training clips. Zero-DCE has half of the "
    "channels of question 4."
}

tuned = tuning("into_the_dark", base, CANDIDATES, INTO_THE_DARK)
study = Study(
    "into_the_dark",
    with_choices("into_the_dark", base, CANDIDATES),
    QUESTIONS,
    INTO_THE_DARK,
    worlds=WORLDS,
)
