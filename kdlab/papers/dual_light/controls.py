"""What else could explain DL-KDD? Controls on ``night``, other distillers, and few clips under every enhancer.

The conditions are those of docs/methods.md, 1.4. Each is compared, seed by seed, with the baseline that differs from it
in one thing (:data:`COMPARISONS`). The runs that ``kdlab study dual_light`` has made already are used again.
"""

from dataclasses import replace

import pandas as pd

from kdlab.clips.standardised import Standardised
from kdlab.distill.baselines import AttentionTransfer, DecoupledKD, FitNet
from kdlab.measure.paired import Effect, verdict
from kdlab.measure.transfer import logits_on
from kdlab.nets.video import TinyR2Plus1D
from kdlab.nets.wrappers import WithStatistics
from kdlab.papers.dual_light.control_methods import RandomGamma, StoredTargets
from kdlab.papers.dual_light.enhancers import enhancers
from kdlab.papers.dual_light.method import DualLight
from kdlab.papers.dual_light.recipes import dual_light
from kdlab.papers.dual_light.study import CLAIMS, HEADLINE
from kdlab.study import FIRST, Part, Scores, Study, answers, beside, by_condition, fused
from kdlab.study.entropies import taught_rows
from kdlab.train.recipe import Recipe
from kdlab.train.runs import Run, find
from kdlab.train.sizes import STUDY, Profile

#: Enough seeds to see what explains the main effect, not to decide every row.
SEEDS, FEW_SEEDS = 5, 4
#: Half the widths of the student, a quarter of its multiply–accumulates.
SMALL = TinyR2Plus1D((4, 8, 20, 44))

#: How the words read in figures.
TITLES = {
    "from_teacher": "begun as the teacher, CE raw",
    "random_gamma": "brightness augmentation, CE",
    "ce_standardised": "CE, standardised clips",
    "ce_imagenet": "CE, ImageNet statistics",
    "stored": "DL-KDD, stored logits",
    "shuffled_within": "stored, shuffled within class",
    "shuffled_between": "stored, shuffled between classes",
    "reversed": "reversed: raw teaches enhanced",
    "dkd": "decoupled KD",
    "fitnet": "FitNets",
    "at": "attention transfer",
    "ce_small": "CE, small student",
    "dlkdd_small": "DL-KDD, small student",
    "with_teacher": "student + teacher, fused",
    "two_ce": "two CE students, fused",
    "two_lights": "CE raw + CE enhanced, fused",
}

#: Question → what is asked → (condition, baseline).
COMPARISONS = {
    "A good start, or light without a teacher?": {
        "begun at the teacher's weights − CE raw": ("from_teacher", "ce_raw"),
        "DL-KDD − begun at the teacher's weights": ("dlkdd", "from_teacher"),
        "brightness augmentation − CE raw": ("random_gamma", "ce_raw"),
        "DL-KDD − brightness augmentation": ("dlkdd", "random_gamma"),
        "raw teaches enhanced − CE enhanced": ("reversed", "ce_enhanced"),
    },
    "The scale of the input?": {
        "CE, standardised clips − CE raw": ("ce_standardised", "ce_raw"),
        "CE, ImageNet statistics − CE raw": ("ce_imagenet", "ce_raw"),
        "CE raw on enhanced clips − on its own light": ("ce_raw:on_enhanced", "ce_raw"),
        "CE enhanced on raw clips − on its own light": ("ce_enhanced:on_raw", "ce_enhanced"),
        "… re-estimated there − on its own light": ("ce_enhanced:on_raw:adabn", "ce_enhanced"),
        "DL-KDD on enhanced clips − on its own light": ("dlkdd:on_enhanced", "dlkdd"),
    },
    "What is it in the soft targets?": {
        "live targets − stored ones": ("dlkdd", "stored"),
        "stored targets − CE raw": ("stored", "ce_raw"),
        "stored targets − another clip's, same class": ("stored", "shuffled_within"),
        "another clip's, same class − CE raw": ("shuffled_within", "ce_raw"),
    },
    "And targets of any other clip, of whatever class?": {
        "another clip's, same class − any other clip's": ("shuffled_within", "shuffled_between"),
        "any other clip's targets − CE raw": ("shuffled_between", "ce_raw"),
    },
    "Other distillers, same teacher": {
        "DL-KDD − CE raw": ("dlkdd", "ce_raw"),
        "decoupled KD − CE raw": ("dkd", "ce_raw"),
        "FitNets − CE raw": ("fitnet", "ce_raw"),
        "attention transfer − CE raw": ("at", "ce_raw"),
    },
    "A smaller student, and twice the cost": {
        "small: DL-KDD − CE raw": ("dlkdd_small", "ce_small"),
        "student + teacher, fused − DL-KDD": ("with_teacher", "dlkdd"),
        "two seeds of CE raw, fused − one": ("two_ce", "ce_raw"),
        "two lights, fused − two seeds, fused": ("two_lights", "two_ce"),
    },
}


