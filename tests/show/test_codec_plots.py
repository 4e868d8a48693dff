"""Pictures of notebook 06 carry what real files hold."""

import numpy as np
import pytest
from matplotlib.colors import rgb_to_hsv

from kdlab.clips.compressed import modalities, scan
from kdlab.measure.darkness import luma
from kdlab.show.codec_plots import equation, fields, flow_colours, timeline
from tests.figures import legible

pytestmark = pytest.mark.usefixtures("styled")

MPEG4 = {"codec": "mpeg4", "qmin": "2", "qmax": "2", "sc_threshold": "1000000000", "g": "12", "rate": 10}


@pytest.fixture
def clip(make_video):
    """14 frames, two groups: a textured square of 64x64 moves 8 pixels to the right in each frame, on even ground."""
    video = np.full((14, 96, 192, 3), 90, np.uint8)
    texture = np.kron(np.random.default_rng(0).integers(0, 256, (16, 16), np.uint8), np.ones((4, 4), np.uint8))
    for t, frame in enumerate(video):
        frame[16:80, 8 * t: 8 * t + 64] = texture[..., None]
    return make_video("square.avi", pixels=video, **MPEG4)



def test_flow_colours_are_told_apart_without_red_and_green_and_vertically_in_grey():
    right, left, up, down, rest = flow_colours(np.array([[[8, 0], [-8, 0], [0, -8], [0, 8], [0, 0]]]), 8)[0]
    assert np.allclose(rest, 0.5) and np.allclose((right + left) / 2, rest) and np.allclose((up + down) / 2, rest)
    grey = luma(np.array([right, left, up, down])[None])[0]
    assert abs(grey[0] - grey[1]) < 0.01 < 0.5 < grey[2] - grey[3]
    assert right[0] > right[2] and left[2] > left[0] and np.ptp(up) == np.ptp(down) == 0
    far, full, half = flow_colours(np.array([[[80, 0], [8, 0], [4, 0]]]), 8)[0]
    assert np.allclose(far, full) and rgb_to_hsv(half)[1] < rgb_to_hsv(full)[1]


def test_the_time_line_shows_each_frames_bytes(clip):
    fig = timeline({"one": scan(clip), "two": scan(clip)})
    heights = sorted(patch.get_height() for patch in fig.axes[0].patches)
    assert heights == sorted(scan(clip).sizes.tolist())
    assert max(patch.get_x() for patch in fig.axes[0].patches) == pytest.approx(1.3, abs=0.05)  # 13 frames at 10 fps
    expected = {"one: 2 I-frames, 12 P-frames", "bytes", "time (s)", "I-frames", "P-frames"}
    assert expected <= set(legible(fig).split("\n"))


def test_the_time_line_goes_by_the_frames_times(make_video):
    slow = make_video("slow.avi", frames=4, codec="mpeg4", rate=10, pts=[0, 1, 2, 12])
    bars = timeline({"slow": scan(slow)}).axes[0].patches
    assert max(bar.get_x() + bar.get_width() / 2 for bar in bars) == pytest.approx(1.2)


def test_arrows_start_where_blocks_came_from(clip):
    (its,) = modalities(clip, [3], accumulated=False)
    fig = fields({"square": (its.picture, its)}, longer=3)
    (arrows,) = (found for found in fig.axes[0].collections if type(found).__name__ == "Quiver")
    moved = np.flatnonzero((its.blocks["motion_x"] == -16) & (its.blocks["motion_y"] == 0))  # half pixels, back
    assert len(moved) and np.allclose(arrows.U[moved], 24) and np.allclose(arrows.V[moved], 0)
    assert np.allclose(arrows.X[moved] + 24, its.blocks["dst_x"][moved])
    assert "square: vectors, 3 times as long" in legible(fig) and "edge: 8 px" in legible(fig)


def test_the_equation_adds_up(clip):
    for accumulated, since in ((True, 0), (False, 4)):
        (its,) = modalities(clip, [5], accumulated)
        fig = equation(its, accumulated, gain=1)
        reference, motion, moved, residual, picture = (np.asarray(ax.images[0].get_array()) for ax in fig.axes[:5])
        small = abs(its.residual) < 128
        again = moved.astype(int) + residual - 128
        assert np.array_equal(again[small], picture[small]) and np.array_equal(reference, its.reference)
        assert motion.shape == picture.shape
        said = legible(fig)
        assert all(part in said for part in (f"frame {since}, moved", "+ residual", "= frame 5 (P)", "edge: 20 px"))
        assert f"plain difference {((picture.astype(float) - reference) ** 2).mean():.1f}" in said
