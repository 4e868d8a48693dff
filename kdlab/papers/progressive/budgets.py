"""What the twelve exits of three frozen networks say together: WISE and its rivals, each on the same four parts.

Networks and exits learn on *train*; weights and temperatures are fitted on *calibrate*, thresholds and single exits
chosen on *validate*, and *test* is read. Calibrate and validate are the two halves of the held-out clips, by people or
scenes, and then the other way round (docs/methods.md, 3.4).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from kdlab.clips.held_out import halves
from kdlab.measure.bootstrap import counts
from kdlab.measure.paired import Effect
from kdlab.papers.progressive import wise
from kdlab.train.runs import Run

#: Of WISE's early exits; at −1 every clip stops at the first exit, at 1 at the last.
THETAS = np.array([-1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.93, 0.96, 0.98, 0.99, 0.995, 0.999, 1])
#: Shares of the cost of all twelve exits, at which methods are compared.
BUDGETS = (0.25, 0.5, 0.75)


class Parts(NamedTuple):
    """Logits ``(N, 12, K)`` and labels ``(N,)`` of the four parts."""

    train: tuple[np.ndarray, np.ndarray]
    calibrate: tuple[np.ndarray, np.ndarray]
    validate: tuple[np.ndarray, np.ndarray]
    test: tuple[np.ndarray, np.ndarray]


def parts(run: Run) -> tuple[Parts, Parts]:
    """The four parts of a run with exits, and the same with calibrate and validate exchanged."""
    train, held, test = (run.predictions(split) for split in ("train", "val", "test"))
    half = halves(held.groups)
    kept = (train, slice(None)), (held, half), (held, ~half), (test, slice(None))
    one = Parts(*((p.logits[some].astype(np.float64), p.labels[some]) for p, some in kept))
    return one, one._replace(calibrate=one.validate, validate=one.calibrate)


class Calibrated(NamedTuple):
    """Exits' logits ``(N, 12, K)`` on validate and test, combined and divided by their temperatures."""

    validate: np.ndarray
    test: np.ndarray


def calibrated(some: Parts, weights: np.ndarray) -> Calibrated:
    """Combine exits by ``weights (12, 12)`` and calibrate each sum; both are known from *calibrate* alone."""
    calibrate, validate, test = (wise.combine(z, weights) for z, _ in (some.calibrate, some.validate, some.test))
    heat = wise.temperatures(calibrate, some.calibrate[1])[:, None]
    return Calibrated(validate / heat, test / heat)


def everything(some: Parts, costs: np.ndarray, alone: np.ndarray,
               mix: Sequence[float] = wise.FAITHFUL_MIX["ucf101"][0]) -> tuple[dict[str, np.ndarray], Calibrated]:
    """Class indices on test of every way to use the exits, and WISE's calibrated sums.

    ``(N,)`` each, or ``(N, 12)`` where the name ends in ``@k``: what every clip would be told at each exit.
    ``costs (12,)`` are those of stopping there, ``alone (12,)`` those of that exit without the networks before;
    ``mix`` are the released weights of the finals (``faithful_mix``): those of UCF-101's first split where the clips
    are of no set that has some.
    """
    (z, y), (test, _) = some.calibrate, some.test
    sums = calibrated(some, wise.fit_wise(z, y))
    outputs = {
        "wise": sums.test[:, -1],
        "wise@k": sums.test,
        "unscaled@k": test.cumsum(1),
        "no_lateral@k": test,
        "mean_logits": test.sum(1),
        "mean_probabilities": wise.mean_probabilities(test / wise.temperatures(z, y)[:, None])[:, -1],
        "late_fusion": wise.three_way(test, wise.late_fusion(z, y)),
        "wise_train_fit": wise.combine(test, wise.fit_wise(*some.train))[:, -1],
        "faithful_mix": wise.three_way(test, mix),
        "wise_no_l1": wise.combine(test, wise.fit_wise(z, y, l1=0.0))[:, -1],
        "best_single": test[:, wise.best_single(*some.validate, alone)],
    }
    for share in BUDGETS:
        budget = share * costs[-1]
        theta = wise.threshold_for_budget(sums.validate, some.validate[1], costs, budget)
        outputs[f"wise@{share:.0%}"] = sums.test[np.arange(len(test)), wise.stop_at(sums.test, theta)]
        outputs[f"best_single@{share:.0%}"] = test[:, wise.best_single(*some.validate, alone, budget)]
    return {name: logits.argmax(-1) for name, logits in outputs.items()}, sums


def swept(combined: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each of :data:`THETAS` whether a clip was right where it stopped, and at which exit: each ``(Θ, N)``."""
    stops = wise.stop_at(combined, THETAS)
    return (combined.argmax(2) == labels[:, None])[np.arange(len(labels)), stops], stops


Curve = tuple[np.ndarray, np.ndarray]


def area_effect(a: Curve, b: Curve, units: np.ndarray, low: float, high: float, replicates: int = 2000) -> Effect:
    """Paired difference, in points, of the mean accuracy over costs from ``low`` to ``high`` (``wise.area``).

    A curve is (right, cost), both ``(S, points, N)``. The area is no mean over ``units (N,)``: these are drawn again.
    """
    _, unit_of = np.unique(units, return_inverse=True)
    seeds, count = a[0].shape[0], int(unit_of.max() + 1)
    drawn = np.vstack([np.ones(count), counts(count, replicates)])[:, unit_of]  # the first row is the sample itself
    gaps = np.zeros((seeds, len(drawn)))
    for sign, curve in ((1, a), (-1, b)):
        right, cost = (np.einsum("spn,rn->srp", values, drawn, optimize=True) / drawn.sum(1)[:, None]
                       for values in curve)
        gaps += sign * wise.area({"cost": cost, "accuracy": 100 * right}, low * (1 + 1e-9), high)
    return Effect.of_samples(gaps, count)
