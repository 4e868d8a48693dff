"""Numbers of notebook 06: in closed form where tables are made up, and on a small `night` where files are read."""

import numpy as np
import pandas as pd
import pytest

from kdlab.clips.compressed import modalities, scan
from kdlab.night import Night, make_night, truth
from kdlab.show.codec_tables import (
    bytes_by_type,
    eight_bits,
    means,
    night_twins,
    on_actor,
    previous_motion,
    recorded_again,
    shares_apart,
    vectors,
)
from tests.show.test_codec_plots import clip  # noqa: F401 (a fixture)

SPEC = Night(("Jump", "Stand"), (1, 1, 2))


@pytest.fixture(scope="module")
def twins(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KDLAB_DATA", str(tmp_path_factory.mktemp("night")))
        make_night(SPEC, workers=1, progress=False)
        yield night_twins(SPEC, 2)


def shares(moved, on_actor=None):
    others = dict(background=0.1, actor=0.2, bytes=100.0)
    return pd.DataFrame([dict(moved=m, on_actor=o, **others)
                         for m, o in zip(moved, on_actor or len(moved) * [0.5], strict=True)])


def test_shares_on_the_actor_are_counted():
    motion, masks = np.zeros((1, 2, 4, 2), np.int16), np.zeros((1, 2, 4), bool)
    masks[0, :, :2] = True  # four of eight pixels
    motion[0, 0, :3, 0] = -1  # three moved, two of them the actor's
    motion[0, 1, 3, 1] = 2
    assert on_actor(motion, masks) == {"moved": 0.5, "actor": 0.5, "background": 0.5, "on_actor": 0.5}
    assert np.isnan(on_actor(0 * motion, masks)["on_actor"])


def test_the_vectors_of_p_frames_alone_tell_a_known_motion(clip):  # noqa: F811
    numbers, motion = previous_motion(clip)
    assert numbers.tolist() == [*range(1, 12), 13] and motion.shape == (12, 96, 192, 2)
    inside = [of[32:64, 8 * t + 16: 8 * t + 48] for t, of in zip(numbers, motion, strict=True)]
    assert np.mean(np.all(np.array(inside) == (8, 0), axis=-1)) > 0.9


def test_bytes_and_eight_bits_of_a_file(clip):  # noqa: F811
    sizes, kinds = scan(clip).sizes, np.array(list(scan(clip).kinds))
    table = bytes_by_type({"one": [clip, clip]}).set_index("type")
    assert table.frames.tolist() == [4, 24] and table["bytes each"].I == sizes[kinds == "I"].mean()
    assert table["% of bytes"].P == pytest.approx(100 * sizes[kinds == "P"].sum() / sizes.sum())
    found = eight_bits({"one": [clip]}).set_index("input")
    p = [frame for frame in modalities(clip) if frame.kind == "P"]
    for what, low, high in (("motion", -20, 20), ("residual", -128, 127)):
        values = np.array([getattr(frame, what) for frame in p])
        assert found["zero (%)"][what] == pytest.approx(100 * (values == 0).mean())
        assert found["cut off (%)"][what] == pytest.approx(100 * ((values < low) | (values > high)).mean())
        stored = np.unique(np.clip(values, low - 1, high + 1), return_counts=True)[1] / values.size
        assert 0 < found["entropy (bits)"][what] <= -(stored * np.log2(stored)).sum() + 1e-9


def test_differences_are_of_the_same_clips_and_leave_out_what_has_no_share():
    one, other = shares([0.3, 0.4, 0.5], (0.5, np.nan, 0.3)), shares([0.1, 0.2, 0.3])
    found = shares_apart(one, other, np.arange(3))
    assert found["pixels that carry a vector"].mean == pytest.approx(20)
    assert found["pixels that carry a vector"].units == 3 and found["moved pixels that are the actor's"].units == 2
    assert found["moved pixels that are the actor's"].mean == pytest.approx(-10)


def test_twins_are_the_same_clip_in_two_lights_and_judged_by_its_mask(twins):
    pairs, groups = twins
    assert len(pairs) == 4 == len(groups) and groups.tolist() == [bright.group for bright, _ in pairs]
    assert all(bright.id.replace("bright", "") == dark.id.replace("dark_mpeg4", "") for bright, dark in pairs)
    found, (bright, dark) = vectors(pairs[:1]), pairs[0]
    for light, record in (("bright", bright), ("dark", dark)):
        numbers, motion = previous_motion(record.path)
        assert found[light].iloc[0].drop("bytes").to_dict() == on_actor(motion, truth(bright)["masks"][numbers])
    assert found["bright"].bytes[0] > found["dark"].bytes[0]
    assert means(found)["moved (%)"].tolist() == [100 * found[light].moved[0] for light in ("bright", "dark")]


def test_a_clip_recorded_again_is_dark_and_its_noise_costs_bytes(twins, tmp_path):
    bright = twins[0][0][0]
    noisy, again, quiet = (recorded_again(bright, tmp_path, noise) for noise in (True, True, False))
    assert noisy == again and noisy["moved"] != quiet["moved"]
    assert quiet["bytes"] < noisy["bytes"] < scan(bright.path).sizes.mean()
