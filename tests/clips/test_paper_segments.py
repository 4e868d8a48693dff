"""CoViAR's window: boxes of two neighbouring sizes, squeezed to a square; the centre of a squeezed picture at test."""

from collections import Counter

import cv2
import numpy as np
import pytest
import torch

from kdlab.clips.coviar import Compressed, flip_motion, tsn_frames
from kdlab.clips.paper_segments import PaperSegments, SquareDraw
from kdlab.train.recipe import from_json, to_json

PIXELS = np.random.default_rng(0).integers(0, 256, (2, 256, 340, 3), np.uint8)


@pytest.mark.parametrize("scales, boxes", [((1.0, 0.875, 0.75), 7), ((1.0, 0.875, 0.75, 0.66), 10)])
def test_the_sides_of_a_box_are_equal_or_neighbours(scales, boxes):
    generator, window = torch.Generator().manual_seed(0), PaperSegments(scales=scales)
    draws = [window.random(100, generator) for _ in range(1000)]
    found = Counter(draw.box for draw in draws)
    assert len(found) == boxes and min(found.values()) > 1000 / boxes / 2
    assert all(abs(scales.index(a) - scales.index(b)) <= 1 for a, b in found)
    assert 420 < sum(draw.flip for draw in draws) < 580
    frames = np.array([draw.frames for draw in draws])
    assert frames.min(0).tolist() == [1, 34, 66] and frames.max(0).tolist() == [33, 65, 98]
    again = window.random(100, torch.Generator().manual_seed(0))
    assert (again.frames.tolist(), again.box, again.left) == (draws[0].frames.tolist(), draws[0].box, draws[0].left)


def test_a_box_at_its_place_becomes_a_square():
    cut = SquareDraw(np.arange(2), top=1.0, left=0.5, box=(0.66, 0.75)).apply(PIXELS, 224)
    wanted = [cv2.resize(frame[256 - 168 :, 74 : 74 + 192], (224, 224)) for frame in PIXELS]  # (340 - 192) / 2 = 74
    assert np.array_equal(cut, wanted)
    mirrored = SquareDraw(np.arange(2), top=1.0, left=0.5, flip=True, box=(0.66, 0.75))
    assert np.array_equal(mirrored.apply(PIXELS, 224), cut[:, :, ::-1])
    motion = PIXELS[..., :2].copy()
    assert np.array_equal(mirrored.apply(motion, 224, Compressed("motion").mirrored), flip_motion(cut[..., :2]))


def test_evaluation_squeezes_the_picture_and_cuts_its_centre():
    window = PaperSegments()
    draw = window.centre(100)
    assert draw.frames.tolist() == tsn_frames(100).tolist() == [17, 50, 83] and not draw.flip
    wanted = [cv2.resize(frame, (256, 256))[16:240, 16:240] for frame in PIXELS]
    assert np.array_equal(draw.apply(PIXELS, window.crop), wanted)


def test_it_is_a_part_of_a_recipe():
    assert from_json(to_json(PaperSegments(3, 32, 28))) == PaperSegments(3, 32, 28)
