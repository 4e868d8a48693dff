"""Paired differences over seeds and test units, their intervals, and the verdicts computed from them.

A claim is about networks of *other* seeds on *other* clips. Seeds (rows) and test units (columns: clips, people or
scene groups) are therefore both samples. They are crossed, because every seed is tested on the same units. The rules
are those of docs/ledger.md.
"""

from bisect import bisect_left
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Self

import numpy as np
from scipy.special import stdtrit

from kdlab.system.values import integer

LEVEL = 0.95
#: The level of each of fifteen claims, so that all hold together at 95 %.
STRICT = 1 - 0.05 / 15
#: A verdict from fewer seeds is provisional, since few values estimate their spread poorly.
ENOUGH_SEEDS = 10
#: The largest number of seeds or units that :func:`needed` considers.
_MOST = 1_000_000
#: With fewer test units, no verdict says that an effect is below two points: nine people or fifteen places that happen
#: to agree do not show that others would.
FEWEST_UNITS = 20


@dataclass(frozen=True)
class Spread:
    """The variances of a paired difference in points²: between seeds, between test units, and the rest, the interaction
    of seed and unit. They are the estimates of a two-way analysis of variance; ``seed`` can be negative.
    """

    seed: float
    unit: float
    rest: float

    @classmethod
    def of_cells(cls, cells: np.ndarray) -> Self:
        """The variances of ``cells (S, U)``, the difference of each unit under each seed, in points."""
        seeds, units = cells.shape
        rows, columns = cells.mean(1), cells.mean(0)
        if seeds == 1 or units == 1:  # all variance is attributed to the factor that has several values
            alone = [float(mean.var(ddof=1)) if len(mean) > 1 else 0.0 for mean in (rows, columns)]
            return cls(*alone, 0.0)
        rest = ((cells - rows[:, None] - columns + cells.mean()) ** 2).sum() / ((seeds - 1) * (units - 1))
        unit = max(0.0, columns.var(ddof=1) - rest / seeds)
        return cls(float(rows.var(ddof=1) - rest / units), float(unit), float(rest))

    @classmethod
    def of_samples(cls, each: np.ndarray, samples: np.ndarray, units: int) -> Self:
        """The variances of a difference that is not a mean over units (such as mAP). ``each (S,)`` is the difference of
        each seed; ``samples (S, R)`` are the differences on R bootstrap samples of the ``units``, which are the same
        for all seeds."""
        seeds = len(each)
        covariance = np.atleast_2d(np.cov(samples)) * units * units / max(1, units - 1)
        own = float(covariance.trace() / seeds)
        if seeds == 1:
            return cls(0.0, own, 0.0)
        unit = float((covariance.sum() - covariance.trace()) / (seeds * (seeds - 1)))  # shared by all seeds
        rest = max(0.0, own - unit)
        return cls(float(np.var(each, ddof=1) - rest / units), max(0.0, unit), rest)

    def half_width(self, seeds: int, units: int, level: float) -> float:
        """Half of the width of the interval of a mean over so many ``seeds`` and ``units``; infinite for one of each.

        It adds, in squares, a t-interval over the seeds (whose means vary by the seed and the rest variance) and a
        t-interval over the units. From two seeds on, coverage is 94 to 98 % in all cases of `benchmarks/coverage.py`.
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

    ``seeds_needed`` (with these units) and ``units_needed`` (with these seeds) would decide if mean and spread stay the
    same; infinite where no number would. To decide means: zero lies outside the strict interval, or the plain interval
    lies inside ±2. ``left`` is the plain half-width that would remain with these units and infinitely many seeds.
    ``spread`` holds the variances behind the intervals.
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
        """The effect with this ``mean`` over so many ``seeds`` and ``units``, with its intervals."""
        plain, strict = (spread.half_width(seeds, units, level) for level in (LEVEL, STRICT))
        intervals = mean - plain, mean + plain, mean - strict, mean + strict
        left = replace(spread, seed=0.0, rest=0.0).half_width(seeds, units, LEVEL)
        return cls(mean, *intervals, seeds, units, *needed(spread, mean, seeds, units), left, spread)

    @classmethod
    def of_samples(cls, gaps: np.ndarray, units: int) -> Self:
        """The effect of a difference that is not a mean over units. ``gaps (S, 1 + R)`` are the differences of each
        seed in points: first on all ``units``, then on R bootstrap samples of them, the same for all seeds (see
        :meth:`Spread.of_samples`)."""
        each = gaps[:, 0]
        return cls.of(float(each.mean()), Spread.of_samples(each, gaps[:, 1:], units), len(gaps), units)

    @property
    def half_width(self) -> float:
        """Half of the width of the plain interval, in points."""
        return (self.high - self.low) / 2

    def __str__(self) -> str:
        return f"{self.mean:+.1f} ± {self.half_width:.1f}"


@lru_cache(maxsize=16)
def counts(units: int, replicates: int) -> np.ndarray:
    """The number of times that each unit is drawn in each bootstrap sample, ``(R, units)``. The draws are always the
    same, so an interval does not change from one call to the next. They are kept, since drawing takes most of a
    bootstrap's time."""
    integer(1, replicates=replicates)
    often = np.random.default_rng(0).multinomial(units, np.full(units, 1 / units), replicates)
    return often.astype(np.min_scalar_type(often.max()))  # almost always a byte


