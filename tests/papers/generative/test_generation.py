"""How much a generative model explains: a perfect one, one that knows only the mean, and one that does not need λ."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from kdlab.clips.views import Batch
from kdlab.measure.paired import effect
from kdlab.papers.generative import generation
from kdlab.papers.generative.generation import WAYS, explained, gate

CLIPS = torch.randn(2, 30, 6, 3, 2, 2, generator=torch.Generator().manual_seed(0)).abs()
CLIPS[1] += 2  # test clips are others than the training's


class Net(nn.Module):
    """Features are the clip itself, and λ their mean over space, between 0 and 1."""

    taps = "net.body", "net.attention"

    def __init__(self):
        super().__init__()
        self.net = nn.ModuleDict({"body": nn.Identity(), "attention": nn.Identity()})
        self.new_cvae = None

    def forward(self, x):
        features = self.net["body"](x)
        return self.net["attention"](features.mean((3, 4)) / 10)[:, :, 0]


class Model(nn.Module):
    def __init__(self, rebuilt, generated):
        super().__init__()
        self.rebuilt, self.generated = rebuilt, generated

    def forward(self, features, attention, noise):
        return (self.rebuilt(features, attention), None, None)

    def sample(self, mean, log_variance, noise):
        return mean

    def decode(self, latent, attention):
        return self.generated(attention)


def of(monkeypatch, model: Model) -> dict[str, np.ndarray]:
    def clips(recipe, split):
        views = {"student": CLIPS[int(split != "train")]}
        return SimpleNamespace(evaluation=lambda: [Batch(views, torch.zeros(30), ())])

    monkeypatch.setattr(generation, "read_cvae", lambda folder: model)
    monkeypatch.setattr(generation, "batches", clips)
    return explained(SimpleNamespace(folder="", net=Net, recipe=SimpleNamespace(seed=3)))


def test_one_that_knows_the_features_explains_all_and_the_training_mean_nothing(monkeypatch):
    mean = CLIPS[0].mean(0)
    found = of(monkeypatch, Model(lambda f, a: f, lambda a: mean.expand(len(a), *mean.shape)))
    assert found["rebuilt"].mean() == pytest.approx(100) == found["rebuilt, λ exchanged"].mean()
    assert found["generated"] == pytest.approx(np.zeros(30), abs=1e-4)
    assert all(len(found[way]) == 30 for way in WAYS)


def test_features_from_attention_alone_are_worse_from_another_clips(monkeypatch):
    """λ says the mean over space, which here is most of what there is to know; R² by hand."""
    spread = lambda a: 10 * a[..., None, None].expand(-1, -1, -1, 2, 2)  # noqa: E731
    found = of(monkeypatch, Model(lambda f, a: spread(a), spread))
    test, mean = CLIPS[1], CLIPS[0].mean(0)
    flat = test.mean((3, 4), keepdim=True)
    by_hand = 1 - ((flat - test) ** 2).sum() / ((mean - test) ** 2).sum()
    assert found["generated"].mean() == pytest.approx(100 * float(by_hand), rel=1e-4)
    assert found["generated, λ exchanged"].mean() < found["generated"].mean() - 2


def test_the_gate():
    def made(rebuilt, generated, worse):
        noise = np.random.default_rng(0).normal(0, 0.02, (5, 40))
        its = {"rebuilt": rebuilt, "generated": generated, "rebuilt − exchanged": worse, "generated − exchanged": worse}
        return {name: effect(value + noise, 0 * noise) for name, value in its.items()}

    assert gate(made(0.5, 0.2, 0.1)) == ""
    assert gate(made(0.5, 0.05, 0.1)).startswith("features generated explain +5.")
    assert "rebuilt are no worse with the λ of another clip" in gate(made(0.5, 0.2, 0.0))
