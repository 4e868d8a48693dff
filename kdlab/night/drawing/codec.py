"""Encoding of frames: H.264 as in ordinary videos, and MPEG-4 part 2 for compressed-domain networks."""

from pathlib import Path

import av
import numpy as np

FPS = 15


def write_h264(path: Path, frames: np.ndarray) -> None:
    """Write MP4 with B-frames and at most 30 frames per GOP. ``frames``: (T, H, W, 3) uint8 RGB, even sides."""
    options = {"preset": "veryfast", "crf": "16", "bf": "3"}
    # with x264's macroblock tree, the first clip of a process gets other bits than later clips
    options["x264-params"] = "mbtree=0:threads=1:lookahead-threads=1"
    _write(path, "mp4", "libx264", frames, gop=30, options=options)


def write_mpeg4(path: Path, frames: np.ndarray) -> None:
    """Write AVI, MPEG-4 part 2, GOP 12, I- and P-frames only, quantiser 2, as CoViAR's readers expect."""
    options = {"qmin": "2", "qmax": "2", "bf": "0", "sc_threshold": "1000000000", "mbd": "bits"}
    _write(path, "avi", "mpeg4", frames, gop=12, options=options)


def _write(
    path: Path, container: str, codec: str, frames: np.ndarray, gop: int, options: dict[str, str]
) -> None:
    with av.open(str(path), "w", format=container, options={"fflags": "+bitexact"}) as file:
        stream = file.add_stream(codec, rate=FPS, options=options)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        stream.codec_context.gop_size = gop
        stream.codec_context.thread_count = 1  # the number of threads would change the bits
        if codec == "mpeg4":
            stream.codec_context.max_b_frames = 0
            stream.codec_context.bit_rate = 8_000_000
        for index, picture in enumerate(frames):
            frame = av.VideoFrame.from_numpy_buffer(np.ascontiguousarray(picture), format="rgb24")
            frame.pts = index
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
