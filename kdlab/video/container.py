"""Headers of video files, a check of the stream against the announced length, and the times of frames."""

import logging
import math
import os
import re
import shlex
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache, wraps
from pathlib import Path

import av
import numpy as np
from av.stream import Disposition
from av.video.frame import PictureType
from av.video.stream import VideoStream

from kdlab.system.files import why_no_file
from kdlab.video.headers import SLICES, not_coded, units

#: Numbers of frames in presentation order, counted from 0; ``None`` for all frames.
Indices = Sequence[int] | np.ndarray | None
#: Frames one by one, uint8 (H, W, C).
Frames = Iterable[np.ndarray]
#: ``read(path, indices=None)`` gives the frames of a file: all, or those at ascending ``indices``.
Read = Callable[..., Frames]

# Formats that refer to other files, networks or devices.
_ELSEWHERE = {
    "alsa",
    "concat",
    "dash",
    "fbdev",
    "hls",
    "image2",
    "imf",
    "kmsgrab",
    "lavfi",
    "rtp",
    "rtsp",
    "sap",
    "sdp",
    "video4linux2",
    "vobsub",
    "webm_dash_manifest",
    "x11grab",
}
_FORMATS = ",".join(
    sorted(name for name in av.formats_available if not _ELSEWHERE & set(name.split(",")))
)
# Decoders that mark concealed frames as corrupt. Other decoders report damage only in FFmpeg's log. (The log of these
# two also has harmless complaints, such as open GOPs that are cut.)
_MARKING = {"h264", "mpeg4"}
_NAMES = {"mov,mp4,m4a,3gp,3g2,mj2": "mp4", "matroska,webm": "mkv"}
# Frames that may be missing without damage: old AVI files with packed B-frames announce one or two frames too many, and
# streams cut at a B-frame cannot show their first one or two frames.
SLACK = 2
# Of two films joined in one such file, FFmpeg reads the first and says nothing.
_ONE_FILM = {"asf", "flv", "mp4"}
_TAIL = 2**26  # bytes behind the last packet in which a second film is looked for
# Largest size in bytes of a "not coded" picture of MPEG-4 part 2, which replaces a dropped or packed picture. Coded
# pictures of up to 48 x 48 pixels may be as small.
_NOT_CODED = 8

# FFmpeg reports damage in its log. PyAV passes these reports to `StreamReader` below, and to no other handler.
av.logging.set_level(av.logging.ERROR)
av.logging.set_skip_repeated(False)
logging.getLogger("libav").addHandler(logging.NullHandler())
logging.getLogger("libav").propagate = False


class UnusableFile(ValueError):
    """A file that cannot be used, with the ``reason`` and the remedy (``mend``)."""

    mend = ""

    def __init__(self, path: Path | str, reason: str):
        super().__init__(path, reason)  # both in args, so that the error survives a process pool
        self.path, self.reason = Path(path), reason

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}. {self.mend.format(shlex.quote(str(self.path)))}"


class DamagedClip(UnusableFile):
    """A file that is no video, or that lacks frames.

    ``reason`` begins with the kind of fault and a colon: empty, misnamed, no video, audio only, unknown codec,
    truncated, damaged, joined or unfinished.
    """

    mend = "Replace the file, or take the clip out of the catalogue."


@dataclass(frozen=True)
class VideoInfo:
    """The container's description of its video stream, read without decoding.

    ``frames`` is the announced number, or ``None``. ``fps`` is the container's mean rate, else FFmpeg's
    guess. ``width`` and ``height`` are the coded size in pixels, before any rotation. ``pixel`` is the pixel
    aspect ratio (width / height); frames are read as if it were 1.
    """

    frames: int | None
    width: int
    height: int
    fps: float
    codec: str
    container: str
    pixel: float = 1.0


def require_file(path: Path | str) -> os.stat_result:
    """``os.stat`` of a plain file, which can be read without blocking.

    Raises FileNotFoundError, and DamagedClip for a folder, pipe, socket or device, or a link to one.
    """
    if not (why := why_no_file(Path(path))):
        return os.stat(path)
    if why.startswith("missing"):
        raise FileNotFoundError(
            f"{path}: no such file. Restore it, or take the clip out of the catalogue."
        )
    raise DamagedClip(path, why)


