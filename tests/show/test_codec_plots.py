"""The picture of `kdlab data modalities` carries what real files hold."""

import numpy as np
import pytest
from matplotlib.colors import rgb_to_hsv

from kdlab.show.codec_plots import flow_colours, overview
from kdlab.video.compressed import modalities, read
from tests.figures import legible
from tests.marks import luma

pytestmark = pytest.mark.usefixtures("styled")


def test_flow_colours_are_told_apart_without_red_and_green_and_vertically_in_grey():
    right, left, up, down, rest = flow_colours(
        np.array([[[8, 0], [-8, 0], [0, -8], [0, 8], [0, 0]]]), 8
    )[0]
    assert np.allclose([rest, (right + left) / 2, (up + down) / 2], 0.5)
    grey = luma(np.array([right, left, up, down])[None])[0]
    assert abs(grey[0] - grey[1]) < 0.01 < 0.5 < grey[2] - grey[3]
    assert right[0] > right[2] and left[2] > left[0] and np.ptp(up) == np.ptp(down) == 0
    far, full, half = flow_colours(np.array([[[80, 0], [8, 0], [4, 0]]]), 8)[0]
    assert np.allclose(far, full) and rgb_to_hsv(half)[1] < rgb_to_hsv(full)[1]


def test_frames_are_rebuilt_from_the_i_frame(make_video):
    clip = make_video("clip.avi", 14, codec="mpeg4", g="12", sc_threshold="1000000000")
    fig = overview(read(clip))
    frames = [frame.picture for frame in modalities(clip)]
    top = [np.asarray(ax.images[0].get_array()) for ax in fig.axes[:5]]
    assert all(
        np.array_equal(picture, frames[t]) for picture, t in zip(top, (0, 3, 6, 8, 11), strict=True)
    )
    titles = {"frame 0 (I)", "frame 11 (P)", "motion", "accumulated", "residual, times 2"}
    assert titles <= set(legible(fig).split("\n"))
