"""Transcoding of clips to CoViAR's format: MPEG-4 part 2 in AVI, a key frame every 12, no B-frames, 340x256 pixels.

H.264 is the other codec; there, too, each frame is predicted from the previous one. docs/methods.md, section 4.1. The
published pipeline asks FFmpeg for quality 1 and gets quantiser 2, FFmpeg's lower bound.
"""

import os
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain, count
from math import ceil, log2
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import av
import numpy as np
from av.video.frame import PictureType
from av.video.reformatter import VideoReformatter

from kdlab.datasets.files import files_below, on_disk, read_table, relative_name, user_path
from kdlab.system.files import (
    NotOurs,
    begins_with,
    content_keys,
    delete_old_drafts,
    write_atomically,
    write_content,
)
from kdlab.system.pool import each, track
from kdlab.system.values import integer, one_of
from kdlab.video.compressed import scan
from kdlab.video.container import StreamReader, Timeline, UnusableFile, open_stream, timeline
from kdlab.video.decode import upright

_LONGEST_PAUSE = 60_000  # most consecutive empty places that FFmpeg writes into an AVI file


@dataclass(frozen=True)
class CoviarFormat:
    """Target format: ``width`` x ``height`` pixels for any aspect ratio of the source; an I-frame per ``gop`` frames.

    ``quantiser`` is from 1 (finest) to 31. ``codec`` is ``mpeg4`` or ``h264``; both quantise in steps of the same size.
    Raises ValueError for values out of range.
    """

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
        one_of(("mpeg4", "h264"), codec=self.codec)

    def encoder(self) -> tuple[str, dict[str, str]]:
        """Name and options of FFmpeg's encoder: regular I-frames only, and one reference frame."""
        if self.codec == "mpeg4":
            return "mpeg4", {
                "flags": "+qscale",
                "global_quality": str(118 * self.quantiser),
                "qmin": str(self.quantiser),
                "sc_threshold": "1000000000",
                "bf": "0",
            }
        # a step of 2 ** ((QP - 4) / 6), in MPEG-4 twice the quantiser
        step = round(4 + 6 * log2(2 * self.quantiser))
        return "libx264", {
            "x264-params": f"qp={step}:ref=1:bframes=0:weightp=0:scenecut=0:keyint={self.gop}:"
            f"min-keyint={self.gop}:threads=1"
        }


class Made(NamedTuple):
    """The result for one file: a target of ``frames`` and ``bytes``, or the ``reason`` why there is none.

    ``kept`` marks a target from an earlier call.
    """

    source: Path
    target: Path
    frames: int = 0
    bytes: int = 0
    kept: bool = False
    reason: str = ""


def transcode(
    source: Path | str,
    out: Path | str,
    form: CoviarFormat = CoviarFormat(),
    workers: int | None = None,
) -> list[Made]:
    """Transcode a video, or all videos in a folder, into the same tree below ``out``, frame by frame.

    Each frame keeps its time (to a millisecond if the rate is variable), so ``start`` and ``end`` of a table stay
    valid. If the folder has an ``index.csv``, one for the new clips is written to ``out``, unless ``out`` has one
    already. A second call keeps complete targets of the same format and source, and makes the others. Videos that
    cannot be decoded are left out, with the reason. Links are followed.

    Raises FileNotFoundError if there is no video, ValueError if two videos would get one name or a target exists that
    this function did not make, and StorageFull if ``out`` cannot be written.
    """
    source, out = (Path(os.path.realpath(user_path(place))) for place in (source, out))
    if source == out or out.is_file():
        raise ValueError(f"{out} is a file, or the folder of the clips: choose another folder")
    if source.is_dir():
        root, files = source, files_below(source)[0]  # first, as it refuses unreadable folders
    else:
        root, files = source.parent, [source]
    table = source / "index.csv"
    rows = read_table(table, ("path",)) if table.is_file() else []
    rows = [row | {"path": relative_name(row["path"], where)} for where, row in rows]
    if source in out.parents:  # earlier targets are no sources
        files = [file for file in files if out not in file.parents]
    if not any(map(Path.is_file, files)):
        raise FileNotFoundError(
            f"{source}: no video there. Name a video, or a folder with videos in it."
        )
    targets = [out / file.relative_to(root).with_suffix(".avi") for file in files]
    _check(files, targets)
    for folder in {target.parent for target in targets}:
        delete_old_drafts(folder)
    results = each(_make, files, targets, [form] * len(files), workers=workers)
    report = list(track(results, "transcoding", len(files)))
    _write_table(rows, out)
    return report


