"""What one network's predictions say: accuracy, confusion, calibration."""


import numpy as np
from scipy.special import softmax

from kdlab.system.values import alike, fraction, integer


def accuracy_interval(correct: np.ndarray, level: float = 0.95) -> tuple[float, float]:
    """Interval in percent for one network's accuracy over clips: Wilson's, which stays inside [0, 100].

    ``correct (N,)`` bool. It treats clips as independent: for clips that share scenes it is too narrow (say so).
    """
    if len(correct) == 0:
        raise ValueError("an accuracy needs at least one clip")
    fraction("0.95 is usual", level=level)
    from scipy import stats  # half a second of imports that only intervals need

    low, high = stats.binomtest(int(np.sum(correct)), len(correct)).proportion_ci(level, method="wilson")
    return 100 * low, 100 * high


def expected_calibration_error(logits: np.ndarray, labels: np.ndarray, bins: int = 15) -> float:
    """ECE in percent: |confidence − accuracy| averaged over equal-width confidence bins, weighted by their clips.

    ``logits (N, K)``, ``labels (N,)``. Raises ``ValueError`` for other shapes, no clip, and logits that are not finite.
    """
    integer(1, bins=bins, clips=len(labels))
    alike(labels=labels, clips=logits[..., 0])
    if not np.isfinite(logits).all():
        raise ValueError(f"{int((~np.isfinite(logits)).any(1).sum())} of {len(logits)} clips have logits that are not "
                         "finite: the network diverged, train it with a lower rate")
    probabilities = softmax(logits, axis=1)
    confidence, hit = probabilities.max(1), probabilities.argmax(1) == labels
    place = np.minimum((confidence * bins).astype(int), bins - 1)
    weight = np.bincount(place, minlength=bins)
    gap = np.abs(np.bincount(place, confidence, bins) - np.bincount(place, hit, bins))
    return 100 * float(gap.sum() / weight.sum())
