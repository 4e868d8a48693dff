"""Films of known content, the independent decode that kdlab is compared with, and what both need."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import av.logging
import cv2
import numpy as np
from av.stream import Disposition
from av.video.frame import PictureType
from av.video.reformatter import VideoReformatter


def film(rng: np.random.Generator, count: int = 24, width: int = 64, height: int = 48) -> np.ndarray:
    """uint8 (T, H, W, 3): soft noise that drifts, and a box that walks; no two frames are equal."""
    coarse = rng.integers(20, 200, (6, 6, 3), np.uint8)
    still = cv2.resize(coarse, (2 * width, height), interpolation=cv2.INTER_CUBIC)
    frames = np.stack([np.roll(still, 2 * t, 1)[:, :width] for t in range(count)])
    for t, frame in enumerate(frames):
        left = 3 * t % max(1, width - 9)
        frame[height // 3: height // 3 + max(1, height // 4), left: left + max(1, width // 8)] = 255 - 5 * (t % 40)
    return frames


def numbered(count: int, width: int = 32, height: int = 32) -> np.ndarray:
    """Flat grey frames that tell their number: number n has the level 16 + 2 n (so ``count`` ≤ 100)."""
    return np.stack([np.full((height, width, 3), 16 + 2 * n, np.uint8) for n in range(count)])


def encode(path: Path, frames: np.ndarray, codec: str = "libx264", pix_fmt: str = "yuv420p", rate: int = 25,
           times: Sequence[float] | None = None, container: str | None = None, key: dict | None = None,
           options: dict | None = None) -> Path:
    """Write ``frames`` as a video; ``times`` in frames of ``rate`` (default 0, 1, 2 …), ``key`` are options of the
    container, ``options`` those of the encoder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    header = {"movflags": "faststart"} if path.suffix in (".mp4", ".mov") and container in (None, "mp4", "mov") else {}
    times = np.arange(len(frames)) if times is None else np.asarray(times)
    ticks = 1 if np.array_equal(times, times.astype(int)) else 40  # AVI and MPEG-2 know whole frames only
    with av.open(f"file:{path}", "w", format=container, options=header if key is None else key) as file:
        stream = begin(file, codec, frames.shape[2], frames.shape[1], pix_fmt, rate, options, ticks)
        for packet in packets(stream, frames, rate, times, ticks):
            file.mux(packet)
    return path


def begin(file, codec: str, width: int, height: int, pix_fmt: str = "yuv420p", rate: int = 25,
          options: dict | None = None, ticks: int = 1):
    """A new video stream, encoded in one thread; its clock has ``ticks`` in a frame."""
    assert codec != "libx265" or width >= 64, "x265 writes behind its buffers where a picture is less than a block wide"
    quick = {"libx264": {"preset": "ultrafast", "bf": "2", "g": "12"}, "libx265": {"x265-params": "log-level=none"},
             "libsvtav1": {"preset": "12", "svtav1-params": "lp=1"}, "mpeg4": {"qscale": "3"}}
    stream = file.add_stream(codec, rate=rate, options=quick.get(codec, {}) | (options or {}))
    stream.width, stream.height, stream.pix_fmt = width, height, pix_fmt
    stream.codec_context.thread_count = 1
    stream.codec_context.time_base = Fraction(1, ticks * rate)
    return stream


def packets(stream, frames: np.ndarray, rate: int = 25, times: Sequence[float] | None = None,
            ticks: int = 1) -> list[av.Packet]:
    """The encoded frames, in the order in which they belong into the file."""
    found = []
    for number, pixels in enumerate(frames):
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
        frame.pts = round(ticks * (number if times is None else times[number]))
        frame.time_base, frame.pict_type = Fraction(1, ticks * rate), PictureType.NONE
        found += stream.encode(frame)
    return found + stream.encode()


@dataclass
class Truth:
    """What an in-order decode gives: frames (T, H, W, 3) as stored, not turned; their times in seconds from the first
    one; and what FFmpeg complained of on the way."""

    frames: np.ndarray
    times: np.ndarray
    complaints: list[str] = field(default_factory=list)


def decode(path: Path, format: str | None = None) -> Truth:
    """All frames of the film that FFmpeg's own tools would choose, scaled to the first one's size; no kdlab code."""
    found, times, complaints, converter = [], [], [], VideoReformatter()
    av.logging.set_level(av.logging.ERROR)
    with av.logging.Capture() as logs:
        try:
            with av.open(f"file:{path}", format=format, metadata_errors="replace") as file:
                stream = max((s for s in file.streams.video if s.codec_context), key=_fitness)
                stream.thread_type, stream.codec_context.thread_count = "NONE", 1
                for packet in file.demux(stream):
                    for frame in packet.decode():
                        complaints += ["a corrupt frame"] if frame.is_corrupt else []
                        width, height = found[0].shape[1::-1] if found else (frame.width, frame.height)
                        found.append(converter.reformat(frame, width, height, "rgb24").to_ndarray())
                        times.append(float((frame.pts or 0) * (frame.time_base or 0)))
        except (av.error.FFmpegError, ValueError, OSError) as error:
            complaints.append(f"{type(error).__name__}: {error}")
    av.logging.set_level(None)
    complaints += [text.strip() for level, _, text in logs if level <= av.logging.ERROR]
    frames = np.stack(found) if found else np.empty((0, 1, 1, 3), np.uint8)
    return Truth(frames, np.array(times) - (times[0] if times else 0), complaints)


def _fitness(stream) -> int:
    """Larger is better, marked as the usual one better still; a cover picture is the last choice."""
    if stream.disposition & Disposition.attached_pic:
        return 1
    return stream.width * stream.height + 5_000_000 * bool(stream.disposition & Disposition.default)


def shrunk(frames: np.ndarray, side: int) -> np.ndarray:
    """Frames scaled as kdlab's cache documents it: short side ``side``, the mean over the covered area."""
    height, width = frames.shape[1:3]
    scale = side / min(height, width)
    size = round(width * scale), round(height * scale)
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return frames if size == (width, height) else np.stack([cv2.resize(f, size, interpolation=how) for f in frames])


def turned(frames: np.ndarray, matrix: tuple[int, int, int, int]) -> np.ndarray:
    """Frames as a display matrix [a b; c d] shows them: the pixel at (x, y) goes to (a x + c y, b x + d y)."""
    a, b, c, d = matrix
    if a == d == 0 and b * c:
        frames, a, d = frames.swapaxes(1, 2), c, b
    return frames[:, :: -1 if d < 0 else 1, :: -1 if a < 0 else 1]


def replace_matrix(path: Path, matrix: tuple[int, int, int, int], scale: float = 1.0) -> None:
    """Write a display matrix [a b; c d] into the header of an MP4 file of one track."""
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 44
    a, b, c, d = (int(65536 * scale * value) for value in matrix)
    for offset, value in zip((0, 4, 12, 16), (a, b, c, d), strict=True):
        data[at + offset: at + offset + 4] = value.to_bytes(4, "big", signed=True)
    path.write_bytes(data)
