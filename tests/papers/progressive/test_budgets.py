"""Everything that is read off twelve exits, on logits whose right answers are known."""


import numpy as np
import pytest

from kdlab.papers.progressive import budgets
from kdlab.papers.progressive.budgets import (
    BUDGETS,
    THETAS,
    Parts,
    area_effect,
    calibrated,
    everything,
    parts,
    swept,
)
from kdlab.papers.progressive.wise import combine, fit_wise, temperatures
from kdlab.train.runs import Predictions

COSTS = np.cumsum(np.arange(1, 13))
ALONE = np.concatenate([np.cumsum(np.arange(1, 13).reshape(3, 4)[m]) for m in range(3)])


def logits(rng, labels, strengths, classes=5):
    """Exits (N, 12, K) whose margin for the label is ``strengths`` and whose noise is 1."""
    z = rng.normal(size=(len(labels), 12, classes))
    z[np.arange(len(labels)), :, labels] += strengths
    return z


@pytest.fixture
def some():
    rng = np.random.default_rng(0)
    strengths = np.array([0.5, 1, 1.5, 3, 0.3, 0.6, 1, 2, 0, 0, 0.5, 1.0])
    made = []
    for count in (60, 80, 80, 200):
        labels = rng.integers(0, 5, count)
        made.append((logits(rng, labels, strengths), labels))
    return Parts(*made)


def test_every_way_answers_every_clip_and_wise_is_what_it_says(some):
    said, wise = everything(some, COSTS, ALONE)
    labels = some.test[1]
    weights = fit_wise(*some.calibrate)
    by_hand = combine(some.test[0], weights)
    assert np.array_equal(said["wise"], by_hand[:, -1].argmax(-1)), "a temperature changes no answer"
    assert np.array_equal(said["wise@k"], by_hand.argmax(-1))
    assert np.allclose(temperatures(combine(some.calibrate[0], weights) / 1.0, some.calibrate[1]),
                       by_hand[0, :, 0] / wise.test[0, :, 0])
    assert np.array_equal(said["no_lateral@k"], some.test[0].argmax(-1))
    assert np.array_equal(said["unscaled@k"][:, -1], said["mean_logits"])
    assert np.array_equal(said["best_single"], some.test[0][:, 3].argmax(-1)), "exit R4 is the best by far"
    right = {name: (values.T == labels).mean() for name, values in said.items()}
    assert right["wise"] > right["best_single"] > right["no_lateral@k"]
    assert set(said) >= {f"{way}@{share:.0%}" for way in ("wise", "best_single") for share in BUDGETS}


def test_a_budget_is_kept_on_validation_and_the_cheapest_exit_is_within_it(some):
    said, _ = everything(some, COSTS, ALONE)
    affordable = [k for k in range(12) if ALONE[k] <= 0.25 * COSTS[-1]]
    assert any(np.array_equal(said["best_single@25%"], some.test[0][:, k].argmax(-1)) for k in affordable)


def test_the_halves_change_places(monkeypatch):
    rng = np.random.default_rng(1)

    class Run:
        def predictions(self, split):
            groups = np.repeat(["a", "b"], 10)
            labels = rng.integers(0, 3, 20)
            return Predictions(np.arange(20), groups, labels, logits(rng, labels, np.ones(12), 3))

    kept = {split: Run().predictions(split) for split in ("train", "val", "test")}
    run = type("Kept", (), {"predictions": lambda self, split: kept[split]})()
    one, other = parts(run)
    assert np.array_equal(one.calibrate[0], other.validate[0]) and np.array_equal(one.validate[1], other.calibrate[1])
    assert np.array_equal(one.test[0], other.test[0]) and len(one.calibrate[1]) == len(one.validate[1]) == 10
    assert np.array_equal(one.calibrate[0], kept["val"].logits[:10])


def test_calibration_uses_the_calibration_part_alone(some):
    weights = np.eye(12)
    before = calibrated(some, weights)
    other = Parts(some.train, some.calibrate, (some.validate[0] * 7, some.validate[1]), some.test)
    assert np.array_equal(calibrated(other, weights).test, before.test)


def test_sweep_from_the_first_exit_to_the_last(some):
    right, stops = swept(some.test[0], some.test[1])
    assert right.shape == stops.shape == (len(THETAS), 200)
    assert (stops[0] == 0).all() and (stops[-1] == 11).all() and (np.diff(stops.mean(1)) >= 0).all()
    assert right[-1].mean() == pytest.approx((some.test[0][:, 11].argmax(-1) == some.test[1]).mean())


def test_area_of_two_known_curves():
    """Accuracy 50 and 100 % at costs 1 and 3 against a flat 50 %: the mean over costs 1 to 3 differs by 25 points."""
    right = np.stack([np.tile([1.0, 0.0], 20), np.ones(40)])[None].repeat(3, 0)
    rising = right, np.broadcast_to(np.array([1.0, 3.0])[None, :, None], right.shape)
    flat = right[:, [0, 0]], rising[1]
    found = area_effect(rising, flat, np.arange(40), 1.0, 3.0, replicates=300)
    assert found.mean == pytest.approx(25, abs=1e-6) and found.seeds == 3 and found.units == 40
    assert found.strict_low <= found.low <= 25 <= found.high <= found.strict_high
    same = area_effect(rising, rising, np.arange(40), 1.0, 3.0, replicates=50)
    assert same.mean == same.low == same.high == 0


def test_thresholds_and_budgets_are_in_order():
    assert (np.diff(budgets.THETAS) > 0).all() and budgets.THETAS[0] < 0 and budgets.THETAS[-1] == 1
