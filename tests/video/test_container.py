"""What reaches FFmpeg, which stream of a file is its clip, and what FFmpeg's log says of damage."""

import os

import numpy as np
import pytest

from kdlab.clips.cache import file_key
from kdlab.datasets.check import inspect
from kdlab.video.container import DamagedClip, probe
from kdlab.video.decode import read_frames
from tests.conftest import cut, decoded, encode, overwrite, pattern


@pytest.mark.parametrize("suffix", ["mp4", "m3u8"])
@pytest.mark.parametrize(
    "script",
    [
        "ffconcat version 1.0\nfile {name}\n",
        "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n{name}\n#EXT-X-ENDLIST\n",
        "<?xml version='1.0'?>\n<MPD xmlns='urn:mpeg:dash:schema:mpd:2011' profiles='a'><Period><BaseURL>{name}</BaseURL>"
        "</Period></MPD>\n",
        "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=a\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n",
    ],
)
def test_files_that_name_other_files_are_refused(make_video, tmp_path, script, suffix):
    make_video("a.ts", frames=5)
    path = tmp_path / f"x.{suffix}"
    path.write_text(script.format(name="a.ts"))
    with pytest.raises(DamagedClip, match="lists of other files are not read"):
        read_frames(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes in folders on this system")
@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_what_is_no_regular_file_is_refused_at_once(tmp_path, kind):
    path = tmp_path / "odd.mp4"
    os.mkfifo(path) if kind == "pipe" else path.symlink_to("/dev/zero")
    for read in (read_frames, probe, file_key):
        with pytest.raises(DamagedClip, match=f"odd.mp4: no video: this is a .*{kind}"):
            read(path)


ONE = 1 << 16
TURNS = {  # the display matrix's a, b, c, d, and what it makes of (H, W, C)
    "nothing": ((ONE, 0, 0, ONE), lambda p: p),
    "zero": ((0, 0, 0, 0), lambda p: p),
    "mirrored": ((-ONE, 0, 0, ONE), lambda p: p[:, ::-1]),
    "upside down": ((ONE, 0, 0, -ONE), lambda p: p[::-1]),
    "half": ((-ONE, 0, 0, -ONE), lambda p: p[::-1, ::-1]),
    "clockwise": ((0, ONE, -ONE, 0), lambda p: np.rot90(p, -1)),
    "anticlockwise": ((0, -ONE, ONE, 0), np.rot90),
    "transposed": ((0, ONE, ONE, 0), lambda p: p.swapaxes(0, 1)),
    "across": ((0, -ONE, -ONE, 0), lambda p: p[::-1, ::-1].swapaxes(0, 1)),
    "scaled": ((0, 2 * ONE, -2 * ONE, 0), lambda p: np.rot90(p, -1)),
}


@pytest.mark.parametrize("turn", TURNS)
def test_display_matrices_are_applied_as_ffmpegs_tools_do(make_video, turned, turn):
    """What is expected here was compared with the pixels that the ffmpeg command gives for the same files."""
    matrix, expected = TURNS[turn]
    path = turned(make_video("a.mp4", frames=3), matrix)
    upright = np.stack([expected(picture) for picture in decoded(path)])
    assert np.array_equal(read_frames(path).frames, upright)
    assert np.array_equal(read_frames(path, [2]).frames, upright[[2]])


def stored(path, codec, **how):
    noise = np.random.default_rng(0).integers(0, 40, (40, 96, 128, 3))
    noisy = np.clip(pattern(40, 128, 96) + noise, 0, 255).astype(np.uint8)
    return encode(path, noisy, codec, g="10", **how)


FAST = {"deadline": "realtime", "cpu-used": "8"}
LIVE = {"container": {"live": "1"}}
UNANNOUNCED = [
    ("frag.mp4", "libx264", {"container": {"movflags": "frag_keyframe+empty_moov"}}),
    # the header counts the first fragment
    ("first.mp4", "libx264", {"container": {"movflags": "frag_keyframe"}}),
    ("live.mkv", "libx264", LIVE),
    ("live.webm", "libvpx-vp9", LIVE | FAST),
    ("live8.webm", "libvpx", LIVE | FAST),
    ("mpeg4.mkv", "mpeg4", LIVE),
    ("mjpeg.mkv", "mjpeg", LIVE | {"pix_fmt": "yuvj420p"}),
    ("hevc.ts", "libx265", {"x265-params": "log-level=0"}),
    ("a.ts", "libx264", {}),
    ("a.gif", "gif", {"pix_fmt": "rgb8"}),
    ("a.h264", "libx264", {}),
]


@pytest.mark.parametrize("name, codec, how", UNANNOUNCED)
def test_files_of_unannounced_length(tmp_path, name, codec, how):
    path = stored(tmp_path / name, codec, **how)
    its = inspect(path)
    assert (its.reason, its.decoded, its.announced) == ("", 40, False)
    if name != "hevc.ts":  # where a cut leaves no trace
        cut(path, 0.7)
        assert inspect(path).reason.startswith(("damaged: ", "truncated: "))


def test_frames_that_other_decoders_had_to_fill_in_are_damage(tmp_path):
    """Of these FFmpeg's log alone tells: the frames carry no mark."""
    path = stored(tmp_path / "a.mkv", "mjpeg", pix_fmt="yuvj420p")
    overwrite(path, bytes(range(100, 120)), 0.3)
    assert inspect(path).reason.startswith("damaged: FFmpeg says ")


@pytest.mark.parametrize("how", ["frag_keyframe", "frag_keyframe+empty_moov", "cmaf+frag_keyframe"])
def test_a_film_cut_between_its_fragments_is_of_unknown_length(tmp_path, how):
    path = stored(tmp_path / "a.mp4", "libx264", container={"movflags": how})
    data = path.read_bytes()
    second = data.index(b"moof", data.index(b"moof") + 4) - 4
    path.write_bytes(data[:second])
    its = inspect(path)
    assert its.reason == "" and 0 < its.decoded < 40 and not its.announced


@pytest.mark.parametrize(
    "name, codec, reason",
    [
        ("a.mp4", "libx264", "joined: another film follows"),
        ("a.flv", "flv1", "joined: another film follows"),
        ("a.wmv", "wmv2", "joined: another film follows"),
        ("a.avi", "mpeg4", ""),
        ("a.mkv", "libx264", ""),
        ("mpeg2.ts", "mpeg2video", "damaged: 1 of its 80 packets incomplete, and others"),
    ],
)
def test_two_films_in_one_file_are_read_as_both_or_refused_as_joined(
    make_video, name, codec, reason
):
    first = make_video(name, codec=codec)
    frames = len(read_frames(first).frames)
    first.write_bytes(2 * first.read_bytes())
    its = inspect(first)
    assert its.reason.startswith(reason)
    assert reason or (its.reason, its.decoded) == ("", 2 * frames)
