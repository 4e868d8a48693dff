"""Decoding of video files to RGB frames; damaged files raise an error instead of giving fewer frames.

PyAV decodes in order, which is correct for every format. For single frames of H.264 in MP4 or Matroska it seeks to the
IDR picture before the frame, if every frame has its own time, and finds the frame by its time. (Times are wrong in AVI
with packed B-frames of MPEG-4 part 2.) It does not seek to other key frames, because decoding from there may differ
from decoding in order. Pixels are used as stored, even if they are not square. ``kdlab.video.decoders`` has other
decoders, for a second opinion.

No decoder reports a truncated file, so the announced length is compared with the decoded length.
"""

import math
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path

import av
import cv2
import numpy as np
from av.video.frame import PictureType
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream

from kdlab.video.container import (
    Frames,
    Indices,
    Read,
    StreamReader,
    Timeline,
    open_stream,
    probe,
    timeline,
)
from kdlab.video.decoders import frames_by


@dataclass(frozen=True)
class Decoded:
    """Frames (T, H, W, 3), uint8, RGB, upright; ``fps`` is the mean rate."""

    frames: np.ndarray
    fps: float


def read_frames(path: Path | str, indices: Indices = None, decoder: str = "pyav") -> Decoded:
    """Read all frames, or those at ``indices`` (counted from 0 in presentation order; any order, repeats allowed).

    If frames differ in size, they are scaled to the first frame. Rotation and mirroring in the file's metadata, as
    phones store them, are applied. Another ``decoder`` than PyAV (``kdlab.video.decoders.OTHERS``) gives a second
    opinion: what it reads, unchecked.

    Raises FileNotFoundError; DamagedClip for a file that is empty, truncated (even after the last index), undecodable
    or without video; ValueError for an index outside the clip, and for another decoder that does not load or read.
    """
    by = each_frame if decoder == "pyav" else partial(frames_by, decoder)
    return Decoded(gathered(by, Path(path), indices), probe(path).fps)


def each_frame(path: Path | str, indices: Indices = None) -> Frames:
    """Yield the frames of ``read_frames`` one by one, uint8 (H, W, 3): all, or those at ascending ``indices``.

    Raises the same errors. DamagedClip may come only after the last frame.
    """
    wanted, given = None, 0
    if indices is not None:
        wanted = frame_numbers(path, indices).reshape(-1)
        if (np.diff(wanted, prepend=-1) <= 0).any():
            raise ValueError(
                f"{path}: frames are counted from 0, and read one by one in ascending order; asked for "
                f"{str(wanted)[:60]}."
            )
        line = timeline(path) if wanted.size else None
        if line and line.keys and wanted[-1] < line.count:
            with open_stream(path) as stream:
                for picture in _over_key_frames(stream, line, wanted):
                    given += 1
                    yield picture
            if given == len(wanted):
                return
    with open_stream(path) as stream:  # decode in order if seeking failed; this may name the fault
        yield from _in_order(path, StreamReader(stream), wanted, given)


def frame_numbers(path: Path | str, indices: Sequence[int] | np.ndarray) -> np.ndarray:
    """``indices`` as an int64 array. Raises ValueError unless they are integers."""
    numbers = np.asarray(indices)
    if numbers.size and numbers.dtype.kind not in "iu":
        raise ValueError(
            f"{path}: the frame indices {str(indices)[:60]} are no whole numbers of frames."
        )
    return numbers.astype(np.int64)


def gathered(each: Read, path: Path, indices: Indices = None) -> np.ndarray:
    """Stack the frames of ``each(path)`` into one array uint8 (T, H, W, C).

    With ``indices`` (any order, repeats allowed), stack the frames of ``each(path, ascending indices)`` in the order of
    ``indices``. Raises ValueError if there are no frames.
    """
    order, least = slice(None), 1
    if indices is None:
        frames = list(each(path))
    else:
        wanted, order = np.unique(frame_numbers(path, indices).reshape(-1), return_inverse=True)
        # empty indices: read frame 0 for its shape
        wanted = wanted if wanted.size else np.zeros(1, np.int64)
        frames, least = list(each(path, wanted)), len(wanted)
    if len(frames) < least:
        raise ValueError(
            f"{path}: reading it gave {len(frames)} frames; {least} or more were asked for."
        )
    return np.stack(frames)[order]


