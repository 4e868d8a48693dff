import numpy as np
import pytest
from scipy import stats

from kdlab.measure.accuracy import accuracy_interval
from kdlab.measure.paired import LEVEL, Effect, Spread, counts, effect, missed, verdict


def draw(seed, seeds=10, clips=400, gain=0.0, seed_sd=0.0):
    rng = np.random.default_rng(seed)
    easy = rng.uniform(0.2, 1.0, clips)
    shift = rng.normal(0, seed_sd, (seeds, 1))
    b = rng.random((seeds, clips)) < easy
    a = rng.random((seeds, clips)) < np.clip(easy + gain + shift, 0, 1)
    return a.astype(float), b.astype(float)


def test_one_clip_per_unit_and_one_seed_agree_with_the_binomial_width():
    """With a single seed and b = 0 it is the interval of a proportion: sd = sqrt(p(1-p)/n)."""
    n, p = 2000, 0.3
    a = (np.arange(n) < p * n).astype(float)[None]
    e = effect(a, np.zeros_like(a))
    assert e.half_width == pytest.approx(196 * np.sqrt(p * (1 - p) / n), rel=0.01)


def test_clips_that_share_a_scene_count_as_one():
    """Ten copies of each clip are no more evidence than the clips themselves."""
    a = np.random.default_rng(3).normal(0.3 * np.random.default_rng(4).normal(size=40), 0.1, (10, 40))
    copies, units = np.repeat(a, 10, 1), np.repeat(np.arange(40), 10)
    alone, honest, naive = effect(a, 0 * a), effect(copies, 0 * copies, units), effect(copies, 0 * copies)
    assert honest.half_width == pytest.approx(alone.half_width, rel=0.01)
    assert naive.half_width < 0.5 * honest.half_width


def test_where_only_seeds_or_only_units_differ_it_is_students_interval():
    values = np.array([0.1, 0.4, 0.2, 0.25])
    theirs = stats.ttest_1samp(100 * values, 0).confidence_interval()
    for grid in (np.repeat(values[:, None], 30, 1), np.repeat(values[None], 30, 0)):
        e = effect(grid, np.zeros_like(grid))
        assert (e.low, e.high) == pytest.approx(tuple(theirs))
    assert effect(values[:1, None], np.zeros((1, 1))).half_width == np.inf  # one number has no spread


def test_what_seeds_have_in_common_does_not_shrink_with_more_of_them():
    e = Spread(seed=4.0, unit=900.0, rest=1600.0)
    quantile = stats.t.ppf(0.975, [9, 99])
    assert e.half_width(10, 100, LEVEL) == pytest.approx(np.hypot(*(quantile * np.sqrt([(4 + 16) / 10, 9]))))
    assert e.half_width(10**6, 100, LEVEL) == pytest.approx(quantile[1] * 3, rel=1e-3)


def test_the_variance_parts_are_those_that_were_drawn():
    rng = np.random.default_rng(6)
    cells = 3 * rng.normal(size=(200, 1)) + 5 * rng.normal(size=(1, 300)) + 7 * rng.normal(size=(200, 300))
    found = Spread.of_cells(cells)
    assert (found.seed, found.unit, found.rest) == pytest.approx((9, 25, 49), rel=0.2)


def test_drawing_units_again_finds_the_parts_of_a_mean():
    rng = np.random.default_rng(8)
    cells = 4 * rng.normal(size=(6, 1)) + 5 * rng.normal(size=(1, 60)) + 9 * rng.normal(size=(6, 60))
    samples = cells @ counts(60, 8000).T / 60
    for some in (slice(None), slice(1)):  # and of one seed alone
        drawn, exact = Spread.of_samples(cells[some].mean(1), samples[some], 60), Spread.of_cells(cells[some])
        assert (drawn.seed, drawn.unit, drawn.rest) == pytest.approx((exact.seed, exact.unit, exact.rest), rel=0.06)


def test_draws_are_always_the_same_and_of_the_right_size():
    units = counts(40, 1500)
    assert units.shape == (1500, 40) and (units.sum(1) == 40).all() and units.dtype == np.uint8
    counts.cache_clear()
    assert np.array_equal(counts(40, 1500), units) and not np.array_equal(units[:700], units[700:1400])


def test_shapes_that_do_not_pair_are_refused():
    with pytest.raises(ValueError, match=r"\(3, 4\) and \(2, 4\)"):
        effect(np.zeros((3, 4)), np.zeros((2, 4)))


def made(mean, half, strict=None, units=500, **k):
    strict = strict or 1.5 * half
    return Effect(mean, mean - half, mean + half, mean - strict, mean + strict, k.get("seeds", 10), units,
                  k.get("seeds_needed", 20), k.get("units_needed", 900), k.get("left", 1))


