"""Frames come out right and in order, by either decoder; what is damaged is named and never shortened."""

import csv
import pickle
import struct

import av
import numpy as np
import pytest

from kdlab.clips import decode
from kdlab.clips.decode import DamagedClip, probe, read_frames

needs_decord = pytest.mark.skipif(decode.decord is None, reason="decord is not installed on this machine")


@pytest.fixture(autouse=True)
def decord_not_asked_yet(monkeypatch):
    monkeypatch.setattr(decode, "_decord_is_right", {})


def levels(frames):
    """The background brightness of each frame: 5 more in each, see ``conftest.pattern``."""
    return frames[:, -8:, -8:].mean(axis=(1, 2, 3))


FORMATS = [("a.mp4", "libx264"), ("a.mkv", "libx264"), ("a.MOV", "libx264"), ("a.avi", "mpeg4"), ("a.mp4", "mpeg4"),
           ("a.webm", "libvpx-vp9"), ("a.avi", "libx264")]


@pytest.mark.parametrize(("name", "codec"), FORMATS)
def test_every_frame_comes_out_once_and_in_order(make_video, name, codec):
    path = make_video(name, codec=codec)
    decoded = read_frames(path)
    assert decoded.frames.shape == (40, 48, 64, 3)
    assert decoded.frames.dtype == np.uint8
    assert decoded.fps == 25
    assert np.abs(levels(decoded.frames) - 5 * np.arange(40)).max() < 6
    wanted = [39, 0, 7, 7, 22]
    assert np.array_equal(read_frames(path, wanted).frames, decoded.frames[wanted])
    assert read_frames(path, []).frames.shape == (0, 48, 64, 3)


def test_mpeg4_with_b_frames_is_never_read_by_random_access(make_video):
    path = make_video("b.avi", codec="mpeg4", bf="2", g="12")
    every = read_frames(path)
    some = read_frames(path, np.arange(0, 40, 4))
    assert (every.decoder, some.decoder) == ("pyav", "pyav")
    assert np.array_equal(some.frames, every.frames[::4])
    assert np.abs(levels(some.frames) - 20 * np.arange(10)).max() < 6


@needs_decord
@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
def test_decord_reads_single_frames_of_h264_as_pyav_does(make_video, name):
    path = make_video(name, bf="2", g="10")
    wanted = [31, 3, 18]
    decoded = read_frames(path, wanted)
    assert decoded.decoder == "decord"
    assert np.array_equal(decoded.frames, read_frames(path, wanted, decoder="pyav").frames)


class _WrongReader:
    """Stands for a decord whose seek lands one frame too late."""

    opened = 0

    def __init__(self, path, num_threads):
        type(self).opened += 1
        self.frames = read_frames(path, decoder="pyav").frames

    def __len__(self):
        return len(self.frames)

    def get_batch(self, indices):
        shifted = self.frames[(np.asarray(indices) + 1) % len(self)]
        return type("Batch", (), {"asnumpy": lambda _: shifted})()


class _WrongDecord:
    DECORDError = RuntimeError
    VideoReader = _WrongReader


def test_a_decord_that_seeks_wrongly_is_found_out_once_and_left_alone(make_video, monkeypatch):
    monkeypatch.setattr(decode, "decord", _WrongDecord)
    monkeypatch.setattr(_WrongReader, "opened", 0)
    for name in ("a.mp4", "b.mp4"):
        decoded = read_frames(make_video(name), [5, 30])
        assert decoded.decoder == "pyav"
        assert np.abs(levels(decoded.frames) - [25, 150]).max() < 6
    assert _WrongReader.opened == 1


def test_without_decord_pyav_does_the_work(make_video, monkeypatch):
    monkeypatch.setattr(decode, "decord", None)
    path = make_video("a.mp4")
    assert read_frames(path, [4]).decoder == "pyav"
    with pytest.raises(ValueError, match="not installed"):
        read_frames(path, decoder="decord")