def stamp(path: Path | str) -> tuple[int, int, int]:
    """Size, modification time and change time of a plain file. They tell whether it is still the file that was read:
    a copy may have the old size and modification time, and programs cannot set back the change time.

    Raises what :func:`require_file` raises.
    """
    status = require_file(path)
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns


def cached_by_file(files: int) -> Callable:
    """Decorate a function of a file's path: it caches the results of the last ``files`` files until a file changes."""

    def decorate(function: Callable) -> Callable:
        known = lru_cache(files)(lambda path, state: function(path))

        @wraps(function)
        def answer(path: Path | str):
            return known(Path(path), stamp(path))

        return answer

    return decorate


@cached_by_file(2**12)
def probe(path: Path | str) -> VideoInfo:
    """Size, rate, codec and announced length of a video file. It takes a few milliseconds; the result is cached.

    Raises FileNotFoundError, and DamagedClip for a file that cannot be opened as a video.
    """
    with open_stream(path) as stream:
        return _described(stream)


@contextmanager
def open_stream(path: Path) -> Iterator[VideoStream]:
    """Open the video stream of a file, to be decoded in one thread (faster on two cores, and the same everywhere).

    FFmpeg chooses among several streams; cover images do not count. FFmpeg reads this plain file only: no network, and
    no file that this file names. Raises FileNotFoundError, and DamagedClip for a file that is no video, or, at the end,
    for a file that has changed while it was open.
    """
    before = stamp(path)
    with _opened(path) as container:
        stream = container.streams.best("video")
        if stream is None or stream.disposition & Disposition.attached_pic:
            raise DamagedClip(path, _why_no_video(container))
        if stream.codec_context is None:
            raise DamagedClip(path, "unknown codec: the FFmpeg inside PyAV cannot decode it")
        stream.thread_type = "NONE"
        stream.codec_context.thread_count = 1
        yield stream
    if stamp(path) != before:
        raise DamagedClip(
            path, "unfinished: it changed while it was read; wait until it has been written"
        )


def _opened(path: Path) -> av.container.InputContainer:
    try:
        with av.logging.Capture():  # messages from guessing the format are not damage
            # metadata of old files may have any encoding: replace bytes that are not UTF-8, and keep the file
            return av.open(
                f"file:{path}",
                metadata_errors="replace",
                options={"protocol_whitelist": "file", "format_whitelist": _FORMATS},
            )
    except PermissionError:  # the file may be sound: no DamagedClip
        raise
    except av.error.FFmpegError:
        raise DamagedClip(path, _why_not_opened(path)) from None


def _why_no_video(container: av.container.InputContainer) -> str:
    kinds = sorted({stream.type for stream in container.streams})
    what = "audio only" if "audio" in kinds else "damaged"
    return f"{what}: its header names no video stream, only {', '.join(kinds) or 'nothing'}"


def _why_not_opened(path: Path) -> str:
    with open(path, "rb") as file:
        head = file.read(12)
    if not head:
        return "empty: the file has 0 bytes"
    if head[4:8] == b"ftyp" or head[:4] in (b"RIFF", b"\x1aE\xdf\xa3"):
        return "truncated: its header (of MP4: moov) is cut off, wrong, or was never finished"
    return "misnamed: not a video file, whatever its name says; lists of other files are not read"


