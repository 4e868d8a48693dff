"""The reference pipeline's window: consecutive frames that loop, squares of several sizes."""

from collections import Counter

import cv2
import numpy as np
import pytest
import torch

from kdlab.clips.cache import FrameCache
from kdlab.clips.catalogue import Catalogue, ClipRecord
from kdlab.clips.views import Raw
from kdlab.clips.windows import ConsecutiveWindow, Draw

WINDOW = ConsecutiveWindow()


def test_a_short_clip_begins_again():
    """docs/methods.md, 1.5: 64 frames of a clip of 33 are its frames 1 … 33 and 1 … 31."""
    wanted = [*range(33), *range(31)]
    for offset in (0.0, 0.5, 0.999):
        assert WINDOW.moments(33, offset).tolist() == wanted
    assert WINDOW.moments(20, 0.7).tolist() == [*range(20)] * 3 + [*range(4)]


def test_a_long_clip_gives_frames_in_a_row_from_every_start_that_fits():
    starts = [WINDOW.moments(66, offset) for offset in (0.0, 0.34, 0.99999)]
    assert [(m[0], m[-1]) for m in starts] == [(0, 63), (1, 64), (2, 65)]
    assert all((np.diff(m) == 1).all() for m in starts)
    assert WINDOW.moments(64, 0.999).tolist() == [*range(64)]
    assert WINDOW.centre(225).frames[0] == 81  # 162 starts fit


def test_draws_cover_sizes_places_and_starts_and_are_a_function_of_the_generator():
    generator = torch.Generator().manual_seed(0)
    draws = [WINDOW.random(100, generator) for _ in range(400)]
    sizes = Counter(draw.box[0] for draw in draws)
    assert set(sizes) == {1.0, 0.875, 0.75, 0.66} and min(sizes.values()) > 70
    assert {draw.frames[0] for draw in draws} == set(range(37))
    assert 150 < sum(draw.flip for draw in draws) < 250
    again, first = WINDOW.random(100, torch.Generator().manual_seed(0)), draws[0]
    assert again.frames.tolist() == first.frames.tolist()
    assert (again.top, again.left, again.flip, again.box) == (first.top, first.left, first.flip, first.box)


@pytest.mark.parametrize("scale, box", [(1.0, 128), (0.875, 112), (0.75, 96), (0.66, 84)])
def test_a_square_is_cut_resized_and_flipped(scale, box):
    pixels = np.random.default_rng(0).integers(0, 255, (2, 128, 171, 3), dtype=np.uint8)
    got = WINDOW.shown(Draw(np.arange(2), 0.25, 1.0, box=(scale, scale)), pixels)
    cut = Draw(np.arange(2), 0.25, 1.0).placed(pixels, box, box)
    wanted = np.stack([cv2.resize(frame, (112, 112), interpolation=cv2.INTER_LINEAR) for frame in cut])
    assert got.shape == (2, 112, 112, 3) and np.abs(got.astype(int) - wanted).max() <= 1  # OpenCV's fixed point
    flipped = Draw(np.arange(2), 0.25, 1.0, True, (scale, scale))
    assert np.array_equal(WINDOW.shown(flipped, pixels), got[:, :, ::-1])
    assert torch.equal(WINDOW.shown(flipped, torch.from_numpy(pixels)), torch.from_numpy(got[:, :, ::-1].copy()))


def test_clips_far_shorter_than_the_window_are_learnt_from(make_video, tmp_path):
    """Dark-48's shortest have 11 frames, of the 64 that a network looks at."""
    records = [ClipRecord(name, make_video(f"{name}.mp4", frames=frames, rate=10, size=(32, 24)), 0, "train", name)
               for name, frames in (("eleven", 11), ("one", 1))]
    clips = ConsecutiveWindow(64, 20, 16).batches(Catalogue("mine", tmp_path, ("a",), tuple(records)), "train",
                                                  {"student": Raw()})
    clips.cache = FrameCache(tmp_path / "cache")
    pixels = clips.training([0], torch.Generator().manual_seed(0)).views["student"]
    assert pixels.shape == (1, 3, 64, 16, 16) and torch.equal(pixels[:, :, :53], pixels[:, :, 11:])
    assert not torch.equal(pixels[:, :, :53], pixels[:, :, 10:63])
    with pytest.raises(ValueError, match=r"one.*has 1 frame"):
        clips.length(clips.records[1])
