"""Segments of the compressed domain: one draw for all modalities, and what a mirrored motion vector is."""

from collections import Counter
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from kdlab.clips.cache import FrameCache
from kdlab.clips.coviar import (
    MODALITIES,
    Compressed,
    PaperSegments,
    SegmentBatches,
    Segments,
    all_mpeg4,
    tsn_frames,
)
from kdlab.clips.records import Catalogue, CatalogueError, ClipRecord
from kdlab.clips.views import flip_motion
from kdlab.clips.windows import Draw, open_all
from kdlab.datasets.splits import Half, HeldOut, with_halves
from kdlab.datasets.user_clips import UserClips
from kdlab.protocols import Data
from kdlab.train.device import seeded
from kdlab.video.compressed import Unsuited
from tests.conftest import table, touch

MPEG4 = {"codec": "mpeg4", "qmin": "2", "qmax": "2", "bf": "0", "g": "12"}


def walking(frames, size=(112, 80)):
    """A textured square that walks to the right, uint8 (T, H, W, 3)."""
    rng = np.random.default_rng(0)
    square = rng.integers(0, 255, (48, 48, 3), np.uint8)
    video = np.full((frames, *size[::-1], 3), 90, np.uint8)
    for t, frame in enumerate(video):
        left = min(4 + 3 * (t % 12), size[0] - 48)
        frame[16:64, left : left + 48] = square
    return video


@pytest.fixture
def clips(make_video, tmp_path):
    def make(window=Segments(3, 40, 36)):
        files = [make_video(f"c{i}.avi", pixels=walking(24 + 7 * i), **MPEG4) for i in range(2)]
        records = [ClipRecord(f"c{i}", path, i, "train", f"g{i}") for i, path in enumerate(files)]
        return SegmentBatches(
            records, {v: Compressed(v) for v in MODALITIES}, window, FrameCache(tmp_path / "cache")
        )

    return make


def test_a_batch_has_every_modality_of_the_same_moments_and_place(clips):
    some = clips()
    batch = some.training([1, 0], seeded(3))
    assert batch.ids == ("c1", "c0") and batch.labels.tolist() == [1, 0]
    # a crop keeps the shape of the picture: 36 of 40 pixels, so 50 of 56
    assert {name: tuple(view.shape) for name, view in batch.views.items()} == {
        "iframe": (2, 3, 3, 36, 50),
        "motion": (2, 2, 3, 36, 50),
        "residual": (2, 3, 3, 36, 50),
    }
    assert all(0 <= view.min() and view.max() <= 1 for view in batch.views.values())
    # where the square went right, and nowhere else, motion is positive: the I-frame's square lies in the same crop
    right = batch.views["motion"][0, 0] > 0.52
    coloured = batch.views["iframe"][0].std(0) > 0.05
    assert right.any() and (right & coloured).sum() > 0.5 * right.sum()


def test_a_mirrored_clip_moves_the_other_way(clips):
    some = clips(Segments(2, 80, 80))
    draw = some.window.centre(some.length(some.records[0]))
    plain, mirrored = (
        some.collate([0], [replace(draw, flip=flip)]).views for flip in (False, True)
    )
    for name in ("iframe", "residual"):
        assert torch.equal(mirrored[name], plain[name].flip(-1))
    x, back = (255 * v["motion"][0, 0] for v in (plain, mirrored))
    assert torch.allclose(back, (256 - x.flip(-1)).clamp(max=255), atol=1e-4) and (x > 128.5).any()
    # y keeps its sign
    assert torch.equal(mirrored["motion"][0, 1], plain["motion"][0, 1].flip(-1))


def test_a_segment_lies_where_its_times_say(clips):
    some = clips()
    whole, view = some.records[0], Compressed("residual")
    late = replace(whole, start=0.4, end=0.8)
    assert [some.stretch(record) for record in (whole, late)] == [(0, 24), (10, 10)]
    steps = np.arange(1, 10, 3)
    assert np.array_equal(some.pixels(late, view, steps), some.pixels(whole, view, 10 + steps))
    assert not np.array_equal(some.pixels(late, view, steps), some.pixels(whole, view, steps))


def test_one_frame_and_other_shapes_are_named(clips, make_video):
    some = clips()
    lone = ClipRecord("lone", make_video("lone.avi", pixels=walking(1), **MPEG4), 0, "train", "g")
    with pytest.raises(ValueError, match=r"lone.avi has 1 frame\(s\), and 2 are the least"):
        open_all([replace(some, records=[lone])])
    wide = ClipRecord(
        "wide", make_video("wide.avi", pixels=walking(24, (160, 80)), **MPEG4), 0, "train", "g"
    )
    with pytest.raises(ValueError, match="wide.avi has pictures of another shape than .*transcode"):
        replace(some, records=[some.records[0], wide]).training([0, 1], seeded(0))


# --- sets ------------------------------------------------------------------------------------------------------


def test_people_are_held_out_whole_and_the_same_each_time(tmp_path):
    lines = ["path,label,fold,group"]
    for k in range(12):
        touch(tmp_path, f"{k}.avi")
        lines.append(f"{k}.avi,{'ab'[k % 2]},{1 if k < 4 else 2},p{k // 2}")
    table(tmp_path / "index.csv", *lines)
    clips = UserClips(str(tmp_path), "1")
    parts = HeldOut(clips, 2).catalogue()
    people = {split: {r.group for r in parts.split(split)} for split in ("train", "val", "test")}
    assert people["test"] == {"p0", "p1"} and [len(p) for p in people.values()] == [2, 2, 2]
    assert not people["train"] & people["val"]
    assert HeldOut(clips, 2).fingerprint() == parts.fingerprint()


