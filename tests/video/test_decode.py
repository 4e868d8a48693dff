"""Frames come out right and in order, whole or single; what is damaged is named and never shortened."""

import csv
import re
import struct
import wave
from fractions import Fraction

import av
import numpy as np
import pytest

from kdlab.video import decode
from kdlab.video.container import DamagedClip, probe
from kdlab.video.decode import each_frame, read_frames
from tests.conftest import cut, decoded, moving, overwrite


def assert_reads_as_the_oracle(path, frames=None):
    frames = decoded(path) if frames is None else frames
    assert np.array_equal(read_frames(path).frames, frames), path
    rng = np.random.default_rng(0)
    last = len(frames) - 1
    for wanted in (
        [last],
        [last, 0, 0],
        range(0, last + 1, 4),
        range(last // 2, last + 1),
        rng.integers(0, last + 1, 6),
    ):
        assert np.array_equal(read_frames(path, wanted).frames, frames[wanted]), (path, wanted)


def levels(frames):
    """The background brightness of each frame: 5 more in each, see ``conftest.pattern``."""
    return frames[:, -8:, -8:].mean(axis=(1, 2, 3))


FORMATS = [
    ("a.mp4", "libx264"),
    ("a.mkv", "libx264"),
    ("a.MOV", "libx264"),
    ("a.avi", "mpeg4"),
    ("a.mp4", "mpeg4"),
    ("a.webm", "libvpx-vp9"),
    ("a.avi", "libx264"),
]


@pytest.mark.parametrize("name, codec", FORMATS)
def test_every_frame_comes_out_once_and_in_order(make_video, name, codec):
    path = make_video(name, codec=codec)
    seen = read_frames(path)
    assert seen.frames.shape == (40, 48, 64, 3)
    assert seen.frames.dtype == np.uint8
    assert seen.fps == 25
    assert np.abs(levels(seen.frames) - 5 * np.arange(40)).max() < 6
    assert_reads_as_the_oracle(path, seen.frames)
    assert read_frames(path, []).frames.shape == (0, 48, 64, 3)


# frames last 1 to 8 units of time
VARIABLE = np.cumsum(np.random.default_rng(1).integers(1, 9, 40)).tolist()


@pytest.mark.parametrize(
    "name, how",
    [
        ("b.mp4", {"bf": "3", "g": "10"}),
        ("b.mkv", {"bf": "3", "g": "10"}),
        ("b.avi", {"bf": "2", "g": "12", "codec": "mpeg4"}),  # where decord returned wrong frames
        ("variable.mp4", {"pts": VARIABLE, "bf": "2", "g": "12"}),
        ("variable.mkv", {"pts": VARIABLE, "bf": "2", "g": "12"}),
        ("variable.avi", {"pts": VARIABLE, "codec": "mpeg4"}),
        ("odd.avi", {"size": (75, 43), "codec": "mpeg4"}),
        ("odd.mp4", {"size": (75, 43), "pix_fmt": "yuv444p", "g": "9"}),
        ("full_range.mp4", {"pix_fmt": "yuvj420p", "g": "9"}),
        ("one_key_frame.mp4", {"g": "999", "bf": "2"}),
        ("all_key_frames.mp4", {"g": "1"}),
        # pictures behind a key frame need others
        ("open_gop.mp4", {"g": "10", "x264-params": "open-gop=1:bframes=3"}),
        ("open_gop.mkv", {"g": "10", "x264-params": "open-gop=1:bframes=3"}),  # that lie before it
        # pictures renewed column by column
        ("no_key_frames.mp4", {"g": "15", "x264-params": "intra-refresh=1"}),
        ("fields.mp4", {"g": "12", "x264-params": "interlaced=1:tff=1"}),
        ("one.mp4", {"frames": 1}),
        ("one.mkv", {"frames": 1}),
        ("one.avi", {"frames": 1, "codec": "mpeg4"}),
    ],
)
def test_frames_are_those_of_a_full_decode_in_order(make_video, name, how):
    assert_reads_as_the_oracle(make_video(name, **how))


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
def test_a_key_frame_that_is_no_idr_picture_is_no_place_to_begin(make_video, name):
    """Containers call recovery points key frames; the pictures behind those of a periodic refresh came out wrong."""
    how = {"x264-params": "intra-refresh=1:keyint=24:bframes=0"}
    path = make_video(name, pixels=moving(100, 96, 64, 4), **how)
    with av.open(str(path)) as container:
        assert sum(packet.is_keyframe for packet in container.demux(video=0) if packet.size) > 1
    frames = decoded(path)
    for number in range(0, 100, 3):
        assert np.array_equal(read_frames(path, [number]).frames[0], frames[number]), number
    assert np.array_equal(read_frames(path, [50, 90]).frames, frames[[50, 90]])


def test_single_frames_of_h264_are_reached_over_key_frames(make_video, monkeypatch):
    path = make_video("a.mp4", g="5", bf="2")
    frames = decoded(path)
    seen = []
    of = decode._Pictures.of
    monkeypatch.setattr(
        decode._Pictures, "of", lambda shots, frame: (seen.append(frame.pts), of(shots, frame))[1]
    )
    monkeypatch.setattr(decode, "_in_order", None)
    assert np.array_equal(read_frames(path, [33, 2, 2]).frames, frames[[33, 2, 2]])
    assert len(seen) == 2


def not_coded(t):
    """A picture of MPEG-4 part 2 that says "as before": what encoders write where frames are dropped or packed."""
    return b"\0\0\1\xb6" + int(f"0101{t % 25:05b}10" + "01111", 2).to_bytes(2, "big")


def rewrite(old, new, change):
    """Copy a stream without audio; ``change`` turns its packets (bytes, in the order of the file) into others."""
    with av.open(str(old)) as source, av.open(str(new), "w") as out:
        stream = out.add_stream_from_template(source.streams.video[0])
        packets = [bytes(packet) for packet in source.demux(video=0) if packet.size]
        for t, data in enumerate(change(packets)):
            packet = av.Packet(data)
            packet.stream, packet.pts, packet.dts, packet.time_base = stream, t, t, Fraction(1, 25)
            packet.is_keyframe = t == 0
            out.mux(packet)
    return new


def test_packed_b_frames(make_video, tmp_path):
    """As DivX wrote them: P and B in one packet, then a "not coded" picture in the place of the B."""

    def pack(packets):
        packets[0] = packets[0].replace(b"\0\0\1\xb6", b"\0\0\1\xb2DivX503b1393p\0\0\1\xb6", 1)
        kept, t = [packets[0]], 1
        while t < len(packets):
            pair = packets[t : t + 2]
            is_b = len(pair) == 2 and pair[1][4] >> 6 == 2
            kept += [pair[0] + pair[1], not_coded(t)] if is_b else [pair[0]]
            t += 1 + is_b
        return kept

    plain = make_video("plain.avi", codec="mpeg4", bf="1", g="100", b_strategy="0")
    packed = rewrite(plain, tmp_path / "packed.avi", pack)
    frames = decoded(packed)
    assert len(frames) >= 39 and np.abs(levels(frames) - 5 * np.arange(len(frames))).max() < 6
    assert_reads_as_the_oracle(packed, frames)


def test_dropped_frames_of_a_recording_are_no_damage(make_video, tmp_path):
    plain = make_video("plain.avi", codec="mpeg4", g="100")
    gaps = rewrite(
        plain,
        tmp_path / "gaps.avi",
        lambda packets: [not_coded(t) if t % 4 == 3 else data for t, data in enumerate(packets)],
    )
    assert_reads_as_the_oracle(gaps)
    assert len(read_frames(gaps).frames) < 38


def test_frames_hidden_by_an_edit_list_stay_hidden(make_video, trimmed):
    """What a trimming tool leaves that cuts without encoding anew; decord returns wrong frames here."""
    source = make_video("long.mp4", g="10", bf="2")
    whole = read_frames(source).frames
    path = trimmed(source)
    assert np.array_equal(read_frames(path, [0, 34]).frames, whole[[5, 39]])
    assert len(read_frames(path).frames) == 35


def big(make_video, name, **how):
    """A clip whose bytes lie mostly in its frames, so that a cut takes frames away."""
    return make_video(name, frames=60, size=(128, 96), **how)


@pytest.mark.parametrize(
    "name, codec",
    [("a.mp4", "libx264"), ("a.avi", "mpeg4"), ("a.webm", "libvpx-vp9"), ("a.mkv", "libx264")],
)
@pytest.mark.parametrize("indices", [None, [0, 3]])
def test_truncated_files_are_named(make_video, name, codec, indices):
    path = big(make_video, name, codec=codec, g="10")
    cut(path, 0.7)
    with pytest.raises(DamagedClip, match="truncated") as caught:
        read_frames(path, indices)
    assert caught.value.path == path
    assert name in str(caught.value)
    assert "Replace the file" in str(caught.value)


@pytest.mark.parametrize("name, codec", [("a.mp4", "libx264"), ("a.avi", "mpeg4")])
def test_frames_that_a_decoder_would_invent_are_damage(make_video, name, codec):
    """The damaged stretch lies in the middle, so that neither counting nor opening tells."""
    path = big(make_video, name, codec=codec, g="60")
    overwrite(path, bytes(range(200)))
    with pytest.raises(DamagedClip, match="damaged|cannot be decoded|truncated"):
        read_frames(path)


@pytest.mark.parametrize("name", ["a.mp4", "a.avi"])  # over key frames, in order
def test_damage_to_what_a_wanted_frame_was_made_from_is_seen_behind_it(hurt, name):
    """A B-frame is shown before the later of the two frames it was made from, and carries no mark itself."""
    path = hurt(name)
    frames = decoded(path)
    # sound, before the damage
    assert np.array_equal(read_frames(path, [0, 3]).frames, frames[[0, 3]])
    with pytest.raises(DamagedClip, match="damaged: frame"):
        read_frames(path, [5])
    if name == "a.mp4":
        # sound, behind another key frame
        assert np.array_equal(read_frames(path, [29]).frames, frames[[29]])


def audio_only(path):
    with wave.open(str(path), "wb") as out:
        out.setparams((1, 2, 8000, 0, "NONE", ""))
        out.writeframes(bytes(1600))


def without_moov(path, make_video):
    data = make_video("whole.mp4").read_bytes()
    start = data.find(b"moov") - 4
    path.write_bytes(data[:start] + data[start + struct.unpack_from(">I", data, start)[0] :])


@pytest.mark.parametrize(
    "make, reason",
    [
        (lambda path, _: path.write_bytes(b""), "empty: the file has 0 bytes"),
        (lambda path, _: path.write_text("not a film\n" * 90), "misnamed: .*not a video file"),
        (lambda path, _: audio_only(path), "audio only: .*no video stream, only audio"),
        (without_moov, "truncated: .*moov"),
        (lambda path, _: path.mkdir(), "no video: .*folder"),
    ],
)
def test_what_is_no_video_says_why(tmp_path, make_video, make, reason):
    path = tmp_path / "odd.mp4"
    make(path, make_video)
    for read in (read_frames, probe):
        with pytest.raises(DamagedClip, match=reason) as caught:
            read(path)
        assert caught.value.path == path
        assert re.match(reason, caught.value.reason)


def test_missing_file_and_wrong_arguments(make_video, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"gone\.mp4: no such file"):
        read_frames(tmp_path / "gone.mp4")
    path = make_video("a.mp4", frames=12)
    with pytest.raises(
        ValueError, match=r"a\.mp4: frame index 12 is outside the clip, which has 12 frames"
    ):
        read_frames(path, [3, 12])
    for wrong, says in ((-1, "counted from 0"), (0.5, "are no whole numbers")):
        with pytest.raises(ValueError, match=says):
            read_frames(path, [wrong])


def test_a_file_that_is_still_written_is_named(make_video):
    path = make_video("a.ts", frames=30)
    rest = path.read_bytes()[-188 * 20 :]
    path.write_bytes(path.read_bytes()[: -188 * 20])
    pictures = each_frame(path)
    next(pictures)
    with open(path, "ab") as file:
        file.write(rest)
    with pytest.raises(DamagedClip, match=r"a\.ts: unfinished: it changed while it was read"):
        list(pictures)


# --- the user's own clips ------------------------------------------------------------------------------------------


def test_real_odd_files(real_clips):
    folder = real_clips / "formats"
    if not folder.is_dir():
        pytest.skip("the real clips have no folder formats/")
    with open(folder / "index.csv", newline="") as file:
        for row in csv.DictReader(file):
            path = folder / row["path"]
            if row["usable"] == "yes":
                frames = decoded(path)
                assert len(frames) == int(row["decoded_frames"]), path.name
                assert_reads_as_the_oracle(path, frames)
            else:
                for indices in (None, [0]):
                    with pytest.raises(DamagedClip):
                        read_frames(path, indices)
