"""WISE: weighted inference over the exits of three networks, and when to stop ("Advancing Compressed Video Action
Recognition through Progressive Knowledge Distillation"; docs/methods.md, 3.4).

Exits are visited in the order residual 1-4, motion 1-4, iframe 1-4. At exit k the logits of all exits so far are summed
with fitted weights. The clip stops at the first exit whose largest probability exceeds a threshold:

    z̃_1 = z_1,   z̃_k = Σ_{j≤k} w_kj z_j,   w_k = argmin_w mean CE(Σ_j w_j z_j, y) + a_k ‖w‖₁

This problem is convex: :func:`solve` finds *the* minimum, towards which the released code takes 500 steps. Three more
things differ. The released code fits on training logits; we fit on held-out clips. It predicts at the last exit by
fixed weights of the final classifiers; we use the fitted last row. We also calibrate every sum (divide it by
:func:`temperatures`), since the L1 term shrinks some rows, and with them their confidence.

All arrays are NumPy's: logits ``(N, E, K)``, labels ``(N,)``. Exits count from 0, accuracies are in percent.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.special import log_softmax, softmax

from kdlab.system.values import finite, not_negative, positive

#: The bound on weights: with separable clips and a = 0 the minimum lies at infinity.
_LARGEST = 100.0


def _loss(w: np.ndarray, logits: np.ndarray, labels: np.ndarray) -> tuple[float, np.ndarray]:
    """Mean cross-entropy in nats of ``Σ_j w_j z_j`` and its gradient ``(J,)``."""
    right = np.arange(len(labels)), labels
    log_p = log_softmax(np.tensordot(logits, w, (1, 0)), axis=1)
    error = np.exp(log_p)
    error[right] -= 1
    return -log_p[right].mean(), np.tensordot(logits, error, ((0, 2), (0, 1))) / len(labels)


def solve(
    logits: np.ndarray, labels: np.ndarray, l1: float = 0.0, nonnegative: bool = False
) -> np.ndarray:
    """The weights ``(J,)`` of exits' logits ``(N, J, K)`` that minimise mean cross-entropy + ``l1 · ‖w‖₁`` (L-BFGS-B);
    no weight exceeds 100. ``w = u − v`` with ``u, v ≥ 0`` makes the L1 term smooth, so zeros are exact. On the three
    final classifiers, ``logits[:, FINALS]``, these are the weights of CoViAR's late fusion."""
    from scipy.optimize import minimize  # a quarter of a second of imports

    not_negative(l1=l1)
    logits, exits = np.asarray(logits, dtype=np.float64), logits.shape[1]
    sides = np.eye(exits) if nonnegative else np.concatenate([np.eye(exits), -np.eye(exits)])

    def objective(x):
        value, gradient = _loss(x @ sides, logits, labels)
        return value + l1 * x.sum(), sides @ gradient + l1

    start = np.concatenate([np.ones(exits), np.zeros(len(sides) - exits)])
    minimum = minimize(
        objective,
        start,
        jac=True,
        method="L-BFGS-B",
        bounds=[(0, _LARGEST)] * len(sides),
        options=dict(maxiter=2000, ftol=1e-13, gtol=1e-8),
    )
    return minimum.x @ sides


def fit_wise(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Lower-triangular weights ``(E, E)``: row k combines exits 0 … k, and the first row is exit 0 itself.

    a_k is the paper's: 0 for the first five exits, 0.1 from the sixth on. Fit on clips on which no network was trained.
    Raises ``ValueError`` for other shapes, and logits that are not finite.
    """
    exits = logits.shape[1]
    if logits.ndim != 3 or len(labels) != len(logits) or not np.isfinite(logits).all():
        raise ValueError(
            f"WISE needs finite logits (N, E, K) and labels (N,), got {logits.shape} and {len(labels)}"
        )
    weights = np.eye(exits)
    for k in range(1, exits):
        weights[k, : k + 1] = solve(logits[:, : k + 1], labels, 0.0 if k < 5 else 0.1)
    return weights


def combine(logits: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The sums ``z̃ (N, E, K)``: row k of ``weights (E, E)`` weighs the exits at exit k."""
    return np.einsum("kj,njc->nkc", weights, logits)


def temperatures(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The temperature of each exit, ``(E,)`` in [0.01, 1000], that minimises cross-entropy on held-out clips."""
    inverse = [solve(logits[:, [k]], labels, nonnegative=True)[0] for k in range(logits.shape[1])]
    return 1 / np.maximum(inverse, 1e-3)


def max_probability(logits: np.ndarray) -> np.ndarray:
    """The largest probability ``(N, E)``, each exit's confidence."""
    return softmax(logits, axis=2).max(2)


def stop_at(combined: np.ndarray, theta: float | Sequence[float]) -> np.ndarray:
    """The first exit ``(N,)`` whose largest probability exceeds ``theta``, or else the last exit (always the last for
    ``theta ≥ 1``). For several thresholds ``(Θ, N)``."""
    finite(theta=theta if np.ndim(theta) == 0 else list(theta))
    sure = max_probability(combined) > np.asarray(theta)[..., None, None]
    sure[..., -1] = True
    return sure.argmax(-1)


def curve(
    combined: np.ndarray, labels: np.ndarray, cumulative_cost: np.ndarray, thetas: Sequence[float]
) -> pd.DataFrame:
    """A table of mean ``cost`` and ``accuracy`` (%) under each threshold ``theta``."""
    stops, right = stop_at(combined, thetas), combined.argmax(2) == labels[:, None]
    accuracy = 100 * right[np.arange(len(labels)), stops].mean(1)
    return pd.DataFrame(
        {"theta": thetas, "cost": cumulative_cost[stops].mean(1), "accuracy": accuracy}
    )


def threshold_for_budget(
    combined: np.ndarray, labels: np.ndarray, cumulative_cost: np.ndarray, budget: float
) -> float:
    """The threshold with the highest accuracy on validation clips whose mean cost stays within ``budget`` (MACs or
    seconds); among equals, the cheapest. Raises ``ValueError`` when even the first exit exceeds the budget."""
    positive(budget=budget)
    if budget < cumulative_cost[0]:
        raise ValueError(
            f"a budget of {budget:g} is below the cost of the first exit, {cumulative_cost[0]:g}, which "
            "every clip pays; raise the budget, or use fewer segments or a smaller first network"
        )
    seen = np.unique(max_probability(combined))
    spread = np.linspace(0, len(seen) - 1, min(len(seen), 400)).astype(int)
    thetas = [-1.0, *seen[spread], 1.0]
    points = curve(combined, labels, cumulative_cost, thetas)
    within = points[points["cost"] <= budget]
    return float(within.sort_values(["accuracy", "cost"], ascending=[False, True])["theta"].iloc[0])
