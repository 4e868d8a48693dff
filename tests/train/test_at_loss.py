"""A network is kept where its training loss comes down to a given one."""

from itertools import islice

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from kdlab.datasets.user_clips import UserClips
from kdlab.train import at_loss as module
from kdlab.train.at_loss import WITHIN, at_loss, next_look
from kdlab.train.loop import fit, predict
from kdlab.train.obtain import obtain
from kdlab.train.preparing import batches, inputs_of
from kdlab.train.recipe import Recipe
from kdlab.train.settings import Settings
from tests.conftest import walks


@pytest.fixture
def recipe(own_places) -> Recipe:
    """A tiny network on squares that walk left or right, which it learns in a few epochs."""
    clips = walks(own_places / "clips", train=6, val=1, test=1)
    return Recipe(
        "walks",
        UserClips(str(clips), on_damaged="skip"),
        settings=Settings(epochs=60, batch_size=6, lr=2e-3),
    )


def loss(net, recipe) -> float:
    clips = batches(recipe, "train", {"student": recipe.view})
    logits, labels, _ = predict(net, clips.evaluation(), "student")
    return F.cross_entropy(logits, labels).item()


def test_the_network_is_the_trainings_own_at_that_loss(recipe, monkeypatch):
    net = at_loss(recipe, 0.6)
    assert loss(net, recipe) == pytest.approx(0.6, rel=WITHIN)
    with monkeypatch.context() as patch:
        patch.setattr(module, "training", None)  # it is found, not trained again
        assert all(
            torch.equal(a, b)
            for a, b in zip(net.parameters(), at_loss(recipe, 0.6).parameters(), strict=True)
        )
        patch.setattr(UserClips, "fingerprint", str)
        with pytest.raises(TypeError):  # a mended clip: it would train
            at_loss(recipe, 0.6)
    ready, states = inputs_of(recipe, {}, recipe.data.catalogue(), str), []

    def each_step(steps):
        for step in islice(steps, 100):
            states.append([w.clone() for w in ready.nets["student"].parameters()])
            yield step

    fit(
        recipe.method,
        ready.nets,
        ready.train,
        recipe.settings,
        recipe.seed,
        progress=each_step,
        say=str,
    )
    # looking changes no bit
    assert any(all(map(torch.equal, net.parameters(), state)) for state in states)


def test_a_loss_that_comes_with_the_last_step_is_seen(recipe, monkeypatch):
    monkeypatch.setattr(module, "WITHIN", 1e-6)
    short = Recipe("walks", recipe.data, settings=Settings(epochs=3))
    assert at_loss(short, loss(obtain(short).net(), short))


def test_a_loss_that_never_comes_and_one_that_is_none(recipe):
    short = Recipe("walks", recipe.data, settings=Settings(epochs=1, batch_size=4, lr=1e-6))
    assert at_loss(short, 1e-6) is None
    for wrong in (0.0, -1.0, np.nan):
        with pytest.raises(ValueError, match="a loss in nats"):
            at_loss(recipe, wrong)


def test_looks_come_closer_near_the_loss():
    assert [next_look(x, 0.5, 10) for x in (2.4, 0.9, 0.55, 0.51, 0.3)] == [10, 8, 1, 1, 1]
