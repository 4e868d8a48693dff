"""Files as phones and trimming tools leave them."""

import struct
from pathlib import Path

import av
import numpy as np
import pytest


@pytest.fixture
def hurt(make_video):
    """``hurt(name)``: a video of noise with B-frames, in which two hundred bytes of the fifth frame stored are zero."""
    def make(name: str) -> Path:
        noise = np.random.default_rng(0).integers(0, 255, (30, 96, 128, 3)).astype(np.uint8)
        path = make_video(name, pixels=noise, g="15", bf="2", **{"x264-params": "scenecut=0:b-adapt=0"})
        with av.open(str(path)) as container:
            packet = [packet for packet in container.demux(video=0) if packet.size][4]
            middle = packet.pos + packet.size // 3
        data = bytearray(path.read_bytes())
        data[middle: middle + 200] = bytes(200)
        path.write_bytes(data)
        return path

    return make


@pytest.fixture
def turned():
    """``turned(path, (a, b, c, d))``: the MP4 file, saying that its pictures are to be turned or mirrored."""
    def turn(path: Path, matrix: tuple[int, int, int, int] = (0, 65536, -65536, 0)) -> Path:
        header, (a, b, c, d) = bytearray(path.read_bytes()), matrix
        place = header.find(struct.pack(">9i", 65536, 0, 0, 0, 65536, 0, 0, 0, 1 << 30), header.find(b"tkhd"))
        header[place: place + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
        path.write_bytes(header)
        return path

    return turn


@pytest.fixture
def trimmed():
    """``trimmed(path)``: a copy of an MP4 file of 25 frames a second whose edit list hides the first five frames."""
    def trim(path: Path) -> Path:
        new_path = path.with_name(f"trimmed_{path.name}")
        with av.open(str(path)) as old, av.open(str(new_path), "w", options={"avoid_negative_ts": "disabled"}) as new:
            stream = old.streams.video[0]
            copy = new.add_stream_from_template(stream)
            five_frames = int(5 / 25 / stream.time_base)
            for packet in old.demux(stream):
                if packet.dts is not None:
                    packet.pts -= five_frames
                    packet.dts -= five_frames
                    packet.stream = copy
                    new.mux(packet)
        return new_path

    return trim
