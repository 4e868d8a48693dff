"""What a video file says of itself, whether its stream is as long as that, and when its frames are shown."""

import logging
import math
import os
import re
import stat
from bisect import bisect_left
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache, lru_cache, wraps
from pathlib import Path

import av
import numpy as np
from av.stream import Disposition
from av.video.frame import PictureType

from kdlab.clips.files import why_no_file

# Formats that consist of, or lead to, other files, networks and devices.
_ELSEWHERE = {"alsa", "concat", "dash", "fbdev", "hls", "image2", "imf", "kmsgrab", "lavfi", "rtp", "rtsp", "sap",
              "sdp", "video4linux2", "vobsub", "webm_dash_manifest", "x11grab"}
# Decoders that mark a frame which they had to fill in; of what others had to do only FFmpeg's log tells. (The log of
# these also has harmless complaints, of cut open groups of pictures for example.)
_MARKING = {"h264", "mpeg4"}
_NAMES = {"mov,mp4,m4a,3gp,3g2,mj2": "mp4", "matroska,webm": "mkv"}
# Old AVI files with packed B-frames announce one or two frames more than they hold, and streams cut at a B-frame
# cannot show their first one or two: not a damage.
SLACK = 2
# A "not coded" picture of MPEG-4 part 2, in the place of a dropped or packed one, has at most so many bytes. A coded
# picture has more, if it is larger than 48 x 48 pixels.
_NOT_CODED = 8

# FFmpeg reports damage in its log. PyAV passes these reports on, to `StreamReader` below, and to nobody else.
av.logging.set_level(av.logging.ERROR)
av.logging.set_skip_repeated(False)
logging.getLogger("libav").addHandler(logging.NullHandler())
logging.getLogger("libav").propagate = False


class UnusableFile(ValueError):
    """A file, the ``reason`` why it cannot be used, and the ``mend``."""

    mend = ""

    def __init__(self, path: Path | str, reason: str):
        super().__init__(path, reason)  # both in args, so that the error survives a process pool
        self.path, self.reason = Path(path), reason

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}. {self.mend.format(self.path)}"


class DamagedClip(UnusableFile):
    """A file that is no video, or of which frames are missing.

    ``reason`` begins with the kind of fault and a colon: empty, misnamed, no video, audio only, unknown codec,
    truncated, damaged or unfinished.
    """

    mend = "Replace the file, or take the clip out of the catalogue."


@dataclass(frozen=True)
class VideoInfo:
    """What a container says about its video stream, without decoding.

    ``frames`` is ``None`` where the container does not announce it; ``fps`` is its rate, a mean one where it tells one.
    ``width`` and ``height`` are the coded ones, in pixels, before any rotation. ``pixel`` is how many times as wide as
    high a pixel should be shown; frames are read as if it were 1.
    """

    frames: int | None
    width: int
    height: int
    fps: float
    codec: str
    container: str
    pixel: float = 1.0


def require_file(path: Path | str) -> os.stat_result:
    """The status of a file that can be read without blocking.

    Raises FileNotFoundError, and DamagedClip for a folder, pipe, socket or device, also where a link leads to one.
    """
    with suppress(OSError):
        if stat.S_ISREG((status := os.stat(path)).st_mode):
            return status
    if (why := why_no_file(Path(path))).startswith("missing"):
        raise FileNotFoundError(f"{path}: no such file. Restore it, or take the clip out of the catalogue.")
    raise DamagedClip(path, why)


def cached_by_file(files: int) -> Callable:
    """A decorator: the function of a file's path keeps its last ``files`` answers for as long as the files stay."""

    def decorate(function: Callable) -> Callable:
        known = lru_cache(files)(lambda path, *stamp: function(path))

        @wraps(function)
        def answer(path: Path | str):
            status = require_file(path)
            return known(Path(path), status.st_mtime_ns, status.st_size)

        return answer

    return decorate


@cached_by_file(2**12)
def probe(path: Path | str) -> VideoInfo:
    """Size, rate, codec and announced length of a video file; a few milliseconds, and none while it stays the same.

    Raises FileNotFoundError, and DamagedClip for a file that cannot be opened as a video.
    """
    with open_stream(path) as stream:
        return info_of(stream)


