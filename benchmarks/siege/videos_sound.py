"""Videos that are odd and sound: refusing them, or reading anything else than an in-order decode, is wrong."""

import struct
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.stream import Disposition

from siege.attack import Attack
from siege.films import begin, decode, encode, film, numbered, packets, replace_matrix, turned
from siege.videos import Case, judged

CODECS = (("libx264", "mp4", "yuv420p"), ("libx264", "mkv", "yuv444p"), ("libx265", "mp4", "yuv420p"),
          ("mpeg4", "avi", "yuv420p"), ("mpeg4", "mp4", "yuv420p"), ("libvpx", "webm", "yuv420p"),
          ("libvpx-vp9", "webm", "yuv420p"), ("libsvtav1", "mkv", "yuv420p"), ("mjpeg", "avi", "yuvj420p"),
          ("ffv1", "mkv", "bgr0"), ("mpeg2video", "mpg", "yuv420p"), ("mpeg1video", "mpg", "yuv420p"),
          ("huffyuv", "avi", "rgb24"), ("png", "mov", "rgb24"), ("wmv2", "wmv", "yuv420p"), ("flv", "flv", "yuv420p"),
          ("gif", "gif", "rgb8"), ("rawvideo", "avi", "yuv420p"), ("qtrle", "mov", "rgb24"), ("prores", "mov",
          "yuv422p10le"), ("utvideo", "avi", "gbrp"), ("libx264", "ts", "yuv420p"), ("libx264", "flv", "yuv420p"))
DEPTHS = (("libx264", "mp4", "yuv420p10le"), ("libx264", "mp4", "gray"), ("libx265", "mp4", "yuv420p12le"),
          ("ffv1", "mkv", "yuv420p16le"), ("ffv1", "mkv", "yuva420p"), ("ffv1", "mkv", "bgra"), ("png", "mov", "rgba"),
          ("png", "mov", "gray16be"), ("png", "mov", "rgb48be"), ("png", "mov", "monob"), ("libvpx-vp9", "webm",
          "gbrp"), ("libvpx-vp9", "webm", "yuva420p"), ("ffv1", "mkv", "yuv410p"), ("libx264", "mp4", "yuvj420p"),
          ("libx265", "mp4", "gray10le"), ("prores", "mov", "yuva444p10le"))


@judged
def codecs(field: Attack) -> Case:
    """Any codec in any container, among them ones that few people use."""
    codec, ending, pix_fmt = field.pick(CODECS)
    width, height = 2 * field.rng.integers(32, 48, 2)
    return Case(encode(field.root / f"clip.{ending}", film(field.rng, 20, width, height), codec, pix_fmt), sound=True)


@judged
def depths(field: Attack) -> Case:
    """10, 12 and 16 bits, grey, black and white, RGB planes, transparency."""
    codec, ending, pix_fmt = field.pick(DEPTHS)
    return Case(encode(field.root / f"clip.{ending}", film(field.rng, 12), codec, pix_fmt), sound=True)


@judged
def odd_sizes(field: Attack) -> Case:
    """1 × N, N × 1, odd widths."""
    width, height = field.pick(((1, 1), (1, 9), (9, 1), (3, 5), (63, 47), (17, 2), (640, 1), (5, 301)))
    codec, ending, pix_fmt = field.pick((("ffv1", "mkv", "bgr0"), ("libx264", "mp4", "yuv444p"), ("gif", "gif",
                                           "rgb8"), ("png", "mov", "rgb24"), ("libvpx-vp9", "webm", "yuv444p")))
    return Case(encode(field.root / f"clip.{ending}", film(field.rng, 9, width, height), codec, pix_fmt), sound=True)


@judged
def few_frames(field: Attack) -> Case:
    """One frame, two, three, with B-frames around them."""
    codec, ending = field.pick((("libx264", "mp4"), ("mpeg4", "avi"), ("libvpx", "webm"), ("libx264", "mkv")))
    count = int(field.rng.integers(1, 4))
    return Case(encode(field.root / f"clip.{ending}", film(field.rng, count), codec), sound=True)


@judged
def still_clips(field: Attack) -> Case:
    """Frames that do not differ at all: P-frames of a few bytes."""
    count, width, height = int(field.rng.integers(5, 30)), *field.rng.choice([16, 32, 48], 2)
    codec, ending = field.pick((("mpeg4", "avi"), ("mpeg4", "mp4"), ("libx264", "mp4"), ("libvpx", "webm")))
    frames = np.repeat(film(field.rng, 1, width, height), count, 0)
    return Case(encode(field.root / f"still.{ending}", frames, codec), sound=True)


