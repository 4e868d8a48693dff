from dataclasses import replace

import numpy as np
import pytest

from kdlab.clips.enhance import Clahe, Gamma, HistogramEqualisation
from kdlab.clips.views import Enhanced
from kdlab.train.recipe import from_json, to_json

STEADY = [HistogramEqualisation(steady=True), Clahe(steady=True)]


@pytest.fixture(scope="module")
def static() -> np.ndarray:
    """A dark room (values 4…40) that never changes but for sensor noise, and a lamp that opens in its corner."""
    rng = np.random.default_rng(0)
    scene = np.linspace(4, 40, 96 * 128).reshape(1, 96, 128, 1) + np.zeros((1, 1, 1, 3))
    clip = np.repeat(scene, 12, 0) + rng.normal(0, 0.6, (12, 96, 128, 1))
    for t in range(12):
        clip[t, :4 * t, :4 * t] = 200
    return clip.round().clip(0, 255).astype(np.uint8)


def change_of_the_unchanged(raw, enhanced) -> float:
    """Mean change, in grey levels, of pixels whose raw value is the same in two consecutive frames."""
    same = (raw[1:] == raw[:-1]).all(-1)
    return float(np.abs(np.diff(enhanced.astype(float), axis=0)).mean(-1)[same].mean())


def test_what_looks_at_each_frame_anew_flickers_and_the_steady_do_not(static):
    assert change_of_the_unchanged(static, HistogramEqualisation()(static)) > 2
    assert change_of_the_unchanged(static, HistogramEqualisation(steady=True)(static)) == 0
    assert change_of_the_unchanged(static, Clahe()(static)) > 0.4
    assert change_of_the_unchanged(static, Clahe(steady=True)(static)) < 0.05


@pytest.mark.parametrize("steady, plain", [(STEADY[0], HistogramEqualisation()), (STEADY[1], Clahe())])
def test_steady_is_the_plain_enhancer_where_nothing_changes(static, steady, plain):
    one = static[3:4]
    assert np.array_equal(steady(one), plain(one))
    still = steady(np.repeat(one, 5, 0)).astype(int)
    assert np.abs(np.diff(still, axis=0)).max() <= (0 if plain.name == "he" else 1)
    # CLAHE clips whole counts: five times the pixels round otherwise than one frame's
    assert np.abs(still - plain(one)).mean() <= (0 if plain.name == "he" else 2)


def test_steady_equalisation_pools_all_frames(static):
    tall = static.reshape(1, -1, 128, 3)
    assert np.array_equal(HistogramEqualisation(steady=True)(static).reshape(tall.shape), HistogramEqualisation()(tall))


def test_names_tell_and_recipes_keep_them():
    enhancers = [Gamma(1.8), HistogramEqualisation(), Clahe(), *STEADY]
    assert [e.name for e in enhancers] == ["gamma1.8", "he", "clahe2x4", "he-steady", "clahe2x4-steady"]
    for enhancer in enhancers:
        assert from_json(to_json(Enhanced(enhancer))) == Enhanced(enhancer)


def test_gamma_of_views_that_are_not_contiguous(static):
    table = Gamma(1.8).table()
    for frames in (static, static[:, :, ::-1], static.swapaxes(1, 2), static[::2, 1:, 3:]):
        assert np.array_equal(Gamma(1.8)(frames), table[frames])
    assert np.array_equal(Gamma(1)(static), static)


def clips_of_all_kinds():
    """Clips of odd sizes and lengths: noise around a scene whose light changes."""
    rng = np.random.default_rng(0)
    for frames, height, width in ((1, 17, 23), (2, 40, 33), (5, 48, 64), (7, 31, 64), (4, 33, 36), (12, 24, 30)):
        light = rng.uniform(0.1, 1, (frames, 1, 1, 1))
        scene = rng.integers(0, 200, (1, height, width, 3)) * light + rng.normal(0, 4, (frames, height, width, 3))
        yield scene.clip(0, 255).astype(np.uint8)
    yield np.full((3, 20, 20, 3), 77, np.uint8)


@pytest.mark.parametrize("enhancer", [Gamma(1.8), HistogramEqualisation(), Clahe(), *STEADY, Clahe(0.5, 3, steady=True),
                                      Clahe(40, 5, steady=True), Clahe(3, 16, steady=True)], ids=lambda e: e.name)
def test_frame_by_frame_gives_the_bits_of_the_whole(enhancer):
    for clip in clips_of_all_kinds():
        brighten, whole = enhancer.fitted(lambda clip=clip: iter(clip)), enhancer(clip)
        if isinstance(enhancer, Clahe) and enhancer.steady:  # by its definition
            count, height, width, _ = clip.shape
            tall = clip.swapaxes(0, 1).reshape(1, height * count, width, 3)
            whole = replace(enhancer, steady=False)(tall).reshape(height, count, width, 3).swapaxes(0, 1)
        assert np.array_equal(np.stack([brighten(number, frame) for number, frame in enumerate(clip)]), whole)
        assert np.array_equal(enhancer(clip), whole)


def test_framewise_enhancers_do_not_read_the_clip_first():
    for enhancer in (Gamma(1.8), HistogramEqualisation(), Clahe()):
        enhancer.fitted(lambda: pytest.fail("read"))
