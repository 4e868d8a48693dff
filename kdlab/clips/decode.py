"""Frames from video files, by one function, with damaged files named instead of shortened.

PyAV reads everything. Whole clips, and most formats, are read in order, which is right for every format. Single
frames of H.264 in MP4 or Matroska are reached over the key frame before them, where each frame has a time of its own:
by that time a frame is recognised. (MPEG-4 part 2 in AVI has wrong times where B-frames are packed.) decord, which
others use for single frames, was no faster, filled damaged frames in without a word, and returned wrong frames for
MPEG-4 part 2 with B-frames and for MP4 files with an edit list.

No decoder complains about a truncated file, so what the container announces is compared with what comes out.
"""

import math
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from av.video.frame import PictureType
from av.video.reformatter import VideoReformatter

from kdlab.clips.container import DamagedClip, VideoInfo, Walk, opened, probe

__all__ = ["DamagedClip", "Decoded", "VideoInfo", "probe", "read_frames"]

_SEEKABLE = {("h264", "mp4"), ("h264", "mkv")}
_MOST_ROOM = 1024  # frames to reserve at once, for headers that announce anything


@dataclass(frozen=True)
class Decoded:
    """Frames (T, H, W, 3), uint8, RGB, upright; mean frames/s."""

    frames: np.ndarray
    fps: float


def read_frames(path: Path | str, indices: Sequence[int] | np.ndarray | None = None) -> Decoded:
    """Read all frames, or those at ``indices`` (counted from 0 in presentation order; any order, repeats allowed).

    Files whose frames differ in size are scaled to the first frame; rotation by quarter turns, as phones store
    it, is applied.

    Raises FileNotFoundError; DamagedClip for an empty, truncated (also behind the last index) or undecodable file and
    for one without video; ValueError for an index outside the clip.
    """
    path = Path(path)
    wanted, order = None, slice(None)
    if indices is not None:
        wanted, order = np.unique(np.asarray(indices, dtype=np.int64).reshape(-1), return_inverse=True)
        if wanted.size and wanted[0] < 0:
            raise ValueError(f"{path}: frame index {wanted[0]} is negative. Count frames from 0.")
    walk, shots = _read(path, wanted)
    if wanted is not None and shots.kept < len(wanted):
        raise ValueError(f"{path}: frame index {wanted[-1]} is outside the clip, which has {walk.seen} frames. "
                         f"Use indices from 0 to {walk.seen - 1}.")
    frames = shots.frames[: shots.kept][order]
    if shots.turns:
        frames = np.ascontiguousarray(np.rot90(frames, shots.turns, axes=(1, 2)))
    return Decoded(frames, walk.info.fps)


class _Shots:
    """Grows one RGB array, uint8 (T, H, W, 3), from frames."""

    def __init__(self, first: av.VideoFrame, room: int):
        self.turns = round(first.rotation / 90) % 4
        self.kept = 0
        self.frames = np.empty((room, first.height, first.width, 3), np.uint8)
        self._converter = VideoReformatter()  # one for the file: a new one for each frame takes four times as long

    def add(self, frame: av.VideoFrame) -> None:
        if self.kept == len(self.frames):
            self.frames = np.concatenate([self.frames, np.empty_like(self.frames)])
        height, width = self.frames.shape[1:3]
        # rgb24 only: rgba goes wrong in the last columns of some widths
        self.frames[self.kept] = self._converter.reformat(frame, width, height, "rgb24").to_ndarray()
        self.kept += 1


def _read(path: Path, wanted: np.ndarray | None, seek: bool = True) -> tuple[Walk, _Shots]:
    """The frames at ascending indices ``wanted``, or all of them."""
    with opened(path) as stream:
        walk = Walk(stream)
        if not seek or wanted is None or not wanted.size or (walk.info.codec, walk.info.container) not in _SEEKABLE:
            return walk, _in_order(walk, wanted)
        shots = _over_key_frames(stream, walk, wanted)
    return (walk, shots) if shots else _read(path, wanted, seek=False)


def _in_order(walk: Walk, wanted: np.ndarray | None) -> _Shots:
    shots = None
    for number, frame in enumerate(walk.frames(math.inf if wanted is None else wanted.max(initial=0))):
        shots = shots or _Shots(frame, min(walk.info.frames or 64, _MOST_ROOM) if wanted is None else len(wanted))
        if wanted is None or (shots.kept < len(wanted) and wanted[shots.kept] == number):
            shots.add(frame)
    return shots


def _over_key_frames(stream: av.video.stream.VideoStream, walk: Walk, wanted: np.ndarray) -> _Shots | None:
    """As ``_in_order``, over the last key frame before each wanted frame; ``None`` where anything is not as expected
    (a reading in order will do, or say what is wrong)."""
    try:
        packets = [(packet.pts, packet.is_keyframe) for packet in walk.each_packet() if packet.size]
        times = sorted({time for time, _ in packets if time is not None})
        if walk.hidden or walk.truncation() or len(times) < len(packets) or wanted[-1] >= len(times):
            return None
        keys = [times[0]] + sorted(time for time, is_key in packets if is_key)
        shots, at, frame, frames = None, -math.inf, None, iter(())
        for time in (times[number] for number in wanted):
            key = keys[bisect_right(keys, time) - 1]
            if key > at:  # otherwise it lies behind us, and the frame on the way that we are on
                if not _settled(frame, frames):
                    return None
                stream.container.seek(key, stream=stream)
                frames = stream.container.decode(stream)
            frame = next((frame for frame in frames if frame.pts == time or frame.is_corrupt), None)
            if frame is None or frame.is_corrupt or (frame.width, frame.height) != (walk.info.width, walk.info.height):
                return None
            shots, at = shots or _Shots(frame, len(wanted)), time
            shots.add(frame)
        return shots if _settled(frame, frames) else None
    except av.error.FFmpegError:
        return None


def _settled(frame: av.VideoFrame, frames: Iterator[av.VideoFrame]) -> bool:
    """Whether a frame is sound also if it is a B-frame: damage to what it was made from shows up to the next other."""
    while frame and frame.pict_type == PictureType.B and not frame.is_corrupt:
        frame = next(frames, None)
    return not (frame and frame.is_corrupt)
