"""A small picture of MPEG-4 part 2 is a picture; one that is "not coded" is none, however it is timed."""

import av
import numpy as np
import pytest

from kdlab.clips.compressed import scan
from kdlab.clips.container import Clock, timeline
from kdlab.clips.decode import read_frames

START = b"\0\0\1\xb6"


@pytest.mark.parametrize("rate", [1, 12, 25, 30, 1000])
def test_small_pictures_are_coded(make_video, rate):
    """Of a still clip as small as this P-frames have 8 bytes."""
    path = make_video("still.avi", pixels=np.full((30, 16, 16, 3), 90, np.uint8), codec="mpeg4", rate=rate, g="12")
    with av.open(str(path)) as file:
        sizes = [packet.size for packet in file.demux(video=0) if packet.size]
    assert min(sizes) <= 8
    stream = scan(path)
    assert len(stream.kinds) == len(sizes) == len(read_frames(path).frames) == timeline(path).count == 30
    assert stream.kinds.count("P") > 20


def head(resolution):
    """The header of a layer whose clock has so many ticks a second."""
    bits = "0" + f"{1:08b}" + "0" + f"{1:04b}" + "0" + "00" + "1" + f"{resolution:016b}" + "10"
    return b"\0\0\1\x20" + int(bits.ljust(-(-len(bits) // 8) * 8, "0"), 2).to_bytes(-(-len(bits) // 8), "big")


def picture(resolution, time, coded, seconds=0):
    width = max(1, (resolution - 1).bit_length())
    bits = "01" + "1" * seconds + "0" + "1" + f"{time:0{width}b}" + "1" + str(int(coded)) + "0101"
    return START + int(bits.ljust(-(-len(bits) // 8) * 8, "1"), 2).to_bytes(-(-len(bits) // 8), "big")


@pytest.mark.parametrize("resolution", [1, 2, 24, 25, 30, 256, 257, 30000, 65535])
@pytest.mark.parametrize("seconds", [0, 1, 3])
def test_the_clock_says_where_the_bit_is(resolution, seconds):
    for time in (0, resolution - 1):
        for coded in (False, True):
            data = picture(resolution, time, coded, seconds)
            assert Clock(head(resolution)).shows(data) == coded
            assert Clock().shows(head(resolution) + data) == coded
            assert Clock(head(resolution)).shows(data + picture(resolution, 0, True))  # packed
    assert not Clock(head(resolution)).shows(START + b"\x50")  # cut off


def test_without_a_header_the_size_decides():
    assert not Clock().shows(picture(25, 3, True))
    assert Clock().shows(picture(25, 3, True) + bytes(20))
    assert not Clock(head(25)).shows(b"\x7f")  # a filler
