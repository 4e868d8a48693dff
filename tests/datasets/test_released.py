"""Public data sets open as they are released, in miniature; what does not fit together is refused with file and row."""

import json
import re
import shutil
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import pytest

from kdlab.clips.records import CatalogueError
from kdlab.datasets import released as datasets
from kdlab.datasets.released import ARID_CLASSES, open_data
from kdlab.datasets.user_clips import UserClips
from tests.conftest import table, touch

# --- miniature trees: each returns what the reader should find -----------------------------------------------------


def arid_tree(root, folder="list_cvt", clips="", suffix=".mp4", other="other"):
    """Groups 1 to 3 train, 4 tests, and ``other`` holds a third clip of groups 1 and 4."""
    names = [f"{c}/{c}_{g}_{n}" for c in ARID_CLASSES for g in (1, 2, 3, 4) for n in (1, 2, 3)]
    touch(root / clips, *(name + suffix for name in names))
    table(root / folder / "mapping_table.txt", *(f"{i}\t{c}" for i, c in enumerate(ARID_CLASSES)))
    part_of = {1: "train", 2: "train", 3: "train", 4: "test"}
    parts = {"train": [], "test": [], other: []}
    for name in names:
        group, n = map(int, name.split("_")[1:])
        part = other if n == 3 and group in (1, 4) else part_of[group]
        parts[part].append(
            f"{len(parts[part])}\t{ARID_CLASSES.index(name.split('/')[0])}\t{name}.avi"
        )
    for part, lines in parts.items():
        table(root / folder / f"ARID_split1_{part}.txt", *lines)
    return {"train": 88, "other": 22, "test": 22}


DARK = ("adult_female_singing", "bouncing", "clapping")


def dark48_tree(root):
    """Of each class, source ``yt-x_1`` is in train and test, as in the released draws."""
    train = [f"{c}/{source}.mp4" for c in DARK for source in ("yt-x_1", "abc_5", "d-e_f_77", "g_1")]
    test = [f"{c}/{source}.mp4" for c in DARK for source in ("yt-x_2", "other_3")]
    touch(root, *train, *test)
    table(root / "annotations/classInd.txt", *(f"{i}\t{c}" for i, c in enumerate(DARK)))
    for part, names in (("train", train), ("test", test)):
        table(
            root / f"annotations/{part}_split1.txt",
            *(f"{n} {DARK.index(n.split('/')[0])}" for n in names),
        )
    return {"train": 12, "test": 6}


UCF = ("ApplyEyeMakeup", "Archery", "HandstandPushups")


def ucf_tree(root, folder="HandstandPushups"):
    def names(groups):
        return [
            f"{c}/v_{c.replace('sP', 'SP').replace('Handst', 'HandSt')}_g{g:02}_c{n:02}.avi"
            for c in UCF
            for g in groups
            for n in (1, 2)
        ]

    train = names(range(3, 9))
    test = names((1, 2))
    clips = (name.replace("HandstandPushups/", f"{folder}/") for name in train + test)
    touch(root / "UCF-101", *clips)
    lists = {
        "classInd": [f"{i} {c}" for i, c in enumerate(UCF, 1)],
        "trainlist01": [f"{n} {1 + UCF.index(n.split('/')[0])}" for n in train],
        "testlist01": test,
    }
    for name, lines in lists.items():
        table(root / f"ucfTrainTestlist/{name}.txt", *lines, newline="\r\n")
    return {"train": 36, "test": 12}


HMDB = ("brush_hair", "smile")
HOSTILE = [
    "(Rad)Schlag_die_Bank!",
    "Dog_1&2;rm",
    "#20_Rhythm_clap_u",
    "it's_$HOME_[x]",
    "Ünïcode_-_走る",
    "a b",
]


def hmdb_names(name, group):
    return [f"{source}_{name}_u_nm_np1_ba_goo_{group}.avi" for source in HOSTILE]


def hmdb_tree(root):
    for name in HMDB:
        files = hmdb_names(name, 0) + hmdb_names(name, 1)
        touch(root / "hmdb51_org", *(f"{name}/{file}" for file in files))
        flags = {source: flag for source, flag in zip(HOSTILE, "111120", strict=True)}
        lines = [f"{file} {flags[file.split(f'_{name}_')[0]]} " for file in files]
        table(root / f"testTrainMulti_7030_splits/{name}_test_split1.txt", *lines)
    return {"train": 16, "test": 4}


