"""Windows: one draw for all views, batches, DL-KDD's window, and every clip opened before a training."""

import os
import time
from collections import Counter
from dataclasses import dataclass, replace

import cv2
import numpy as np
import pytest
import torch

from kdlab.clips import windows
from kdlab.clips.cache import FrameCache
from kdlab.clips.enhance import Gamma
from kdlab.clips.records import ClipRecord
from kdlab.clips.views import Enhanced, Raw
from kdlab.clips.windows import ClipBatches, ConsecutiveWindow, Draw, Window, open_all
from kdlab.datasets.released import open_data
from kdlab.system import pool
from tests.conftest import cut


def test_moments_cover_the_clip_and_repeat_only_what_is_short():
    assert Window(4).moments(9, 0.5).tolist() == [1, 3, 5, 7]
    window = Window(frames=16, side=40, crop=36)
    for length in (2, 7, 16, 17, 300):
        for offset in (0.0, 0.5, 0.999):
            moments = window.moments(length, offset)
            assert len(moments) == 16 and moments.min() >= 0 and moments.max() < length
            assert (np.diff(moments) >= 0).all()


def test_a_draw_cuts_where_it_says():
    pixels = np.arange(2 * 6 * 8, dtype=np.uint8).reshape(2, 6, 8, 1)
    for at, flip, seen in (
        (0, False, pixels[:, :4, :4]),
        (1, False, pixels[:, 2:, 4:]),
        (1, True, pixels[:, 2:, 4:][:, :, ::-1]),
    ):
        assert np.array_equal(Window(2, 4, 4).shown(Draw(np.arange(2), at, at, flip), pixels), seen)


class Memory:
    """A cache over arrays in memory: path → frames, each view applied as it would be to a file."""

    def __init__(self, clips):
        self.clips = clips

    def length(self, path, side, read, tag):
        return len(self.clips[path])

    def frames(self, path, indices, side, read, tag):
        frames = self.clips[path]
        return (Gamma(1.8)(frames) if "gamma" in tag else frames)[indices]


def batches(lengths=(20, 30, 36), window=Window(8, 20, 16)):
    rng = np.random.default_rng(0)
    clips = {
        f"c{i}": rng.integers(0, 60, (n, 20, 26, 3), dtype=np.uint8) for i, n in enumerate(lengths)
    }
    records = [ClipRecord(p, p, i % 2, "train", "g") for i, p in enumerate(clips)]
    views = {"student": Raw(), "teacher": Enhanced(Gamma(1.8))}
    return ClipBatches(records, views, window, Memory(clips))


def test_views_of_one_clip_share_crop_flip_and_moment():
    """The enhanced view is a table of the raw one, so the two tensors must agree pixel by pixel."""
    made = batches()
    generator = torch.Generator().manual_seed(0)
    table = torch.from_numpy(Gamma(1.8).table().astype(np.float32)) / 255
    for _ in range(5):
        batch = made.training([0, 1, 2, 0], generator)
        raw = (batch.views["student"] * 255).round().long()
        assert torch.allclose(table[raw], batch.views["teacher"])
    assert batch.views["student"].shape == (4, 3, 8, 16, 16)
    assert batch.views["student"].is_contiguous(memory_format=torch.channels_last_3d)


def test_training_draws_are_a_function_of_the_generator():
    made = batches()
    a, b, c = (
        made.training([0, 1], torch.Generator().manual_seed(s)).views["student"] for s in (1, 1, 2)
    )
    assert torch.equal(a, b) and not torch.equal(a, c)


def test_evaluation_is_centred_ordered_and_complete():
    made = batches()
    got = list(made.evaluation(batch_size=2))
    assert [b.ids for b in got] == [("c0", "c1"), ("c2",)]
    assert torch.equal(got[0].views["student"], next(made.evaluation(2)).views["student"])


def test_statistics_are_those_of_the_pixels():
    made = batches()
    pixels = torch.cat([b.views["teacher"] for b in made.evaluation()])
    mean, std = made.statistics("teacher")
    assert torch.allclose(mean, pixels.mean((0, 2, 3, 4)), atol=1e-5)
    assert torch.allclose(std, pixels.std((0, 2, 3, 4), correction=0), atol=1e-5)


def test_too_short_clips_are_named_together_before_training():
    with pytest.raises(ValueError, match="c1 has 2 frame.* 4 are the least for a window of 8"):
        open_all([batches((20, 2, 30))])
    with pytest.raises(ValueError, match="2 clips.*\n.*c0 has 1.*\n.*c2 has 3"):
        open_all([batches((1, 20, 3))])
    open_all([batches()])


# --- the reference pipeline's window: consecutive frames that loop, squares of several sizes -----------------------

CONSECUTIVE = ConsecutiveWindow()


def test_a_short_clip_begins_again():
    """docs/methods.md, 1.5: 64 frames of a clip of 33 are its frames 1 … 33 and 1 … 31."""
    wanted = [*range(33), *range(31)]
    for offset in (0.0, 0.5, 0.999):
        assert CONSECUTIVE.moments(33, offset).tolist() == wanted
    assert CONSECUTIVE.moments(20, 0.7).tolist() == [*range(20)] * 3 + [*range(4)]


def test_a_long_clip_gives_frames_in_a_row_from_every_start_that_fits():
    starts = [CONSECUTIVE.moments(66, offset) for offset in (0.0, 0.34, 0.99999)]
    assert [(m[0], m[-1]) for m in starts] == [(0, 63), (1, 64), (2, 65)]
    assert all((np.diff(m) == 1).all() for m in starts)
    assert CONSECUTIVE.moments(64, 0.999).tolist() == [*range(64)]
    assert CONSECUTIVE.centre(225).frames[0] == 81  # 162 starts fit


