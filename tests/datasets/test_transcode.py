"""Making clips over into CoViAR's format: whole files or none, resumable, one report for all."""

import os
import signal
import subprocess
import sys
import time
from functools import partial

import numpy as np
import pytest

from kdlab.datasets.released import open_data
from kdlab.datasets.transcode import CoviarFormat, _is_ours, transcode
from kdlab.system.files import NotOurs
from kdlab.video.compressed import modalities, scan
from kdlab.video.container import probe, timeline
from kdlab.video.decode import read_frames
from tests.conftest import cut, moving

made_small = partial(transcode, form=CoviarFormat(96, 80), workers=1)


def sources(make_video):
    """B-frames, a key frame in the middle, an odd size, another rate; and what cannot be read."""
    make_video("in/a/h264.mp4", pixels=moving(30), bf="3", g="7")
    make_video("in/a/part2.avi", pixels=moving(26), codec="mpeg4", bf="2")
    make_video("in/b/odd.mkv", pixels=moving(13, 120, 90), codec="mpeg4", rate=30)
    root = make_video("in/b/cut.mp4", pixels=moving(20)).parents[1]
    cut(root / "b" / "cut.mp4")
    (root / "b" / "text.mp4").write_text("no video")
    (root / "notes.txt").write_text("no video either")
    return root


def test_a_table_of_the_clips_comes_along_and_one_that_is_there_stays(make_video, tmp_path, capsys):
    root, out = sources(make_video), tmp_path / "out"
    (root / "index.csv").write_text(
        'path,Label,group\na/h264.mp4,walk,g1\nb/odd.mkv,"run, fast",\nb/cut.mp4,run,g2\n'
    )
    made_small(root, out)
    assert (
        out / "index.csv"
    ).read_text() == 'path,label,group\na/h264.avi,walk,g1\nb/odd.avi,"run, fast",\n'
    assert [record.group for record in open_data(out).records] == ["g1", "b/odd"]
    (out / "index.csv").write_text("mine")
    made_small(root, out)
    assert (out / "index.csv").read_text() == "mine" and "move it away" in capsys.readouterr().out


