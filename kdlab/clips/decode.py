"""Frames from video files, by one function, with damaged files named instead of shortened.

PyAV reads everything. Whole clips, and most formats, are read in order, which is right for every format. Single
frames of H.264 in MP4 or Matroska are reached over the IDR picture before them, where each frame has a time of its own:
by that time a frame is recognised. (MPEG-4 part 2 in AVI has wrong times where B-frames are packed.) Other key frames
are no place to begin: what a decoder shows behind them may differ from a decode in order. Pixels are taken as they are
stored, also where a file says that they are not square.

``decoder="decord"``, or ``$KDLAB_DECODER``, lets decord read instead: in order, and only what PyAV reads in the same
way. Asked for single frames decord 0.6.0 returns others, without a word, of MPEG-4 part 2 with B-frames, of open groups
of pictures in H.264 and of MP4 files with an edit list. It mirrors nothing, shortens truncated AVI files and fills
damaged frames in.

No decoder complains about a truncated file, so what the container announces is compared with what comes out.
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
    """``decoder``, else ``$KDLAB_DECODER``, else ``pyav``. Raises ValueError for one that is unknown or not here."""
    name = decoder or os.environ.get("KDLAB_DECODER") or "pyav"
    if name not in DECODERS:
        where = "" if decoder else " in KDLAB_DECODER"
        raise ValueError(f"no decoder {name!r}{where}: use {' or '.join(DECODERS)}")
    if name == "decord":
        _decord()
    return name


def raw_name(decoder: str = "") -> str:
    """What frames as they were recorded are called in a frame cache: those of two decoders may differ."""
    return "raw" if (name := chosen(decoder)) == "pyav" else f"raw-{name}"


@dataclass(frozen=True)
class Decoded:
    """Frames (T, H, W, 3), uint8, RGB, upright; mean frames/s."""

    frames: np.ndarray
    fps: float


def read_frames(path: Path | str, indices: Sequence[int] | np.ndarray | None = None, decoder: str = "") -> Decoded:
    """Read all frames, or those at ``indices`` (counted from 0 in presentation order; any order, repeats allowed).

    ``decoder`` is ``"pyav"`` or ``"decord"``; empty: ``$KDLAB_DECODER``, else PyAV. Files whose frames differ in size
    are scaled to the first frame; what the file says of turning and mirroring, as phones store it, is applied.

    Raises FileNotFoundError; DamagedClip for an empty, truncated (also behind the last index) or undecodable file and
    for one without video; ValueError for an index outside the clip, and for a decoder that is unknown or not installed.
    """
    return Decoded(gathered(partial(each_frame, decoder=decoder), Path(path), indices), probe(path).fps)


def each_frame(path: Path | str, indices: Sequence[int] | np.ndarray | None = None,
               decoder: str = "") -> Iterator[np.ndarray]:
    """The frames of ``read_frames`` one by one, uint8 (H, W, 3): all, or those at ``indices``, ascending.

    Damage, which may show behind the last frame only, is raised as there, on the way or at the end.
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
    with open_stream(path) as stream:  # in order: that will do where something was odd, or say what is wrong
        yield from _in_order(path, StreamReader(stream), wanted, given)


def frame_numbers(path: Path | str, indices: Sequence[int] | np.ndarray) -> np.ndarray:
    """``indices`` as an array of int64. Raises ValueError for what are no whole numbers."""
    found = np.asarray(indices)
    if found.size and found.dtype.kind not in "iu":
        raise ValueError(f"{path}: the frame indices {str(indices)[:60]} are no whole numbers of frames.")
    return found.astype(np.int64)


def gathered(each: Callable[..., Iterable[np.ndarray]], path: Path,
             indices: Sequence[int] | np.ndarray | None = None) -> np.ndarray:
    """The frames that ``each(path)`` gives, in one array uint8 (T, H, W, C); or those of ``each(path, ascending)`` at
    ``indices``, in any order, repeats allowed. Raises ValueError where there are no frames."""
    order = slice(None)
    if indices is None:
        frames = list(each(path))
    else:
        wanted, order = np.unique(frame_numbers(path, indices).reshape(-1), return_inverse=True)
        # of none, the first one knows the shape
        frames = list(each(path, wanted if wanted.size else np.zeros(1, np.int64)))
    if not frames:
        raise ValueError(f"{path}: reading it gave no frames.")
    return np.stack(frames)[order]


