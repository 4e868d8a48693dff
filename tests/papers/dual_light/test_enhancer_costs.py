"""A learnt enhancer costs its convolutions on every pixel of the recording, a table none."""

from types import SimpleNamespace

import numpy as np
import pytest

from kdlab.clips.views import Window
from kdlab.measure.cost import macs
from kdlab.nets.video import TinyR2Plus1D, build
from kdlab.papers.dual_light.enhancer_costs import enhancer_costs


def test_macs_are_those_of_convolutions_at_full_size_and_the_share_is_the_students():
    net, window = build(TinyR2Plus1D((4, 8)), 3, 0).eval(), Window(4, 16, 12)
    run = SimpleNamespace(recipe=SimpleNamespace(window=window), net=lambda: net)
    clip = np.full((6, 20, 30, 3), 9, np.uint8)
    found = enhancer_costs(run, clip, repeats=2).set_index("way")
    own = macs(net, (1, 3, 4, 12, 12)) / 1e6
    weights = 9 * (3 * 16 + 3 * 16 * 16 + 2 * 32 * 16 + 32 * 24)  # of seven 3 x 3 convolutions, for each pixel
    half = own + 4 * 20 * 30 * weights / 1e6
    assert found.MMAC.tolist()[:3] == pytest.approx([own, own, half])
    assert found["times the student's"].tolist()[:3] == pytest.approx([1, 1, half / own])
    assert found.MMAC.iloc[3] > 3 * (half - own), "twice the width, four times the work in the middle"
    assert (found["CPU ms"] > 0).all() and found["times its time"].iloc[0] == 1
