"""The study of real dark clips: clips that run backwards, and several teachers."""

import sys
from pathlib import Path

import numpy as np
import torch

from kdlab.clips.windows import Batch
from kdlab.night import Night
from kdlab.train.loop import Progress

sys.path.append(str(Path(__file__).parents[2] / "studies"))
import both_ways


def test_reversed_clips_show_the_opposite_or_a_class_of_their_own(own_places):
    night = Night(("Jump", "Sit", "Stand"), (2, 1, 1), 1.0)
    for others, shown in ((True, [3, 2, 1, 3, 2, 1]), (False, [2, 1, 2, 1])):
        data = both_ways.BothWays(night, others)
        records = data.catalogue().split("train")
        assert [r.label for r in records[6:]] == shown
        assert data.catalogue().classes[3:] == ("Reversed",) * others
    window = both_ways.BothWaysWindow(6, 32, 28)
    view = both_ways.Exposed()
    clips = window.batches(data.catalogue(), "train", {"student": view})
    twin = next(n for n, r in enumerate(clips.records) if n > 5 and r.path == clips.records[1].path)
    ahead, back = (clips.pixels(clips.records[n], view, np.arange(6)) for n in (1, twin))
    assert np.array_equal(back, ahead[::-1]) and not np.array_equal(back, ahead)


def test_the_members_teach_by_the_mean_of_what_they_see():
    views = {
        "student": torch.zeros(2, 3),
        "member0": torch.tensor([[4.0, 0, 0]] * 2),
        "member1": torch.zeros(2, 3),
    }
    nets = dict.fromkeys(views, torch.nn.Identity())
    targets = both_ways.EnsembleKD().soft_targets(
        nets, Batch(views, torch.zeros(2), ("a", "b")), Progress(0, 1)
    )
    assert torch.allclose(targets[0], (torch.tensor([1.0, 0, 0]).softmax(0) + 1 / 3) / 2)
