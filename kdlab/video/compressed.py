"""I-frames, motion vectors and residuals of MPEG-4 part 2 and H.264 videos, read by PyAV alone.

:func:`read` returns them as arrays, :func:`modalities` frame by frame, and :func:`scan` types and sizes without
decoding. None of them needs torch.

CoViAR (arXiv 1712.00636) and its successors feed networks with these three modalities instead of decoded frames:
docs/methods.md, section 4. A P-frame copies blocks from the previous frame. Following these copies back over all
P-frames of a GOP gives, for every pixel, its source pixel in the GOP's I-frame. The residual is the difference between
the pixel and its source.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import dropwhile, islice
from pathlib import Path

import av
import cv2
import numpy as np
from av.video.frame import PictureType
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream

from kdlab.video import headers
from kdlab.video.block_motion import BLOCK, advance, moves, nearest, positions
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
        if reader.info.codec not in ("mpeg4", "h264"):
            raise Unsuited(
                path,
                f"its codec is {reader.info.codec}; motion vectors are read from MPEG-4 part 2 and "
                "H.264",
            )
        kinds, sizes, times = "", [], []
        try:
            head, length = headers.head_units(stream.codec_context.extradata or b"")
        except headers.CutOff:
            raise DamagedClip(
                path, "damaged: the parameter sets of its H.264 are cut off"
            ) from None
        for packet in reader.each_packet():
            if reader.packets - reader.hidden == len(sizes):
                continue  # a "not coded" picture, which is not shown
            data = bytes(packet)
            try:
                if reader.info.codec == "mpeg4":
                    kinds += headers.mpeg4_kinds(data)
                else:
                    kinds += headers.h264_kind([*head, *headers.units(data, length)])
                    head = []
            except headers.Fault as fault:
                raise Unsuited(
                    path,
                    f"its H.264 {fault}, so a block may come from another frame than the one before",
                ) from None
            except headers.CutOff:
                raise DamagedClip(
                    path, f"damaged: a header of frame {len(sizes)} is cut off"
                ) from None
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
        keys = np.array([number for number, kind in enumerate(kinds) if kind == "I"])
        starts = tuple(times[key] for key in keys)
        found = (
            reader.info.container in _SEEKABLE
            and None not in starts
            and all(_arrives(stream, t) for t in starts)
        )
        clock, unit = (
            (range(len(times)), 1 / reader.info.fps)
            if None in times
            else (times, float(stream.time_base))
        )
        shown = (np.array(clock) - clock[0]) * unit
        return Stream(reader.info, kinds, np.array(sizes), keys, starts if found else (), shown)


def _arrives(stream: VideoStream, time: int) -> bool:
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
    path, index = Path(path), scan(path)
    wanted = _numbers(path, index, numbers)
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
            yield from _group(
                frames, key, shown, accumulated, accumulated and numbers is None, converter
            )


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
    ``numbers``, or use :func:`modalities`. Raises what that function raises.
    """
    path, index = Path(path), scan(path)
    wanted, size = _numbers(path, index, numbers), (index.info.height, index.info.width)
    groups, group = np.unique(index.group(wanted), return_inverse=True)
    found = {
        name: np.zeros((len(wanted), *size, 2 if "motion" in name else 3), np.int16)
        for name in ("accumulated_motion", "accumulated_residual", "motion", "residual")
    }
    found |= {
        "iframes": np.zeros((len(groups), *size, 3), np.uint8),
        "group": group,
        "number": wanted,
        "kind": np.array(list(index.kinds))[wanted],
        "bytes": index.sizes[wanted],
        "seconds": index.times[wanted],
    }
    vectors = [np.zeros((0, 7), np.float32)]
    for t, (near, far) in enumerate(
        zip(modalities(path, numbers, accumulated=False), modalities(path, numbers), strict=True)
    ):
        found["motion"][t], found["residual"][t] = near.motion, near.residual
        found["accumulated_motion"][t], found["accumulated_residual"][t] = far.motion, far.residual
        found["iframes"][group[t]], b = far.reference, near.blocks
        scale = np.maximum(b["motion_scale"], 1)
        vectors.append(
            np.stack(
                [
                    np.full(len(b), near.number),
                    b["dst_x"],
                    b["dst_y"],
                    b["w"],
                    b["h"],
                    0 - b["motion_x"] / scale,
                    0 - b["motion_y"] / scale,
                ],
                1,
            ).astype(np.float32)
        )
    return found | {"vectors": np.concatenate(vectors)}


def _numbers(path: Path, index: Stream, numbers: Indices) -> np.ndarray:
    count = len(index.kinds)
    wanted = np.arange(count) if numbers is None else np.unique(np.asarray(numbers, np.int64))
    if wanted.size and not 0 <= wanted[0] <= wanted[-1] < count:
        raise ValueError(
            f"{path}: frames {wanted[0]} to {wanted[-1]} requested, but the clip has {count}. Use numbers "
            f"from 0 to {count - 1}."
        )
    return wanted


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


def _group(
    frames: Iterator[tuple[int, av.VideoFrame]],
    key: int,
    shown: set[int],
    accumulated: bool,
    carry: bool,
    converter: VideoReformatter,
) -> Iterator[Modalities]:
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
        for (number, frame), block, by in zip(
            batch, blocks, moves(blocks, height, width, *own.shape[:2]), strict=True
        ):
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
                came = (
                    warped[:height, :width]
                    if carry
                    else cv2.remap(reference, paths[:height, :width], None, cv2.INTER_NEAREST)
                )
                yield Modalities(
                    number,
                    key,
                    "P" if number > key else "I",
                    picture,
                    reference,
                    (own - paths)[:height, :width],
                    np.subtract(picture, came, dtype=np.int16),
                    block,
                )


def _picture(frame: av.VideoFrame, converter: VideoReformatter) -> np.ndarray:
    # rgb24 only: rgba is wrong in the last columns of some widths, such as 340. Threads cost more than they save.
    return converter.reformat(frame, format="rgb24", threads=1).to_ndarray()


def _blocks(frame: av.VideoFrame) -> np.ndarray:
    vectors = frame.side_data.get(
        "MOTION_VECTORS"
    )  # absent in I-frames, and if all blocks are intra-coded
    blocks = np.frombuffer(vectors, BLOCK).copy() if vectors else np.empty(0, BLOCK)
    return nearest(blocks) if len(blocks) and blocks["motion_scale"][0] == 4 else blocks