class StreamReader:
    """Reads a video stream once, from the first packet to the last, and counts.

    ``packets`` have been read, of which ``hidden`` are not shown and ``incomplete`` are cut off; ``decoded`` frames
    have been decoded. ``announced`` is true if the file gives its length; otherwise a truncation may go undetected. The
    header of a fragmented MP4 counts the frames of no fragment, or only those of the first.
    """

    def __init__(self, stream: VideoStream):
        self._stream, self._path = stream, Path(stream.container.name.removeprefix("file:"))
        self.info = _described(stream)
        self.packets = self.hidden = self.incomplete = self.decoded = 0
        self._is_cut = False  # whether the last packet is
        # ends of the last packet: in the file; in decoding and in presentation time, in time base units
        self._bytes = self._end = self._shown = 0
        self._listed = _listed(stream)
        self._until = _announced_end(stream, self.info.container)
        self._due, is_mp4 = self.info.frames, self.info.container == "mp4"
        if self._due and is_mp4:  # an edit list may leave out the first packets
            self._due = min(self._due, len(stream.index_entries) or self._due)
        with open(self._path, "rb") as file:
            self._head = file.read(2**16)
        fragmented = is_mp4 and b"mvex" in self._head
        self.announced = bool(self._due or self._until) and not fragmented
        self._listens = not self.announced or self.info.codec not in _MARKING
        self._error = ""  # the first error in FFmpeg's log

    def frames(self, last: float = math.inf) -> Iterator[av.VideoFrame]:
        """Yield frames in presentation order, up to number ``last``; past a B-frame, up to the next other frame.

        Later packets are counted and not decoded. Raises DamagedClip, after the last packet, if a decoded frame is
        damaged or missing, if FFmpeg has logged damage, or if the stream is shorter than announced.
        """
        trouble, is_b = None, False  # damage may show only in the frame after a B-frame
        try:
            for packet in self.each_packet():
                if trouble or (self.decoded > last and not is_b):
                    continue
                try:
                    for frame in self._decoded(packet):
                        if frame.is_corrupt:  # the decoder has concealed damage
                            trouble = (
                                f"damaged: frame {self.decoded} (counted from 0) is incomplete"
                            )
                            break
                        self.decoded += 1
                        is_b = frame.pict_type == PictureType.B
                        yield frame
                except av.error.FFmpegError as error:
                    trouble = f"damaged: cannot be decoded beyond {self.decoded} frames ({error.strerror})"
        except DamagedClip as error:
            trouble = error.reason
        shown = self.packets - self.hidden
        missing = self.decoded <= last and self.decoded < shown - SLACK
        if not trouble and (missing or not self.decoded):
            trouble = f"damaged: only {self.decoded} of its {shown} frames can be decoded"
        self._refuse(self._why_cut() or trouble)

    def _decoded(self, packet: av.Packet) -> list[av.VideoFrame]:
        return self._noting_errors(packet.decode) if self._listens else packet.decode()

    def each_packet(self) -> Iterator[av.Packet]:
        """Yield the packets and count them. Raises DamagedClip if the file cannot be read to its end."""
        packets = self._stream.container.demux(self._stream)
        while True:
            try:
                packet = self._noting_errors(lambda: next(packets, None))
            except av.error.FFmpegError as error:
                self._refuse(f"damaged: cannot be read to its end ({error.strerror})")
            if packet is None:
                return
            if packet.size:
                self._count(packet)
            yield packet

    def _count(self, packet: av.Packet) -> None:
        self.packets += 1
        self.hidden += self._hides(packet)
        self._is_cut = packet.is_corrupt
        self.incomplete += packet.is_corrupt
        self._bytes = max(self._bytes, (packet.pos or 0) + packet.size)
        # decoding times, because presentation times are wrong in AVI with packed B-frames
        length = packet.duration or 1
        self._end = max(self._end, (packet.dts or 0) + length)
        self._shown = max(self._shown, (packet.pts or 0) + length)

    def _hides(self, packet: av.Packet) -> bool:
        """Whether a packet is not shown: it lies before the start of an MP4 edit list, is not coded, or (VP8) is only
        a reference for other pictures."""
        if packet.is_discard:
            return True
        if self.info.codec == "vp8":
            return not bytes(packet)[0] & 0x10
        if self.info.codec != "mpeg4" or packet.size > _NOT_CODED:
            return False
        return not_coded(bytes(packet), self._stream.codec_context.extradata or b"")

    def shown_packets(self) -> Iterator[av.Packet]:
        """As :meth:`each_packet`, without the packets that are not shown."""
        shown = 0
        for packet in self.each_packet():
            if self.packets - self.hidden > shown:
                shown += 1
                yield packet

    def require_whole(self) -> None:
        """Raise DamagedClip if packets are missing, or if no packet shows a frame."""
        nothing = "empty: its video stream has no frames" if self.packets == self.hidden else ""
        self._refuse(self._why_cut() or nothing)

    def _refuse(self, reason: str | None) -> None:
        if reason:
            raise DamagedClip(self._path, reason)

    def _why_cut(self) -> str | None:
        """Why the stream is shorter than announced, or FFmpeg's first error; ``None`` for neither."""
        count = self.packets
        if count < self._listed:
            return f"damaged: {self._listed} frames in its index, {count} found"
        if self._due and self.info.container == "avi":
            # AVI counts the repeated frames of a capture, which have no packet; times separate them from missing frames
            count = max(count, self._end) + SLACK
        if self._due and count < self._due:
            return f"truncated: {self._due} frames announced, {self.packets} found"
        if not self._due and self._until:
            # Matroska announces an approximate end; B-frames are decoded late, and may be the missing frames
            last, least = max(self._end, self._shown), 0.95 * self._until - 0.2
            if self._error:
                last, least = self._end, self._until - 1e-3
            end = float(last * self._stream.time_base)
            if end < least:
                return f"truncated: {self._until:.2f} s announced, {end:.2f} s found"
        if self._is_cut:
            return f"truncated: {self.incomplete} of its {self.packets} packets incomplete"
        if self.incomplete:
            return (
                f"damaged: {self.incomplete} of its {self.packets} packets incomplete, and others follow: pieces "
                "are missing there, or files were joined"
            )
        if self._begins_again():
            return "joined: another film follows in the file, and FFmpeg does not read it; make two files of it"
        return f"damaged: FFmpeg says {self._error!r}" if self._error and self._listens else None

    def _begins_again(self) -> bool:
        """Whether the file's beginning comes again behind its last packet."""
        if self.info.container not in _ONE_FILM:
            return False
        with open(self._path, "rb") as file:
            file.seek(self._bytes)
            return (b"ftyp" if self._head[4:8] == b"ftyp" else self._head[:12]) in file.read(_TAIL)

    def _noting_errors(self, call: Callable):
        """Return ``call()``, and keep the first error that FFmpeg logs during it."""
        with av.logging.Capture() as logs:
            result = call()
        if logs and not self._error:
            self._error = logs[0][2].strip()
        return result


