"""Motion and residuals from the bitstream: against a brute-force reference, worked arrays and known motion."""

import av
import cv2
import numpy as np
import pytest

from kdlab.clips.cache import FrameCache
from kdlab.clips.coviar import Compressed, quantise_motion, quantise_residual, tsn_frames
from kdlab.clips.views import flip_motion
from kdlab.datasets.transcode import CoviarFormat, transcode
from kdlab.night import Night, make_night
from kdlab.video import compressed
from kdlab.video.block_motion import BLOCK, advance, moves, positions
from kdlab.video.compressed import Unsuited, modalities, read, scan, vectors
from kdlab.video.container import DamagedClip
from kdlab.video.decode import read_frames
from tests.conftest import cut, overwrite, said_by

MPEG4 = {"codec": "mpeg4", "qmin": "2", "qmax": "2", "sc_threshold": "1000000000"}


# --- the reference: slow, and of the definition's own words ---------------------------------------------------------


def brute_step(old, entries, height, width):
    """Pixel by pixel: ``old`` and the result list, row by row, which pixel of the I-frame each comes from."""
    new = list(old)
    for its in entries.tolist():
        w, h, sx, sy, dx, dy = its[1:7]
        if (sx, sy) == (dx, dy):
            continue
        for oy in range(-(h // 2), h - h // 2):
            for ox in range(-(w // 2), w - w // 2):
                y, x, v, u = dy + oy, dx + ox, sy + oy, sx + ox
                if 0 <= y < height and 0 <= x < width and 0 <= v < height and 0 <= u < width:
                    new[y * width + x] = old[v * width + u]
    return new


def identity(height, width):
    return list(range(height * width))


def places(pixels, height, width):
    """int (height, width, 2): x and y of the pixels that a list of ``brute_step`` names."""
    return np.stack(np.divmod(np.array(pixels).reshape(height, width), width)[::-1], -1)


def brute(path, quarters=False):
    """Number, accumulated motion and residual of each frame of a file, by a bare loop over PyAV. Vectors in ``quarters``
    of a pixel go to the nearest whole one."""
    with av.open(str(path)) as file:
        stream = file.streams.video[0]
        stream.codec_context.options = {"flags2": "+export_mvs"}
        for number, frame in enumerate(file.decode(stream)):
            picture = frame.to_ndarray(format="rgb24")
            size = picture.shape[:2]
            if frame.pict_type == av.video.frame.PictureType.I:
                pixels = identity(*size)
                first = picture.astype(int)
            elif vectors := frame.side_data.get("MOTION_VECTORS"):
                entries = vectors.to_ndarray().copy()
                for axis in "xy" if quarters else "":
                    moved = np.floor(entries[f"motion_{axis}"] / 4 + 0.5)
                    entries[f"src_{axis}"] = entries[f"dst_{axis}"] + moved
                pixels = brute_step(pixels, entries, *size)
            back = places(pixels, *size)
            yield number, places(identity(*size), *size) - back, picture - warp(first, back)


def warp(picture, paths):
    return picture[paths[..., 1], paths[..., 0]]


def assert_as_brute(path, quarters=False):
    frames = 0
    for its, (number, motion, residual) in zip(
        modalities(path), brute(path, quarters), strict=True
    ):
        assert its.number == number
        assert np.array_equal(its.motion, motion)
        assert np.array_equal(its.residual, residual)
        assert (its.motion.dtype, its.residual.dtype) == (np.int16, np.int16)
        frames += 1
    return frames


# --- the map --------------------------------------------------------------------------------------------------------


def random_fields(rng, height, width, frames):
    """For each frame most blocks of a grid, some of them as four, with sources up to 20 pixels away, also outside."""
    for _ in range(frames):
        entries = []
        for y in range(8, height + 8, 16):
            for x in range(8, width + 8, 16):
                four = [(x + i, y + j, 8) for j in (-4, 4) for i in (-4, 4)]
                for cx, cy, size in ([], [(x, y, 16)], [(x, y, 16)], four)[rng.integers(4)]:
                    dx, dy = rng.integers(-20, 21, 2)
                    entries.append((-1, size, size, cx + dx, cy + dy, cx, cy, 0, 0, 0, 1))
        yield np.array(entries, BLOCK)


@pytest.mark.parametrize("height, width", [(48, 64), (50, 68), (33, 47)])
def test_identities_on_random_fields(height, width):
    rng = np.random.default_rng(height)
    rows, columns = -(-height // 16) * 16, -(-width // 16) * 16
    fields = list(random_fields(rng, height, width, 5))
    pictures = rng.integers(0, 256, (6, height, width, 3)).astype(np.int16)
    padded = np.zeros((rows, columns, 3), np.int16)
    padded[:height, :width] = pictures[0]
    exact = identity(height, width)
    paths = positions(rows, columns).copy()
    residual = np.zeros((height, width, 3))
    own = positions(height, width)
    for entries, by, before, picture in zip(
        fields, moves(fields, height, width, rows, columns), pictures, pictures[1:], strict=False
    ):
        exact = brute_step(exact, entries, height, width)
        advance(paths, by)
        advance(padded, by)
        assert np.array_equal(paths[:height, :width], places(exact, height, width))
        warped = warp(pictures[0], paths[:height, :width])
        # the warped picture obeys the map's recursion
        assert np.array_equal(padded[:height, :width], warped)
        # unpadded: cut at the right instead
        back = own.copy()
        advance(back, moves([entries], height, width, height, width)[0])
        accumulated = picture - warped
        # chain
        assert np.array_equal(accumulated, picture - warp(before, back) + warp(residual, back))
        assert np.array_equal(warped + accumulated, picture)
        residual = accumulated


# --- real files -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["run/daria_run.avi", "jack/ido_jack.avi", "wave1/lyova_wave1.avi"]
)
def test_real_clips_equal_the_reference(real_clips, name):
    assert assert_as_brute(real_clips / "weizmann" / name) > 30


@pytest.fixture(scope="module")
def twin(tmp_path_factory):
    """Bright MPEG-4 twin of a `night` clip."""
    night = Night(per_class=(1, 0, 0), classes=("Walk",))
    root = make_night(night, tmp_path_factory.mktemp("night"), workers=1).root
    return next((root / "bright").glob("*/*.avi"))


def test_night_clips_equal_the_reference(twin):
    assert assert_as_brute(twin) == len(read_frames(twin).frames)
    energy = plain = 0
    for frame in modalities(twin):
        energy += np.square(frame.residual, dtype=np.int64).sum()
        plain += np.square(np.subtract(frame.picture, frame.reference, dtype=np.int64)).sum()
    assert 0 < energy < 0.9 * plain


def textured(frames, by, size=(176, 144), side=64):
    """A square with a smooth texture of its own on another one, ``by`` (x, y) pixels further in each frame."""
    rng = np.random.default_rng(0)

    def texture(height, width):
        return cv2.GaussianBlur(rng.integers(0, 256, (height, width, 3), np.uint8), (0, 0), 2)

    video = np.repeat(texture(size[1], size[0])[None] // 2, frames, 0)
    square = np.clip(texture(side, side) * 1.5, 0, 255).astype(np.uint8)
    for t, frame in enumerate(video):
        y, x = 16 + t * by[1], 16 + t * by[0]
        frame[y : y + side, x : x + side] = square
    return video


def test_groups_without_a_sampled_frame_are_not_decoded(twin, monkeypatch):
    decoded, original = [], compressed._decoded

    def counting(*args):
        for number, frame in original(*args):
            decoded.append(number)
            yield number, frame

    monkeypatch.setattr(compressed, "_decoded", counting)
    wanted = [27, 2, 26]
    for accumulated in (True, False):
        found = list(modalities(twin, wanted, accumulated))
        assert [(its.number, its.key) for its in found] == [(2, 0), (26, 24), (27, 24)]
    assert decoded == [0, 1, 2, 24, 25, 26, 27] * 2
    with pytest.raises(ValueError, match=r"frames -1 to 3 requested, but the clip has \d+\. Use"):
        next(modalities(twin, [3, -1]))


@pytest.mark.parametrize("size", [(340, 64), (180, 66), (164, 50), (176, 144)])
def test_sizes_that_are_no_multiple_of_16(make_video, size):
    path = make_video(
        "odd.avi",
        pixels=textured(3, (8, 0), size=(size[0], max(size[1], 96)))[:, : size[1]],
        **MPEG4,
    )
    assert assert_as_brute(path) == 3
    with av.open(str(path)) as file:
        for frame, its in zip(file.decode(video=0), modalities(path), strict=True):
            rgb = cv2.cvtColor(frame.to_ndarray(), cv2.COLOR_YUV2RGB_I420).astype(int)
            last = np.s_[:, -8:]  # some formats leave the last columns of such widths unwritten
            assert np.abs(its.picture[last] - rgb[last]).max() < 4


def rounded(motion):
    return np.ceil(motion - 0.5)


CODECS = {"mpeg4": (2, np.trunc), "h264": (4, rounded), "qpel": (4, rounded)}


@pytest.fixture(params=CODECS)
def coded(request, make_video, tmp_path):
    """A codec, in how many parts of a pixel its vectors are, how they are made whole, and its film of known motion."""
    film = textured(14, (6, 3))
    if request.param == "qpel":  # MPEG-4 with motion in quarters of a pixel
        path = make_video("qpel.avi", pixels=film, **MPEG4, g="12", flags="+qpel")
    else:
        source = make_video("square.avi", pixels=film, **MPEG4, g="12")
        form = CoviarFormat(176, 144, codec=request.param)
        path = transcode(source, tmp_path / "made", form, workers=1)[0].target
    return path, *CODECS[request.param]


def test_read_gives_arrays_of_which_each_frame_is_made(coded):
    path, *_ = coded
    found = read(path)
    pictures = read_frames(path).frames
    own = positions(144, 176)
    for t, picture in enumerate(pictures):
        for motion, residual, of in (
            ("motion", "residual", pictures[t - (t % 12 > 0)]),
            ("accumulated_motion", "accumulated_residual", found["iframes"][t // 12]),
        ):
            rebuilt = warp(of, own - found[motion][t]) + found[residual][t]
            assert np.array_equal(rebuilt, picture), (t, motion)
    assert "".join(found["kind"]) == scan(path).kinds == "IPPPPPPPPPPPIP"
    assert found["group"].tolist() == 12 * [0] + [1, 1]
    assert found["bytes"].tolist() == scan(path).sizes.tolist()
    some = read(path, [13, 5])
    for name in set(found) - {"iframes", "vectors"}:
        assert np.array_equal(some[name], found[name][[5, 13]]), name
        assert some[name].dtype == found[name].dtype, name
    rows = found["vectors"]
    assert np.array_equal(some["vectors"], rows[np.isin(rows[:, 0], [5, 13])])
    assert len(some["iframes"]) == 2


def test_vectors_are_those_of_the_known_motion_and_of_the_motion_read(coded):
    path, parts, whole = coded
    found = read(path)
    rows = vectors(path)
    assert rows.dtype == np.float32 and np.array_equal(rows, found["vectors"])
    assert (rows[:, 5:] * parts % 1 == 0).all() and (rows[:, 5:] % 1).any()
    for number, x, y, _, _, *exact in rows:
        x = int(x)
        y = int(y)
        step = whole(np.array(exact)).astype(int)
        if x - step[0] in range(8, 168) and y - step[1] in range(8, 136) and x < 176 and y < 144:
            assert np.array_equal(found["motion"][int(number), y, x], step)
    inside = rows[(rows[:, 0] == 5) & (abs(rows[:, 1] - 78) < 24) & (abs(rows[:, 2] - 63) < 24)]
    assert np.allclose(np.median(inside[:, 5:], 0), (6, 3), atol=0.5)


def test_reading_needs_neither_torch_nor_pandas():
    code = "import kdlab.video.compressed, sys; print(*{'torch', 'pandas', 'scipy', 'matplotlib'} & {*sys.modules})"
    assert not said_by(code).strip()


@pytest.mark.parametrize("side", [16, 32, 48])
@pytest.mark.parametrize("rate", [1, 25, 30_000])
def test_the_smallest_pictures_are_not_taken_for_not_coded(make_video, side, rate):
    path = make_video(
        "still.avi", pixels=np.full((20, side, side, 3), 90, np.uint8), rate=rate, **MPEG4, g="12"
    )
    assert scan(path).kinds == "I" + 11 * "P" + "I" + 7 * "P"
    assert len(read_frames(path).frames) == 20


# --- bad input ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "how, says",
    [
        ({"codec": "mpeg4", "bf": "2", "g": "12"}, "frame 2 .* is a B-frame"),
        ({"codec": "libx265"}, "codec is hevc"),
        ({"codec": "mjpeg", "pix_fmt": "yuvj420p"}, "codec is mjpeg"),
        (
            {"codec": "mpeg4", "g": "1"},
            "frame 1 and all 30 are I-frames, so there are no motion vectors",
        ),
    ],
)
def test_files_that_do_not_serve_are_refused(make_video, how, says):
    if how["codec"] not in av.codecs_available:
        pytest.skip("this FFmpeg has no such encoder")
    path = make_video("x.mkv", frames=30, **how)
    with pytest.raises(Unsuited, match=f"{says}.*kdlab data transcode .*x.mkv --out") as caught:
        list(modalities(path))
    assert caught.value.path == path


def test_truncated_damaged_empty_and_missing(make_video, tmp_path):
    path = make_video("whole.avi", pixels=textured(12, (5, 3)).repeat(3, 0), **MPEG4, g="12")
    overwrite(path, b"\xff" * 300)
    with pytest.raises(DamagedClip, match="damaged|truncated"):
        list(modalities(path))
    cut(path)
    with pytest.raises(DamagedClip, match="truncated: 36 frames announced"):
        next(modalities(path, [0]))
    with av.open(str(tmp_path / "none.avi"), "w") as file:
        stream = file.add_stream("mpeg4", rate=25)
        stream.height, stream.width, stream.pix_fmt = 64, 64, "yuv420p"
        file.start_encoding()
    with pytest.raises(
        DamagedClip, match="none.avi: (empty: its video stream has no frames|no video|damaged)"
    ):
        list(modalities(tmp_path / "none.avi"))
    (tmp_path / "zero.avi").touch()
    with pytest.raises(DamagedClip, match="empty"):
        scan(tmp_path / "zero.avi")
    with pytest.raises(FileNotFoundError, match="no such file. Restore it"):
        scan(tmp_path / "nowhere.avi")


# --- what networks are fed ------------------------------------------------------------------------------------------


def test_quantised_values():
    motion = np.array([-1000, -21, -20, -2, -1, 0, 1, 2, 19, 20, 21, 1000], np.int16)
    assert quantise_motion(motion).tolist() == [
        0,
        0,
        1,
        116,
        122,
        128,
        134,
        140,
        249,
        255,
        255,
        255,
    ]
    residual = np.array([-255, -129, -128, -1, 0, 127, 128, 255], np.int16)
    assert quantise_residual(residual).tolist() == [0, 0, 0, 127, 128, 255, 255, 255]
    row = np.array([[[140, 7], [128, 8], [0, 9], [255, 10]]], np.uint8)
    assert flip_motion(row).tolist() == [[[1, 10], [255, 9], [128, 8], [116, 7]]]


def test_frames_of_segments():
    assert tsn_frames(100).tolist() == [17, 50, 83]
    assert tsn_frames(100, phases=np.zeros(3)).tolist() == [1, 34, 66]
    assert tsn_frames(100, phases=np.full(3, 1 - 1e-9)).tolist() == [33, 65, 98]
    for count in range(1, 8):
        for phases in (None, np.zeros(3), np.full(3, 0.999)):
            frames = tsn_frames(count, 3, phases)
            assert min(1, count - 1) <= frames.min() <= frames.max() < count


def test_view_of_one_modality_through_the_cache(make_video, tmp_path):
    path = make_video("x.avi", pixels=textured(30, (3, 1), (176, 144), 48), **MPEG4, g="12")
    views = {name: Compressed(name) for name in ("iframe", "motion", "residual")}
    assert views["motion"].rows(path, [0, 5, 12, 24]).tolist() == [0, 5, 11, 23]
    assert views["residual"].rows(path, [17]).tolist() == [17]
    assert views["iframe"].rows(path, [0, 11, 12, 29]).tolist() == [0, 0, 1, 2]
    cache = FrameCache(tmp_path / "cache")
    whole = list(modalities(path))
    expected = {
        "iframe": [its.picture for its in whole[::12]],
        "motion": [quantise_motion(its.motion) for its in whole],
        "residual": [quantise_residual(its.residual) for its in whole],
    }
    for name, view in views.items():
        found, wanted = view.read(path), np.stack(expected[name])
        assert np.array_equal(found, wanted) and found.dtype == np.uint8
        assert np.array_equal(view.read(path, [2, 0, 2]), wanted[[2, 0, 2]])
        assert cache.length(path, 72, view.read, name) == len(wanted)
        small = cache.frames(path, [1], 72, view.read, name)
        assert small.shape == (1, 72, 88, wanted.shape[3])
    with pytest.raises(
        ValueError, match="modality='flow': give 'iframe' or 'motion' or 'residual'"
    ):
        Compressed("flow")