def mirrored(pixels: np.ndarray) -> np.ndarray:
    """Swap left and right of ``uint8 (..., w, C)``."""
    # NumPy's negative steps along a row take twelve times as long: a third of all reading time.
    rows = np.ascontiguousarray(pixels).reshape(-1, *pixels.shape[-2:])
    return cv2.flip(rows, 1).reshape(pixels.shape)


def upright(picture: np.ndarray, matrix: bytes | None) -> np.ndarray:
    """Rotate ``(H, W, C)`` by quarter turns and mirror it, as FFmpeg's own tools do; the result is contiguous.

    ``matrix`` is a frame's display matrix, 9 int32. A matrix of zeros, as some writers store, changes nothing.
    """
    if matrix is None:
        return picture
    a, b, _, c, d, *_ = np.frombuffer(matrix, np.int32).tolist()
    if abs(b) + abs(c) > abs(a) + abs(d):
        picture, a, d = picture.swapaxes(0, 1), c, b
    return np.ascontiguousarray(picture[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1])


class _Pictures:
    """Converts decoded frames to upright RGB pictures of the size of the ``first`` frame."""

    def __init__(self, first: av.VideoFrame):
        self._size = first.width, first.height
        self._matrix = first.side_data.get("DISPLAYMATRIX")
        self._converter = VideoReformatter()  # one per file: one per frame takes four times as long

    def of(self, frame: av.VideoFrame) -> np.ndarray:
        # rgb24 only: rgba is wrong in the last columns of some widths. Threads cost more than they save.
        return upright(
            self._converter.reformat(frame, *self._size, "rgb24", threads=1).to_ndarray(),
            self._matrix,
        )


def _in_order(path: Path, reader: StreamReader, wanted: np.ndarray | None, given: int) -> Frames:
    """Yield all frames, or the ``wanted`` ones after the first ``given``; other frames are decoded and dropped."""
    pictures = None
    last = math.inf if wanted is None else wanted.max(initial=0)
    for number, frame in enumerate(reader.frames(last)):
        pictures = pictures or _Pictures(frame)
        if wanted is None:
            yield pictures.of(frame)
        elif given < len(wanted) and wanted[given] == number:
            given += 1
            yield pictures.of(frame)
    if wanted is not None and given < len(wanted):
        raise ValueError(
            f"{path}: frame index {wanted[-1]} is outside the clip, which has {reader.decoded} frames. "
            f"Use indices from 0 to {reader.decoded - 1}."
        )


# --- single frames -------------------------------------------------------------------------------------------------


def _over_key_frames(stream: VideoStream, line: Timeline, wanted: np.ndarray) -> Frames:
    """As ``_in_order``, seeking to the last key before each wanted frame. Ends early if anything is unexpected.

    A B-frame is held back until the next other frame, because damage to its references may show only there.
    """
    pictures, held, at, frames = None, [], -math.inf, iter(())
    size = line.info.width, line.info.height
    try:
        for time in (line.stamps[number] for number in wanted):
            key = line.keys[bisect_right(line.keys, time) - 1]
            if key > at:  # otherwise the key has been passed, and decoding reaches the frame
                if held and not _settles(frames):
                    return
                yield from held
                held.clear()
                stream.container.seek(key, stream=stream)
                frames = stream.container.decode(stream)
                if (first := next(frames, None)) is None or first.pts > key:
                    return
                frames = chain([first], frames)
            for frame in frames:
                if frame.is_corrupt or (frame.width, frame.height) != size:
                    return
                if frame.pict_type != PictureType.B:
                    yield from held
                    held.clear()
                if frame.pts == time:
                    break
            else:
                return
            pictures, at = pictures or _Pictures(frame), time
            held.append(pictures.of(frame))
        if frame.pict_type != PictureType.B or _settles(frames):
            yield from held
    except av.error.FFmpegError:
        return


def _settles(frames: Iterator[av.VideoFrame]) -> bool:
    """Whether the frames after a B-frame are sound, up to the next frame of another type."""
    for frame in frames:
        if frame.is_corrupt or frame.pict_type != PictureType.B:
            return not frame.is_corrupt
    return True
