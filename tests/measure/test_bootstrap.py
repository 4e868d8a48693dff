"""The one bootstrap: its draws are always the same, its intervals those of SciPy's, its numbers those of before."""

import numpy as np
import pytest
from scipy import stats

from kdlab.measure.bootstrap import counts, ends, interval
from kdlab.measure.cost import ratio_interval


def test_draws_are_always_the_same_and_of_the_right_size():
    units = counts(40, 1500)
    assert units.shape == (1500, 40) and (units.sum(1) == 40).all() and units.dtype == np.uint8
    counts.cache_clear()
    assert np.array_equal(counts(40, 1500), units) and not np.array_equal(units[:700], units[700:1400])


def test_the_interval_of_a_mean_is_scipys():
    values = np.random.default_rng(3).normal(size=60)
    low, high = interval(lambda places: values[places].mean(), 60, replicates=4000)
    theirs = stats.bootstrap((values,), np.mean, n_resamples=4000, method="percentile", random_state=1)
    assert (low, high) == pytest.approx(tuple(theirs.confidence_interval), abs=0.03)
    assert interval(lambda places: values[places].mean(), 60, replicates=4000) == (low, high)


def test_several_sizes_are_drawn_anew_for_each_sample():
    seen = []
    interval(lambda *places: float(seen.append([p.tolist() for p in places]) is None), 3, 50, replicates=2)
    assert [list(map(len, places)) for places in seen] == [[3, 50], [3, 50]] and seen[0][1] != seen[1][1]
    assert max(seen[0][0]) < 3 <= max(seen[0][1]) < 50


def test_samples_that_are_no_number_do_not_count():
    assert ends(np.array([np.nan, *np.arange(101.0)])) == (2.5, 97.5)


def test_ratios_are_to_the_last_digit_what_they_were_with_a_bootstrap_of_their_own():
    draw = np.random.default_rng(7)
    found = ratio_interval(draw.random(60) + 1, draw.random(60) + 2)
    assert found == (0.5939849277229842, 0.538521816090951, 0.6363936062646915)
