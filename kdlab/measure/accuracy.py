"""What one network's predictions say: accuracy, confusion, calibration."""

import numpy as np
from scipy import stats
from scipy.special import softmax

__all__ = ["accuracy_interval", "confusion", "expected_calibration_error"]


def accuracy_interval(correct: np.ndarray, level: float = 0.95) -> tuple[float, float]:
    """Interval in percent for one network's accuracy over clips: Wilson's, which stays inside [0, 100].

    ``correct (N,)`` bool. It treats clips as independent: for clips that share scenes it is too narrow (say so).
    """
    if len(correct) == 0:
        raise ValueError("an accuracy needs at least one clip")
    low, high = stats.binomtest(int(np.sum(correct)), len(correct)).proportion_ci(level, method="wilson")
    return 100 * low, 100 * high


def confusion(labels: np.ndarray, predicted: np.ndarray, num_classes: int) -> np.ndarray:
    """Counts ``(K, K)``: row = true class, column = predicted class."""
    return np.bincount(num_classes * labels + predicted, minlength=num_classes**2).reshape(num_classes, num_classes)


def expected_calibration_error(logits: np.ndarray, labels: np.ndarray, bins: int = 15) -> float:
    """ECE in percent: |confidence − accuracy| averaged over equal-width confidence bins, weighted by their clips."""
    probabilities = softmax(logits, axis=1)
    confidence, hit = probabilities.max(1), probabilities.argmax(1) == labels
    place = np.minimum((confidence * bins).astype(int), bins - 1)
    weight = np.bincount(place, minlength=bins)
    gap = np.abs(np.bincount(place, confidence, bins) - np.bincount(place, hit, bins))
    return 100 * float(gap.sum() / weight.sum())
