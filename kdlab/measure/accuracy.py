"""The interval of one network's accuracy."""

import numpy as np


def accuracy_interval(correct: np.ndarray) -> tuple[float, float]:
    """Wilson's 95 % interval in percent for the accuracy of one network; it stays inside [0, 100].

    ``correct (N,)`` is bool. The interval treats clips as independent: for clips that share scenes it is too narrow
    (say so). Raises ``ValueError`` without clips.
    """
    if len(correct) == 0:
        raise ValueError("an accuracy needs at least one clip")
    from scipy import stats  # half a second of imports that only intervals need

    low, high = stats.binomtest(int(np.sum(correct)), len(correct)).proportion_ci(
        0.95, method="wilson"
    )
    return 100 * low, 100 * high
