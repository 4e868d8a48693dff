"""The study of PKD: internal classifiers by every method, on three sets in two regimes, and verdicts P3 and P4.

PKD assumes networks that get stronger from motion over residual to I-frame. On ``night_context`` they stand so; on
``night_bright`` (places tell nothing) and on the real ten-class set in three folds of people the order is reversed, and
the teacher that should be the best is the worst. So every figure goes with the three networks' accuracies.

The headline is the mean over the nine trained exits. Cells that are one training by construction (for the motion
network PKD *is* its reverse) are left out of a comparison, not counted as a tie.

A network that knows its training clips by heart teaches what the label says. So on ``night_context`` exits learn from
networks of the other half of the scenes, too (``recipes.crossed``), read on the same unread clips.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd

from kdlab.clips.coviar import DIFFERENCE
from kdlab.clips.held_out import HeldOut
from kdlab.clips.later import Later
from kdlab.measure.paired import Effect, effect
from kdlab.measure.transfer import accuracy_on
from kdlab.night import ACTIONS
from kdlab.night.streams import NightStream
from kdlab.papers.progressive import recipes
from kdlab.papers.progressive.asking import asked
from kdlab.papers.progressive.exits import ExitRecipe
from kdlab.papers.progressive.method import PAPER, Progressive, coinciding
from kdlab.papers.progressive.nets import FINALS, ORDER, TRAINED
from kdlab.papers.progressive.recipes import STUDY, conditions, crossed, night, trio
from kdlab.papers.progressive.teachers import (
    TWICE_SEEDS,
    VALIDATION,
    beside_effects,
    entropy_rows,
    gate_line,
    may_teach,
    network_rows,
    twice,
)
from kdlab.study import (
    FIRST,
    UNREAD,
    Claim,
    Outcome,
    Part,
    Plan,
    Scores,
    Study,
    beside,
    by_condition,
    fresh,
    in_folds,
    real_folds,
)
from kdlab.train.recipe import UserClips
from kdlab.train.runs import Run, find
from kdlab.train.sizes import ExitSize

#: Runs of demo size, from which `kdlab reproduce` knows where a user's should lie.
DEMO_SEEDS = 4
#: Test clips a class that nobody has read.
FRESH = 200
#: Seeds where places tell nothing: a second reading, of no claim, with the longest trainings.
BRIGHT_SEEDS = 3
#: What is read on the unread clips beside the claims: the control of inherited errors that has no teacher.
BESIDE = ("smoothing",)
#: Where the three networks' order is looked at before the study: probabilities that the place tells the class.
CONTEXTS = (0.0, 0.6, recipes.CONTEXT)


def data_sets(size: ExitSize) -> dict[str, list[NightStream | HeldOut]]:
    """Name → its folds."""
    return {"night_context": [night(size)], "night_bright": [night(size, 0.0)],
            "weizmann": [HeldOut(clips) for clips in real_folds("weizmann")]}


SETS = ("night_context", "night_bright", "weizmann")
#: The condition of each three networks that stands for them in rows about the networks themselves.
LABELS = ("ce_ic", "ce_ic_unseen")


def columns(size: ExitSize, seeds: int, data: NightStream | UserClips | HeldOut,
            every: bool = True, first: int = 0) -> dict[str, list[ExitRecipe]]:
    """Condition → one recipe a seed, from ``first`` on; only the headline's without ``every``."""
    if every:
        return by_condition(lambda seed: _recipes(size, data, seed), seeds, first=first)
    return by_condition(lambda seed: conditions(size, trio(size, data, seed)), seeds, recipes.HEADLINE)


def trained(size: ExitSize, seeds: int, name: str, data) -> dict[str, list[ExitRecipe]]:
    """:func:`columns` of the set ``name``, or one of its folds ``data``: all ``seeds`` where claims are read, and fewer
    elsewhere; of `night` from the first confirming seed on."""
    few = {"night_context": seeds, "night_bright": min(seeds, BRIGHT_SEEDS)}.get(name, min(seeds, size.seeds))
    return columns(size, few, data, first=0 if name == "weizmann" else FIRST)


def unread(size: ExitSize) -> Later:
    """The test clips of ``night_context`` that nobody has read: later ones, since its places tell the class."""
    return fresh(night(size), None if size.name == "smoke" else FRESH)


