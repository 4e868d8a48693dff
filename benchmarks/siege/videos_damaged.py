"""Videos that are damaged, or files that are none: refused by name, or read whole."""

import os
import socket
import threading
from collections.abc import Callable
from functools import wraps
from pathlib import Path

import numpy as np

from siege.attack import Attack
from siege.films import decode, encode, film
from siege.videos import Case, judge, judged

ANNOUNCED = (("libx264", "mp4", {}), ("mpeg4", "avi", {}), ("libx264", "mkv", {}), ("libvpx", "webm", {}),
             ("mjpeg", "avi", {}), ("libx265", "mp4", {}), ("libx264", "mov", {}))
#: Containers that nowhere say how long the film is.
UNANNOUNCED = (("libx264", "mp4", {"movflags": "frag_keyframe+empty_moov"}), ("libx264", "ts", {}),
               ("libx264", "mkv", {"live": "1"}), ("gif", "gif", {}), ("mpeg4", "mpg", {}), ("libvpx", "webm",
               {"live": "1"}), ("libx264", "flv", {"flvflags": "no_duration_filesize"}), ("libx264", "h264", {}),
               ("libx264", "mp4", {"movflags": "frag_every_frame+empty_moov+default_base_moof"}))


def _made(field: Attack, several: tuple) -> tuple[Path, np.ndarray]:
    """A sound film of one of ``several`` codecs and containers, and its frames."""
    codec, ending, key = field.pick(several)
    pix_fmt = {"gif": "rgb8", "mjpeg": "yuvj420p"}.get(codec, "yuv420p")
    size = 16 * field.rng.integers(4, 9, 2)
    frames = film(field.rng, int(field.rng.integers(20, 45)), *size)
    path = encode(field.root / f"clip.{ending}", frames, codec, pix_fmt, key=key or None)
    return path, decode(path).frames


def _spoilt(field: Attack, several: tuple, spoil: Callable[[bytearray], bytes]) -> Case:
    path, whole = _made(field, several)
    path.write_bytes(spoil(bytearray(path.read_bytes())))
    return Case(path, whole)


def _spoils(several: tuple) -> Callable:
    """An attack by what it makes of the bytes of a film of one of ``several`` kinds."""
    def attack(spoil: Callable[[Attack, bytearray], bytes]) -> Callable[[Attack], None]:
        return judged(wraps(spoil)(lambda field: _spoilt(field, several, lambda data: spoil(field, data))))
    return attack


@_spoils(ANNOUNCED)
def truncated(field: Attack, data: bytearray) -> bytes:
    """Cut off somewhere; the header says how long it was."""
    return data[: int(len(data) * field.rng.uniform(0.1, 0.99))]


@_spoils(UNANNOUNCED)
def truncated_unannounced(field: Attack, data: bytearray) -> bytes:
    """Cut off somewhere, and nobody has said how long it was."""
    return data[: int(len(data) * field.rng.uniform(0.3, 0.99))]


