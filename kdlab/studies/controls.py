"""What else could explain DL-KDD? Controls on ``night``, other distillers, and few clips under every enhancer.

The conditions are those of docs/methods.md, 1.4. Each is compared, seed by seed, with the baseline that differs from it
in one thing (:data:`COMPARISONS`). The runs that ``kdlab study dual_light`` has made already are used again.
"""

from collections.abc import Sequence
from dataclasses import replace

from kdlab.clips.standardised import Standardised
from kdlab.distill.baselines import AttentionTransfer, DecoupledKD, FitNet
from kdlab.distill.controls import RandomGamma, StoredTargets
from kdlab.distill.dual_light import DualLight
from kdlab.evidence import Evidence
from kdlab.measure.paired import Effect, verdict
from kdlab.measure.transfer import asked
from kdlab.nets.video import TinyR2Plus1D
from kdlab.nets.wrappers import WithStatistics
from kdlab.profiles import DEMO, STUDY, Profile, current, dual_light
from kdlab.recipe import Recipe
from kdlab.runs import Run, find
from kdlab.studies.dual_light import HEADLINE, ledger
from kdlab.studies.enhancers import enhancers
from kdlab.study import Scores, answers, beside, collect, flat, fused, rows, tested

__all__ = ["COMPARISONS", "PROFILE", "TITLES", "columns", "committed", "effects", "few_columns", "run", "trainings"]

PROFILE = STUDY
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
        "a start at the teacher's weights": ("from_teacher", "ce_raw"),
        "DL-KDD beyond that start": ("dlkdd", "from_teacher"),
        "brightness augmentation": ("random_gamma", "ce_raw"),
        "DL-KDD beyond that augmentation": ("dlkdd", "random_gamma"),
        "the reversed direction: raw teaches enhanced": ("reversed", "ce_enhanced"),
    },
    "The scale of the input?": {
        "standardising each clip": ("ce_standardised", "ce_raw"),
        "ImageNet's statistics, not the view's": ("ce_imagenet", "ce_raw"),
        "raw student shown enhanced clips": ("ce_raw:on_enhanced", "ce_raw"),
        "teacher shown raw clips": ("ce_enhanced:on_raw", "ce_enhanced"),
        "… its statistics re-estimated there": ("ce_enhanced:on_raw:adabn", "ce_enhanced"),
        "DL-KDD student shown enhanced clips": ("dlkdd:on_enhanced", "dlkdd"),
    },
    "What is it in the soft targets?": {
        "live targets over stored ones": ("dlkdd", "stored"),
        "stored targets": ("stored", "ce_raw"),
        "… what they say of the clip": ("stored", "shuffled_within"),
        "targets of another clip of the class": ("shuffled_within", "ce_raw"),
    },
    "And targets of any other clip, of whatever class?": {
        "what they say of the class": ("shuffled_within", "shuffled_between"),
        "targets of any other clip": ("shuffled_between", "ce_raw"),
    },
    "Other distillers, same teacher": {
        "DL-KDD": ("dlkdd", "ce_raw"),
        "decoupled KD": ("dkd", "ce_raw"),
        "FitNets": ("fitnet", "ce_raw"),
        "attention transfer": ("at", "ce_raw"),
    },
    "A smaller student, and twice the cost": {
        "DL-KDD for a small student": ("dlkdd_small", "ce_small"),
        "student and teacher, fused": ("with_teacher", "dlkdd"),
        "two seeds of CE raw, fused": ("two_ce", "ce_raw"),
        "two lights, fused, over two seeds": ("two_lights", "two_ce"),
    },
}


def columns(profile: Profile, seeds: int) -> dict[str, list[Recipe]]:
    """Condition → one recipe per seed: those of the main study that are compared with, and the controls."""
    return _by_condition([_controls(dual_light(profile, seed), small=SMALL) for seed in range(seeds)])


def _by_condition(per_seed: Sequence[dict[str, Recipe]]) -> dict[str, list[Recipe]]:
    return {condition: [recipes[condition] for recipes in per_seed] for condition in per_seed[0]}


def _controls(made: dict[str, Recipe], small: TinyR2Plus1D) -> dict[str, Recipe]:
    raw, student = made["ce_raw"], made["dlkdd"]
    changed = {
        "from_teacher": replace(raw, start=student.teacher),
        "random_gamma": replace(raw, method=RandomGamma()),
        "ce_standardised": replace(raw, view=Standardised()),
        "ce_imagenet": replace(raw, net=WithStatistics(raw.net)),
        "stored": replace(student, method=StoredTargets()),
        "shuffled_within": replace(student, method=StoredTargets(shuffled="within")),
        "shuffled_between": replace(student, method=StoredTargets(shuffled="between")),
        "reversed": replace(made["ce_enhanced"], method=DualLight(), teacher=made["same_light"].teacher),
        "dkd": replace(student, method=DecoupledKD()),
        "fitnet": replace(student, method=FitNet()),
        "at": replace(student, method=AttentionTransfer()),
        "ce_small": replace(raw, net=small),
        "dlkdd_small": replace(student, net=small),
    }
    return {c: made[c] for c in HEADLINE} | {
        condition: replace(recipe, condition=condition) for condition, recipe in changed.items()
    }


