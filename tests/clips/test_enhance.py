"""Classical enhancers: their tables, their shapes, and what flickers."""

import numpy as np
import pytest

from kdlab.clips.enhance import Clahe, Gamma, HistogramEqualisation

STEADY = [HistogramEqualisation(steady=True), Clahe(steady=True)]


@pytest.fixture(scope="module")
def static():
    """A dark room (values 4…40) that never changes but for sensor noise, and a lamp that opens in its corner."""
    rng = np.random.default_rng(0)
    scene = np.linspace(4, 40, 96 * 128).reshape(1, 96, 128, 1) + np.zeros((1, 1, 1, 3))
    clip = np.repeat(scene, 12, 0) + rng.normal(0, 0.6, (12, 96, 128, 1))
    for t in range(12):
        clip[t, : 4 * t, : 4 * t] = 200
    return clip.round().clip(0, 255).astype(np.uint8)


def change_of_the_unchanged(raw, enhanced):
    """Mean change, in grey levels, of pixels whose raw value is the same in two consecutive frames."""
    same = (raw[1:] == raw[:-1]).all(-1)
    return float(np.abs(np.diff(enhanced.astype(float), axis=0)).mean(-1)[same].mean())


def test_what_looks_at_each_frame_anew_flickers_and_the_steady_do_not(static):
    assert change_of_the_unchanged(static, HistogramEqualisation()(static)) > 2
    assert change_of_the_unchanged(static, HistogramEqualisation(steady=True)(static)) == 0
    assert change_of_the_unchanged(static, Clahe()(static)) > 0.4
    assert change_of_the_unchanged(static, Clahe(steady=True)(static)) < 0.05


@pytest.mark.parametrize(
    "steady, plain", [(STEADY[0], HistogramEqualisation()), (STEADY[1], Clahe())]
)
def test_steady_is_the_plain_enhancer_where_nothing_changes(static, steady, plain):
    one = static[3:4]
    assert np.array_equal(steady(one), plain(one))
    still = steady(np.repeat(one, 5, 0)).astype(int)
    assert np.abs(np.diff(still, axis=0)).max() <= (0 if plain.name == "he" else 1)
    # CLAHE clips whole counts: five times the pixels round otherwise than one frame's
    assert np.abs(still - plain(one)).mean() <= (0 if plain.name == "he" else 2)


def test_steady_equalisation_pools_all_frames(static):
    tall = static.reshape(1, -1, 128, 3)
    assert np.array_equal(
        HistogramEqualisation(steady=True)(static).reshape(tall.shape),
        HistogramEqualisation()(tall),
    )


def test_gamma_of_views_that_are_not_contiguous(static):
    table = Gamma(1.8).table()
    for frames in (static, static[:, :, ::-1], static.swapaxes(1, 2), static[::2, 1:, 3:]):
        assert np.array_equal(Gamma(1.8)(frames), table[frames])
    assert np.array_equal(Gamma(1)(static), static)


def test_gamma_table_of_the_reference():
    """Values of docs/methods.md, section 1: gamma 1.8."""
    table = Gamma(1.8).table()
    assert {v: int(table[v]) for v in (0, 1, 5, 10, 20, 64, 128, 255)} == {
        0: 0,
        1: 11,
        5: 28,
        10: 42,
        20: 61,
        64: 118,
        128: 173,
        255: 255,
    }
    assert len(set(table.tolist())) == 202
    assert int(np.flatnonzero(np.diff(table.astype(int)) == 0)[0]) + 1 == 79


@pytest.mark.parametrize("enhancer", [Gamma(1.8), HistogramEqualisation(), Clahe()])
def test_enhancers_brighten_and_keep_shape(enhancer):
    frames = np.random.default_rng(0).integers(0, 30, (3, 24, 32, 3), dtype=np.uint8)
    before = frames.copy()
    out = enhancer(frames)
    assert out.shape == frames.shape and out.dtype == np.uint8 and out.mean() > frames.mean()
    assert np.array_equal(before, frames)
