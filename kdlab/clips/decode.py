"""Frames from video files, by one function, with damaged files named instead of shortened.

Two decoders stand behind ``read_frames``. PyAV reads in order, is right for every format and marks damaged frames;
whole clips are always read by it, which is also the faster way. decord reads single frames without decoding all before
them, but fills damaged frames in without a word, returns wrong frames for MPEG-4 part 2 with B-frames and for MP4
files with an edit list, and stumbles over rotation. So it is used for single frames of plain H.264 in MP4 or Matroska
only, where it is installed, once a random read has been seen to equal a reading in order.

Neither decoder complains about a truncated file, so what the container announces is compared with what comes out.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from kdlab.clips.container import SLACK, DamagedClip, Tally, VideoInfo, opened, probe

try:
    import decord
except (ImportError, OSError, RuntimeError):  # no wheel for this platform, or one that does not load: PyAV does it all
    decord = None
else:
    decord.logging.set_level(decord.logging.QUIET)

__all__ = ["DamagedClip", "Decoded", "VideoInfo", "probe", "read_frames"]

_DECORD_FORMATS = {("h264", "mp4"), ("h264", "mkv")}
_CHECK_FRAMES = 8
_MOST_ROOM = 1024  # frames to reserve at once, for headers that announce anything

# (codec, container) -> does decord's random read equal reading in order? Asked once per process.
_decord_is_right: dict[tuple[str, str], bool] = {}


@dataclass(frozen=True)
class Decoded:
    """Frames (T, H, W, 3), uint8, RGB, upright; which decoder read them ("decord" or "pyav"); mean frames/s.

    ``announced`` is the container's own count for the whole file, ``None`` where it has none.
    """

    frames: np.ndarray
    decoder: str
    fps: float
    announced: int | None


def read_frames(path: Path | str, indices: Sequence[int] | np.ndarray | None = None, decoder: str = "auto") -> Decoded:
    """Read all frames, or those at ``indices`` (counted from 0 in presentation order; any order, repeats allowed).

    ``decoder`` is "auto" (see the module's text), "pyav" or "decord". Files whose frames differ in size are scaled to
    the first frame; rotation by quarter turns, as phones store it, is applied.

    Raises FileNotFoundError; DamagedClip for an empty, truncated (also behind the last index) or undecodable file and
    for one without video; ValueError for an index outside the clip, an unknown decoder, or "decord" where it is not
    installed.
    """
    path = Path(path)
    if decoder not in ("auto", "pyav", "decord"):
        raise ValueError(f"unknown decoder {decoder!r}: use 'auto', 'pyav' or 'decord'.")
    if decoder == "decord" and decord is None:
        raise ValueError("decoder 'decord' is not installed on this machine: use 'auto' or 'pyav'.")
    if indices is not None:
        indices = np.asarray(indices, dtype=np.int64).reshape(-1)
        if indices.size and indices.min() < 0:
            raise ValueError(f"{path}: frame index {indices.min()} is negative. Count frames from 0.")
    if decoder == "pyav" or decord is None or (decoder == "auto" and indices is None):
        return _read_in_order(path, indices)
    survey = _survey(path, any_format=decoder == "decord")
    if decoder == "auto" and not _decord_may_read(path, survey):
        return _read_in_order(path, indices)
    if reason := survey.truncation():
        raise DamagedClip(path, reason)
    try:
        frames = _decord_frames(path, indices)
    except (decord.DECORDError, RuntimeError) as error:
        if decoder == "auto":  # PyAV reads it, or says better what is wrong
            return _read_in_order(path, indices)
        raise DamagedClip(path, f"decord cannot read it ({str(error).splitlines()[0]})") from None
    return Decoded(frames, "decord", survey.info.fps, survey.info.frames)


def _check_range(path: Path, wanted: np.ndarray, length: int) -> None:
    if wanted.size and wanted[-1] >= length:
        raise ValueError(f"{path}: frame index {wanted[-1]} is outside the clip, which has {length} frames. "
                         f"Use indices from 0 to {length - 1}.")


# --- PyAV ----------------------------------------------------------------------------------------------------------

class _Picker:
    """Converts the wanted frames (ascending indices, or ``None`` for all) of a stream into one RGB array."""

    def __init__(self, wanted: np.ndarray | None, room: int):
        self.wanted = wanted
        self.room = room
        self.last = math.inf if wanted is None else wanted.max(initial=0)
        self.seen = self.kept = 0
        self.frames: np.ndarray | None = None
        self.turns = 0
        self._converter = VideoReformatter()  # one for the file: a new one for each frame takes four times as long

    def has_all(self) -> bool:
        return self.seen > self.last

    def add(self, frame: av.VideoFrame) -> None:
        if self.frames is None:
            self.turns = round(frame.rotation / 90) % 4
            self.frames = np.empty((self.room, frame.height, frame.width, 3), np.uint8)
        if self.wanted is None or (self.kept < len(self.wanted) and self.wanted[self.kept] == self.seen):
            if self.kept == len(self.frames):
                self.frames = np.concatenate([self.frames, np.empty_like(self.frames)])
            height, width = self.frames.shape[1:3]
            # rgb24 only: rgba goes wrong in the last columns of some widths
            self.frames[self.kept] = self._converter.reformat(frame, width, height, "rgb24").to_ndarray()
            self.kept += 1
        self.seen += 1

    def upright(self, order: np.ndarray | slice) -> np.ndarray:
        frames = self.frames[: self.kept][order]
        return np.ascontiguousarray(np.rot90(frames, self.turns, axes=(1, 2))) if self.turns else frames


def _read_in_order(path: Path, indices: np.ndarray | None) -> Decoded:
    wanted, order = (None, slice(None)) if indices is None else np.unique(indices, return_inverse=True)
    trouble = None
    with opened(path) as stream:
        tally = Tally(stream)
        picker = _Picker(wanted, min(tally.info.frames or 64, _MOST_ROOM) if wanted is None else len(wanted))
        try:
            for packet in stream.container.demux(stream):
                tally.add(packet)
                if trouble or picker.has_all():
                    continue  # only to see where the file ends
                try:
                    for frame in packet.decode():
                        if frame.is_corrupt:  # the decoder has filled it in from its neighbours
                            trouble = f"frame {picker.seen} (counted from 0) is damaged"
                            break
                        picker.add(frame)
                except av.error.FFmpegError as error:
                    trouble = f"cannot be decoded beyond {picker.seen} frames ({error.strerror})"
        except av.error.FFmpegError as error:
            trouble = f"cannot be read to its end ({error.strerror})"
    shown = tally.packets - tally.hidden
    if reason := tally.truncation() or trouble:
        raise DamagedClip(path, reason)
    if picker.frames is None:
        raise DamagedClip(path, "no frame can be decoded")
    if not picker.has_all():
        if picker.seen < shown - SLACK:
            raise DamagedClip(path, f"only {picker.seen} of its {shown} frames can be decoded")
        if wanted is not None:
            _check_range(path, wanted, picker.seen)
    return Decoded(picker.upright(order), "pyav", tally.info.fps, tally.info.frames)


# --- decord --------------------------------------------------------------------------------------------------------

def _survey(path: Path, any_format: bool) -> Tally:
    """Pass over the packets of a file and decode only the first frame: cheap beside opening the file."""
    with opened(path) as stream:
        tally = Tally(stream)
        if not any_format and (tally.info.codec, tally.info.container) not in _DECORD_FORMATS:
            return tally  # decord will not be asked
        try:
            for packet in stream.container.demux(stream):
                tally.add(packet)
                if tally.rotation is None:
                    tally.rotation = next((frame.rotation for frame in packet.decode()), None)
        except av.error.FFmpegError:
            tally.damaged += 1
    return tally


def _decord_may_read(path: Path, survey: Tally) -> bool:
    """Whether the file is of a kind that decord reads rightly; tries decord on the first file of a format."""
    format_ = survey.info.codec, survey.info.container
    if format_ not in _DECORD_FORMATS or survey.rotation != 0 or survey.hidden or survey.damaged or survey.truncation():
        return False
    if format_ not in _decord_is_right and survey.packets >= _CHECK_FRAMES:
        _decord_is_right[format_] = _random_equals_in_order(path)
    return _decord_is_right.get(format_, False)


def _random_equals_in_order(path: Path) -> bool:
    frames = _read_in_order(path, None).frames
    indices = np.random.default_rng(0).permutation(len(frames))[:_CHECK_FRAMES]
    try:
        reader = decord.VideoReader(str(path), num_threads=1)
        return len(reader) == len(frames) and np.array_equal(reader.get_batch(indices).asnumpy(), frames[indices])
    except (decord.DECORDError, RuntimeError):
        return False


def _decord_frames(path: Path, indices: np.ndarray | None) -> np.ndarray:
    reader = decord.VideoReader(str(path), num_threads=1)
    if indices is None:
        return reader.get_batch(np.arange(len(reader))).asnumpy()
    wanted, back = np.unique(indices, return_inverse=True)  # in ascending order decord seldom has to seek back
    _check_range(path, wanted, len(reader))
    if not wanted.size:
        return np.empty((0, *reader[0].shape), np.uint8)
    return reader.get_batch(wanted).asnumpy()[back]