THUMOS = {"BaseballPitch": 7, "CliffDiving": 22, "Diving": 26}


def thumos_tree(root):
    table(
        root / "Class Index_Detection.txt",
        *(f"{number} {name}" for name, number in THUMOS.items()),
        newline="\r\n",
    )
    database = {}
    for subset, folder, videos in (("train", "validation", range(5)), ("test", "test", (4, 9))):
        for number in videos:
            video = f"video_{folder}_{number:07}"
            touch(root / folder, f"{video}.mp4")
            segments = [(name, i + 0.5, i + 2.25) for i, name in enumerate(THUMOS)] + [
                ("CliffDiving", 2.5, 4.25)
            ]
            database[video] = {
                "subset": subset,
                "annotations": [
                    {"segment": [str(a), str(b)], "label": name} for name, a, b in segments
                ],
            }
    (root / "thumos_gt.json").write_text(json.dumps({"database": database}, indent=0))
    return {"train": 20, "test": 8}


TREES = {
    "arid": (arid_tree, ARID_CLASSES),
    "arid15": (lambda root: arid_tree(root, "list_v1.5"), ARID_CLASSES),
    "dark48": (dark48_tree, DARK),
    "ucf101": (ucf_tree, UCF),
    "hmdb51": (hmdb_tree, HMDB),
    "thumos14": (thumos_tree, tuple(THUMOS)),
}
ALL = sorted(TREES)
LISTED = [name for name in ALL if name != "thumos14"]


@pytest.fixture
def small(monkeypatch):
    """``small(counts)``: miniature counts instead of the published ones."""

    def expect(expected):
        monkeypatch.setattr(
            datasets,
            "DATA_SETS",
            [
                data._replace(counts={fold: expected for fold in data.counts})
                for data in datasets.DATA_SETS
            ],
        )
        return expected

    return expect


@pytest.fixture
def tree(request, tmp_path, small):
    build, classes = TREES[request.param]
    root = tmp_path / "set"
    return SimpleNamespace(
        name=request.param, root=root, expected=small(build(root)), classes=classes
    )


def a_list(root):
    """A list of training clips."""
    patterns = (
        "*/*split1_train.txt",
        "*/train_split1.txt",
        "*/trainlist01.txt",
        "test*/brush_hair*",
        "thumos_gt.json",
    )
    return next(path for pattern in patterns for path in sorted(root.glob(pattern)))


def edit(path, old, new, count=1):
    text = path.read_bytes().decode()
    assert old in text
    path.write_bytes(text.replace(old, new, count).encode())


def refuses(root, message, error=CatalogueError):
    with pytest.raises(error, match=message):
        open_data(root)


# --- what every reader promises ------------------------------------------------------------------------------------


@pytest.mark.parametrize("tree", ALL, indirect=True)
def test_every_set_opens_as_released(tree):
    catalogue = open_data(tree.root)
    catalogue.require()
    assert UserClips(str(tree.root)).catalogue() == catalogue
    assert catalogue.classes == tree.classes
    counts = catalogue.counts().sum()
    assert (counts["train"] + counts["val"], counts["test"]) == (
        tree.expected["train"],
        tree.expected["test"],
    )
    assert (catalogue.counts()["val"] > 0).all()
    groups = {
        split: {r.group for r in catalogue.split(split)} for split in ("train", "val", "test")
    }
    if tree.name != "dark48":
        assert not groups["test"] & (groups["train"] | groups["val"])
    assert not groups["train"] & groups["val"]
    for record in catalogue.records:
        assert record.path.parent.name == catalogue.classes[record.label] or tree.name == "thumos14"


@pytest.mark.parametrize("tree", LISTED, indirect=True)
def test_a_row_with_another_class_is_caught(tree):
    path = a_list(tree.root)
    if tree.name == "hmdb51":
        path.rename(path.with_name("shave_beard_test_split1.txt"))
        return refuses(
            tree.root, "shave_beard_test_split1.txt, row 1: .* does not say its class shave_beard"
        )
    lines = path.read_text().splitlines()
    changes = {
        "arid": ("\t0\t", "\t1\t"),
        "arid15": ("\t0\t", "\t1\t"),
        "dark48": (" 0", " 1"),
        "ucf101": (" 1", " 2"),
    }
    lines[2] = lines[2].replace(*changes[tree.name])
    table(path, *lines)
    refuses(tree.root, rf"{path.name}, row 3: the clip lies in the folder")


