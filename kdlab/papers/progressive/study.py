"""The study of PKD: internal classifiers by every method, on three sets in two regimes, and verdicts P3 and P4.

PKD assumes networks that get stronger from motion over residual to I-frame. On ``night_context`` they stand so; on
``night_bright`` (places tell nothing) and on the real ten-class set in three folds of people the order is reversed, and
the teacher that should be the best is the worst. So every figure goes with the three networks' accuracies.

The headline is the mean over the nine trained exits. Cells that are one training by construction (for the motion
network PKD *is* its reverse) are left out of a comparison, not counted as a tie.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd

from kdlab.clips.coviar import DIFFERENCE
from kdlab.clips.held_out import HeldOut
from kdlab.measure.paired import Effect, effect
from kdlab.night import ACTIONS
from kdlab.night.streams import NightStream
from kdlab.papers.progressive import recipes
from kdlab.papers.progressive.asking import asked
from kdlab.papers.progressive.budgets import teaching_losses
from kdlab.papers.progressive.exits import ExitRecipe
from kdlab.papers.progressive.method import PAPER, Progressive, coinciding, gate
from kdlab.papers.progressive.nets import ORDER, TRAINED
from kdlab.papers.progressive.recipes import STUDY, conditions, night, trio
from kdlab.study import (
    FIRST,
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
#: Where the three networks' order is looked at before the study: probabilities that the place tells the class.
CONTEXTS = (0.0, 0.6, recipes.CONTEXT)


def data_sets(size: ExitSize) -> dict[str, list[NightStream | HeldOut]]:
    """Name → its folds."""
    return {"night_context": [night(size)], "night_bright": [night(size, 0.0)],
            "weizmann": [HeldOut(clips) for clips in real_folds("weizmann")]}


SETS = ("night_context", "night_bright", "weizmann")


def columns(size: ExitSize, seeds: int, data: NightStream | UserClips | HeldOut,
            every: bool = True, first: int = 0) -> dict[str, list[ExitRecipe]]:
    """Condition → one recipe a seed, from ``first`` on; only the headline's without ``every``."""
    if every:
        return by_condition(lambda seed: _recipes(size, data, seed), seeds, first=first)
    return by_condition(lambda seed: conditions(size, trio(size, data, seed)), seeds, recipes.HEADLINE)


def trained(size: ExitSize, seeds: int, name: str, data) -> dict[str, list[ExitRecipe]]:
    """:func:`columns` of the set ``name``, or one of its folds ``data``: all ``seeds`` where claims are read, and those
    of the size elsewhere; of `night` from the first confirming seed on."""
    few = seeds if name == "night_context" else min(seeds, size.seeds)
    return columns(size, few, data, first=0 if name == "weizmann" else FIRST)


def unread(size: ExitSize) -> NightStream:
    """The test clips of ``night_context`` that nobody has read."""
    return fresh(night(size), None if size.name == "smoke" else FRESH)


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


#: Of a network on its training clips: as it is used, and with the statistics of each batch.
TRAIN_CE = ("train_ce", "train_ce_batch_statistics")


def teachers(table: pd.DataFrame, data: str) -> pd.DataFrame:
    """May the three networks of ``data`` teach (``distill.progressive.gate``)? A row for each modality, seed and fold
    with both cross-entropies in nats, and why not; no rows where the study did not write them."""
    some = table[(table.data == data) & table.metric.isin(TRAIN_CE)]
    wide = some.pivot_table(index=["condition", "seed", "fold"], columns="metric", values="value").reset_index()
    wide["condition"] = wide.condition.str.split(":").str[1]
    wide["gate"] = [gate(*losses) or "may teach" for losses in wide.reindex(columns=TRAIN_CE).to_numpy(float)]
    return wide.rename(columns={"condition": "modality"})


def gate_line(table: pd.DataFrame, data: str) -> str:
    """:func:`teachers` in a line: each network's largest training loss over seeds and folds, and who may not teach."""
    found = teachers(table, data)
    if found.empty:
        return "gate: not among the rows of this set (docs/log.md has its first seed's)"
    worst = found.groupby("modality").train_ce.max()
    stopped = found[found.gate != "may teach"]
    word = "all may teach" if stopped.empty else f"{len(stopped)} of {len(found)} may not teach"
    return f"gate: largest training CE {', '.join(f'{m} {worst[m]:.2f}' for m in ORDER)} nats; {word}"


def differing(condition: str, baseline: str) -> list[str]:
    """The modalities on whose network the two conditions are not one and the same training."""
    made = conditions(STUDY, trio(STUDY, night(STUDY)))
    one, other = (made[name].method for name in (condition, baseline))
    if not type(one) is type(other) is Progressive or replace(one, schedule=PAPER) != replace(other, schedule=PAPER):
        return list(ORDER)
    return [m for m in ORDER if len(coinciding({"one": one.schedule, "other": other.schedule}, m)) == 2]


