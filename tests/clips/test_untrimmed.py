"""Windows over untrimmed video: where they lie, which frames and which parts of segments they show."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from kdlab.clips.cache import FrameCache
from kdlab.clips.records import Catalogue, CatalogueError, ClipRecord
from kdlab.clips.untrimmed import Windows, all_annotated, windows
from kdlab.clips.views import Raw
from kdlab.clips.windows import open_all
from kdlab.datasets.user_clips import UserClips
from kdlab.measure.detection import annotated
from kdlab.train.device import seeded
from tests.conftest import table

SMALL = Windows(frames=16, side=24, crop=20, rate=5.0, stride=8)


def counting(frames):
    """Frames whose grey level is twice their number."""
    return np.repeat(2 * np.arange(frames, dtype=np.uint8), 24 * 32 * 3).reshape(frames, 24, 32, 3)


@pytest.fixture
def catalogue(make_video, tmp_path):
    def make(*segments, frames=100):
        """One video of 10 s, or as said, and its (start, end, label)."""
        path = make_video("a/long.mp4", pixels=counting(frames), rate=10, qp="0")
        records = [
            ClipRecord(f"long@{s}-{e}", path, label, "train", "g", s, e) for s, e, label in segments
        ]
        return Catalogue("toy", tmp_path, ("zero", "one"), tuple(records))

    return make


@pytest.fixture
def batches(tmp_path):
    def make(catalogue, window=SMALL):
        made = window.batches(catalogue, "train", {"student": Raw()})
        return replace(made, cache=FrameCache(tmp_path / "cache"))

    return make


def shown(some, batch):
    """Which frame of the video each step shows, read off its grey level."""
    known = torch.from_numpy(Raw().read(some.records[0].path)[:, 0, 0, 0].astype(int))
    grey = (batch.views["student"][:, 0].mean((2, 3)) * 255).round()
    return (grey[..., None] - known).abs().argmin(-1).tolist()


def rounded(labels):
    return [[round(float(x), 4) for x in row] for row in labels]


def test_windows_cover_a_video_and_the_last_ends_with_it(catalogue):
    found = windows(catalogue((1.0, 3.0, 0), (4.0, 9.0, 1)), "train", SMALL)
    assert [w.first for w in found] == [0, 8, 16, 24, 32, 34]  # 50 steps
    assert [w.id for w in found][:2] == ["a/long@0", "a/long@1.6"]
    assert {w.video for w in found} == {"a/long"}
    assert {w.segments for w in found} == {((1.0, 3.0, 0), (4.0, 9.0, 1))}
    assert found[0].seconds == 10
    exact = windows(catalogue((1.0, 3.0, 0)), "train", Windows(frames=25, rate=5.0, stride=25))
    # no window twice
    assert [w.first for w in exact] == [0, 25]


def test_dense_windows_are_for_training_alone_and_show_a_whole_action(catalogue, batches):
    """A window of 16 steps, 5 a second, shows 3.2 s: of 0.6 to 2.8 s those from step 0 to 3, of 9 to 9.8 s from 33."""
    video = catalogue((0.6, 2.8, 0), (9.0, 9.8, 1), (4.0, 8.0, 1))
    dense = replace(SMALL, dense=3)
    found = windows(video, "train", dense)
    # the last ends where the video does; 4 s fit in none
    assert [w.first for w in found] == [0, 3, 33, 34]
    tested = Catalogue(
        "toy", video.root, video.classes, tuple(replace(r, split="test") for r in video.records)
    )
    assert [w.first for w in windows(tested, "test", dense)] == [0, 8, 16, 24, 32, 34]
    some = batches(video, dense)
    firsts = [
        some.training(list(range(len(found))), seeded(0, k)).labels[0, 0, 0].item()
        for k in range(5)
    ]
    # never off
    assert firsts == [pytest.approx(3.0)] * 5
    (labels,) = (batch.labels for batch in some.evaluation())
    # the video's shortest action has 0.8 s
    assert all([-4.0, 0.0, -2.0] in rounded(rows) for rows in labels)
    with pytest.raises(
        CatalogueError, match="no window of 16 steps at 5 a second shows a whole action.*dense=0"
    ):
        windows(catalogue((2.0, 8.0, 0)), "train", dense)


def test_steps_are_the_middles_of_equal_times(catalogue, batches):
    some = batches(catalogue((1.0, 3.0, 0)))
    (batch,) = some.evaluation()
    frames = shown(some, batch)
    assert frames[0] == list(range(1, 33, 2)) and frames[-1] == list(range(69, 101, 2))
    assert batch.views["student"].shape == (6, 3, 16, 20, 20)
    slow = batches(catalogue((1.0, 3.0, 0)), Windows(frames=16, side=24, crop=20, rate=20.0))
    assert shown(slow, next(slow.evaluation()))[0] == [t // 2 for t in range(16)]


def test_labels_are_in_steps_and_cut_to_the_window(catalogue, batches):
    # steps 5 to 15; 15 to 40; 12 to 14, inside the first
    (batch,) = batches(catalogue((1.0, 3.0, 0), (3.0, 8.0, 1), (2.4, 2.8, 0))).evaluation()
    assert batch.labels.shape == (6, 3, 3)
    # 1 of 25 steps seen
    assert rounded(batch.labels[0]) == [[5, 15, 0], [15, 16, -2], [12, 14, 0]]
    # 7 of 10 steps, 9 of 25
    assert rounded(batch.labels[1]) == [[0, 7, 0], [7, 16, -2], [4, 6, 0]]
    # 16 of 25
    assert rounded(batch.labels[2]) == [[0, 16, 1], [-1, -1, -1], [-1, -1, -1]]
    assert batch.ids == tuple(f"a/long@{t:g}" for t in (0, 1.6, 3.2, 4.8, 6.4, 6.8))


@pytest.mark.parametrize("dense", [0, 4])
def test_a_segment_after_the_end_is_shown_to_nobody_and_missed_by_all(catalogue, batches, dense):
    """THUMOS14 has 30 of them."""
    late, without = (
        (batches(catalogue((1.0, 3.0, 0), *more), replace(SMALL, dense=dense)))
        for more in (((10.5, 13.5, 1),), ())
    )
    assert [record.first for record in late.records] == [record.first for record in without.records]
    for with_it, plain in zip(late.evaluation(), without.evaluation(), strict=True):
        assert torch.equal(with_it.labels, plain.labels)
    # it stays among what is to be found
    assert annotated(late.records)["start"].tolist() == [1.0, 10.5]


def test_training_moves_windows_inside_their_video_and_labels_with_them(catalogue, batches):
    some = batches(catalogue((3.0, 5.0, 0)))
    firsts = set()
    for seed in range(40):
        batch = some.training([0, 1, 5], seeded(seed))
        for frames, labels, nominal in zip(
            shown(some, batch), batch.labels, (0, 8, 34), strict=True
        ):
            first = (frames[0] - 1) // 2
            assert frames == list(range(2 * first + 1, 2 * first + 33, 2)) and 0 <= first <= 34
            assert abs(first - nominal) <= 4
            low, high = np.clip([15 - first, 25 - first], 0, 16)
            if labels[0, 2] >= 0:
                assert labels[0].tolist() == [low, high, 0] and high - low >= 5
            firsts.add((nominal, first))
    assert {f for n, f in firsts if n == 8} >= set(range(5, 12))
    assert len({f for n, f in firsts if n == 0}) == 5
    again = some.training([0, 1, 5], seeded(3)), some.training([0, 1, 5], seeded(3))
    assert torch.equal(again[0].views["student"], again[1].views["student"])


def test_a_video_shorter_than_a_window_stays_on_its_last_frame(catalogue, batches):
    # 10 steps; annotated beyond its end
    some = batches(catalogue((0.4, 1.9, 1), (0.2, 2.5, 0), frames=20))
    assert len(some.records) == 1
    open_all([some])
    for batch in (*some.evaluation(), some.training([0], seeded(0))):
        assert shown(some, batch)[0] == [*range(1, 20, 2), *[19] * 6]
        assert rounded(batch.labels[0]) == [[2, 9.5, 1], [1, 10, 0]]
    mean, std = some.statistics("student")
    x = next(some.evaluation()).views["student"]
    assert torch.allclose(mean, x.mean((0, 2, 3, 4)))
    assert torch.allclose(std, x.std((0, 2, 3, 4)), rtol=1e-3)


@pytest.mark.parametrize(
    "segments, message",
    [
        (
            ((3.0, 3.0, 0),),
            r"long@3.0-3.0: segments need 0 <= start < end.* this one has 3.0 and 3.0",
        ),
        (((-1.0, 3.0, 0),), "has -1.0 and 3.0"),
        (((None, 3.0, 0),), "has None and 3.0"),
        (
            ((11.0, 13.0, 0), (10.0, 12.0, 0)),
            r"long@10.0-12.0: all 2 segments of .*long.mp4 begin after its end, at 10 s; "
            "this one at 10. Correct the times, or restore",
        ),
    ],
)
def test_impossible_segments_are_named(catalogue, segments, message):
    with pytest.raises(CatalogueError, match=message):
        windows(catalogue(*segments), "train", SMALL)


@pytest.fixture
def annotated_as(make_video, tmp_path):
    """``annotated_as(rows)``: videos of 10 s with an index of these ``rows``, as they are opened from there."""

    def make(*rows):
        for name in {row.split(",")[0] for row in rows}:
            make_video(name, frames=100, rate=10)
        table(tmp_path / "index.csv", "path,label,start,end,split", *rows)
        return UserClips(str(tmp_path))

    return make


GOOD = ("a.mp4,zero,1,3,train", "a.mp4,one,5,8,train", "b.mp4,one,2,4,val", "c.mp4,zero,2,4,test")


def test_a_table_of_actions_beside_the_videos_is_what_a_detector_learns_from(annotated_as):
    data = annotated_as(*GOOD)
    assert all_annotated(data) is data
    (window, *_) = windows(data.catalogue(), "train", SMALL)
    assert (window.video, window.segments) == ("a", ((1.0, 3.0, 1), (5.0, 8.0, 0)))


@pytest.mark.parametrize(
    "row, said",
    [
        ("c.mp4,zero,,,test", "row 5: segments need 0 <= start < end; this one has None and None"),
        (
            "a.mp4,zero,9,10,test",
            r"row 5: a\.mp4 has actions in train and in test, .*all rows of a video in one split",
        ),
        ("c.mp4,zero,2,4,val", "the test split is empty"),
        (
            "c.mp4,zero,2,4,test c.avi,one,5,8,test",
            r"c\.mp4 and .*c\.avi would both be read as .*c: rename one",
        ),
    ],
)
def test_annotations_that_nobody_could_learn_from_are_refused_in_a_sentence(
    annotated_as, row, said
):
    with pytest.raises(CatalogueError, match=said):
        all_annotated(annotated_as(*GOOD[:3], *row.split()))
