"""Clips of any format made over into CoViAR's: MPEG-4 part 2 in AVI, a key frame every 12, no B-frames, 340x256 pixels.

docs/methods.md, section 4.1. The published pipeline asks FFmpeg for quality 1 and gets quantiser 2, its lower bound.
"""

import csv
import hashlib
import io
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain, count
from math import ceil
from pathlib import Path, PurePosixPath

import av
import numpy as np
from av.video.frame import PictureType
from av.video.reformatter import VideoReformatter

from kdlab.clips.compressed import Unsuited, scan
from kdlab.clips.container import DamagedClip, Walk, opened
from kdlab.clips.decode import upright
from kdlab.clips.tables import check_name, read_table
from kdlab.clips.timeline import Timeline, timeline
from kdlab.clips.tree import Tree, named, on_disk, why_no_file
from kdlab.system.contents import content_keys
from kdlab.system.files import in_draft, sweep, write_atomically
from kdlab.system.ours import NotOurs, begins_with
from kdlab.system.pool import each
from kdlab.system.progress import track
from kdlab.system.values import whole

_LARGEST = 2**13 - 1  # its header has 13 bits for each side
_LONGEST_PAUSE = 60_000  # empty places in a row that FFmpeg writes into an AVI file
_SUM = ".index.csv.sha256"  # beside a table that is written here: the hash by which it is known again


@dataclass(frozen=True)
class CoviarFormat:
    """``width`` x ``height`` pixels, whatever the aspect ratio was; an I-frame every ``gop`` frames; ``quantiser`` from
    1 (finest) to 31."""

    width: int = 340
    height: int = 256
    gop: int = 12
    quantiser: int = 2

    def __post_init__(self):
        whole(16, width=self.width, height=self.height)
        if max(self.width, self.height) > _LARGEST:
            raise ValueError(f"size {self.width} x {self.height}: a side of an MPEG-4 picture has at most "
                             f"{_LARGEST} pixels")
        whole(2, gop=self.gop)
        whole(1, quantiser=self.quantiser)
        if self.quantiser > 31:
            raise ValueError(f"quantiser={self.quantiser}: give a whole number from 1 to 31")


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


def transcode(source: Path | str, out: Path | str, form: CoviarFormat = CoviarFormat(), workers: int | None = None,
              progress: Callable = track, say: Callable[[str], object] = print) -> list[Made]:
    """Make over a video, or all in a folder, into the same tree below ``out``, frame by frame.

    Each frame keeps its time, to a millisecond where the rate is variable, so ``start`` and ``end`` of a table stay.
    A table ``index.csv`` in the folder is written anew beside the clips, for those that were made; one of somebody
    else's there stays, which ``say`` is told. A second call keeps what is whole, of the same format and made from the
    same source, and makes the rest. What is named like a video and cannot be decoded, or is no file, is left out, with
    the reason; links are followed.
    Raises FileNotFoundError where there is no video, ValueError when two would get one name or one would replace a file
    that was not made here, StorageFull when ``out`` cannot be written.
    """
    given, (source, out) = source, (Path(os.path.realpath(named(place))) for place in (source, out))
    tree, table = Tree(), _table(source / "index.csv")
    if source.is_dir():
        if source == out:
            raise ValueError(f"{out} is the folder of the clips themselves: choose another folder")
        inside = out if source in out.parents else None  # what was made there is no source
        root, files = source, [file for file in tree.videos(source) if inside not in file.parents]
    else:
        root, files = source.parent, [] if why_no_file(source) else [source]
    odd = [Made(file, out / file.relative_to(root).with_suffix(".avi"), reason=why) for file, why in tree.odd.items()]
    if not files:
        why = "".join(f" ({entry.source.name}: {entry.reason})" for entry in odd[:1])
        raise FileNotFoundError(f"{given}: no video there{why}. Name a video, or a folder with videos in it.")
    jobs = [(file, out / file.relative_to(root).with_suffix(".avi"), form) for file in files]
    known: dict[Path, Path] = {file: file for file in files}
    for file, target, _ in jobs:
        if (other := known.setdefault(target, file)) != file or target == file:
            raise ValueError(f"{target} would be made of {file}, and there is {other}: rename one, or choose another "
                             "folder.")
    for _, target, _ in jobs:
        if os.path.lexists(target) and not _is_ours(target):
            raise NotOurs(f"{target} is there already and was not made by `kdlab data transcode`, so it stays as it "
                          "is; choose another folder")
    made = {in_draft(target.name) for _, target, _ in jobs}
    for folder in {target.parent for _, target, _ in jobs}:
        sweep(folder, made.__contains__)
    report = odd + list(progress(each(_make, jobs, workers=workers), "transcoding", len(jobs)))
    _write_table(table, out, say)
    return report


