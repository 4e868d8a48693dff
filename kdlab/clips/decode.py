"""Decoding of video files to RGB frames; damaged files raise an error instead of giving fewer frames.

PyAV is the default decoder. It decodes in order, which is correct for every format. For single frames of H.264 in MP4
or Matroska it seeks to the IDR picture before the frame, if every frame has its own time, and finds the frame by its
time. (Times are wrong in AVI with packed B-frames of MPEG-4 part 2.) It does not seek to other key frames, because
decoding from there may differ from decoding in order. Pixels are used as stored, even if they are not square.

``decoder="decord"``, or ``$KDLAB_DECODER``, selects decord, which also decodes in order; its frames must agree with
those of PyAV. When it seeks, decord 0.6.0 silently returns wrong frames of MPEG-4 part 2 with B-frames, of H.264 with
open GOPs and of MP4 files with an edit list. It does not mirror, shortens truncated AVI files, and conceals damaged
frames.

No decoder reports a truncated file, so the announced length is compared with the decoded length.
"""

import math
import os
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from itertools import chain, zip_longest
from pathlib import Path

import av
import numpy as np
from av.video.frame import PictureType
from av.video.reformatter import VideoReformatter

from kdlab.clips.container import DamagedClip, StreamReader, Timeline, open_stream, probe, timeline
from kdlab.clips.container import VideoInfo as VideoInfo

DECODERS = ("pyav", "decord")


def chosen(decoder: str = "") -> str:
    """``decoder``, else ``$KDLAB_DECODER``, else ``pyav``. Raises ValueError if it is unknown or not installed."""
    name = decoder or os.environ.get("KDLAB_DECODER") or "pyav"
    if name not in DECODERS:
        where = "" if decoder else " in KDLAB_DECODER"
        raise ValueError(f"no decoder {name!r}{where}: use {' or '.join(DECODERS)}")
    if name == "decord":
        _decord()
    return name


def raw_name(decoder: str = "") -> str:
    """The cache tag of raw frames, which names the decoder, because frames of two decoders may differ."""
    return "raw" if (name := chosen(decoder)) == "pyav" else f"raw-{name}"


@dataclass(frozen=True)
class Decoded:
    """Frames (T, H, W, 3), uint8, RGB, upright; ``fps`` is the mean rate."""

    frames: np.ndarray
    fps: float


def read_frames(path: Path | str, indices: Sequence[int] | np.ndarray | None = None, decoder: str = "") -> Decoded:
    """Read all frames, or those at ``indices`` (counted from 0 in presentation order; any order, repeats allowed).

    ``decoder`` is ``"pyav"`` or ``"decord"``; empty: ``$KDLAB_DECODER``, else PyAV. If frames differ in size, they are
    scaled to the first frame. Rotation and mirroring in the file's metadata, as phones store them, are applied.

    Raises FileNotFoundError; DamagedClip for a file that is empty, truncated (even after the last index), undecodable
    or without video; ValueError for an index outside the clip, and for a decoder that is unknown or not installed.
    """
    return Decoded(gathered(partial(each_frame, decoder=decoder), Path(path), indices), probe(path).fps)


def each_frame(path: Path | str, indices: Sequence[int] | np.ndarray | None = None,
               decoder: str = "") -> Iterator[np.ndarray]:
    """Yield the frames of ``read_frames`` one by one, uint8 (H, W, 3): all, or those at ascending ``indices``.

    Raises the same errors. DamagedClip may come only after the last frame.
    """
    path, wanted, given, decoder = Path(path), None, 0, chosen(decoder)
    if indices is not None:
        wanted = frame_numbers(path, indices).reshape(-1)
        if (np.diff(wanted, prepend=-1) <= 0).any():
            raise ValueError(f"{path}: frames are counted from 0, and read one by one in ascending order; asked for "
                             f"{str(wanted)[:60]}.")
    if decoder == "decord":
        yield from _by_decord(path, wanted)
        return
    if wanted is not None:
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
    found = np.asarray(indices)
    if found.size and found.dtype.kind not in "iu":
        raise ValueError(f"{path}: the frame indices {str(indices)[:60]} are no whole numbers of frames.")
    return found.astype(np.int64)


