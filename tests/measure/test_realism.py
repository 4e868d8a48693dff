import numpy as np
import pandas as pd
import pytest

from kdlab.measure.realism import MARKS, summary, vectors_inside
from kdlab.night.codec import write_mpeg4


@pytest.mark.parametrize("step, least, most", [(8, 4, 20), (0, 0, 0)])
def test_vectors_are_those_of_what_moves(tmp_path, step, least, most):
    rng = np.random.default_rng(0)
    texture = rng.integers(60, 200, (64, 64, 3), dtype=np.uint8)
    frames, masks = np.full((12, 128, 160, 3), 128, np.uint8), np.zeros((12, 128, 160), bool)
    for t in range(12):
        place = np.s_[32:96, step * t : step * t + 64]
        frames[t][place], masks[t][place] = texture, True
    write_mpeg4(tmp_path / "a.avi", frames)
    counts = vectors_inside(tmp_path / "a.avi", masks)
    assert len(counts) == 11  # a group of twelve: one I frame, eleven P frames
    assert least <= np.median(counts) <= most
    still = np.zeros_like(masks)
    still[:, :16] = True  # above all that moves
    assert not vectors_inside(tmp_path / "a.avi", still).any()


def test_a_mark_holds_when_its_median_and_enough_clips_lie_inside():
    clips = pd.DataFrame({"median": [12.0] * 10, "p99": [50.0] * 6 + [200.0] * 4, "change": [0.2] * 6 + [0.5] * 4,
                          "vectors": [6.0] * 6 + [1.0] * 4})
    found = summary(clips)
    assert found.holds.to_dict() == {"median": True, "p99": False, "change": False, "vectors": True}
    assert found.inside.to_dict() == {"median": 100, "p99": 60, "change": 40, "vectors": 60}
    assert list(found.index) == list(MARKS)
