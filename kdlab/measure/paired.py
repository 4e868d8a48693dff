"""Paired differences over seeds and test units, their intervals, and the verdicts computed from them.

A claim is about networks of *other* seeds on *other* clips. So both are samples: seeds (rows) and test units (columns:
clips, people or scene groups), crossed, because every seed met the same units. The rules are those of docs/ledger.md.
"""

from bisect import bisect_left
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Self

import numpy as np
from scipy.special import stdtrit

from kdlab.system.values import integer

LEVEL = 0.95
#: The level at which each of fifteen claims is read, so that all hold together at 95 %.
STRICT = 1 - 0.05 / 15
#: A word from fewer seeds is provisional: few values know little of their spread.
ENOUGH_SEEDS = 10
#: How many seeds or units are thought of when asking how many would decide.
_MOST = 1_000_000
#: Nine people or fifteen places that happen to agree are no reason to think that others would: of fewer test units than
#: these no word is told about two points.
FEWEST_UNITS = 20


@dataclass(frozen=True)
class Spread:
    """Why a mean paired difference varies, as variances in points²: between seeds, between test units, and the rest,
    which a seed has with a unit. Those of a two-way analysis of variance; ``seed``, an estimate, can be below 0.
    """

    seed: float
    unit: float
    rest: float

    @classmethod
    def of_cells(cls, cells: np.ndarray) -> Self:
        """Of each unit's difference under each seed, ``(S, U)``, in points."""
        seeds, units = cells.shape
        rows, columns = cells.mean(1), cells.mean(0)
        if seeds == 1 or units == 1:  # what cannot be told apart is the only one's of which there are several
            alone = [float(mean.var(ddof=1)) if len(mean) > 1 else 0.0 for mean in (rows, columns)]
            return cls(*alone, 0.0)
        rest = ((cells - rows[:, None] - columns + cells.mean()) ** 2).sum() / ((seeds - 1) * (units - 1))
        unit = max(0.0, columns.var(ddof=1) - rest / seeds)
        return cls(float(rows.var(ddof=1) - rest / units), float(unit), float(rest))

    @classmethod
    def of_samples(cls, each: np.ndarray, samples: np.ndarray, units: int) -> Self:
        """Of a difference that is no mean over units (such as mAP): that of ``each`` seed ``(S,)``, and the same of
        ``samples (S, R)`` in which the ``units`` were drawn again, the same for all seeds."""
        seeds = len(each)
        covariance = np.atleast_2d(np.cov(samples)) * units * units / max(1, units - 1)
        own = float(covariance.trace() / seeds)
        if seeds == 1:
            return cls(0.0, own, 0.0)
        unit = float((covariance.sum() - covariance.trace()) / (seeds * (seeds - 1)))  # what all seeds have in common
        rest = max(0.0, own - unit)
        return cls(float(np.var(each, ddof=1) - rest / units), max(0.0, unit), rest)

    def half_width(self, seeds: int, units: int, level: float) -> float:
        """Half of the interval of a mean over so many ``seeds`` and ``units``.

        A t-interval over the seeds, whose means vary by their own part and the rest, with that of the units' part
        added. It covers 94 to 98 % in all that `benchmarks/coverage.py` draws, from two seeds on.
        """
        if seeds == units == 1:
            return np.inf
        square = 0.0
        if seeds > 1:
            square += stdtrit(seeds - 1, (1 + level) / 2) ** 2 * max(0.0, self.seed + self.rest / units) / seeds
        if units > 1:
            square += stdtrit(units - 1, (1 + level) / 2) ** 2 * self.unit / units
        return float(np.sqrt(square))

