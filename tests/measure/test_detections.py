"""mAP of videos that count several times."""

import numpy as np
import pandas as pd
import pytest

from kdlab.measure.detection import TIOUS, evaluate


def made_up(seed: int, off: float, videos: int = 12, truth_seed: int = 0):
    """Two actions of each class in each video, found ``off`` seconds too late, among some noise."""
    rng = np.random.default_rng(truth_seed)
    noise = np.random.default_rng(100 + seed)
    rows = [
        (f"v{v}", label, start, start + 2)
        for v in range(videos)
        for label in (0, 1)
        for start in rng.uniform(0, 40, 2)
    ]
    truth = pd.DataFrame(rows, columns=["video", "label", "start", "end"])
    shift = off + 0.3 * noise.normal(size=len(truth))
    found = truth.assign(
        start=truth.start + shift, end=truth.end + shift, score=noise.uniform(0.1, 1, len(truth))
    )
    false = found.assign(start=found.start + 20, end=found.end + 20, score=0.7 * found.score)
    return evaluate(truth, pd.concat([found, false], ignore_index=True), 2, TIOUS)


def mean_ap(its, videos, weights):
    """(R, thresholds)"""
    return np.nanmean(its.average_precision(videos, weights), 1)


def test_many_weightings_at_once_are_each_alone():
    its = made_up(0, 0.4)
    rng = np.random.default_rng(1)
    videos = sorted(its.truth["video"].unique())
    weights = rng.multinomial(12, np.full(12, 1 / 12), 20).astype(float)
    weights[0] = 1
    weights[1, :6] = 0
    together = mean_ap(its, videos, weights)
    assert together[0] == pytest.approx([its.mean_ap()[f"{t:g}"] for t in its.tious])
    for row, found in zip(weights, together, strict=True):
        assert found == pytest.approx(mean_ap(its, videos, row[None])[0])
