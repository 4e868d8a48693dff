"""I-frames, motion vectors and residuals of MPEG-4 part 2 and H.264 videos, read by PyAV alone.

CoViAR (arXiv 1712.00636) and its successors feed networks with these three modalities instead of decoded frames:
docs/methods.md, section 4. A P-frame copies blocks from the previous frame. Following these copies back over all
P-frames of a GOP gives, for every pixel, its source pixel in the GOP's I-frame. The residual is the difference between
the pixel and its source.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import dropwhile, islice
from pathlib import Path

import av
import cv2
import numpy as np
from av.video.frame import PictureType
from av.video.reformatter import VideoReformatter

from kdlab.clips import h264
from kdlab.clips.block_motion import BLOCK, advance, moves, nearest, positions
from kdlab.clips.container import DamagedClip, StreamReader, UnusableFile, VideoInfo, cached_by_file, open_stream

_MACROBLOCK = 16
_AT_ONCE = 12  # frames whose blocks are processed together
_SEEKABLE = ("avi", "mp4", "mkv")
_VOP = re.compile(rb"\x00\x00\x01\xb6")  # start code of a picture in MPEG-4; the next two bits are its type
_UNSUITED = {"B": "a B-frame, made of two frames, of which one may come later",
             "S": "moved as a whole (global motion compensation), or switches between streams",
             "N": "a P-frame that no other is made of, so the next one skips it"}


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
        kinds_of = {"mpeg4": _mpeg4_kinds, "h264": _h264_kinds}.get(reader.info.codec)
        if kinds_of is None:
            raise Unsuited(path, f"its codec is {reader.info.codec}; motion vectors are read from MPEG-4 part 2 and "
                                 "H.264")
        kinds, sizes, times, kinds_of = "", [], [], kinds_of(path, stream)
        for packet in reader.each_packet():
            if reader.packets - reader.hidden == len(sizes):
                continue  # a "not coded" picture, which is not shown
            kinds += kinds_of(bytes(packet), len(sizes))
            sizes.append(packet.size)
            times.append(packet.dts)
            if kinds[-1:] in _UNSUITED or len(kinds) != len(sizes):
                break
        for kind, what in _UNSUITED.items():
            if kind in kinds:
                raise Unsuited(path, f"frame {kinds.index(kind)} (as stored, from 0) is {what}")
        reader.require_whole()
        if len(kinds) != len(sizes):
            raise DamagedClip(path, f"damaged: the packet of frame {len(sizes) - 1} holds no picture, or several")
        if kinds[0] != "I":
            raise Unsuited(path, "frame 0 is a P-frame, and the I-frame it is made of is missing")
        if len(kinds) > 1 and "P" not in kinds:
            raise Unsuited(path, f"frame 1 and all {len(kinds)} are I-frames, so there are no motion vectors")
        keys = np.array([number for number, kind in enumerate(kinds) if kind == "I"])
        starts = tuple(times[key] for key in keys)
        found = reader.info.container in _SEEKABLE and None not in starts and all(_arrives(stream, t) for t in starts)
        clock, unit = (range(len(times)), 1 / reader.info.fps) if None in times else (times, float(stream.time_base))
        shown = (np.array(clock) - clock[0]) * unit
        return Stream(reader.info, kinds, np.array(sizes), keys, starts if found else (), shown)


def _mpeg4_kinds(path: Path | str, stream: av.video.stream.VideoStream) -> Callable[[bytes, int], str]:
    def kinds(data: bytes, number: int) -> str:
        return "".join("IPBS"[data[found.end()] >> 6] for found in _VOP.finditer(data[:-1]))

    return kinds


def _h264_kinds(path: Path | str, stream: av.video.stream.VideoStream) -> Callable[[bytes, int], str]:
    head, length = h264.head_units(stream.codec_context.extradata or b"")
    faults = {h264.SEQUENCE: h264.sequence_fault, h264.PICTURE: h264.picture_fault}

    def kinds(data: bytes, number: int) -> str:
        slices = set()
        for unit in [*head, *h264.units(data, length)] if number == 0 else h264.units(data, length):
            kind = unit[0] & 31 if unit else 0
            try:
                if kind in faults and (fault := faults[kind](unit)):
                    raise Unsuited(path, f"its H.264 {fault}, so a block may come from another frame than the one "
                                         "before")
                if kind in h264.SLICES:
                    slices.add(h264.slice_kind(unit))
            except h264.CutOff:
                raise DamagedClip(path, f"damaged: a header of frame {number} is cut off") from None
        return next((kind for kind in "BSNPI" if kind in slices), "")

    return kinds


def _arrives(stream: av.video.stream.VideoStream, time: int) -> bool:
    try:
        stream.container.seek(time, stream=stream)
        return next(stream.container.demux(stream)).dts == time
    except (av.error.FFmpegError, StopIteration):
        return False


def modalities(path: Path | str, numbers: Sequence[int] | np.ndarray | None = None,
               accumulated: bool = True) -> Iterator[Modalities]:
    """Yield all frames of a file in order, or those at ``numbers`` (ascending, each once), seeking to their GOPs.

    Motion and residual refer to the GOP's I-frame if ``accumulated``, else to the previous frame. Raises what
    :func:`scan` raises, ValueError for a number outside the clip, DamagedClip when a frame cannot be decoded, and
    Unsuited when the size of the pictures changes.
    """
    path, index = Path(path), scan(path)
    wanted = np.arange(len(index.kinds)) if numbers is None else np.unique(np.asarray(numbers, np.int64))
    if wanted.size and not 0 <= wanted[0] <= wanted[-1] < len(index.kinds):
        raise ValueError(f"{path}: frames {wanted[0]} to {wanted[-1]} asked, but the clip has {len(index.kinds)}. "
                         f"Use numbers from 0 to {len(index.kinds) - 1}.")
    groups = index.group(wanted)
    with open_stream(path) as stream:
        stream.codec_context.options = {"flags2": "+export_mvs"}
        frames, following, converter = _decoded(path, stream, index, 0), 0, VideoReformatter()
        for group in np.unique(groups).tolist():
            key, shown = int(index.keys[group]), set(wanted[groups == group].tolist())
            if following != key and index.starts:
                stream.container.seek(index.starts[group], stream=stream)
                frames = _decoded(path, stream, index, key)
            following = max(shown) + 1
            yield from _group(frames, key, shown, accumulated, accumulated and numbers is None, converter)


def _decoded(path: Path, stream: av.video.stream.VideoStream, index: Stream,
             number: int) -> Iterator[tuple[int, av.VideoFrame]]:
    """Decode from the current position, whose frame has the number ``number``, and check frames against packets."""
    info, count = index.info, len(index.kinds)
    try:
        for frame in stream.container.decode(stream):
            if frame.is_corrupt:  # the decoder has concealed damage
                raise DamagedClip(path, f"damaged: frame {number} (counted from 0) is incomplete")
            if (frame.width, frame.height) != (info.width, info.height):
                raise Unsuited(path, f"from frame {number} on its pictures have {frame.width}x{frame.height} pixels, "
                                     f"before {info.width}x{info.height}")
            if number < count and frame.pict_type != PictureType[index.kinds[number]]:
                raise DamagedClip(path, f"damaged: frame {number} (counted from 0) is not of the type it is stored as")
            yield number, frame
            number += 1
    except av.error.FFmpegError as error:
        raise DamagedClip(path, f"damaged: cannot be decoded beyond {number} frames ({error.strerror})") from None
    if number != count:
        raise DamagedClip(path, f"damaged: {number} frames can be decoded, {count} are stored")


def _group(frames: Iterator[tuple[int, av.VideoFrame]], key: int, shown: set[int], accumulated: bool, carry: bool,
           converter: VideoReformatter) -> Iterator[Modalities]:
    """Yield the ``shown`` frames of the GOP whose I-frame has the number ``key``.

    The map of source pixels advances with every frame. Without ``carry``, only shown frames are warped. With ``carry``,
    the warped I-frame advances too, which is faster when every frame is shown.
    """
    picture = warped = None
    # skip the frames before the GOP in files that cannot seek
    frames = islice(dropwhile(lambda each: each[0] < key, frames), max(shown) + 1 - key)
    while batch := list(islice(frames, _AT_ONCE)):
        height, width = batch[0][1].height, batch[0][1].width
        own = positions(*(-(-side // _MACROBLOCK) * _MACROBLOCK for side in (height, width)))
        blocks = [_blocks(frame) for _, frame in batch]
        for (number, frame), block, by in zip(batch, blocks, moves(blocks, height, width, *own.shape[:2]), strict=True):
            before = picture
            if number == key or number in shown or not accumulated:
                picture = _picture(frame, converter)
            if number == key:
                reference, paths = picture, own
                if carry:
                    warped = np.zeros((*own.shape[:2], 3), np.uint8)
                    warped[:height, :width] = picture
            elif not accumulated:
                reference, paths = before, advance(own, by)
            else:
                paths = advance(paths, by, None if paths is own else paths)
                if carry:
                    advance(warped, by, warped)
            if number in shown:
                came = (warped[:height, :width] if carry else
                        cv2.remap(reference, paths[:height, :width], None, cv2.INTER_NEAREST))
                yield Modalities(number, key, "P" if number > key else "I", picture, reference,
                                 (own - paths)[:height, :width], np.subtract(picture, came, dtype=np.int16), block)


def _picture(frame: av.VideoFrame, converter: VideoReformatter) -> np.ndarray:
    # rgb24 only: rgba is wrong in the last columns of some widths, such as 340. Threads cost more than they save.
    return converter.reformat(frame, format="rgb24", threads=1).to_ndarray()


def _blocks(frame: av.VideoFrame) -> np.ndarray:
    vectors = frame.side_data.get("MOTION_VECTORS")  # absent in I-frames, and if all blocks are intra-coded
    blocks = np.frombuffer(vectors, BLOCK).copy() if vectors else np.empty(0, BLOCK)
    return nearest(blocks) if len(blocks) and blocks["motion_scale"][0] == 4 else blocks
