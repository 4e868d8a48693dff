"""Motion and residuals from the bitstream: against a brute-force reference, worked arrays and known motion."""

from fractions import Fraction

import av
import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from kdlab.clips import compressed
from kdlab.clips.block_motion import BLOCK, advance, moves, positions
from kdlab.clips.cache import FrameCache
from kdlab.clips.compressed import Unsuited, coded, modalities, scan, survey
from kdlab.clips.container import DamagedClip
from kdlab.clips.coviar import Compressed, flip_motion, quantise_motion, quantise_residual, tsn_frames
from kdlab.clips.decode import read_frames
from kdlab.night import Night, make_night

MPEG4 = {"codec": "mpeg4", "qmin": "2", "qmax": "2", "sc_threshold": "1000000000"}


# --- the reference: slow, and of the definition's own words ---------------------------------------------------------

def block(source, target, size=2):
    """One entry; ``size`` is one side or (width, height)."""
    width, height = (size, size) if isinstance(size, int) else size
    return (-1, width, height, *source, *target, 0, 0, 0, 1)


def blocks_of(*entries):
    return np.array(list(entries), BLOCK)


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


def brute(path):
    """Number, accumulated motion and residual of each frame of a file, by a bare loop over PyAV."""
    with av.open(str(path)) as file:
        stream = file.streams.video[0]
        stream.codec_context.options = {"flags2": "+export_mvs"}
        for number, frame in enumerate(file.decode(stream)):
            picture = frame.to_ndarray(format="rgb24")
            size = picture.shape[:2]
            if frame.pict_type == av.video.frame.PictureType.I:
                pixels, first = identity(*size), picture.astype(int)
            elif vectors := frame.side_data.get("MOTION_VECTORS"):
                pixels = brute_step(pixels, vectors.to_ndarray(), *size)
            back = places(pixels, *size)
            yield number, places(identity(*size), *size) - back, picture - warp(first, back)


def warp(picture, paths):
    return picture[paths[..., 1], paths[..., 0]]


def assert_as_brute(path):
    frames = 0
    for its, (number, motion, residual) in zip(modalities(path), brute(path), strict=True):
        assert its.number == number
        assert np.array_equal(its.motion, motion)
        assert np.array_equal(its.residual, residual)
        assert (its.motion.dtype, its.residual.dtype) == (np.int16, np.int16)
        frames += 1
    return frames


# --- the map --------------------------------------------------------------------------------------------------------

GREY = np.arange(10, 170, 10).reshape(4, 4)


def step(paths, *entries):
    height, width = paths.shape[:2]
    return advance(paths, moves([blocks_of(*entries)], height, width)[0])


def test_worked_example():
    own = positions(4, 4)
    first, second = block((1, 1), (3, 1)), block((3, 1), (3, 3))
    one = step(own, first)
    motion = own - one
    assert motion[..., 0].tolist() == [[0, 0, 2, 2], [0, 0, 2, 2], [0] * 4, [0] * 4] and not motion[..., 1].any()
    frame1 = GREY.copy()
    frame1[:2, 2:] = [[10, 20], [50, 65]]
    residual1 = frame1 - warp(GREY, one)
    assert residual1.tolist() == [[0] * 4, [0, 0, 0, 5], [0] * 4, [0] * 4]

    two = step(one, second)
    motion = own - two
    assert motion[..., 0].tolist() == [[0, 0, 2, 2]] * 4
    assert motion[..., 1].tolist() == [[0] * 4, [0] * 4, [0, 0, 2, 2], [0, 0, 2, 2]]
    frame2 = frame1.copy()
    frame2[2:, 2:] = [[11, 20], [50, 65]]
    residual2 = frame2 - warp(GREY, two)
    assert residual2.tolist() == [[0] * 4, [0, 0, 0, 5], [0, 0, 1, 0], [0, 0, 0, 5]]

    back = step(own, second)  # not accumulated: frame 2 from frame 1
    assert (own - back)[..., 1].tolist() == [[0] * 4, [0] * 4, [0, 0, 2, 2], [0, 0, 2, 2]]
    own_residual = frame2 - warp(frame1, back)
    assert np.argwhere(own_residual).tolist() == [[2, 2]] and own_residual[2, 2] == 1
    assert np.array_equal(residual2, own_residual + warp(residual1, back))
    assert quantise_motion(motion)[0, 2, 0] == 140 and flip_motion(quantise_motion(motion))[0, 1, 0] == 116