@pytest.mark.parametrize(
    "name, codec, rate, jitter",
    [
        ("phone.mp4", "libx264", 20, 0),
        ("phone.mkv", "libx264", 20, 0),
        ("gaps.avi", "mpeg4", 20, 0),
        ("jitter.mp4", "libx264", 90000, 200),
    ],
)
def test_start_and_end_of_a_table_mean_the_same_frames_where_the_rate_is_variable(
    make_video, tmp_path, name, codec, rate, jitter
):
    times = np.array([*range(20), *range(20, 60, 2)])  # a second at 20 a second, then two at 10
    late = np.random.default_rng(0).integers(0, 2 * jitter + 1, 40)
    pts = (rate // 20 * times + late).tolist()
    make_video(f"in/{name}", pixels=moving(40), codec=codec, rate=rate, pts=pts)
    (tmp_path / "in" / "index.csv").write_text(
        f"path,label,start,end\n{name},a,0,1.3\n{name},b,1.5,2.5\n"
    )
    [made] = made_small(tmp_path / "in", tmp_path / "out")
    assert made.frames == 40 and "avi,a,0,1.3" in (tmp_path / "out" / "index.csv").read_text()
    lines = [timeline(path) for path in (made.source, made.target)]
    for start, end in ((0, 1.3), (1.5, 2.5)):
        assert (
            lines[0].stretch(start, end)
            == lines[1].stretch(start, end)
            != (round(start * 40 / 3), 13)
        )
    assert np.abs(lines[0].times - lines[1].times).max() <= 0.001
    assert [frame.number for frame in modalities(made.target, [5, 27, 39])] == [5, 27, 39]
    assert made_small(tmp_path / "in", tmp_path / "out")[0].kept


def test_a_long_pause_loses_no_frame(make_video, tmp_path):
    """FFmpeg writes at most 60,000 empty places in a row; MPEG-4 counts the seconds of a pause digit by digit."""
    source = make_video(
        "watch.mp4", frames=20, rate=1000, pts=[33 * t + 250_000 * (t > 9) for t in range(20)]
    )
    [made] = made_small(source, tmp_path / "out")
    assert (made.frames, made.reason) == (20, "")
    assert np.abs(timeline(made.target).times - timeline(source).times).max() < 0.005


def test_a_source_that_changed_in_its_middle_is_made_over_again(make_video, tmp_path):
    source = make_video("x.avi", pixels=moving(12), codec="rawvideo")
    content = bytearray(source.read_bytes())
    times = os.stat(source)
    assert len(content) > 3 * 2**16
    made_small(source, tmp_path / "out")
    content[len(content) // 2] ^= 255
    source.write_bytes(content)
    os.utime(source, ns=(times.st_atime_ns, times.st_mtime_ns))
    [its] = made_small(source, tmp_path / "out")
    assert not its.kept
    assert made_small(source, tmp_path / "out")[0].kept


def test_a_folder_is_made_over_and_the_report_names_what_cannot_be(make_video, tmp_path):
    report = made_small(sources(make_video), tmp_path / "out")
    by_name = {its.target.relative_to(tmp_path / "out").as_posix(): its for its in report}
    assert {name: its.frames for name, its in by_name.items()} == {
        "a/h264.avi": 30,
        "a/part2.avi": 26,
        "b/odd.avi": 13,
        "b/cut.avi": 0,
        "b/text.avi": 0,
    }
    assert by_name["b/cut.avi"].reason.startswith("truncated")
    assert "misnamed" in by_name["b/text.avi"].reason
    made = [its for its in report if not its.reason]
    assert sorted(p for p in (tmp_path / "out").rglob("*") if p.is_file()) == sorted(
        its.target for its in made
    )
    for its in made:
        stream = scan(its.target)
        assert stream.kinds == (("I" + 11 * "P") * 3)[: its.frames]
        assert (stream.info.width, stream.info.height, stream.info.codec) == (96, 80, "mpeg4")
        assert stream.info.fps == pytest.approx(probe(its.source).fps)
        assert its.bytes == its.target.stat().st_size and not its.kept
        assert sum(1 for _ in modalities(its.target)) == its.frames


def test_size_gop_and_quantiser_are_obeyed_also_through_scene_cuts(make_video, tmp_path):
    pixels = moving(30)
    pixels[13:] = 255 - pixels[13:][:, :, ::-1]  # a cut in mid-group makes no I-frame
    source = make_video("x.mp4", pixels=pixels)
    sizes = []
    for quantiser in (1, 2, 8):
        [its] = transcode(
            source, tmp_path / str(quantiser), CoviarFormat(64, 48, 10, quantiser), workers=1
        )
        assert scan(its.target).kinds == ("I" + 9 * "P") * 3
        sizes.append(its.bytes)
    assert sizes[0] > 1.2 * sizes[1] > 2 * sizes[2]
    for wrong in ({"gop": 1}, {"quantiser": 0}, {"quantiser": 32}, {"width": 8}):
        with pytest.raises(ValueError, match=f"{next(iter(wrong))}=.*whole number"):
            CoviarFormat(**wrong)


def test_a_clip_that_a_phone_marked_as_turned_is_made_upright(make_video, turned, tmp_path):
    pixels = np.zeros((4, 64, 96, 3), np.uint8)
    pixels[:, :32] = 255
    source = turned(make_video("phone.mp4", pixels=pixels))
    [its] = transcode(source, tmp_path / "out", CoviarFormat(64, 96), workers=1)
    made = read_frames(its.target).frames
    upright = read_frames(source).frames
    assert made.shape == upright.shape == (4, 96, 64, 3)
    assert np.abs(made.astype(int) - upright).mean() < 4


def test_a_second_call_keeps_what_is_whole_and_makes_the_rest(make_video, tmp_path):
    root, out = sources(make_video), tmp_path / "out"
    first = {its.target.name: its for its in made_small(root, out)}
    stamps = {path: path.stat().st_mtime_ns for path in out.rglob("*.avi")}
    (out / "a" / "h264.avi").unlink()
    cut(out / "a" / "part2.avi", 0.9)  # as a full disk or an interrupted copy leaves it
    second = {its.target.name: its for its in made_small(root, out)}
    assert {name: its.kept for name, its in second.items() if not its.reason} == {
        "h264.avi": False,
        "part2.avi": False,
        "odd.avi": True,
    }
    assert [its.frames for its in second.values()] == [its.frames for its in first.values()]
    assert (out / "b" / "odd.avi").stat().st_mtime_ns == stamps[out / "b" / "odd.avi"]
    other = transcode(root, out, CoviarFormat(96, 80, gop=6), workers=1)
    assert not any(its.kept for its in other)
    assert scan(out / "a" / "h264.avi").kinds == ("I" + 5 * "P") * 5


def test_two_that_would_get_one_name_and_no_video(make_video, tmp_path):
    source = make_video("in/x.mp4", frames=4)
    make_video("in/x.mkv", frames=4)
    with pytest.raises(ValueError, match="x.avi would be made of .*rename one"):
        transcode(source.parent, tmp_path / "out")
    avi = make_video("lone/x.avi", frames=4, codec="mpeg4")
    for out in (avi.parent, source):  # its own folder, and a file
        with pytest.raises(ValueError, match="choose another folder"):
            transcode(avi, out)
    assert len(read_frames(avi).frames) == 4
    with pytest.raises(FileNotFoundError, match="no video there"):
        transcode(tmp_path / "nowhere", tmp_path / "out")


def test_killed_in_mid_file(make_video, tmp_path):
    source, out = make_video("long.mp4", pixels=moving(30).repeat(6, 0)), tmp_path / "out"
    code = (
        "import sys; from pathlib import Path; from kdlab.datasets import transcode as t\n"
        "t._make(Path(sys.argv[1]), Path(sys.argv[2]) / 'long.avi', t.CoviarFormat(1280, 960))"
    )
    child = subprocess.Popen([sys.executable, "-c", code, str(source), str(out)])
    deadline = time.monotonic() + 60
    while not any(path.stat().st_size > 10_000 for path in out.glob(".*.tmp")):
        assert child.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    assert not list(out.glob("*.avi")) and list(out.glob(".*.tmp"))
    [its] = made_small(source, out)
    assert (its.frames, its.kept) == (180, False)


def test_somebodys_video_is_not_replaced(make_video, tmp_path):
    make_video("in/a.mp4", frames=6)
    make_video("in/b.mp4", frames=6)
    [first, _] = made_small(tmp_path / "in", tmp_path / "out")
    assert _is_ours(first.target)
    mine = make_video("out/b.avi", frames=4, codec="mpeg4")
    before = mine.read_bytes()
    cut(first.target, 0.9)
    rest = first.target.read_bytes()
    with pytest.raises(
        NotOurs, match="b.avi is there already and was not made by `kdlab data transcode`"
    ):
        made_small(tmp_path / "in", tmp_path / "out")
    # asked before the first file is made
    assert mine.read_bytes() == before and first.target.read_bytes() == rest
    mine.unlink()
    mine.symlink_to(first.target)
    with pytest.raises(NotOurs, match="b.avi is there already"):
        made_small(tmp_path / "in", tmp_path / "out")
