"""The study of generative feature distillation for recognition: competitors, ablations, two sets, verdicts G1 to G3.

On ``night_bright`` (places tell nothing) all of GenKD's competitors and the ablations that decide, with one seed the
others; on the real ten-class set, in three folds of people, the conditions that decide.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import torch

from kdlab.measure.cost import cpu_times, macs, parameters
from kdlab.measure.paired import Effect
from kdlab.nets.video import build
from kdlab.night import ACTIONS
from kdlab.night.streams import NightStream
from kdlab.papers.generative import recipes
from kdlab.papers.generative.alignment import ATTENTIVE, alignment_rows
from kdlab.papers.generative.generation import generates, generation_rows
from kdlab.papers.generative.nets import read_cvae
from kdlab.papers.generative.recipes import DEMO, STUDY, conditions, night
from kdlab.study import (
    CONVERGED,
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
    convergence,
    fresh,
    in_folds,
    real_folds,
)
from kdlab.study.entropies import entropy_rows, mean_of_targets
from kdlab.study.inheritance import inheritance, learnt_lines
from kdlab.train.loop import Progress
from kdlab.train.recipe import Recipe, UserClips
from kdlab.train.runs import Run, batches, find
from kdlab.train.sizes import GenerativeSize

#: What GenKD is compared with in row G2, at the same steps.
COMPETITORS = ("student_ce", "kd", "dkd", "fitnets", "attention_transfer", "simkd", "feature_norm")
#: Test clips a class on `night`, more than a training is tested on at its end: trainings cost, clips do not.
TESTED = 300
#: Whose cost is measured; the student of all conditions without a gate costs the same, and of all with one.
COSTED = ("teacher_ce", "teacher_fr", "student_ce", "genkd")


#: Set → its conditions. The released gate (‡) is among those compared once.
SETS = {
    "night_bright": recipes.STUDIED,
    "night_bright_ablations": recipes.ABLATIONS,
    "night_bright_once": recipes.ONCE,
    "night_bright_released": recipes.RELEASED,
    "weizmann": recipes.REAL,
}
#: Seeds of what is in no claim.
FEW_SEEDS = {"night_bright_once": 1, "night_bright_released": 3, "night_untrimmed_gate": 3}
#: Whose CVAEs are asked whether they generate: of the claims' gates.
GENERATIVE = ("teacher_fr", "student_fr", "genkd")
#: Runs of demo size, from which `kdlab reproduce` knows where a user's should lie.
DEMO_SEEDS = 3


def columns(size: GenerativeSize, seeds: int, data: NightStream | UserClips,
            names: Sequence[str] = recipes.HEADLINE, first: int = 0) -> dict[str, list[Recipe]]:
    """Condition → one recipe a seed, from ``first`` on."""
    return by_condition(lambda seed: conditions(size, data, seed), seeds, names, first)


def test_clips(size: GenerativeSize) -> NightStream:
    """The first :data:`TESTED` test clips of each class; those that trainings are tested on are among them."""
    clips = size.per_class[2]
    return NightStream(replace(night(size).night, per_class=(0, 0, clips if size.name == "smoke" else TESTED)))


def g2(scores: Scores) -> dict[str, Effect]:
    """GenKD − each of its :data:`COMPETITORS` in ``scores``."""
    return {name: scores.effect("genkd", name) for name in COMPETITORS if name in scores.predicted}


def gate(rows: pd.DataFrame) -> tuple[bool, str]:
    """Of G2 and G3: is the CE student not surely too short of training for a fair comparison, and do the CVAEs of
    teacher and student generate?"""
    return _gate(rows, ("teacher_fr", "genkd"))


def gate_alone(rows: pd.DataFrame) -> tuple[bool, str]:
    """Of G1: as :func:`gate`, of the CVAE of the student that learns alone."""
    return _gate(rows, ("student_fr",))


def _gate(rows: pd.DataFrame, conditions: Sequence[str]) -> tuple[bool, str]:
    converged = convergence(rows, "night_bright", "student_ce", "student_2x")[2] in CONVERGED
    generative, words = generates(rows, "night_bright_fresh", conditions)
    return converged and generative, f"{convergence_line(rows)}; {words}"


def _plan(data: str) -> Plan:
    return Plan(data + UNREAD, data, TESTED * len(ACTIONS))


#: Of docs/ledger.md; G3 is judged on the ablations.
CLAIMS = (
    Claim("G1", "the feature-representation phase improves a network by itself", "student_fr", "student_ce",
          {"student_2x": "equal passes", "student_gate": "the gate alone"},
          "student: FR − CE; controls CE with equal passes, CE with the gate",
          plan=_plan("night_bright"), gate=gate_alone),
    Claim("G2", "GenKD beats CE and the usual KD methods", "genkd", COMPETITORS, {"untrained": "an untrained teacher"},
          "GenKD − each; control untrained teacher", plan=_plan("night_bright"), gate=gate),
    Claim("G3", "generative and attention distillation each add", "genkd", ("generative", "attention"),
          {"permuted": "permuted channels"}, "both − one alone; control permuted channels",
          plan=_plan("night_bright_ablations"), gate=gate),
)


def ledger(scores: Scores, ablations: Scores | None = None) -> pd.DataFrame:
    """Rows G1 and G2 of docs/ledger.md for one set, and G3 from its ``ablations``."""
    return pd.concat([study.verdicts(its) for its in (scores, ablations) if its], ignore_index=True)


#: A student, and the teacher whose errors it may give.
INHERITING = (("genkd", "teacher_fr"), ("untrained", "teacher_fr"), ("student_fr", "teacher_fr"),
              ("student_ce", "teacher_fr"), *((name, "teacher_ce") for name in COMPETITORS))


def beside_effects(rows: pd.DataFrame, scores: Scores) -> pd.DataFrame:
    """Whether there was something to learn: of each condition with a teacher its ``effect`` over CE, an ``Effect`` in
    points; the mean ``entropy`` in nats of what its teacher says of the clips that it learnt from (the label alone: 0),
    by the ``rows`` of the study; and ``gap``, by how much that teacher beats CE, where the teacher is in ``scores``.

    ``scores`` are those of any data set of the study; entropies are of its very runs.
    """
    taught, found = dict(INHERITING), []
    for condition in scores.predicted:
        if np.isnan(entropy := mean_of_targets(rows, scores, condition)):
            continue
        teacher = taught.get(condition, "teacher_fr")
        gap = scores.effect(teacher, "student_ce") if teacher in scores.predicted else None
        found.append((condition, scores.effect(condition, "student_ce"), entropy, gap))
    return pd.DataFrame(found, columns=["condition", "effect", "entropy", "gap"])


def inherited_table(scores: Scores) -> pd.DataFrame:
    """Whose errors students give, by :func:`kdlab.study.inheritance.inheritance`: teachers stand in ``scores`` in the
    rows of their students. Who has had no teacher, or one of random weights, is the control."""
    return inheritance(scores, [pair for pair in INHERITING if {*pair} <= scores.predicted.keys()])


def convergence_line(table: pd.DataFrame, data: str = "night_bright") -> str:
    """:func:`kdlab.study.convergence` of the CE student, in words."""
    gain, half, word = convergence(table, data, "student_ce", "student_2x")
    return f"twice the steps of CE: {gain:+.1f} ± {half:.1f} points on validation clips: {word}"


def _parts(size: GenerativeSize, seeds: int) -> list[Part]:
    """The sets, those with claims on fresh clips, too; what networks cost; λ over untrimmed video; and demo-size runs,
    as a user makes them, too."""
    parts, confirmed = [], {claim.plan.data for claim in CLAIMS}
    for name, names in SETS.items():
        if name == "weizmann":
            made = partial(columns, size, min(seeds, size.real_seeds), names=names)
            parts += in_folds(name, real_folds(name), made, rows=_rows, unit="group", real=name)
            continue
        made = columns(size, min(seeds, FEW_SEEDS.get(name, seeds)), night(size), names, FIRST)
        parts.append(Part(name, made, on=test_clips(size), rows=_rows))
        if (again := name + UNREAD) in confirmed:
            parts.append(Part(again, made, on=fresh(test_clips(size)), rows=_fresh_rows))
    parts.append(Part("cost", rows=_cost_rows))
    for name, names in ATTENTIVE.items():
        attentive = columns(size, min(seeds, FEW_SEEDS.get(name, seeds)), night(size), names, FIRST)
        parts.append(Part(name, attentive, file="", rows=alignment_rows))
    return [*parts, _demo(beside(size), seeds if size.name == "smoke" else DEMO_SEEDS)]


def _demo(size: GenerativeSize, seeds: int) -> Part:
    accuracies = lambda outcome: [row for row in outcome.rows() if row["metric"] == "accuracy"]  # noqa: E731
    return Part("night_bright_demo", columns(size, seeds, night(size)), file="", rows=accuracies)


def shares(run: Run) -> dict[str, float]:
    """How much of pass 2 the backbone of the finished ``run`` of GenKD feels (docs/methods.md, 2.1): the norm of each
    weighted term's gradient over that of the class loss, of ``generated`` and ``attention``. Of 64 training clips, in
    training mode, with the weights of its last step. Raises ``ValueError`` for a run of another method.
    """
    method = run.recipe.method
    if not getattr(method, "reads_teacher_cvae", False):
        raise ValueError(f"{run.folder.name} was not trained by generative distillation")
    teacher = find(run.recipe.teacher, pretrained=True)
    nets = {"student": run.net().requires_grad_(True), "cvae": read_cvae(run.folder)}
    nets |= {"teacher": teacher.net().requires_grad_(False), "teacher_cvae": read_cvae(teacher.folder)}
    weights = {"ce": 1.0, "generated": method.reconstruction, "attention": method.beta}
    some = batches(run.recipe, "train")
    some = replace(some, records=some.records[:: max(1, len(some.records) // 64)])
    backbone = list(nets["student"].net.backbone.parameters())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        passes = replace(method, alternating=0).losses(nets, next(some.evaluation(128)), Progress(1, 1))
        terms = {which: terms for which, _, terms in passes}["net"]
    norms = {}
    for name, weight in weights.items():
        found = torch.autograd.grad(weight * terms[name], backbone, retain_graph=True, allow_unused=True)
        norms[name] = float(torch.sqrt(sum(g.square().sum() for g in found if g is not None)))
    return {name: norm / norms["ce"] for name, norm in norms.items() if name != "ce"}


def _fresh_rows(outcome: Outcome) -> list[dict]:
    """Rows about the test clips alone: of the networks, and of ``night_bright`` how much their CVAEs explain."""
    told = outcome.runs.keys() if outcome.part.data == "night_bright_fresh" else ()
    return outcome.test_rows() + generation_rows(outcome, [name for name in GENERATIVE if name in told])


def _rows(outcome: Outcome) -> list[dict]:
    """Rows of the networks, and of what teachers say of their students' training clips, but for untrained ones; of
    ``night_bright`` also :func:`shares` at the end of training, and beside what was released how much CVAEs explain."""
    table = outcome.rows() + entropy_rows(outcome, [name for name in outcome.runs if name != "untrained"])
    if outcome.part.data == "night_bright_released":
        table += generation_rows(outcome, recipes.RELEASED)
    for run in outcome.runs["genkd"] if outcome.part.data == "night_bright" else ():
        about = dict(condition="genkd", seed=run.recipe.seed, recipe=run.folder.name, unit="1")
        for term, share in shares(run).items():
            outcome.say(f"{run.folder.name}: {term}'s gradient in the backbone is {share:.3g} of the class loss's")
            table.append(outcome.row(metric=f"gradient:{term}", value=round(share, 6), **about))
    return table


def _cost_rows(outcome: Outcome) -> list[dict]:
    """Tidy rows of each network's parameters, multiply-accumulates and CPU milliseconds a clip (one thread, batch 1,
    median of interleaved repeats; this machine's)."""
    window = outcome.size.window
    clip = torch.zeros(1, 3, window.frames, window.crop, window.crop)
    made = conditions(outcome.size, night(outcome.size))
    nets = {name: build(made[name].net, len(ACTIONS), 0).eval() for name in COSTED}
    taken = cpu_times({name: (lambda net=net: net(clip)) for name, net in nets.items()}, 30)
    table = []
    for name, net in nets.items():
        numbers = [("parameters", parameters(net), "1"), ("macs", macs(net, tuple(clip.shape)), "1"),
                   ("cpu_ms", 1000 * float(np.median(taken[name])), "ms")]
        count, work, ms = (value for _, value, _ in numbers)
        outcome.say(f"{name}: {count:,} parameters, {work / 1e6:.1f} MMAC, {ms:.2f} CPU ms a clip")
        table += outcome.numbers(*numbers, condition=name)
    return table


def _lines(found: dict[str, Scores], rows: pd.DataFrame) -> list[str]:
    """What there was to learn, and whose errors students give."""
    some = {data: scores for data, scores in found.items() if "student_ce" in scores.predicted}
    return learnt_lines(some, partial(beside_effects, rows), inherited_table)


study = Study("generative", _parts, size=STUDY, seeds=10, claims=CLAIMS, lines=_lines,
              yours=lambda: _demo(DEMO, DEMO.seeds), titles=recipes.TITLES, committed=True, seedwise=True)