def gathered(each: Callable[..., Iterable[np.ndarray]], path: Path,
             indices: Sequence[int] | np.ndarray | None = None) -> np.ndarray:
    """Stack the frames of ``each(path)`` into one array uint8 (T, H, W, C).

    With ``indices`` (any order, repeats allowed), stack the frames of ``each(path, ascending indices)`` in the order of
    ``indices``. Raises ValueError if there are no frames.
    """
    order = slice(None)
    if indices is None:
        frames = list(each(path))
    else:
        wanted, order = np.unique(frame_numbers(path, indices).reshape(-1), return_inverse=True)
        # empty indices: read frame 0 for its shape
        frames = list(each(path, wanted if wanted.size else np.zeros(1, np.int64)))
    if not frames:
        raise ValueError(f"{path}: reading it gave no frames.")
    return np.stack(frames)[order]


class Streamed:
    """Adds ``read`` to a view that has ``each_frame``."""

    def read(self, path: Path, indices: Sequence[int] | np.ndarray | None = None) -> np.ndarray:
        """Frames of ``path`` in one array, ``uint8 (T, H, W, C)``: all, or those at ``indices`` in any order."""
        return gathered(self.each_frame, path, indices)


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
        return upright(self._converter.reformat(frame, *self._size, "rgb24", threads=1).to_ndarray(), self._matrix)


def _in_order(path: Path, reader: StreamReader, wanted: np.ndarray | None, given: int) -> Iterator[np.ndarray]:
    """Yield all frames, or the ``wanted`` ones after the first ``given``; other frames are decoded and dropped."""
    pictures = None
    for number, frame in enumerate(reader.frames(math.inf if wanted is None else wanted.max(initial=0))):
        pictures = pictures or _Pictures(frame)
        if wanted is None:
            yield pictures.of(frame)
        elif given < len(wanted) and wanted[given] == number:
            given += 1
            yield pictures.of(frame)
    if wanted is not None and given < len(wanted):
        raise _outside(path, wanted[-1], reader.decoded)


def _outside(path: Path, wanted: int, count: int) -> ValueError:
    return ValueError(f"{path}: frame index {wanted} is outside the clip, which has {count} frames. "
                      f"Use indices from 0 to {count - 1}.")


# --- decord --------------------------------------------------------------------------------------------------------

@cache
def _decord():
    try:
        import decord
    except (ImportError, OSError, RuntimeError) as error:  # OSError, RuntimeError: its library does not load
        raise ValueError(f"the decoder decord cannot be used here ({error}): install it (there are wheels for x86-64 "
                         "Linux and Windows; eva-decord for Macs on ARM with Python 3.11), or use pyav") from None
    decord.logging.set_level(decord.logging.QUIET)
    return decord


def _by_decord(path: Path, wanted: np.ndarray | None) -> Iterator[np.ndarray]:
    """As ``_in_order``, with decord's frames. Raises DamagedClip if they differ from PyAV's."""
    with open_stream(path) as stream:
        reader = StreamReader(stream)
        frames = _in_order(path, reader, None, 0)
        for number, (ours, its) in enumerate(zip_longest(frames, _all_of_decord(path))):
            # the two colour conversions differ by 0.2 of 255 levels
            if (ours is None or its is None or ours.shape != its.shape
                    or np.abs(np.subtract(ours, its, dtype=np.int16)).mean() > 1):
                for _ in frames:
                    pass  # a fault that PyAV finds is raised first
                raise DamagedClip(path, f"decord reads frame {number} otherwise; PyAV (decoder='pyav') reads it well")
            if wanted is None or number in wanted:
                yield its
    if wanted is not None and wanted.max(initial=0) >= reader.decoded:
        raise _outside(path, wanted[-1], reader.decoded)


def _all_of_decord(path: Path) -> Iterator[np.ndarray]:
    """Yield decord's frames, uint8 (H, W, 3), up to its first error."""
    decord = _decord()
    try:
        reader = decord.VideoReader(os.path.abspath(path), num_threads=1)
        for _ in range(len(reader)):
            pixels = reader.next().asnumpy()
            height, width = pixels.shape[:2]
            # if padded rows have as many bytes as four channels (48 wide), decord reports four channels
            yield pixels.reshape(height, -1)[:, : 3 * width].reshape(height, width, 3)
    except (StopIteration, decord.DECORDError, RuntimeError):
        return


# --- single frames -------------------------------------------------------------------------------------------------

def _over_key_frames(stream: av.video.stream.VideoStream, line: Timeline, wanted: np.ndarray) -> Iterator[np.ndarray]:
    """As ``_in_order``, seeking to the last key before each wanted frame. Ends early if anything is unexpected.

    A B-frame is held back until the next other frame, because damage to its references may show only there.
    """
    pictures, held, at, frames = None, [], -math.inf, iter(())
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
                if frame.is_corrupt or (frame.width, frame.height) != (line.info.width, line.info.height):
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
