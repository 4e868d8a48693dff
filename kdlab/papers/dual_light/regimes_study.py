"""The study of the pre-trained regime: cells × conditions × seeds, what is claimed, and what a practitioner should do.

Each cell of :class:`.regimes.Regime` is a data set of the study. The networks have seeds from 100 on, those whose
start counts (:mod:`.regimes_starts`), and are tested on clips of `night` of another data seed: those that D1 to D4 are
confirmed on, and no study has chosen by. In the order of the budget: both norms × {no, few, many labels} with gamma;
then, with three seeds, Zero-DCE, unbalanced, full variety.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from kdlab.measure.paired import Effect, effect, verdict
from kdlab.night import ACTIONS
from kdlab.papers.dual_light.recipes import TITLES as PLAIN
from kdlab.papers.dual_light.regimes import LABELS, NORMS, Regime, began_as, conditions
from kdlab.papers.dual_light.regimes_starts import FEW_SEEDS, MARK, STUDY, counting, mark
from kdlab.papers.dual_light.study import CLAIMS as LABELLED
from kdlab.study import FIRST, Claim, Outcome, Part, Plan, Scores, Study, fresh
from kdlab.study.entropies import taught_rows
from kdlab.train.recipe import Recipe
from kdlab.train.runs import Run, find
from kdlab.train.sizes import RegimeSize

#: How the words read in figures, the cheapest way first.
TITLES = {
    "as_is": "as it is",
    "dark_input": "input statistics of the dark view",
    "enhanced": "enhanced at inference",
    "re_estimated": "re-estimated statistics",
    "enhanced_re": "enhanced at inference, re-estimated",
    "passes": "training-mode passes, no loss",
    "entropy": "entropy minimisation",
    "pseudo_labels": "hard pseudo-labels",
    "same_light_bright": "same-light KD, bright statistics",
    "dlkdd_bright": "DL-KDD, bright statistics",
    "same_light_re": "same-light KD, re-estimated",
    "dlkdd_re": "DL-KDD, re-estimated",
    "augmented": "brightness augmentation in pre-training",
    "augmented_re": "… and re-estimated statistics",
}
#: With labels statistics are re-estimated by fine-tuning, and the words are those of the study from nothing.
TUNED = {c: PLAIN[c] for c in ("ce_raw", "ce_enhanced", "same_light", "dlkdd", "label_smoothing", "ce_2x")} | {
    "both_lights": "KD from both lights"}

#: Without labels: (condition, compared with, its teacher).
COMPARED = (
    *((c, "as_is", "") for c in ("dark_input", "enhanced", "re_estimated", "enhanced_re", "passes", "entropy",
                                 "pseudo_labels", "augmented", "augmented_re")),
    ("same_light_bright", "as_is", "as_is"),
    ("dlkdd_bright", "as_is", "enhanced"),
    ("dlkdd_bright", "same_light_bright", "enhanced"),
    ("dlkdd_bright", "re_estimated", "enhanced"),
    ("same_light_re", "re_estimated", "re_estimated"),
    ("dlkdd_re", "re_estimated", "enhanced_re"),
    ("dlkdd_re", "same_light_re", "enhanced_re"),
    ("dlkdd_re", "enhanced_re", "enhanced_re"),
)
#: With labels.
COMPARED_TUNED = (
    ("ce_raw", "as_is", ""),
    ("ce_raw", "re_estimated", ""),
    *((c, "ce_raw", "") for c in ("ce_enhanced", "label_smoothing", "ce_2x")),
    *((c, "ce_raw", f"{c}:teacher") for c in ("same_light", "dlkdd", "both_lights")),
    ("dlkdd", "same_light", "dlkdd:teacher"),
    ("dlkdd", "ce_enhanced", "dlkdd:teacher"),
    ("dlkdd", "both_lights", "dlkdd:teacher"),
)


def gate(rows: pd.DataFrame) -> tuple[bool, str]:
    """Of all claims here: does every start of the confirming cell count? Networks that were pre-trained in changing
    brightness are a control of their own: they begin elsewhere, and no claim compares them."""
    known = (rows.data == PLAN.data) & (rows.metric == "bright_val_accuracy")
    found = rows[known & ~rows.condition.str.startswith("augmented")].value.astype(float)
    if found.empty:
        return False, "no start of it is known"
    return bool(found.min() >= MARK), f"starts know {found.min():.1f} to {found.max():.1f} % of bright validation clips"


#: Clips of another data seed; how much networks vary is known from seeds below 100, on the test clips read before.
PLAN = Plan("bn_none", "bn_none_earlier", STUDY.tested * len(ACTIONS), seeds=10)
_how = dict(plan=PLAN, gate=gate)
#: What is expected (trials made before): with gamma as the enhancer, what dual-light distillation gives is what
#: re-estimated batch-norm statistics give, and no more; then D1r is supported, and D2r, D3r and D5r are not. What came
#: is another thing (docs/log.md).
CLAIMS = (
    Claim("D1r", "without a dark label, an enhanced teacher takes a bright network into the dark", "dlkdd_bright",
          "as_is", ("dark_input", "re_estimated", "passes", "same_light_bright"),
          "DL-KDD, bright statistics − as it is", **_how),
    Claim("D2r", "it is the dual light that helps a bright network", "dlkdd_re", "same_light_re", ("pseudo_labels",),
          "DL-KDD − same-light KD, statistics of both teachers re-estimated", **_how),
    Claim("D3r", "raw-only inference beats enhancing at inference for a bright network", "dlkdd_re", "enhanced_re",
          ("re_estimated",), "DL-KDD − enhanced at inference, both re-estimated", **_how),
    Claim("D5r", "dual-light distillation gives a bright network more than re-estimated statistics", "dlkdd_re",
          "re_estimated", ("passes", "pseudo_labels"), "DL-KDD − re-estimated statistics", **_how),
)


# --- tables ----------------------------------------------------------------------------------------------------


def table(scores: Scores) -> pd.DataFrame:
    """What each way of one cell gains, in points: ``way`` and ``against`` what, the ``effect`` with its interval
    (``low``, ``high``), the ``gap`` of its teacher over the raw network that it may lift: the one at which the student
    begins, or with labels CE on raw clips (empty without a teacher); ``seeds``, the ``verdict``. A way that the cell
    has not is left out."""
    rows, known = [], set(scores.predicted)
    tuned = "ce_raw" in known
    for condition, other, teacher in _compared(scores):
        if {condition, other} <= known:
            found = scores.effect(condition, other)
            start = "ce_raw" if tuned else "re_estimated" if condition.endswith("_re") else "as_is"
            gap = str(scores.effect(teacher, start)) if teacher in known and teacher != start else ""
            rows.append((condition, other, str(found), found.low, found.high, gap, found.seeds, verdict(found)))
    return pd.DataFrame(rows, columns=["way", "against", "effect", "low", "high", "gap", "seeds", "verdict"])


def practitioner(rows: pd.DataFrame, cells: Mapping[str, Scores]) -> pd.DataFrame:
    """What one has to give, and gets, the cheapest first: a line for each way in each of ``cells`` (data → scores).

    ``labels``: none, few, many (none where ``data`` does not say); ``at inference``: whether clips have to be enhanced
    there; ``before``: whether the bright network has to be trained anew; ``seconds``: CPU seconds of adaptation, those
    of its teacher and of its start but for the bright network's own training among them (of the study's ``rows``);
    ``accuracy`` in percent with its interval. ``gain`` is the paired difference to the network as it is, in points.

    The list is gone down once: ``more`` is what a way gains over the choice so far, of the same seeds and clips, and
    ``chosen`` whether it is surely better (at the ledger's strict level), and so the choice from there on.
    """
    found = []
    for data, scores in cells.items():
        labels = next((word for word in LABELS if word in data.split("_")), "none")
        seconds = rows[(rows.data == data) & (rows.metric == "adaptation_seconds")].astype({"value": float})
        spent = seconds.groupby("condition").value.mean()
        ways = TITLES if labels == "none" else TUNED  # what needs no label stands in the cell without
        for condition in (c for c in ways if c in scores.predicted):
            reached, gain = level(scores, condition), scores.effect(condition, "as_is")
            found.append((ways[condition], labels, condition in ENHANCING, condition.startswith("augmented"),
                          spent.get(condition, np.nan), reached.mean, reached.half_width,
                          "" if condition == "as_is" else str(gain), gain.seeds, scores, scores.correct(condition)))
    names = ["way", "labels", "at inference", "before", "seconds", "accuracy", "half_width", "gain", "seeds"]
    order = sorted(found, key=lambda way: (LABELS.index(way[1]), way[0] != TITLES["as_is"], *way[2:4],
                                           np.nan_to_num(way[4], nan=np.inf)))
    table = pd.DataFrame([way[: len(names)] for way in order], columns=names)
    return table.join(_chosen([way[len(names) :] for way in order]))


def level(scores: Scores, condition: str) -> Effect:
    """Accuracy of a condition in percent, with its interval over seeds and test units."""
    right = scores.correct(condition)
    return effect(right, np.zeros_like(right), scores.units)


def _chosen(ways: Sequence[tuple[Scores, np.ndarray]]) -> pd.DataFrame:
    """``more`` and ``chosen`` of ways in order of cost, each its scores and who is right in it."""
    found, now = [], None
    for scores, right in ways:
        same = now is not None and scores.seeds == now[0].seeds and np.array_equal(scores.ids, now[0].ids)
        more = effect(right, now[1], scores.units) if same else None
        chosen = now is None or bool(more and more.strict_low > 0)
        found.append((str(more or ""), chosen))
        now = (scores, right) if chosen else now
    return pd.DataFrame(found, columns=["more", "chosen"])


#: Ways whose clips have to be enhanced at inference.
ENHANCING = {"enhanced", "enhanced_re", "ce_enhanced"}


def _compared(scores: Scores) -> tuple:
    return COMPARED_TUNED if "ce_raw" in scores.predicted else COMPARED


# --- the study -------------------------------------------------------------------------------------------------


def columns(size: RegimeSize, regime: Regime, seeds: int, first: int = FIRST) -> dict[str, list[Recipe]]:
    """Condition → one recipe per seed, of the first seeds whose starts count."""
    made = [conditions(size, regime, seed) for seed in counting(size, regime.norm, seeds, first, regime.variety)]
    return {name: [recipes[name] for recipes in made] for name in made[0]}


def _parts(size: RegimeSize, seeds: int) -> list[Part]:
    few = min(seeds, FEW_SEEDS)

    def part(regime: Regime, seeds: int, on, **how) -> Part:
        made = columns(size, regime, seeds, how.pop("first", FIRST))
        return Part(how.pop("data", regime.name), made, on=on, rows=rows, **how)

    unread = fresh(size.night, size.tested)
    read = replace(size.night, per_class=(0, 0, min(size.tested, 100)))
    parts = [part(Regime("bn"), few, read, first=0, data="bn_none_earlier")]
    parts += [part(Regime(norm, labels), seeds, unread) for labels in LABELS for norm in NORMS]
    parts += [part(Regime(norm, enhancer="zerodce"), few, unread) for norm in NORMS]
    parts += [part(Regime(norm, unbalanced=True), few, unread) for norm in NORMS]
    parts += [part(Regime(norm, variety=1.0), few, replace(unread, variety=1.0)) for norm in NORMS]
    return parts


def rows(outcome: Outcome) -> list[dict]:
    """Rows of every run; what its start knew of bright validation clips; CPU seconds of the adaptation; and the entropy
    of its teacher's targets, where they are soft. Raises ``ValueError`` for a seed whose start does not count."""
    made = taught_rows(outcome)
    for condition, runs in outcome.runs.items():
        for seed, run in zip(outcome.scores.seeds, runs, strict=True):  # a teacher's own seed is another
            began = find(began_as(run.recipe), pretrained=False)
            known, wanted = began.predictions("val").accuracy, mark(outcome.size, began.recipe.data.night.variety)
            if began.recipe.condition == "start" and known < wanted:
                raise ValueError(f"{outcome.part.data}, seed {seed}: its start knows {known:.1f} % of bright clips, "
                                 f"and {wanted:.0f} are wanted. `kdlab study regime_starts` finds the seeds that "
                                 "count: run it, then this again; what is trained stays")
            about = dict(condition=condition, seed=seed, recipe=run.folder.name)
            made += outcome.numbers(("bright_val_accuracy", known, "%"), ("adaptation_seconds", _seconds(run), "s"),
                                    **about)
    return made


def _seconds(run: Run) -> float:
    """CPU seconds of its training and of all that it needs, but for the bright network."""
    def needed(recipe: Recipe) -> set[Recipe]:
        if recipe.condition == "start":
            return set()
        return {recipe}.union(*map(needed, recipe.needs().values()))

    return sum(find(recipe, pretrained=False).provenance["cpu_seconds"] for recipe in needed(run.recipe))


def _lines(found: dict[str, Scores], rows: pd.DataFrame) -> list[str]:
    lines = [f"{data}\n{table(scores).round(1).to_string(index=False)}" for data, scores in found.items()]
    for norm in NORMS:
        if cells := {data: scores for data, scores in found.items() if data in {f"{norm}_{w}" for w in LABELS}}:
            lines.append(f"{norm}, in order of cost\n{practitioner(rows, cells).round(1).to_string(index=False)}")
    return lines


#: With labels the claims are DL-KDD's own, read again.
study = Study("regimes", _parts, size=STUDY, claims=(*CLAIMS, *LABELLED), lines=_lines, titles=TITLES | TUNED,
              committed=True, seedwise=True)
