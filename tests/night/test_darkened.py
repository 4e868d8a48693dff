"""Darkened clips: as dark as real ones, the same on every reading, and still their bright twins' pictures."""

import shutil

import cv2
import numpy as np
import pytest

from kdlab.clips.cache import resize
from kdlab.clips.views import MotionMix
from kdlab.measure.darkness import ARID
from kdlab.night.darkened import Darkened, lamplight
from kdlab.protocols import View
from tests.marks import darkness, luma


class Street(View):
    """A bright view that needs no video: a textured wall, and a dark box that walks before it where ``moving``."""

    name = "street"

    def __init__(self, width=160, height=128, frames=12, moving=True):
        self.size, self.frames, self.moving = (width, height), frames, moving

    def read(self, path, indices=None):
        coarse = np.random.default_rng(5).integers(90, 200, (16, 20, 3), dtype=np.uint8)
        frames = np.stack(
            [cv2.resize(coarse, self.size, interpolation=cv2.INTER_LINEAR)] * self.frames
        )
        width, height = self.size
        for t, frame in enumerate(frames):
            left = (t if self.moving else 0) * width // 20
            frame[height // 4 : 3 * height // 4, left : left + width // 8] = 25
        return frames if indices is None else frames[indices]


@pytest.fixture
def clips(tmp_path):
    """Files with different contents; :class:`Street` looks at their names only."""
    files = [tmp_path / f"{k}.avi" for k in range(24)]
    for k, file in enumerate(files):
        file.write_bytes(bytes([k]) * 64)
    return files


def test_content_and_seed_decide_not_the_name(clips, tmp_path):
    street = Street()
    first = Darkened(of=street).read(clips[0])
    copy = shutil.copy(clips[0], tmp_path / "other name.avi")
    assert np.array_equal(first, Darkened(of=street).read(copy))
    assert not np.array_equal(first, Darkened(of=street).read(clips[1]))
    assert not np.array_equal(first, Darkened(of=street, seed=1).read(clips[0]))


def test_as_dark_as_real_dark_clips(clips):
    """Most clips inside the marks; at rest the noise alone stays below what real clips, which move, show."""
    moving = [darkness(Darkened(of=Street()).read(clip)) for clip in clips]
    for mark in ("median", "p99"):
        low, high = ARID[mark]
        values = np.array([m[mark] for m in moving])
        assert low <= np.median(values) <= high
        assert np.mean((values >= low) & (values <= high)) >= 0.7
    still = [darkness(Darkened(of=Street(moving=False)).read(clip))["change"] for clip in clips[:8]]
    assert 0.2 < np.median(still) < ARID["change"][1]


@pytest.mark.parametrize("size", [(180, 144), (320, 240), (641, 361)])
def test_frames_of_any_size_get_the_same_noise(clips, size):
    """The change mark is measured at one size for all: a camera of more pixels must not seem a better one."""
    marks = {}
    for width, height in ((160, 128), size):
        street = Street(width, height, moving=False)
        dark = [Darkened(of=street).read(clip) for clip in clips[:6]]
        assert dark[0].shape == (12, height, width, 3)
        marks[width] = np.median([darkness(d)["change"] for d in dark])
    assert marks[size[0]] == pytest.approx(marks[160], rel=0.15)


def test_exposure_darkens_the_same_scene(clips):
    usual, stop = (Darkened(exposure, of=Street()).read(clips[0]).mean() for exposure in (1.0, 0.5))
    assert stop < usual
    assert Darkened(1.0).name != Darkened(0.5).name != Darkened(0.5, seed=1).name


def test_the_twin_is_the_same_picture(clips):
    """Where the bright twin is darker, under the lamp's light, so is the dark clip: nothing moved."""
    bright = resize(Street().read(clips[0]), 64).astype(np.float32)
    dark = resize(Darkened(of=Street()).read(clips[0]), 64).astype(np.float32)
    box = bright.mean(-1) < 30
    wall = bright.mean(-1) > 80
    near = cv2.dilate(box[0].astype(np.uint8), np.ones((9, 9))) > 0
    assert luma(dark)[0][box[0]].mean() < 0.8 * luma(dark)[0][near & wall[0]].mean()


def test_lamplight_has_the_contrast_of_dark_places():
    flat = np.ones((3, 96, 128, 3), np.float32)
    light = [lamplight(flat, np.random.default_rng(k)) for k in range(40)]
    assert light[0].shape == (96, 128, 3)
    contrast = [np.percentile(x.mean(-1), 99) / np.median(x.mean(-1)) for x in light]
    assert 4 < np.median(contrast) < 12


def test_bad_values_are_named():
    with pytest.raises(ValueError, match="exposure"):
        Darkened(0)
    with pytest.raises(ValueError, match="around Darkened"):
        Darkened(of=MotionMix())


def test_real_clips_inside_the_marks(real_clips):
    files = sorted((real_clips / "weizmann").rglob("*.avi"))[::9]
    if not files:
        pytest.skip("no weizmann folder there")
    marks = [darkness(Darkened().read(file)) for file in files]
    for mark, (low, high) in ARID.items():
        assert np.mean([low <= m[mark] <= high for m in marks]) >= 0.6, mark