@contextmanager
def open_stream(path: Path) -> Iterator[av.video.stream.VideoStream]:
    """The video stream of a file, set to decode in one thread (faster on two cores, and the same everywhere).

    Of several streams FFmpeg chooses; a cover image is none. FFmpeg reads a plain file and nothing else: no network,
    and no other file that this one may name. Raises DamagedClip also at the end, for a file that has changed meanwhile.
    """
    before = require_file(path)
    try:
        with av.logging.Capture():  # what it says while it guesses the format is not damage
            # names inside old files are in any encoding: replace what is not UTF-8 instead of refusing the file
            container = av.open(f"file:{path}", metadata_errors="replace",
                                options={"protocol_whitelist": "file", "format_whitelist": _formats()})
    except PermissionError:  # the file may be sound: no DamagedClip
        raise
    except av.error.FFmpegError:
        raise DamagedClip(path, _why_not_opened(path)) from None
    with container:
        stream = container.streams.best("video")
        if stream is None or stream.disposition & Disposition.attached_pic:
            kinds = sorted({other.type for other in container.streams})
            what = "audio only" if "audio" in kinds else "damaged"
            raise DamagedClip(path, f"{what}: its header names no video stream, only {', '.join(kinds) or 'nothing'}")
        if stream.codec_context is None:
            raise DamagedClip(path, "unknown codec: the FFmpeg inside PyAV cannot decode it")
        stream.thread_type = "NONE"
        stream.codec_context.thread_count = 1
        yield stream
    after = require_file(path)
    if (before.st_size, before.st_mtime_ns, before.st_ino) != (after.st_size, after.st_mtime_ns, after.st_ino):
        raise DamagedClip(path, "unfinished: it changed while it was read; wait until it has been written")


@cache
def _formats() -> str:
    return ",".join(sorted(name for name in av.formats_available if not _ELSEWHERE & set(name.split(","))))


def _why_not_opened(path: Path) -> str:
    with open(path, "rb") as file:
        head = file.read(12)
    if not head:
        return "empty: the file has 0 bytes"
    if head[4:8] == b"ftyp" or head[:4] in (b"RIFF", b"\x1aE\xdf\xa3"):
        return "truncated: its header (of MP4: moov) is cut off, wrong, or was never finished"
    return "misnamed: not a video file, whatever its name says; lists of other files are not read"


def info_of(stream: av.video.stream.VideoStream) -> VideoInfo:
    """What an opened file tells of its video stream."""
    context, container = stream.codec_context, stream.container.format.name
    fps = float(stream.average_rate or stream.guessed_rate or 0.0)
    if container == "avi" and (shown := sum(e.size > 0 for e in stream.index_entries)) < stream.frames - SLACK:
        fps *= shown / stream.frames or 1  # its rate counts the places that are empty
    frames = 0 if container == "gif" else stream.frames  # of a GIF FFmpeg counts what is there
    return VideoInfo(frames or None, context.width, context.height, fps, context.codec.canonical_name,
                     _NAMES.get(container, container), float(stream.sample_aspect_ratio or 1))