@judged
def almost_still(field: Attack) -> Case:
    """A long wait, then motion: single real frames among the tiny ones."""
    width, height = field.rng.choice([16, 32, 48], 2)
    frames = np.repeat(film(field.rng, 4, width, height), [9, 1, 12, 3], 0)
    return Case(encode(field.root / "wait.avi", frames, "mpeg4"), sound=True)


@judged
def interlaced(field: Attack) -> Case:
    """Two half-pictures a frame."""
    codec, ending = field.pick((("mpeg2video", "mpg"), ("mpeg4", "avi"), ("mpeg2video", "mkv")))
    return Case(encode(field.root / f"clip.{ending}", film(field.rng, 15, 64, 64), codec,
                       options={"flags": "+ildct+ilme"}), sound=True)


@judged
def b_frames(field: Attack) -> Case:
    """MPEG-4 part 2 and H.264 with B-frames, whose order in the file is another than in time."""
    codec, ending = field.pick((("mpeg4", "avi"), ("mpeg4", "mp4"), ("libx264", "mkv"), ("libx264", "mp4"),
                                  ("libx264", "avi")))
    return Case(encode(field.root / f"clip.{ending}", film(field.rng, 26), codec, options={"bf": "2", "g": "9"}),
                sound=True)


@judged
def variable_rate(field: Attack) -> Case:
    """Frames at random times, with jumps of minutes."""
    steps = field.rng.choice([0.5, 1, 2, 3, 2500], 20, p=[0.3, 0.3, 0.2, 0.15, 0.05])
    ending = field.pick(("mp4", "mkv"))
    return Case(encode(field.root / f"phone.{ending}", film(field.rng, 20), times=np.cumsum(steps)), sound=True)


@judged
def gaps_in_avi(field: Attack) -> Case:
    """Times that leave frames out: AVI writes packets of no bytes for them."""
    times = np.cumsum(field.rng.choice([1, 1, 1, 3], 18))
    return Case(encode(field.root / "capture.avi", film(field.rng, 18), "mpeg4", times=times), sound=True)


@judged
def strange_starts(field: Attack) -> Case:
    """Times that begin below zero, or after minutes."""
    ending, first = field.pick(("mp4", "mkv", "ts")), int(field.rng.choice([-7, -1, 3, 900, 90000]))
    first = max(0, first) if ending == "ts" else first
    key = {"avoid_negative_ts": "disabled"} if first < 0 else {}
    path = encode(field.root / f"late.{ending}", film(field.rng, 16), times=first + np.arange(16), key=key)
    return Case(path, sound=first >= 0)


@judged
def edit_lists(field: Attack) -> Case:
    """An MP4 whose edit list hides its first frames."""
    path = encode(field.root / "cut.mp4", film(field.rng, 24), options={"bf": "0"})
    data = bytearray(path.read_bytes())
    at = data.index(b"elst") + 4 + 4 + 4  # version and flags, count
    scale = Fraction(*struct.unpack(">I", data[data.index(b"mdhd") + 16: data.index(b"mdhd") + 20]), 25)
    data[at + 4: at + 8] = struct.pack(">i", int(scale * int(field.rng.integers(1, 12))))
    path.write_bytes(data)
    return Case(path, sound=True)


@judged
def display_matrices(field: Attack) -> Case:
    """Turned by quarters, mirrored, a matrix of zeros, one that also scales."""
    matrix = field.pick(((1, 0, 0, 1), (0, 1, -1, 0), (-1, 0, 0, -1), (0, -1, 1, 0), (-1, 0, 0, 1), (1, 0, 0, -1),
                           (0, 1, 1, 0), (0, -1, -1, 0), (0, 0, 0, 0)))
    path = encode(field.root / "phone.mp4", film(field.rng, 10, 48, 32))
    replace_matrix(path, matrix, float(field.rng.choice([1, 2])))
    shown = matrix if any(matrix) else (1, 0, 0, 1)
    return Case(path, sound=True, upright=lambda frames: turned(frames, shown))


