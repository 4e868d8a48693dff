"""Trainings that keep the network where its loss passes a mark."""

from itertools import islice

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from kdlab.clips.coviar import Compressed
from kdlab.clips.segments import Segments
from kdlab.measure.minima import samples
from kdlab.nets.compressed import TinyCompressed
from kdlab.papers.progressive.method import SettledCrossEntropy
from kdlab.train.loop import Settings, fit
from kdlab.train.passing import WITHIN, passing
from kdlab.train.preparing import prepared
from kdlab.train.recipe import Recipe, UserClips
from tests.conftest import encode


@pytest.fixture
def recipe(monkeypatch, tmp_path) -> Recipe:
    """A tiny I-frame network on bright and dark clips, which it learns in a few epochs."""
    for name in ("RUNS", "CACHE", "FIGURES"):
        monkeypatch.setenv(f"KDLAB_{name}", str(tmp_path / name))
    rng, lines = np.random.default_rng(0), ["path,label,split,group"]
    for split, count in (("train", 4), ("val", 1), ("test", 1)):
        for k in range(count):
            for label, level in (("dark", 60), ("light", 190)):
                frames = rng.integers(0, 60, (14, 64, 80, 3)).astype(np.uint8) + np.uint8(level - 30)
                path = f"{label}/{split}{k}.avi"
                encode(tmp_path / "clips" / path, frames, codec="mpeg4", bf="0", g="12")
                lines.append(f"{path},{label},{split},{split}{k}{label}")
    (tmp_path / "clips" / "index.csv").write_text("\n".join(lines))
    return Recipe("iframe", UserClips(str(tmp_path / "clips")), Compressed("iframe"), SettledCrossEntropy(),
                  net=TinyCompressed((4, 4, 4, 4), dropout=0.0), window=Segments(side=24, crop=20),
                  settings=Settings(epochs=40, batch_size=4, lr=1e-2))


def loss(net, recipe) -> float:
    (x, y), = samples(recipe)
    with torch.no_grad():
        return float(F.cross_entropy(net(x), y))


def test_marks_and_what_never_comes(recipe):
    said = []
    found = passing(recipe, (0.6, 0.4), say=said.append)
    assert not found.note["ended"] and found.net(1e-6) is None
    for mark in (0.6, 0.4):
        assert loss(found.net(mark), recipe) == pytest.approx(mark, rel=WITHIN)
    steps, losses = zip(*found.note["looks"], strict=True)
    assert list(steps) == sorted(set(steps)) and losses[-1] <= 0.4 * (1 + WITHIN) < min(losses[:-1])
    passing(recipe, (0.6, 0.4), say=said.append)
    assert said[-1].endswith("found on the way")
    early = found.net(0.4).state_dict()

    ready = prepared(recipe, {}, recipe.data.catalogue(), said.append)
    fit(recipe.method, ready.nets, ready.train, recipe.settings, 0,
        progress=lambda all_steps: islice(all_steps, steps[-1]))
    plain = ready.nets["student"].state_dict()
    assert all(torch.equal(early[k], v) for k, v in plain.items()), "looking changes no bit"

    passing(recipe, (0.4, 1e-6), say=said.append)  # goes on from its last epoch
    assert found.note["ended"] and found.note["looks"][-1][0] == 80 and found.net(1e-6) is None
    assert all(torch.equal(early[k], v) for k, v in found.net(0.4).state_dict().items())
