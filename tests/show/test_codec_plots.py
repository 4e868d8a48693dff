"""Numbers of notebook 06 in closed form, on real files where a codec is needed; its pictures carry their words."""

import numpy as np
import pytest
from matplotlib.colors import rgb_to_hsv
from scipy import stats

from kdlab.clips.compressed import modalities, scan
from kdlab.clips.coviar import quantise_motion
from kdlab.measure.darkness import luma
from kdlab.show import codec_plots
from kdlab.show.codec_plots import (
    along_gop,
    band,
    between,
    equation,
    fields,
    flow_colours,
    frame_table,
    histograms,
    input_counts,
    joint_error,
    on_actor,
    previous_motion,
    quantised,
    timeline,
)
from tests.conftest import public
from tests.figures import legible

pytestmark = pytest.mark.usefixtures("styled")

MPEG4 = {"codec": "mpeg4", "qmin": "2", "qmax": "2", "sc_threshold": "1000000000", "g": "12", "rate": 10}


@pytest.fixture
def clip(make_video):
    """14 frames, two groups: a textured square of 64x64 moves 8 pixels to the right in each frame, on even ground."""
    video = np.full((14, 96, 192, 3), 90, np.uint8)
    texture = np.kron(np.random.default_rng(0).integers(0, 256, (16, 16), np.uint8), np.ones((4, 4), np.uint8))
    for t, frame in enumerate(video):
        frame[16:80, 8 * t: 8 * t + 64] = texture[..., None]
    return make_video("square.avi", pixels=video, **MPEG4)


# --- numbers --------------------------------------------------------------------------------------------------------

def test_the_table_has_a_row_a_frame_and_agrees_with_the_definitions(clip):
    rows, stream = frame_table(clip), scan(clip)
    assert rows.number.tolist() == list(range(14)) and rows.position.tolist() == [*range(12), 0, 1]
    assert "".join(rows.kind) == stream.kinds and rows.bytes.tolist() == stream.sizes.tolist()
    for row, its in zip(rows.itertuples(), modalities(clip), strict=True):
        difference = its.picture.astype(float) - its.reference
        assert row.difference == pytest.approx((difference**2).mean())
        assert row.residual == pytest.approx((its.residual.astype(float) ** 2).mean())
        assert row.moved == (its.motion != 0).any(-1).mean()
        assert row.cut_motion == (abs(its.motion) > 20).any(-1).mean()
        assert row.cut_residual == ((its.residual < -128) | (its.residual > 127)).mean()
    assert rows.own[1] == rows.residual[1] and rows.own[5] < rows.residual[5]  # one step is the whole way once only
    assert rows.cut_motion[2] < 0.1 < rows.cut_motion[3]  # after three steps of 8 pixels
    assert not rows.loc[[0, 12], ["difference", "residual", "own", "moved", "own_moved"]].to_numpy().any()


def test_the_vectors_of_p_frames_alone_tell_a_known_motion(clip):
    numbers, motion = previous_motion(clip)
    assert numbers.tolist() == [*range(1, 12), 13] and motion.shape == (12, 96, 192, 2)
    inside = [its[32:64, 8 * t + 16: 8 * t + 48] for t, its in zip(numbers, motion, strict=True)]
    assert np.mean(np.all(np.array(inside) == (8, 0), axis=-1)) > 0.9


def test_the_band_is_a_mean_over_units_with_its_interval():
    values = np.array([[1.0, 0.0], [1.0, 4.0], [4.0, 1.0], [2.0, 3.0], [0.0, 2.0], [4.0, 2.0]])
    mean, low, high = band(values, np.array(list("aabbcc")))
    theirs = stats.ttest_1samp([1, 3, 2], 0).confidence_interval()  # of the groups' means
    assert mean == pytest.approx([2, 2]) and (low[0], high[0]) == pytest.approx(tuple(theirs))
    assert (low[1], high[1]) == pytest.approx((2, 2))  # each group has the mean 2


def test_shares_on_the_actor_are_counted():
    motion, masks = np.zeros((1, 2, 4, 2), np.int16), np.zeros((1, 2, 4), bool)
    masks[0, :, :2] = True  # four of eight pixels
    motion[0, 0, :3, 0] = -1  # three moved, two of them the actor's
    motion[0, 1, 3, 1] = 2
    assert on_actor(motion, masks) == {"moved": 0.5, "actor": 0.5, "background": 0.5, "on_actor": 0.5}
    motion[0, 1, 3] = motion[0, 0, 2] = 0
    assert on_actor(motion, masks) == {"moved": 0.25, "actor": 0.5, "background": 0, "on_actor": 1}