def _check(files: list[Path], targets: list[Path]) -> None:
    """Refuse a target that is made of two files, that is a file itself, or that somebody else has made."""
    for path, number in Counter([*files, *targets]).items():
        if number > 1:
            pairs = zip(files, targets, strict=True)
            of = " and of ".join(str(file) for file, target in pairs if target == path)
            raise ValueError(f"{path} would be made of {of}: rename one, or choose another folder.")
    for target in targets:
        if os.path.lexists(target) and not _is_ours(target):
            raise NotOurs(
                f"{target} is there already and was not made by `kdlab data transcode`, so it stays as it is; "
                "choose another folder"
            )


def _write_table(rows: list[dict[str, str]], out: Path) -> None:
    """Write ``index.csv`` to ``out``: the ``rows`` of the clips that have a target there."""
    import pandas as pd  # importing it takes a second, which workers save

    place, whole = out / "index.csv", []
    for row in rows:
        path = str(PurePosixPath(row["path"]).with_suffix(".avi"))
        if on_disk(out, path).is_file():
            whole.append(row | {"path": path})
    text = pd.DataFrame(whole).to_csv(index=False, lineterminator="\n")
    if whole and not os.path.lexists(place):
        write_content(place, text)
    elif whole and place.read_bytes() != text.encode():
        print(
            f"{place} is there and differs from the table of these clips, so it stays as it is; move it away, and "
            "the same call writes theirs"
        )


def _make(source: Path, target: Path, form: CoviarFormat) -> Made:
    try:
        line = timeline(source)
        note = f"{form} of {content_keys([source])[source]}"
        if line.times is not None:
            note += ", at its frames' times"
        kept = _is_whole(target, note)
        if not kept:
            write_atomically(target, lambda path: _write(line, path, form, note))
        return Made(source, target, len(scan(target).kinds), target.stat().st_size, kept)
    except (UnusableFile, av.error.FFmpegError, FileNotFoundError, PermissionError) as error:
        return Made(source, target, reason=getattr(error, "reason", None) or str(error))


def _is_ours(target: Path) -> bool:
    """Whether kdlab made the file, by the comment in its header, which survives damage to the rest."""
    return (
        not target.is_symlink() and target.is_file() and begins_with(target, "CoviarFormat(", 2**16)
    )


def _is_whole(target: Path, note: str) -> bool:
    with suppress(FileNotFoundError, UnusableFile), open_stream(target) as stream:
        return stream.container.metadata.get("comment") == note and bool(scan(target))
    return False


def _clock(line: Timeline) -> tuple[Fraction, Iterable[int]]:
    """The target's ticks per second, and the tick of each frame.

    If the source has a constant rate, frame n has tick n; else ticks follow the frames' times, to a millisecond or
    coarser. AVI leaves the place of a tick without a frame empty.
    """
    if line.times is None:
        fps = line.info.fps or 25.0
        most = 65535 // ceil(fps)  # MPEG-4 has 16 bits for the clock
        return Fraction(fps).limit_denominator(most), count()
    times, numbers = np.rint(1000 * line.times), np.arange(line.count)
    pause = np.diff(times).max(initial=0)
    tick = max(1, int(np.gcd.reduce(times.astype(int))), ceil(pause / _LONGEST_PAUSE))
    ticks = np.rint(times / tick).astype(int)
    distinct = (np.maximum.accumulate(ticks - numbers) + numbers).tolist()
    return Fraction(1000, tick), chain(distinct, count(distinct[-1] + 1))


def _write(line: Timeline, target: Path, form: CoviarFormat, note: str) -> None:
    rate, ticks = _clock(line)
    bitexact = {"fflags": "+bitexact"}
    with (
        open_stream(line.path) as stream,
        av.open(str(target), "w", format="avi", options=bitexact) as file,
    ):
        reader, converter = StreamReader(stream), VideoReformatter()
        file.metadata["comment"] = note
        name, options = form.encoder()
        video = file.add_stream(name, rate=rate, options=options)
        video.width, video.height, video.pix_fmt = form.width, form.height, "yuv420p"
        video.codec_context.gop_size, video.codec_context.thread_count = form.gop, 1
        for frame, tick in zip(reader.frames(), ticks, strict=False):
            if matrix := frame.side_data.get("DISPLAYMATRIX"):
                pixels = converter.reformat(frame, format="rgb24", threads=1).to_ndarray()
                frame = av.VideoFrame.from_ndarray(upright(pixels, matrix), "rgb24")
            frame = converter.reformat(
                frame, form.width, form.height, "yuv420p", interpolation="BICUBIC", threads=1
            )
            frame.pts, frame.time_base, frame.pict_type = tick, 1 / rate, PictureType.NONE
            file.mux(video.encode(frame))
        file.mux(video.encode())