def _table(file: Path) -> list[dict[str, str]]:
    """The rows of a table of clips, if there is one, with the paths as those who read the clips understand them."""
    rows = read_table(file, ("path",)) if file.is_file() else []
    return [row | {"path": check_name(row["path"], f"{file}, row {line}")} for line, row in rows]


def _write_table(rows: list[dict[str, str]], out: Path, say: Callable[[str], object]) -> None:
    """The ``rows`` of a table of clips, for the files that were made of them in ``out``."""
    named = [row | {"path": str(PurePosixPath(row["path"]).with_suffix(".avi"))} for row in rows]
    if not (made := [row for row in named if on_disk(out, row["path"]).is_file()]):
        return
    text, place = io.StringIO(), out / "index.csv"
    writer = csv.DictWriter(text, made[0], lineterminator="\n")
    writer.writeheader()
    writer.writerows(made)
    content = text.getvalue().encode()
    if os.path.lexists(place) and not _is_our_table(place, content):
        return say(f"{place} was not written by `kdlab data transcode`, or was changed since, so it stays as it is; "
                   "move it away, and the same call writes the table of these clips")
    write_atomically(place, lambda path: path.write_bytes(content))
    write_atomically(out / _SUM, lambda path: path.write_text(hashlib.sha256(content).hexdigest(), "utf-8"))


def _is_our_table(place: Path, new: bytes) -> bool:
    """Whether what is there was written here, or is to the byte what would be: by a call that ended too early to note
    its hash."""
    if place.is_symlink() or not place.is_file():
        return False
    content, noted = place.read_bytes(), place.with_name(_SUM)
    return content == new or (noted.is_file() and noted.read_bytes() == hashlib.sha256(content).hexdigest().encode())


def _make(job: tuple[Path, Path, CoviarFormat]) -> Made:
    source, target, form = job
    try:
        line = timeline(source)
        note = f"{form} of {content_keys([source])[source]}" + ("" if line.times is None else ", at its frames' times")
        if not (kept := _is_whole(target, note)):
            write_atomically(target, lambda path: _write(line, path, form, note))
        return Made(source, target, len(scan(target).kinds), target.stat().st_size, kept)
    except (DamagedClip, Unsuited, av.error.FFmpegError, PermissionError) as error:
        return Made(source, target, reason=getattr(error, "reason", None) or str(error))


def _is_ours(target: Path) -> bool:
    """By the comment in the header, which is there also when the rest has rotted."""
    return not target.is_symlink() and target.is_file() and begins_with(target, "CoviarFormat(", 2**16)


def _is_whole(target: Path, note: str) -> bool:
    try:
        with opened(target) as stream:
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
    with opened(line.path) as stream, av.open(str(target), "w", format="avi", options={"fflags": "+bitexact"}) as file:
        walk, converter = Walk(stream), VideoReformatter()
        file.metadata["comment"] = note
        made = file.add_stream("mpeg4", rate=rate, options={
            "flags": "+qscale", "global_quality": str(118 * form.quantiser), "qmin": str(form.quantiser),
            "sc_threshold": "1000000000", "bf": "0"})  # no I-frames but the regular ones
        made.width, made.height, made.pix_fmt = form.width, form.height, "yuv420p"
        made.codec_context.gop_size, made.codec_context.thread_count = form.gop, 1
        for frame, tick in zip(walk.frames(), ticks, strict=False):
            if matrix := frame.side_data.get("DISPLAYMATRIX"):
                turned = upright(converter.reformat(frame, format="rgb24", threads=1).to_ndarray(), matrix)
                frame = av.VideoFrame.from_ndarray(turned, "rgb24")
            frame = converter.reformat(frame, form.width, form.height, "yuv420p", interpolation="BICUBIC", threads=1)
            frame.pts, frame.time_base, frame.pict_type = tick, 1 / rate, PictureType.NONE
            file.mux(made.encode(frame))
        file.mux(made.encode())