def halved(size: ExitSize, seeds: int) -> dict[str, list[ExitRecipe]]:
    """Condition → one recipe a confirming seed, of exits on networks of one half of the scenes of ``night_context``."""
    data = night(size)
    clips = max(4, size.per_class[0]), *size.per_class[1:]  # of three clips a class one half lacks a class
    data = replace(data, night=replace(data.night, per_class=clips))
    return by_condition(lambda seed: crossed(size, data, seed), seeds, first=FIRST)


def _recipes(size: ExitSize, data, seed: int) -> dict[str, ExitRecipe]:
    found = conditions(size, trio(size, data, seed))
    other = conditions(size, trio(size, data, seed, residual=DIFFERENCE))
    for name in ("ce_ic", "pkd"):
        found[f"{name}_difference"] = replace(other[name], condition=f"{name}_difference")
    times = lambda r, factor: replace(r.settings, epochs=max(1, round(factor * r.settings.epochs)))  # noqa: E731
    found["ce_2x"] = replace(found["ce_ic"], condition="ce_2x", settings=times(found["ce_ic"], 2))
    found["pkd_2x"] = replace(found["pkd"], condition="pkd_2x", settings=times(found["pkd"], 2))
    found["ce_half"] = replace(found["ce_ic"], condition="ce_half", settings=times(found["ce_ic"], 0.5))
    found["pkd_batch_statistics"] = replace(found["pkd"], condition="pkd_batch_statistics",
                                            view=replace(found["pkd"].view, batch_statistics=True))
    return found


def places(modalities: Sequence[str]) -> list[int]:
    """The trained exits of ``modalities`` among the twelve, from 0."""
    return [4 * ORDER.index(m) + k for m in modalities for k in range(3)]


def exit_effect(scores: Scores, condition: str, baseline: str, exits: list[int] | None = None) -> Effect:
    """Paired difference in points of the mean over ``exits`` (default: the nine trained ones)."""
    some = TRAINED if exits is None else exits
    means = [scores.correct(name)[:, :, some].mean(2) for name in (condition, baseline)]
    return effect(*means, scores.units)


def regime(table: pd.DataFrame, data: str) -> str:
    """The three networks of ``data`` by mean *validation* accuracy, best first: ``iframe 88.1 > residual 87.4 > …``."""
    some = table[(table.data == data) & (table.metric == "val_accuracy") & table.condition.str.startswith("final:")]
    means = some.groupby("condition").value.mean().sort_values(ascending=False)
    return " > ".join(f"{name.split(':')[1]} {value:.1f}" for name, value in means.items())


def differing(condition: str, baseline: str) -> list[str]:
    """The modalities on whose network the two conditions are not one and the same training."""
    made = conditions(STUDY, trio(STUDY, night(STUDY))) | crossed(STUDY, night(STUDY))
    one, other = (made[name].method for name in (condition, baseline))
    if not type(one) is type(other) is Progressive or replace(one, schedule=PAPER) != replace(other, schedule=PAPER):
        return list(ORDER)
    return [m for m in ORDER if len(coinciding({"one": one.schedule, "other": other.schedule}, m)) == 2]


def _gain(scores: Scores, condition: str, other: str) -> Effect:
    """:func:`exit_effect` on the exits where the two differ."""
    return exit_effect(scores, condition, other, places(differing(condition, other)))


PLAN = Plan("night_context_fresh", "night_context", FRESH * len(ACTIONS))
#: Of exits on networks of the other half of the scenes: on the same clips. Nothing like them was read before.
CROSSED = replace(PLAN, data="night_context_crossed_fresh")


def gate(rows: pd.DataFrame) -> tuple[bool, str]:
    """Of the claims on whole training sets: may the three networks teach?"""
    return may_teach(rows, PLAN.earlier)


def crossed_gate(rows: pd.DataFrame) -> tuple[bool, str]:
    """:func:`gate` of the networks that learn one half of the scenes."""
    return may_teach(rows, CROSSED.data)


_NINE = "accuracy, mean of nine exits"
_OTHERS = ("reversed", "random_teacher", *recipes.ORDERS)
_P3 = Claim("P3", "PKD makes better internal classifiers than labels do", "pkd", "ce_ic",
            {"own_final": "own-final KD"}, "PKD − CE, mean of nine exits", _gain, metric=_NINE, plan=PLAN, gate=gate)
_P4 = Claim("P4", "the order motion, residual, own matters", "pkd", _OTHERS, (), "PKD − each other order, − random",
            _gain, metric="accuracy, mean of the exits that differ", plan=PLAN, gate=gate,
            rule="the other orders and a random teacher are the controls: PKD must beat each")