class Streamed:
    """Gives a view that has ``each_frame`` its ``read``."""

    def read(self, path: Path, indices: Sequence[int] | np.ndarray | None = None) -> np.ndarray:
        """The frames of ``path`` (all, or those at ``indices``, in any order) in one array ``uint8 (T, H, W, C)``."""
        return gathered(self.each_frame, path, indices)


def upright(picture: np.ndarray, matrix: bytes | None) -> np.ndarray:
    """``(H, W, C)`` turned by quarters and mirrored as FFmpeg's own tools show it; contiguous. ``matrix`` is a frame's
    display matrix, 9 int32. One of zeros, which some writers leave, says nothing."""
    if matrix is None:
        return picture
    a, b, _, c, d, *_ = np.frombuffer(matrix, np.int32).tolist()
    if abs(b) + abs(c) > abs(a) + abs(d):
        picture, a, d = picture.swapaxes(0, 1), c, b
    return np.ascontiguousarray(picture[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1])


class _Pictures:
    """Turns decoded frames into upright RGB pictures of the ``first`` one's size."""

    def __init__(self, first: av.VideoFrame):
        self._size = first.width, first.height
        self._matrix = first.side_data.get("DISPLAYMATRIX")
        self._converter = VideoReformatter()  # one for the file: a new one for each frame takes four times as long

    def of(self, frame: av.VideoFrame) -> np.ndarray:
        # rgb24 only: rgba goes wrong in the last columns of some widths. Threads cost more than they save.
        return upright(self._converter.reformat(frame, *self._size, "rgb24", threads=1).to_ndarray(), self._matrix)


def _in_order(path: Path, reader: StreamReader, wanted: np.ndarray | None, given: int) -> Iterator[np.ndarray]:
    """All frames, or those ``wanted`` but for the first ``given``; others are decoded and dropped."""
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
    except (ImportError, OSError, RuntimeError) as error:  # the last two: its library does not load
        raise ValueError(f"the decoder decord cannot be used here ({error}): install it (there are wheels for x86-64 "
                         "Linux and Windows; eva-decord for Macs on ARM with Python 3.11), or use pyav") from None
    decord.logging.set_level(decord.logging.QUIET)
    return decord


def _by_decord(path: Path, wanted: np.ndarray | None) -> Iterator[np.ndarray]:
    """As ``_in_order``, by decord, whose frames are compared with PyAV's."""
    with open_stream(path) as stream:
        reader = StreamReader(stream)
        frames = _in_order(path, reader, None, 0)
        for number, (ours, its) in enumerate(zip_longest(frames, _all_of_decord(path))):
            # conversions of colours differ by 0.2 of 255 levels
            if (ours is None or its is None or ours.shape != its.shape
                    or np.abs(np.subtract(ours, its, dtype=np.int16)).mean() > 1):
                for _ in frames:
                    pass  # what PyAV finds wrong with the file is said first
                raise DamagedClip(path, f"decord reads frame {number} otherwise; PyAV (decoder='pyav') reads it well")
            if wanted is None or number in wanted:
                yield its
    if wanted is not None and wanted.max(initial=0) >= reader.decoded:
        raise _outside(path, wanted[-1], reader.decoded)


def _all_of_decord(path: Path) -> Iterator[np.ndarray]:
    """The frames that decord finds, uint8 (H, W, 3), up to one that it refuses."""
    decord = _decord()
    try:
        reader = decord.VideoReader(os.path.abspath(path), num_threads=1)
        for _ in range(len(reader)):
            pixels = reader.next().asnumpy()
            height, width = pixels.shape[:2]
            # where a row is padded to as many bytes as four channels have (48 wide), it says that there are four
            yield pixels.reshape(height, -1)[:, : 3 * width].reshape(height, width, 3)
    except (StopIteration, decord.DECORDError, RuntimeError):
        return


# --- single frames -------------------------------------------------------------------------------------------------

def _over_key_frames(stream: av.video.stream.VideoStream, line: Timeline, wanted: np.ndarray) -> Iterator[np.ndarray]:
    """As ``_in_order``, over the last key before each wanted frame; ends early where anything is not as expected.

    A B-frame is held back until the next other frame: damage to what it was made from shows up to there.
    """
    pictures, held, at, frames = None, [], -math.inf, iter(())
    try:
        for time in (line.stamps[number] for number in wanted):
            key = line.keys[bisect_right(line.keys, time) - 1]
            if key > at:  # otherwise it lies behind us, and the frame on the way that we are on
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
    """Whether what follows a B-frame is sound, up to the next other one."""
    for frame in frames:
        if frame.is_corrupt or frame.pict_type != PictureType.B:
            return not frame.is_corrupt
    return True
