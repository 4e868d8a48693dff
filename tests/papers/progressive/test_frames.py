"""Accuracy against the number of frames: each count is another window of the same network."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from kdlab.clips.views import Batch
from kdlab.papers.progressive import frames
from kdlab.papers.progressive.frames import right_by_frames
from kdlab.papers.progressive.recipes import SMOKE, night, trio


class Longest(nn.Module):
    """Knows the class as soon as it sees two frames."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, x):
        known = x[:, :, 0].mean((1, 2, 3)) if x.shape[2] > 1 else torch.zeros(len(x))
        return self.scale * torch.stack([1 - known, known], 1)


def test_each_count_is_a_window_of_its_own(monkeypatch):
    asked = []

    def batches(recipe, split, views):
        asked.append((recipe.window.frames, split, recipe.window.side))
        labels = torch.tensor([0, 1, 1])
        pixels = labels[:, None, None, None, None] * torch.ones(3, 3, recipe.window.frames, 4, 4)
        return SimpleNamespace(evaluation=lambda: iter([Batch({"student": pixels}, labels, ("a", "b", "c"))]))

    monkeypatch.setattr(frames, "batches", batches)
    recipe = trio(SMOKE, night(SMOKE))[0]
    runs = [SimpleNamespace(recipe=recipe, net=Longest)] * 2
    found = right_by_frames(runs, (1, 2, 8), "val")
    assert found.dtype == bool and found.shape == (2, 3, 3)
    assert found.tolist() == 2 * [[[True, False, False], [True] * 3, [True] * 3]]
    side = recipe.window.side
    assert asked == 2 * [(1, "val", side), (2, "val", side), (8, "val", side)]
    with pytest.raises(ValueError, match="segments of a clip"):
        right_by_frames(runs, (0,))
    assert np.array_equal(recipe.window.frames, 3), "the recipe stays as it was"
