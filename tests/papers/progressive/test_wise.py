import numpy as np
import pytest
from scipy.optimize import approx_fprime
from scipy.special import log_softmax, softmax

from kdlab.papers.progressive.wise import (
    combine,
    curve,
    fit_wise,
    max_probability,
    solve,
    stop_at,
    temperatures,
    threshold_for_budget,
)

N, E, K = 150, 12, 5
#: The released GMACs up to each exit, with one segment of each modality (docs/methods.md, 3.8).
COST = np.array([1.09, 1.97, 2.49, 2.90, 4.03, 4.90, 5.43, 5.84, 7.10, 9.06, 12.38, 13.19])


def clips(skill=None, count=N, exits=E):
    """Logits (count, exits, K) whose exits know the label better and better, and labels."""
    rng = np.random.default_rng(0)
    labels = rng.integers(K, size=count)
    skill = np.linspace(0.3, 2.0, exits) if skill is None else np.asarray(skill)
    return skill[:, None] * np.eye(K)[labels][:, None] + rng.normal(size=(count, exits, K)), labels


def loss(w, logits, labels):
    """The objective by its definition, without L1."""
    log_p = log_softmax(sum(w[j] * logits[:, j] for j in range(len(w))), axis=1)
    return -np.mean([log_p[i, y] for i, y in enumerate(labels)])


def test_the_closed_form():
    """docs/methods.md, 3.4: margin ±2, 90 % right, one exit, no L1: ln(0.9 / 0.1) / 2."""
    right = np.arange(100) < 90
    logits = np.where(right, 2.0, -2.0)[:, None, None] * np.array([1.0, 0.0])
    assert solve(logits, np.zeros(100, dtype=int)) == pytest.approx([np.log(9) / 2], abs=1e-6)


@pytest.mark.parametrize("l1", [0.0, 0.1])
def test_at_the_weights_the_objective_has_no_slope(l1):
    """It is convex: so no other weights are better. Where a weight is 0, the loss is less steep than L1."""
    logits, labels = clips(skill=np.linspace(0.2, 1, 6), exits=6)
    exact = solve(logits, labels, l1)
    slope = approx_fprime(exact, loss, 1e-7, logits, labels)
    moved = exact != 0
    assert np.abs(slope + l1 * np.sign(exact))[moved].max() < 1e-6
    assert (np.abs(slope[~moved]) <= l1).all()


def test_weights_may_be_negative_unless_told():
    rng = np.random.default_rng(0)
    labels = rng.integers(K, size=400)
    noise = 3 * rng.normal(size=(400, K))
    # the second exit minus the first is the answer
    logits = np.stack([noise, np.eye(K)[labels] + noise], 1)
    assert solve(logits, labels, 0.01)[0] < -0.5
    assert (solve(logits, labels, 0.01, nonnegative=True) >= 0).all()


def test_separable_clips_stay_finite():
    logits, labels = clips(skill=np.full(E, 50.0), count=20)
    weights = fit_wise(logits, labels)
    assert np.isfinite(weights).all() and np.abs(weights).max() <= 100
    assert np.isfinite(temperatures(combine(logits, weights), labels)).all()


def test_rows_are_fits_of_the_exits_so_far():
    logits, labels = clips()
    weights = fit_wise(logits, labels)
    combined = combine(logits, weights)
    assert np.array_equal(weights, np.tril(weights))
    assert np.array_equal(combined[:, 0], logits[:, 0])
    for k, l1 in ((4, 0.0), (5, 0.1), (11, 0.1)):  # the sixth exit is the first with L1
        assert np.array_equal(weights[k, : k + 1], solve(logits[:, : k + 1], labels, l1))
        assert np.allclose(combined[:, k], sum(weights[k, j] * logits[:, j] for j in range(k + 1)))
    assert np.abs(weights[5]).sum() < np.abs(weights[4]).sum()  # why exits are calibrated
    with pytest.raises(ValueError, match="finite logits"):
        fit_wise(np.where(logits > 2, np.nan, logits), labels)
    with pytest.raises(ValueError, match="100"):
        fit_wise(logits, labels[:100])


def test_calibration_finds_a_known_temperature():
    rng = np.random.default_rng(1)
    logits = rng.normal(size=(20_000, 1, K))
    labels = (softmax(logits[:, 0], 1).cumsum(1) < rng.random((len(logits), 1))).sum(1)
    assert temperatures(np.concatenate([3 * logits, logits / 2], 1), labels) == pytest.approx(
        [3, 0.5], rel=0.05
    )
    # worse than chance: as unsure as may be
    assert temperatures(-3 * logits, labels) == pytest.approx(1000)


def test_l1_gives_exact_zeros():
    logits, labels = clips(skill=np.r_[np.zeros(8), 2, 2, 2, 2])
    assert (solve(logits, labels, 0.1)[:8] == 0).sum() >= 6


def test_stopping():
    logits, _ = clips()
    sure = max_probability(logits)
    assert sure.shape == (N, E) and sure.min() >= 0 and sure.max() <= 1
    assert (stop_at(1e6 * logits, 1.0) == E - 1).all() and (stop_at(logits, -1) == 0).all()
    stops = stop_at(logits, 0.4)
    assert 0 < stops.mean() < E - 1
    for stop, row in zip(stops, sure, strict=True):
        assert (row[:stop] <= 0.4).all() and (stop == E - 1 or row[stop] > 0.4)


def test_curve_charges_every_exit_and_counts_all_clips():
    logits, labels = clips()
    table = curve(logits, labels, COST, [-1, 0.3, 0.6, 1])
    assert table["cost"].is_monotonic_increasing
    assert table["cost"].iloc[[0, -1]].tolist() == pytest.approx([1.09, 13.19])
    first, last = (100 * np.mean(logits[:, k].argmax(1) == labels) for k in (0, -1))
    assert table["accuracy"].iloc[[0, -1]].tolist() == pytest.approx([first, last])
    stops = stop_at(logits, 0.3)
    assert table["cost"][1] == pytest.approx(COST[stops].mean())
    assert table["accuracy"][1] == pytest.approx(
        100 * np.mean([logits[i, s].argmax() == labels[i] for i, s in enumerate(stops)])
    )


def test_threshold_for_a_budget():
    logits, labels = clips(count=400)
    whole = curve(logits, labels, COST, np.unique(np.r_[-1, max_probability(logits).ravel(), 1]))
    for budget in (1.09, 4.0, 9.0, 13.2):
        theta = threshold_for_budget(logits, labels, COST, budget)
        got = curve(logits, labels, COST, [theta]).iloc[0]
        best = whole[whole["cost"] <= budget]["accuracy"].max()
        assert got["cost"] <= budget and best - 0.51 <= got["accuracy"] <= best
    with pytest.raises(ValueError, match="budget of 1 is below the cost of the first exit, 1.09"):
        threshold_for_budget(logits, labels, COST, 1.0)
