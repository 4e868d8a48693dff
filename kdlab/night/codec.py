"""Frames to files: H.264 as people have it, MPEG-4 part 2 as compressed-video research needs it."""

from pathlib import Path

import av
import numpy as np

FPS = 15


def write_h264(path: Path, frames: np.ndarray) -> None:
    """MP4, B-frames, a key frame at most every 30 frames. ``frames``: (T, H, W, 3) uint8 RGB, even sides."""
    options = {"preset": "veryfast", "crf": "16", "bf": "3"}
    # x264's macroblock tree gives other bits in the first clip of a process than in the next.
    options["x264-params"] = "mbtree=0:threads=1:lookahead-threads=1"
    _write(path, "mp4", "libx264", frames, gop=30, options=options)


def write_mpeg4(path: Path, frames: np.ndarray) -> None:
    """AVI, MPEG-4 part 2, GOP 12, I and P frames only, quantiser 2: what CoViAR-like readers expect."""
    options = {"qmin": "2", "qmax": "2", "bf": "0", "sc_threshold": "1000000000", "mbd": "bits"}
    _write(path, "avi", "mpeg4", frames, gop=12, options=options)


def _write(path: Path, container: str, codec: str, frames: np.ndarray, gop: int, options: dict[str, str]) -> None:
    with av.open(str(path), "w", format=container, options={"fflags": "+bitexact"}) as file:
        stream = file.add_stream(codec, rate=FPS, options=options)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        stream.codec_context.gop_size = gop
        stream.codec_context.thread_count = 1  # the bits must not depend on the machine
        if codec == "mpeg4":
            stream.codec_context.max_b_frames = 0
            stream.codec_context.bit_rate = 8_000_000
        for index, picture in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts = index
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