#: Of docs/ledger.md. P4 compares PKD with each other order of the same three teachers, and a random one. Of the claims
#: on networks of the other half of the scenes, the power is that of P3's and P4's spread on whole training sets.
CLAIMS = (
    _P3,
    Claim("P3a", "PKD as the abstract has it, the I-frame network last, beats labels", "pkd_iframe", "ce_ic",
          {"iframe_kd": "I-frame KD", "own_final": "own-final KD"}, "PKD ending with the I-frame − CE", _gain,
          metric=_NINE, plan=PLAN, gate=gate),
    Claim("P3u", "PKD beats labels where its teachers have not seen the clips", "pkd_unseen", "ce_ic_unseen",
          {"own_final_unseen": "own-final KD"}, "PKD − CE, unseen clips", _gain, metric=_NINE, plan=CROSSED,
          gate=crossed_gate, like=_P3),
    Claim("P3w", "PKD at T = 4 (no T²) beats labels where its teachers have not seen the clips", "pkd_warm_unseen",
          "ce_ic_unseen", {"own_final_warm_unseen": "own-final KD, T = 4"}, "PKD at T = 4 − CE, unseen clips", _gain,
          metric=_NINE, plan=CROSSED, gate=crossed_gate, like=_P3),
    _P4,
    Claim("P4u", "the order of the teachers matters where they have not seen the clips", "pkd_unseen",
          {f"{name}_unseen": name for name in _OTHERS}, (), "PKD − each other order, − random, unseen clips", _gain,
          metric=_P4.metric, plan=CROSSED, gate=crossed_gate, rule=_P4.rule, like=_P4),
)


def ledger(scores: Scores) -> pd.DataFrame:
    """The rows of docs/ledger.md that one set can tell: P3 to P4u."""
    return study.verdicts(scores)


def _parts(size: ExitSize, seeds: int) -> list[Part]:
    """The sets, and fresh clips where claims are read; exits on networks of the other half of the scenes; networks of
    twice the epochs; one trio at every context that the study does not train at anyway; and demo-size runs, whose first
    seed's become the committed weights."""
    parts = []
    for name, folds in data_sets(size).items():
        how = dict(unit="group", real=name) if name == "weizmann" else {}
        parts += in_folds(name, folds, partial(trained, size, seeds, name), rows=_validated, whole=_tested,
                          answers=lambda scores, runs: replace(scores, logits={}), **how)
    every = trained(size, seeds, "night_context", night(size))
    read = {c for claim in CLAIMS if claim.plan == PLAN for c in claim.trained(every)} | set(BESIDE) & set(every)
    unseen = dict(on=unread(size), asked=asked, whole=_tested)
    halves = halved(size, seeds)
    parts.append(Part(PLAN.data, {c: every[c] for c in sorted(read)}, rows=lambda outcome: [], **unseen))
    parts.append(Part(CROSSED.data, halves, rows=_validated, **unseen))
    for name, table in ((PLAN.earlier, every), (CROSSED.data, halves)):
        networks = [column.backbones for column in next(iter(table.values()))[:TWICE_SEEDS]]
        longer = by_condition(lambda seed, of=networks: twice(of[seed]), len(networks))
        parts.append(Part(name, longer, file="", rows=_twice_rows))
    for context in CONTEXTS[1:-1]:
        data = night(size, context)
        data = replace(data, night=replace(data.night, per_class=(*size.per_class[:2], 1)))
        three = {f"final:{m}:4": [recipe] for m, recipe in zip(ORDER, trio(size, data), strict=True)}
        parts.append(Part(data.name, three, file="", rows=_audited))
    small = beside(size)
    demo = _demo(small, seeds if size.name == "smoke" else DEMO_SEEDS)
    return [*parts, replace(demo, file="", rows=_demo_rows, publish=True)]


def _demo(size: ExitSize, seeds: int) -> Part:
    return Part("night_context_demo", columns(size, seeds, night(size), every=False))


def _audited(outcome: Outcome) -> list[dict]:
    table = []
    for condition, (run,) in outcome.runs.items():
        value = "val_accuracy", run.predictions("val").accuracy, "%"
        table += outcome.numbers(value, condition=condition, seed=0, recipe=run.folder.name)
    return table


def _demo_rows(outcome: Outcome) -> list[dict]:
    return [row for row in test_rows(outcome) if row["condition"] in recipes.HEADLINE]


