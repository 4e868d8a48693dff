"""A rule that says what distillation will gain, and whether it says more than 'always the mean effect', or than a rule
that reads less.

Gains are ``(S, C)``, of each of S seeds in C cells of a map, in points; features ``(S, C, F)`` are what is known of a
cell before anything is distilled there. A network that both are made of, such as the baseline, binds them: where it was
unlucky, the gap to its teacher is large, and so is the gain over it. So a seed's gains are told by the mean features of
the *other* seeds, when a rule is fitted and when it is tested.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from scipy.special import nctdtr, stdtrit

from kdlab.measure.paired import Effect, Spread, provisional
from kdlab.system.values import finite


@dataclass(frozen=True)
class Rule:
    """``intercept`` + ``weights`` · features, whose ``names`` are in this order, in points; ``mean`` is that of all
    gains it was fitted to: what its simplest rival says everywhere."""

    names: tuple[str, ...]
    weights: tuple[float, ...]
    intercept: float
    mean: float

    def __post_init__(self):
        finite(weights=list(self.weights), intercept=self.intercept, mean=self.mean)
        if len(self.names) != len(self.weights):
            raise ValueError(f"a rule needs a weight for each feature, got {len(self.weights)} for {len(self.names)}")

    def __str__(self) -> str:
        """``gain = -1.2 +0.31 gap``."""
        terms = (f"{weight:+.3g} {name}" for name, weight in zip(self.names, self.weights, strict=True))
        return f"gain = {self.intercept:.3g} {' '.join(terms)}"


@dataclass(frozen=True)
class Compared:
    """How a rule did: mean squared errors in points² of the ``rule``, of its ``rival``, and ``floor``, the variance
    between seeds in a cell, below which no rule gets; ``better``, by how much the rule's error is smaller, an
    ``Effect`` in points² with an interval over seeds, and ``each (S,)`` of which it is the mean."""

    rule: float
    rival: float
    floor: float
    better: Effect
    each: np.ndarray

    @classmethod
    def of(cls, rule: float, rival: float, floor: float, each: np.ndarray) -> Self:
        """With ``better`` made of ``each``."""
        better = Effect.of(float(each.mean()), Spread.of_cells(each[:, None]), len(each), 1)
        return cls(rule, rival, floor, better, each)

    @property
    def verdict(self) -> str:
        """At the ledger's strict level."""
        e = self.better
        word = "supported" if e.strict_low > 0 else "contradicted" if e.strict_high < 0 else "underpowered"
        return word + provisional(e.seeds)

    def __str__(self) -> str:
        return (f"squared error {self.rule:.1f} points², its rival's {self.rival:.1f}, of no rule below "
                f"{self.floor:.1f}: better by {self.better}")


def fit(features: np.ndarray, gains: np.ndarray, names: Sequence[str]) -> Rule:
    """The rule of least squares; a feature that does not vary has no weight. Raises ``ValueError`` for other shapes,
    one seed, and numbers that are not finite."""
    known = _others(features, gains).reshape(-1, features.shape[-1])
    middle, mean = known.mean(0), float(gains.mean())
    weights = np.linalg.lstsq(known - middle, gains.ravel() - mean, rcond=1e-9)[0].round(6)
    # rounded, so that another machine's last bits do not make it another rule
    return Rule(tuple(names), tuple(map(float, weights)), round(mean - float(weights @ middle), 6), round(mean, 6))


def predict(rule: Rule, features: np.ndarray) -> np.ndarray:
    """Gains in points ``(…)``, of features ``(…, F)``. Raises ``ValueError`` for another number of features."""
    if features.shape[-1] != len(rule.names):
        raise ValueError(f"the rule reads {', '.join(rule.names)}; got {features.shape[-1]} features")
    return rule.intercept + features @ np.array(rule.weights)


def compare(rule: Rule, features: np.ndarray, gains: np.ndarray,
            rival: tuple[Rule, np.ndarray] | None = None) -> Compared:
    """The ``rule`` on gains that it was not fitted to, against a ``rival`` with features of its own ``(S, C, G)``
    (default: 'always the mean effect', which reads none). Raises as :func:`fit` and :func:`predict`."""
    ours = _errors(predict(rule, _others(features, gains)), gains)
    theirs = _errors(rule.mean if rival is None else predict(rival[0], _others(rival[1], gains)), gains)
    floor = gains.var(0, ddof=1).mean()
    return Compared.of(float(ours.mean()), float(theirs.mean()), float(floor), theirs - ours)


def power(each: np.ndarray, smallest: float, seeds: int, level: float) -> float:
    """How often so many ``seeds`` would show an advantage of ``smallest`` points² at ``level``, if it varies between
    seeds as in ``each (S,)``."""
    if not (deviation := float(np.std(each, ddof=1))):
        return 1.0
    shift, edge = smallest * seeds**0.5 / deviation, stdtrit(seeds - 1, (1 + level) / 2)
    return float(1 - nctdtr(seeds - 1, shift, edge))


def _errors(told: np.ndarray | float, gains: np.ndarray) -> np.ndarray:
    return ((gains - told) ** 2).mean(1)


def _others(features: np.ndarray, gains: np.ndarray) -> np.ndarray:
    """Features of each seed as the mean of all others', ``(S, C, F)``."""
    if features.ndim != 3 or features.shape[:2] != gains.shape or 0 in features.shape or len(gains) < 2:
        raise ValueError("a rule needs features (seeds, cells, features) and gains (seeds, cells) of two seeds or "
                         f"more, got {features.shape} and {gains.shape}")
    if not (np.isfinite(features).all() and np.isfinite(gains).all()):
        raise ValueError("features and gains of a rule must be finite: leave out the cells that have none")
    return (features.sum(0) - features) / (len(features) - 1)