@pytest.mark.parametrize(("one", "other", "epe", "angle"), [
    ((3, 4), (3, 4), 0, 0), ((0, 0), (3, 4), 5, np.nan), ((1, 0), (0, -2), np.sqrt(5), 90), ((-1, 1), (-1, -1), 2, 90),
    ((2, 0), (-1, 0), 3, 180),
])
def test_end_point_error_and_angle(one, other, epe, angle):
    a, b = (np.broadcast_to(np.array(v, np.int16), (2, 3, 5, 2)) for v in (one, other))
    found = between(a, b)
    assert found["epe"] == pytest.approx(epe) and found["angle"] == pytest.approx(angle, nan_ok=True)


def test_still_pixels_count_in_the_error_and_not_in_the_angle():
    a, b = np.zeros((1, 1, 4, 2), np.int16), np.zeros((1, 1, 4, 2), np.int16)
    a[0, 0, 0], b[0, 0, 0], b[0, 0, 1] = (0, 3), (4, 0), (0, 1)
    assert between(a, b) == {"epe": pytest.approx((5 + 1) / 4), "angle": pytest.approx(90)}


def test_joints_judge_the_vector_where_they_stand():
    motion = np.zeros((1, 8, 10, 2), np.int16)
    motion[0, 5, 6] = (3, 0)
    joints = np.zeros((3, 4, 2), np.float32)
    joints[1], joints[2] = [[3, 5], [3, 1], [5, 5], [8, 7]], [[6, 5], [3, 5], [5.5, 5], [12, 7]]
    # found at once; missed by four pixels; half a pixel does not count; outside does not
    assert joint_error(motion, np.array([2]), joints) == {"error": 2.0, "still": 3.5, "joints": 2}
    none = joint_error(motion, np.array([2]), joints[:, 2:3])
    assert none["joints"] == 0 and np.isnan(none["error"])


def test_inputs_are_counted_in_p_frames(clip):
    counts = input_counts([clip, clip])
    p = [its for its in modalities(clip) if its.kind == "P"]
    for what, values in (("motion", [its.motion for its in p]), ("residual", [its.residual for its in p])):
        assert counts[what].sum() == 2 * np.size(values)
        assert counts[what][255 + 8] == 2 * np.count_nonzero(np.array(values) == 8)
    assert counts["motion"][255 + 8] > 0


def test_what_eight_bits_hold():
    counts = np.zeros(511, np.int64)
    counts[[255 - 30, 255 - 25, 255, 255 + 3]] = 1, 1, 1, 1
    found = quantised(counts, "motion")  # three stored values: 0 twice, 128, 147
    assert found == {"zero": 25, "cut": 50, "entropy": pytest.approx(1.5)}
    assert quantised(counts, "residual") == {"zero": 25, "cut": 0, "entropy": pytest.approx(2)}
    assert set(quantise_motion(np.array([-30, -25]))) == {0}
    for what, its in (("motion", (-21, -20, 20, 21)), ("residual", (-129, -128, 127, 128))):
        edges = np.zeros(511, np.int64)
        edges[255 + np.array(its)] = 1
        assert quantised(edges, what)["cut"] == 50


# --- pictures -------------------------------------------------------------------------------------------------------

def test_flow_colours_are_told_apart_without_red_and_green_and_vertically_in_grey():
    right, left, up, down, rest = flow_colours(np.array([[[8, 0], [-8, 0], [0, -8], [0, 8], [0, 0]]]), 8)[0]
    assert np.allclose(rest, 0.5) and np.allclose((right + left) / 2, rest) and np.allclose((up + down) / 2, rest)
    grey = luma(np.array([right, left, up, down])[None])[0]
    assert abs(grey[0] - grey[1]) < 0.01 < 0.5 < grey[2] - grey[3]
    assert right[0] > right[2] and left[2] > left[0] and np.ptp(up) == np.ptp(down) == 0
    far, full, half = flow_colours(np.array([[[80, 0], [8, 0], [4, 0]]]), 8)[0]
    assert np.allclose(far, full) and rgb_to_hsv(half)[1] < rgb_to_hsv(full)[1]