def effect(a: np.ndarray, b: np.ndarray, units: np.ndarray | None = None) -> Effect:
    """The effect of ``a`` − ``b`` in points. Each is ``(seeds, clips)``, 1 where correct (or any score in [0, 1]).

    Row s of both is the same seed, column n the same clip. ``units (clips,)`` groups clips that belong together
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
    # Units differ in size, so the mean is a ratio; it is linearised about the mean.
    return Effect.of(mean, Spread.of_cells((sums - mean * sizes) / sizes.mean()), seeds, count)


def needed(spread: Spread, mean: float, seeds: int, units: int) -> tuple[float, float]:
    """The smallest numbers of seeds (with these units) and of units (with these seeds) that would decide, each larger
    than today's; see :class:`Effect`. They are meaningless for an effect that is decided already."""
    if seeds == 1 or units == 1:  # the variance of the other factor is unknown
        return np.inf, np.inf
    likely = replace(spread, seed=max(0.0, spread.seed))

    def decide(s: int, u: int) -> bool:
        return abs(mean) > likely.half_width(s, u, STRICT) or abs(mean) + likely.half_width(s, u, LEVEL) < 2

    def fewest(now: int, decided) -> float:
        more = now + 1 + bisect_left(range(now + 1, _MOST), True, key=decided)
        return float(more) if more < _MOST else np.inf

    return fewest(seeds, lambda s: decide(s, units)), fewest(units, lambda u: decide(seeds, u))


def missed(units: int) -> float:
    """The difference in points that so many test ``units`` miss with probability 5 %. If networks differ on a share p
    of all units, n units miss it with probability (1 − p)ⁿ, which is 5 % for p of about 3 / n (the *rule of three*)."""
    return float(100 * (1 - (1 - LEVEL) ** (1 / units)))


def verdict(claim: Effect, controls: dict[str, Effect] | None = None) -> str:
    """The ledger's verdict on ``claim`` = method − baseline; ``controls`` are method − control, by name.

    A control *explains* a supported effect when method − control is significantly below 2 points and not significantly
    above 0. A control that is undecided does not explain it, nor does one that the method significantly exceeds.

    *Not testable on this set* has three causes. The units alone leave an uncertainty of two points, and no number of
    seeds would decide. Or all units agree, and are so few that two points may be :func:`missed`. Or there are fewer
    than :data:`FEWEST_UNITS` units, and the plain interval contains zero. A verdict from fewer than ten seeds says so.
    Where only the plain interval excludes zero, the verdict is *underpowered* and gives the strict interval; with few
    units it also gives the direction.
    """
    if claim.low == claim.high and (least := missed(claim.units)) >= 2:  # an observed spread of 0 does not prove 0
        return f"not testable on this set (all {claim.units} test units say the same, and may miss {least:.0f} points)"
    if claim.low == claim.high and claim.spread and claim.spread.rest:  # clips differ, but their sums happen to agree
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
    """The note that a verdict is provisional with so few ``seeds``; empty from ten seeds on."""
    return f" ({seeds} seed{'s' if seeds > 1 else ''}: provisional)" if seeds < ENOUGH_SEEDS else ""


def _explained(controls: dict[str, Effect] | None) -> str:
    names = [name for name, e in (controls or {}).items() if e.low <= 0 and e.high < 2]
    return f", and explained by {' and '.join(names)}" if names else ""
