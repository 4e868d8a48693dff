"""Marks of darkness on clips whose marks are known."""

import numpy as np
import pytest

from kdlab.clips.enhance import Clahe, Gamma
from kdlab.measure.darkness import colours, darkness, luma


def grey(*levels):
    """One frame of one grey for each level."""
    return np.stack([np.full((64, 85, 3), level, np.uint8) for level in levels])


def test_luma_of_greys_and_colours():
    assert np.allclose(luma(grey(0, 12, 255))[:, 0, 0], [0, 12, 255])
    assert luma(np.array([[[0, 255, 0]]], np.uint8)) == pytest.approx(255 * 0.587)


def test_marks_of_a_step():
    marks = darkness(grey(10, 10, 10, 14))
    assert marks == pytest.approx({"median": 10, "p99": 14, "change": 4 / 3}, abs=1e-4)


def test_one_frame_has_no_change():
    assert np.isnan(darkness(grey(10))["change"])


def test_gamma_keeps_every_dark_colour_apart_and_clahe_makes_new_ones():
    dark = np.random.default_rng(0).integers(0, 79, (2, 32, 32, 3), np.uint8)
    assert colours(Gamma()(dark)) == colours(dark)
    ramp = np.arange(8, 40, dtype=np.uint8).reshape(1, 32, 1, 1).repeat(32, 2).repeat(3, 3)
    assert colours(ramp) == 32
    # its table depends on the place
    assert colours(Clahe()(np.concatenate([ramp, ramp[:, ::-1]], 2))) > 32
