"""Clips of any format made over into CoViAR's: MPEG-4 part 2 in AVI, a key frame every 12, no B-frames, 340x256 pixels;
or into H.264 in which each frame is made of the one before, too.

docs/methods.md, section 4.1. The published pipeline asks FFmpeg for quality 1 and gets quantiser 2, its lower bound.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain, count
from math import ceil, log2
from pathlib import Path, PurePosixPath

import av
import numpy as np
from av.video.frame import PictureType
from av.video.reformatter import VideoReformatter

from kdlab.clips.compressed import Unsuited, scan
from kdlab.clips.container import DamagedClip, StreamReader, Timeline, open_stream, timeline
from kdlab.clips.decode import upright
from kdlab.clips.files import files_below, read_table, relative_name, user_path
from kdlab.system.files import NotOurs, begins_with, content_keys, delete_old_drafts, write_atomically
from kdlab.system.pool import each, track
from kdlab.system.values import integer

_LONGEST_PAUSE = 60_000  # empty places in a row that FFmpeg writes into an AVI file


@dataclass(frozen=True)
class CoviarFormat:
    """``width`` x ``height`` pixels, whatever the aspect ratio was; an I-frame every ``gop`` frames; ``quantiser`` from
    1 (finest) to 31. ``codec`` is ``mpeg4`` or ``h264``, which then quantises in steps of the same size."""

    width: int = 340
    height: int = 256
    gop: int = 12
    quantiser: int = 2
    codec: str = "mpeg4"

    def __post_init__(self):
        integer(16, width=self.width, height=self.height)
        integer(2, gop=self.gop)
        integer(1, quantiser=self.quantiser)
        if self.quantiser > 31:
            raise ValueError(f"quantiser={self.quantiser}: give a whole number from 1 to 31")
        if self.codec not in ("mpeg4", "h264"):
            raise ValueError(f"codec={self.codec!r}: give 'mpeg4' or 'h264'")

    def encoder(self) -> tuple[str, dict[str, str]]:
        """FFmpeg's name of the encoder, and its options: no I-frames but the regular ones, and one reference frame."""
        if self.codec == "mpeg4":
            return "mpeg4", {"flags": "+qscale", "global_quality": str(118 * self.quantiser),
                             "qmin": str(self.quantiser), "sc_threshold": "1000000000", "bf": "0"}
        step = round(4 + 6 * log2(2 * self.quantiser))  # 2 ** ((QP - 4) / 6), in MPEG-4 twice the quantiser
        return "libx264", {"x264-params": f"qp={step}:ref=1:bframes=0:weightp=0:scenecut=0:keyint={self.gop}:"
                                          f"min-keyint={self.gop}:threads=1"}


@dataclass(frozen=True)
class Made:
    """What became of one file: a target of so many frames and bytes, ``kept`` from an earlier call or made now; or the
    ``reason`` why there is none."""

    source: Path
    target: Path
    frames: int = 0
    bytes: int = 0
    kept: bool = False
    reason: str = ""


def transcode(source: Path | str, out: Path | str, form: CoviarFormat = CoviarFormat(),
              workers: int | None = None) -> list[Made]:
    """Make over a video, or all in a folder, into the same tree below ``out``, frame by frame.

    Each frame keeps its time, to a millisecond where the rate is variable, so ``start`` and ``end`` of a table stay.
    A table ``index.csv`` in the folder is written anew beside the clips that were made; one that is there stays. A
    second call keeps what is whole, of the same format and made from the same source, and makes the rest. What is named
    like a video and cannot be decoded is left out, with the reason; links are followed.
    Raises FileNotFoundError where there is no video, ValueError when two would get one name or one would replace a file
    that was not made here, StorageFull when ``out`` cannot be written.
    """
    source, out = (Path(os.path.realpath(user_path(place))) for place in (source, out))
    if source == out:
        raise ValueError(f"{out} is the folder of the clips themselves: choose another folder")
    root = source if source.is_dir() else source.parent
    rows = read_table(source / "index.csv", ("path",)) if (source / "index.csv").is_file() else []
    rows = [row | {"path": relative_name(row["path"], where)} for where, row in rows]
    files = files_below(source)[0] if source.is_dir() else [source]
    if source in out.parents:
        files = [file for file in files if out not in file.parents]  # what was made there is no source
    if not any(map(Path.is_file, files)):
        raise FileNotFoundError(f"{source}: no video there. Name a video, or a folder with videos in it.")
    targets = {file: out / file.relative_to(root).with_suffix(".avi") for file in files}
    known = {file: file for file in files}
    for file, target in targets.items():
        if known.setdefault(target, file) != file or target == file:
            raise ValueError(f"{target} would be made of {file}, and there is {known[target]}: rename one, or choose "
                             "another folder.")
        if os.path.lexists(target) and not _is_ours(target):
            raise NotOurs(f"{target} is there already and was not made by `kdlab data transcode`, so it stays as it "
                          "is; choose another folder")
    for folder in {target.parent for target in targets.values()}:
        delete_old_drafts(folder)
    made = each(_make, files, targets.values(), [form] * len(files), workers=workers)
    report = list(track(made, "transcoding", len(files)))
    _write_table(rows, out)
    return report