@judged
def cover_first(field: Attack) -> Case:
    """A cover picture that the header names before the film."""
    path = encode(field.root / "song.mp4", film(field.rng, 12), key={})  # the header behind the film: offsets stay
    cover = encode(field.root / "cover.mov", film(field.rng, 1, 80, 80), "mjpeg", "yuvj420p")
    with av.open(str(cover)) as file:
        picture = next(bytes(packet) for packet in file.demux(video=0) if packet.size)
    box = lambda kind, content: struct.pack(">I", 8 + len(content)) + kind + content  # noqa: E731
    handler = box(b"hdlr", bytes(8) + b"mdirappl" + bytes(9))
    item = box(b"ilst", box(b"covr", box(b"data", struct.pack(">II", 13, 0) + picture)))
    extra = box(b"udta", box(b"meta", bytes(4) + handler + item))
    data = path.read_bytes()
    at = data.index(b"moov") - 4
    behind = at + 8 + struct.unpack(">I", data[at + 8: at + 12])[0]  # the end of mvhd
    size = struct.pack(">I", struct.unpack(">I", data[at: at + 4])[0] + len(extra))
    path.write_bytes(data[:at] + size + data[at + 4: behind] + extra + data[behind:])
    return Case(path, sound=True)


@judged
def several_streams(field: Attack) -> Case:
    """Two films, a sound or a subtitle before the film, a cover beside it."""
    ending, first = field.pick((("mkv", "subtitle"), ("mp4", "sound"), ("mkv", "film"), ("mp4", "film"),
                                  ("mkv", "sound"), ("avi", "film")))
    path = field.root / f"several.{ending}"
    codec = "mpeg4" if ending == "avi" else "libx264"
    with av.open(str(path), "w") as file:
        if first == "sound":
            sound = file.add_stream("aac", rate=8000, layout="mono")
        elif first == "subtitle":
            text = field.root / "words.srt"
            text.write_text("1\n00:00:00,000 --> 00:00:00,300\nhello\n")
            with av.open(str(text)) as words:
                file.add_stream_from_template(words.streams.subtitles[0])
        else:
            other = begin(file, codec, 32, 48)
        stream = begin(file, codec, 64, 48)
        frames = packets(stream, film(field.rng, 14))
        if first == "film":
            frames += packets(other, film(field.rng, 9, 32, 48))
        elif first == "sound":
            silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
            silence.sample_rate, silence.pts = 8000, 0
            frames += sound.encode(silence) + sound.encode()
        for packet in frames:
            file.mux(packet)
    return Case(path, sound=True)


@judged
def film_and_cover(field: Attack) -> Case:
    """A picture stream marked as cover, stored before or behind the film."""
    path, before = field.root / "cover.mp4", bool(field.number(2))
    with av.open(str(path), "w") as file:
        streams = {}
        for name in ("cover", "film") if before else ("film", "cover"):
            streams[name] = begin(file, *(("mjpeg", 80, 80, "yuvj420p") if name == "cover" else ("libx264", 64, 48)))
        streams["cover"].disposition = Disposition.attached_pic
        frames = packets(streams["cover"], film(field.rng, 1, 80, 80)) + packets(streams["film"], film(field.rng, 12))
        for packet in frames:
            file.mux(packet)
    return Case(path, sound=True)


@judged
def frames_change(field: Attack) -> Case:
    """Size or pixel format changes in mid-film."""
    way = field.pick(("size", "format", "stream"))
    if way == "stream":
        parts = [encode(field.root / f"{size[0]}.ts", film(field.rng, 9, *size)) for size in ((64, 48), (48, 64))]
        path = field.root / "joined.ts"
        path.write_bytes(b"".join(part.read_bytes() for part in parts))
        return Case(path)
    path, found = field.root / "mixed.avi", []
    for n in range(2):
        shape = (64, 48) if way == "format" or not n else (32, 64)
        part = encode(field.root / f"{n}.avi", film(field.rng, 8, *shape), "mjpeg",
                      "yuvj444p" if way == "format" and n else "yuvj420p")
        with av.open(str(part)) as file:
            found += [bytes(packet) for packet in file.demux(video=0) if packet.size]
    with av.open(str(path), "w") as file:
        stream = begin(file, "mjpeg", 64, 48, "yuvj420p")
        for number, content in enumerate(found):
            packet = av.Packet(content)
            packet.pts = packet.dts = number
            packet.time_base, packet.stream, packet.is_keyframe = Fraction(1, 25), stream, True
            file.mux(packet)
    return Case(path)


@judged
def misnamed(field: Attack) -> Case:
    """A sound video whose ending says another container."""
    codec, ending = field.pick((("libx264", "mp4"), ("mpeg4", "avi"), ("libvpx", "webm"), ("libx264", "mkv")))
    path = encode(field.root / f"clip.{ending}", film(field.rng, 12), codec)
    return Case(path.rename(field.root / f"clip.{field.pick(('mp4', 'avi', 'mov', 'mkv', 'm4v'))}"), sound=True)