def _listed(stream: VideoStream) -> int:
    """The number of frames in an AVI's index, else 0. The repeated frames of a capture have size 0 and no packet."""
    if stream.container.format.name != "avi":
        return 0
    return sum(entry.size > 0 for entry in stream.index_entries)


def _described(stream: VideoStream) -> VideoInfo:
    context, container, frames = stream.codec_context, stream.container.format.name, stream.frames
    fps = float(stream.average_rate or stream.guessed_rate or 0.0)
    if container == "avi" and _listed(stream) < frames - SLACK:
        fps *= _listed(stream) / frames or 1  # the announced rate counts empty index entries too
    if container == "gif":  # GIF announces none: FFmpeg counts the frames in the file
        frames = 0
    return VideoInfo(
        frames or None,
        context.width,
        context.height,
        fps,
        context.codec.canonical_name,
        _NAMES.get(container, container),
        float(stream.sample_aspect_ratio or 1),
    )


def _announced_end(stream: VideoStream, container: str) -> float | None:
    """The announced end of the stream in seconds, or ``None``. (In other containers FFmpeg reports the end of the
    file.)"""
    if tag := re.fullmatch(r"(\d+):(\d\d):(\d\d(?:\.\d*)?)", stream.metadata.get("DURATION", "")):
        return int(tag[1]) * 3600 + int(tag[2]) * 60 + float(tag[3])
    alone = len(stream.container.streams) == 1  # otherwise the duration may be the sound's
    if alone and container in ("asf", "flv", "mkv") and stream.container.duration:
        return stream.container.duration / av.time_base
    return None