@pytest.mark.parametrize("e, word", [
    (made(5, 2), "supported"),
    (made(-5, 2), "contradicted"),
    (made(1, 0.5), "supported, small"),
    (made(0.3, 1.5), "no effect larger than 2 points"),
    (made(1, 3), "underpowered (± 3.0; about 20 seeds or 900 test units would decide)"),
    (made(1, 3, seeds_needed=np.inf, left=2.5), "not testable on this set (± 3.0; about 900 test units would decide)"),
    (made(1, 3, left=2.5), "underpowered (± 3.0; about 20 seeds or 900 test units would decide)"),
    (made(4, 3, units_needed=np.inf),
     "underpowered (± 3.0, at the strict level -0.5 to +8.5; about 20 seeds would decide)"),
    (made(1, 3, seeds=1, seeds_needed=np.inf, units_needed=np.inf),
     "underpowered (± 3.0; more seeds and more test units would decide)"),
    (made(5, 2, seeds=9), "supported (9 seeds: provisional)"),
    (made(-5, 2, seeds=3), "contradicted (3 seeds: provisional)"),
    (made(0.3, 1.5, seeds=1), "no effect larger than 2 points (1 seed: provisional)"),
    (made(0.3, 1.5, units=20), "no effect larger than 2 points"),
    (made(0.3, 1.5, units=15), "not testable on this set (± 1.5; 15 test units are too few for two points)"),
    (made(1, 3, units=9), "not testable on this set (± 3.0; 9 test units are too few for two points)"),
    (made(5, 2, units=9), "supported"),
    (made(-42.2, 21.4, 60, units=9, seeds_needed=np.inf, left=20),
     "underpowered (± 21.4, at the strict level -102.2 to +17.8; 9 test units tell that it is below zero, and little "
     "of how far; about 900 test units would decide)"),
    (made(1, 0.9, units=9), "underpowered (± 0.9, at the strict level -0.4 to +2.4; 9 test units tell that it is above "
     "zero, and little of how far; about 20 seeds or 900 test units would decide)"),
])
def test_verdicts(e, word):
    assert verdict(e) == word


def test_a_control_explains_only_when_it_is_close_not_when_it_is_undecided():
    close, undecided, behind = made(0.2, 1.0), made(0.2, 5.0), made(4.0, 1.0)
    assert verdict(made(5, 2), {"smoothing": close}) == "supported, and explained by smoothing"
    few = verdict(made(5, 2, seeds=3), {"smoothing": close})
    assert few == "supported, and explained by smoothing (3 seeds: provisional)"
    assert verdict(made(5, 2), {"smoothing": undecided, "longer": behind}) == "supported"


def test_two_seeds_that_happen_to_agree_tell_nothing_of_their_spread():
    right = np.zeros((2, 500))
    right[0, :30], right[1, 100:130] = 1, 1
    assert verdict(effect(right, 0 * right)).startswith("underpowered (its 2 seeds happen to agree")


def test_equal_differences_of_few_clips_decide_nothing():
    """Of three clips all may agree though networks differ on one clip of three; of 150 hardly by two points."""
    assert missed(3) == pytest.approx(100 * (1 - 0.05 ** (1 / 3))) and missed(100) > 2 > missed(150)
    for right, other in ((1, 1), (1, 0), (0, 0)):
        few = effect(np.full((10, 3), right), np.full((10, 3), other))
        assert verdict(few) == "not testable on this set (all 3 test units say the same, and may miss 63 points)"
    many = np.ones((10, 200))
    assert verdict(effect(many, many)) == "no effect larger than 2 points"


def test_the_seeds_said_to_decide_do_decide():
    a, b = draw(5, seeds=6, clips=1500, seed_sd=0.05, gain=0.03)
    e = effect(a, b)
    assert verdict(e).startswith("underpowered") and 6 < e.seeds_needed < 200
    a, b = draw(5, seeds=2 * int(e.seeds_needed), clips=1500, seed_sd=0.05, gain=0.03)
    assert not verdict(effect(a, b)).startswith("underpowered")


def test_few_units_decide_nothing_with_any_number_of_seeds():
    """Nine people who differ by eight points: their mean is known within six, whoever else is trained."""
    people = np.repeat(np.linspace(-0.12, 0.14, 9), 10)
    grid = np.clip(people + np.random.default_rng(3).normal(0, 0.02, (6, 90)), -1, 1)
    e = effect(grid, 0 * grid, np.repeat(np.arange(9), 10))
    assert e.left > 2 and e.seeds_needed == np.inf and np.isfinite(e.units_needed)
    assert verdict(e).startswith("not testable on this set")


def test_accuracy_interval_stays_inside_and_holds_the_mean():
    low, high = accuracy_interval(np.ones(20, bool))
    assert 80 < low < 100 and high == pytest.approx(100)
    with pytest.raises(ValueError, match="at least one clip"):
        accuracy_interval(np.array([], bool))
