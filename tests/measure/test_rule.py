"""A rule that is right wins against the mean effect, noise does not, and shared bad luck is no knowledge."""

import numpy as np
import pytest
from scipy.special import stdtrit

from kdlab.measure.rule import Rule, compare, fit, power, predict

NAMES = "gap", "log2_steps"


def made(rng, seeds=8, cells=60, weights=(0.5, -1.0), noise=2.0):
    """Features that vary between cells and a little between seeds, and gains that they tell but for ``noise``."""
    places = rng.normal(0, 4, (cells, 2))
    features = places + rng.normal(0, 0.5, (seeds, cells, 2))
    return features, 1.5 + places @ weights + rng.normal(0, noise, (seeds, cells))


def test_a_rule_without_noise_is_found_to_the_digit():
    places = np.random.default_rng(0).normal(0, 3, (12, 2))
    features, gains = np.tile(places, (3, 1, 1)), np.tile(2 + places @ [0.25, -1.5], (3, 1))
    rule = fit(features, gains, NAMES)
    assert rule.weights == (0.25, -1.5) and rule.intercept == pytest.approx(2) and rule.names == NAMES
    assert rule.mean == pytest.approx(gains.mean(), abs=1e-6)
    assert predict(rule, features[0]) == pytest.approx(gains[0], abs=1e-4)
    found = compare(rule, features, gains)
    assert found.rule == pytest.approx(0, abs=1e-6) and found.floor == pytest.approx(0, abs=1e-9)
    assert found.rival == pytest.approx(gains.var(), rel=1e-4) and found.better.mean == pytest.approx(found.rival)
    assert str(rule) == "gain = 2 +0.25 gap -1.5 log2_steps"


def test_a_rule_that_is_right_wins_on_other_cells_and_seeds():
    rng = np.random.default_rng(1)
    rule, found = fit(*made(rng), NAMES), compare(fit(*made(rng), NAMES), *made(rng))
    assert rule.weights == pytest.approx((0.5, -1.0), abs=0.1)
    assert found.verdict == "supported (8 seeds: provisional)" and found.better.low > 0
    assert found.floor < found.rule < found.rival
    assert found.better.mean == pytest.approx(found.rival - found.rule)
    assert found.better.mean == pytest.approx(16 * (0.5**2 + 1), rel=0.5), "the variance that the features explain"


def test_a_rival_that_reads_less_loses_to_what_it_does_not_read():
    rng = np.random.default_rng(9)
    one, other = made(rng), made(rng)
    rival = fit(one[0][..., 1:], one[1], NAMES[1:])
    alone = compare(fit(*one, NAMES), *other)
    both = compare(fit(*one, NAMES), *other, (rival, other[0][..., 1:]))
    assert both.rule == alone.rule and both.rule < both.rival < alone.rival
    assert both.better.mean == pytest.approx(16 * 0.5**2, rel=0.5), "what gap explains"
    with pytest.raises(ValueError, match="the rule reads log2_steps; got 2 features"):
        compare(fit(*one, NAMES), *other, (rival, other[0]))


def test_a_rule_of_noise_does_not_win():
    rng, words, means = np.random.default_rng(2), [], []
    for _ in range(40):
        found = compare(fit(*made(rng, weights=(0, 0)), NAMES), *made(rng, weights=(0, 0)))
        words.append(found.verdict)
        means.append(found.better.mean)
    assert sum(word.startswith("supported") for word in words) <= 2 and np.mean(means) < 0


def test_the_wrong_sign_is_contradicted():
    rng = np.random.default_rng(3)
    rule = fit(*made(rng, weights=(-0.5, 1.0)), NAMES)
    assert compare(rule, *made(rng)).verdict.startswith("contradicted")


def test_bad_luck_that_gap_and_gain_share_is_no_knowledge():
    rng = np.random.default_rng(4)
    baseline = rng.normal(60, 4, (8, 200))
    gap, gain = (rng.normal(62, 1, (8, 200)) - baseline for _ in range(2))
    naive = np.polyfit(gap.ravel(), gain.ravel(), 1)[0]
    rule = fit(gap[..., None], gain, ["gap"])
    assert naive > 0.9 and abs(rule.weights[0]) < 0.2


def test_the_same_seeds_luck_does_not_help_when_a_rule_is_tested():
    rng = np.random.default_rng(5)
    baseline = rng.normal(60, 4, (8, 200))
    gap, gain = (rng.normal(62, 1, (8, 200)) - baseline for _ in range(2))
    assert compare(Rule(("gap",), (1.0,), 0.0, float(gain.mean())), gap[..., None], gain).better.mean < 0


def test_a_feature_that_does_not_vary_has_no_weight():
    features, gains = made(np.random.default_rng(6))
    features[..., 1] = 7
    rule = fit(features, gains, NAMES)
    assert rule.weights[1] == 0 and np.isfinite(rule.intercept)


def test_power_is_that_of_a_t_test():
    each = np.array([-1.0, 0, 1, 2])
    assert power(each, 1e-9, 8, 0.95) == pytest.approx(0.025, abs=1e-6) and power(each, 50, 8, 0.95) > 0.999
    rng, sd = np.random.default_rng(7), each.std(ddof=1)
    drawn = rng.normal(1.5, sd, (20_000, 8))
    t = drawn.mean(1) / (drawn.std(1, ddof=1) / 8**0.5)
    assert power(each, 1.5, 8, 0.95) == pytest.approx((t > stdtrit(7, 0.975)).mean(), abs=0.01)
    assert power(each, 6, 8, 0.998) > 0.99, "far from nothing it is a number, too"
    assert power(np.zeros(3), 1, 8, 0.95) == 1


def test_what_is_no_map_is_refused():
    features, gains = made(np.random.default_rng(8), seeds=2, cells=5)
    for wrong in ((features[:1], gains[:1]), (features, gains[:, :4]), (features[..., 0], gains)):
        with pytest.raises(ValueError, match="of two seeds or more, got"):
            fit(*wrong, NAMES)
    gains[0, 0] = np.nan
    with pytest.raises(ValueError, match="must be finite"):
        fit(features, gains, NAMES)
    with pytest.raises(ValueError, match="a weight for each feature, got 1 for 2"):
        Rule(NAMES, (1.0,), 0.0, 0.0)
    with pytest.raises(ValueError, match="reads gap, log2_steps; got 3 features"):
        predict(Rule(NAMES, (1.0, 2.0), 0.0, 0.0), np.zeros((4, 3)))