def few_columns(profile: Profile, seeds: int) -> dict[str, list[Recipe]]:
    """Few clips: the headline conditions, and ``dlkdd:<enhancer>`` with a teacher on other enhancers (of gamma 1.8, and
    of none, the headline has students)."""
    ways = {name: enhancers(profile)[name] for name in ("gamma1.4", "gamma2.2", "he", "zerodce", "zerodce-steady")}
    per_seed = []
    for seed in range(seeds):
        made = dual_light(profile, seed)
        taught = {f"dlkdd:{name}": dual_light(profile, seed, enhancer=e)["dlkdd"] for name, e in ways.items()}
        per_seed.append({c: made[c] for c in HEADLINE} | taught)
    return _by_condition(per_seed)


def trainings(profile: Profile, seeds: int | None = None) -> list[Recipe]:
    """All that :func:`run` trains."""
    return flat(columns(profile, seeds or SEEDS), few_columns(current(beside(profile)), FEW_SEEDS))


def committed() -> dict[str, dict[str, list[Recipe]]]:
    """What :func:`kdlab.study.stale_studies` compares: committed predictions → condition → today's recipes."""
    return {"dual_light_controls-night": columns(PROFILE, 1), "dual_light_controls-night_demo": few_columns(DEMO, 1)}


def _matrix(scores: Scores, runs: dict[str, list[Run]]) -> Scores:
    """``scores`` with every headline network also shown the other light, as it is and with re-estimated statistics."""
    raw, enhanced = (runs[c][0].recipe.view for c in ("ce_raw", "ce_enhanced"))
    for condition in HEADLINE:
        name, view = ("on_raw", raw) if condition == "ce_enhanced" else ("on_enhanced", enhanced)
        for suffix, statistics in (("", False), (":adabn", True)):
            said = [asked(run, view=view, statistics=statistics) for run in runs[condition]]
            scores = answers(scores, f"{condition}:{name}{suffix}", said, scores.recipes[condition])
    return scores


def effects(scores: Scores) -> dict[str, dict[str, Effect]]:
    """The paired effects of :data:`COMPARISONS`: question → what is asked → effect in points."""
    return {question: {what: scores.effect(a, b) for what, (a, b) in asked.items()}
            for question, asked in COMPARISONS.items()}


def run(profile: Profile, seeds: int | None = None, *, few: Profile | None = None, few_seeds: int = FEW_SEEDS,
        workers: int | None = None, say=print) -> Scores:
    """Run (or resume) the controls; write their evidence, ``dual_light_controls.csv`` and two files of predictions.

    Students of the ``few``-clips profile (demo, or smoke beside smoke) are tested on the test clips of ``profile``,
    which are more. The default number of seeds is enough to see what explains the main effect, not to decide every row.
    """
    seeds, few = seeds or SEEDS, few or current(beside(profile))
    evidence = Evidence.of("dual_light_controls", profile, {"night": seeds, "night_demo": few_seeds}, say=say,
                           whole=(profile, few) == (PROFILE, DEMO))
    scores, runs = collect(columns(profile, seeds), workers=workers, say=say)
    raw = runs["ce_raw"]
    scores = fused(scores, "two_lights", raw, runs["ce_enhanced"])
    scores = fused(scores, "two_ce", raw, [*raw[1:], raw[0]])
    teachers = [find(run.recipe.teacher, pretrained=False) for run in runs["dlkdd"]]
    scores = _matrix(fused(scores, "with_teacher", runs["dlkdd"], teachers), runs)
    scores.save(evidence.file("dual_light_controls-night"))
    table = rows("dual_light_controls", "night", scores, runs)

    _, students = collect(few_columns(few, few_seeds), workers=workers, say=say)
    small = tested(students, profile.night)
    small.save(evidence.file("dual_light_controls-night_demo"))
    table += rows("dual_light_controls", "night_demo", small, students)
    written = evidence.save_rows(table)
    for some in (scores, small):
        say(ledger(some).to_string(index=False))
    for question, found in effects(scores).items():
        say(question)
        for what, e in found.items():
            say(f"  {what}: {e}; {verdict(e)}")
    for condition in small.predicted:
        if condition.startswith("dlkdd:"):
            say(f"few clips, {condition} − CE raw: {small.effect(condition, 'ce_raw')}")
    say(str(written))
    return scores
