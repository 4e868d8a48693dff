"""I-frames, motion vectors and residuals of MPEG-4 part 2 and H.264 videos, read by PyAV alone.

:func:`read` returns them as arrays, :func:`modalities` frame by frame, :func:`vectors` motion vectors alone, and
:func:`scan` types and sizes without decoding. None of them needs torch.

CoViAR (arXiv 1712.00636) and its successors feed networks with these three modalities instead of decoded frames:
docs/methods.md, section 4. A P-frame copies blocks from the previous frame. Following these copies back over all
P-frames of a GOP gives, for every pixel, its source pixel in the GOP's I-frame. The residual is the difference between
the pixel and its source.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import av
import numpy as np
from av.video.frame import PictureType
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream

from kdlab.video import headers
from kdlab.video.block_motion import BLOCK, Moves, advance, moves, nearest, positions
from kdlab.video.container import (
    DamagedClip,
    Indices,
    StreamReader,
    UnusableFile,
    VideoInfo,
    cached_by_file,
    open_stream,
)

_MACROBLOCK = 16
_AT_ONCE = 12  # frames whose blocks are processed together
_SEEKABLE = ("avi", "mp4", "mkv")
_UNSUITED = {
    "B": "a B-frame, made of two frames, of which one may come later",
    "S": "moved as a whole (global motion compensation), or switches between streams",
    "N": "a P-frame that is no reference, so the next frame skips it",
}


class Unsuited(UnusableFile):
    """A sound video in which some frame is not predicted from the previous one. ``reason`` names the first of them."""

    mend = "Make it over: kdlab data transcode {} --out FOLDER"


@dataclass(frozen=True)
class Stream:
    """Types, sizes and times of the T frames of a file, read from its packets without decoding.

    ``kinds`` has an ``I`` or ``P`` per frame; ``sizes (T,)`` are in bytes; ``keys (G,)`` are the numbers of the
    I-frames. ``starts`` are their times in the file if a seek to each I-frame was tested and arrives there, else empty.
    ``times (T,)`` are presentation times in seconds.
    """

    info: VideoInfo
    kinds: str
    sizes: np.ndarray
    keys: np.ndarray
    starts: tuple[int, ...]
    times: np.ndarray

    def group(self, numbers: np.ndarray | int) -> np.ndarray:
        """The GOP of each frame, counted from 0."""
        return np.searchsorted(self.keys, numbers, side="right") - 1


@dataclass(frozen=True)
class Modalities:
    """One frame of H x W pixels with its motion and residual.

    ``number`` counts from 0, ``key`` is the number of its I-frame, ``kind`` is ``I`` or ``P``. ``picture`` is the
    decoded frame and ``reference`` the GOP's I-frame (the previous frame, if not accumulated); both are uint8
    (H, W, 3), RGB, as coded, before any rotation. ``motion`` int16 (H, W, 2) is x then y, in pixels: pixel p was copied
    from ``p - motion(p)`` of the reference. ``residual`` int16 (H, W, 3) is ``picture`` minus the copied pixels. Motion
    and residual are 0 in an I-frame. ``blocks (n,)``, of dtype ``BLOCK``, are the codec's motion vectors. Frames may
    share arrays: copy before you write.
    """

    number: int
    key: int
    kind: str
    picture: np.ndarray
    reference: np.ndarray
    motion: np.ndarray
    residual: np.ndarray
    blocks: np.ndarray


# --- the file ------------------------------------------------------------------------------------------------------


@cached_by_file(2**15)
def scan(path: Path | str) -> Stream:
    """Read types, sizes and GOPs of a file's frames from its packets: microseconds per frame, cached.

    Raises Unsuited for codecs other than MPEG-4 part 2 and H.264, and for streams in which a frame may be predicted
    from another frame than the previous one: with B-frames or global motion; in H.264 also with several reference
    frames, weighted prediction or fields. Raises DamagedClip for an empty, truncated or otherwise broken file, and
    FileNotFoundError.
    """
    with open_stream(path) as stream:
        reader = StreamReader(stream)
        kinds, sizes, times = "", [], []
        for packet, kinds_of_packet in _typed(path, stream, reader):
            kinds += kinds_of_packet
            sizes.append(packet.size)
            times.append(packet.dts)
            if kinds[-1:] in _UNSUITED or len(kinds) != len(sizes):
                break
        for kind, what in _UNSUITED.items():
            if kind in kinds:
                raise Unsuited(path, f"frame {kinds.index(kind)} (as stored, from 0) is {what}")
        reader.require_whole()
        if len(kinds) != len(sizes):
            raise DamagedClip(
                path, f"damaged: the packet of frame {len(sizes) - 1} holds no picture, or several"
            )
        if kinds[0] != "I":
            raise Unsuited(path, "frame 0 is a P-frame, and the I-frame it is made of is missing")
        if len(kinds) > 1 and "P" not in kinds:
            raise Unsuited(
                path, f"frame 1 and all {len(kinds)} are I-frames, so there are no motion vectors"
            )
        keys = np.flatnonzero(np.array(list(kinds)) == "I")
        starts = tuple(times[key] for key in keys)
        if not (reader.info.container in _SEEKABLE and all(_arrives(stream, t) for t in starts)):
            starts = ()
        clock, unit = times, float(stream.time_base)
        if None in times:
            clock, unit = range(len(times)), 1 / reader.info.fps
        shown = (np.array(clock) - clock[0]) * unit
        return Stream(reader.info, kinds, np.array(sizes), keys, starts, shown)


def _typed(
    path: Path, stream: VideoStream, reader: StreamReader
) -> Iterator[tuple[av.Packet, str]]:
    """Yield each shown packet and the types of its pictures; raise what :func:`scan` raises for their headers."""
    codec = reader.info.codec
    if codec not in ("mpeg4", "h264"):
        raise Unsuited(
            path, f"its codec is {codec}; motion vectors are read from MPEG-4 part 2 and H.264"
        )
    try:
        head, length = headers.head_units(stream.codec_context.extradata or b"")
    except headers.CutOff:
        raise DamagedClip(path, "damaged: the parameter sets of its H.264 are cut off") from None
    for number, packet in enumerate(reader.shown_packets()):
        data = bytes(packet)
        try:
            if codec == "mpeg4":
                kinds = headers.mpeg4_kinds(data)
            else:
                kinds = headers.h264_kind([*head, *headers.units(data, length)])
                head = []
        except headers.Fault as fault:
            raise Unsuited(
                path,
                f"its H.264 {fault}, so a block may come from another frame than the one before",
            ) from None
        except headers.CutOff:
            raise DamagedClip(path, f"damaged: a header of frame {number} is cut off") from None
        yield packet, kinds


def _arrives(stream: VideoStream, time: int | None) -> bool:
    """Whether a seek to the I-frame at ``time`` arrives there."""
    if time is None:
        return False
    try:
        stream.container.seek(time, stream=stream)
        return next(stream.container.demux(stream)).dts == time
    except (av.error.FFmpegError, StopIteration):
        return False


def modalities(
    path: Path | str, numbers: Indices = None, accumulated: bool = True
) -> Iterator[Modalities]:
    """Yield all frames of a file in order, or those at ``numbers`` (ascending, each once), seeking to their GOPs.

    Motion and residual refer to the GOP's I-frame if ``accumulated``, else to the previous frame. Raises what
    :func:`scan` raises, ValueError for a number outside the clip, DamagedClip when a frame cannot be decoded, and
    Unsuited when the size of the pictures changes.
    """
    for (its,) in _compared(path, numbers, [accumulated]):
        yield its


def vectors(path: Path | str, numbers: Indices = None) -> np.ndarray:
    """Motion vectors alone, float32 (N, 7): all blocks of all P-frames of a file, or of those at ``numbers``.

    A row has the number of the frame, counted from 0; the block's centre x and y, width and height, in whole pixels;
    and its exact motion x and y, in pixels: the block was copied from ``centre - motion`` of the previous frame. Blocks
    at rest have rows; blocks that are coded anew have none. Rows are in the order of frames, and within a frame in the
    order of the codec. Motion is a multiple of 1/2 pixel in MPEG-4, of 1/4 in H.264 and in MPEG-4 of quarter-pixel
    motion. No picture is converted to RGB, and no residual is computed. Raises what :func:`modalities` raises.
    """
    index = scan(path)
    wanted = _numbers(path, index, numbers)
    shown = set(wanted.tolist())
    blocks = {
        number: _blocks(frame) for number, frame in _frames(path, index, wanted) if number in shown
    }
    return _rows(blocks)


def read(path: Path | str, numbers: Indices = None) -> dict[str, np.ndarray]:
    """Motion vectors, accumulated motion, residuals and I-frames of all T frames of a file, or of those at ``numbers``.

    Pictures are RGB of H x W pixels as coded, before any rotation; x is before y. Formulas: docs/methods.md, 4.2.

    ``motion`` int16 (T, H, W, 2): whole pixels. Pixel p was copied from ``p - motion(p)`` of the previous frame.
    ``accumulated_motion`` int16 (T, H, W, 2): the same for the I-frame of the GOP.
    ``residual`` int16 (T, H, W, 3) in [-255, 255]: the decoded frame minus the pixels copied from the previous frame.
    ``accumulated_residual`` int16 (T, H, W, 3): the decoded frame minus the pixels copied from the I-frame.
    ``vectors`` float32 (N, 7): the blocks of all frames, each with the number of its frame, its centre x and y, its
    width and height in pixels, and its exact motion x and y in pixels, in the sense of ``motion``.
    ``iframes`` uint8 (G, H, W, 3): the I-frames of these frames' GOPs; ``group`` int64 (T,) is each frame's row there.
    ``number`` int64 (T,) counts frames from 0; ``kind`` str (T,) is ``I`` or ``P``; ``bytes`` int64 (T,) are the sizes
    in the file; ``seconds`` float64 (T,) are presentation times.

    Exact motion is a multiple of 1/2 pixel in MPEG-4, and of 1/4 in H.264 and in MPEG-4 of quarter-pixel motion. Whole
    pixels come from halves by FFmpeg's truncation, as in CoViAR, and from quarters by rounding to the nearest pixel
    (ties go right or down). Motion and residual are 0 in an I-frame. A block that is coded anew has no motion of its
    own, and keeps its accumulated motion; its residual holds the whole difference.

    The arrays take 20 bytes per pixel and frame: 0.5 GB for 300 frames of 340x256. For longer files read some
    ``numbers``, or use :func:`modalities`. The file is decoded once. Raises what that function raises.
    """
    index = scan(path)
    wanted, size = _numbers(path, index, numbers), (index.info.height, index.info.width)
    groups, group = np.unique(index.group(wanted), return_inverse=True)
    arrays, iframes, blocks = {}, np.zeros((len(groups), *size, 3), np.uint8), {}
    for name in ("motion", "accumulated_motion", "residual", "accumulated_residual"):
        channels = 2 if "motion" in name else 3
        arrays[name] = np.zeros((len(wanted), *size, channels), np.int16)
    for t, (near, far) in enumerate(_compared(path, numbers, [False, True])):
        arrays["motion"][t], arrays["residual"][t] = near.motion, near.residual
        arrays["accumulated_motion"][t] = far.motion
        arrays["accumulated_residual"][t] = far.residual
        iframes[group[t]], blocks[far.number] = far.reference, far.blocks
    return arrays | {
        "iframes": iframes,
        "group": group,
        "number": wanted,
        "kind": np.array(list(index.kinds))[wanted],
        "bytes": index.sizes[wanted],
        "seconds": index.times[wanted],
        "vectors": _rows(blocks),
    }


def _rows(blocks: dict[int, np.ndarray]) -> np.ndarray:
    """The blocks of frames, by their numbers, as rows: see :func:`vectors`."""
    every = np.frombuffer(b"".join(blocks.values()), BLOCK)
    rows = np.empty((len(every), 7), np.float32)
    counts = np.fromiter(map(len, blocks.values()), int)
    rows[:, 0] = np.repeat(np.fromiter(blocks, int), counts)
    for column, field in enumerate(("dst_x", "dst_y", "w", "h"), 1):
        rows[:, column] = every[field]
    scale = np.maximum(every["motion_scale"], 1)
    rows[:, 5] = 0 - every["motion_x"] / scale
    rows[:, 6] = 0 - every["motion_y"] / scale
    return rows


def _numbers(path: Path, index: Stream, numbers: Indices) -> np.ndarray:
    count = len(index.kinds)
    wanted = np.arange(count) if numbers is None else np.unique(np.asarray(numbers, np.int64))
    if wanted.size and not 0 <= wanted[0] <= wanted[-1] < count:
        raise ValueError(
            f"{path}: frames {wanted[0]} to {wanted[-1]} requested, but the clip has {count}. Use numbers "
            f"from 0 to {count - 1}."
        )
    return wanted


def _frames(path: Path, index: Stream, wanted: np.ndarray) -> Iterator[tuple[int, av.VideoFrame]]:
    """Number and frame, from the I-frame of each GOP of ``wanted`` to its last wanted frame, with motion vectors."""
    groups = index.group(wanted)
    with open_stream(path) as stream:
        stream.codec_context.options = {"flags2": "+export_mvs"}
        frames, following = _decoded(path, stream, index, 0), 0
        for group in np.unique(groups).tolist():
            key, end = int(index.keys[group]), int(wanted[groups == group][-1]) + 1
            if following != key and index.starts:
                stream.container.seek(index.starts[group], stream=stream)
                frames, following = _decoded(path, stream, index, key), key
            # in files that cannot seek, the frames before the GOP are decoded too
            yield from islice(frames, key - following, end - following)
            following = end


def _decoded(
    path: Path, stream: VideoStream, index: Stream, number: int
) -> Iterator[tuple[int, av.VideoFrame]]:
    """Decode from the current position, whose frame has the number ``number``, and check frames against packets."""
    info, count = index.info, len(index.kinds)
    try:
        for frame in stream.container.decode(stream):
            if frame.is_corrupt:  # the decoder has concealed damage
                raise DamagedClip(path, f"damaged: frame {number} (counted from 0) is incomplete")
            if (frame.width, frame.height) != (info.width, info.height):
                raise Unsuited(
                    path,
                    f"from frame {number} on its pictures have {frame.width}x{frame.height} pixels, "
                    f"before {info.width}x{info.height}",
                )
            if number < count and frame.pict_type != PictureType[index.kinds[number]]:
                raise DamagedClip(
                    path,
                    f"damaged: frame {number} (counted from 0) is not of the type it is stored as",
                )
            yield number, frame
            number += 1
    except av.error.FFmpegError as error:
        raise DamagedClip(
            path, f"damaged: cannot be decoded beyond {number} frames ({error.strerror})"
        ) from None
    if number != count:
        raise DamagedClip(path, f"damaged: {number} frames can be decoded, {count} are stored")


class _Source:
    """A ``reference`` picture, and where the pixels of a later frame come from in it. Places and pixels are padded to
    the size of ``own``, whole macroblocks."""

    def __init__(self, reference: np.ndarray, own: np.ndarray):
        height, width = reference.shape[:2]
        self.reference, self._own, self._places = reference, own, own.copy()
        self._pixels = np.zeros((*own.shape[:2], 3), np.uint8)
        self._pixels[:height, :width] = reference

    def follow(self, by: Moves) -> None:
        """Go on to the next frame, whose blocks moved ``by``."""
        advance(self._places, by)
        advance(self._pixels, by)

    def compare(self, picture: np.ndarray, **about) -> Modalities:
        """The frame of ``picture``, which has come as far as this source."""
        height, width = picture.shape[:2]
        motion = (self._own - self._places)[:height, :width]
        residual = np.subtract(picture, self._pixels[:height, :width], dtype=np.int16)
        return Modalities(
            picture=picture, reference=self.reference, motion=motion, residual=residual, **about
        )


def _compared(
    path: Path | str, numbers: Indices, accumulated: list[bool]
) -> Iterator[list[Modalities]]:
    """Yield each frame at ``numbers`` as often as ``accumulated`` is long: compared with its I-frame, or the previous
    frame."""
    index = scan(path)
    wanted = _numbers(path, index, numbers)
    shown, size = set(wanted.tolist()), (index.info.height, index.info.width)
    own = positions(*(-(-side // _MACROBLOCK) * _MACROBLOCK for side in size))
    frames, converter, picture = _frames(path, index, wanted), VideoReformatter(), None
    while batch := list(islice(frames, _AT_ONCE)):
        blocks = [_blocks(frame) for _, frame in batch]
        steps = moves(blocks, *size, *own.shape[:2])
        for (number, frame), its_blocks, by in zip(batch, blocks, steps, strict=True):
            kind, before = index.kinds[number], picture
            if kind == "I" or number in shown or False in accumulated:
                # rgb24 only: rgba is wrong in the last columns of some widths, such as 340. Threads cost more than
                # they save.
                picture = converter.reformat(frame, format="rgb24", threads=1).to_ndarray()
            if kind == "I":
                key, before = number, picture
                far = _Source(picture, own)
            elif True in accumulated:
                far.follow(by)
            if number not in shown:
                continue
            if False in accumulated:
                near = _Source(before, own)
                near.follow(by)
            about = {"number": number, "key": key, "kind": kind, "blocks": its_blocks}
            yield [(far if way else near).compare(picture, **about) for way in accumulated]


def _blocks(frame: av.VideoFrame) -> np.ndarray:
    # absent in I-frames, and if all blocks are intra-coded
    exported = frame.side_data.get("MOTION_VECTORS")
    # copied as bytes: NumPy copies such items field by field, which takes five times as long
    blocks = np.frombuffer(bytearray(exported or b""), BLOCK)
    return nearest(blocks) if len(blocks) and blocks["motion_scale"][0] == 4 else blocks
