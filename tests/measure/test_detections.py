"""Intervals of mAP against the slow way, and what a run's answers become."""

import numpy as np
import pandas as pd
import pytest

from kdlab.measure.detection import TIOUS, difference, evaluate, mean_aps


def made_up(seed: int, off: float, videos: int = 12, truth_seed: int = 0):
    """Two actions of each class in each video, found ``off`` seconds too late, among some noise."""
    rng, noise = np.random.default_rng(truth_seed), np.random.default_rng(100 + seed)
    rows = [(f"v{v}", label, start, start + 2) for v in range(videos) for label in (0, 1)
            for start in rng.uniform(0, 40, 2)]
    truth = pd.DataFrame(rows, columns=["video", "label", "start", "end"])
    shift = off + 0.3 * noise.normal(size=len(truth))
    found = truth.assign(start=truth.start + shift, end=truth.end + shift, score=noise.uniform(0.1, 1, len(truth)))
    false = found.assign(start=found.start + 20, end=found.end + 20, score=0.7 * found.score)
    return evaluate(truth, pd.concat([found, false], ignore_index=True), 2, TIOUS)


def mean_ap(its, videos, weights):
    """(R, thresholds)"""
    return np.nanmean(its.average_precision(videos, weights), 1)


def test_many_weightings_at_once_are_each_alone():
    its, rng = made_up(0, 0.4), np.random.default_rng(1)
    videos = sorted(its.truth["video"].unique())
    weights = rng.multinomial(12, np.full(12, 1 / 12), 20).astype(float)
    weights[0] = 1
    weights[1, :6] = 0
    together = mean_ap(its, videos, weights)
    assert together[0] == pytest.approx([its.mean_ap()[f"{t:g}"] for t in its.tious])
    for row, found in zip(weights, together, strict=True):
        assert found == pytest.approx(mean_ap(its, videos, row[None])[0])


def test_a_difference_is_that_of_the_means_and_its_interval_covers_it():
    good, poor = ([made_up(seed, off) for seed in range(4)] for off in (0.1, 0.5))
    found = difference(good, poor)
    exact = mean_aps(good).mean() - mean_aps(poor).mean()
    assert found.mean == pytest.approx(exact) and 0 < found.low < exact < found.high
    assert found.seeds == 4 and found.units == 12
    none = difference(good, good, "0.5")
    assert none.mean == 0 == none.half_width
    with pytest.raises(ValueError, match="4 seeds of one method and 3 of the other"):
        difference(good, poor[1:])


def test_the_interval_is_that_of_a_plain_bootstrap():
    """Videos drawn again by hand, all of their segments with them, for one seed: as wide as t has it for twelve."""
    a, b = made_up(0, 0.1), made_up(0, 0.6)
    found, rng = difference([a], [b], "0.5"), np.random.default_rng(5)
    videos, plain = sorted(a.truth["video"].unique()), []
    for _ in range(150):
        weights = rng.multinomial(12, np.full(12, 1 / 12))[None]
        one, other = (mean_ap(its, videos, weights)[0, its.tious.index(0.5)] for its in (a, b))
        plain.append(100 * (one - other))
    assert found.half_width == pytest.approx(2.201 * np.std(plain) * np.sqrt(12 / 11), rel=0.15)


def test_a_video_without_actions_counts_where_something_was_found():
    its = made_up(0, 0.1)
    false = pd.DataFrame({"video": ["empty"], "label": [0], "start": [0.0], "end": [1.0], "score": [2.0]})
    worse = evaluate(its.truth, pd.concat([its.found, false], ignore_index=True), 2, TIOUS, ["empty"])
    found = difference([worse], [its])
    assert found.mean < 0 and found.units == 13


@pytest.mark.filterwarnings("ignore:Mean of empty slice")
def test_bootstrap_samples_without_a_true_segment_do_not_count():
    """Of three videos one has actions, so 8 of 27 samples have no mAP; the difference has a spread all the same."""
    truth = pd.DataFrame({"video": ["a"], "label": [0], "start": [0.0], "end": [1.0]})
    found = pd.DataFrame({"video": list("bac"), "label": [0] * 3, "start": [0.0] * 3, "end": [1.0] * 3,
                          "score": [3.0, 2.0, 1.0]})
    one, other = (evaluate(truth, some, 1, videos=list("bc")) for some in (found, found[1:]))
    assert difference([one], [other]).half_width > 0
