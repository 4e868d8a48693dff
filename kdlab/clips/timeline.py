"""When the frames of a video are shown: read from its packets, without decoding.

Times are counted in seconds from the first frame, whatever the file's own clock says there. Where each frame lies
within half a frame of its place at the file's mean rate, the rate stands for the times, and frame n is at n / rate.
"""

from bisect import bisect_left
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import av
import numpy as np

from kdlab.clips.container import DamagedClip, VideoInfo, Walk, opened, remembered

_SEEKABLE = {("h264", "mp4"), ("h264", "mkv")}


@dataclass(frozen=True, eq=False)
class Timeline:
    """The ``count`` frames of the file ``path`` in the order in which they are shown.

    ``packets`` show a frame each, unless several pictures are ``packed`` into one. ``times (count,)`` are in seconds,
    ascending from 0, or ``None`` where the rate stands for them. ``stamps (count,)`` and ``keys`` (of the frames alone
    from which a decoder can start afresh) are the file's own times, in its units, where each frame is sure to be found
    by its own over the key before it; elsewhere they are empty.
    """

    path: Path
    info: VideoInfo
    packets: int
    packed: bool
    times: np.ndarray | None
    stamps: tuple[int, ...]
    keys: tuple[int, ...]

    @cached_property
    def count(self) -> int:
        """How many frames there are. Of packed ones only a decoder can tell. Raises DamagedClip then."""
        if not self.packed:
            return self.packets
        with opened(self.path) as stream:
            return sum(1 for _ in Walk(stream).frames())

    @property
    def seconds(self) -> float:
        """How long the video is; the last frame stays for the mean time of a frame."""
        if self.times is None:
            return self.count / self._rate
        return float(self.times[-1]) + float(self.times[-1]) / max(1, self.count - 1)

    def shown(self, moments: np.ndarray, rate: float = 1.0) -> np.ndarray:
        """The frames that are on display at ``moments / rate`` seconds; the last one stays."""
        if self.times is None:
            return np.minimum(moments * self._rate / rate, self.count - 1).astype(int)
        return np.searchsorted(self.times, moments / rate + 1e-9, side="right").clip(1) - 1

    def stretch(self, start: float | None, end: float | None, length: int | None = None) -> tuple[int, int]:
        """The first frame from ``start`` to ``end`` (in seconds; the ends where ``None``), and how many there are;
        none or fewer where the video ends before ``start``. ``length`` frames can be decoded, where it is known."""
        length = self.count if length is None else length
        first = 0 if start is None else self._begins(start)
        return first, (length if end is None else min(length, self._begins(end))) - first

    @property
    def _rate(self) -> float:
        if not self.info.fps:
            raise DamagedClip(self.path, "damaged: it says neither when its frames are shown nor how many a second")
        return self.info.fps

    def _begins(self, moment: float) -> int:
        """The frame whose time is nearest; ``count`` where that is the end of the video."""
        if self.times is None:
            return round(moment * self._rate)
        edges = [*self.times, self.seconds]
        after = min(int(np.searchsorted(edges, moment)), self.count)
        # of two as near the later one, however their times are rounded
        return after - (after > 0 and moment - edges[after - 1] < edges[after] - moment - 1e-6)


@remembered(256)
def timeline(path: Path | str) -> Timeline:
    """The times of a file's frames; remembered for as long as the file stays the same.

    Raises FileNotFoundError, and DamagedClip for a file that cannot be opened as a video or is truncated.
    """
    with opened(path) as stream:
        walk, packets, head = Walk(stream), [], stream.codec_context.extradata or b""
        for packet in walk.each_packet():
            if packet.size and walk.packets - walk.hidden > len(packets):
                packets.append((packet.pts, packet.dts, packet.is_keyframe and _starts_afresh(packet, head)))
        walk.require_whole()
        unit, info = float(stream.time_base), walk.info
    count, packed = len(packets), info.codec == "mpeg4" and walk.hidden > 0
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
    sure = (info.codec, info.container) in _SEEKABLE and known and not walk.hidden and len(set(own)) == count
    if not sure or keys[:1] != own[:1]:  # what is shown before the first key may be missing
        own, keys = [], []
    return Timeline(path, info, count, packed, times, tuple(own), tuple(keys))


def _first_shown(path: Path) -> int:
    """The time in the file of the first frame that a decoder shows."""
    with opened(path) as stream:
        return next(Walk(stream).frames(0)).pts


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