@pytest.mark.parametrize("tree", [name for name in ALL if name != "arid15"], indirect=True)
def test_other_counts_than_the_published_ones_are_refused(tree):
    tree.expected["train"] += 1
    found = tree.expected["train"] - 1
    refuses(
        tree.root,
        rf"set \(.*\): the lists name {found} train clips, expected {found + 1}\. Take the lists as",
    )


@pytest.mark.parametrize("tree", ALL, indirect=True)
def test_a_missing_clip_or_list_is_named(tree):
    record = open_data(tree.root).split("train")[0]
    record.path.unlink()
    where = rf"{re.escape(record.path.stem)}.* \(.*(row|annotation) \d+\)"
    refuses(tree.root, rf"set: \d+ of \d+ listed clips are missing: .*{where}", FileNotFoundError)
    path = a_list(tree.root)
    path.unlink()
    if tree.name == "hmdb51":  # one list for each class: the count tells
        return refuses(tree.root, "the lists name 8 train clips, expected 16")
    refuses(tree.root, rf"{path.name}(: missing| in this folder or beside it)", FileNotFoundError)


# --- the peculiarities of each -------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".avi", ".mp4"])
@pytest.mark.parametrize("clips, other", [("", "other"), ("data", "others")])
def test_arid_is_found_as_avi_or_mp4_and_other_is_left_out(tmp_path, small, suffix, clips, other):
    counts = arid_tree(tmp_path, clips=clips, suffix=suffix, other=other)
    small({part: number for part, number in counts.items() if part != "other"})
    catalogue = open_data(tmp_path)
    assert {r.path.suffix for r in catalogue.records} == {suffix}
    assert len(catalogue.records) == counts["train"] + counts["test"]
    assert catalogue.records[0].group == "Drink_1"
    assert any(
        "`other` list shares groups with train and test and is left out" in note
        for note in catalogue.notes
    )


def test_arid15_takes_your_lists_or_makes_own_folds_and_says_so(tmp_path):
    arid_tree(tmp_path, "list_v1.5")
    assert open_data(tmp_path).notes[0] == "The lists are not published ones but yours."
    shutil.rmtree(tmp_path / "list_v1.5")
    folds = [open_data(tmp_path, fold) for fold in "123"]
    assert Counter(r.id for fold in folds for r in fold.split("test")).keys() == {
        r.id for r in folds[0].records
    }
    for fold in folds:
        assert "own folds" in fold.notes[0] and "5,572 clips are reported" in fold.notes[-1]
        assert not {r.group for r in fold.split("test")} & {
            r.group for r in fold.records if r.split != "test"
        }


@pytest.mark.parametrize("folder", ["HandstandPushups", "HandStandPushups"])
def test_ucf_takes_the_class_from_the_folder_however_it_is_spelled(tmp_path, small, folder):
    small(ucf_tree(tmp_path, folder=folder))
    catalogue = open_data(tmp_path / "UCF-101")
    mine = [r for r in catalogue.records if catalogue.classes[r.label] == "HandstandPushups"]
    assert len(mine) == 16 and {r.path.parent.name for r in mine} == {folder}
    assert {r.group for r in catalogue.split("test")} == {"g01", "g02"}


def test_classes_of_hmdb_are_in_alphabetical_order_and_names_may_be_odd(tmp_path, small):
    """By their lists' names `climb_stairs_test…` comes before `climb_test…`."""
    names = ("climb", "climb_stairs", "sword", "sword_exercise")
    for name in names:
        touch(tmp_path / "a/hmdb51_org", f"{name}/a_{name}_u_nm_np1_ba_goo_0.avi")
        table(
            tmp_path / f"a/testTrainMulti_7030_splits/{name}_test_split1.txt",
            f"a_{name}_u_nm_np1_ba_goo_0.avi 1 ",
        )
    small({"train": 4})
    assert open_data(tmp_path / "a").classes == names
    small(hmdb_tree(tmp_path / "b"))
    catalogue = open_data(tmp_path / "b")
    assert {r.path.name for r in catalogue.split("test")} == {
        name
        for c in HMDB
        for g in (0, 1)
        for name in hmdb_names(c, g)
        if name.startswith("Ünïcode")
    }
    assert "smile/it's_$HOME_[x]" in {r.group for r in catalogue.records}


