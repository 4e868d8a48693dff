"""How much a generative model explains: one that knows all, one that knows only the mean, and one that needs λ."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from kdlab.clips.windows import Batch
from kdlab.papers.generative import method
from kdlab.papers.generative.method import WAYS, explained

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
        return (
            self.generated(attention) if features is None else self.rebuilt(features, attention),
            None,
            None,
        )


@pytest.fixture
def found(monkeypatch):
    """R² of a model, by way; the test clips are the second of the above."""

    def clips(recipe, split):
        batch = Batch({"student": CLIPS[int(split != "train")]}, torch.zeros(30), ())
        return SimpleNamespace(evaluation=lambda: [batch])

    def of(model: Model) -> dict[str, float]:
        monkeypatch.setattr(method, "read_cvae", lambda folder: model)
        return explained(SimpleNamespace(folder=None, net=Net, recipe=SimpleNamespace(seed=3)))

    monkeypatch.setattr(method, "batches", clips)
    return of


def test_one_that_knows_the_features_explains_all_and_the_training_mean_nothing(found):
    mean = CLIPS[0].mean(0)
    values = found(Model(lambda f, a: f, lambda a: mean.expand(len(a), *mean.shape)))
    assert values == pytest.approx(dict(zip(WAYS, (100, 0, 100, 0), strict=True)), abs=1e-4)


def test_features_from_attention_alone_are_worse_from_another_clips(found):
    """λ is the mean over space, which here is most of what there is to know; R² by hand."""

    def spread(attention):
        return 10 * attention[..., None, None].expand(-1, -1, -1, 2, 2)

    values = found(Model(lambda f, a: spread(a), spread))
    test, mean = CLIPS[1], CLIPS[0].mean(0)
    flat = test.mean((3, 4), keepdim=True)
    by_hand = 1 - ((flat - test) ** 2).sum() / ((mean - test) ** 2).sum()
    assert values["generated"] == pytest.approx(100 * float(by_hand), rel=1e-4)
    assert values["generated, another clip's λ"] < values["generated"] - 2
