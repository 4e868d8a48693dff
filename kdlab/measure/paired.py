"""Paired differences of two methods, with 95 % intervals.

Differences of *worlds*, each with its own clips and networks, have Student's t-interval (:meth:`Effect.of`). Networks
of several seeds that were tested on the *same* clips have an interval over both (:func:`effect`): seeds (rows) and test
units (columns: clips, people or scene groups) are samples that cross, because every seed is tested on the same units.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import stdtr, stdtrit

LEVEL = 0.95


def quantile(count: int | np.ndarray, level: float = LEVEL) -> float | np.ndarray:
    """Student's t of the two-sided ``level`` for a mean of ``count`` values, at least two."""
    return stdtrit(count - 1, (1 + level) / 2)


@dataclass(frozen=True)
class Effect:
    """A mean paired difference in points, and the ends of its 95 % interval. It has so many ``seeds`` (or worlds), and
    test ``units`` that all seeds share (1 where each world has its own)."""

    mean: float
    low: float
    high: float
    seeds: int
    units: int = 1

    @classmethod
    def of(
        cls,
        differences: ArrayLike,
        unit: float = 0.0,
        units: int = 1,
        clips: float | Sequence[float] = np.inf,
    ) -> Self:
        """The effect of ``differences (S,)`` in points, one per seed or world. ``unit`` is the variance in points² between
        the ``units`` that all seeds share. ``clips`` is the number of test clips behind each difference, where
        differences are whole numbers of clips; of several numbers the smallest counts.

        The interval adds, in squares, a t-interval over the seeds and a t-interval over the units. One clip is a step
        of 100 / ``clips`` points. The spread of worlds with their own clips counts as at least one step; an interval
        over shared clips is at least as wide as if four of them differed (docs/methods.md, 8). It is infinite for one
        seed and one unit, and for equal differences of which no ``clips`` are known. Raises ``ValueError`` for
        differences that are not finite, and for none.
        """
        d = np.asarray(differences, float)
        if not len(d) or not np.isfinite(d).all():
            raise ValueError(
                f"an effect needs a finite difference of each seed or world, got {d.tolist()}: leave out "
                "what has none"
            )
        mean, step = float(d.mean()), 100 / np.min(clips)
        spread = d.std(ddof=1) if np.ptp(d) > 1e-9 else 0.0  # the rest is rounding
        if units == 1:
            spread = max(spread, step)
        samples = (len(d), spread), (units, np.sqrt(unit))
        half = np.linalg.norm([quantile(n) * one / np.sqrt(n) for n, one in samples if n > 1])
        if units > 1:
            half = max(half, 2 * step * quantile(units))
        half = half or np.inf  # nothing is known of the spread
        return cls(mean, float(mean - half), float(mean + half), len(d), units)

    @property
    def half_width(self) -> float:
        """Half of the width of the interval, in points."""
        return (self.high - self.low) / 2

    @property
    def p(self) -> float:
        """The two-sided probability of a mean at least as far from zero if nothing but chance made it (Student's t).
        It is below 0.05 where the interval excludes zero. One seed has the t of its units."""
        count = self.seeds if self.seeds > 1 else self.units
        t = quantile(count) * abs(self.mean) / self.half_width if count > 1 else 0.0
        return float(2 * stdtr(max(1, count - 1), -t))

    def error(self, worlds: np.ndarray) -> np.ndarray:
        """The standard error of the mean over so many ``worlds``, if their spread stays the same. Needs two seeds."""
        return self.half_width / quantile(self.seeds) * np.sqrt(self.seeds / worlds)

    def below(self, point: np.ndarray, worlds: np.ndarray) -> np.ndarray:
        """The probability that the mean over so many ``worlds`` lies below ``point``, if mean and spread stay."""
        return stdtr(worlds - 1, (point - self.mean) / self.error(worlds))

    def __str__(self) -> str:
        return f"{self.mean:+.1f} ± {self.half_width:.1f}".replace("-", "−")


def effect(a: np.ndarray, b: np.ndarray, units: np.ndarray | None = None) -> Effect:
    """The effect of ``a`` − ``b`` in points. Each is ``(seeds, clips)``, 1 where correct (or any score in [0, 1]).

    Row s of both is the same seed, column n the same clip. ``units (clips,)`` groups clips that belong together
    (default: each clip alone). Scores of 0 and 1 alone are whole numbers of clips, so that the interval has a floor
    (:meth:`Effect.of`). Raises ``ValueError`` for other shapes, and scores that are not finite.
    """
    a, b = np.asarray(a, float), np.asarray(b, float)
    if a.shape != b.shape or a.ndim != 2 or 0 in a.shape:
        raise ValueError(
            f"paired scores need equal (seeds, clips) shapes, got {a.shape} and {b.shape}"
        )
    _, unit_of = np.unique(np.arange(a.shape[1]) if units is None else units, return_inverse=True)
    sums = np.stack([np.bincount(unit_of, row) for row in 100 * (a - b)])  # (S, U)
    sizes = np.bincount(unit_of).astype(float)
    seeds, count = sums.shape
    mean = float(sums.sum() / (seeds * sizes.sum()))
    if count == 1:  # one unit tells nothing of others
        return Effect(mean, -np.inf, np.inf, seeds)
    # units differ in size, so the mean is a ratio; it is linearised
    cells = (sums - mean * sizes) / sizes.mean()
    rows, columns = cells.mean(1), cells.mean(0)
    # a two-way analysis of variance: the rest, the interaction of seed and unit, is in the variance of both
    rest = ((cells - rows[:, None] - columns) ** 2).sum() / max(1, (seeds - 1) * (count - 1))
    unit = max(0.0, columns.var(ddof=1) - rest / seeds)
    whole = np.isin([a, b], (0, 1)).all()
    return Effect.of(mean + rows, unit, count, a.shape[1] if whole else np.inf)


def holm(chances: Sequence[float]) -> np.ndarray:
    """Holm's adjusted p-values ``(M,)`` of M questions that are read together: those below 0.05 hold together at 95 %,
    whatever the questions have in common."""
    p = np.asarray(chances, float)
    order, adjusted = np.argsort(p), np.empty(len(p))
    adjusted[order] = np.maximum.accumulate((len(p) - np.arange(len(p))) * p[order])
    return adjusted.clip(max=1)