def _write_table(rows: list[dict[str, str]], out: Path) -> None:
    """The ``rows`` of a table of clips, for the files that were made of them in ``out``."""
    import pandas as pd  # a second to import, which workers need not spend

    rows = [row | {"path": str(PurePosixPath(row["path"]).with_suffix(".avi"))} for row in rows]
    made, place = [row for row in rows if (out / row["path"]).is_file()], out / "index.csv"
    text = pd.DataFrame(made).to_csv(index=False, lineterminator="\n")
    if made and not os.path.lexists(place):
        write_atomically(place, lambda path: path.write_text(text, "utf-8", newline=""))
    elif made and place.read_bytes() != text.encode():
        print(f"{place} is there and differs from the table of these clips, so it stays as it is; move it away, and "
              "the same call writes theirs")


def _make(source: Path, target: Path, form: CoviarFormat) -> Made:
    try:
        line = timeline(source)
        note = f"{form} of {content_keys([source])[source]}" + ("" if line.times is None else ", at its frames' times")
        if not (kept := _is_whole(target, note)):
            write_atomically(target, lambda path: _write(line, path, form, note))
        return Made(source, target, len(scan(target).kinds), target.stat().st_size, kept)
    except (DamagedClip, Unsuited, av.error.FFmpegError, FileNotFoundError, PermissionError) as error:
        return Made(source, target, reason=getattr(error, "reason", None) or str(error))


def _is_ours(target: Path) -> bool:
    """By the comment in the header, which is there also when the rest has rotted."""
    return not target.is_symlink() and target.is_file() and begins_with(target, "CoviarFormat(", 2**16)


def _is_whole(target: Path, note: str) -> bool:
    try:
        with open_stream(target) as stream:
            same = stream.container.metadata.get("comment") == note
        return same and bool(scan(target))
    except (FileNotFoundError, DamagedClip, Unsuited):
        return False


def _clock(line: Timeline) -> tuple[Fraction, Iterable[int]]:
    """How many ticks a second the new film has, and each frame's tick.

    They count up where the source has a constant rate; else they follow the frames' own times, to a millisecond. AVI
    leaves the place of a tick without a frame empty.
    """
    if line.times is None:
        fps = line.info.fps or 25.0
        return Fraction(fps).limit_denominator(65535 // ceil(fps)), count()  # the format has 16 bits for the clock
    times, numbers = np.rint(1000 * line.times), np.arange(line.count)
    pause = np.diff(times).max(initial=0)
    tick = max(1, int(np.gcd.reduce(times.astype(int))), ceil(pause / _LONGEST_PAUSE))
    ticks = (np.maximum.accumulate(np.rint(times / tick).astype(int) - numbers) + numbers).tolist()  # no two at once
    return Fraction(1000, tick), chain(ticks, count(ticks[-1] + 1))


def _write(line: Timeline, target: Path, form: CoviarFormat, note: str) -> None:
    rate, ticks = _clock(line)
    bitexact = {"fflags": "+bitexact"}
    with open_stream(line.path) as stream, av.open(str(target), "w", format="avi", options=bitexact) as file:
        reader, converter = StreamReader(stream), VideoReformatter()
        file.metadata["comment"] = note
        name, options = form.encoder()
        made = file.add_stream(name, rate=rate, options=options)
        made.width, made.height, made.pix_fmt = form.width, form.height, "yuv420p"
        made.codec_context.gop_size, made.codec_context.thread_count = form.gop, 1
        for frame, tick in zip(reader.frames(), ticks, strict=False):
            if matrix := frame.side_data.get("DISPLAYMATRIX"):
                turned = upright(converter.reformat(frame, format="rgb24", threads=1).to_ndarray(), matrix)
                frame = av.VideoFrame.from_ndarray(turned, "rgb24")
            frame = converter.reformat(frame, form.width, form.height, "yuv420p", interpolation="BICUBIC", threads=1)
            frame.pts, frame.time_base, frame.pict_type = tick, 1 / rate, PictureType.NONE
            file.mux(made.encode(frame))
        file.mux(made.encode())
