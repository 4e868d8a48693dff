"""The study of DL-KDD on ``night``: conditions × seeds, the convergence check, costs, the sweep, and verdicts D1–D4."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import torch
from scipy.special import ndtr
from torch import nn

from kdlab.clips.cache import resize
from kdlab.clips.views import Raw, View, Window
from kdlab.measure.cost import cpu_times, macs, ratio_interval
from kdlab.measure.paired import effect
from kdlab.measure.transfer import accuracy_on, logits_on
from kdlab.night import ACTIONS, Night
from kdlab.papers.dual_light.recipes import TITLES, dual_light, sweep
from kdlab.study import (
    CONVERGED,
    FIRST,
    Claim,
    Outcome,
    Part,
    Plan,
    Reading,
    Scores,
    Study,
    answers,
    beside,
    by_condition,
    convergence,
    fresh,
    fused,
    load_rows,
)
from kdlab.study.entropies import entropy_rows, mean_of_targets, taught_rows
from kdlab.study.inheritance import inheritance, learnt_lines
from kdlab.train.recipe import Recipe, UserClips
from kdlab.train.runs import Run
from kdlab.train.sizes import DEMO, STUDY, Profile

#: Runs of demo size, from which `kdlab reproduce` knows where a user's should lie.
DEMO_SEEDS = 6
#: Clips a class on which the study's networks are validated once they are trained.
VALIDATION = 130
#: What the demo profile trains: the method, its baseline, its teacher, and the control that decides.
HEADLINE = ("ce_raw", "ce_enhanced", "same_light", "dlkdd")
TEMPERATURES, ALPHAS = (1.0, 2.0, 4.0, 8.0), (0.1, 0.5, 0.9)
#: Who is asked whether it errs as a teacher does: the method, and what was taught by another, or by none, or nothing.
LEARNERS = ("dlkdd", "same_light", "label_smoothing", "ce_raw", "ce_2x", "two_lights", "untrained")
#: Test clips a class that nobody has read: with 15 seeds they show two points of D1 in nearly nine of ten studies.
FRESH = 200
#: How often each way is timed.
REPEATS = 60


def gate(rows: pd.DataFrame) -> tuple[bool, str]:
    """Of D1 to D3: is CE not surely too short of training for a fair comparison?"""
    gain, half, word = convergence(rows, "night")
    return word in CONVERGED, f"twice the steps of CE: {gain:+.1f} ± {half:.1f} points on validation clips: {word}"


def read_costs(found: pd.DataFrame) -> Reading:
    """What the cost ratios of :func:`committed_costs` say of D4."""
    worst = found.loc[found.high.idxmax()]
    effects = "; ".join(f"{r.what}/{r.against} {r.ratio:.2f}" for r in found.itertuples())
    word = "supported" if worst.high < 1 else f"not supported: {worst.what} against {worst.against} is not below 1"
    return Reading(effects, word, 1, REPEATS)


def _costs_power(found: pd.DataFrame, plan: Plan, level: float) -> float:
    """How often intervals as wide as before would lie below 1 where every ratio is the smallest of interest; the
    intervals are 95 % ones, as both ratios are needed."""
    half = float((np.log(found.high) - np.log(found.low)).max() / 2)
    return 1.0 if half == 0 else float(ndtr((-np.log(plan.smallest) - half) / (half / 1.96)))


def _committed_costs(data: str, confirming: bool) -> pd.DataFrame | None:
    found = committed_costs(load_rows("dual_light"), FIRST if confirming else 0)
    return None if found.empty else found


_plan = Plan("night_fresh", "night", FRESH * len(ACTIONS), seeds=15)
#: Of docs/ledger.md.
CLAIMS = (
    Claim("D1", "a teacher on enhanced clips helps a raw-clip student", "dlkdd", "ce_raw",
          ("label_smoothing", "ce_2x"), "DL-KDD − CE raw", plan=_plan, gate=gate),
    Claim("D2", "it is the dual light that helps", "dlkdd", "same_light", ("label_smoothing",),
          "DL-KDD − same-light KD", plan=_plan, gate=gate),
    Claim("D3", "raw-only inference beats enhancing at inference", "dlkdd", "ce_enhanced", ("ce_raw",),
          "DL-KDD − CE enhanced", plan=_plan, gate=gate),
)
D4 = Claim("D4", "it is cheaper than the alternatives", "dlkdd", ("enhance + classify", "two-stream"), (),
           "cost ratios of the student", rule="all ratios (MACs, CPU time) have intervals below 1", metric="cost ratio",
           plan=Plan("night", "night", REPEATS, "timings", seeds=1, smallest=0.95, unit="times the cost"),
           statistic=read_costs, expected=_costs_power, evidence=_committed_costs)


def columns(profile: Profile, seeds: int, conditions=None, data: str | UserClips | None = None,
            first: int = 0) -> dict[str, list[Recipe]]:
    """Condition → one recipe per seed from ``first`` on, as :func:`kdlab.study.collect` wants them."""
    return by_condition(lambda seed: dual_light(profile, seed, data), seeds, conditions, first)


def pathway(net: nn.Module, view: View, window: Window, clip: np.ndarray) -> Callable[[], torch.Tensor]:
    """From a decoded clip ``uint8 (T, H, W, 3)`` to its logits: sample, enhance, resize, crop, classify."""
    draw = window.centre(len(clip))

    def go():
        frames = clip[draw.frames]
        frames = frames if isinstance(view, Raw) else view.by(frames)
        pixels = np.ascontiguousarray(window.cut(draw, resize(frames, window.side)))[None]
        return net(torch.from_numpy(pixels).permute(0, 4, 1, 2, 3).float().div_(255))

    return go


def costs(raw: Run, enhanced: Run, clip: np.ndarray, repeats: int = REPEATS) -> list[dict]:
    """Cells of tidy rows: CPU seconds per clip of each way, and cost ratios of the raw-clip student to its
    alternatives. The enhancement's own time counts; decoding, which all share, does not. A look-up table has no
    multiply–accumulates."""
    window = raw.recipe.window
    student, other = (pathway(run.net(), run.recipe.view, window, clip) for run in (raw, enhanced))
    ways = {"student": student, "enhance + classify": other, "two-stream": lambda: (student(), other())}
    times = cpu_times(ways, repeats)
    one, two = (macs(run.net(), (1, 3, window.frames, window.crop, window.crop)) for run in (raw, enhanced))
    rows = [dict(condition=f"cost:{name}", metric="cpu_seconds", value=round(float(np.median(t)), 6), unit="s")
            for name, t in times.items()]
    for name, count in {"enhance + classify": two, "two-stream": one + two}.items():
        found = {"macs_ratio": 3 * (one / count,), "cpu_seconds_ratio": ratio_interval(times["student"], times[name])}
        rows += [dict(condition=f"dlkdd:{name}", metric=metric + end, value=round(value, 4), unit="1")
                 for metric, values in found.items() for end, value in zip(("", "_low", "_high"), values, strict=True)]
    return rows


def committed_costs(table: pd.DataFrame, first: int = 0) -> pd.DataFrame:
    """The cost ratios in the study's rows, those of :func:`costs`: one a line, with its interval; none where their
    network is of a seed below ``first``."""
    some = table[table.condition.str.startswith("dlkdd:") & table.metric.str.contains("_ratio")]
    some = some[some.seed.astype(int) >= first]
    wide = some.pivot(index="condition", columns="metric", values="value")
    names = {"macs_ratio": "MACs", "cpu_seconds_ratio": "CPU time"}
    found = [(condition.partition(":")[2], what, row[metric], row[f"{metric}_low"], row[f"{metric}_high"])
             for condition, row in wide.iterrows() for metric, what in names.items()]
    return pd.DataFrame(found, columns=["against", "what", "ratio", "low", "high"])


def cost_points(table: pd.DataFrame, scores: Scores) -> pd.DataFrame:
    """What :func:`kdlab.show.plots.costs` draws: CPU ms per clip of each way, and its accuracy with a 95 % interval."""
    ways = {"ce_raw": "student", "ce_enhanced": "enhance + classify", "two_stream": "two-stream", "dlkdd": "student"}
    seconds = table[table.condition.str.startswith("cost:")].set_index("condition").value
    points = []
    for condition, way in ways.items():
        right = scores.correct(condition)
        e = effect(right, np.zeros_like(right), scores.units)
        points.append((TITLES[condition], 1000 * float(seconds[f"cost:{way}"]), e.mean, e.low, e.high))
    return pd.DataFrame(points, columns=["name", "ms", "accuracy", "low", "high"])


def committed_sweep(table: pd.DataFrame) -> dict[tuple[float, float], float]:
    """(temperature, alpha) → mean validation accuracy over seeds, from the study's committed rows."""
    cell = table.condition.str.extract(r"^dlkdd:t([\d.]+):a([\d.]+)$").dropna().astype(float)
    return table.value.astype(float).groupby([cell[0], cell[1]]).mean().to_dict()


