from dataclasses import make_dataclass
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from kdlab.clips.windows import Batch
from kdlab.measure import transfer
from kdlab.measure.transfer import logits_on, narrowed
from kdlab.nets.video import TinyR2Plus1D, build


def test_logits_are_narrowed_by_name_not_by_place():
    logits = np.array([[1.0, 2.0, 3.0], [9.0, 1.0, 4.0]])
    assert narrowed(logits, ("a", "b", "c"), ("c", "a")).tolist() == [[3.0, 1.0], [4.0, 9.0]]
    with pytest.raises(ValueError, match="does not know d.*trained on a, b, c"):
        narrowed(logits, ("a", "b", "c"), ("d", "a"))


def test_a_network_is_asked_of_the_clips_that_are_there(monkeypatch):
    net, seen = build(TinyR2Plus1D((4, 8)), 3, seed=0).eval(), torch.randn(4, 3, 8, 16, 16)
    batch = Batch({"student": seen}, torch.zeros(4), ("",) * 4)
    asked = []
    monkeypatch.setattr(transfer, "batches", lambda recipe, *_: asked.append(recipe.data) or SimpleNamespace(
        evaluation=lambda: [batch]))
    recipe = make_dataclass("Recipe", [("data", str, "its own"), ("view", str, "raw")], frozen=True)()
    run = SimpleNamespace(recipe=recipe, net=lambda: net, provenance={"classes": ["Jump", "Run", "Walk"]})
    said = net(seen).detach().numpy()
    assert np.allclose(logits_on(run, "others"), said, atol=1e-5) and asked == ["others"]
    assert np.allclose(logits_on(run, "others", among=("Walk", "Jump")), said[:, [2, 0]], atol=1e-5)