def test_two_blocks_that_swap_read_the_old_map():
    own = positions(4, 4)
    swapped = own - step(own, block((1, 1), (3, 1)), block((3, 1), (1, 1)))
    assert swapped[:2, :, 0].tolist() == [[-2, -2, 2, 2]] * 2 and not swapped[2:].any()
    in_place = own.copy()
    advance(in_place, moves([blocks_of(block((1, 1), (3, 1)), block((3, 1), (1, 1)))], 4, 4)[0], in_place)
    assert np.array_equal(own - in_place, swapped)


def test_a_source_beyond_the_border_moves_only_what_is_inside():
    own = positions(4, 4)
    assert (own - step(own, block((4, 1), (3, 1))))[..., 0].tolist() == [[0, 0, -1, 0]] * 2 + [[0] * 4] * 2


def test_later_blocks_overwrite_earlier_ones_also_at_the_border():
    own = positions(8, 8)
    entries = blocks_of(block((1, 3), (4, 4), 4), block((6, 2), (7, 3), 4), block((3, 3), (5, 4), 4))
    expected = places(brute_step(identity(8, 8), entries, 8, 8), 8, 8)
    assert np.array_equal(advance(own, moves([entries], 8, 8)[0]), expected)


def random_fields(rng, height, width, frames):
    """For each frame most blocks of a grid, some of them as four, with sources up to 20 pixels away, also outside."""
    for _ in range(frames):
        entries = []
        for y in range(8, height + 8, 16):
            for x in range(8, width + 8, 16):
                four = [(x + i, y + j, 8) for j in (-4, 4) for i in (-4, 4)]
                for cx, cy, size in ([], [(x, y, 16)], [(x, y, 16)], four)[rng.integers(4)]:
                    dx, dy = rng.integers(-20, 21, 2)
                    entries.append(block((cx + dx, cy + dy), (cx, cy), size))
        yield blocks_of(*entries)


