"""Paired differences over seeds and test units, with a two-way bootstrap, and the verdicts computed from them.

A claim is about networks of *other* seeds on *other* clips. So both are resampled: seeds (rows) and test units
(columns: clips, people or scene groups), the units once for all seeds, because every seed met the same clips.
The rules are those of docs/ledger.md.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from kdlab.measure.bootstrap import LEVEL, STRICT, counts, ends
from kdlab.system.values import whole

#: A word from fewer seeds is provisional: the bootstrap of few values knows little of their spread.
ENOUGH_SEEDS = 10


@dataclass(frozen=True)
class Effect:
    """A mean paired difference in points, its plain 95 % interval and its interval at the ledger's strict level."""

    mean: float
    low: float
    high: float
    strict_low: float
    strict_high: float
    seeds: int
    units: int
    seeds_needed: float
    units_needed: float

    @classmethod
    def of(cls, mean: float, samples: np.ndarray, seeds: int, units: int, cells: np.ndarray | None = None,
           ratio: float | None = None) -> "Effect":
        """``mean`` with the intervals of its bootstrap ``samples``. From ``cells (S, U)``, each unit's difference under
        each seed, is told how many more would decide, ``ratio`` being the strict interval's width over the plain's."""
        (low, high), strict = ends(samples, LEVEL), ends(samples, STRICT)
        if ratio is None:
            ratio = (strict[1] - strict[0]) / (high - low) if high > low else 1.0
        # Decided: zero excluded at the strict level, or the plain interval inside ±2; whichever is nearer.
        more = (np.inf, np.inf) if cells is None else needed(cells, max(abs(mean) / ratio, 2 - abs(mean)))
        return cls(mean, low, high, *strict, seeds, units, *more)

    @property
    def half_width(self) -> float:
        """Of the plain interval, in points."""
        return (self.high - self.low) / 2

    def __str__(self) -> str:
        return f"{self.mean:+.1f} ± {self.half_width:.1f}"


def effect(a: np.ndarray, b: np.ndarray, units: np.ndarray | None = None, replicates: int = 20_000) -> Effect:
    """Effect of ``a`` − ``b`` in points; each ``(seeds, clips)``, 1 where right (or any score in [0, 1]).

    Row s of both is the same seed, column n the same clip; ``units (clips,)`` groups clips that must be resampled
    together (default: each clip alone). Raises ``ValueError`` for other shapes, and scores that are not finite.
    """
    whole(1, replicates=replicates)
    a, b = np.asarray(a, float), np.asarray(b, float)
    if a.shape != b.shape or a.ndim != 2 or 0 in a.shape:
        raise ValueError(f"paired scores need equal (seeds, clips) shapes, got {a.shape} and {b.shape}")
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise ValueError("paired scores must be finite: leave out the seeds or clips that have none")
    _, unit_of = np.unique(np.arange(a.shape[1]) if units is None else units, return_inverse=True)
    sums = np.stack([np.bincount(unit_of, row) for row in 100 * (a - b)])  # (S, U)
    sizes = np.bincount(unit_of).astype(float)
    seeds, n_units = sums.shape
    means = np.empty(replicates)
    drawn_seeds, drawn_units = counts(seeds, n_units, replicates)
    columns = np.vstack([sums, sizes]).T  # one matrix product for all: units are many, seeds few
    # Sums of whole numbers, as those of right and wrong are, have no rounding in half the memory either.
    exact = (columns == np.rint(columns)).all() and n_units * np.abs(columns).max() < 2**24
    columns = columns.astype(np.float32 if exact else float)
    for start in range(0, replicates, 1000):
        part = slice(start, start + 1000)
        each = (drawn_units[part].astype(columns.dtype) @ columns).astype(float)
        means[part] = (drawn_seeds[part] * each[:, :-1]).sum(1) / (seeds * each[:, -1])
    ratio = float(ndtri((1 + STRICT) / 2) / ndtri((1 + LEVEL) / 2))
    return Effect.of(float(sums.sum() / (seeds * sizes.sum())), means, seeds, n_units, sums / sizes, ratio)


def needed(cells: np.ndarray, target: float) -> tuple[float, float]:
    """Seeds (with these units) or units (with these seeds) that bring the 95 % half-width to ``target`` points.

    The variance of the resampled mean is seed part / S + unit part / U + 3 rest / (S U), the parts from a two-way
    analysis of variance; the 3 is the price of resampling both ways (Owen, arXiv 0712.1111: it makes intervals wide).
    """
    s, u = cells.shape
    if s < 2 or u < 2:
        return np.inf, np.inf
    rows, columns, mean = cells.mean(1), cells.mean(0), cells.mean()
    rest = ((cells - rows[:, None] - columns + mean) ** 2).sum() / ((s - 1) * (u - 1))
    seed_part = max(0.0, rows.var(ddof=1) - rest / u)
    unit_part = max(0.0, columns.var(ddof=1) - rest / s)
    variance = (target / 1.96) ** 2

    def enough(own: float, other: float, held: int, now: int) -> float:
        left = variance - other / held
        return max(now + 1.0, np.ceil((own + 3 * rest / held) / left)) if left > 0 else np.inf

    return enough(seed_part, unit_part, u, s), enough(unit_part, seed_part, s, u)


def verdict(claim: Effect, controls: dict[str, Effect] | None = None) -> str:
    """The ledger's word for ``claim`` = method − baseline; ``controls`` are method − control, by name.

    A control *explains* a supported effect only when method − control lies inside ±2 points, not when it is undecided.
    A word from fewer than ten seeds says so.
    """
    small = -2 < claim.low and claim.high < 2
    if claim.strict_low > 0 or claim.strict_high < 0:
        word = "supported" if claim.strict_low > 0 else "contradicted"
        word += ", small" if small else ""
        return word + (_explained(controls) if claim.strict_low > 0 else "") + provisional(claim.seeds)
    if small:
        return "no effect larger than 2 points" + provisional(claim.seeds)
    more = {"seeds": claim.seeds_needed, "test units": claim.units_needed}
    ways = [f"{n:.0f} {what}" for what, n in more.items() if np.isfinite(n)]
    cure = " or ".join(ways) or "more seeds and more test units"
    return f"underpowered (± {claim.half_width:.1f}; about {cure} would decide)"


def provisional(seeds: int) -> str:
    """What is added to a word of the ledger that so few ``seeds`` gave; nothing from ten on."""
    return f" ({seeds} seed{'s' if seeds > 1 else ''}: provisional)" if seeds < ENOUGH_SEEDS else ""


def _explained(controls: dict[str, Effect] | None) -> str:
    names = [name for name, e in (controls or {}).items() if -2 < e.low and e.high < 2]
    return f", and explained by {' and '.join(names)}" if names else ""


def together(each: dict[str, Effect], controls: dict[str, Effect] | None = None) -> str:
    """The word for a row that needs all of its comparisons: supported if each is (only then it is asked whether one of
    the ``controls`` explains it), else those that are not, by word."""
    words, few = {name: verdict(e) for name, e in each.items()}, provisional(min(e.seeds for e in each.values()))
    if all(word.startswith("supported") for word in words.values()):
        return "supported" + _explained(controls) + few
    by_word: dict[str, list[str]] = {}
    for name, word in words.items():
        by_word.setdefault(word.split(" (")[0], []).append(name)
    return "not supported: " + "; ".join(f"{word}: {', '.join(names)}" for word, names in by_word.items()) + few
