"""Frames from video files, by one function, with damaged files named instead of shortened.

Two decoders stand behind ``read_frames``. PyAV reads in order, is right for every format and notices damaged frames;
whole clips are always read by it, which is also the faster way. decord reads single frames without decoding all before
them, but fills damaged frames in without a word (as do all decoders; only PyAV hands on the mark), returns wrong
frames for MPEG-4 part 2 with B-frames and for MP4 files with an edit list, and stumbles over rotation. So it is used
for single frames of plain H.264 in MP4 or Matroska only, where it is installed, once a random read has been seen to
equal a reading in order.

Neither decoder complains about a truncated file, so what the container announces is compared with what comes out.
"""

import math
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import VideoReformatter

try:
    import decord
except (ImportError, OSError, RuntimeError):  # no wheel for this platform, or one that does not load: PyAV does it all
    decord = None
else:
    decord.logging.set_level(decord.logging.QUIET)

_CONTAINERS = {"mov,mp4,m4a,3gp,3g2,mj2": "mp4", "matroska,webm": "mkv"}
_DECORD_FORMATS = {("h264", "mp4"), ("h264", "mkv")}
# Old AVI files with packed B-frames announce one or two frames more than they hold, and streams cut at a B-frame
# cannot show their first one or two: not a damage.
_SLACK = 2
_CHECK_FRAMES = 8

# (codec, container) -> does decord's random read equal reading in order? Asked once per process.
_decord_is_right: dict[tuple[str, str], bool] = {}


class DamagedClip(ValueError):
    """A file that is no video, or of which frames are missing. ``path`` and ``reason`` say which and why."""

    def __init__(self, path: Path | str, reason: str):
        super().__init__(path, reason)  # both in args, so that the error survives a process pool
        self.path = Path(path)
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}. Replace the file, or take the clip out of the catalogue."


@dataclass(frozen=True)
class VideoInfo:
    """What a container says about its video stream, without decoding.

    ``frames`` and ``duration`` (seconds) are ``None`` where the container does not tell; ``width`` and ``height`` are
    the coded ones, in pixels, before any rotation.
    """

    frames: int | None
    width: int
    height: int
    fps: float
    codec: str
    container: str
    duration: float | None


@dataclass(frozen=True)
class Decoded:
    """Frames (T, H, W, 3), uint8, RGB, upright; which decoder read them ("decord" or "pyav"); mean frames/s.

    ``announced`` is the container's own count for the whole file, ``None`` where it has none.
    """

    frames: np.ndarray
    decoder: str
    fps: float
    announced: int | None


def probe(path: Path | str) -> VideoInfo:
    """Size, rate, codec and announced length of a video file; a few milliseconds.

    Raises FileNotFoundError, and DamagedClip for a file that cannot be opened as a video.
    """
    with _opened(Path(path)) as stream:
        return _info(stream)