@_spoils(ANNOUNCED + UNANNOUNCED)
def flipped_bytes(field: Attack, data: bytearray) -> bytes:
    """Some random bytes of the film changed."""
    for _ in range(int(field.rng.integers(1, 30))):
        data[int(field.rng.integers(len(data) // 5, len(data)))] = field.number(256)
    return data


@_spoils(ANNOUNCED + UNANNOUNCED)
def zeroed_block(field: Attack, data: bytearray) -> bytes:
    """A block of zeros, as a broken disk or a sparse copy leaves it."""
    start = int(field.rng.integers(len(data) // 5, len(data)))
    length = min(len(data) - start, int(field.rng.choice([64, 512, 4096])))
    data[start: start + length] = bytes(length)
    return data


@_spoils(ANNOUNCED + UNANNOUNCED)
def removed_block(field: Attack, data: bytearray) -> bytes:
    """A block left out: all that follows has moved."""
    start = int(field.rng.integers(len(data) // 5, len(data)))
    del data[start: start + int(field.rng.integers(1, 2000))]
    return data


@_spoils(ANNOUNCED + UNANNOUNCED)
def doubled_block(field: Attack, data: bytearray) -> bytes:
    """A block twice."""
    start = int(field.rng.integers(len(data) // 5, len(data)))
    return data[: start + 700] + data[start:]


@judged
def damaged_header(field: Attack) -> Case:
    """Random bytes in the first kilobyte."""
    path, whole = _made(field, ANNOUNCED + UNANNOUNCED)
    data = bytearray(path.read_bytes())
    for _ in range(int(field.rng.integers(1, 8))):
        data[int(field.rng.integers(min(1000, len(data))))] = field.number(256)
    path.write_bytes(data)
    # what a header says is the truth, also of sizes, colours and hidden frames, unless FFmpeg complains of it
    return Case(path, whole if decode(path).complaints else None)


@judged
def appended(field: Attack) -> Case:
    """Garbage behind a whole film."""
    extra = bytes(field.rng.integers(0, 256, int(field.rng.integers(1, 5000)), np.uint8))
    return _spoilt(field, ANNOUNCED, lambda data: data + extra)


@judged
def announced_otherwise(field: Attack) -> Case:
    """A header that announces more or fewer frames than there are."""
    path = encode(field.root / "clip.avi", film(field.rng, 24), "mpeg4")
    data, count = bytearray(path.read_bytes()), int(field.rng.choice([0, 1, 12, 23, 30, 10**6, 2**31 - 1]))
    for at in (data.index(b"avih") + 24, data.index(b"strh") + 40):
        data[at: at + 4] = count.to_bytes(4, "little")
    path.write_bytes(data)
    return Case(path)


@judged
def unknown_codec(field: Attack) -> Case:
    """A four-character code that nobody knows, or another codec's."""
    ending, codec, code = field.pick((("avi", "mpeg4", b"FMP4"), ("mp4", "libx264", b"avc1")))
    path = encode(field.root / f"clip.{ending}", film(field.rng, 12), codec)
    other = field.pick((b"ZZZZ", b"\0\0\0\0", b"hvc1", b"MJPG", b"raw "))
    path.write_bytes(path.read_bytes().replace(code, other))
    return Case(path)


@judged
def no_video(field: Attack) -> Case:
    """Empty, text, zip, HTML, a sound, noise: all called .mp4."""
    noise = bytes(field.rng.integers(0, 256, 9000, np.uint8))
    content = field.pick((b"", b"\0" * 5000, b"hello\n" * 50, b"PK\3\4" + bytes(90), b"<html>404</html>", b"GIF89a",
                          noise, b"RIFF\0\0\0\0AVI LIST", b"\0\0\0\x18ftypmp42", b"\x1aE\xdf\xa3" + bytes(40),
                          b"FLV\1\5\0\0\0\x09", b"OggS" + bytes(60)))
    path = field.root / "clip.mp4"
    path.write_bytes(content)
    return Case(path)


def playlists(field: Attack) -> None:
    """A script or playlist that leads to another file, called .mp4: no film of its own."""
    from kdlab.clips.decode import read_frames

    other = encode(field.root / "other.ts", film(field.rng, 12))
    stream = ('<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"><Period><AdaptationSet>'
              f'<Representation id="1" bandwidth="1" mimeType="video/mp2t"><BaseURL>{other.name}</BaseURL>'
              "</Representation></AdaptationSet></Period></MPD>")
    content = field.pick((f"ffconcat version 1.0\nfile {other.name}\n", stream,
                          f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:1,\n{other.name}\n#EXT-X-ENDLIST\n",
                          "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nm=video 9 RTP/AVP 33\n"))
    path = field.root / "clip.mp4"
    path.write_text(content)
    if field.call([path], read_frames, path):
        field.found("wrong", f"{content[:20]!r} was followed to another file")


def special_files(field: Attack) -> None:
    """A pipe, a socket, a device, a loop of links, a link to nothing, a folder: where a clip should be."""
    path, kind = field.root / "clip.mp4", field.number(6)
    if kind == 0:
        os.mkfifo(path)
    elif kind == 1:
        server = socket.socket(socket.AF_UNIX)
        server.bind("clip.mp4")  # short, whatever the folder
    elif kind == 5:
        path.mkdir()
    else:
        path.symlink_to(("/dev/zero", "clip.mp4", "nothing.mp4")[kind - 2])
    if field.number(2):
        from kdlab.clips.decode import read_frames

        if field.call([path], read_frames, path):
            field.found("wrong", f"{path.name} is no regular file, and was read")
    else:
        command = field.pick(("modalities", "check", "transcode"))
        (field.root / "a").mkdir()
        folder = field.root / "a"
        os.rename(path, folder / path.name) if kind != 3 else (folder / path.name).symlink_to("clip.mp4")
        arguments = {"modalities": [folder / path.name], "check": [field.root],
                     "transcode": [folder / path.name, "--out", field.root / "out"]}[command]
        if field.kdlab("data", command, *arguments, names=[path, field.root, "/dev/zero"]).code == 0 and kind != 5:
            field.found("wrong", f"data {command} has no word on what is no regular file")


@judged
def grows_while_read(field: Attack) -> Case:
    """A file that another program is still writing."""
    path, whole = _made(field, (("libx264", "mkv", {"live": "1"}), ("mpeg4", "avi", {}), ("libx264", "ts", {})))
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])

    def finish() -> None:
        with open(path, "ab") as file:
            file.write(data[len(data) // 2:])

    threading.Timer(0.002, finish).start()
    from kdlab.clips.decode import read_frames

    answer = field.call([path], read_frames, path)
    grown = path.stat().st_size == len(data)  # else it was read before, and half of some formats tells nothing
    if answer and grown and len(answer.frames) != len(whole):
        field.found("wrong", f"{path.name} grew while it was read: {len(answer.frames)} of {len(whole)} frames")
    threading.Event().wait(0.05)
    return Case(path, whole, sound=True)


def transcoded(field: Attack) -> None:
    """Many kinds of films through ``data transcode``, one of them still or bad: the others are made whole."""
    from kdlab.clips.transcode import CoviarFormat, transcode

    folder, out = field.root / "films", field.root / "out"
    good = encode(folder / "good.mp4", film(field.rng, 20))
    still = encode(folder / "still.mp4", np.repeat(film(field.rng, 1, 32, 32), 15, 0))
    bad = encode(folder / "bad.mp4", film(field.rng, 20))
    bad.write_bytes(bad.read_bytes()[: int(field.rng.integers(0, 3000))])
    form = CoviarFormat(int(field.rng.choice([16, 32, 48])), 32, 12, int(field.rng.choice([2, 31])))
    report = field.call([folder, out], transcode, folder, out, form, 1)
    if not report:
        field.found("wrong", f"one file ended a whole folder: {report.message}")
        return
    for its in report:
        if its.source.name == "bad.mp4":
            if not its.reason:
                field.found("wrong", f"{bad.name} was cut off, and transcode has no word on it")
        elif its.reason or (count := len(decode(its.target).frames)) != (20 if its.source == good else 15):
            field.found("wrong", f"{its.source.name}: {its.reason or f'made over into {count} frames'}")
    judge(field, Case(out / still.with_suffix(".avi").name, sound=True))


KINDS = (truncated, truncated_unannounced, flipped_bytes, zeroed_block, removed_block, doubled_block, damaged_header,
         appended, announced_otherwise, unknown_codec, no_video, playlists, special_files, grows_while_read, transcoded)