@pytest.mark.parametrize(("height", "width"), [(48, 64), (50, 68), (33, 47)])
def test_identities_on_random_fields(height, width):
    rng = np.random.default_rng(height)
    rows, columns = -(-height // 16) * 16, -(-width // 16) * 16
    fields = list(random_fields(rng, height, width, 5))
    pictures = rng.integers(0, 256, (6, height, width, 3)).astype(np.int16)
    padded = np.zeros((rows, columns, 3), np.int16)
    padded[:height, :width] = pictures[0]
    exact, paths, residual = identity(height, width), positions(rows, columns), np.zeros((height, width, 3))
    own = positions(height, width)
    for entries, by, before, picture in zip(fields, moves(fields, height, width, rows, columns), pictures,
                                            pictures[1:], strict=False):
        exact = brute_step(exact, entries, height, width)
        paths, padded = advance(paths, by), advance(padded, by)
        assert np.array_equal(paths[:height, :width], places(exact, height, width))
        warped = warp(pictures[0], paths[:height, :width])
        assert np.array_equal(padded[:height, :width], warped)  # the warped picture obeys the map's recursion
        back = advance(own, moves([entries], height, width)[0])  # unpadded: cut at the right instead
        accumulated = picture - warped
        assert np.array_equal(accumulated, picture - warp(before, back) + warp(residual, back))  # chain
        assert np.array_equal(warped + accumulated, picture)
        residual = accumulated


# --- real files -----------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("name", ["run/daria_run.avi", "jack/ido_jack.avi", "wave1/lyova_wave1.avi"])
def test_real_clips_equal_the_reference(real_clips, name):
    assert assert_as_brute(real_clips / "weizmann" / name) > 30


@pytest.mark.slow
def test_all_real_clips_equal_the_reference(real_clips):
    files = sorted((real_clips / "weizmann").glob("*/*.avi"))
    assert len(files) == 90 and sum(map(assert_as_brute, files)) == 5855


@pytest.fixture(scope="module")
def twin(tmp_path_factory):
    """Bright MPEG-4 twin of a `night` clip."""
    night = Night(per_class=(1, 0, 0), classes=("Walk",))
    root = make_night(night, tmp_path_factory.mktemp("night"), workers=1).root
    return next((root / "bright").glob("*/*.avi"))


def test_night_clips_equal_the_reference(twin):
    assert assert_as_brute(twin) == len(read_frames(twin).frames)
    found = survey(twin)
    assert found.differing == 0 and found.vectors > 0 and found.energy < 0.9 * found.plain


def textured(frames, by, size=(176, 144), side=64):
    """A square with a smooth texture of its own on another one, ``by`` (x, y) pixels further in each frame."""
    rng = np.random.default_rng(0)
    def texture(height, width):
        return cv2.GaussianBlur(rng.integers(0, 256, (height, width, 3), np.uint8), (0, 0), 2)

    video = np.repeat(texture(size[1], size[0])[None] // 2, frames, 0)
    square = np.clip(texture(side, side) * 1.5, 0, 255).astype(np.uint8)
    for t, frame in enumerate(video):
        y, x = 16 + t * by[1], 16 + t * by[0]
        frame[y:y + side, x:x + side] = square
    return video


@pytest.mark.parametrize("by", [(8, 0), (10, 4)])
def test_known_motion_comes_back(make_video, by):
    path = make_video("square.avi", pixels=textured(7, by), **MPEG4, g="12")
    for its in modalities(path):
        t, square = its.number, np.s_[16 + its.number * by[1]:, 16 + its.number * by[0]:]
        inside, outside = its.motion[square][:64, :64][8:-8, 8:-8], its.motion[:10]
        assert (inside == (by[0] * t, by[1] * t)).all(-1).mean() > 0.75, t
        assert not outside.any()
        plain = its.picture.astype(int) - its.reference
        assert t == 0 or np.square(its.residual.astype(int)).sum() < 0.5 * np.square(plain).sum()
    for its in modalities(path, accumulated=False):
        inside = its.motion[16 + its.number * by[1]:, 16 + its.number * by[0]:][:64, :64][8:-8, 8:-8]
        assert its.number == 0 or (inside == by).all(-1).mean() > 0.9


def test_not_accumulated_is_against_the_frame_before(twin):
    frames = list(modalities(twin, accumulated=False))
    pictures = read_frames(twin).frames
    for its in frames:
        assert np.array_equal(its.picture, pictures[its.number])
        assert np.array_equal(its.reference, pictures[max(its.number - (its.kind == "P"), 0)])
        size = its.picture.shape[:2]
        back = positions(*size) - its.motion
        assert np.array_equal(back, places(brute_step(identity(*size), its.blocks, *size), *size))
        assert np.array_equal(its.picture, warp(its.reference, back) + its.residual)


def test_sampled_frames_are_those_of_a_full_reading_and_other_groups_are_not_decoded(twin, monkeypatch):
    whole = list(modalities(twin))
    decoded, original = [], compressed._decoded

    def counting(*args):
        for number, frame in original(*args):
            decoded.append(number)
            yield number, frame

    monkeypatch.setattr(compressed, "_decoded", counting)
    wanted = [27, 2, 26]
    for accumulated in (True, False):
        found = list(modalities(twin, wanted, accumulated))
        assert [its.number for its in found] == [2, 26, 27]
        for its in found if accumulated else ():
            for name in ("key", "kind", "picture", "reference", "motion", "residual", "blocks"):
                assert np.array_equal(getattr(its, name), getattr(whole[its.number], name)), name
    assert decoded == [0, 1, 2, 24, 25, 26, 27] * 2
    with pytest.raises(ValueError, match=r"frames -1 to 3 asked, but the clip has \d+\. Use"):
        next(modalities(twin, [3, -1]))


def test_what_is_coded_for_looking_at(twin):
    for (kind, picture, blocks), its in zip(coded(twin), modalities(twin), strict=True):
        assert kind == its.kind
        assert np.array_equal(picture, its.picture) and np.array_equal(blocks, its.blocks)


def test_a_file_without_seeking_is_read_on(make_video):
    path = make_video("broadcast.ts", frames=30, **MPEG4, g="12")
    assert scan(path).starts == () and scan(path).kinds == ("I" + 11 * "P") * 2 + "IPPPPP"
    whole = list(modalities(path))
    for its in modalities(path, [5, 13, 29]):
        assert np.array_equal(its.motion, whole[its.number].motion)
        assert np.array_equal(its.picture, whole[its.number].picture)


@pytest.mark.parametrize("name", ["x.mp4", "x.mkv"])
def test_other_containers_are_sought_in(make_video, name):
    path = make_video(name, frames=30, **MPEG4, g="12")
    assert len(scan(path).starts) == 3 and assert_as_brute(path) == 30
    assert [its.key for its in modalities(path, [3, 28])] == [0, 24]


def test_a_capture_with_dropped_frames(make_video):
    path = make_video("gaps.avi", frames=32, pts=[t for t in range(40) if t % 5 != 3], **MPEG4, g="12")
    assert assert_as_brute(path) == len(scan(path).kinds) == 32
    whole = list(modalities(path))
    for its in modalities(path, [4, 13, 31]):
        assert np.array_equal(its.picture, whole[its.number].picture)
        assert np.array_equal(its.motion, whole[its.number].motion)


@pytest.mark.parametrize("size", [(340, 64), (180, 66), (164, 50), (176, 144)])
def test_sizes_that_are_no_multiple_of_16(make_video, size):
    path = make_video("odd.avi", pixels=textured(3, (8, 0), size=(size[0], max(size[1], 96)))[:, :size[1]], **MPEG4)
    assert assert_as_brute(path) == 3
    with av.open(str(path)) as file:
        for frame, its in zip(file.decode(video=0), modalities(path), strict=True):
            y, u, v = (np.frombuffer(p, np.uint8).reshape(p.height, p.line_size)[:, :p.width].astype(float)
                       for p in frame.planes)
            u, v = (np.repeat(np.repeat(c, 2, 0), 2, 1)[:size[1], :size[0]] - 128 for c in (u, v))
            y = 1.164 * (y - 16)
            rgb = np.stack([y + 1.596 * v, y - 0.392 * u - 0.813 * v, y + 2.017 * u], -1).clip(0, 255)
            last = np.s_[:, -8:]  # some formats leave the last columns of such widths unwritten
            assert np.abs(its.picture[last] - rgb[last]).max() < 4


def test_four_vectors_a_macroblock(make_video):
    rng = np.random.default_rng(1)
    pixels = textured(6, (4, 2), side=40)
    pixels[:, 90:130, 20:150] = np.stack([np.roll(pixels[0, 90:130, 20:150], (0, 5 * t), (0, 1)) for t in range(6)])
    pixels[:, ::7] = rng.integers(0, 255, pixels[:, ::7].shape)
    path = make_video("four.avi", pixels=pixels, **MPEG4, flags="+mv4", mbd="rd")
    sizes = {tuple(its) for found in modalities(path) for its in found.blocks[["w", "h"]].tolist()}
    assert sizes == {(16, 16), (8, 8)}
    assert assert_as_brute(path) == 6


def test_a_p_frame_without_vectors_keeps_the_old_map(make_video):
    pixels = textured(5, (8, 0))
    pixels[3] = 0
    pixels[3, ::2] = 255  # nothing to predict it from: every block is coded anew
    pixels[3] = np.random.default_rng(0).integers(0, 2, (9, 11, 1)).repeat(16, 0).repeat(16, 1) * 255
    path = make_video("intra.avi", pixels=pixels, **MPEG4, g="12")
    frames = list(modalities(path))
    assert [its.kind for its in frames] == list("IPPPP")
    assert len(frames[3].blocks) == 0 and frames[2].motion.any()
    assert np.array_equal(frames[3].motion, frames[2].motion)
    assert_as_brute(path)


def test_gop_longer_than_the_clip_and_uneven_gops(make_video):
    assert scan(make_video("long.avi", frames=20, **MPEG4, g="300")).kinds == "I" + 19 * "P"
    path = make_video("cut.avi", pixels=np.concatenate([textured(5, (8, 0)), 255 - textured(9, (0, 8))[:, ::-1]]),
                      codec="mpeg4", g="8")
    stream = scan(path)
    assert assert_as_brute(path) == 14
    assert stream.group(np.arange(14)).tolist() == (np.cumsum([kind == "I" for kind in stream.kinds]) - 1).tolist()
    assert stream.sizes[stream.keys].mean() > stream.sizes.mean()


# --- bad input ------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("how", "says"), [
    ({"codec": "mpeg4", "bf": "2", "g": "12"}, "frame 2 .* is a B-frame"),
    ({"codec": "libx264", "bf": "0"}, "codec is h264, .* frame 1"),
    ({"codec": "libx264", "bf": "3", "refs": "4"}, "codec is h264"),
    ({"codec": "libx265"}, "codec is hevc"),
    ({"codec": "mjpeg", "pix_fmt": "yuvj420p"}, "codec is mjpeg"),
    ({"codec": "mpeg4", "g": "1"}, "frame 1 and all 30 are I-frames, so there are no motion vectors"),
])
def test_files_that_do_not_serve_are_refused(make_video, how, says):
    if how["codec"] not in av.codecs_available:
        pytest.skip("this FFmpeg has no such encoder")
    path = make_video("x.mkv", frames=30, **how)
    with pytest.raises(Unsuited, match=f"{says}.*kdlab data transcode .*x.mkv --out") as caught:
        list(modalities(path))
    assert caught.value.path == path