@judged
def names(field: Attack) -> Case:
    """Colons, blanks, quotes, line ends, percent signs, bytes that are no text, long names, relative paths."""
    name = field.pick(("a:b", "file:x", "http:x", "concat:a", "pipe:0", "a|b", "clip%03d", "a b ", "-x", "it's \"so\"",
                       "new\nline", "tab\t", "ümläut é", "走る", "\udcff\udcfe", "*?[a]", "#", "x" * 240, "~", "$HOME",
                       "x.mp4")) + ".mp4"
    path = encode(field.root / "made.mp4", film(field.rng, 10))
    path = path.rename(Path(name) if field.number(2) else field.root / name)
    return Case(path, sound=True, names=(name, "path"))


@judged
def colons(field: Attack) -> Case:
    """A name relative to the current folder that might be read as a protocol."""
    name = field.pick(("a:b", "file:x", "http:x", "concat:a", "pipe:0", "data:x", "c:x")) + ".mp4"
    return Case(encode(field.root / "made.mp4", film(field.rng, 10)).rename(Path(name)), sound=True)


@judged
def long_paths(field: Attack) -> Case:
    """A path of nearly as many characters as there may be."""
    folder = field.root.joinpath(*["deep" * 40] * 20)
    folder.mkdir(parents=True)
    return Case(encode(field.root / "clip.mp4", film(field.rng, 10)).rename(folder / "clip.mp4"), sound=True)


def big_frames(field: Attack) -> None:
    """Seconds of 1080p: memory must depend on what a network sees, raw and enhanced."""
    from kdlab.clips.catalogue import ClipRecord
    from kdlab.clips.enhance import Gamma
    from kdlab.clips.views import ClipBatches, Enhanced, Raw, Window

    frames = np.broadcast_to(film(field.rng, 1, 1920, 1080), (260, 1080, 1920, 3))
    path = encode(field.root / "big.mp4", frames, options={"g": "50", "bf": "0"})
    enhanced, segment = bool(field.number(2)), bool(field.number(2))
    times = (1.0, 2.0) if segment else (None, None)
    view = Enhanced(Gamma(1.8)) if enhanced else Raw()
    batches = ClipBatches([ClipRecord("big", path, 0, "train", "g", *times)], {"v": view}, Window(8, 32, 32))
    field.call([path], lambda: (batches.check(), next(iter(batches.evaluation()))))


def segments(field: Attack) -> None:
    """Labelled times in a film of variable rate, with and without B-frames: the frames of those times are wanted."""
    from kdlab.clips.catalogue import ClipRecord
    from kdlab.clips.views import ClipBatches, Raw, Window

    steps = np.where(np.arange(90) < int(field.rng.integers(30, 60)), 1, field.pick((1, 3, 5, 0.5)))
    path = encode(field.root / f"long.{field.pick(('mp4', 'mkv'))}", numbered(90), times=np.cumsum(steps),
                  options={"bf": str(field.number(3)), "crf": "12"})
    truth = decode(path)
    first, last = sorted(field.rng.uniform(0, truth.times[-1], 2))
    last = max(last, first + 1.0)
    record = ClipRecord("long", path, 0, "train", "g", float(first), float(last))
    batches = ClipBatches([record], {"v": Raw()}, Window(6, 16, 16))
    answer = field.call([path], lambda: (batches.check(), [next(iter(batches.evaluation()))])[1])
    if not answer:
        if ((truth.times >= first) & (truth.times < last)).sum() >= 6:
            field.found("wrong", f"a sound segment is refused: {answer.message}")
        return
    levels = 255 * answer[0].views["v"][0].mean((0, 2, 3)).numpy()
    shown = truth.times[np.abs(truth.frames.mean((1, 2, 3))[None] - levels[:, None]).argmin(1)]
    slack = 1.01 * np.diff(truth.times).max()
    if shown.min() < first - slack or shown.max() > last + slack or np.ptp(shown) < (last - first) / 2 - slack:
        field.found("wrong", f"{path.name}: frames from {shown.min():.2f} to {shown.max():.2f} s, where "
                             f"{first:.2f} to {min(last, truth.times[-1]):.2f} s is labelled")


KINDS = (codecs, depths, odd_sizes, few_frames, still_clips, almost_still, interlaced, b_frames, variable_rate,
         gaps_in_avi, strange_starts, edit_lists, display_matrices, cover_first, several_streams, film_and_cover,
         frames_change, misnamed, names, colons, long_paths, segments, big_frames)