def test_half_of_the_training_scenes_and_the_other_half_are_all_of_them(tmp_path):
    lines = ["path,label,split,group"]
    for k, split in enumerate(("train",) * 10 + ("val", "val", "test", "test")):
        touch(tmp_path, f"{k}.avi")
        lines.append(f"{k}.avi,{'ab'[k % 2]},{split},{split}{k // 2}")
    table(tmp_path / "index.csv", *lines)
    data = UserClips(str(tmp_path))
    whole, one, other = (its.catalogue() for its in (data, Half(data), Half(data, first=False)))
    scenes = [{r.group for r in its.split("train")} for its in (one, other)]
    assert scenes == [{"train0", "train2", "train4"}, {"train1", "train3"}]
    assert {*one.split("train"), *other.split("train")} == {*whole.split("train")}
    assert one.split("val") == other.split("val") == whole.split("val")
    assert one.split("test") == whole.split("test")
    assert one.fingerprint() != other.fingerprint()
    assert Half(data).name != Half(data, first=False).name
    with pytest.raises(ValueError, match="one group .*, which has no halves"):
        Half(Half(Half(data, first=False))).catalogue()


# --- CoViAR's window: boxes of two neighbouring sizes, squeezed to a square ----------------------------------------

PIXELS = np.random.default_rng(0).integers(0, 256, (2, 256, 340, 3), np.uint8)


@pytest.mark.parametrize("scales, boxes", [((1.0, 0.875, 0.75), 7), ((1.0, 0.875, 0.75, 0.66), 10)])
def test_the_sides_of_a_box_are_equal_or_neighbours(scales, boxes):
    generator = torch.Generator().manual_seed(0)
    window = PaperSegments(scales=scales)
    draws = [window.random(100, generator) for _ in range(1000)]
    found = Counter(draw.box for draw in draws)
    assert len(found) == boxes and min(found.values()) > 1000 / boxes / 2
    assert all(abs(scales.index(a) - scales.index(b)) <= 1 for a, b in found)
    assert 420 < sum(draw.flip for draw in draws) < 580
    frames = np.array([draw.frames for draw in draws])
    assert frames.min(0).tolist() == [1, 34, 66] and frames.max(0).tolist() == [33, 65, 98]
    again = window.random(100, torch.Generator().manual_seed(0))
    assert repr(again) == repr(draws[0])


def test_a_box_at_its_place_becomes_a_square():
    cut = PaperSegments().shown(Draw(np.arange(2), 1.0, 0.5, box=(0.66, 0.75)), PIXELS)
    # (340 - 192) / 2 = 74
    wanted = [cv2.resize(frame[256 - 168 :, 74 : 74 + 192], (224, 224)) for frame in PIXELS]
    assert np.array_equal(cut, wanted)
    mirrored = Draw(np.arange(2), 1.0, 0.5, flip=True, box=(0.66, 0.75))
    assert np.array_equal(PaperSegments().shown(mirrored, PIXELS), cut[:, :, ::-1])
    motion = PIXELS[..., :2].copy()
    assert np.array_equal(
        PaperSegments().shown(mirrored, motion, Compressed("motion")), flip_motion(cut[..., :2])
    )


def test_evaluation_squeezes_the_picture_and_cuts_its_centre():
    window = PaperSegments()
    draw = window.centre(100)
    assert draw.frames.tolist() == tsn_frames(100).tolist() and not draw.flip
    wanted = [cv2.resize(frame, (256, 256))[16:240, 16:240] for frame in PIXELS]
    assert np.array_equal(window.shown(draw, PIXELS), wanted)


class Fixed(Data):
    """A data set that is one catalogue."""

    def __init__(self, root, records):
        self.made = Catalogue("fixed", root, ("a", "b"), tuple(records))

    def catalogue(self):
        return self.made


@pytest.fixture
def mixed(make_video, tmp_path):
    """``mixed({"odd.avi": dict(…)})``: a small set of MPEG-4 clips, one of which is made as said."""

    def make(odd=None):
        records = []
        for n, split in enumerate(("train", "train", "val", "val", "test", "test")):
            path = make_video(
                f"c{n}.avi", **{"frames": 20} | MPEG4 | (odd if odd and n == 3 else {})
            )
            records.append(ClipRecord(f"c{n}", path, n % 2, split, f"g{n}"))
        return Fixed(tmp_path, records)

    return make


def test_mpeg4_clips_of_one_size_are_taken_as_they_are(mixed):
    assert all_mpeg4(data := mixed()) is data


@pytest.mark.parametrize(
    "odd, error, said",
    [
        ({"bf": "2"}, Unsuited, r"c3\.avi: .*B-frame.*kdlab data transcode .* --out FOLDER"),
        (
            {"size": (48, 64)},
            CatalogueError,
            r"c0\.avi has pictures of 64x48, .*c3\.avi of 48x64\. .*kdlab data transcode",
        ),
        ({"frames": 1}, ValueError, r"c3\.avi has 1 frame"),
    ],
)
def test_a_clip_that_the_compressed_domain_cannot_read_is_named_with_the_mend(
    mixed, odd, error, said
):
    with pytest.raises(error, match=said):
        all_mpeg4(mixed(odd))


def test_two_groups_are_held_out_only_where_validation_has_not_two(mixed):
    data = mixed()
    assert with_halves(data) is data
    alone = Fixed(data.made.root, [r for r in data.made.records if r.id != "c3"])
    assert with_halves(alone) == HeldOut(alone, 2)
    few = Fixed(data.made.root, [r for r in data.made.records if r.id in ("c0", "c2", "c4", "c5")])
    with pytest.raises(
        CatalogueError,
        match="2 groups cannot be held out of 2 that are not in test; .*`group` column",
    ):
        with_halves(few).catalogue()
