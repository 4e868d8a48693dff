"""Pictures of where networks look."""

import numpy as np
import pytest

from kdlab.show.attention_plots import heat_picture
from tests.conftest import words
from tests.figures import faults

pytestmark = pytest.mark.usefixtures("styled")


def test_a_map_below_its_frames_with_a_bar_for_its_colours():
    frames = np.random.default_rng(0).integers(0, 60, (6, 12, 14, 3)).astype(np.uint8)
    fig = heat_picture(frames, np.ones(frames.shape[:3]), "Grad-CAM")
    assert len(fig.axes) == 9 and faults(fig) == []
    assert {"Grad-CAM", "brightened", "largest value"} <= set(words(fig).splitlines())
