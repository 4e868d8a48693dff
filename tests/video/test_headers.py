"""Motion and residuals from H.264: headers, vectors against the standard's prediction, a brute-force reference."""

import av
import cv2
import numpy as np
import pytest

from kdlab.video import headers
from kdlab.video.compressed import Unsuited, modalities, scan
from kdlab.video.container import DamagedClip


def write(path, size=(176, 144), frames=14, gop=12, preset="medium", crf=26, params="", seed=0):
    """A film of a moving texture with a disc that moves otherwise, noise, and a cut at frame 9."""
    w, h = size
    rng = np.random.default_rng(seed)
    texture = cv2.resize(
        rng.integers(0, 255, (h // 8 + 20, w // 8 + 20, 3), np.uint8), None, fx=8, fy=8
    )
    options = {
        "x264-params": f"ref=1:bframes=0:weightp=0{params and ':'}{params}",
        "preset": preset,
        "crf": str(crf),
    }
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt, stream.codec_context.gop_size = (
            w,
            h,
            "yuv420p",
            gop,
        )
        for t in range(frames):
            picture = texture[40 + int(3.3 * t) :, 40 + int(1.6 * t) :][:h, :w] + rng.normal(
                0, 3, (h, w, 3)
            )
            picture = np.ascontiguousarray(np.clip(picture, 0, 255).astype(np.uint8))
            cv2.circle(picture, (w // 6 + 4 * t, h // 2), h // 5, (255, 0, 0), -1)
            file.mux(
                stream.encode(
                    av.VideoFrame.from_ndarray(255 - picture if t == 9 else picture, "rgb24")
                )
            )
        file.mux(stream.encode())
    return path


def brute(path):
    """Type, accumulated motion and residual of each frame, pixel by pixel: vectors go to the nearest whole pixel."""
    with av.open(str(path)) as file:
        stream = file.streams.video[0]
        stream.codec_context.options = {"flags2": "+export_mvs"}
        for frame in file.decode(stream):
            picture = frame.to_ndarray(format="rgb24").astype(int)
            height, width = picture.shape[:2]
            own = np.stack(np.meshgrid(np.arange(width), np.arange(height)), -1)
            if frame.pict_type == av.video.frame.PictureType.I:
                key, paths = picture, own
            else:
                came = own.copy()
                for its in frame.side_data.get("MOTION_VECTORS") or ():
                    x, y = (
                        int(np.floor(motion / 4 + 0.5)) for motion in (its.motion_x, its.motion_y)
                    )
                    for v in range(its.dst_y - its.h // 2, its.dst_y + its.h // 2):
                        for u in range(its.dst_x - its.w // 2, its.dst_x + its.w // 2):
                            if (
                                0 <= u < width
                                and 0 <= v < height
                                and 0 <= u + x < width
                                and 0 <= v + y < height
                            ):
                                came[v, u] = u + x, v + y
                paths = paths[came[..., 1], came[..., 0]]
            yield "PI"[paths is own], own - paths, picture - key[paths[..., 1], paths[..., 0]]


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
        14,
        gop,
        preset,
        crf,
        params,
        number,
    )
    for its, (kind, motion, residual) in zip(modalities(path), brute(path), strict=True):
        assert its.kind == kind
        assert np.array_equal(its.motion, motion)
        assert np.array_equal(its.residual, residual)
    assert scan(path).kinds.count("I") == len(scan(path).keys) >= 14 // gop
    some = list(modalities(path, [13, 4]))  # by seeking
    assert [its.number for its in some] == [4, 13] and np.array_equal(some[1].residual, residual)


def luma_prediction(before, x, y, w, h, motion_x, motion_y):
    """A block as the standard predicts it (8.4.2.2.1): six taps for halves of a pixel, means for quarters."""
    rows = np.clip(
        np.arange(y + (motion_y >> 2) - 2, y + (motion_y >> 2) + h + 4), 0, before.shape[0] - 1
    )
    columns = np.clip(
        np.arange(x + (motion_x >> 2) - 2, x + (motion_x >> 2) + w + 4), 0, before.shape[1] - 1
    )
    part = before[np.ix_(rows, columns)].astype(int)
    taps = (1, -5, 20, 20, -5, 1)
    across = sum(tap * part[:, n : n + w + 1] for n, tap in enumerate(taps))
    down = sum(tap * part[n : n + h + 1] for n, tap in enumerate(taps))
    both = sum(tap * across[n : n + h + 1] for n, tap in enumerate(taps))
    whole, b = part[2 : h + 3, 2 : w + 3], np.clip(across[2 : h + 3] + 16 >> 5, 0, 255)
    v = np.clip(down[:, 2 : w + 3] + 16 >> 5, 0, 255)
    j = np.clip(both + 512 >> 10, 0, 255)
    here, right, below = np.s_[:h, :w], np.s_[:h, 1 : w + 1], np.s_[1 : h + 1, :w]
    pairs = {
        (0, 0): (whole[here],),
        (2, 0): (b[here],),
        (0, 2): (v[here],),
        (2, 2): (j[here],),
        (1, 0): (whole[here], b[here]),
        (3, 0): (b[here], whole[right]),
        (0, 1): (whole[here], v[here]),
        (0, 3): (v[here], whole[below]),
        (2, 1): (b[here], j[here]),
        (2, 3): (j[here], b[below]),
        (1, 2): (v[here], j[here]),
        (3, 2): (j[here], v[right]),
        (1, 1): (b[here], v[here]),
        (3, 1): (b[here], v[right]),
        (1, 3): (v[here], b[below]),
        (3, 3): (b[below], v[right]),
    }
    found = pairs[motion_x & 3, motion_y & 3]
    return sum(found) + (len(found) > 1) >> len(found) - 1


def test_vectors_are_the_standards(tmp_path):
    """Where a coarse quantiser leaves nothing to add, a block is its prediction to the last bit."""
    path = write(tmp_path / "x.mp4", (176, 144), 9, crf=40, params="no-deblock=1:no-psy=1")
    exact = []
    with av.open(str(path)) as file:
        luma = [frame.to_ndarray()[:144] for frame in file.decode(video=0)]
    for its in modalities(path):
        for block in its.blocks if its.kind == "P" else ():
            w = int(block["w"])
            h = int(block["h"])
            motion = (int(block["motion_x"]), int(block["motion_y"]))
            x = int(block["dst_x"]) - w // 2
            y = int(block["dst_y"]) - h // 2
            made = luma_prediction(luma[its.number - 1], x, y, w, h, *motion)
            exact.append(
                (
                    any(part & 3 for part in motion),
                    np.array_equal(made, luma[its.number][y : y + h, x : x + w]),
                )
            )
    moved = [same for quarter, same in exact if quarter]
    assert len(moved) > 100 and np.mean(moved) > 0.7 and np.mean([same for _, same in exact]) > 0.7


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


def test_a_damaged_file_is_noticed(tmp_path):
    path = write(tmp_path / "x.mp4")
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 200] = bytes(200)
    path.write_bytes(data)
    with pytest.raises((DamagedClip, Unsuited)):
        list(modalities(path))
