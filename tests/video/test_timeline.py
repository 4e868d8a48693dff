"""Times decide where a segment lies: presentation times, counted from the first frame, without decoding."""

import numpy as np
import pytest

from kdlab.clips.cache import FrameCache
from kdlab.clips.records import Catalogue, ClipRecord
from kdlab.clips.views import Raw
from kdlab.clips.windows import ClipBatches, Window
from kdlab.datasets.check import check
from kdlab.video.container import timeline
from kdlab.video.decode import read_frames
from tests.conftest import remuxed

#: 40 frames: a second at 20 frames/s, then two seconds at 10 (in units of 1/20 s).
VARIABLE = [*range(20), *range(20, 60, 2)]


@pytest.mark.parametrize(
    "name, codec",
    [
        ("a.mp4", "libx264"),
        ("a.mkv", "libx264"),
        ("a.webm", "libvpx"),
        ("a.mov", "mpeg4"),
        ("a.avi", "mpeg4"),
        ("a.ts", "libx264"),
    ],
)
def test_times_decide_in_a_file_of_variable_rate(make_video, name, codec):
    path = make_video(name, codec=codec, rate=20, pts=VARIABLE)
    line = timeline(path)
    assert line.count == len(read_frames(path).frames) == 40
    assert np.abs(line.times - np.array(VARIABLE) / 20).max() < 2e-3
    assert line.stretch(None, None) == (0, 40)
    assert line.stretch(0.5, 1.5) == (10, 15)  # ten at 20 frames/s, five at 10
    assert line.stretch(1.0, 2.0) == (20, 10)
    assert line.stretch(2.04, 2.54) == (30, 5)  # the nearest
    assert line.stretch(2.5, None) == (35, 5)
    assert line.stretch(2.5, 99) == (35, 5)
    assert line.stretch(9, 10)[1] <= 0
    assert line.shown(np.array([0.0, 0.96, 1.0, 1.09, 1.1, 99])).tolist() == [0, 19, 20, 20, 21, 39]
    assert line.seconds == pytest.approx(3.0, abs=0.1)


@pytest.mark.parametrize(
    "name, codec, how",
    [
        ("a.mp4", "libx264", {"bf": "2"}),
        ("a.mkv", "libx264", {"bf": "2"}),
        ("a.avi", "mpeg4", {"bf": "2"}),
        ("a.avi", "mpeg4", {}),
        ("a.webm", "libvpx", {}),
        ("a.ts", "libx264", {}),
        ("a.mp4", "mpeg4", {"bf": "2"}),
    ],
)
@pytest.mark.parametrize("rate", [25, 30])
def test_the_rate_decides_where_it_is_constant(make_video, name, codec, how, rate):
    line = timeline(make_video(name, codec=codec, rate=rate, **how))
    assert line.times is None and line.count == 40
    for start, end in ((0.1, 0.5), (0.5, None), (None, 1.02), (1.3, 9.0), (0.58, 1.58)):
        # half a frame: the later one
        first, last = (int((moment or 0) * rate + 0.5001) for moment in (start, end))
        assert line.stretch(start, end) == (first, (40 if end is None else min(40, last)) - first)
    for start in np.arange(0, 0.34, 0.01):
        # a second has the frames of a second, wherever it begins
        assert line.stretch(start, start + 1)[1] == rate
    steps = np.arange(5) + 0.5
    assert np.array_equal(line.shown(steps, 7.5), np.minimum(steps * rate / 7.5, 39).astype(int))


def test_dropped_frames_of_a_capture_take_their_time(make_video):
    """AVI has no presentation times, but counts frames that are not there."""
    path = make_video(
        "gaps.avi", frames=32, codec="mpeg4", pts=[t for t in range(40) if t % 5 != 3]
    )
    assert timeline(path).count == 32
    # ten places, of which two are empty: frames 25 to 34
    assert timeline(path).stretch(1.0, 1.4) == (20, 8)


def test_an_edit_list_and_a_late_beginning(make_video, trimmed):
    cut = trimmed(make_video("long.mp4", g="10", bf="2", rate=20, pts=VARIABLE), 0.5)
    assert timeline(cut).count == len(read_frames(cut).frames) == 30
    assert timeline(cut).stretch(0.5, 1.5) == (10, 10)
    late = make_video("late.mkv", rate=20, pts=[t + 100 for t in VARIABLE])
    assert timeline(late).stretch(0.5, 1.5) == (10, 15)


def test_times_begin_at_the_first_frame_that_is_shown(make_video, tmp_path):
    """Cut at a key frame of an open group: the B-frames before it cannot be decoded."""
    source = make_video(
        "long.mkv",
        rate=20,
        pts=VARIABLE,
        g="10",
        **{"x264-params": "open-gop=1:bframes=3:b-adapt=0:scenecut=0"},
    )

    def from_the_second_key_frame(packets):
        return packets[[packet.is_keyframe for packet in packets].index(True, 1) :]

    cut = remuxed(source, tmp_path / "cut.mkv", from_the_second_key_frame)
    frames = read_frames(cut).frames
    assert timeline(cut).count == len(frames) == 30
    assert np.array_equal(frames, read_frames(source).frames[10:])
    assert np.abs(timeline(cut).times - np.array(VARIABLE[10:]) / 20 + 0.5).max() < 2e-3


def test_packed_pictures_are_counted_by_decoding(real_clips):
    path = real_clips / "formats" / "mpeg4_packed_bframes.avi"
    if not path.is_file():
        pytest.skip("the real clips have no such file")
    line = timeline(path)
    assert (line.count, line.times, line.keys) == (34, None, ())


def test_a_segment_of_variable_rate_shows_its_own_frames(make_video, tmp_path):
    """The rate's mean says frame 20 for 1.5 s; there lies frame 25."""
    video = np.repeat(np.arange(0, 240, 6, dtype=np.uint8), 32 * 32 * 3).reshape(40, 32, 32, 3)
    for name in ("a.mp4", "a.mkv"):
        path = make_video(name, pixels=video, rate=20, pts=VARIABLE)
        record, *_, late = records = [
            ClipRecord("a", path, 0, "train", "g", *times)
            for times in ((1.5, 2.5), (2.5, None), (None, 0.5), (9.0, 10.0))
        ]
        clips = ClipBatches(
            records[:3], {"student": Raw()}, Window(5, 32, 32), FrameCache(tmp_path / "cache")
        )
        assert [clips.stretch(record) for record in clips.records] == [(25, 10), (35, 5), (0, 10)]
        levels = 255 * next(clips.evaluation()).views["student"].mean((1, 3, 4))
        seen = [range(26, 36, 2), range(35, 40), range(1, 11, 2)]
        assert np.abs(levels.numpy() - 6 * np.array(seen)).max() < 4
        with pytest.raises(ValueError, match="a of .* has"):
            clips.length(late)
        report = check(Catalogue("a", tmp_path, (), (record,)), min_frames=11)
        assert any("a: 10 frames" in finding.where for finding in report.findings)