# --- times ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Timeline:
    """The ``count`` frames of the file ``path`` in presentation order.

    Times are in seconds from the first frame, whatever time the file gives the first frame. If every frame lies within
    half a frame of its place at the file's mean rate, frame n is at n / rate.

    ``times (count,)`` are in seconds, ascending from 0, or ``None`` if the rate replaces them. ``stamps (count,)`` are
    the file's own times of all frames, and ``keys`` those of the frames at which a decoder can start, both in the
    file's units. Both are empty unless seeking to a key and decoding from there finds every frame by its time.
    """

    path: Path
    info: VideoInfo
    count: int
    times: np.ndarray | None
    stamps: tuple[int, ...]
    keys: tuple[int, ...]

    @property
    def seconds(self) -> float:
        """Duration of the video in seconds; the last frame lasts as long as the mean frame."""
        if self.times is None:
            return self.count / self.info.fps
        return float(self.times[-1]) + float(self.times[-1]) / max(1, self.count - 1)

    def shown(self, moments: np.ndarray, rate: float = 1.0) -> np.ndarray:
        """The frames shown at ``moments / rate`` seconds; after the end, the last frame."""
        if self.times is None:
            return np.minimum(moments * self.info.fps / rate, self.count - 1).astype(int)
        return np.searchsorted(self.times, moments / rate + 1e-9, side="right").clip(1) - 1

    def stretch(
        self, start: float | None, end: float | None, length: int | None = None
    ) -> tuple[int, int]:
        """The first frame between ``start`` and ``end`` (seconds; ``None`` for the video's own ends), and the number
        of frames, which is 0 or negative if the video ends before ``start``. ``length`` is the number of decodable
        frames, if known."""
        length = self.count if length is None else length
        first = 0 if start is None else self._begins(start)
        return first, (length if end is None else min(length, self._begins(end))) - first

    def _begins(self, moment: float) -> int:
        """The frame whose time is nearest to ``moment``; ``count`` if the end of the video is nearest. If two frames
        are equally near, it is the later one: so every second of 25 frames has 25."""
        if self.times is None:
            return math.floor(
                moment * self.info.fps + 0.5 + 1e-6
            )  # 0.58 * 25 is a little less than 14.5
        edges = [*self.times, self.seconds]
        after = min(int(np.searchsorted(edges, moment)), self.count)
        return after - (after > 0 and moment - edges[after - 1] < edges[after] - moment - 1e-6)


@cached_by_file(256)
def timeline(path: Path | str) -> Timeline:
    """The times of a file's frames, cached until the file changes.

    Raises FileNotFoundError, and DamagedClip for a file that cannot be opened as a video or is truncated.
    """
    with open_stream(path) as stream:
        reader, head = StreamReader(stream), stream.codec_context.extradata or b""
        is_prefixed = head[:1] == b"\1" and len(head) > 4
        length = (head[4] & 3) + 1 if is_prefixed else 0  # bytes of an H.264 unit's length
        unit, info = float(stream.time_base), reader.info
        stamps, decoding, keys = [], [], []
        for packet in reader.shown_packets():
            # presentation times are wrong in AVI; its decoding times include the dropped frames of a capture
            stamp = packet.dts if info.container == "avi" else packet.pts
            stamps.append(stamp)
            if packet.dts is not None:
                decoding.append(packet.dts)
            if packet.is_keyframe and _starts_afresh(packet, length):
                keys.append(stamp)
        reader.require_whole()
    count, packed = len(stamps), info.codec == "mpeg4" and reader.hidden > 0
    if packed:  # several pictures in one packet: only a decoder can count them
        with open_stream(path) as stream:
            count = sum(1 for _ in StreamReader(stream).frames())
    times, own = None, []
    # else the clock restarts or jumps
    if not packed and None not in stamps and decoding == sorted(decoding):
        own = _shown_from_the_first_key(path, stamps)
        count = len(own)
        times = (np.array(own) - own[0]) * unit
        keys.sort()
        if info.fps and np.abs(times * info.fps - np.arange(count)).max() < 0.5:
            times = None
    elif not info.fps:
        raise DamagedClip(
            path, "damaged: it says neither when its frames are shown nor how many a second"
        )
    sure = info.codec == "h264" and info.container in ("mp4", "mkv") and not reader.hidden
    # frames before the first key may be missing
    if not sure or len(set(own)) != count or keys[:1] != own[:1]:
        own, keys = [], []
    return Timeline(path, info, count, times, tuple(own), tuple(keys))


def _shown_from_the_first_key(path: Path, stamps: list[int]) -> list[int]:
    """The ``stamps`` in ascending order, without those of B-frames before the first key frame, whose references are
    missing."""
    own = sorted(stamps)
    if own[0] == stamps[0]:
        return own
    with open_stream(path) as stream:
        first = next(StreamReader(stream).frames(0))
    return own[bisect_left(own, first.pts) :]


def _starts_afresh(packet: av.Packet, length: int) -> bool:
    """Whether an H.264 packet is an IDR picture: no later picture depends on a picture before it.

    Containers also mark recovery points as key frames: those of open GOPs, and those of a periodic refresh, after which
    parts of the next pictures still depend on earlier pictures.
    """
    kinds = (unit[0] & 31 for unit in units(bytes(packet), length) if unit)
    return next((kind for kind in kinds if kind in SLICES), 0) == 5