def mux(path, *parts):
    """Packets of several encodings in one file, each (T, H, W, 3)."""
    with av.open(str(path), "w") as file:
        stream, pts = None, 0
        for pixels in parts:
            encoder = av.CodecContext.create("mpeg4", "w")
            encoder.height, encoder.width = pixels.shape[1:3]
            encoder.pix_fmt, encoder.framerate, encoder.time_base = "yuv420p", 25, Fraction(1, 25)
            if stream is None:
                stream = file.add_stream("mpeg4", rate=25)
                stream.height, stream.width, stream.pix_fmt = *pixels.shape[1:3], "yuv420p"
            packets = [p for pixel in pixels for p in encoder.encode(av.VideoFrame.from_ndarray(pixel, "rgb24"))]
            for packet in packets + encoder.encode():
                packet.pts = packet.dts = pts
                packet.stream, pts = stream, pts + 1
                file.mux(packet)
    return path


def test_size_that_changes_midway(tmp_path):
    path = mux(tmp_path / "two.avi", textured(6, (8, 0)), textured(6, (8, 0), (128, 112)))
    with pytest.raises(Unsuited, match="from frame 6 on its pictures have 128x112 pixels, before 176x144"):
        list(modalities(path))
    with pytest.raises(Unsuited, match="128x112"):
        list(modalities(path, [8]))
    assert [its.number for its in modalities(path, [5])] == [5]


