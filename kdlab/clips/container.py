"""What a video file says of itself, and whether its stream is as long as that: the part that needs no pictures."""

import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import av
from av.video.frame import PictureType

_NAMES = {"mov,mp4,m4a,3gp,3g2,mj2": "mp4", "matroska,webm": "mkv"}
# Old AVI files with packed B-frames announce one or two frames more than they hold, and streams cut at a B-frame
# cannot show their first one or two: not a damage.
SLACK = 2


class DamagedClip(ValueError):
    """A file that is no video, or of which frames are missing.

    ``path`` says which; ``reason`` begins with the kind of fault and a colon: empty, misnamed, no video, audio only,
    unknown codec, truncated or damaged.
    """

    def __init__(self, path: Path | str, reason: str):
        super().__init__(path, reason)  # both in args, so that the error survives a process pool
        self.path = Path(path)
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}. Replace the file, or take the clip out of the catalogue."


@dataclass(frozen=True)
class VideoInfo:
    """What a container says about its video stream, without decoding.

    ``frames`` is ``None`` where the container does not tell; ``width`` and ``height`` are the coded ones, in pixels,
    before any rotation.
    """

    frames: int | None
    width: int
    height: int
    fps: float
    codec: str
    container: str


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
        raise DamagedClip(path, "no video: this is a folder")
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
            kinds = {stream.type for stream in container.streams}
            what = "audio only" if "audio" in kinds else "damaged"
            raise DamagedClip(path, f"{what}: its header names no video stream, only {', '.join(kinds) or 'nothing'}")
        stream = container.streams.video[0]
        if stream.codec_context is None:
            raise DamagedClip(path, "unknown codec: the FFmpeg inside PyAV cannot decode it")
        stream.thread_type = "NONE"
        stream.codec_context.thread_count = 1
        yield stream


def _why_not_opened(path: Path) -> str:
    with open(path, "rb") as file:
        head = file.read(12)
    if not head:
        return "empty: the file has 0 bytes"
    if head[4:8] == b"ftyp":
        return "truncated: an MP4 file without its moov header, cut off or never finished"
    if head[:4] == b"RIFF" or head[:4] == b"\x1aE\xdf\xa3":
        return "damaged: its header is wrong or cut off"
    return "misnamed: not a video file, whatever its name says"


def info_of(stream: av.video.stream.VideoStream) -> VideoInfo:
    """What an opened file tells of its video stream."""
    context, container = stream.codec_context, stream.container.format.name
    fps = float(stream.average_rate or stream.guessed_rate or 0.0)
    return VideoInfo(stream.frames or None, context.width, context.height, fps, context.codec.canonical_name,
                     _NAMES.get(container, container))


class Walk:
    """One way through a video stream, from its first packet to its last, counting.

    ``packets`` passed so far, of which ``hidden`` are not shown and ``damaged`` are incomplete; ``seen`` frames were
    decoded.
    """

    def __init__(self, stream: av.video.stream.VideoStream):
        self.info = info_of(stream)
        self.packets = self.hidden = self.damaged = self.seen = 0
        self._stream = stream
        self._end = 0  # where the last packet ends, in units of the time base

    def frames(self, last: float = math.inf) -> Iterator[av.VideoFrame]:
        """The frames in order of presentation, up to number ``last`` or, where that is a B-frame, the next other one.

        What lies behind is counted, not decoded. Raises DamagedClip, once all packets have passed, when a frame on the
        way is damaged or missing or the stream is shorter than announced.
        """
        trouble, is_b = None, False
        try:
            for packet in self.each_packet():
                if trouble or (self.seen > last and not is_b):
                    continue
                try:
                    for frame in packet.decode():
                        if frame.is_corrupt:  # the decoder has filled it in from its neighbours
                            trouble = f"damaged: frame {self.seen} (counted from 0) is incomplete"
                            break
                        self.seen += 1
                        is_b = frame.pict_type == PictureType.B  # then damage may show in the next frame only
                        yield frame
                except av.error.FFmpegError as error:
                    trouble = f"damaged: cannot be decoded beyond {self.seen} frames ({error.strerror})"
        except av.error.FFmpegError as error:
            trouble = f"damaged: cannot be read to its end ({error.strerror})"
        shown = self.packets - self.hidden
        if not trouble and (not self.seen or self.seen <= last and self.seen < shown - SLACK):
            trouble = f"damaged: only {self.seen} of its {shown} frames can be decoded"
        if reason := self.truncation() or trouble:
            raise DamagedClip(self._stream.container.name, reason)

    def each_packet(self) -> Iterator[av.Packet]:
        """Pass on the packets, counting them. Raises ``av.error.FFmpegError`` where the file cannot be read."""
        for packet in self._stream.container.demux(self._stream):
            if packet.size:
                self.packets += 1
                self.hidden += _is_hidden(packet, self.info.codec)
                self.damaged += packet.is_corrupt
                # decoding times, not presentation times: those are wrong in AVI with packed B-frames
                self._end = max(self._end, (packet.dts or 0) + (packet.duration or 1))
            yield packet

    def truncation(self) -> str | None:
        """Why the stream ends before what is announced; ``None`` when it does not."""
        announced, found = self.info.frames, self.packets
        if announced and self.info.container == "avi":
            # AVI counts the repeated frames of a capture, which have no packet: time tells them from missing ones
            found = max(found, self._end) + SLACK
        if announced and found < announced:
            return f"truncated: {announced} frames announced, {self.packets} found"
        if not announced and (tagged_end := _seconds(self._stream.metadata.get("DURATION"))):
            end = float(self._end * self._stream.time_base)  # Matroska announces when the stream ends
            if end < 0.95 * tagged_end - 0.2:
                return f"truncated: {tagged_end:.2f} s announced, {end:.2f} s found"
        return f"truncated: {self.damaged} of its {self.packets} packets incomplete" if self.damaged else None


def _is_hidden(packet: av.Packet, codec: str) -> bool:
    """Whether no frame is shown for a packet.

    It lies before the start of an MP4 edit list, is a "not coded" picture of MPEG-4 part 2 (of at most 8 bytes, in the
    place of a dropped or packed one), or says, as in VP8, that it serves other pictures only.
    """
    only_serves = codec == "vp8" and not bytes(packet)[0] & 0x10
    return packet.is_discard or (codec == "mpeg4" and packet.size <= 8) or only_serves


def _seconds(tag: str | None) -> float | None:
    match = re.fullmatch(r"(\d+):(\d\d):(\d\d(?:\.\d*)?)", tag or "")
    return int(match[1]) * 3600 + int(match[2]) * 60 + float(match[3]) if match else None
