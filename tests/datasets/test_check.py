"""Every odd file is named with its reason, every good one passes, and what makes a test unfair is fatal."""

import shutil

import numpy as np
import pytest

from kdlab.datasets import check as check_module
from kdlab.datasets.check import check, inspect, notes_of, without_damaged, write_groups
from kdlab.datasets.released import open_data
from kdlab.datasets.splits import NO_GROUPS
from kdlab.datasets.user_clips import UserClips
from kdlab.system import paths
from tests.conftest import overwrite, remuxed, table, touch


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("KDLAB_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def clip(make_video):
    """``clip(name, seed)`` writes 12 frames that no other seed shows."""

    def make(name, seed, frames=12, **how):
        pixels = np.random.default_rng(seed).integers(0, 255, (frames, 32, 32, 3)).astype(np.uint8)
        return make_video(name, pixels=pixels, **how)

    return make


@pytest.fixture
def tree(clip, tmp_path):
    """Two classes, three splits, one clip of each: fit to train on."""
    for seed in range(6):
        clip(
            f"set/{('train', 'val', 'test')[seed % 3]}/{'ab'[seed // 3]}/{seed}.mp4",
            seed,
            g="4",
            bf="0",
            **{"x264-params": "scenecut=0"},
        )
    return tmp_path / "set"


def findings(report, fatal=True):
    return {
        finding.what: list(finding.where) for finding in report.findings if finding.fatal == fatal
    }


def test_a_good_folder_is_fit_and_its_facts_are_told(tree):
    report = check(tree)
    assert report.fit and not findings(report) and report.render().endswith("\nfit to train on")
    for line in (
        "6 clips in 6 files, 72 frames, 0.0 min",
        "h264 in mp4 (6)",
        "32x32 (6)",
        "25 fps (6)",
    ):
        assert line in report.render()
    facts = report.facts[tree / "test/b/5.mp4"]
    assert (facts.info.frames, facts.decoded, facts.reason) == (12, 12, "")


ODD = [
    ("empty", "the file has 0 bytes", lambda path: path.write_bytes(b"")),
    ("truncated", "12 frames announced", lambda path: path.write_bytes(path.read_bytes()[:-3000])),
    ("damaged", "its header names no", lambda path: path.write_bytes(path.read_bytes()[:200])),
    ("damaged", "frame", lambda path: overwrite(path, bytes(range(200)) * 2)),
    ("missing", "no such file", lambda path: path.unlink()),
]


@pytest.mark.parametrize("kind, detail, spoil", ODD)
def test_every_odd_file_is_named_with_its_reason(tree, kind, detail, spoil):
    catalogue = open_data(tree)
    spoil(tree / "train/a/0.mp4")
    report = check(catalogue)
    assert list(findings(report)) == [kind] and not report.fit
    [where] = findings(report)[kind]
    assert where.startswith("train/a/0.mp4: ") and detail in where
    assert f"\nfatal: {kind} (1):\n    {where}\n" in report.render()
    assert report.render().endswith("NOT fit to train on")
    assert [path.name for path, facts in report.facts.items() if facts.reason] == ["0.mp4"]


def test_clips_and_segments_that_are_too_short(tree, clip):
    clip("set/train/a/short.avi", 99, frames=7, codec="mpeg4")
    assert findings(check(tree)) == {
        "too short, of fewer than 8 frames (--min-frames)": ["train/a/short: 7 frames"]
    }
    assert check(tree, min_frames=7).fit
    # a second of frames, but where the video has ended
    rows = [
        "train/a/0.mp4,a,train,,",
        "val/a/1.mp4,a,val,0.1,",
        "test/a/2.mp4,a,test,0,0.28",  # 12, 12 - 2, 7 frames
        "test/b/5.mp4,b,test,4,9",
        "train/b/3.mp4,b,train,,",
    ]
    table(tree / "index.csv", "path,label,split,start,end", *rows)
    assert findings(check(tree)) == {
        "too short, of fewer than 8 frames (--min-frames)": [
            "test/a/2@0-0.28: 7 frames",
            "test/b/5@4-9: 0 frames",
        ]
    }


def test_a_segment_beyond_its_film_is_told_with_both_ends(tree):
    rows = [
        "train/a/0.mp4,a,train,0,12",
        "val/a/1.mp4,a,val,0,0.9",
        "test/a/2.mp4,a,test,,",
        "train/b/3.mp4,b,train,,",
    ]
    table(tree / "index.csv", "path,label,split,start,end", *rows)
    notes = findings(check(tree), fatal=False)
    # 0.9 s may be rounded
    assert notes[
        "segment that ends after its film: are its times seconds, or numbers of frames?"
    ] == ["train/a/0.mp4: to 12 s, of a film of 0.48 s"]


@pytest.mark.parametrize(
    "times, what, fatal",
    [
        ((0, 1.5, 1, 2), "overlapping parts of one film, in test and in another split", True),
        ((0, "", 1, 2), "overlapping parts of one film, in test and in another split", True),
        ((1, 2, 0, 1), "parts of one film, in test and in another split", False),
    ],
)
def test_parts_of_one_film_on_both_sides_are_told_also_with_groups_of_their_own(
    tree, clip, times, what, fatal
):
    clip("set/film.mp4", 20, frames=60)
    start, end, later, last = times
    rows = [
        f"film.mp4,a,train,{start},{end},g1",
        f"film.mp4,a,test,{later},{last},g2",
        "train/b/3.mp4,b,train,,,g3",
        "test/b/5.mp4,b,test,,,g4",
        "val/b/4.mp4,b,val,,,g5",
    ]
    table(tree / "index.csv", "path,label,split,start,end,group", *rows)
    assert [found for found in findings(check(tree), fatal) if "film" in found] == [what]


TAKES = [
    "v_{c}_g0{g}_c0{t}",
    "person0{g}_{c}_d{t}_uncomp",
    "anna-0{g}-0{t}",
    "{c}.0{g}.0{t}",
    "{c}_{g}_{t}",
    "S001C00{t}P00{g}R001A001_rgb",
    "{c}0{g} ({t})",
    "{c}0{g}_take_{t}",
    "abcD-E_f{g}_00000{t}_00001{t}",
    "scene{g}_{letter}",
    "Anna 0{g} take 0{t}",
    "GX0{t}000{g}",
    "G{chapter}000{g}",
    "2024-05-0{g}_12-00-0{t}",
]


@pytest.mark.parametrize("name", TAKES)
@pytest.mark.parametrize("listed", [False, True], ids=["split folders", "table"])
def test_recordings_that_names_tell_are_noted_on_both_sides_of_a_split(tmp_path, name, listed):
    rows = ["path,label,split"]
    for split, take in (("train", 1), ("val", 2), ("test", 3)):
        for group in range(1, 4):
            for label in "ab":
                chapter = ("", "OPR", "P01", "P02")[take]
                stem = name.format(c=label, g=group, t=take, letter="_abc"[take], chapter=chapter)
                touch(tmp_path, f"{split}/{label}/{stem}.mp4")
                rows.append(f"{split}/{label}/{stem}.mp4,{label},{split}")
    if listed:
        table(tmp_path / "index.csv", *rows)
    notes = notes_of(open_data(tmp_path))
    assert any("roup" in note and "in test and" in note for note in notes), notes


@pytest.mark.parametrize(
    "names, told",
    [
        (("jump",), True),
        (("person01", "person02"), True),
        (("1", "2"), False),
        (("jump", "run2"), False),
    ],
)
def test_a_folder_that_holds_one_class_is_told(tmp_path, names, told):
    touch(tmp_path, *(f"{name}/{letter}.mp4" for name in names for letter in "abcd"))
    notes = [note for note in notes_of(open_data(tmp_path)) if "look like one" in note]
    assert len(notes) == told and all(names[0] in note for note in notes)


def test_groups_of_one_clip_each_are_no_groups(tmp_path):
    touch(tmp_path, *(f"{'ab'[number % 2]}/clip_{number}_01.mp4" for number in range(8)))
    write_groups(tmp_path)
    assert notes_of(open_data(tmp_path)) == [NO_GROUPS]


def test_rows_that_are_padded_are_read(make_video):
    path = make_video("odd.avi", frames=9, size=(75, 43), codec="mpeg4")
    assert (inspect(path).reason, inspect(path).decoded) == ("", 9)


def test_pixels_that_are_not_square_are_told(tree, clip):
    clip("set/train/a/wide.mp4", 60, **{"x264-params": "sar=16/11"})
    what = "pixels that are not square, but are read as square: scale the clips if shapes matter"
    assert findings(check(tree), fatal=False)[what] == [
        "train/a/wide.mp4: 1.45 times as wide as high"
    ]


def test_duplicates_by_content_also_in_another_container(tree):
    shutil.copy(tree / "train/a/0.mp4", tree / "train/a/copy.mp4")
    report = check(tree)
    assert report.fit
    assert findings(report, fatal=False) == {
        "duplicate: the same pictures": ["train/a/0 (train, a), train/a/copy (train, a)"]
    }
    remuxed(tree / "train/a/0.mp4", tree / "test/b/other.mkv")
    assert findings(check(tree)) == {
        "duplicate: the same pictures, under several labels, in test and in another split": [
            "test/b/other (test, b), train/a/0 (train, a), train/a/copy (train, a)"
        ]
    }
    shutil.move(tree / "test/b/other.mkv", tree / "train/b/other.mkv")
    assert findings(check(tree)) == {
        "duplicate: the same pictures, under several labels": [
            "train/a/0 (train, a), train/a/copy (train, a), train/b/other (train, b)"
        ]
    }


@pytest.mark.parametrize(
    "how, where, colour",
    [
        ({}, (-1, slice(2, 4), slice(2, 4)), 120),  # a small object, in one frame
        # the right half
        ({"pix_fmt": "yuv420p10le"}, (slice(None), slice(None), slice(16, 32)), 120),
        ({}, slice(None), (149, 60, 90)),  # another colour as bright
        ({"codec": "libx264rgb", "pix_fmt": "rgb24"}, slice(None), (120, 90, 90)),
    ],
)
def test_clips_that_differ_anywhere_are_no_duplicates_and_times_make_no_difference(
    make_video, how, where, colour
):
    one = np.full((6, 32, 32, 3), 90, np.uint8)
    other = one.copy()
    other[where] = colour
    pictures = [
        inspect(make_video(name, pixels=pixels, qp="0", **how, **more)).pictures
        for name, pixels, more in (
            ("a.mp4", one, {}),
            ("b.mkv", one, {"rate": 10, "pts": [0, 1, 2, 5, 6, 9]}),
            ("c.mp4", other, {}),
        )
    ]
    assert pictures[0] == pictures[1] != pictures[2]


def test_groups_that_straddle_and_classes_that_train_lacks(tree):
    for number, split in ((1, "train"), (2, "test")):
        shutil.move(
            tree / split / "a" / f"{2 * number - 2}.mp4",
            tree / split / "a" / f"v_a_g07_c0{number}.mp4",
        )
    shutil.rmtree(tree / "train/b")
    straddle, lacks = findings(check(tree)).items()
    assert straddle[0].startswith("group that straddles test and another split")
    assert straddle[1] == ["g07"]
    assert any(note.endswith("--split-by-group") for note in findings(check(tree), fatal=False))
    assert "train has no clip of b (in test), b (in val)" in lacks[0]


# --- leaving out ---------------------------------------------------------------------------------------------------


def test_damaged_clips_are_left_out_by_name_and_never_replaced(tree, clip, monkeypatch):
    clip("set/train/a/short.mp4", 7, frames=1)
    clip("set/train/a/cut.mp4", 8)
    (tree / "train/a/cut.mp4").write_bytes(b"")
    whole = open_data(tree)
    clips = UserClips(str(tree), on_damaged="skip").catalogue()
    # a short one is not damaged
    assert clips.records == tuple(r for r in whole.records if r.id != "train/a/cut")
    assert clips.notes[-1] == "Left out as damaged (1): train/a/cut (empty: the file has 0 bytes)."
    assert UserClips(str(tree)).catalogue() == whole

    monkeypatch.setattr(check_module, "inspect", None)  # no file is opened twice
    assert without_damaged(whole) == clips
    monkeypatch.setattr(check_module, "inspect", inspect)
    (note,) = (paths.cache_dir() / "damaged").glob("*.json")
    note.write_text("[" * 100_000)
    assert without_damaged(whole) == clips