def test_the_time_line_shows_each_frames_bytes(clip):
    fig = timeline({"one": scan(clip), "two": scan(clip)})
    heights = sorted(patch.get_height() for patch in fig.axes[0].patches)
    assert heights == sorted(scan(clip).sizes.tolist())
    assert max(patch.get_x() for patch in fig.axes[0].patches) == pytest.approx(1.3, abs=0.05)  # 13 frames at 10 fps
    expected = {"one: 2 I-frames, 12 P-frames", "bytes", "time (s)", "I-frames", "P-frames"}
    assert expected <= set(legible(fig).split("\n"))


def test_the_time_line_goes_by_the_frames_times(make_video):
    slow = make_video("slow.avi", frames=4, codec="mpeg4", rate=10, pts=[0, 1, 2, 12])
    bars = timeline({"slow": scan(slow)}).axes[0].patches
    assert max(bar.get_x() + bar.get_width() / 2 for bar in bars) == pytest.approx(1.2)


def test_arrows_start_where_blocks_came_from(clip):
    (its,) = modalities(clip, [3], accumulated=False)
    fig = fields({"square": (its.picture, its)}, longer=3)
    (arrows,) = (found for found in fig.axes[0].collections if type(found).__name__ == "Quiver")
    moved = np.flatnonzero((its.blocks["motion_x"] == -16) & (its.blocks["motion_y"] == 0))  # half pixels, back
    assert len(moved) and np.allclose(arrows.U[moved], 24) and np.allclose(arrows.V[moved], 0)
    assert np.allclose(arrows.X[moved] + 24, its.blocks["dst_x"][moved])
    assert "square: vectors, 3 times as long" in legible(fig) and "edge: 8 px" in legible(fig)


def test_the_equation_adds_up(clip):
    for accumulated, since in ((True, 0), (False, 4)):
        (its,) = modalities(clip, [5], accumulated)
        fig = equation(its, accumulated, gain=1)
        reference, motion, moved, residual, picture = (np.asarray(ax.images[0].get_array()) for ax in fig.axes[:5])
        small = abs(its.residual) < 128
        again = moved.astype(int) + residual - 128
        assert np.array_equal(again[small], picture[small]) and np.array_equal(reference, its.reference)
        assert motion.shape == picture.shape
        said = legible(fig)
        assert all(part in said for part in (f"frame {since}, moved", "+ residual", "= frame 5 (P)", "edge: 20 px"))
        assert f"plain difference {((picture.astype(float) - reference) ** 2).mean():.1f}" in said


def test_the_first_frame_of_a_group_is_its_own_reference(clip):
    (its,) = modalities(clip, [12], accumulated=False)
    assert "frame 12, moved" in legible(equation(its, accumulated=False))


def test_curves_have_their_bands():
    curve = np.array([[0, 2.0], [0, 1.0], [0, 4.0]])
    fig = along_gop({"bright": {"residual": curve, "plain": 2 * curve}, "dark": {"residual": curve}}, "grey levels")
    assert fig.axes[0].lines[1].get_ydata().tolist() == [0, 4]
    edges = fig.axes[0].collections[0].get_paths()[0].vertices
    assert edges[edges[:, 0] == 1, 1].min() == 1 and edges[edges[:, 0] == 1, 1].max() == 4
    assert {"bright", "residual", "plain", "grey levels"} <= set(legible(fig).split("\n"))


def test_histograms_are_in_percent_and_shade_what_is_cut():
    counts = np.zeros(511, np.int64)
    counts[255], counts[256] = 3, 1
    fig = histograms({"bright": {"motion": counts, "residual": counts}})
    motion, residual = fig.axes
    x, y = motion.lines[0].get_data()
    assert y[x == 0] == 75 and y[x == 1] == 25
    shaded = [sorted(patch.get_x() + np.array([0, patch.get_width()])) for patch in residual.patches]
    assert shaded == [[-255, -128.5], [127.5, 255]]
    assert {"motion", "residual", "values (%)", "pixels; shaded: cut", "bright"} <= set(legible(fig).split("\n"))


def test_every_function_is_tested_here():
    assert public(codec_plots) <= globals().keys()