def read_frames(path: Path | str, indices: Sequence[int] | np.ndarray | None = None, decoder: str = "auto") -> Decoded:
    """Read all frames, or those at ``indices`` (counted from 0 in presentation order; any order, repeats allowed).

    ``decoder`` is "auto" (see the module's text), "pyav" or "decord". Files whose frames differ in size are scaled to
    the first frame; rotation by quarter turns, as phones store it, is applied.

    Raises FileNotFoundError; DamagedClip for an empty, truncated (also behind the last index) or undecodable file and
    for one without video; ValueError for an index outside the clip, an unknown decoder, or
    "decord" where it is not installed.
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
    survey = _survey(path)
    if decoder == "auto" and not _decord_may_read(path, survey):
        return _read_in_order(path, indices)
    try:
        frames = _decord_frames(path, indices)
    except (decord.DECORDError, RuntimeError) as error:
        if decoder == "auto":  # PyAV reads it, or says better what is wrong
            return _read_in_order(path, indices)
        raise DamagedClip(path, f"decord cannot read it ({str(error).splitlines()[0]})") from None
    return Decoded(frames, "decord", survey.info.fps, survey.info.frames)


# --- opening -------------------------------------------------------------------------------------------------------

@contextmanager
def _opened(path: Path) -> Iterator[av.video.stream.VideoStream]:
    """The first video stream of a file, set to decode in one thread (faster on two cores, and the same everywhere)."""
    try:
        # names inside old files are in any encoding: replace what is not UTF-8 instead of refusing the file
        container = av.open(str(path), metadata_errors="replace")
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: no such file. Restore it, or take the clip out of the catalogue.") from None
    except IsADirectoryError:
        raise DamagedClip(path, "this is a folder, not a video file") from None
    except PermissionError:
        raise
    except av.error.FFmpegError:
        raise DamagedClip(path, _why_not_opened(path)) from None
    with container:
        if not container.streams.video:
            other = ", ".join(sorted({stream.type for stream in container.streams})) or "nothing"
            raise DamagedClip(path, f"it has no video stream (only {other})")
        stream = container.streams.video[0]
        if stream.codec_context is None:
            raise DamagedClip(path, "its video codec is unknown to the FFmpeg inside PyAV")
        stream.thread_type = "NONE"
        stream.codec_context.thread_count = 1
        yield stream


def _why_not_opened(path: Path) -> str:
    with open(path, "rb") as file:
        head = file.read(12)
    if not head:
        return "the file is empty (0 bytes)"
    if head[4:8] == b"ftyp":
        return "an MP4 file without its moov header: it was cut off, or its recording was never finished"
    if head[:4] == b"RIFF" or head[:4] == b"\x1aE\xdf\xa3":
        return "its header is damaged or cut off"
    return "not a video file, whatever its name says"


def _info(stream: av.video.stream.VideoStream) -> VideoInfo:
    context = stream.codec_context
    container = stream.container
    duration = float(container.duration / av.time_base) if container.duration else None
    return VideoInfo(
        frames=stream.frames or None,
        width=context.width,
        height=context.height,
        fps=float(stream.average_rate or stream.guessed_rate or 0.0),
        codec=context.codec.canonical_name,
        container=_CONTAINERS.get(container.format.name, container.format.name),
        duration=duration,
    )


# --- what the file holds against what it announces -----------------------------------------------------------------

class _Tally:
    """Counts the packets of a video stream while they pass."""

    def __init__(self, stream: av.video.stream.VideoStream):
        self.info = _info(stream)
        self.time_base = stream.time_base
        self.tagged_end = _seconds(stream.metadata.get("DURATION"))
        self.packets = self.hidden = self.damaged = 0
        self.rotation: int | None = None  # degrees, of the first frame, once one is decoded
        self.end = 0  # where the last packet ends, in units of the time base

    def add(self, packet: av.Packet) -> None:
        if packet.size:
            self.packets += 1
            self.hidden += packet.is_discard  # before the start of an MP4 edit list: decoded, never shown
            self.damaged += packet.is_corrupt
            # decoding times, not presentation times: those are wrong in AVI with packed B-frames
            self.end = max(self.end, (packet.dts or 0) + (packet.duration or 1))

    def truncation(self) -> str | None:
        """Why the stream ends before what is announced; ``None`` when it does not."""
        info = self.info
        if info.container == "avi" and info.frames:
            # AVI counts the repeated frames of a capture, which have no packet: time tells them from missing ones
            if max(self.packets, self.end) < info.frames - _SLACK:
                return f"truncated: {info.frames} frames announced, {self.packets} found"
        elif info.frames:
            if self.packets < info.frames:
                return f"truncated: {info.frames} frames announced, {self.packets} found"
        elif self.tagged_end:  # Matroska announces no number of frames, but when the stream ends
            end = float(self.end * self.time_base)
            if end < 0.95 * self.tagged_end - 0.2:
                return f"truncated: {self.tagged_end:.2f} s announced, {end:.2f} s found"
        return f"truncated: {self.damaged} of its {self.packets} packets incomplete" if self.damaged else None


def _seconds(tag: str | None) -> float | None:
    match = re.fullmatch(r"(\d+):(\d\d):(\d\d(?:\.\d*)?)", tag or "")
    return int(match[1]) * 3600 + int(match[2]) * 60 + float(match[3]) if match else None


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
    with _opened(path) as stream:
        tally = _Tally(stream)
        picker = _Picker(wanted, (tally.info.frames or 64) if wanted is None else len(wanted))
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
        if picker.seen < shown - _SLACK:
            raise DamagedClip(path, f"only {picker.seen} of its {shown} frames can be decoded")
        if wanted is not None:
            _check_range(path, wanted, picker.seen)
    return Decoded(picker.upright(order), "pyav", tally.info.fps, tally.info.frames)


# --- decord --------------------------------------------------------------------------------------------------------


def _survey(path: Path) -> _Tally:
    """Pass over the packets of a file and decode only the first frame: cheap beside opening the file."""
    with _opened(path) as stream:
        tally = _Tally(stream)
        if (tally.info.codec, tally.info.container) not in _DECORD_FORMATS:
            return tally  # decord will not be asked
        try:
            for packet in stream.container.demux(stream):
                tally.add(packet)
                if tally.rotation is None:
                    tally.rotation = next((frame.rotation for frame in packet.decode()), None)
        except av.error.FFmpegError:
            tally.damaged += 1
    return tally


def _decord_may_read(path: Path, survey: _Tally) -> bool:
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