def ledger(scores: Scores, costs: pd.DataFrame | None = None) -> pd.DataFrame:
    """Rows D1–D4 of docs/ledger.md: claim, comparison, effect, verdict; computed from predictions and measured costs.

    ``costs`` is what :func:`committed_costs` returns; without it there is no D4.
    """
    table = study.verdicts(scores)
    if costs is not None:
        table.loc[len(table)] = D4.judged(costs)
    return table


def beside_effects(rows: pd.DataFrame, scores: Scores) -> pd.DataFrame:
    """Whether there was something to learn: beside the effect of each of D1 to D3 the mean ``entropy`` in nats of the
    targets that taught the students, and of its ``baseline``'s, NaN where ``rows`` have none; and ``gap``, by how much
    the teachers' kind of network, CE on enhanced clips, beats CE on raw ones, an ``Effect`` in points.

    ``rows`` are the study's table, ``scores`` those of any of its data sets; entropies are of its very runs.
    """
    pairs = {c: (c.condition, c.baseline) for c in CLAIMS if not c.lacking(scores.recipes)}
    gap = scores.effect("ce_enhanced", "ce_raw") if {"ce_enhanced", "ce_raw"} <= scores.predicted.keys() else None
    found = [(c.claim, c.compared, scores.effect(*pair), *(mean_of_targets(rows, scores, one) for one in pair), gap)
             for c, pair in pairs.items()]
    return pd.DataFrame(found, columns=["claim", "comparison", "effect", "entropy", "baseline", "gap"])


