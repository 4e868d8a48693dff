"""What a video file says of itself, and whether its stream is as long as that: the part that needs no pictures."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import av

_NAMES = {"mov,mp4,m4a,3gp,3g2,mj2": "mp4", "matroska,webm": "mkv"}
# Old AVI files with packed B-frames announce one or two frames more than they hold, and streams cut at a B-frame
# cannot show their first one or two: not a damage.
SLACK = 2


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


def probe(path: Path | str) -> VideoInfo:
    """Size, rate, codec and announced length of a video file; a few milliseconds.

    Raises FileNotFoundError, and DamagedClip for a file that cannot be opened as a video.
    """
    with opened(Path(path)) as stream:
        return info_of(stream)


@contextmanager
def opened(path: Path) -> Iterator[av.video.stream.VideoStream]:
    """The first video stream of a file, set to decode in one thread (faster on two cores, and the same everywhere)."""
    if path.is_dir():
        raise DamagedClip(path, "this is a folder, not a video file")
    try:
        # names inside old files are in any encoding: replace what is not UTF-8 instead of refusing the file
        container = av.open(str(path), metadata_errors="replace")
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: no such file. Restore it, or take the clip out of the catalogue.") from None
    except PermissionError:  # the file may be sound: no DamagedClip
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


def info_of(stream: av.video.stream.VideoStream) -> VideoInfo:
    """What an opened file tells of its video stream."""
    context = stream.codec_context
    container = stream.container
    duration = float(container.duration / av.time_base) if container.duration else None
    return VideoInfo(
        frames=stream.frames or None,
        width=context.width,
        height=context.height,
        fps=float(stream.average_rate or stream.guessed_rate or 0.0),
        codec=context.codec.canonical_name,
        container=_NAMES.get(container.format.name, container.format.name),
        duration=duration,
    )


class Tally:
    """Counts the packets of a video stream while they pass.

    ``packets`` of the stream, of which ``hidden`` are decoded and not shown (they lie before the start of an MP4 edit
    list) and ``damaged`` are incomplete; ``rotation`` in degrees is for the reader to set, from the first frame.
    """

    def __init__(self, stream: av.video.stream.VideoStream):
        self.info = info_of(stream)
        self.time_base = stream.time_base
        self.tagged_end = _seconds(stream.metadata.get("DURATION"))
        self.packets = self.hidden = self.damaged = 0
        self.rotation: int | None = None
        self.end = 0  # where the last packet ends, in units of the time base

    def add(self, packet: av.Packet) -> None:
        if packet.size:
            self.packets += 1
            self.hidden += packet.is_discard
            self.damaged += packet.is_corrupt
            # decoding times, not presentation times: those are wrong in AVI with packed B-frames
            self.end = max(self.end, (packet.dts or 0) + (packet.duration or 1))

    def truncation(self) -> str | None:
        """Why the stream ends before what is announced; ``None`` when it does not."""
        info = self.info
        if info.container == "avi" and info.frames:
            # AVI counts the repeated frames of a capture, which have no packet: time tells them from missing ones
            if max(self.packets, self.end) < info.frames - SLACK:
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