def _gain(scores: Scores, condition: str, other: str) -> Effect:
    """:func:`exit_effect` on the exits where the two differ."""
    return exit_effect(scores, condition, other, places(differing(condition, other)))


PLAN = Plan("night_context_fresh", "night_context", FRESH * len(ACTIONS))
#: Of docs/ledger.md. P4 compares PKD with each other order of the same three teachers, and a random one.
CLAIMS = (
    Claim("P3", "PKD makes better internal classifiers than labels do", "pkd", "ce_ic", {"own_final": "own-final KD"},
          "PKD − CE, mean of nine exits", _gain, metric="accuracy, mean of nine exits", plan=PLAN),
    Claim("P4", "the order motion, residual, own matters", "pkd", ("reversed", "random_teacher", *recipes.ORDERS), (),
          "PKD − each other order, − random", _gain, metric="accuracy, mean of the exits that differ", plan=PLAN,
          rule="the other orders and a random teacher are the controls: PKD must beat each"),
)


def ledger(scores: Scores) -> pd.DataFrame:
    """Rows P3 and P4 of docs/ledger.md for one set."""
    return study.verdicts(scores)


def _parts(size: ExitSize, seeds: int) -> list[Part]:
    """The sets, and fresh clips where claims are read; one trio at every context that the study does not train at
    anyway; and demo-size runs, whose first seed's become the committed weights."""
    parts = []
    for name, folds in data_sets(size).items():
        how = dict(unit="group", real=name) if name == "weizmann" else {}
        parts += in_folds(name, folds, partial(trained, size, seeds, name), rows=_validated, whole=_tested,
                          answers=lambda scores, runs: replace(scores, logits={}), **how)
    every = trained(size, seeds, "night_context", night(size))
    claimed = {c: every[c] for c in sorted({c for claim in CLAIMS for c in claim.trained(every)})}
    parts.append(Part(PLAN.data, claimed, on=unread(size), asked=asked, rows=lambda outcome: [], whole=_tested))
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
    right = 100 * scores.correct("ce_ic").mean((0, 1))
    return {modality: float(right[4 * i + 3]) for i, modality in enumerate(ORDER)}


def test_rows(outcome: Outcome) -> list[dict]:
    """Tidy rows: test accuracy of every exit, of each seed, and the mean over the nine trained ones."""
    table, scores = [], outcome.scores
    for condition in scores.predicted:
        every = zip(scores.seeds, scores.accuracy(condition), scores.recipes[condition], strict=True)
        for seed, right, recipe in every:
            values = {condition: right[TRAINED].mean()}
            for place in range(12) if condition == "ce_ic" else TRAINED:
                who = "final" if place % 4 == 3 else condition
                values[f"{who}:{ORDER[place // 4]}:{place % 4 + 1}"] = right[place]
            for name, value in values.items():
                table += outcome.numbers(("accuracy", value, "%"), condition=name, seed=seed, recipe=recipe)
    return table


def _validated(outcome: Outcome) -> list[dict]:
    """Tidy rows of validation accuracy (mean of nine exits, and each final's), CPU seconds, and what :func:`teachers`
    reads: the networks' cross-entropies on training clips."""
    table = []
    for condition, column in outcome.runs.items():
        for seed, run in zip(outcome.scores.seeds, column, strict=True):
            right = 100 * run.predictions("val").correct.mean(0)
            about = dict(seed=seed, recipe=run.folder.name)
            nine, seconds = right[TRAINED].mean(), run.provenance["cpu_seconds"]
            values = ("val_accuracy", nine, "%"), ("cpu_seconds", seconds, "s")
            table += outcome.numbers(*values, condition=condition, **about)
            for i, (m, needed) in enumerate(run.recipe.needs().items() if condition == "ce_ic" else ()):
                losses = zip(TRAIN_CE, teaching_losses(find(needed, pretrained=False)), ("nats", "nats"), strict=True)
                values = ("val_accuracy", right[4 * i + 3], "%"), *losses
                table += outcome.numbers(*values, condition=f"final:{m}:4", **about)
    return table


def _nine(runs: dict[str, list[Run]], condition: str) -> float:
    """Mean accuracy of the trained exits of the runs of a condition, in percent."""
    return 100 * float(np.mean([run.predictions().correct.T[TRAINED].mean() for run in runs[condition]]))


study = Study(
    "progressive", _parts, size=STUDY, seeds=10, claims=CLAIMS, number=_nine, titles=recipes.TITLES, committed=True,
    seedwise=True, yours=lambda: _demo(recipes.DEMO, recipes.DEMO.seeds),
)