def test_frames_hidden_by_an_edit_list_stay_hidden(make_video, tmp_path):
    """What a trimming tool leaves that cuts without encoding anew; decord returns wrong frames here."""
    source, trimmed = make_video("long.mp4", g="10", bf="2"), tmp_path / "trimmed.mp4"
    with av.open(str(source)) as old, av.open(str(trimmed), "w", options={"avoid_negative_ts": "disabled"}) as new:
        stream = old.streams.video[0]
        copy = new.add_stream_from_template(stream)
        five_frames = int(5 / 25 / stream.time_base)
        for packet in old.demux(stream):
            if packet.dts is not None:
                packet.pts -= five_frames
                packet.dts -= five_frames
                packet.stream = copy
                new.mux(packet)
    whole = read_frames(source).frames
    decoded = read_frames(trimmed, [0, 34])
    assert decoded.decoder == "pyav"
    assert np.array_equal(decoded.frames, whole[[5, 39]])
    assert len(read_frames(trimmed).frames) == 35


def test_rotation_stored_by_phones_is_applied(make_video):
    path = make_video("phone.mp4")
    plain = read_frames(path).frames
    header = bytearray(path.read_bytes())
    matrix = header.find(struct.pack(">9i", 65536, 0, 0, 0, 65536, 0, 0, 0, 1 << 30), header.find(b"tkhd"))
    header[matrix: matrix + 36] = struct.pack(">9i", 0, 65536, 0, -65536, 0, 0, 0, 0, 1 << 30)  # a quarter, clockwise
    path.write_bytes(header)
    for indices in (None, range(40)):
        decoded = read_frames(path, indices)
        assert decoded.decoder == "pyav"
        assert np.array_equal(decoded.frames, np.rot90(plain, -1, axes=(1, 2)))


def test_a_capture_with_dropped_frames_is_not_damaged(make_video):
    """AVI counts repeated frames that have no packet: 40 announced, 32 there, nothing lost."""
    kept = [t for t in range(40) if t % 5 != 3]
    decoded = read_frames(make_video("gaps.avi", frames=32, codec="mpeg4", pts=kept))
    assert (decoded.announced, len(decoded.frames)) == (40, 32)


@pytest.mark.parametrize(("surplus", "damaged"), [(2, False), (8, True)])
def test_avi_may_announce_two_frames_too_many(make_video, surplus, damaged):
    path = make_video("old.avi", codec="mpeg4")
    header = bytearray(path.read_bytes())
    length = header.find(b"strh") + 8 + 32
    assert struct.unpack_from("<I", header, length) == (40,)
    struct.pack_into("<I", header, length, 40 + surplus)
    path.write_bytes(header)
    if damaged:
        with pytest.raises(DamagedClip, match="48 frames announced, 40 found"):
            read_frames(path)
    else:
        assert len(read_frames(path).frames) == 40


def big(make_video, name, **how):
    """A clip whose bytes lie mostly in its frames, so that a cut takes frames away."""
    return make_video(name, frames=60, size=(128, 96), **how)


@pytest.mark.parametrize(("name", "codec"), [("a.mp4", "libx264"), ("a.avi", "mpeg4"), ("a.webm", "libvpx-vp9"),
                                             ("a.mkv", "libx264")])
@pytest.mark.parametrize("indices", [None, [0, 3]])
def test_truncated_files_are_named(make_video, name, codec, indices):
    path = big(make_video, name, codec=codec, g="10")
    data = path.read_bytes()
    path.write_bytes(data[:int(len(data) * 0.7)])
    with pytest.raises(DamagedClip, match="truncated") as caught:
        read_frames(path, indices)
    assert caught.value.path == path
    assert name in str(caught.value)
    assert "Replace the file" in str(caught.value)


def test_a_header_may_announce_anything(make_video):
    path = make_video("a.avi", codec="mpeg4")
    header = bytearray(path.read_bytes())
    struct.pack_into("<I", header, header.find(b"strh") + 8 + 32, 2**31 - 1)
    path.write_bytes(header)
    with pytest.raises(DamagedClip, match="truncated"):
        read_frames(path)


@needs_decord
def test_truncation_is_seen_behind_decord_too(make_video):
    path = big(make_video, "a.avi", codec="mpeg4", g="10")
    data = path.read_bytes()
    path.write_bytes(data[:int(len(data) * 0.7)])
    with pytest.raises(DamagedClip, match="truncated"):
        read_frames(path, decoder="decord")


