"""λ over time against labelled intervals: the area by hand, windows put together, controls."""

from collections import OrderedDict

import numpy as np
import pytest
import torch
from torch import nn

from kdlab.clips.catalogue import Catalogue, ClipRecord
from kdlab.clips.windows import Windows
from kdlab.measure.alignment import ENERGY, areas, auc, inside, traces
from kdlab.nets.i3d import TinyC3D
from kdlab.nets.video import build
from kdlab.papers.generative.nets import Gated

SMALL = Windows(16, 24, 20, rate=5.0, stride=4)


def test_the_area_by_hand():
    inside = np.array([True, True, False, False])
    assert auc(np.array([4.0, 3, 2, 1]), inside) == 1
    assert auc(np.array([1.0, 2, 3, 4]), inside) == 0
    assert auc(np.array([4.0, 1, 2, 3]), inside) == 0.5
    assert auc(np.array([2.0, 1, 1, 0]), inside) == 3.5 / 4, "a tie counts half"
    assert auc(np.ones(4), inside) == 0.5


@pytest.mark.parametrize("flags", [[True, True], [False, False]])
def test_moments_of_one_kind_have_no_area(flags):
    with pytest.raises(ValueError, match="needs moments of both kinds"):
        auc(np.arange(2.0), np.array(flags))


def test_a_segment_holds_its_start_and_not_its_end():
    seconds = np.array([0.5, 1.0, 1.5, 2.0])
    assert inside(seconds, [(1.0, 2.0, 0)]).tolist() == [False, True, True, False]
    assert inside(seconds, []).tolist() == [False] * 4


class Brightness(nn.Module):
    """A network whose λ is how bright each quarter of a window is."""

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(OrderedDict(attention=nn.Sequential(nn.AdaptiveAvgPool3d((4, 1, 1)), nn.Flatten(2))))

    def forward(self, x):
        return self.net(x)


@pytest.fixture
def video(make_video, tmp_path, monkeypatch):
    """12 s at 10 frames a second: dark and still, but from second 4 to 8 brighter, with a box that moves."""
    monkeypatch.setenv("KDLAB_CACHE", str(tmp_path / "cache"))
    frames = np.full((120, 24, 32, 3), 40, np.uint8)
    frames[40:80] = 120
    for t in range(40, 80):
        frames[t, 6:18, t % 20 : t % 20 + 8] = 250
    path = make_video("long.mp4", pixels=frames, rate=10, qp="0")
    return Catalogue("toy", tmp_path, ("a",), (ClipRecord("x", path, 0, "test", "g", 4.0, 8.0),))


def test_overlapping_windows_become_one_line_over_the_video(video):
    (found,) = traces({"bright": Brightness()}, video, window=SMALL)
    # 60 steps; the first 12 and the last 12 are not seen by four windows
    assert len(found.seconds) == 36 and found.seconds[:2] == pytest.approx([2.5, 2.7])
    assert found.inside.sum() == 20 and found.group == "g" and found.segments == ((4.0, 8.0, 0),)
    line = found.signals["bright"]
    assert line[:8] == pytest.approx(40 / 255, abs=0.02) and line[-4:] == pytest.approx(40 / 255, abs=0.02)
    assert (line[found.inside] > 0.4).all() and np.isfinite(line).all()
    area = areas([found])
    assert area["bright"] == [1.0] and area[ENERGY][0] > 0.75, "of its four steps' mean, smeared at both ends"


def test_a_place_in_the_window_is_no_signal(video):
    """λ that only says where in the window a step stands is the same at all moments."""

    class Place(Brightness):
        def forward(self, x):
            return super().forward(torch.arange(16.0).view(1, 1, 16, 1, 1).expand(len(x), 1, 16, 4, 4))

    (found,) = traces({"place": Place()}, video, window=SMALL)
    assert found.signals["place"] == pytest.approx(7.5) and areas([found])["place"] == [0.5]


def test_a_video_too_short_for_every_place_is_named(video):
    with pytest.raises(ValueError, match="long has 60 steps, too few for 8 windows of 64"):
        traces({}, video, window=Windows(64, 24, 20, rate=5.0, stride=8))


def test_a_gated_network_and_its_energy_are_of_one_length(video):
    net = build(Gated(TinyC3D((2, 2, 2, 4)), (16, 20, 20)), 2, 0).eval()
    (found,) = traces({"lambda": net}, video, window=SMALL)
    assert {len(v) for v in found.signals.values()} == {36} and (0 < found.signals["lambda"]).all()
    assert (found.signals["lambda"] < 1).all()
    torch.manual_seed(1)
    (again,) = traces({"lambda": net}, video, window=SMALL)
    assert np.array_equal(again.signals["lambda"], found.signals["lambda"])
