"""Clips of any format made over into CoViAR's: MPEG-4 part 2 in AVI, a key frame every 12, no B-frames, 340x256 pixels.

docs/methods.md, section 4.1. The published pipeline asks FFmpeg for quality 1 and gets quantiser 2, its lower bound.
"""

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from math import ceil
from pathlib import Path

import av
from av.video.frame import PictureType
from av.video.reformatter import VideoReformatter

from kdlab.clips.cache import file_key
from kdlab.clips.catalogue import is_video
from kdlab.clips.compressed import Unsuited, scan
from kdlab.clips.container import DamagedClip, Walk, opened
from kdlab.clips.orientation import upright
from kdlab.files import write_atomically
from kdlab.processes import available_cores, pool
from kdlab.progress import track

__all__ = ["CoviarFormat", "Made", "transcode"]


@dataclass(frozen=True)
class CoviarFormat:
    """``width`` x ``height`` pixels, whatever the aspect ratio was; an I-frame every ``gop`` frames; ``quantiser`` from
    1 (finest) to 31."""

    width: int = 340
    height: int = 256
    gop: int = 12
    quantiser: int = 2

    def __post_init__(self):
        if min(self.width, self.height) < 16 or self.gop < 2 or not 1 <= self.quantiser <= 31:
            raise ValueError(f"cannot make {self}: sides of 16 or more, gop >= 2, quantiser from 1 to 31")


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
              progress: Callable = track) -> list[Made]:
    """Make over a video, or all in a folder, into the same tree below ``out``, frame by frame, at the mean frame rate.

    A second call keeps what is whole, of the same format and made from the same source, and makes the rest. Files that
    cannot be decoded are left out, with the reason. Raises FileNotFoundError where there is no video, ValueError when
    two would get one name, StorageFull when ``out`` cannot be written.
    """
    source, out = Path(source).expanduser().resolve(), Path(out).expanduser().resolve()
    root = source.parent if source.is_file() else source
    files = [source] if source.is_file() else [
        file for file in sorted(source.rglob("*")) if is_video(file) and not file.is_relative_to(out)]
    if not files:
        raise FileNotFoundError(f"{source}: no video there. Name a video, or a folder with videos in it.")
    jobs = [(file, out / file.relative_to(root).with_suffix(".avi"), form) for file in files]
    known: dict[Path, Path] = {file: file for file in files}
    for file, target, _ in jobs:
        if (other := known.setdefault(target, file)) != file or target == file:
            raise ValueError(f"{target} would be made of {file}, and there is {other}: rename one, or choose another "
                             "folder.")
    workers = min(workers or available_cores(), len(jobs))
    if workers == 1:  # to start a process takes longer than many a clip
        return list(progress(map(_make, jobs), "transcoding", len(jobs)))
    with pool(workers, preload=[__name__]) as processes:
        return list(progress(processes.map(_make, jobs), "transcoding", len(jobs)))


def _make(job: tuple[Path, Path, CoviarFormat]) -> Made:
    source, target, form = job
    try:
        note = f"{form} of {file_key(source)}"
        if not (kept := _is_whole(target, note)):
            write_atomically(target, lambda path: _write(source, path, form, note))
        return Made(source, target, len(scan(target).kinds), target.stat().st_size, kept)
    except (DamagedClip, Unsuited, av.error.FFmpegError, PermissionError) as error:
        return Made(source, target, reason=getattr(error, "reason", None) or str(error))


def _is_whole(target: Path, note: str) -> bool:
    try:
        with opened(target) as stream:
            same = stream.container.metadata.get("comment") == note
        return same and bool(scan(target))
    except (FileNotFoundError, DamagedClip, Unsuited):
        return False


def _write(source: Path, target: Path, form: CoviarFormat, note: str) -> None:
    try:
        with opened(source) as stream, av.open(str(target), "w", format="avi", options={"fflags": "+bitexact"}) as file:
            walk, converter, number = Walk(stream), VideoReformatter(), 0
            file.metadata["comment"] = note
            fps = walk.info.fps or 25.0
            rate = Fraction(fps).limit_denominator(65535 // ceil(fps))  # the format has 16 bits for the clock
            made = file.add_stream("mpeg4", rate=rate, options={
                "flags": "+qscale", "global_quality": str(118 * form.quantiser), "qmin": str(form.quantiser),
                "sc_threshold": "1000000000", "bf": "0"})  # no I-frames but the regular ones
            made.width, made.height, made.pix_fmt = form.width, form.height, "yuv420p"
            made.codec_context.gop_size, made.codec_context.thread_count = form.gop, 1
            for number, frame in enumerate(walk.frames()):
                if matrix := frame.side_data.get("DISPLAYMATRIX"):
                    turned = upright(converter.reformat(frame, format="rgb24").to_ndarray(), matrix)
                    frame = av.VideoFrame.from_ndarray(turned, "rgb24")
                frame = converter.reformat(frame, form.width, form.height, "yuv420p", interpolation="BICUBIC")
                frame.pts, frame.time_base, frame.pict_type = number, 1 / rate, PictureType.NONE
                file.mux(made.encode(frame))
            file.mux(made.encode())
    except BaseException:
        target.unlink(missing_ok=True)
        raise