@dataclass(frozen=True)
class Effect:
    """A mean paired difference in points, its plain 95 % interval and its interval at the ledger's strict level.

    ``seeds_needed`` (with these units) and ``units_needed`` (with these seeds) would decide, if mean and spread stay:
    zero outside the strict interval, or the plain one inside ±2. Infinite where no number would. ``left`` is the plain
    half-width that these units would leave with seeds without end; ``spread`` is what the intervals are made of.
    """

    mean: float
    low: float
    high: float
    strict_low: float
    strict_high: float
    seeds: int
    units: int
    seeds_needed: float
    units_needed: float
    left: float = 0.0
    spread: Spread | None = None

    @classmethod
    def of(cls, mean: float, spread: Spread, seeds: int, units: int) -> Self:
        """``mean`` over so many ``seeds`` and ``units`` with its intervals."""
        plain, strict = (spread.half_width(seeds, units, level) for level in (LEVEL, STRICT))
        intervals = mean - plain, mean + plain, mean - strict, mean + strict
        left = replace(spread, seed=0.0, rest=0.0).half_width(seeds, units, LEVEL)
        return cls(mean, *intervals, seeds, units, *needed(spread, mean, seeds, units), left, spread)

    @classmethod
    def of_samples(cls, gaps: np.ndarray, units: int) -> Self:
        """Of a difference that is no mean over units: of each seed ``(S, 1 + R)`` in points, first on all ``units``,
        then on R samples of them, the same for all seeds (see :meth:`Spread.of_samples`)."""
        each = gaps[:, 0]
        return cls.of(float(each.mean()), Spread.of_samples(each, gaps[:, 1:], units), len(gaps), units)

    @property
    def half_width(self) -> float:
        """Of the plain interval, in points."""
        return (self.high - self.low) / 2

    def __str__(self) -> str:
        return f"{self.mean:+.1f} ± {self.half_width:.1f}"


@lru_cache(maxsize=16)
def counts(units: int, replicates: int) -> np.ndarray:
    """How often each unit is drawn in a bootstrap, ``(R, units)``, always the same: an interval must not change from
    one reading to the next. Most of a bootstrap's time goes into drawing, so the draws are kept."""
    integer(1, replicates=replicates)
    often = np.random.default_rng(0).multinomial(units, np.full(units, 1 / units), replicates)
    return often.astype(np.min_scalar_type(often.max()))  # hardly ever more than a byte


def effect(a: np.ndarray, b: np.ndarray, units: np.ndarray | None = None) -> Effect:
    """Effect of ``a`` − ``b`` in points; each ``(seeds, clips)``, 1 where right (or any score in [0, 1]).

    Row s of both is the same seed, column n the same clip; ``units (clips,)`` groups clips that belong together
    (default: each clip alone). Raises ``ValueError`` for other shapes, and scores that are not finite.
    """
    a, b = np.asarray(a, float), np.asarray(b, float)
    if a.shape != b.shape or a.ndim != 2 or 0 in a.shape:
        raise ValueError(f"paired scores need equal (seeds, clips) shapes, got {a.shape} and {b.shape}")
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise ValueError("paired scores must be finite: leave out the seeds or clips that have none")
    _, unit_of = np.unique(np.arange(a.shape[1]) if units is None else units, return_inverse=True)
    sums = np.stack([np.bincount(unit_of, row) for row in 100 * (a - b)])  # (S, U)
    sizes = np.bincount(unit_of).astype(float)
    seeds, count = sums.shape
    mean = float(sums.sum() / (seeds * sizes.sum()))
    # Units of several sizes: a mean of ratios, linear about the mean.
    return Effect.of(mean, Spread.of_cells((sums - mean * sizes) / sizes.mean()), seeds, count)


