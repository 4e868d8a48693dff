"""The study of generative feature distillation for recognition: competitors, ablations, two sets, verdicts G1 to G3.

On ``night_bright`` (places tell nothing) all of GenKD's competitors and the ablations that decide, with one seed the
others; on the real ten-class set, in three folds of people, the conditions that decide.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from kdlab import paths
from kdlab.measure.cost import cpu_times, macs, parameters
from kdlab.measure.paired import Effect
from kdlab.nets.video import build
from kdlab.night import ACTIONS
from kdlab.night.streams import NightStream
from kdlab.papers.generative.alignment import ATTENTIVE, alignment_rows
from kdlab.papers.generative.gradients import shares
from kdlab.papers.generative.recipes import (
    ABLATIONS,
    DEMO,
    HEADLINE,
    ONCE,
    REAL,
    STUDIED,
    STUDY,
    TITLES,
    WINDOW,
    GenerativeSize,
    conditions,
    night,
    sized,
)
from kdlab.study import Claim, Outcome, Part, Scores, Study, beside, by_condition, convergence
from kdlab.train.recipe import Recipe, UserClips

FOLDS = ("1", "2", "3")
#: What GenKD is compared with in row G2, at the same steps.
COMPETITORS = ("student_ce", "kd", "dkd", "fitnets", "attention_transfer", "simkd", "feature_norm")
#: Test clips a class on `night`, more than a training is tested on at its end: trainings cost, clips do not.
TESTED = 300
#: Whose cost is measured; the student of all conditions without a gate costs the same, and of all with one.
COSTED = ("teacher_ce", "teacher_fr", "student_ce", "genkd")


def data_sets(size: GenerativeSize) -> dict[str, list[NightStream | UserClips]]:
    """Name → its folds; recipes can be made where the real clips are not."""
    real = str((paths.real_clips() or Path()) / "weizmann")
    bright = [night(size)]
    return {"night_bright": bright, "night_bright_ablations": bright, "night_bright_once": bright,
            "weizmann": [UserClips(real, fold, own_folds=len(FOLDS)) for fold in FOLDS]}


#: Set → its conditions. The released gate (‡) is among those compared once.
SETS = {"night_bright": STUDIED, "night_bright_ablations": ABLATIONS, "night_bright_once": ONCE, "weizmann": REAL}
#: Runs of demo size, from which `kdlab reproduce` knows where a user's should lie.
DEMO_SEEDS = 3


def columns(size: GenerativeSize, seeds: int, data: NightStream | UserClips,
            names: Sequence[str] = HEADLINE) -> dict[str, list[Recipe]]:
    """Condition → one recipe a seed."""
    return by_condition(lambda seed: conditions(size, data, seed), seeds, names)


def test_clips(size: GenerativeSize) -> NightStream:
    """The first :data:`TESTED` test clips of each class; those that trainings are tested on are among them."""
    clips = size.per_class[2]
    return NightStream(replace(night(size).night, per_class=(0, 0, clips if size.name == "smoke" else TESTED)))


def g2(scores: Scores) -> dict[str, Effect]:
    """GenKD − each of its :data:`COMPETITORS` in ``scores``."""
    return {name: scores.effect("genkd", name) for name in COMPETITORS if name in scores.predicted}


#: Of docs/ledger.md; G3 is judged on the ablations.
CLAIMS = (
    Claim("G1", "the feature-representation phase improves a network by itself", "student_fr", "student_ce",
          {"student_2x": "equal passes"}, "student: FR − CE; control CE with equal passes"),
    Claim("G2", "GenKD beats CE and the usual KD methods", "genkd", COMPETITORS, {"untrained": "an untrained teacher"},
          "GenKD − each; control untrained teacher"),
    Claim("G3", "generative and attention distillation each add", "genkd", ("generative", "attention"),
          {"permuted": "permuted channels"}, "both − one alone; control permuted channels"),
)


def ledger(scores: Scores, ablations: Scores | None = None) -> pd.DataFrame:
    """Rows G1 and G2 of docs/ledger.md for one set, and G3 from its ``ablations``."""
    return pd.concat([study.verdicts(its) for its in (scores, ablations) if its], ignore_index=True)


def convergence_line(table: pd.DataFrame, data: str = "night_bright") -> str:
    """:func:`kdlab.study.convergence` of the CE student, in words."""
    gain, half, word = convergence(table, data, "student_ce", "student_2x")
    return f"twice the steps of CE: {gain:+.1f} ± {half:.1f} points on validation clips: {word}"


def _parts(size: GenerativeSize, seeds: int) -> list[Part]:
    """The sets; what networks cost; λ over untrimmed video; and demo-size runs, as a user makes them, too."""
    counts = {"night_bright_once": 1, "weizmann": min(seeds, size.real_seeds)}
    parts = []
    for name, folds in data_sets(size).items():
        how = dict(unit="group", real=name) if name == "weizmann" else dict(on=test_clips(size))
        for fold, data in zip(FOLDS, folds, strict=False):
            parts.append(Part(name, columns(size, counts.get(name, seeds), data, SETS[name]),
                              fold if len(folds) > 1 else "", rows=_rows, **how))
    return [*parts, Part("cost", rows=_cost_rows),
            Part("night_untrimmed", columns(size, seeds, night(size), ATTENTIVE), file="",
                 rows=alignment_rows),
            _demo(sized(beside(size)), seeds if size.name == "smoke" else DEMO_SEEDS)]


def _demo(size: GenerativeSize, seeds: int) -> Part:
    return Part("night_bright_demo", columns(size, seeds, night(size)), file="", rows=lambda outcome: [
        row for row in outcome.rows() if row["metric"] == "accuracy"])


def _rows(outcome: Outcome) -> list[dict]:
    """Rows of the networks; of ``night_bright`` also how much of pass 2 the backbone feels at the end of training
    (``kdlab.papers.generative.gradients``)."""
    table = outcome.rows()
    for run in outcome.runs["genkd"] if outcome.part.data == "night_bright" else ():
        for term, share in shares(run).items():
            outcome.say(f"{run.folder.name}: gradient of {term} in the backbone is {share:.3g} of that of the class "
                        "loss")
            table.append(outcome.row(condition="genkd", seed=run.recipe.seed, metric=f"gradient:{term}",
                                     value=round(share, 6), unit="1", recipe=run.folder.name))
    return table


def _cost_rows(outcome: Outcome) -> list[dict]:
    """Tidy rows of each network's parameters, multiply-accumulates and CPU milliseconds a clip (one thread, batch 1,
    median of interleaved repeats; this machine's)."""
    clip = torch.zeros(1, 3, WINDOW.frames, WINDOW.crop, WINDOW.crop)
    recipes = conditions(outcome.size, night(outcome.size))
    nets = {name: build(recipes[name].net, len(ACTIONS), 0).eval() for name in COSTED}
    taken = cpu_times({name: (lambda net=net: net(clip)) for name, net in nets.items()}, 30)
    table = []
    for name, net in nets.items():
        numbers = [("parameters", parameters(net), "1"), ("macs", macs(net, tuple(clip.shape)), "1"),
                   ("cpu_ms", 1000 * float(np.median(taken[name])), "ms")]
        outcome.say(f"{name}: {numbers[0][1]:,} parameters, {numbers[1][1] / 1e6:.1f} MMAC, {numbers[2][1]:.2f} CPU ms "
                    "a clip")
        table += outcome.numbers(*numbers, condition=name)
    return table


study = Study("generative", _parts, size=STUDY, sized=sized, claims=CLAIMS, yours=lambda: _demo(DEMO, DEMO.seeds),
              titles=TITLES, committed=True)
