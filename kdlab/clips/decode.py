"""Decoding of video files to RGB frames; damaged files raise an error instead of giving fewer frames.

PyAV is the default decoder. It decodes in order, which is correct for every format. For single frames of H.264 in MP4
or Matroska it seeks to the IDR picture before the frame, if every frame has its own time, and finds the frame by its
time. (Times are wrong in AVI with packed B-frames of MPEG-4 part 2.) It does not seek to other key frames, because
decoding from there may differ from decoding in order. Pixels are used as stored, even if they are not square.

``decoder="decord"`` or ``"torchcodec"``, or ``$KDLAB_DECODER``, selects another decoder, which also decodes in order;
its frames must agree with those of PyAV. When it seeks, decord 0.6.0 silently returns wrong frames of MPEG-4 part 2
with B-frames, of H.264 with open GOPs and of MP4 files with an edit list. docs/setup.md says where decoders disagree.

No decoder reports a truncated file, so the announced length is compared with the decoded length.
"""

import importlib
import math
import os
import time
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
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

_MODULES = {"decord": "decord", "torchcodec": "torchcodec.decoders"}
DECODERS = ("pyav", *_MODULES)
_TOLERANCE = 1  # mean difference of two decoders' colour conversions, of 255 levels; it is 0.2 where they differ


def chosen(decoder: str = "") -> str:
    """``decoder``, else ``$KDLAB_DECODER``, else ``pyav``. Raises ValueError if it is unknown or not installed."""
    name = decoder or os.environ.get("KDLAB_DECODER") or "pyav"
    if name not in DECODERS:
        where = "" if decoder else " in KDLAB_DECODER"
        raise ValueError(f"no decoder {name!r}{where}: use {' or '.join(DECODERS)}")
    if name != "pyav":
        _library(name)
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

    ``decoder`` is one of ``DECODERS``; empty: ``$KDLAB_DECODER``, else PyAV. If frames differ in size, they are
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
    if decoder != "pyav":
        yield from _by_another(path, wanted, decoder)
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


# --- other decoders ------------------------------------------------------------------------------------------------

@cache
def _library(name: str):
    """The module of a decoder. Raises ValueError if it cannot be used."""
    try:
        found = importlib.import_module(_MODULES[name])
    except (ImportError, OSError, RuntimeError) as error:  # OSError, RuntimeError: its library does not load
        why = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ValueError(f"the decoder {name} cannot be used here ({why}): install it (docs/setup.md, Decoders), or "
                         "use pyav") from None
    if name == "decord":
        found.logging.set_level(found.logging.QUIET)
    return found


@dataclass
class Reading:
    """What one decoder gave of a file: ``count`` frames in ``seconds``, and its ``fault``, the error that ended them.

    ``differs`` says how that differs from PyAV's reading. Both texts may be empty.
    """

    count: int = 0
    seconds: float = 0.0
    fault: str = ""
    differs: str = ""

    def __str__(self) -> str:
        return f"{self.count} frames, {self.fault or 'no fault'}"

    def of(self, frames: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
        """Yield the ``frames`` up to the first error, and count them."""
        while True:
            began, frame = time.perf_counter(), None
            try:
                frame = next(frames, None)
            except Exception as error:  # each library has its own
                self.fault = getattr(error, "reason", "") or " ".join(str(error).split())[:80] or type(error).__name__
            self.seconds += time.perf_counter() - began
            if frame is None:
                return
            self.count += 1
            yield frame


def readings(path: Path) -> dict[str, Reading]:
    """Decode a file by each installed decoder, by name; frame by frame, so that memory holds one frame of each.

    A decoder *differs* if a frame is not PyAV's, or if only one of the two finds a fault.
    """
    found, frames = {}, []
    for name in DECODERS:
        with suppress(ValueError):
            found[chosen(name)] = its = Reading()
            frames.append(its.of(_FRAMES[name](path)))
    (_, pyav), *others = found.items()
    for number, (ours, *theirs) in enumerate(zip_longest(*frames)):
        for (_, other), its in zip(others, theirs, strict=True):
            if not other.differs and not _agree(ours, its):
                other.differs = f"frame {number} is another or missing"
    for _, other in others:
        if pyav.fault or other.fault:
            other.differs = "" if pyav.fault and other.fault else f"{other}; PyAV: {pyav}"
    return found


def _agree(ours: np.ndarray | None, its: np.ndarray | None) -> bool:
    return (ours is not None and its is not None and ours.shape == its.shape
            and np.abs(np.subtract(ours, its, dtype=np.int16)).mean() <= _TOLERANCE)


def _by_another(path: Path, wanted: np.ndarray | None, decoder: str) -> Iterator[np.ndarray]:
    """As ``_in_order``, with another decoder's frames. Raises DamagedClip if they differ from PyAV's."""
    with open_stream(path) as stream:
        reader = StreamReader(stream)
        frames = _in_order(path, reader, None, 0)
        for number, (ours, its) in enumerate(zip_longest(frames, Reading().of(_FRAMES[decoder](path)))):
            if not _agree(ours, its):
                for _ in frames:
                    pass  # a fault that PyAV finds is raised first
                raise DamagedClip(path, f"{decoder} reads frame {number} otherwise; PyAV (decoder='pyav') reads it "
                                        "well")
            if wanted is None or number in wanted:
                yield its
    if wanted is not None and wanted.max(initial=0) >= reader.decoded:
        raise _outside(path, wanted[-1], reader.decoded)


def _of_decord(path: Path) -> Iterator[np.ndarray]:
    reader = _library("decord").VideoReader(os.path.abspath(path), num_threads=1)
    for _ in range(len(reader)):
        pixels = reader.next().asnumpy()
        height, width = pixels.shape[:2]
        # if padded rows have as many bytes as four channels (48 wide), decord reports four channels
        yield pixels.reshape(height, -1)[:, : 3 * width].reshape(height, width, 3)


def _of_torchcodec(path: Path) -> Iterator[np.ndarray]:
    frames = _library("torchcodec").VideoDecoder(os.path.abspath(path), dimension_order="NHWC", num_ffmpeg_threads=1)
    for frame in frames:
        yield frame.numpy()


_FRAMES = {"pyav": partial(each_frame, decoder="pyav"), "decord": _of_decord, "torchcodec": _of_torchcodec}


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