def needed(spread: Spread, mean: float, seeds: int, units: int) -> tuple[float, float]:
    """The fewest seeds (with these units) and units (with these seeds), more than there are, that would decide; see
    :class:`Effect`. Of an effect that is decided they mean nothing."""
    if seeds == 1 or units == 1:  # nothing is known of the other part
        return np.inf, np.inf
    likely = replace(spread, seed=max(0.0, spread.seed))

    def decide(s: int, u: int) -> bool:
        return abs(mean) > likely.half_width(s, u, STRICT) or abs(mean) + likely.half_width(s, u, LEVEL) < 2

    def fewest(now: int, decided) -> float:
        more = now + 1 + bisect_left(range(now + 1, _MOST), True, key=decided)
        return float(more) if more < _MOST else np.inf

    return fewest(seeds, lambda s: decide(s, units)), fewest(units, lambda u: decide(seeds, u))


def missed(units: int) -> float:
    """Points by which networks may differ, though none of so many test ``units`` shows it, in one case of twenty: all
    are alike with probability (1 − p)ⁿ, which is 5 % for p of about 3 / n (the *rule of three*)."""
    return float(100 * (1 - (1 - LEVEL) ** (1 / units)))


def verdict(claim: Effect, controls: dict[str, Effect] | None = None) -> str:
    """The ledger's word for ``claim`` = method − baseline; ``controls`` are method − control, by name.

    A control *explains* a supported effect when method − control is surely below 2 points and not surely above 0, so
    that it is not seen to give less. One that is undecided does not, nor one of which the method is surely ahead.
    *Not testable on this set*: the units alone leave two points open and no number of seeds would decide, all say the
    same and are so few that two points may be :func:`missed`, or they are fewer than :data:`FEWEST_UNITS` and the plain
    interval holds zero. A word from fewer than ten seeds says so. Where only the plain interval excludes zero the word
    is *underpowered*, with the strict interval; of few units the direction is told.
    """
    if claim.low == claim.high and (least := missed(claim.units)) >= 2:  # no spread was seen, which is not none
        return f"not testable on this set (all {claim.units} test units say the same, and may miss {least:.0f} points)"
    if claim.low == claim.high and claim.spread and claim.spread.rest:  # clips differ, and their sums happen to agree
        return f"underpowered (its {claim.seeds} seeds happen to agree, and tell nothing of their spread: train more)"
    small = -2 < claim.low and claim.high < 2
    if claim.strict_low > 0 or claim.strict_high < 0:
        word = "supported" if claim.strict_low > 0 else "contradicted"
        word += ", small" if small else ""
        return word + (_explained(controls) if claim.strict_low > 0 else "") + provisional(claim.seeds)
    few, seen = claim.units < FEWEST_UNITS, claim.low > 0 or claim.high < 0
    if few and not seen:
        why = f"{claim.units} test units are too few for two points"
        return f"not testable on this set (± {claim.half_width:.1f}; {why})"
    if small and not few:
        return "no effect larger than 2 points" + provisional(claim.seeds)
    more = {"seeds": claim.seeds_needed, "test units": claim.units_needed}
    ways = " or ".join(f"{n:.0f} {what}" for what, n in more.items() if np.isfinite(n))
    cure = f"about {ways}" if ways else "more seeds and more test units"
    never = not seen and claim.seeds > 1 and claim.left >= 2 and not np.isfinite(claim.seeds_needed)
    word, half = "not testable on this set" if never else "underpowered", f"± {claim.half_width:.1f}"
    if seen:
        half += f", at the strict level {claim.strict_low:+.1f} to {claim.strict_high:+.1f}"
    if seen and few:
        side = "above" if claim.low > 0 else "below"
        half += f"; {claim.units} test units tell that it is {side} zero, and little of how far"
    return f"{word} ({half}; {cure} would decide)"


def provisional(seeds: int) -> str:
    """What is added to a word of the ledger that so few ``seeds`` gave; nothing from ten on."""
    return f" ({seeds} seed{'s' if seeds > 1 else ''}: provisional)" if seeds < ENOUGH_SEEDS else ""


def _explained(controls: dict[str, Effect] | None) -> str:
    names = [name for name, e in (controls or {}).items() if e.low <= 0 and e.high < 2]
    return f", and explained by {' and '.join(names)}" if names else ""
