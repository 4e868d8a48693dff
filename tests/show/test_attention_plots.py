"""Pictures of where networks look."""

import numpy as np
import pytest

from kdlab.show.attention_plots import maps_picture
from tests.conftest import words
from tests.figures import faults

pytestmark = pytest.mark.usefixtures("styled")


@pytest.fixture
def clip():
    frames = np.random.default_rng(0).integers(0, 60, (6, 12, 14, 3)).astype(np.uint8)
    masks = np.zeros((6, 12, 14), bool)
    masks[:5, 3:6, 4:8] = True  # who has left has no outline
    return frames, masks


def test_a_row_for_each_map_and_one_for_the_clip(clip):
    frames, masks = clip
    fig = maps_picture(frames, {"student": masks.astype(float), "teacher": np.ones(masks.shape)}, masks, (0, 5, 9))
    assert len(fig.axes) == 3 * 2 + 1, "a moment outside the clip is left out; a bar says what colours mean"
    assert faults(fig) == []
    assert {"student", "teacher", "brightened", "largest value"} <= set(words(fig).splitlines())
