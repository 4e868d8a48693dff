"""Motion and residuals from H.264: headers, vectors against the standard's prediction, a brute-force reference."""

import av
import cv2
import numpy as np
import pytest

from kdlab.video import headers
from kdlab.video.compressed import Unsuited, modalities, scan
from tests.conftest import encode, moving
from tests.video.test_compressed import assert_as_brute


def write(path, size=(176, 144), gop=12, preset="medium", crf=26, params="", seed=0):
    """A film of a moving texture with a disc that moves otherwise, noise, and a cut at frame 9."""
    w, h = size
    film = moving(14, w, h)
    noise = np.random.default_rng(seed).normal(0, 3, film.shape)
    film = np.clip(film + noise, 0, 255).astype(np.uint8)
    for t, frame in enumerate(film):
        cv2.circle(frame, (w // 6 + 4 * t, h // 2), h // 5, (255, 0, 0), -1)
    film[9] = 255 - film[9]
    params = f"ref=1:bframes=0:weightp=0{params and ':'}{params}"
    how = {"preset": preset, "crf": str(crf), "g": str(gop), "x264-params": params}
    return encode(path, film, container={}, **how)


SETTINGS = [
    (size, preset, gop, crf, params)
    for n, size in enumerate([(340, 256), (176, 144), (162, 130), (64, 48), (322, 182)])
    for preset, gop, crf, params in [
        ("ultrafast", 12, (10, 18, 26, 34, 44)[n], ""),
        ("veryfast", 5, 23, "partitions=all"),
        ("medium", 30, 30, "no-deblock=1"),
        ("slower", 2, 40, "cabac=0"),
        ("placebo", 250, 20, "slices=4"),
        ("fast", 12, 14, "me=tesa:subme=11:constrained-intra=1"),
    ]
]


@pytest.mark.parametrize(
    "number",
    [n if n in (7, 15, 22) else pytest.param(n, marks=pytest.mark.slow) for n in range(30)],
)
def test_equal_to_a_brute_force_reading(tmp_path, number):
    size, preset, gop, crf, params = SETTINGS[number]
    path = write(
        tmp_path / f"film.{('mp4', 'mkv', 'avi')[number % 3]}",
        size,
        gop,
        preset,
        crf,
        params,
        number,
    )
    assert_as_brute(path, quarters=True)
    assert scan(path).kinds.count("I") == len(scan(path).keys) >= 14 // gop
    whole = list(modalities(path))
    some = list(modalities(path, [13, 4]))  # by seeking
    assert [its.number for its in some] == [4, 13]
    assert np.array_equal(some[1].residual, whole[13].residual)


def test_codes_of_the_standard():
    bits = headers.Bits(bytes([0b10100110, 0b01000010, 0b10000000]))  # 1 010 011 00100 00101 0…
    assert [bits.unsigned() for _ in range(5)] == [0, 1, 2, 3, 4]
    assert [headers.Bits(bytes([byte, 0])).signed() for byte in (0x80, 0x40, 0x60, 0x20, 0x28)] == [
        0,
        1,
        -1,
        2,
        -2,
    ]
    assert headers.Bits(b"\0\0\3\1").read(24) == 1
    with pytest.raises(headers.CutOff):
        headers.Bits(b"\0").unsigned()
    assert (
        list(headers.units(b"\0\0\0\1ab\0\0\1c"))
        == [b"ab", b"c"]
        == list(headers.units(b"\0\2ab\0\1c", 2))
    )


@pytest.mark.parametrize(
    "params, says",
    [
        ("ref=3", "keeps 3 reference frames"),
        ("bframes=2:b-adapt=0", "reference frames|B-frame"),
        ("weightp=2", "weighs its references"),
        ("interlaced=1", "interlaced"),
    ],
)
def test_what_may_be_made_of_other_frames_is_refused_with_the_mend(tmp_path, params, says):
    path = write(tmp_path / "x.mp4", params=params)
    with pytest.raises(Unsuited, match=f"({says}).*kdlab data transcode"):
        scan(path)


def test_a_frame_that_the_next_one_skips_is_refused(tmp_path):
    """A P-frame that is no reference: the vectors of the frame behind it lead to the frame before it."""
    path = write(tmp_path / "x.mp4", params="slices=1")
    with av.open(str(path)) as file:
        place = [packet for packet in file.demux(video=0) if packet.size][4].pos + 4
    data = bytearray(path.read_bytes())
    assert data[place] & 31 == 1 and data[place] >> 5 & 3
    data[place] &= 31
    path.write_bytes(data)
    with pytest.raises(
        Unsuited, match="frame 4 .* is a P-frame that is no reference.*kdlab data transcode"
    ):
        scan(path)
