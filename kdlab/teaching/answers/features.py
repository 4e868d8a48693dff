"""What is right in notebooks 04 and 05: features that are generated, and actions that are found in time."""

import numpy as np

from kdlab.teaching.answers.shared import Trial


def genkd_over_untrained() -> float:
    """Points of accuracy, mean over seeds, on the clips that nobody had read where they are committed."""
    from kdlab.papers.generative import study

    return study.study.newest("night_bright")[1].effect("genkd", "untrained").mean


def price_of_ignoring_attention() -> float:
    """Nats an element."""
    import torch

    from kdlab.papers.generative.method import kl_to_attention

    mean, log_variance, attention = (torch.full((1, 1, 1), value, dtype=torch.float64) for value in (0, 0, 0.8))
    return float(kl_to_attention(mean, log_variance, attention))


def genkd_in_detection() -> float:
    """Points of mAP averaged over tIoU 0.1 to 0.5, mean over seeds, likewise."""
    from kdlab.papers.generative import detection_study

    scores = detection_study.study.newest("night_untrimmed")[1]
    return scores.mean_ap("det_genkd").mean() - scores.mean_ap("det_student").mean()


def shortest_that_survives() -> float:
    """Seconds: L / (L + 0.3) = 0.8."""
    return 0.3 * 0.8 / (1 - 0.8)


def longest_whole_action(stride: int = 48) -> float:
    """Seconds that two neighbouring windows of the detectors share, where one begins every ``stride`` steps."""
    from kdlab.papers.generative.detection_recipes import WINDOW

    return (WINDOW.frames - stride) / WINDOW.rate


NUMBERS = (genkd_over_untrained, price_of_ignoring_attention, genkd_in_detection, shortest_that_survives,
           longest_whole_action)


def explained_share() -> Trial:
    """R² in percent of made features, against the training clips' mean."""
    rng = np.random.default_rng(0)
    features, mean = rng.random((6, 4, 3)), rng.random((4, 3))

    def reference(features, made, mean):
        return 100 * (1 - np.square(made - features).sum() / np.square(mean - features).sum())

    return reference, [(features, 0.9 * features, mean), (features, features, mean), (features, 0 * features, mean)]


def average_precision() -> Trial:
    """AP in [0, 1] of hits by falling score, with interpolated precision."""
    def reference(hits, actions):
        precision = np.cumsum(hits) / np.arange(1, len(hits) + 1)
        return float(sum(precision[rank:].max() for rank in np.flatnonzero(hits)) / actions)

    return reference, [(np.array([True, False, False, True]), 2), (np.array([False, True, True, False, True]), 4),
                       (np.array([False, False]), 1)]


CODE = (explained_share, average_precision)