@pytest.mark.parametrize(("name", "codec"), [("a.mp4", "libx264"), ("a.avi", "mpeg4")])
def test_frames_that_a_decoder_would_invent_are_damage(make_video, name, codec):
    """The damaged stretch lies in the middle, so that neither counting nor opening tells."""
    path = big(make_video, name, codec=codec, g="60")
    data = bytearray(path.read_bytes())
    data[len(data) // 2: len(data) // 2 + 200] = bytes(range(200))
    path.write_bytes(data)
    with pytest.raises(DamagedClip, match="damaged|cannot be decoded|truncated"):
        read_frames(path)


def audio_only(path):
    with av.open(str(path), "w") as out:
        stream = out.add_stream("aac", rate=16000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 16000
        out.mux(stream.encode(frame))
        out.mux(stream.encode())


def without_moov(path, make_video):
    data = make_video("whole.mp4").read_bytes()
    start = data.find(b"moov") - 4
    path.write_bytes(data[:start] + data[start + struct.unpack_from(">I", data, start)[0]:])


@pytest.mark.parametrize(("make", "reason"), [
    (lambda path, _: path.write_bytes(b""), "empty"),
    (lambda path, _: path.write_text("not a film\n" * 90), "not a video file"),
    (lambda path, _: audio_only(path), "no video stream"),
    (without_moov, "moov"),
    (lambda path, _: path.mkdir(), "folder"),
])
def test_what_is_no_video_says_why(tmp_path, make_video, make, reason):
    path = tmp_path / "odd.mp4"
    make(path, make_video)
    for read in (read_frames, probe):
        with pytest.raises(DamagedClip, match=reason) as caught:
            read(path)
        assert caught.value.path == path
        assert reason in caught.value.reason


def test_missing_file_and_wrong_arguments(make_video, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"gone\.mp4: no such file"):
        read_frames(tmp_path / "gone.mp4")
    path = make_video("a.mp4", frames=12)
    for decoder in ("auto", "pyav"):
        with pytest.raises(ValueError, match=r"a\.mp4: frame index 12 is outside the clip, which has 12 frames"):
            read_frames(path, [3, 12], decoder)
    with pytest.raises(ValueError, match="negative"):
        read_frames(path, [-1])
    with pytest.raises(ValueError, match="unknown decoder 'opencv'"):
        read_frames(path, decoder="opencv")


def test_damaged_clip_survives_a_process_pool():
    error = pickle.loads(pickle.dumps(DamagedClip("x/y.mp4", "it is cut")))
    assert (error.path.name, error.reason) == ("y.mp4", "it is cut")
    assert "x/y.mp4: it is cut." in str(error).replace("\\", "/")


def test_probe_tells_without_decoding(make_video):
    info = probe(make_video("a.mp4", rate=20))
    assert (info.frames, info.width, info.height, info.fps, info.codec, info.container, info.duration) == (
        40, 64, 48, 20.0, "h264", "mp4", 2.0)
    assert probe(make_video("a.mkv")).frames is None


# --- the user's own clips ------------------------------------------------------------------------------------------

def test_real_odd_files(real_clips):
    folder = real_clips / "formats"
    if not folder.is_dir():
        pytest.skip("the real clips have no folder formats/")
    with open(folder / "index.csv", newline="") as file:
        for row in csv.DictReader(file):
            path = folder / row["path"]
            if row["usable"] == "yes":
                decoded = read_frames(path)
                assert len(decoded.frames) == int(row["decoded_frames"]), path.name
                last = len(decoded.frames) - 1
                assert np.array_equal(read_frames(path, [last, 0]).frames, decoded.frames[[last, 0]]), path.name
            else:
                for indices in (None, [0]):
                    with pytest.raises(DamagedClip):
                        read_frames(path, indices)


def test_real_clips_by_both_decoders(real_clips):
    """Every codec and container there is among the user's clips, a few files of each class."""
    seen = 0
    for folder in sorted(f for f in real_clips.glob("*/*") if f.is_dir()):
        for path in sorted(folder.iterdir())[:1]:
            whole = read_frames(path)
            wanted = np.linspace(0, len(whole.frames) - 1, 5).astype(int)[::-1]
            assert np.array_equal(read_frames(path, wanted).frames, whole.frames[wanted]), path
            seen += 1
    if not seen:
        pytest.skip("no real clips in class folders")