def test_draws_cover_sizes_places_and_starts():
    generator = torch.Generator().manual_seed(0)
    draws = [CONSECUTIVE.random(100, generator) for _ in range(400)]
    sizes = Counter(draw.box[0] for draw in draws)
    assert set(sizes) == {1.0, 0.875, 0.75, 0.66} and min(sizes.values()) > 70
    assert {draw.frames[0] for draw in draws} == set(range(37))
    assert 150 < sum(draw.flip for draw in draws) < 250


@pytest.mark.parametrize("scale, box", [(1.0, 128), (0.875, 112), (0.75, 96), (0.66, 84)])
def test_a_square_is_cut_resized_and_flipped(scale, box):
    pixels = np.random.default_rng(0).integers(0, 255, (2, 128, 171, 3), dtype=np.uint8)
    got = CONSECUTIVE.shown(Draw(np.arange(2), 0.25, 1.0, box=(scale, scale)), pixels)
    cut = Draw(np.arange(2), 0.25, 1.0).placed(pixels, box, box)
    wanted = np.stack(
        [cv2.resize(frame, (112, 112), interpolation=cv2.INTER_LINEAR) for frame in cut]
    )
    assert got.shape == (2, 112, 112, 3)
    # OpenCV's fixed point
    assert np.abs(got.astype(int) - wanted).max() <= 1
    flipped = Draw(np.arange(2), 0.25, 1.0, True, (scale, scale))
    assert np.array_equal(CONSECUTIVE.shown(flipped, pixels), got[:, :, ::-1])


def test_clips_far_shorter_than_the_window_are_learnt_from():
    """Dark-48's shortest have 11 frames, of the 64 that a network looks at."""
    made = batches((11, 1), ConsecutiveWindow(64, 20, 16))
    pixels = made.training([0], torch.Generator().manual_seed(0)).views["student"]
    assert pixels.shape == (1, 3, 64, 16, 16) and torch.equal(pixels[:, :, :53], pixels[:, :, 11:])
    assert not torch.equal(pixels[:, :, :53], pixels[:, :, 10:63])
    with pytest.raises(ValueError, match=r"c1.*has 1 frame"):
        made.length(made.records[1])


# --- every clip is opened before a training ------------------------------------------------------------------------

SPLITS = ("train", "val", "test")
VIEWS = {"student": Raw(), "teacher": Enhanced(Gamma())}


@dataclass(frozen=True)
class Shared(Raw):
    """A view that notes which processes read, and of which ``owner`` reads its second clip when another has begun."""

    owner: int = 0
    name = "shared"

    def read(self, path, indices=None):
        place = path.parents[2] / "readers"
        place.mkdir(exist_ok=True)
        for _ in range(1000):
            if self.owner != os.getpid() or list(place.iterdir()) != [place / str(self.owner)]:
                break
            time.sleep(0.02)
        (place / str(os.getpid())).touch()
        return Raw().read(path, indices)


def shared():
    return {"shared": Shared(os.getpid()), **VIEWS}


@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("KDLAB_CACHE", str(tmp_path / "cache"))
    # also where the test itself has one core
    monkeypatch.setattr(pool, "available_cores", lambda: 2)
    monkeypatch.setattr(windows, "_PATIENCE", 0)


@pytest.fixture
def folder(make_video, tmp_path, own_cache):
    for number in range(12):
        make_video(
            f"set/{SPLITS[number % 3]}/{'ab'[number // 3 % 2]}/{number:02}.mp4",
            frames=10,
            size=(32, 24),
        )
    return tmp_path / "set"


def parts_of(folder, views=VIEWS):
    catalogue = open_data(folder)
    return [
        ClipBatches(catalogue.split(name), views, Window(8, 16, 16), FrameCache())
        for name in SPLITS
    ]


def forbidden(*_):
    raise AssertionError("decoded again")


def test_workers_leave_the_frames_where_this_process_finds_them(folder, monkeypatch):
    mine = parts_of(folder, shared())
    open_all(mine)
    assert len(list((folder / "readers").iterdir())) > 1
    other = FrameCache(folder / "other")
    alone = [next(replace(its, views=VIEWS, cache=other).evaluation()).views for its in mine]
    for name in ("read", "each_frame"):
        monkeypatch.setattr(Shared, name, forbidden, raising=False)
        monkeypatch.setattr(Raw, name, forbidden, raising=False)
        monkeypatch.setattr(Enhanced, name, forbidden, raising=False)
    for its, before in zip(mine, alone, strict=True):
        views = next(its.evaluation()).views
        assert all((views[name] == before[name]).all() for name in VIEWS)


def test_bad_clips_are_named_in_order_as_by_one_process(folder, make_video, monkeypatch):
    cut(folder / "test/b/05.mp4", 0.7)
    make_video("set/train/b/03.mp4", frames=2, size=(32, 24))
    (folder / "train/a/06.mp4").write_bytes(b"")
    mine = parts_of(folder, shared())
    (folder / "test/a/02.mp4").unlink()
    said = []
    for patience in (0, 99):
        monkeypatch.setattr(windows, "_PATIENCE", patience)
        with pytest.raises(
            ValueError,
            match=r"4 clips cannot be used(.|\n)*06\.mp4: empty(.|\n)*03\.mp4 has 2 frame"
            r"(.|\n)*02\.mp4: no such file(.|\n)*05\.mp4: truncated",
        ) as caught:
            open_all(mine)
        said.append(str(caught.value))
    assert said[0] == said[1]
    with pytest.raises(ValueError, match=r"03\.mp4 has 2 frame"):
        open_all([replace(mine[0], records=mine[0].records[2:])])
