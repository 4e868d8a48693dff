"""What one network's predictions say: accuracy, confusion, calibration."""

import itertools
from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.special import softmax, stdtrit

from kdlab.system.values import alike, fraction, whole


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


def confusion(labels: np.ndarray, predicted: np.ndarray, num_classes: int) -> np.ndarray:
    """Counts ``(K, K)``: row = true class, column = predicted class."""
    alike(labels=labels, predicted=predicted)
    whole(1, num_classes=num_classes)
    return np.bincount(num_classes * labels + predicted, minlength=num_classes**2).reshape(num_classes, num_classes)


def half_width(values: np.ndarray) -> float:
    """Half of the 95 % t-interval of the mean of ``values``, of which there are at least two."""
    return float(stdtrit(len(values) - 1, 0.975) * values.std(ddof=1) / len(values) ** 0.5)


def confusion_changes(labels: np.ndarray, before: np.ndarray, after: np.ndarray,
                      classes: Sequence[str]) -> pd.DataFrame:
    """Who is taken for whom less often (``change`` < 0) or more often by one kind of network than by another.

    ``before`` and ``after`` are predicted classes ``(S, N)``, a row a seed; rates are in percent of the true class's
    clips, over all seeds, with ``half_width``, that of the change's 95 % interval over seeds (t). Most mended first.
    """
    rows = []
    for true, other in itertools.permutations(range(len(classes)), 2):
        if (clips := labels == true).any():
            a, b = (100 * (predicted[:, clips] == other).mean(1) for predicted in (before, after))
            half = half_width(b - a) if len(a) > 1 else np.nan
            rows.append((classes[true], classes[other], a.mean(), b.mean(), (b - a).mean(), half))
    table = pd.DataFrame(rows, columns=["true", "taken for", "before", "after", "change", "half_width"])
    return table.sort_values("change", ignore_index=True)


def expected_calibration_error(logits: np.ndarray, labels: np.ndarray, bins: int = 15) -> float:
    """ECE in percent: |confidence − accuracy| averaged over equal-width confidence bins, weighted by their clips.

    ``logits (N, K)``, ``labels (N,)``. Raises ``ValueError`` for other shapes, no clip, and logits that are not finite.
    """
    whole(1, bins=bins, clips=len(labels))
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