def _tested(outcome: Outcome) -> list[dict]:
    accuracies = ", ".join(f"{m} {a:.1f} %" for m, a in finals(outcome.scores).items())
    outcome.say(f"{outcome.part.data}: networks {accuracies}")
    return test_rows(outcome)


def finals(scores: Scores) -> dict[str, float]:
    """Mean test accuracy in percent of the three networks' own final classifiers."""
    right = 100 * scores.correct(next(iter(scores.predicted))).mean((0, 1))
    return {modality: float(right[4 * i + 3]) for i, modality in enumerate(ORDER)}


def test_rows(outcome: Outcome) -> list[dict]:
    """Tidy rows: test accuracy of every exit, of each seed, and the mean over the nine trained ones."""
    table, scores = [], outcome.scores
    for condition in scores.predicted:
        every = zip(scores.seeds, scores.accuracy(condition), scores.recipes[condition], strict=True)
        for seed, right, recipe in every:
            values = {condition: right[TRAINED].mean()}
            for place in range(12) if condition in LABELS else TRAINED:
                who = "final" if place % 4 == 3 else condition
                values[f"{who}:{ORDER[place // 4]}:{place % 4 + 1}"] = right[place]
            for name, value in values.items():
                table += outcome.numbers(("accuracy", value, "%"), condition=name, seed=seed, recipe=recipe)
    return table


def _many(size: ExitSize) -> NightStream:
    """The validation clips on which the networks of ``night_context`` are compared with longer trained ones."""
    data, count = night(size), VALIDATION if size == STUDY else size.per_class[1]
    return replace(data, night=replace(data.night, per_class=(0, count, 0)))


def _validated(outcome: Outcome) -> list[dict]:
    """Tidy rows of validation accuracy (mean of nine exits, and each final's), CPU seconds, the entropy of the targets,
    and what :func:`.teachers.teachers` reads: the networks' cross-entropies on training clips."""
    table, many = [], _many(outcome.size) if outcome.part.data in (PLAN.earlier, CROSSED.data) else None
    for condition, column in outcome.runs.items():
        for seed, run in zip(outcome.scores.seeds, column, strict=True):
            right = 100 * run.predictions("val").correct.mean(0)
            about = dict(seed=seed, recipe=run.folder.name)
            values = ("val_accuracy", right[TRAINED].mean(), "%"), ("cpu_seconds", run.provenance["cpu_seconds"], "s")
            table += outcome.numbers(*values, condition=condition, **about) + entropy_rows(outcome, condition, run)
            if condition in LABELS:
                networks = {m: find(needed, pretrained=False) for m, needed in run.recipe.needs().items()}
                accuracies = [accuracy_on(net, many, "val") for net in networks.values()] if many else right[FINALS]
                table += network_rows(outcome, networks, seed, accuracies)
    return table


def _twice_rows(outcome: Outcome) -> list[dict]:
    """Tidy rows of validation accuracy of the networks that learnt for twice the epochs."""
    many = _many(outcome.size)
    return [row for condition, column in outcome.runs.items() for run in column
            for row in outcome.numbers(("val_accuracy", accuracy_on(run, many, "val"), "%"), condition=condition,
                                       seed=run.recipe.seed, recipe=run.folder.name)]


def taught_in(data: str) -> str:
    """In which data set's rows stands what taught the exits that are read on ``data``: unread clips have none."""
    return data if data == CROSSED.data else data.removesuffix(UNREAD)


def _lines(found: dict[str, Scores], rows: pd.DataFrame) -> list[str]:
    """Of each set: who may teach; effects with the entropies of the targets beside them."""
    lines = []
    for data, scores in found.items():
        at = taught_in(data)
        told = beside_effects(CLAIMS, scores, rows, at)
        lines += [f"{data}: {gate_line(rows, at)}", told.round(3).to_string(index=False)] if len(told) else []
    return [*lines, *(f"{data}: {may_teach(rows, data)[1]}" for data in (PLAN.earlier, CROSSED.data) if data in found)]


def _nine(runs: dict[str, list[Run]], condition: str) -> float:
    """Mean accuracy of the trained exits of the runs of a condition, in percent."""
    return 100 * float(np.mean([run.predictions().correct.T[TRAINED].mean() for run in runs[condition]]))


study = Study(
    "progressive", _parts, size=STUDY, seeds=10, claims=CLAIMS, number=_nine, titles=recipes.TITLES, lines=_lines,
    committed=True, seedwise=True, yours=lambda: _demo(recipes.DEMO, recipes.DEMO.seeds),
)
