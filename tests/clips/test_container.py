"""What reaches FFmpeg, which stream of a file is its clip, and what FFmpeg's log says of damage."""

import os
import socket
import struct
import threading

import av
import cv2
import numpy as np
import pytest
from av.stream import Disposition

from kdlab.clips.cache import file_key
from kdlab.clips.check import check, inspect
from kdlab.clips.container import DamagedClip, Walk, opened, probe
from kdlab.clips.decode import read_frames, upright
from tests.conftest import encode, pattern


def test_a_colon_in_a_relative_name_is_no_protocol(make_video, tmp_path, monkeypatch):
    make_video("a:b.mp4", frames=5)
    (tmp_path / "concat:a").mkdir()
    make_video("concat:a/b.mp4", frames=6)
    monkeypatch.chdir(tmp_path)
    assert len(read_frames("a:b.mp4").frames) == 5
    assert len(read_frames("concat:a/b.mp4").frames) == 6


@pytest.mark.parametrize("name", ["http://127.0.0.1:{port}/a.mp4", "tcp://127.0.0.1:{port}", "concat:{a}|{a}",
                                  "subfile,,start,0,end,0,,:{a}", "data:video/mp4;base64,AAAA", "pipe:0", "cache:{a}"])
def test_no_protocol_reaches_ffmpeg(make_video, name):
    """The port is listened at: nobody comes."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0)
        name = name.format(port=server.getsockname()[1], a=make_video("a.mp4", frames=3))
        for read in (read_frames, probe):
            with pytest.raises(FileNotFoundError, match="no such file"):
                read(name)
        with pytest.raises(BlockingIOError):
            server.accept()


@pytest.mark.parametrize("suffix", ["mp4", "ffconcat", "m3u8", "mpd", "sdp"])
@pytest.mark.parametrize("script", [
    "ffconcat version 1.0\nfile {name}\n",
    "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n{name}\n#EXT-X-ENDLIST\n",
    "<?xml version='1.0'?>\n<MPD xmlns='urn:mpeg:dash:schema:mpd:2011' profiles='a'><Period><BaseURL>{name}</BaseURL>"
    "</Period></MPD>\n",
    "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=a\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n"])
def test_files_that_name_other_files_are_refused(make_video, tmp_path, script, suffix):
    make_video("a.ts", frames=5)
    path = tmp_path / f"x.{suffix}"
    path.write_text(script.format(name="a.ts"))
    with pytest.raises(DamagedClip, match="a list of other files, which are not read"):
        read_frames(path)


def test_a_pattern_of_names_leads_to_no_other_file(make_video, tmp_path):
    for name in ("f%03d.png", "f001.png"):
        cv2.imwrite(str(tmp_path / name), np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(DamagedClip, match="misnamed"):
        read_frames(tmp_path / "f%03d.png")
    assert len(read_frames(make_video("f%03d.mp4", frames=5)).frames) == 5


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes in folders on this system")
@pytest.mark.parametrize("linked", [False, True])
@pytest.mark.parametrize("kind", ["pipe", "socket", "device"])
def test_what_is_no_regular_file_is_refused_at_once(tmp_path, kind, linked, monkeypatch):
    monkeypatch.chdir(tmp_path)  # a socket's name is short
    path = tmp_path / "odd.mp4"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as its:
            its.bind("odd.mp4")
    else:
        path.symlink_to("/dev/zero")
    if linked:
        path.rename(tmp_path / "there")
        path.symlink_to("there")
    answers = []

    def ask():
        for read in (read_frames, probe, file_key):
            with pytest.raises(DamagedClip, match=f"odd.mp4: no video: this is a (named )?{kind}"):
                read(path)
            answers.append(read)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(10)
    assert len(answers) == 3


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
def test_display_matrices_are_applied_as_ffmpegs_tools_do(tmp_path, turn):
    """What is expected here was compared with the pixels that the ffmpeg command gives for the same files."""
    (a, b, c, d), expected = TURNS[turn]
    path, frames = tmp_path / "a.mp4", pattern(3, 64, 48)
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.set_display_matrix([a, b, 0, c, d, 0, 0, 0, 1 << 30])
        for pixels in frames:
            out.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, "rgb24")))
        out.mux(stream.encode())
    with av.open(str(path)) as file:
        stored = [frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)]
    assert np.array_equal(read_frames(path).frames, np.stack([expected(picture) for picture in stored]))
    assert np.array_equal(read_frames(path, [2]).frames[0], expected(stored[2]))


def test_other_angles_turn_on_the_spot():
    picture = np.zeros((41, 61, 3), np.uint8)
    picture[18:23, 20:22] = 255  # left of the centre; an eighth of a turn clockwise brings it above
    turned = upright(picture, struct.pack("=9i", 46341, 46341, 0, -46341, 46341, 0, 0, 0, 1 << 30))
    y, x = (turned[..., 0] > 60).nonzero()
    assert turned.shape == picture.shape
    assert (y.mean(), x.mean()) == pytest.approx((20 - 9.5 * 0.707, 30 - 9.5 * 0.707), abs=0.7)


def with_cover(path, first):
    """A clip of 20 frames, 64x48, with a larger cover image; FFmpeg lists the cover ``first`` if its box comes so."""
    with av.open(str(path), "w") as out:
        film, cover = out.add_stream("libx264", rate=25), out.add_stream("mjpeg", rate=25)
        film.width, film.height, film.pix_fmt = 64, 48, "yuv420p"
        cover.width, cover.height, cover.pix_fmt, cover.disposition = 300, 200, "yuvj420p", Disposition.attached_pic
        for stream, pixels in ((cover, np.zeros((1, 200, 300, 3), np.uint8)), (film, pattern(20, 64, 48))):
            for t, its in enumerate(pixels):
                frame = av.VideoFrame.from_ndarray(its, "rgb24")
                frame.pts = t
                out.mux(stream.encode(frame))
            out.mux(stream.encode())
    if first:
        data = bytearray(path.read_bytes())
        start = data.find(b"moov") - 4
        boxes, at = {}, start + 8
        while at < start + struct.unpack_from(">I", data, start)[0]:
            size = struct.unpack_from(">I", data, at)[0]
            boxes[bytes(data[at + 4: at + 8])], at = data[at: at + size], at + size
        data[start + 8: at] = b"".join(boxes[name] for name in (b"mvhd", b"udta", b"trak"))
        path.write_bytes(data)
    return path


@pytest.mark.parametrize("first", [False, True])
def test_a_cover_image_is_not_the_clip(tmp_path, first):
    path = with_cover(tmp_path / "a.mp4", first)
    with av.open(str(path)) as file:
        assert bool(file.streams[0].disposition & Disposition.attached_pic) == first
    assert read_frames(path).frames.shape == (20, 48, 64, 3)
    assert probe(path).codec == "h264"


def test_sound_with_a_cover_image_is_no_video(tmp_path):
    with av.open(str(tmp_path / "a.mp4"), "w") as out:
        sound, cover = out.add_stream("aac", rate=16000, layout="mono"), out.add_stream("mjpeg", rate=25)
        cover.width, cover.height, cover.pix_fmt, cover.disposition = 64, 48, "yuvj420p", Disposition.attached_pic
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 16000
        out.mux(sound.encode(frame))
        out.mux(cover.encode(av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), "rgb24")))
        for stream in (sound, cover):
            out.mux(stream.encode())
    with pytest.raises(DamagedClip, match="audio only: .*only audio, cover image"):
        read_frames(tmp_path / "a.mp4")


def noise(frames=40):
    rng = np.random.default_rng(0)
    return np.clip(pattern(frames, 128, 96) + rng.integers(0, 40, (frames, 96, 128, 3)), 0, 255).astype(np.uint8)


def stored(path, codec, options, pix_fmt="yuv420p", **how):
    with av.open(str(path), "w", options=options) as out:
        stream = out.add_stream(codec, rate=25, options={"g": "10"} | how)
        stream.width, stream.height, stream.pix_fmt = 128, 96, pix_fmt
        for pixels in noise():
            out.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, "rgb24").reformat(format=pix_fmt)))
        out.mux(stream.encode())
    return path


FAST = {"deadline": "realtime", "cpu-used": "8"}
UNANNOUNCED = [("frag.mp4", "libx264", {"movflags": "frag_keyframe+empty_moov"}, {}),
               ("live.mkv", "libx264", {"live": "1"}, {}), ("live.webm", "libvpx-vp9", {"live": "1"}, FAST),
               ("live8.webm", "libvpx", {"live": "1"}, FAST), ("mpeg4.mkv", "mpeg4", {"live": "1"}, {}),
               ("mjpeg.mkv", "mjpeg", {"live": "1"}, {"pix_fmt": "yuvj420p"}),
               ("hevc.ts", "libx265", {}, {"x265-params": "log-level=0"}),
               ("a.ts", "libx264", {}, {}), ("a.gif", "gif", {}, {"pix_fmt": "rgb8"}), ("a.h264", "libx264", {}, {})]


@pytest.mark.parametrize(("name", "codec", "options", "how"), UNANNOUNCED, ids=lambda its: str(its))
def test_files_of_unannounced_length(tmp_path, name, codec, options, how):
    path = stored(tmp_path / name, codec, options, **how)
    its = inspect(path)
    assert (its.reason, its.decoded, its.announced) == ("", 40, False)
    if name != "hevc.ts":  # where a cut leaves no trace
        data = path.read_bytes()
        path.write_bytes(data[: int(0.7 * len(data))])
        assert inspect(path).reason.startswith(("damaged: ", "truncated: "))


@pytest.mark.parametrize(("name", "codec"), [("a.mp4", "libx264"), ("a.mkv", "libx264"), ("a.avi", "mpeg4"),
                                             ("a.flv", "flv"), ("a.webm", "libvpx-vp9"), ("a.wmv", "wmv2")])
def test_an_announced_length_is_known(tmp_path, name, codec):
    with opened(encode(tmp_path / name, pattern(20, 64, 48), codec=codec)) as stream:
        assert Walk(stream).announced


def test_a_matroska_file_cut_shortly_before_its_end(tmp_path):
    path = stored(tmp_path / "a.mkv", "libx264", {})
    assert not inspect(path).reason
    path.write_bytes(path.read_bytes()[:-2500])
    assert inspect(path).reason.startswith("truncated: 1.60 s announced, 1.4")


def test_frames_that_other_decoders_had_to_fill_in_are_damage(tmp_path):
    """Of these FFmpeg's log alone tells: the frames carry no mark."""
    path = stored(tmp_path / "a.mkv", "mjpeg", {}, pix_fmt="yuvj420p")
    data = bytearray(path.read_bytes())
    at = int(0.3 * len(data))
    data[at: at + 20] = bytes(range(100, 120))
    path.write_bytes(data)
    assert inspect(path).reason.startswith("damaged: FFmpeg says ")


def test_ffmpeg_is_as_silent_afterwards_as_before(make_video, caplog):
    level = av.logging.get_level()
    path = make_video("a.gif", codec="gif", pix_fmt="rgb8")
    path.write_bytes(path.read_bytes()[:-400])
    assert inspect(path).reason
    assert av.logging.get_level() == level and not caplog.records


def test_check_tells_where_the_length_is_unknown(tmp_path):
    encode(tmp_path / "a" / "x.mp4", noise())
    stored(tmp_path / "a" / "live.mkv", "libx264", {"live": "1"})
    found = {finding.what: list(finding.where) for finding in check(tmp_path).findings if not finding.fatal}
    assert found["length unknown: cannot tell whether it is whole"] == ["a/live.mkv: 40 frames found"]
