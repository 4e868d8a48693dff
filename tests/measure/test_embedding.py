"""Features of several networks on one pair of axes: turned, not bent."""

import numpy as np
import pytest

from kdlab.measure.embedding import clip_features, embedding, main_axes, procrustes
from kdlab.papers.dual_light.recipes import dual_light
from kdlab.train.runs import obtain
from kdlab.train.sizes import SMOKE

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 5)) * (5, 3, 1, 0.5, 0.1) + 2


def rotation(size: int) -> np.ndarray:
    return np.linalg.qr(RNG.normal(size=(size, size)))[0]


def test_a_rotation_a_scale_and_a_shift_are_found():
    y = 3 * X @ rotation(5) - 1
    assert np.allclose(procrustes(y, X)(y), X)


def test_shapes_are_kept_a_bent_cloud_does_not_fit():
    assert not np.allclose(procrustes(X**3, X)(X**3), X, atol=1)
    wider = procrustes(np.c_[X, np.zeros(60)], X)
    assert np.allclose(wider(np.c_[X, np.zeros(60)]), X)


def test_the_main_axes_are_those_of_most_variance_whatever_the_sign_of_the_features():
    axes, shares = main_axes(X)
    assert np.allclose(shares, np.var(axes(X), axis=0) / np.var(X, axis=0).sum())
    assert shares[0] > 0.6 and shares.sum() > 0.95
    assert np.allclose(np.abs(axes.turn.T @ axes.turn), np.eye(2))
    assert np.allclose(axes.turn[np.abs(axes.turn).argmax(0), [0, 1]], np.abs(axes.turn).max(0))


def test_a_turned_twin_gives_the_picture_again_and_noise_does_not():
    turn, noise = rotation(5), RNG.normal(size=(60, 5))
    fitted = {"teacher": X[:40], "twin": 2 * X[:40] @ turn, "noise": noise[:40]}
    shown = {"teacher": X[40:], "twin": 2 * X[40:] @ turn, "noise": noise[40:]}
    found = embedding(fitted, shown)
    assert found.given_again["teacher"] == 1 and found.given_again["twin"] == pytest.approx(1)
    assert found.given_again["noise"] < 0.3
    assert np.allclose(found.points["twin"], found.points["teacher"])
    assert found.points["noise"].shape == (20, 2)


def test_other_networks_other_clips_and_features_that_never_vary_are_told():
    with pytest.raises(ValueError, match="the same networks"):
        embedding({"a": X}, {"b": X})
    with pytest.raises(ValueError, match="of 60 and of 50 clips"):
        procrustes(X, X[:50])
    with pytest.raises(ValueError, match="same for every clip"):
        procrustes(np.ones((60, 5)), X)
    with pytest.raises(ValueError, match="the same clips"):
        embedding({"a": X, "b": X}, {"a": X, "b": X[:50]})


def test_features_of_clips_are_those_before_the_classifier():
    run = obtain(dual_light(SMOKE)["ce_raw"], say=lambda line: None)
    found, labels = clip_features(run)
    head = run.net().net.fc
    logits = found @ head.weight.detach().numpy().T + head.bias.detach().numpy()
    assert np.allclose(logits, run.predictions().logits, atol=1e-2)
    assert np.array_equal(labels, run.predictions().labels)
    other, _ = clip_features(run, trained=False)
    assert other.shape == found.shape and not np.allclose(other, found)