class StreamReader:
    """One way through a video stream, from its first packet to its last, counting.

    ``packets`` passed so far, of which ``hidden`` are not shown and ``incomplete`` are cut off; ``decoded`` frames came
    out. ``announced`` says whether the file tells how long it should be: else it may have been cut where nothing shows
    it.
    """

    def __init__(self, stream: av.video.stream.VideoStream):
        self.info = info_of(stream)
        self.packets = self.hidden = self.incomplete = self.decoded = 0
        self._stream = stream
        self._end = self._shown = 0  # where the last packet ends, in units of the time base, to decode and to show
        self._until = _announced_end(stream, self.info.container)
        self._due = self.info.frames
        if self._due and self.info.container == "mp4":  # whose edit list may leave out the beginning, packets and all
            self._due = min(self._due, len(stream.index_entries) or self._due)
        #: AVI lists where each frame lies; repeated frames of a capture, of size 0, have no packet
        self._listed = sum(entry.size > 0 for entry in stream.index_entries) if self.info.container == "avi" else 0
        self.announced = bool(self._due or self._until)
        self._listens = not self.announced or self.info.codec not in _MARKING
        self._error = ""  # the first error that FFmpeg has logged

    def frames(self, last: float = math.inf) -> Iterator[av.VideoFrame]:
        """The frames in order of presentation, up to number ``last`` or, where that is a B-frame, the next other one.

        What lies behind is counted, not decoded. Raises DamagedClip, once all packets have passed, when a frame on the
        way is damaged or missing, FFmpeg has logged damage, or the stream is shorter than announced.
        """
        trouble, is_b = None, False
        try:
            for packet in self.each_packet():
                if trouble or (self.decoded > last and not is_b):
                    continue
                try:
                    for frame in self._noting_errors(packet.decode) if self._listens else packet.decode():
                        if frame.is_corrupt:  # the decoder has filled it in from its neighbours
                            trouble = f"damaged: frame {self.decoded} (counted from 0) is incomplete"
                            break
                        self.decoded += 1
                        is_b = frame.pict_type == PictureType.B  # then damage may show in the next frame only
                        yield frame
                except av.error.FFmpegError as error:
                    trouble = f"damaged: cannot be decoded beyond {self.decoded} frames ({error.strerror})"
        except DamagedClip as error:
            trouble = error.reason
        shown = self.packets - self.hidden
        if not trouble and (not self.decoded or self.decoded <= last and self.decoded < shown - SLACK):
            trouble = f"damaged: only {self.decoded} of its {shown} frames can be decoded"
        self._refuse(self._why_cut() or trouble)

    def each_packet(self) -> Iterator[av.Packet]:
        """Pass on the packets, counting them. Raises DamagedClip where the file cannot be read to its end."""
        packets, codec = self._stream.container.demux(self._stream), self.info.codec
        while True:
            try:
                packet = self._noting_errors(lambda: next(packets, None))
            except av.error.FFmpegError as error:
                self._refuse(f"damaged: cannot be read to its end ({error.strerror})")
            if packet is None:
                return
            if packet.size:
                self.packets += 1
                self.incomplete += packet.is_corrupt
                # hidden: before the start of an MP4 edit list, not coded, or (VP8) there to serve other pictures only
                self.hidden += bool(packet.is_discard or codec == "mpeg4" and packet.size <= _NOT_CODED
                                    or codec == "vp8" and not bytes(packet)[0] & 0x10)
                # decoding times, not presentation times: those are wrong in AVI with packed B-frames
                self._end = max(self._end, (packet.dts or 0) + (packet.duration or 1))
                self._shown = max(self._shown, (packet.pts or 0) + (packet.duration or 1))
            yield packet

    def require_whole(self) -> None:
        """Raises DamagedClip where the packets that have passed are not all, or none shows a frame."""
        nothing = "empty: its video stream has no frames" if self.packets == self.hidden else ""
        self._refuse(self._why_cut() or nothing)

    def _refuse(self, reason: str | None) -> None:
        if reason:
            raise DamagedClip(self._stream.container.name.removeprefix("file:"), reason)

    def _why_cut(self) -> str | None:
        """Why the stream ends before what is announced, or what FFmpeg complained of; ``None`` for neither."""
        found = self.packets
        if found < self._listed:
            return f"damaged: {self._listed} frames in its index, {found} found"
        if self._due and self.info.container == "avi":
            # AVI counts the repeated frames of a capture, which have no packet: time tells them from missing ones
            found = max(found, self._end) + SLACK
        if self._due and found < self._due:
            return f"truncated: {self._due} frames announced, {self.packets} found"
        if not self._due and self._until:
            # Matroska announces when the stream ends, somehow; B-frames are decoded late, and may be what is missing
            end = float((self._end if self._error else max(self._end, self._shown)) * self._stream.time_base)
            if end < (self._until - 1e-3 if self._error else 0.95 * self._until - 0.2):
                return f"truncated: {self._until:.2f} s announced, {end:.2f} s found"
        if self.incomplete:
            return f"truncated: {self.incomplete} of its {self.packets} packets incomplete"
        return f"damaged: FFmpeg says {self._error!r}" if self._error and self._listens else None

    def _noting_errors(self, call: Callable):
        """What ``call`` gives; the first error that FFmpeg logs meanwhile is noted."""
        with av.logging.Capture() as logs:
            result = call()
        if logs and not self._error:
            self._error = logs[0][2].strip()
        return result


def _announced_end(stream: av.video.stream.VideoStream, container: str) -> float | None:
    """When the stream should end, in seconds, where the header says it. (For other containers FFmpeg takes the end of
    the file for that.)"""
    if tag := re.fullmatch(r"(\d+):(\d\d):(\d\d(?:\.\d*)?)", stream.metadata.get("DURATION", "")):
        return int(tag[1]) * 3600 + int(tag[2]) * 60 + float(tag[3])
    alone = len(stream.container.streams) == 1  # else it may be the sound that is so long
    if alone and container in ("asf", "flv", "mkv") and stream.container.duration:
        return stream.container.duration / av.time_base
    return None


# --- times ---------------------------------------------------------------------------------------------------------

_SEEKABLE = {("h264", "mp4"), ("h264", "mkv")}  # codec and container whose key pictures are sought


