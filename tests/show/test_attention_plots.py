"""Pictures of where networks look."""

import numpy as np
import pytest

from kdlab.show.attention_plots import maps_picture
from tests.conftest import words
from tests.figures import faults

pytestmark = pytest.mark.usefixtures("styled")


def test_a_row_for_each_map_and_one_for_the_clip():
    frames = np.random.default_rng(0).integers(0, 60, (6, 12, 14, 3)).astype(np.uint8)
    maps = dict.fromkeys(("student", "teacher"), np.ones(frames.shape[:3]))
    fig = maps_picture(frames, maps, (0, 5), True, "Grad-CAM")
    # a bar says what colours mean
    assert len(fig.axes) == 3 * 2 + 1
    assert faults(fig) == []
    assert {"student", "teacher", "brightened", "largest value"} <= set(words(fig).splitlines())