@pytest.mark.parametrize(
    "old, new, message",
    [
        ('"2.25"', '"0.25"', "annotation 0: start '0.5' and end '0.25' are no times"),
        ('"Diving"', '"Swimming"', r"not the ground truth of THUMOS14 .*Swimming"),
        ('"database": ', '"database"', r"not the ground truth of THUMOS14 \(JSONDecodeError"),
    ],
)
def test_a_ground_truth_that_is_wrong(tmp_path, small, old, new, message):
    small(thumos_tree(tmp_path))
    edit(tmp_path / "thumos_gt.json", old, new)
    refuses(tmp_path, f"thumos_gt.json.*{message}")


def test_thumos_has_segments_of_whole_videos(tmp_path, small):
    small(thumos_tree(tmp_path))
    catalogue = open_data(tmp_path)
    one = next(r for r in catalogue.records if r.id == "CliffDiving/video_test_0000004@1.5-3.25")
    assert (one.label, one.start, one.end, one.path.name) == (
        1,
        1.5,
        3.25,
        "video_test_0000004.mp4",
    )
    assert one.group == "video_test_0000004"
    with pytest.raises(CatalogueError, match="THUMOS14 has no split '1'. Its splits are json"):
        open_data(tmp_path, "1")


def test_a_folder_that_cannot_be_read_is_named(tmp_path, small, monkeypatch):
    small(ucf_tree(tmp_path))
    monkeypatch.setattr(
        Path,
        "glob",
        Mock(side_effect=PermissionError(13, "Permission denied", "UCF-101/Archery")),
    )
    refuses(tmp_path, r"UCF-101/Archery cannot be read \(Permission denied\): make it and")


def test_a_clip_that_is_there_twice_is_not_chosen_silently(tmp_path, small):
    small(ucf_tree(tmp_path))
    touch(
        tmp_path,
        "frames/Archery/v_Archery_g03_c01/1.jpg",
        "other/Archery/unlisted.mp4",
        "other/Run/v.mp4",
    )
    assert len(open_data(tmp_path).records) == 48
    touch(tmp_path, "mpeg4/Archery/v_Archery_g03_c01.mp4")
    refuses(tmp_path, r"v_Archery_g03_c01\.\w+: the clip is also there as .*\. Open the folder")
    assert len(open_data(tmp_path / "UCF-101").records) == 48


# --- one function opens them all -----------------------------------------------------------------------------------


def test_lists_beside_the_clips_count_only_for_those_clips(tmp_path, small, monkeypatch):
    small(ucf_tree(tmp_path))
    assert open_data(tmp_path / "UCF-101").name == "UCF-101"
    monkeypatch.chdir(tmp_path / "UCF-101")
    assert open_data(".") == open_data(tmp_path / "UCF-101")
    touch(tmp_path / "mine", *(f"{c}/{i}.mp4" for c in "ab" for i in range(8)))
    assert open_data(tmp_path / "mine").name == "mine"


def test_two_sets_in_one_folder_are_not_guessed_and_an_index_of_your_own_goes_first(tmp_path):
    ucf_tree(tmp_path)
    dark48_tree(tmp_path)
    refuses(tmp_path, "the lists of Dark-48 and of UCF-101. Open the folder of one")
    row = "UCF-101/Archery/v_Archery_g03_c01.avi,mine,train"
    table(tmp_path / "index.csv", "path,label,split", row)
    assert open_data(tmp_path).classes == ("mine",)


def test_lists_without_clips_are_no_silent_fallback(tmp_path, small):
    small(ucf_tree(tmp_path))
    shutil.rmtree(tmp_path / "UCF-101")
    refuses(
        tmp_path,
        "48 of 48 listed clips are missing: Apply.*trainlist01.txt, row 1",
        FileNotFoundError,
    )
