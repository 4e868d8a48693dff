"""The light of `night`: levels like those of real dark clips, and physics that can be checked."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from kdlab.night import ACTIONS, Camera, Night, darken, expose, render_clip
from kdlab.night.drawing import linear_from_srgb, srgb_from_linear, write_h264
from tests.conftest import decoded
from tests.marks import darkness

SPEC = Night(variety=0.5)


def test_srgb_is_inverted():
    values = np.linspace(0, 1, 101)
    assert np.allclose(linear_from_srgb(srgb_from_linear(values)), values, atol=1e-6)


def test_dark_clips_look_like_real_ones(tmp_path):
    marks = []
    for index, name in enumerate(ACTIONS + ACTIONS[:1]):
        write_h264(tmp_path / "clip.mp4", render_clip(SPEC, "train", name, index).dark)
        marks.append([*darkness(decoded(tmp_path / "clip.mp4")).values()])
    middle, highest, change = np.median(marks, axis=0)
    assert 9 <= middle <= 18
    assert 25 <= highest <= 105
    assert 0.35 <= change <= 0.9


def test_the_median_reaches_the_level_that_was_asked_for():
    radiance = np.full((6, 32, 40, 3), 0.3, np.float32)
    for tone in (0.5, 1.0, 1.25):
        camera = Camera(electrons=1000, level=14, tone=tone)
        assert np.median(expose(radiance, camera, np.random.default_rng(0))) == pytest.approx(
            14, abs=1
        )


def test_fewer_photons_give_a_darker_and_relatively_noisier_picture():
    radiance = np.full((4, 64, 64, 3), 0.2, np.float32)
    camera = Camera(electrons=200, level=40, memory=0.0)
    full, stop = (
        expose(radiance, camera, np.random.default_rng(0), e).astype(float) - 3.5
        for e in (1.0, 0.25)
    )
    assert stop.mean() < 0.5 * full.mean()
    assert stop.std() / stop.mean() > 1.5 * full.std() / full.mean()


def test_no_light_is_black_level():
    dark = expose(
        np.zeros((2, 16, 16, 3), np.float32), Camera(read_noise=0.0), np.random.default_rng(0)
    )
    assert set(np.unique(dark)) <= {3, 4}


def test_any_bright_video_can_be_darkened():
    bright = np.random.default_rng(1).integers(0, 256, (5, 32, 48, 3), dtype=np.uint8)
    twins = [darken(bright, exposure, np.random.default_rng(2)) for exposure in (1.0, 1.0, 0.5)]
    assert twins[0].shape == bright.shape and twins[0].dtype == np.uint8
    assert (twins[0] == twins[1]).all()
    assert twins[2].mean() < twins[0].mean() < 40 < bright.mean()


def test_leaving_out_the_actor_leaves_the_rest():
    whole, empty = (
        render_clip(replace(SPEC, actor=actor), "test", "Turn", 3) for actor in (True, False)
    )
    assert whole.masks.any() and not empty.masks.any()
    outside = ~cv2.dilate(whole.masks[10].astype(np.uint8), np.ones((9, 9))).astype(bool)
    difference = np.abs(whole.bright[10].astype(int) - empty.bright[10]).max(-1)
    assert np.median(difference[outside]) <= 6


def test_context_shows_the_class_its_place():
    def backdrop(context, name, index):
        clip = render_clip(Night(variety=0.0, context=context, actor=False), "train", name, index)
        return cv2.resize(clip.bright[0].mean(-1), (20, 16), interpolation=cv2.INTER_AREA).ravel()

    def likeness(context, first, second):
        return np.corrcoef(backdrop(context, first, 0), backdrop(context, second, 1))[0, 1]

    names = ("Drink", "Pick", "Wave")
    told = np.mean([likeness(1.0, name, name) for name in names])
    untold = np.mean([likeness(0.0, name, name) for name in names])
    assert told > untold + 0.2