def columns(profile: Profile, seeds: int) -> dict[str, list[Recipe]]:
    """Condition → one recipe per seed: those of the main study that are compared with, and the controls."""
    return by_condition(lambda seed: _controls(dual_light(profile, seed)), seeds, first=FIRST)


def _controls(made: dict[str, Recipe]) -> dict[str, Recipe]:
    raw, student, reversed_teacher = made["ce_raw"], made["dlkdd"], made["same_light"].teacher
    methods = {"stored": StoredTargets(), "dkd": DecoupledKD(), "fitnet": FitNet(), "at": AttentionTransfer()}
    methods |= {f"shuffled_{how}": StoredTargets(shuffled=how) for how in ("within", "between")}
    changed = {
        "from_teacher": replace(raw, start=student.teacher),
        "random_gamma": replace(raw, method=RandomGamma()),
        "ce_standardised": replace(raw, view=Standardised()),
        "ce_imagenet": replace(raw, net=WithStatistics(raw.net)),
        "reversed": replace(made["ce_enhanced"], method=DualLight(), teacher=reversed_teacher),
        "ce_small": replace(raw, net=SMALL),
        "dlkdd_small": replace(student, net=SMALL),
    } | {name: replace(student, method=method) for name, method in methods.items()}
    return {c: made[c] for c in HEADLINE} | {c: replace(recipe, condition=c) for c, recipe in changed.items()}


def few_columns(profile: Profile, seeds: int) -> dict[str, list[Recipe]]:
    """Few clips: the headline conditions, and ``dlkdd:<enhancer>`` with a teacher on other enhancers (of gamma 1.8, and
    of none, the headline has students)."""
    ways = {name: enhancers(profile)[name] for name in ("gamma1.4", "gamma2.2", "he", "zerodce", "zerodce-steady")}

    def made(seed: int) -> dict[str, Recipe]:
        taught = {f"dlkdd:{n}": dual_light(profile, seed, enhancer=e)["dlkdd"] for n, e in ways.items()}
        return {c: recipe for c, recipe in dual_light(profile, seed).items() if c in HEADLINE} | taught

    return by_condition(made, seeds)


def effects(scores: Scores) -> dict[str, dict[str, Effect]]:
    """The paired effects of :data:`COMPARISONS`: question → what is asked → effect in points."""
    return {question: {what: scores.effect(a, b) for what, (a, b) in asked.items()}
            for question, asked in COMPARISONS.items()}


# --- the study -------------------------------------------------------------------------------------------------


def _parts(profile: Profile, seeds: int) -> list[Part]:
    """The controls; and students of few clips (demo size), tested on the test clips of ``profile``, which are more."""
    few = few_columns(beside(profile), seeds if profile.name == "smoke" else FEW_SEEDS)
    return [Part("night", columns(profile, seeds), answers=_answers, rows=taught_rows),
            Part("night_demo", few, on=profile.night, rows=taught_rows)]


def _answers(scores: Scores, runs: dict[str, list[Run]]) -> Scores:
    """``scores`` with what two networks say together, and what one says of the other light."""
    raw = runs["ce_raw"]
    scores = fused(scores, "two_lights", raw, runs["ce_enhanced"])
    for name, students, taught in (("two_ce", raw, "same_light"), ("with_teacher", runs["dlkdd"], "dlkdd")):
        teachers = [find(run.recipe.teacher, pretrained=False) for run in runs[taught]]  # same-light's: CE raw, too
        scores = fused(scores, name, students, teachers)
    for condition in HEADLINE:
        name, other = ("on_raw", raw) if condition == "ce_enhanced" else ("on_enhanced", runs["ce_enhanced"])
        for suffix, statistics in (("", False), (":adabn", True)):  # re-estimated there
            outputs = [logits_on(run, view=other[0].recipe.view, statistics=statistics) for run in runs[condition]]
            scores = answers(scores, f"{condition}:{name}{suffix}", outputs, scores.recipes[condition])
    return scores


def _lines(found: dict[str, Scores], rows: pd.DataFrame) -> list[str]:
    lines = []
    for question, answered in effects(found["night"]).items() if "night" in found else ():
        lines += [question, *(f"  {what}: {e}; {verdict(e)}" for what, e in answered.items())]
    if few := found.get("night_demo"):
        lines += [f"few clips, {condition} − CE raw: {few.effect(condition, 'ce_raw')}" for condition in few.predicted
                  if condition.startswith("dlkdd:")]
    return lines


study = Study("dual_light_controls", _parts, size=STUDY, seeds=SEEDS, claims=CLAIMS, lines=_lines, committed=True,
              seedwise=True)
