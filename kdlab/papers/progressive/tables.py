"""Tables of notebooks 07 and 07b, read from runs and from committed evidence; ``taught`` is set → scores of its exits.

The sets are named (``study.SETS``), not whatever is committed: exits on networks of one half of the scenes have other
conditions, and stand in :func:`beside` alone.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from kdlab.measure.cost import parameters
from kdlab.measure.paired import Effect
from kdlab.measure.teaching import teaching_losses
from kdlab.papers.progressive.budgets import THETAS
from kdlab.papers.progressive.method import gate
from kdlab.papers.progressive.nets import ORDER
from kdlab.papers.progressive.recipes import TITLES
from kdlab.papers.progressive.study import CLAIMS, CROSSED, PLAN, SETS, differing, exit_effect, places, taught_in
from kdlab.papers.progressive.teachers import beside_effects, gate_line, target_entropy, teachers
from kdlab.study import Scores
from kdlab.train.recipe import Recipe
from kdlab.train.runs import Run

#: The sets of the study, and those that confirm its claims, in words.
NAMES = {"night_context": "night, places tell", "night_bright": "night, places tell nothing",
         "weizmann": "ten real actions", PLAN.data: "night, places tell, unread",
         CROSSED.data: "night, unread, teachers of other scenes"}
#: With which PKD is compared in :func:`minus_controls`.
CONTROLS = ("ce_ic", "own_final", "iframe_kd", "reversed", "random_teacher", "mixture", "smoothing", "ce_kd")
#: The same on clips that nobody had read: without a teacher, with one throughout, and the orders by who teaches last.
CONFIRMED = ("ce_ic", "smoothing", "own_final", "own-motion-residual", "motion-own-residual", "residual-motion-own",
             "residual-own-motion", "reversed", "random_teacher")
#: What exits on networks of one half of the scenes tell beside the claims: learning from that half is the control, and
#: no claim asks for the others.
HALVES = {"PKD − CE, exits on the half that their networks know": ("pkd_seen", "ce_ic_seen"),
          "PKD − CE, exits on the other half": ("pkd_unseen", "ce_ic_unseen"),
          "CE, the other half − the known half": ("ce_ic_unseen", "ce_ic_seen"),
          "PKD, the other half − the known half": ("pkd_unseen", "pkd_seen"),
          "PKD at T = 4 − at T = 1, the other half": ("pkd_warm_unseen", "pkd_unseen"),
          "mean of three teachers − CE, the other half": ("mixture_unseen", "ce_ic_unseen"),
          "labels and PKD in halves − CE, the other half": ("ce_kd_unseen", "ce_ic_unseen")}
#: Choices of the released code that were tried once.
CHOICES = {"PKD, frozen nets in train mode − PKD": ("pkd_batch_statistics", "pkd"),
           "CE, half the steps − CE": ("ce_half", "ce_ic"), "CE, twice the steps − CE": ("ce_2x", "ce_ic"),
           "PKD − CE, both twice the steps": ("pkd_2x", "ce_2x"),
           "PKD − CE, plain difference for residual": ("pkd_difference", "ce_ic_difference")}
_BESIDE = ["claim", "on", "condition", "minus", "effect", "seeds", "nats", "nats of the other"]


def gates(rows: pd.DataFrame, names: Mapping[str, str]) -> str:
    """Which networks may teach (:func:`.teachers.gate_line`): a line for each set of ``names`` (data → title) of which
    it was measured, and one for all others."""
    known = {data: title for data, title in names.items() if not teachers(rows, data).empty}
    lines = [f"{title:27} {gate_line(rows, data)}" for data, title in known.items()]
    others = [title for data, title in names.items() if data not in known]
    told = f"{' and '.join(others)}: whether their networks may teach was not kept; docs/log.md has it of one seed"
    return "\n".join([*lines, *([told] if others else [])])


def chosen(found: Mapping[str, Scores]) -> dict[str, Scores]:
    """Of what is committed, the sets of the study that are there, in its order."""
    return {name: found[name] for name in SETS if name in found}


def unread(found: Mapping[str, Scores]) -> dict[str, Scores]:
    """Of what is committed, the clips that nobody had read, on which claims are confirmed: of exits on networks that
    know their clips, and of those on networks that do not."""
    return {name: found[name] for name in (PLAN.data, CROSSED.data) if name in found}


def network_table(trios: Sequence[Sequence[Recipe]], nets: Mapping[Recipe, Run]) -> pd.DataFrame:
    """The three networks of each seed: size, cross-entropies in nats on training clips as used and with the statistics
    of each batch, accuracies in percent, and whether they may teach."""
    rows = []
    for seed, three in enumerate(trios):
        for modality, recipe in zip(ORDER, three, strict=True):
            run, (used, trained) = nets[recipe], teaching_losses(nets[recipe])
            rows.append((seed, modality, parameters(run.net()), used, trained, run.predictions("val").accuracy,
                         run.predictions("test").accuracy, gate(used, trained) or "may teach"))
    return pd.DataFrame(rows, columns=["seed", "network", "parameters", "CE (nats)", "CE, batch statistics",
                                       "validation %", "test %", "gate"])


def said_beyond_labels(runs: Mapping[str, Sequence[Run]]) -> pd.DataFrame:
    """Mean entropy in nats of the soft targets that taught the exits of each network, over seeds: a row for each
    condition that had a teacher. A label has 0, and a teacher who knows nothing ln K."""
    rows = []
    for condition, column in runs.items():
        if hasattr(column[0].recipe.method, "targets"):
            rows.append((TITLES.get(condition, condition), *np.mean([target_entropy(run) for run in column], 0)))
    return pd.DataFrame(rows, columns=["taught by", *(f"{m}'s exits (nats)" for m in ORDER)])


def titled(condition: str) -> str:
    """How ``condition`` is called for readers: by ``recipes.TITLES``, and an order of three teachers by them."""
    return TITLES.get(condition, f"order {condition.replace('-', ', ')}" if condition.count("-") == 2 else condition)


def minus_controls(taught: Mapping[str, Scores], controls: Sequence[str] = CONTROLS) -> dict[str, dict[str, Effect]]:
    """Set → control → PKD minus it, mean of the trained exits where the two are not one and the same training: the
    letters in brackets are the networks that remain. Of exits whose teachers have not seen the clips PKD and controls
    are those of such exits."""
    found = {name: {} for name in taught}
    for other in controls:
        where = differing("pkd", other)
        letters = "" if len(where) == len(ORDER) else f" ({', '.join(m[0].upper() for m in where)})"
        for name, scores in taught.items():
            of = "_unseen" if "pkd_unseen" in scores.predicted else ""
            if f"{other}{of}" in scores.predicted:
                effect = exit_effect(scores, f"pkd{of}", f"{other}{of}", places(where))
                found[name][f"− {titled(other)}{letters}"] = effect
    return found


def halves(scores: Scores) -> dict[str, Effect]:
    """:data:`HALVES` on ``scores`` of exits on networks of one half of the scenes, mean of the nine; what nobody
    trained is left out."""
    return {what: exit_effect(scores, *pair) for what, pair in HALVES.items() if {*pair} <= scores.predicted.keys()}


def choices(taught: Mapping[str, Scores]) -> pd.DataFrame:
    """What each of :data:`CHOICES` changes on each set, mean of nine exits in points; empty where nobody trained it."""
    rows = [(what, *(str(exit_effect(scores, *pair)) if set(pair) <= scores.predicted.keys() else ""
                     for scores in taught.values())) for what, pair in CHOICES.items()]
    return pd.DataFrame(rows, columns=["mean of nine exits, points (95 %)", *(NAMES[name] for name in taught)])


def units(taught: Mapping[str, Scores]) -> str:
    """How many seeds and test units each set has, in a line."""
    return "; ".join(f"{NAMES[name]}: {len(scores.seeds)} seeds, {len(np.unique(scores.units))} "
                     f"{'people' if name == 'weizmann' else 'clips'}" for name, scores in taught.items())


def beside(found: Mapping[str, Scores], rows: pd.DataFrame) -> pd.DataFrame:
    """Each claim's effect on each committed set, and beside it the entropy in nats of what taught either side: of the
    sets of the study, of unread clips, and of exits on networks of the other half of the scenes. NaN where the study
    did not measure it."""
    tables = []
    for name in (*SETS, PLAN.data, CROSSED.data):
        if name in found:
            table = beside_effects(CLAIMS, found[name], rows, taught_in(name))
            tables.append(table.assign(on=NAMES[name], seeds=len(found[name].seeds)))
    every = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=_BESIDE)
    return every[_BESIDE].replace({"condition": TITLES, "minus": TITLES})


def saved_at(curves: Mapping[str, np.ndarray], theta: float, method: str = "pkd") -> dict[str, float]:
    """What stopping at the threshold ``theta`` (of ``budgets.THETAS``) costs in percent of all exits, in ``macs``,
    ``seconds`` and ``seconds_decoded``, and by how many ``points`` accuracy changes; ``curves`` are
    ``wise_study.load_curves``'s. Raises ``ValueError`` for a threshold that was not swept."""
    if theta not in THETAS:
        raise ValueError(f"theta={theta:g} was not swept: give one of {', '.join(f'{t:g}' for t in THETAS)}")
    place, last = list(THETAS).index(theta), list(THETAS).index(1)
    stops, right = curves[f"stops/{method}"][:, place], curves[f"right/{method}"]
    found = {kind: float(100 * curves[f"cost/{kind}"][stops].mean() / curves[f"cost/{kind}"][-1])
             for kind in ("macs", "seconds", "seconds_decoded")}
    return found | {"points": float(100 * (right[:, place].mean() - right[:, last].mean()))}
