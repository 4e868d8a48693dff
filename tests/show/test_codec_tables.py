"""Numbers of notebook 06: in closed form where tables are made up, and on a small `night` where files are read."""

import numpy as np
import pandas as pd
import pytest

from kdlab.night import Night, make_night, truth
from kdlab.show import codec_tables
from kdlab.show.codec_plots import frame_table, joint_error, on_actor, previous_motion
from kdlab.show.codec_tables import (
    apart_where_both_move,
    at_positions,
    bytes_by_type,
    counts_of,
    drift,
    eight_bits,
    file_rows,
    followed,
    frames_of,
    groups_of,
    joints_apart,
    judged,
    left_over,
    marks,
    means,
    night_twins,
    recorded_again,
    shares_apart,
    some_files,
    told,
    vectors,
)
from tests.conftest import public

SPEC = Night(("Jump", "Stand"), (1, 1, 2))


@pytest.fixture(scope="module")
def twins(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KDLAB_DATA", str(tmp_path_factory.mktemp("night")))
        make_night(SPEC, workers=1, progress=False)
        yield night_twins(SPEC, 2)


def frames(energies=((4, 1), (4, 1)), kinds="IPP"):
    """Two clips of a group each: (plain difference, residual) of their P-frames."""
    rows = []
    for clip, (difference, residual) in enumerate(energies):
        for n, kind in enumerate(kinds):
            rows.append(dict(clip=clip, group=f"g{clip}", position=n, kind=kind, bytes=30 if kind == "I" else 10,
                             pixels=40, difference=n * difference, residual=n * residual, own=float(residual),
                             moved=0.5, own_moved=0.25, cut_motion=0.1, cut_residual=0.2))
    return pd.DataFrame(rows)


def judgements(moved, on_actor=None, error=None):
    on_actor, error = on_actor or len(moved) * [0.5], error or len(moved) * [2.0]
    same = dict(background=0.1, actor=0.2, still=3.0, joints=4, bytes=100.0)
    return pd.DataFrame([dict(moved=m, on_actor=o, error=e, **same)
                         for m, o, e in zip(moved, on_actor, error, strict=True)])


def test_bytes_go_to_types():
    found = bytes_by_type({"bright": frames(), "dark": frames(kinds="IP").assign(pixels=80)})
    assert found.values.tolist() == [["bright", "I", 2, 30, 6, pytest.approx(100 / 3), 60],
                                     ["bright", "P", 4, 10, 2, pytest.approx(200 / 3), 40],
                                     ["dark", "I", 2, 30, 3, 50, 75], ["dark", "P", 2, 10, 1, 50, 25]]


def test_positions_are_roots_of_energies_of_each_clip():
    assert np.allclose(at_positions(frames(((4, 1), (16, 9))), "residual"), np.sqrt([[0, 1, 2], [0, 9, 18]]))
    shorter = pd.concat([frames(), frames(kinds="IP").assign(clip=2, group="g2")])
    assert at_positions(shorter, "difference").shape == (3, 2) and groups_of(shorter).tolist() == ["g0", "g1", "g2"]


def test_the_drift_has_a_mean_for_each_curve():
    (title, lines), = drift({"bright": frames()}).items()
    assert title == "bright, 2 clips" and len(lines) == 3
    assert lines["accumulated residual"][0] == pytest.approx(np.sqrt([0, 1, 2]))
    assert lines["plain difference to the I-frame"][0] == pytest.approx(2 * np.sqrt([0, 1, 2]))


def test_what_copying_leaves():
    found = left_over({"bright": frames(((4, 1), (4, 9)))}, (2, 5))
    assert found.columns.tolist() == ["light", "energy left", "clips above 1", "ratio at position 2"]
    light, energy, above, ratio = found.iloc[0]
    assert (light, energy, above) == ("bright", 1.25, "1 of 2") and ratio.startswith("1.00 (")


def test_eight_bits_of_each_input():
    counts = np.zeros(511, np.int64)
    counts[[255, 255 + 3]] = 1, 1
    found = eight_bits({"dark": {"motion": counts, "residual": counts}})
    assert found.values.tolist() == [["dark", "motion", 50, 0, 1], ["dark", "residual", 50, 0, 1]]


def test_differences_are_of_the_same_clips_and_leave_out_what_has_no_share():
    one, other = judgements([0.3, 0.4, 0.5], (0.5, np.nan, 0.3)), judgements([0.1, 0.2, 0.3])
    found = shares_apart(one, other, np.arange(3))
    assert found["pixels that carry a vector"].mean == pytest.approx(20)
    assert found["pixels that carry a vector"].units == 3 and found["moved pixels that are the actor's"].units == 2
    assert found["moved pixels that are the actor's"].mean == pytest.approx(-10)
    some = judgements([0] * 6).iloc[::2]  # rows 0, 2, 4 of a longer table
    mean, low, high = joints_apart(judgements([0] * 3, error=(3, 3.5, np.nan)), some, np.arange(3))
    assert low < mean < high and mean == pytest.approx(1.25)


def test_means_are_in_percent():
    row = means({"bright": judgements([0.1, 0.2, 0.3])}).iloc[0].tolist()
    assert row == ["bright", pytest.approx(20), pytest.approx(10), 50, 2, 100]


def test_files_stand_side_by_side(make_video):
    path = make_video("clip.avi", 15, codec="mpeg4", g="12", sc_threshold="1000000000")
    row = file_rows({"yours": (frames(), [path])}).iloc[0]
    assert row["residual / plain difference (energy)"] == 0.25 and row["I-frames' % of bytes"] == 60
    assert row["pixels not given back"] == 0 and row["moved since the frame before (%)"] == 25


def test_texture_is_followed_and_a_plain_surface_is_not():
    assert followed(True) > 0.75 > 0.5 > followed(False)


def test_twins_are_the_same_clip_in_two_lights(twins):
    pairs, groups = twins
    assert len(pairs) == 4 == len(groups) and groups.tolist() == [bright.group for bright, _ in pairs]
    assert all(bright.id.replace("bright", "") == dark.id.replace("dark_mpeg4", "") for bright, dark in pairs)


def test_frames_of_files_know_their_clip_and_group(twins):
    pairs, groups = twins
    found = frames_of([bright.path for bright, _ in pairs[:2]], groups[:2])
    assert set(found.pixels) == {128 * 160} and len(found) == 72
    assert found[found["clip"] == 1].bytes.tolist() == frame_table(pairs[1][0].path).bytes.tolist()
    assert groups_of(found).tolist() == groups[:2].tolist()


def test_files_are_taken_once_and_evenly(twins):
    records = [bright for bright, _ in twins[0]]
    assert list(some_files(records + records)) == [record.path for record in records]
    assert list(some_files(records, 2).items()) == [(record.path, record.group) for record in records[::2]]
    assert some_files([]) == {}


def test_vectors_are_judged_in_either_light(twins):
    pairs, _ = twins
    found, (bright, dark) = vectors(pairs[:1]), pairs[0]
    for light, record in (("bright", bright), ("dark", dark)):
        numbers, motion = previous_motion(record.path)
        of = truth(bright)
        wanted = on_actor(motion, of["masks"][numbers]) | joint_error(motion, numbers, of["joints"])
        row = found[light].iloc[0]
        assert {name: row[name] for name in wanted} == wanted == {k: judged(record.path, of)[k] for k in wanted}
    assert found["bright"].bytes[0] > found["dark"].bytes[0]
    assert apart_where_both_move(pairs[:1]).epe[0] > 0
    counts = counts_of(pairs[:1])
    assert counts["bright"]["motion"].sum() == counts["dark"]["motion"].sum() == 33 * 128 * 160 * 2


def test_marks_of_a_field_of_blocks(twins):
    pairs, _ = twins
    masks = truth(pairs[0][0])["masks"][1:]
    touched = [[m[y : y + 16, x : x + 16].any() for y in range(0, 128, 16) for x in range(0, 160, 16)] for m in masks]
    assert marks(pairs[:1]) == {"by chance": pytest.approx(100 * masks.mean()),
                                "by blocks": pytest.approx(100 * masks.mean() / np.mean(touched))}


def test_a_clip_recorded_again_is_dark_and_its_noise_costs_bytes(twins, tmp_path):
    bright = twins[0][0][0]
    noisy, again, quiet = (recorded_again(bright, tmp_path, noise) for noise in (True, True, False))
    assert noisy == again and noisy["moved"] != quiet["moved"]
    assert quiet["bytes"] < noisy["bytes"] < frame_table(bright.path).bytes.mean()
    assert {file.stem for file in tmp_path.iterdir()} == {"Jump-train-0000-noise", "Jump-train-0000-none"}


def test_what_it_shows_is_computed():
    counts = np.zeros(511, np.int64)
    counts[[255, 258]] = 1, 1
    flat = np.zeros(511, np.int64)
    flat[255] = 1
    both = {"bright": {"motion": flat, "residual": counts}, "dark": {"motion": counts, "residual": flat}}
    found = {"bright": judgements([0.1, 0.2, 0.1]), "dark": judgements([0.3, 0.41, 0.32], error=(2.5, 2.4, 2.6))}
    again = {"noise": judgements([0.3, 0.4, 0.3]), "none": judgements([0.1, 0.2, 0.1], error=(2.5, 2.4, 2.6))}
    lines = told({"bright": frames(), "dark": frames(kinds="IP").assign(bytes=5)}, both, found, again, np.arange(3),
                 range(3))
    said = "\n".join(lines)
    assert "3.3 times as large" in said and "25 % of the energy" in said
    assert "0.00 → 1.00 bits of motion and 1.00 → 0.00 bits of residual" in said
    assert "In the dark more pixels carry one (+21.0" in said and "joints by +0.50 px (" in said
    assert lines[4].startswith("**Of noise** come +20.0")
    assert lines[5].startswith("**Of few grey levels, or of the camera's blur,** come +0.0")
    fewer = told({"bright": frames(), "dark": frames()}, both, {"bright": found["dark"], "dark": found["bright"]},
                 again, np.arange(3), range(3))
    assert "fewer pixels carry one" in fewer[3]


def test_every_function_is_tested_here():
    assert public(codec_tables) <= globals().keys()