def test_first_frame_is_no_i_frame(tmp_path):
    whole = mux(tmp_path / "whole.avi", textured(6, (8, 0)))
    with av.open(str(whole)) as old, av.open(str(tmp_path / "headless.avi"), "w") as new:
        stream = new.add_stream_from_template(old.streams.video[0])
        for number, packet in enumerate(old.demux(video=0)):
            if number and packet.size:
                packet.stream = stream
                new.mux(packet)
    with pytest.raises(Unsuited, match="frame 0 is a P-frame"):
        list(modalities(tmp_path / "headless.avi"))


def test_truncated_damaged_empty_and_missing(make_video, tmp_path):
    path = make_video("whole.avi", pixels=textured(12, (5, 3)).repeat(3, 0), **MPEG4, g="12")
    data = path.read_bytes()
    cut = tmp_path / "cut.avi"
    cut.write_bytes(data[:len(data) // 2])
    with pytest.raises(DamagedClip, match="truncated: 36 frames announced"):
        next(modalities(cut, [0]))
    broken = bytearray(data)
    middle = len(data) // 2
    broken[middle:middle + 300] = b"\xff" * 300
    (tmp_path / "broken.avi").write_bytes(broken)
    with pytest.raises(DamagedClip, match="damaged|truncated"):
        list(modalities(tmp_path / "broken.avi"))
    with av.open(str(tmp_path / "none.avi"), "w") as file:
        stream = file.add_stream("mpeg4", rate=25)
        stream.height, stream.width, stream.pix_fmt = 64, 64, "yuv420p"
        file.start_encoding()
    with pytest.raises(DamagedClip, match="none.avi: (empty: its video stream has no frames|no video|damaged)"):
        list(modalities(tmp_path / "none.avi"))
    (tmp_path / "zero.avi").touch()
    with pytest.raises(DamagedClip, match="empty"):
        scan(tmp_path / "zero.avi")
    with pytest.raises(FileNotFoundError, match="no such file. Restore it"):
        scan(tmp_path / "nowhere.avi")


def test_audio_only(tmp_path):
    with av.open(str(tmp_path / "sound.mp4"), "w") as file:
        stream = file.add_stream("aac", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.float32), "fltp", "mono")
        frame.sample_rate = 8000
        file.mux(stream.encode(frame))
        file.mux(stream.encode())
    with pytest.raises(DamagedClip, match="audio only"):
        scan(tmp_path / "sound.mp4")


def test_a_file_that_changes_is_scanned_again(make_video):
    path = make_video("x.avi", frames=20, **MPEG4, g="12")
    assert len(scan(path).kinds) == 20
    make_video("x.avi", frames=25, **MPEG4, g="12")
    assert len(scan(path).kinds) == 25


# --- what networks are fed ------------------------------------------------------------------------------------------

def test_quantised_values():
    motion = np.array([-1000, -21, -20, -2, -1, 0, 1, 2, 19, 20, 21, 1000], np.int16)
    assert quantise_motion(motion).tolist() == [0, 0, 1, 116, 122, 128, 134, 140, 249, 255, 255, 255]
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
    cache, whole = FrameCache(tmp_path / "cache"), {its.number: its for its in modalities(path)}
    for name, view in views.items():
        shape = (3 if name == "iframe" else 30, 144, 176, 2 if name == "motion" else 3)
        assert view.read(path).shape == shape and view.read(path).dtype == np.uint8
        assert np.array_equal(view.read(path, [2, 0, 2]), view.read(path)[[2, 0, 2]])
        assert cache.length(path, 72, view.read, view.name) == shape[0]
        assert cache.frames(path, [1], 72, view.read, view.name).shape == (1, 72, 88, shape[3])
    assert np.array_equal(views["motion"].read(path)[5], quantise_motion(whole[5].motion))
    assert np.array_equal(views["residual"].read(path, [5])[0], quantise_residual(whole[5].residual))
    assert np.array_equal(views["iframe"].read(path, [1])[0], whole[12].picture)
    with pytest.raises(ValueError, match="no modality 'flow'; there are iframe, motion, residual"):
        Compressed("flow")


def test_command_prints_a_line_a_file(make_video):
    from kdlab.cli.data import data

    good = make_video("good.avi", pixels=textured(14, (8, 0), (208, 96)), **MPEG4, g="12")
    bad = make_video("bad.mp4", frames=20)
    result = CliRunner().invoke(data, ["modalities", str(good), str(bad)])
    first, second = result.output.splitlines()
    assert "mpeg4 208x96, 14 frames in 2 GOPs (2 I, 12 P)" in first and " 0 pixels differ, residual energy 0." in first
    assert "bad.mp4: its codec is h264" in second and result.exit_code == 1
    assert CliRunner().invoke(data, ["modalities", str(good)]).exit_code == 0
