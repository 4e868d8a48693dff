"""Untrimmed `night`: segments that fit, motion where they say, one actor who never jumps, files that resume."""

import dataclasses

import numpy as np
import pytest

from kdlab.datasets.released import open_data
from kdlab.night import ACTIONS, Night, make_night, truth
from kdlab.night.drawing import perform, render_video
from kdlab.night.untrimmed import Untrimmed, make_untrimmed
from kdlab.video.decode import read_frames
from tests.night.test_folder import contents

SHORT = Untrimmed(classes=("Jump", "Sit", "Walk"), videos=(1, 1, 1), seconds=(12.0, 14.0))


@pytest.fixture(scope="module")
def video():
    return render_video(Untrimmed(seconds=(30.0, 31.0)), "train", 0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("untrimmed")
    make_untrimmed(SHORT, root, workers=1, progress=False)
    return root


def acted_by(spec, seed=0):
    return perform(spec, 2.7, np.random.default_rng(seed))


def moved(joints):
    """Pixels per frame by which the quickest joint moves against the pelvis (which the camera follows)."""
    own = joints - joints[:, :1]
    return np.linalg.norm(np.diff(own, axis=0), axis=-1).max(1)


@pytest.mark.parametrize("variety", [0.0, 0.25, 1.0])
def test_segments_lie_inside_and_apart(variety):
    spec = Untrimmed(variety=variety)
    for index in range(12):
        acted = acted_by(spec, index)
        length = len(acted.yaw) / 15
        assert 20 <= length <= 60
        times = np.array([(s.start, s.end) for s in acted.segments])
        assert len(times) >= 3 and (times[:, 0] < times[:, 1]).all()
        assert times[0, 0] >= 1 and times[-1, 1] <= length - 0.5
        # no idle time between two actions
        assert (times[1:, 0] - times[:-1, 1] >= 1).all()
        names = [s.label for s in acted.segments]
        assert [names[k + 1] for k, name in enumerate(names) if name == "Sit"] == [
            "Stand"
        ] * names.count("Sit")
        assert acted.at[:, 2].min() >= 1.1 and np.abs(acted.at[:, 0]).max() < 12


def test_classes_come_equally_often():
    names = [s.label for k in range(60) for s in acted_by(Untrimmed(), k).segments]
    counts = [names.count(name) for name in set(names)]
    assert len(counts) == 11 and max(counts) < 1.5 * min(counts)


def test_actions_move_and_idling_does_not(video):
    pace = moved(video.joints)
    time = (np.arange(len(video.joints) - 1) + 0.5) / 15
    inside = [(s.start < time) & (time < s.end) for s in video.segments]
    idle = np.all([(time < s.start - 0.6) | (s.end + 0.6 < time) for s in video.segments], axis=0)
    assert idle.mean() > 0.15
    for segment, when in zip(video.segments, inside, strict=True):
        assert pace[when].mean() > 2 * pace[idle].mean(), segment


@pytest.mark.parametrize("index", range(6))
def test_poses_join_smoothly(index):
    """Where idling becomes an action and back, no joint turns quickly (degrees per frame); Run and Jump alone do."""
    calm = Untrimmed(
        classes=tuple(name for name in ACTIONS if name not in ("Run", "Jump")), variety=1.0
    )
    acted = acted_by(calm, index)
    time = (np.arange(len(acted.yaw) - 1) + 0.5) / 15
    outside = np.all([(time < s.start) | (s.end < time) for s in acted.segments], axis=0)
    for name, angle in acted.pose.items():
        assert np.abs(np.diff(angle))[outside].max() < 20, name
    # quicker than anybody runs
    assert np.linalg.norm(np.diff(acted.at, axis=0), axis=1).max() < 6 / 15


def test_who_sits_down_stays_seated_until_he_stands_up():
    acted = acted_by(Untrimmed(classes=("Sit", "Stand")))
    knee = acted.pose["knee_r"]
    time = np.arange(len(acted.yaw)) / 15
    for sit, stand in zip(acted.segments[::2], acted.segments[1::2], strict=True):
        assert knee[(sit.end <= time) & (time <= stand.start)].min() > 60
        assert np.abs(knee[(stand.end + 0.6 <= time) & (time <= stand.end + 0.7)]).max() < 20


def test_the_actor_stays_in_view(video):
    assert video.masks.any((1, 2)).mean() > 0.95
    assert video.bright.shape == video.dark.shape == (*video.masks.shape, 3)
    assert video.dark.mean() < 40


def test_the_exposure_does_not_step(video):
    """Blocks are rendered one after the other; the picture must not show where they meet."""
    change = np.abs(np.diff(video.bright.mean((1, 2, 3))))
    assert change[119::120].max() < max(2 * np.percentile(change, 95), 0.5)


def test_a_folder_resumes_and_has_its_tables(folder):
    before = contents(folder)
    assert len(before) == 3 * 4 + 3
    next(folder.glob("dark/*/*.mp4")).unlink()
    make_untrimmed(SHORT, folder, workers=1, progress=False)
    after = contents(folder)
    assert [name for name in before if before[name] != after[name]] == []
    opened = open_data(folder)
    made = make_untrimmed(SHORT, folder)
    assert {(r.path.name, r.split, r.group, r.start, r.end) for r in opened.records} == {
        (r.path.name, r.split, r.group, r.start, r.end) for r in made.records
    }
    assert opened.classes == made.classes == SHORT.classes
    groups = {split: {r.group for r in made.split(split)} for split in ("train", "val", "test")}
    assert not groups["train"] & (groups["val"] | groups["test"])
    assert not groups["val"] & groups["test"]
    rows = (folder / "videos.csv").read_text().splitlines()
    assert rows[0] == "path,split,group,seconds" and len(rows) == 4


def test_what_is_not_among_the_classes_is_acted_but_not_labelled(folder):
    records = make_untrimmed(SHORT, folder, stream="bright").records
    assert {SHORT.classes[r.label] for r in records} <= set(SHORT.classes)
    found = truth(records[0])
    frames = read_frames(records[0].path).frames
    assert len(frames) == len(found["masks"]) == len(found["joints"])
    names = found["segment_labels"].tolist()
    assert names.count("Stand") == names.count("Sit")
    of_video = [r for r in records if r.path == records[0].path]
    assert [(r.start, r.end) for r in of_video] == [
        (start, end)
        for name, start, end in zip(
            names, found["segment_starts"], found["segment_ends"], strict=True
        )
        if name in SHORT.classes
    ]


def test_a_folder_holds_one_data_set(folder):
    with pytest.raises(ValueError, match="another folder"):
        make_untrimmed(dataclasses.replace(SHORT, classes=("Jump", "Walk")), folder)
    with pytest.raises(ValueError, match="another folder"):
        make_night(Night(variety=SHORT.variety), folder)
    assert SHORT.name != dataclasses.replace(SHORT, classes=("Jump", "Walk")).name
    assert SHORT.name == dataclasses.replace(SHORT, videos=(1, 0, 0)).name


@pytest.mark.parametrize(
    "wrong",
    [
        {"classes": ("Fly",)},
        {"videos": (0, 0, 0)},
        {"seconds": (5, 60)},
        {"seconds": (30, 20)},
        {"variety": 2},
    ],
)
def test_impossible_values_are_named(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Untrimmed(**wrong)