def inherited_table(scores: Scores) -> pd.DataFrame:
    """:func:`kdlab.study.inheritance.inheritance` of each of :data:`LEARNERS` and the networks of both lights.

    The teacher of a student of seed s is the network of seed s + 1 (``recipes.dual_light``): of DL-KDD the enhanced
    one, of same-light KD the raw one. To all others neither has said what it thinks of a clip (matched smoothing knows
    the mean entropy of one), so what they share with "their own" is what is found without teaching.
    """
    pairs = [(student, teacher, 1) for teacher in ("ce_enhanced", "ce_raw") for student in LEARNERS]
    return inheritance(scores, [pair for pair in pairs if {*pair[:2]} <= scores.predicted.keys()])


# --- the study -------------------------------------------------------------------------------------------------


def _parts(profile: Profile, seeds: int) -> list[Part]:
    """The conditions, tested on fresh clips, too; those of demo size that a user makes and that are committed; and
    DL-KDD's sweep there."""
    made = columns(profile, seeds, first=FIRST)
    small = beside(profile)
    cells = {f"dlkdd:t{t:g}:a{a:g}": [recipe] for (t, a), recipe in sweep(small, 0, TEMPERATURES, ALPHAS).items()}
    unread = fresh(profile.night, None if profile.name == "smoke" else FRESH)
    return [
        Part("night", made, rows=_rows, answers=_answers),
        Part("night_fresh", made, on=unread, rows=Outcome.test_rows,
             answers=lambda scores, runs: _untrained(scores, runs["ce_raw"], unread)),
        replace(_demo(small, seeds if profile.name == "smoke" else DEMO_SEEDS), publish=True),
        Part("night_demo", cells, file="", rows=_sweep_rows),
    ]


def _demo(profile: Profile, seeds: int) -> Part:
    return Part("night_demo", columns(profile, seeds, HEADLINE), rows=taught_rows)


def _answers(scores: Scores, runs: dict[str, list[Run]]) -> Scores:
    """``scores`` with both lights' networks fused, and with networks that have learnt nothing."""
    return _untrained(fused(scores, "two_stream", runs["ce_raw"], runs["ce_enhanced"]), runs["ce_raw"])


def _untrained(scores: Scores, raw: list[Run], data: Night | None = None) -> Scores:
    logits = [logits_on(run, data, trained=False) for run in raw]
    return answers(scores, "untrained", logits, [f"{run.folder.name}:untrained" for run in raw])


def _rows(outcome: Outcome) -> list[dict]:
    """Rows of the conditions, with validation accuracy on :data:`VALIDATION` clips a class; entropies; then costs."""
    runs, profile, table = outcome.runs, outcome.size, outcome.rows()
    # Doubling the steps has to be seen to gain less than two points: on more validation clips than training looks at.
    count = VALIDATION if profile == STUDY else profile.night.count("val")
    many = replace(profile.night, per_class=(0, count, 0))
    many.catalogue()
    for row in (row for row in table if row["metric"] == "val_accuracy"):
        run = runs[row["condition"]][outcome.scores.seeds.index(row["seed"])]
        row["value"] = round(accuracy_on(run, many, "val"), 4)
    table += entropy_rows(outcome)
    if not outcome.first:  # costs are measured once
        return table
    clip = Raw().read(profile.night.catalogue().split("test")[0].path)
    about = outcome.row(seed=outcome.scores.seeds[0], recipe=runs["dlkdd"][0].folder.name)
    return table + [about | row for row in costs(runs["dlkdd"][0], runs["ce_enhanced"][0], clip)]


def _sweep_rows(outcome: Outcome) -> list[dict]:
    """Validation accuracy of DL-KDD over temperature × alpha: the test clips are not read."""
    about = dict(seed=0, metric="val_accuracy", unit="%")
    return [outcome.row(**about, condition=cell, value=run.predictions("val").accuracy, recipe=run.folder.name)
            for cell, (run,) in outcome.runs.items()]


def _yours() -> Part:
    return _demo(DEMO, DEMO.seeds)


def _lines(found: dict[str, Scores], rows: pd.DataFrame) -> list[str]:
    return learnt_lines(found, partial(beside_effects, rows), inherited_table)


study = Study("dual_light", _parts, size=STUDY, claims=(*CLAIMS, D4), lines=_lines, yours=_yours, titles=TITLES,
              committed=True, seedwise=True)