@dataclass(frozen=True, eq=False)
class Timeline:
    """The ``count`` frames of the file ``path`` in the order in which they are shown.

    Times are counted in seconds from the first frame, whatever the file's own clock says there. Where each frame lies
    within half a frame of its place at the file's mean rate, the rate stands for the times: frame n is at n / rate.

    ``times (count,)`` are in seconds, ascending from 0, or ``None`` where the rate stands for them. ``stamps (count,)``
    and ``keys`` (of the frames alone from which a decoder can start afresh) are the file's own times, in its units,
    where each frame is sure to be found by its own over the key before it; elsewhere they are empty.
    """

    path: Path
    info: VideoInfo
    count: int
    times: np.ndarray | None
    stamps: tuple[int, ...]
    keys: tuple[int, ...]

    @property
    def seconds(self) -> float:
        """How long the video is; the last frame stays for the mean time of a frame."""
        if self.times is None:
            return self.count / self.info.fps
        return float(self.times[-1]) + float(self.times[-1]) / max(1, self.count - 1)

    def shown(self, moments: np.ndarray, rate: float = 1.0) -> np.ndarray:
        """The frames that are on display at ``moments / rate`` seconds; the last one stays."""
        if self.times is None:
            return np.minimum(moments * self.info.fps / rate, self.count - 1).astype(int)
        return np.searchsorted(self.times, moments / rate + 1e-9, side="right").clip(1) - 1

    def stretch(self, start: float | None, end: float | None, length: int | None = None) -> tuple[int, int]:
        """The first frame from ``start`` to ``end`` (in seconds; the ends where ``None``), and how many there are;
        none or fewer where the video ends before ``start``. ``length`` frames can be decoded, where it is known."""
        length = self.count if length is None else length
        first = 0 if start is None else self._begins(start)
        return first, (length if end is None else min(length, self._begins(end))) - first

    def _begins(self, moment: float) -> int:
        """The frame whose time is nearest; ``count`` where that is the end of the video."""
        if self.times is None:
            return round(moment * self.info.fps)
        edges = [*self.times, self.seconds]
        after = min(int(np.searchsorted(edges, moment)), self.count)
        # of two as near the later one, however their times are rounded
        return after - (after > 0 and moment - edges[after - 1] < edges[after] - moment - 1e-6)


@cached_by_file(256)
def timeline(path: Path | str) -> Timeline:
    """The times of a file's frames; remembered for as long as the file stays the same.

    Raises FileNotFoundError, and DamagedClip for a file that cannot be opened as a video or is truncated.
    """
    with open_stream(path) as stream:
        reader, packets, head = StreamReader(stream), [], stream.codec_context.extradata or b""
        for packet in reader.each_packet():
            if packet.size and reader.packets - reader.hidden > len(packets):
                packets.append((packet.pts, packet.dts, packet.is_keyframe and _starts_afresh(packet, head)))
        reader.require_whole()
        unit, info = float(stream.time_base), reader.info
    count, packed = len(packets), info.codec == "mpeg4" and reader.hidden > 0
    if packed:  # several pictures in one packet: only a decoder can tell how many there are
        with open_stream(path) as stream:
            count = sum(1 for _ in StreamReader(stream).frames())
    # presentation times are wrong in AVI; its decoding times count the dropped frames of a capture, too
    stamps = [dts if info.container == "avi" else pts for pts, dts, _ in packets]
    decoding = [dts for _, dts, _ in packets if dts is not None]
    known = not packed and None not in stamps and decoding == sorted(decoding)  # else its clock begins again, or jumps
    own = sorted(stamps) if known else []
    if own and own[0] < stamps[0]:  # B-frames before the first key frame: what they are made of may be missing
        own = own[bisect_left(own, _first_shown(path)) :]
        count = len(own)
    times = (np.array(own) - own[0]) * unit if known else None
    if times is not None and info.fps and np.abs(times * info.fps - np.arange(count)).max() < 0.5:
        times = None
    keys = sorted(stamp for stamp, (_, _, is_key) in zip(stamps, packets, strict=True) if is_key and known)
    sure = (info.codec, info.container) in _SEEKABLE and known and not reader.hidden and len(set(own)) == count
    if not sure or keys[:1] != own[:1]:  # what is shown before the first key may be missing
        own, keys = [], []
    if times is None and not info.fps:
        raise DamagedClip(path, "damaged: it says neither when its frames are shown nor how many a second")
    return Timeline(path, info, count, times, tuple(own), tuple(keys))


def _first_shown(path: Path) -> int:
    """The time in the file of the first frame that a decoder shows."""
    with open_stream(path) as stream:
        return next(StreamReader(stream).frames(0)).pts


def _starts_afresh(packet: av.Packet, head: bytes) -> bool:
    """Whether a packet of H.264 is an IDR picture, behind which no picture needs any from before it.

    Containers call recovery points key frames, too: of open groups of pictures, and of a periodic refresh, where parts
    of the next pictures are still made of what came before. ``head`` says how many bytes a length has.
    """
    data, size, at = bytes(packet), (head[4] & 3) + 1 if len(head) > 4 else 0, 0
    while head[:1] == b"\1" and at + size < len(data):  # else start codes, which MP4 and Matroska do not have
        kind = data[at + size] & 31
        if kind in (1, 2, 5):  # a slice, or the first part of one
            return kind == 5
        at += size + int.from_bytes(data[at : at + size], "big")
    return False
