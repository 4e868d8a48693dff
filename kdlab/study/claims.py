"""Claims: what is compared, and how it will be confirmed, as the register knows it before the confirming runs.

A claim of kdlab's has a :class:`Plan`. :mod:`kdlab.study.register` writes both down, with the power that earlier
evidence lets one expect; what was read before the registration is a second reading.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import pandas as pd

from kdlab.clips.later import Later
from kdlab.measure.paired import Effect, together, verdict
from kdlab.study.scores import Scores
from kdlab.system.values import positive, whole

#: Columns of a table of verdicts.
LEDGER = ["claim", "says", "comparison", "effect", "seeds", "verdict"]
#: The first seed of confirming runs, of trainings and of data: those below were looked at before there was a register.
FIRST = 100
#: How names of sets of test clips end that nobody had read.
UNREAD = "_fresh"


def fresh(data, tested: int | None = None, read: int = 0):
    """Test clips (or videos) that nobody has read: those of ``data`` of another data seed, or ``tested`` of each class
    (or ``tested`` videos), and none to train on. ``data``: of `night`, untrimmed, or a stream of either.

    Where places and props tell the class, another data seed deals them anew, and a network that knows them would be
    asked about another world. There they are later clips of the same seed: after ``data``'s own, and after the first
    ``read`` of each class.
    """
    if getattr(getattr(data, "night", data), "context", 0):
        own = getattr(data, "night", data)
        first = max(own.per_class[2], read)
        more = replace(own, per_class=(0, 0, first + (tested or own.per_class[2])))
        return Later(more if own is data else replace(data, night=more), first)
    if hasattr(data, "night"):
        return replace(data, night=fresh(data.night, tested))
    kind = "videos" if hasattr(data, "videos") else "per_class"
    return replace(data, seed=FIRST, **{kind: (0, 0, tested or getattr(data, kind)[2])})


@dataclass(frozen=True)
class Plan:
    """How a claim is confirmed: on ``data`` by so many ``seeds`` from ``first`` on, and so many test ``units`` of a
    ``kind``; ``smallest`` is the effect of interest, in ``unit`` s. ``earlier`` names the data read before, whose
    spread tells the power."""

    data: str
    earlier: str
    units: int
    kind: str = "clips"
    seeds: int = 10
    first: int = FIRST
    smallest: float = 2.0
    unit: str = "points"

    def __post_init__(self):
        whole(1, seeds=self.seeds, units=self.units)
        whole(FIRST, "smaller seeds were looked at before", first=self.first)
        positive("the smallest effect of interest", smallest=self.smallest)


@dataclass(frozen=True)
class Reading:
    """What one data set says of a claim: its ``effect`` and ``verdict`` in words, from how many ``seeds`` and test
    ``units``; the paired ``effects`` behind it by what is compared with, and those of ``controls``. ``sets`` are those
    that it is of, where they are several. ``brief`` is what stands in a narrow cell where there are no effects."""

    effect: str
    verdict: str
    seeds: int
    units: int
    effects: Mapping[str, Effect] = field(default_factory=dict)
    controls: Mapping[str, Effect] = field(default_factory=dict)
    sets: tuple[str, ...] = ()
    brief: str = ""

    @classmethod
    def of(cls, effect: Effect) -> "Reading":
        """Of one ``effect`` without controls."""
        return cls(str(effect), verdict(effect), effect.seeds, effect.units, {"": effect})


@dataclass(frozen=True)
class Claim:
    """``condition`` is better than ``baseline``, or than each of several: a row of the ledger. A control that is as
    good explains the effect; a ``rule`` tells in words what decides where no control does.

    Several baselines, and controls, are names, or a mapping of names to words for people. ``effect(scores, condition,
    other)`` is the paired difference in the ``metric``. ``plan`` is how the claim is confirmed, and ``gate(rows)``
    tells from the study's table whether it can be, and why: (passed, words).

    A claim about something else than paired scores has a ``statistic(evidence)`` of its own, and ``expected(evidence,
    plan, level)``, its power. ``evidence(data, confirming)`` loads what is committed, or gives None where nothing is;
    by default it is the study's scores of that data set. ``before`` names the study that was read before, where that is
    another one.

    Where nothing was read of what the claim compares, its power is that of a claim ``like`` it, whose comparison varied
    so on the plan's earlier data.
    """

    claim: str
    says: str
    condition: str
    baseline: str | Sequence[str] | Mapping[str, str]
    controls: Sequence[str] | Mapping[str, str] = ()
    comparison: str = ""
    effect: Callable[[Scores, str, str], Effect] = lambda scores, condition, other: scores.effect(condition, other)
    rule: str = ""
    metric: str = "accuracy"
    plan: Plan | None = None
    gate: Callable[[pd.DataFrame], tuple[bool, str]] | None = None
    statistic: Callable[[object], Reading] | None = None
    expected: Callable[[object, Plan, float], float] | None = None
    evidence: Callable[[str, bool], object] | None = None
    before: str = ""
    like: "Claim | None" = None

    @property
    def baselines(self) -> dict[str, str]:
        return _titled([self.baseline] if isinstance(self.baseline, str) else self.baseline)

    @property
    def compared(self) -> str:
        """The comparison, in words."""
        return self.comparison or f"{self.condition} − {', '.join(self.baselines.values())}"

    def lacking(self, known: Iterable[str]) -> set[str]:
        """Conditions without which the claim cannot be read and that are not ``known``; of several baselines one will
        do, though it is supported by all only."""
        known = set(known)
        none = set() if known & self.baselines.keys() else set(self.baselines)
        return ({self.condition} - known) | none

    def trained(self, known: Iterable[str]) -> list[str]:
        """Those of the ``known`` trainings that the claim compares: ``wise:pkd`` is a reading of ``pkd``."""
        named = {self.condition, *self.baselines, *self.controls}
        return sorted(set(known) & (named | {name.rpartition(":")[2] for name in named}))

    def unplanned(self) -> str:
        """Why the claim cannot be registered, in a sentence; empty where it can."""
        if self.plan is None:
            return f"{self.claim} does not say on which data, seeds and test units it is confirmed: give it a plan"
        if not self.controls and not self.rule:
            return f"{self.claim} has no control: name one, or the rule that decides in its stead"
        return ""

    def read(self, evidence) -> Reading:
        """What ``evidence`` says: scores, which lack nothing (what else they do not know is left out), or what the
        claim's own statistic reads."""
        if self.statistic:
            return self.statistic(evidence)
        each, controls = self._gains(evidence, self.baselines), self._gains(evidence, _titled(self.controls))
        if isinstance(self.baseline, str):
            (effect,) = each.values()
            lines, word = [str(effect)], verdict(effect, controls)
        else:
            missing = [title for title in self.baselines.values() if title not in each]
            lines, word = [f"{title} {e}" for title, e in each.items()], together(each, controls, missing)
        if isinstance(self.controls, Mapping):
            lines += [f"control {title} {e}" for title, e in controls.items()]
        fewest = min(each.values(), key=lambda e: e.seeds)
        return Reading("; ".join(lines), word, fewest.seeds, fewest.units, each, controls)

    def judged(self, evidence) -> dict:
        """The row of a table of verdicts: :meth:`read`, beside the claim."""
        found = self.read(evidence)
        cells = self.claim, self.says, self.compared, found.effect, found.seeds, found.verdict
        return dict(zip(LEDGER, cells, strict=True))

    def power(self, evidence, level: float) -> float:
        """How often the plan's seeds and units would show the smallest effect of interest at ``level``, if they vary as
        in the earlier ``evidence``; of several baselines the least, as all are needed."""
        if self.expected:
            return self.expected(evidence, self.plan, level)
        spreads = [effect.spread for effect in self.read(evidence).effects.values()]
        return min(s.power(self.plan.smallest, self.plan.seeds, self.plan.units, level) for s in spreads)

    def _gains(self, scores: Scores, titles: Mapping[str, str]) -> dict[str, Effect]:
        known = {name: title for name, title in titles.items() if name in scores.recipes}
        return {title: self.effect(scores, self.condition, name) for name, title in known.items()}


def _titled(names: Sequence[str]) -> dict[str, str]:
    return dict(names) if isinstance(names, Mapping) else {name: name for name in names}
