"""The half of the map on which the rule is tested: 20 and 80 clips a class, other seeds, test clips that nobody read.

The claim names the digest of the frozen rule, so a rule that is drawn anew is another claim; and no run of this study
begins before the claim is registered and committed (:mod:`kdlab.study.register`).
"""

from dataclasses import dataclass

import pandas as pd

from kdlab.measure.rule import power
from kdlab.night import ACTIONS
from kdlab.studies.map_cells import FIRSTS, SEEDS, SIZE, TESTED, cells, part
from kdlab.studies.map_rule import (
    DRAWN,
    HELD,
    Frozen,
    across_clips,
    across_methods,
    against,
    by_cell,
    frozen,
    lines,
    verdict,
)
from kdlab.study import Claim, Part, Plan, Reading, Scores, Study, load_rows, load_scores
from kdlab.train.sizes import Profile


@dataclass(frozen=True)
class Half:
    """Committed ``cells`` of one half of the map, tested on so many ``clips``, and the frozen ``rule``; ``confirming``:
    it is the half from which the rule was not drawn."""

    cells: pd.DataFrame
    clips: int
    rule: Frozen
    confirming: bool

    @property
    def seeds(self) -> list[int]:
        return sorted(self.cells.seed.unique())


def evidence(data: str, confirming: bool) -> Half | None:
    """The half that confirms, or the one before it; None where no rule is drawn. Raises ``FileNotFoundError`` where the
    half was not run."""
    name = HELD if confirming else DRAWN
    if (rule := frozen()) is None:
        return None
    scores = load_scores(f"{name}-{data}")
    return Half(by_cell(load_rows(name)), len(scores.labels), rule, confirming)


def read(half: Half) -> Reading:
    """Does the frozen rule tell the gains of the held half better than the mean gain of the drawn half does, and better
    than its rival, which reads clips and steps alone? Of the drawn half itself, to which they were fitted: do rules of
    one clip count tell those of the other?"""
    rules = half.rule
    found = against(rules.rule, rules.rival, half.cells) if half.confirming else across_clips(half.cells)
    effects = {name: its.better for name, its in found.items()}
    told = "; ".join(f"against {name}: {its}" for name, its in found.items())
    return Reading(told, verdict(found), len(half.seeds), half.clips, effects)


def expected(half: Half, plan: Plan, level: float) -> float:
    """The power: as if the advantage varied between seeds as that of rules does within the drawn half; the lesser of
    two, as both are needed."""
    return min(power(its.each, plan.smallest, plan.seeds, level) for its in across_clips(half.cells).values())


def claim() -> Claim:
    """M1, of the rule that is frozen now. Its baselines are all that is read for it, so that the register keeps which
    networks those are."""
    read_for_it = dict.fromkeys(name for cell in cells(SIZE, "held") for name in (cell.baseline, cell.name))
    plan = Plan("night_held", "night", TESTED * len(ACTIONS), seeds=SEEDS, first=FIRSTS["held"], smallest=20.0,
                unit="points²")
    return Claim("M1", "what distillation gains can be told before it is done", "the rule", tuple(read_for_it), (),
                 "squared error of 'always the mean effect', and of a rule of clips and steps alone, − of the rule",
                 rule=_rule(), plan=plan, metric="squared error of the gain", statistic=read, expected=expected,
                 evidence=evidence, before=DRAWN)


def _rule() -> str:
    if (rule := frozen()) is None:
        return "no rule is drawn yet: run the study map_drawn, then tools/draw_rule.py"
    return (f"the rule {rule.digest[:16]} of figures/map_rule.json has a smaller mean squared error on the gains of "
            "all held cells than the mean gain of the drawn half has, and than the rule of clips and steps alone beside"
            " it, by intervals over seeds")


def _parts(profile: Profile, seeds: int) -> list[Part]:
    return [part(profile, "held", seeds)]


def _lines(found: dict[str, Scores], rows: pd.DataFrame) -> list[str]:
    held, other = by_cell(rows), []
    if (rule := frozen()) is not None and held.seed.nunique() > 1:
        before = by_cell(load_rows(DRAWN))
        other = [*((f"the frozen rule against {name}", its)
                   for name, its in against(rule.rule, rule.rival, held).items()),
                 *((f"drawn without {method}, tested on it", its)
                   for method, its in across_methods(before, held).items())]
    return lines(held, other)


study = Study(HELD, _parts, size=SIZE, seeds=SEEDS, claims=(claim(),), lines=_lines, committed=True, seedwise=True)
