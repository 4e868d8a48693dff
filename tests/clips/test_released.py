"""Public data sets open as they are released, in miniature; what does not fit together is refused with file and row."""

import json
import os
import re
import shutil
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest

from kdlab.clips import released
from kdlab.clips.catalogue import CatalogueError, own_folds
from kdlab.clips.datasets import DATA_SETS, open_data
from kdlab.clips.released import ARID_CLASSES, arid, arid15, coviar, dark48, hmdb51, seen_sources, thumos14, ucf101, ug2
from kdlab.train.recipe import UserClips


def touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(name.encode())


def write(path, lines, newline="\n", encoding="utf-8"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes((newline.join(lines) + newline).encode(encoding))
    return path


# --- miniature trees: each returns what the reader should find -----------------------------------------------------

def arid_tree(root, folder="list_cvt", clips="", suffix=".mp4", other="other"):
    """Groups 1 to 3 train, 4 tests, and ``other`` holds a third clip of groups 1 and 4."""
    names = [f"{c}/{c}_{g}_{n}" for c in ARID_CLASSES for g in (1, 2, 3, 4) for n in (1, 2, 3)]
    touch(root / clips, *(name + suffix for name in names))
    write(root / folder / "mapping_table.txt", [f"{i}\t{c}" for i, c in enumerate(ARID_CLASSES)])
    part_of = {1: "train", 2: "train", 3: "train", 4: "test"}
    parts = {"train": [], "test": [], other: []}
    for name in names:
        group, n = map(int, name.split("_")[1:])
        part = other if n == 3 and group in (1, 4) else part_of[group]
        parts[part].append(f"{len(parts[part])}\t{ARID_CLASSES.index(name.split('/')[0])}\t{name}.avi")
    for part, lines in parts.items():
        write(root / folder / f"ARID_split1_{part}.txt", lines)
    return {"train": 88, "other": 22, "test": 22}


def ug2_tree(root, test=True):
    classes = ARID_CLASSES[5:]
    clips = [(f"{c}/{c}_{g}_{n}.mp4", 5 + i) for i, c in enumerate(classes) for g in (1, 2, 3) for n in (1, 2)]
    touch(root / "train", *(name for name, _ in clips))
    header = "VideoID,Video,ClassID"
    write(root / "ARID1.1_t1_train_pub.csv", [header, *(f"{i},{name},{c}" for i, (name, c) in enumerate(clips))])
    if test:
        touch(root / "test", *(f"{i}.mp4" for i in range(12)))
        write(root / "ARID1.1_t1_test_pub.csv", [header, *(f"{i},{i}.mp4,{5 + i % 6}" for i in range(12))])
    return {"train": 36, "test": 12}


DARK = ("adult_female_singing", "bouncing", "clapping")


def dark48_tree(root):
    """Of each class, source ``yt-x_1`` is in train and test, as in the released draws."""
    train = [f"{c}/{source}.mp4" for c in DARK for source in ("yt-x_1", "abc_5", "d-e_f_77", "g_1")]
    test = [f"{c}/{source}.mp4" for c in DARK for source in ("yt-x_2", "other_3")]
    touch(root, *train, *test)
    write(root / "annotations/classInd.txt", [f"{i}\t{c}" for i, c in enumerate(DARK)])
    for part, names in (("train", train), ("test", test)):
        write(root / f"annotations/{part}_split1.txt", [f"{n} {DARK.index(n.split('/')[0])}" for n in names])
    return {"train": 12, "test": 6}


UCF = ("ApplyEyeMakeup", "Archery", "HandstandPushups")


def ucf_tree(root, clips="UCF-101", folder="HandstandPushups", newline="\r\n", encoding="utf-8"):
    def names(groups):
        return [f"{c}/v_{c.replace('sP', 'SP').replace('Handst', 'HandSt')}_g{g:02}_c{n:02}.avi"
                for c in UCF for g in groups for n in (1, 2)]
    train, test = names(range(3, 9)), names((1, 2))
    touch(root / clips, *(name.replace("HandstandPushups/", f"{folder}/") for name in train + test))
    lists = root / "ucfTrainTestlist"
    index = write(lists / "classInd.txt", [f"{i} {c}" for i, c in enumerate(UCF, 1)], newline, encoding)
    lines = [f"{n} {1 + UCF.index(n.split('/')[0])}" for n in train]
    write(index.with_name("trainlist01.txt"), lines, newline, encoding)
    write(index.with_name("testlist01.txt"), test, newline, encoding)
    return {"train": 36, "test": 12}


HMDB = ("brush_hair", "smile")
HOSTILE = ["(Rad)Schlag_die_Bank!", "Dog_1&2;rm", "#20_Rhythm_clap_u", "it's_$HOME_[x]", "Ünïcode_-_走る", "a b"]


def hmdb_names(name, group):
    return [f"{source}_{name}_u_nm_np1_ba_goo_{group}.avi" for source in HOSTILE]


def hmdb_tree(root, clips="hmdb51_org"):
    for name in HMDB:
        files = hmdb_names(name, 0) + hmdb_names(name, 1)
        touch(root / clips, *(f"{name}/{file}" for file in files))
        flags = {source: flag for source, flag in zip(HOSTILE, "111120", strict=True)}
        lines = [f"{file} {flags[file.split(f'_{name}_')[0]]} " for file in files]
        write(root / f"testTrainMulti_7030_splits/{name}_test_split1.txt", lines)
    return {"train": 16, "test": 4}


def coviar_tree(root, clips="hmdb51/mpeg4_videos"):
    """smile is class 0; the lists say .avi, the re-encoded files are .mp4."""
    for part, groups in (("train", (0, 1, 2)), ("test", (3,))):
        rows = [(f"{name}/{source}_{name}_u_nm_np1_ba_goo_{g}.avi", name, label)
                for label, name in enumerate(("smile", "brush_hair")) for g in groups for source in (f"s{g}", f"t{g}")]
        touch(root / clips, *(name.replace(".avi", ".mp4") for name, _, _ in rows))
        write(root / f"datalists/hmdb51_split1_{part}.txt", [" ".join(map(str, row)) for row in rows])
    return {"train": 12, "test": 4}


THUMOS = {"BaseballPitch": 7, "CliffDiving": 22, "Diving": 26}


def thumos_tree(root):
    write(root / "Class Index_Detection.txt", [f"{number} {name}" for name, number in THUMOS.items()], "\r\n")
    header = "video,type,type_idx,start,end,startFrame,endFrame"
    database = {}
    for prefix, folder, videos in (("val", "validation", range(5)), ("test", "test", (4, 270, 9))):
        lines = [header]
        for number in videos:
            video = f"video_{folder}_{number:07}"
            touch(root / folder, f"{video}.mp4")
            segments = [(name, i + 0.5, i + 2.25) for i, name in enumerate(THUMOS)] + [("CliffDiving", 2.5, 4.25)]
            if number == 9:
                segments = []
            lines += [f"{video},{name},{THUMOS[name]},{a},{b},{int(a * 30)},{int(b * 30)}" for name, a, b in segments]
            lines += [f"{video},Ambiguous,0,10.0,11.0,300,330"] * (number in (1, 9))
            if segments and number != 270:
                annotations = [{"segment": [str(a), str(b)], "label": name} for name, a, b in segments]
                database[video] = {"subset": "test" if prefix == "test" else "train", "annotations": annotations}
        write(root / f"{prefix}_Annotation.csv", lines)
    (root / "thumos_gt.json").write_text(json.dumps({"database": database}))
    return {"train": 20, "test": 8}


def coviar_hmdb(root, split="1", expected=None):
    return coviar(root, "hmdb51", split, expected)


TREES = {
    "arid": (arid_tree, arid, ARID_CLASSES),
    "arid15": (lambda root: arid_tree(root, "list_v1.5"), arid15, ARID_CLASSES),
    "ug2": (ug2_tree, ug2, ARID_CLASSES[5:]), "dark48": (dark48_tree, dark48, DARK), "ucf101": (ucf_tree, ucf101, UCF),
    "hmdb51": (hmdb_tree, hmdb51, HMDB), "coviar": (coviar_tree, coviar_hmdb, ("smile", "brush_hair")),
    "thumos14": (thumos_tree, thumos14, tuple(THUMOS)),
}
ALL = sorted(TREES)
LISTED = [name for name in ALL if name != "thumos14"]


@pytest.fixture
def tree(request, tmp_path):
    build, read, classes = TREES[request.param]
    root = tmp_path / "set"
    return SimpleNamespace(name=request.param, root=root, expected=build(root), read=read, classes=classes)


def a_list(root):
    """A list of training clips."""
    patterns = ("*/*split1_train.txt", "*/train_split1.txt", "*/trainlist01.txt", "test*/brush_hair*", "*train_pub.csv",
                "val_Annotation.csv")
    return next(path for pattern in patterns for path in sorted(root.glob(pattern)))


def edit(path, old, new, count=1):
    text = path.read_bytes().decode()
    assert old in text
    path.write_bytes(text.replace(old, new, count).encode())


def refuses(tree, message, error=CatalogueError):
    with pytest.raises(error, match=message):
        tree.read(tree.root, expected=tree.expected)


# --- what every reader promises ------------------------------------------------------------------------------------

@pytest.mark.parametrize("tree", ALL, indirect=True)
def test_every_set_opens_as_released(tree):
    catalogue = tree.read(tree.root, expected=tree.expected)
    catalogue.require()
    assert catalogue.classes == tree.classes
    counts = catalogue.counts().sum()
    assert (counts["train"] + counts["val"], counts["test"]) == (tree.expected["train"], tree.expected["test"])
    assert (catalogue.counts()["val"] > 0).all()
    groups = {split: {r.group for r in catalogue.split(split)} for split in ("train", "val", "test")}
    if tree.name != "dark48":
        assert not groups["test"] & (groups["train"] | groups["val"])
    assert not groups["train"] & groups["val"]
    assert len({r.id for r in catalogue.records}) == len(catalogue.records)
    assert all(re.search(r"(, row \d+|, annotation \d+)$", r.where) for r in catalogue.records)


@pytest.mark.parametrize("tree", ALL, indirect=True)
def test_label_integrity(tree):
    """The class of every record is the one that its folder, or its row in the table, names."""
    catalogue = tree.read(tree.root, expected=tree.expected)
    for record in catalogue.records:
        name = catalogue.classes[record.label]
        if tree.name == "thumos14" or record.path.parent.name == "test":
            table, row = record.where.rsplit(", row ", 1)
            assert name in Path(table).read_text().splitlines()[int(row) - 1] or tree.name == "ug2"
            if tree.name == "ug2":
                assert f",{ARID_CLASSES.index(name)}" in Path(table).read_text().splitlines()[int(row) - 1]
        else:
            assert record.path.parent.name == name


@pytest.mark.parametrize("tree", [name for name in ALL if name not in ("hmdb51", "ug2")], indirect=True)
def test_a_shuffled_class_map_is_caught(tree):
    """HMDB-51 and UG2+ have no class map among their files."""
    if tree.name == "coviar":  # its map stands in every row
        edit(tree.root / "datalists/hmdb51_split1_test.txt", "smile 0", "smile 1")
        return refuses(tree, "hmdb51_split1_test.txt, row 1: class 1 smile contradicts a row above")
    maps = ("*/mapping_table.txt", "*/classInd.txt", "Class*")
    path = next(path for pattern in maps for path in tree.root.glob(pattern))
    lines = [line.split() for line in path.read_text().splitlines()]
    swapped = [[lines[1][0], lines[0][1]], [lines[0][0], lines[1][1]], *lines[2:]]
    write(path, [" ".join(line) for line in swapped])
    refuses(tree, "row [12]: (the clip lies in the folder .* Lists and class index do not belong together"
                  "|class 7 BaseballPitch is not in the class index)")


@pytest.mark.parametrize("tree", LISTED, indirect=True)
def test_a_row_with_another_class_is_caught(tree):
    path = a_list(tree.root)
    if tree.name == "hmdb51":
        path.rename(path.with_name("shave_beard_test_split1.txt"))
        return refuses(tree, "shave_beard_test_split1.txt, row 1: the name does not say its class shave_beard")
    lines = path.read_text().splitlines()
    changes = {"arid": ("\t0\t", "\t1\t"), "arid15": ("\t0\t", "\t1\t"), "ug2": (",5", ",6"), "dark48": (" 0", " 1"),
               "ucf101": (" 1", " 2"), "coviar": ("smile 0", "smile 1")}
    row = 1 if tree.name == "ug2" else 2
    lines[row] = lines[row].replace(*changes[tree.name])
    write(path, lines)
    refuses(tree, rf"{path.name}, row {row + 1}: (the clip lies in the folder|class 1 smile contradicts)")


@pytest.mark.parametrize("tree", [name for name in LISTED if name not in ("coviar", "hmdb51")], indirect=True)
def test_an_unknown_class_is_named(tree):
    path = a_list(tree.root)
    lines = path.read_text().splitlines()
    lines[1] = re.sub(r"(?<=[\t, ])(?:0|1|5)(?=\t|$)(?!\tDrink_)", "77", lines[1].rstrip())
    write(path, lines)
    refuses(tree, rf"{path.name}, row 2: unknown class '77'; the classes are {tree.classes[0]}")


@pytest.mark.parametrize("tree", [name for name in ALL if name != "arid15"], indirect=True)
def test_the_published_counts_are_expected_and_a_mismatch_is_loud(tree):
    told = r"the lists name \d+ \w+ clips, expected \d+.* Take the lists as they were released; .* write an index.csv"
    with pytest.raises(CatalogueError, match=told):
        tree.read(tree.root)
    tree.expected["train"] += 1
    found = tree.expected["train"] - 1
    refuses(tree, rf"set \(.*\): the lists name {found} train clips, expected {found + 1}\.")


def test_the_expected_counts_are_those_of_the_method_reference():
    sums = {split: sum(counts.values()) for split, counts in released.ARID_COUNTS.items()}
    assert sums == {"1": 3784, "2": 3784, "3": 3784} and released.ARID15_CLIPS == 5572
    assert released.ARID_COUNTS == {"1": {"train": 2288, "other": 673, "test": 823},
                                    "2": {"train": 2252, "other": 673, "test": 859},
                                    "3": {"train": 2259, "other": 673, "test": 852}}
    assert released.UG2_COUNTS == {"1": {"train": 1837, "test": 1289}}
    assert [list(c.values()) for c in released.UCF_COUNTS.values()] == [[9537, 3783], [9586, 3734], [9624, 3696]]
    assert {sum(c.values()) for c in released.UCF_COUNTS.values()} == {13320}
    assert all(c == {"train": 7052, "test": 1763} for c in released.DARK48_COUNTS.values()) and 7052 + 1763 == 8815
    assert all(c == {"train": 3570, "test": 1530} for c in released.HMDB_COUNTS.values())
    assert (released.THUMOS_VIDEOS, released.THUMOS_SEGMENTS) == (
        {"csv": {"train": 200, "test": 212}, "json": {"train": 200, "test": 210}},
        {"csv": {"train": 3007, "test": 3358}, "json": {"train": 3007, "test": 3311}})


@pytest.mark.parametrize("tree", ALL, indirect=True)
def test_an_unpublished_split_is_refused(tree):
    if tree.name == "arid15":
        with pytest.raises(FileNotFoundError, match=r"ARID_split7_train.txt: no such file"):
            arid15(tree.root, "7")
    else:
        with pytest.raises(CatalogueError, match="no split '7': the published ones are (1|csv)"):
            tree.read(tree.root, "7")


@pytest.mark.parametrize("tree", ALL, indirect=True)
def test_a_missing_clip_is_named_with_its_row(tree):
    record = tree.read(tree.root, expected=tree.expected).split("train")[0]
    record.path.unlink()
    where = rf"{re.escape(record.path.stem)}.* \(.*(row|annotation) \d+\)"
    refuses(tree, rf"set: \d+ of \d+ listed clips are missing: .*{where}", FileNotFoundError)


@pytest.mark.parametrize("tree", ALL, indirect=True)
def test_a_missing_list_is_named(tree):
    path = a_list(tree.root)
    path.unlink()
    if tree.name == "hmdb51":  # one list for each class: the count tells
        return refuses(tree, "the lists name 8 train clips, expected 16")
    refuses(tree, rf"{path.name}(: no such file| in this folder or beside it)", FileNotFoundError)


@pytest.mark.parametrize("tree", [name for name in LISTED if name != "arid15"], indirect=True)
def test_without_the_lists_it_is_said_where_they_belong(tree):
    path = a_list(tree.root)
    path.unlink() if path.parent == tree.root else shutil.rmtree(path.parent)
    refuses(tree, r"set: no .* in this folder or beside it\. Put the released lists there; `kdlab data list` shows",
            FileNotFoundError)


@pytest.mark.parametrize("tree", ALL, indirect=True)
def test_a_clip_listed_twice_is_refused(tree):
    path = a_list(tree.root)
    lines = path.read_text().splitlines()
    write(path, [*lines, lines[1]])
    part = {"train": tree.expected["train"] + 1, "test": tree.expected["test"]}
    with pytest.raises(CatalogueError, match=rf"{path.name}, row {len(lines) + 1}: .* stands in .*, row 2 already"):
        tree.read(tree.root, expected=part)


@pytest.mark.parametrize("tree", ["arid", "ug2", "dark48", "ucf101", "coviar"], indirect=True)
@pytest.mark.parametrize("prefix", ["/data/", "../", "C:\\clips\\"])
def test_paths_that_leave_the_tree_are_refused(tree, prefix):
    path = a_list(tree.root)
    lines = path.read_text().splitlines()
    name = re.search(r"[\w-]+/[\w.-]+", lines[1])[0]
    lines[1] = lines[1].replace(name, prefix + name)
    write(path, lines)
    refuses(tree, rf"{path.name}, row 2: .*{name.split('/')[0]}.* is an absolute path or leads upwards")


@pytest.mark.parametrize("tree", LISTED, indirect=True)
def test_a_clip_may_be_a_link_and_no_pipe(tree):
    catalogue = tree.read(tree.root, expected=tree.expected)
    path = catalogue.split("train")[0].path
    path.rename(tree.root.parent / path.name)
    path.symlink_to(tree.root.parent / path.name)
    assert tree.read(tree.root, expected=tree.expected) == catalogue
    path.unlink()
    os.mkfifo(path)
    refuses(tree, rf"{path.name} is no file but a named pipe" if tree.name == "arid15" else
            rf"row \d+: .*{path.name} is no file but a named pipe")


@pytest.mark.parametrize("tree", ["arid", "dark48", "ucf101", "hmdb51", "coviar"], indirect=True)
def test_a_list_with_other_cells_is_refused(tree):
    path = a_list(tree.root)
    lines = path.read_text().splitlines()
    write(path, [lines[0], "alone", *lines[2:]])
    refuses(tree, rf"{path.name}, row 2: 'alone' has 1 cells, expected [23]")
    write(path, [""])
    refuses(tree, rf"{path.name}: an empty list")


# --- the peculiarities of each -------------------------------------------------------------------------------------

def test_lists_with_a_mark_and_any_line_ends_are_read(tmp_path):
    plain, marked = tmp_path / "plain", tmp_path / "marked"
    expected = ucf_tree(plain, newline="\n")
    ucf_tree(marked, newline="\r\n", encoding="utf-8-sig")
    assert [r.id for r in ucf101(plain, expected=expected).records] == [
        r.id for r in ucf101(marked, expected=expected).records]


@pytest.mark.parametrize("suffix", [".avi", ".mp4"])
@pytest.mark.parametrize(("clips", "other"), [("", "other"), ("data", "others")])
def test_arid_is_found_as_avi_or_mp4_and_other_is_left_out(tmp_path, suffix, clips, other):
    expected = arid_tree(tmp_path, clips=clips, suffix=suffix, other=other)
    catalogue = arid(tmp_path, expected=expected)
    assert {r.path.suffix for r in catalogue.records} == {suffix}
    assert len(catalogue.records) == expected["train"] + expected["test"]
    assert catalogue.records[0].group == "Drink_1"
    assert any("`other` list shares groups with train and test and is left out" in note for note in catalogue.notes)


@pytest.mark.parametrize("below", ["clips_v1.5", "release/clips_v1.5"])
def test_arid15_is_known_up_to_two_folders_down_as_other_sets_are(tmp_path, below):
    root = tmp_path / "arid15"
    touch(root, *(f"{below}/{c}/{c}_{g}_{n}.mp4" for c in ARID_CLASSES for g in (1, 2, 3, 4) for n in (1, 2)), "README")
    found = open_data(root, "2")
    assert found.name == "ARID v1.5" and found.root == root / below and len(found.records) == 88
    assert found.fingerprint() == open_data(root / below, "2").fingerprint()
    touch(root, "bright/Drink_1_1.mp4")  # then these may be two classes of somebody's
    assert open_data(root).classes == ("bright", below.split("/")[0])


def test_a_split_of_somebodys_arid_is_not_taken_for_the_whole(tmp_path):
    touch(tmp_path, *(f"train/{c}/{c}_{g}_{n}.mp4" for c in ARID_CLASSES for g in (1, 2, 3, 4) for n in (1, 2)))
    assert open_data(tmp_path).name != "ARID v1.5"
    touch(tmp_path, "test/Drink/Drink_9_1.mp4", "test/Jump/Jump_9_1.mp4")
    assert len(open_data(tmp_path).split("test")) == 2


def test_arid15_takes_your_lists_or_makes_own_folds_and_says_so(tmp_path):
    arid_tree(tmp_path, "list_v1.5")
    catalogue = arid15(tmp_path)
    assert catalogue.notes == ("The lists are not published ones but yours.", "110 clips, where 5572 are reported for "
                               "ARID v1.5 (second-hand: no list is published).")
    shutil.rmtree(tmp_path / "list_v1.5")
    folds = [open_data(tmp_path, fold) for fold in "123"]
    assert Counter(r.id for fold in folds for r in fold.split("test")).keys() == {r.id for r in folds[0].records}
    for fold in folds:
        assert "own folds" in fold.notes[0] and "132 clips, where 5572" in fold.notes[-1]
        assert not {r.group for r in fold.split("test")} & {r.group for r in fold.records if r.split != "test"}


def test_ug2_without_the_copied_labels_is_an_own_split(tmp_path):
    assert any("third party" in note for note in ug2(tmp_path, expected=ug2_tree(tmp_path)).notes)
    (tmp_path / "ARID1.1_t1_test_pub.csv").unlink()
    catalogue = ug2(tmp_path, expected={"train": 36, "test": 12})
    assert "own split by groups" in catalogue.notes[0] and len(catalogue.records) == 36
    assert (catalogue.counts()["test"] > 0).all()
    assert not {r.group for r in catalogue.split("test")} & {r.group for r in catalogue.records if r.split != "test"}


def test_dark48_names_the_test_clips_of_seen_videos(tmp_path):
    catalogue = dark48(tmp_path, expected=dark48_tree(tmp_path))
    assert seen_sources(catalogue) == {f"{name}/yt-x_2" for name in DARK}
    assert {r.group for r in catalogue.records} == {"yt-x", "abc", "d-e_f", "g", "other"}
    assert any("random draws" in note for note in catalogue.notes)
    assert any("both in test and outside it" in note for note in catalogue.notes)


@pytest.mark.parametrize("folder", ["HandstandPushups", "HandStandPushups"])
def test_ucf_takes_the_class_from_the_folder_however_it_is_spelled(tmp_path, folder):
    catalogue = ucf101(tmp_path / "UCF-101", expected=ucf_tree(tmp_path, folder=folder))
    mine = [r for r in catalogue.records if catalogue.classes[r.label] == "HandstandPushups"]
    assert len(mine) == 16 and {r.path.parent.name for r in mine} == {folder}
    assert all(r.path.name.startswith("v_HandStandPushups_") for r in mine)
    assert {r.group for r in catalogue.split("test")} == {"g01", "g02"}


def test_a_test_clip_of_an_unknown_folder_is_refused(tmp_path):
    expected = ucf_tree(tmp_path)
    edit(tmp_path / "ucfTrainTestlist/testlist01.txt", "Archery/", "Archerie/")
    with pytest.raises(CatalogueError, match="testlist01.txt, row 5: unknown class 'Archerie'"):
        ucf101(tmp_path, expected=expected)


def test_classes_of_hmdb_are_in_alphabetical_order(tmp_path):
    """By their lists' names `climb_stairs_test…` comes before `climb_test…`."""
    names = ("climb", "climb_stairs", "sword", "sword_exercise")
    for name in names:
        touch(tmp_path / "hmdb51_org", f"{name}/a_{name}_u_nm_np1_ba_goo_0.avi")
        write(tmp_path / f"testTrainMulti_7030_splits/{name}_test_split1.txt", [f"a_{name}_u_nm_np1_ba_goo_0.avi 1 "])
    assert hmdb51(tmp_path, expected={"train": 4}).classes == names


def test_hmdb_names_hostile_to_shells_are_only_names(tmp_path):
    catalogue = hmdb51(tmp_path, expected=hmdb_tree(tmp_path))
    assert {r.path.name for r in catalogue.split("test")} == {
        name for c in HMDB for g in (0, 1) for name in hmdb_names(c, g) if name.startswith("Ünïcode")}
    assert not any(r.path.name.startswith("a b") for r in catalogue.records)  # flag 0
    assert "smile/it's_$HOME_[x]" in {r.group for r in catalogue.records}
    edit(tmp_path / "testTrainMulti_7030_splits/smile_test_split1.txt", " 2 ", " 3 ")
    with pytest.raises(CatalogueError, match=r"smile_test_split1.txt, row 5: flag '3', expected 1 \(train\), 2 "):
        hmdb51(tmp_path)


def test_coviar_keeps_its_own_order_of_classes(tmp_path):
    catalogue = coviar(tmp_path, "hmdb51", expected=coviar_tree(tmp_path))
    assert catalogue.classes == ("smile", "brush_hair")
    assert {r.path.suffix for r in catalogue.records} == {".mp4"}
    assert any("never mix its class numbers" in note for note in catalogue.notes)
    for part in ("train", "test"):
        edit(tmp_path / f"datalists/hmdb51_split1_{part}.txt", "brush_hair 1", "brush_hair 2", -1)
    with pytest.raises(CatalogueError, match=r"hmdb51_split1_test.txt, row 4: there is no class 1\."):
        coviar(tmp_path, "hmdb51", expected={})


def test_coviars_folders_open_as_its_scripts_leave_them(tmp_path):
    """``data/datalists`` beside ``data/hmdb51``, in which the originals lie next to the re-encoded clips."""
    expected = coviar_tree(tmp_path)
    for part in ("train", "test"):
        for line in (tmp_path / f"datalists/hmdb51_split1_{part}.txt").read_text().splitlines():
            touch(tmp_path, f"hmdb51/videos/{line.split()[0]}")
    for root in (tmp_path, tmp_path / "hmdb51", tmp_path / "hmdb51/mpeg4_videos"):
        catalogue = coviar(root, "hmdb51", expected=expected)
        assert [r.path.parent.parent.name for r in catalogue.records] == 16 * ["mpeg4_videos"]
    ids = {r.id for r in catalogue.records}
    shutil.rmtree(tmp_path / "hmdb51/mpeg4_videos")
    elsewhere = coviar(tmp_path / "hmdb51", "hmdb51", expected=expected)  # transcoded under a name of your own
    assert {r.id for r in elsewhere.records} == ids


@pytest.mark.parametrize(("line", "wrong", "message"), [
    (2, "smile/s0_smile_u_nm_np1_ba_goo_0.avi smile zero", "row 3: 'zero' is no class number"),
    (0, "smile/s0_smile_u_nm_np1_ba_goo_0.avi 0", "row 1: .* has 2 cells, expected 3"),
    (1, "frown/s0_smile_u_nm_np1_ba_goo_0.avi smile 0", "row 2: the clip lies in the folder frown"),
    (3, "smile/s9_smile_u_nm_np1_ba_goo_9.avi smile 0", r"1 of 16 listed clips are missing: .*train.txt, row 4\)"),
    (4, "../smile/s0_smile_u_nm_np1_ba_goo_0.avi smile 0", "row 5: .* is an absolute path or leads upwards"),
])
def test_a_bad_line_of_coviars_lists_is_named(tmp_path, line, wrong, message):
    expected = coviar_tree(tmp_path)
    path = tmp_path / "datalists/hmdb51_split1_train.txt"
    lines = path.read_text().splitlines()
    write(path, [*lines[:line], wrong, *lines[line + 1 :]])
    with pytest.raises((CatalogueError, FileNotFoundError), match=f"(hmdb51_split1_train.txt, )?{message}") as caught:
        coviar(tmp_path, "hmdb51", expected=expected)
    assert "hmdb51_split1_train.txt, row" in str(caught.value)


def test_thumos_has_two_ground_truths_and_names_which(tmp_path):
    expected = thumos_tree(tmp_path)
    tables = thumos14(tmp_path, expected=expected)
    assert tables.notes[0] == "Ground truth: csv, 2 test videos with 8 segments; 2 Ambiguous ones are left out."
    scored = thumos14(tmp_path, "json", expected={"train": 20, "test": 4})
    assert scored.notes[0].startswith("Ground truth: json, 1 test videos with 4 segments;")
    assert {r.group for r in tables.split("test")} - {r.group for r in scored.split("test")} == {"video_test_0000270"}
    kept = {(r.id, r.label, r.split, r.start, r.end) for r in scored.records}
    assert kept < {(r.id, r.label, r.split, r.start, r.end) for r in tables.records}
    one = next(r for r in tables.records if r.id == "CliffDiving/video_test_0000004@1.5-3.25")
    assert (one.label, one.start, one.end, one.path.name) == (1, 1.5, 3.25, "video_test_0000004.mp4")


def test_thumos_counts_videos_too(tmp_path, monkeypatch):
    monkeypatch.setattr(released, "THUMOS_SEGMENTS", {"csv": thumos_tree(tmp_path)})
    monkeypatch.setattr(released, "THUMOS_VIDEOS", {"csv": {"train": 5, "test": 3}})
    with pytest.raises(CatalogueError, match=r"videos of THUMOS14\): the lists name 2 test clips, expected 3"):
        thumos14(tmp_path)


@pytest.mark.parametrize(("old", "new", "message"), [
    ("BaseballPitch,7", "BaseballPitch,8", "row 2: class 8 BaseballPitch is not in the class index"),
    ("Diving,26,2.5,4.25", "Diving,26,2.5,1.0", "row 4: end 1 s is not after start 2.5 s"),
    ("Diving,26,2.5,4.25", "Diving,26,x,4.25", "row 4: start 'x' is not a time in seconds"),
    ("type_idx", "index", "row 1: no column type_idx"),
])
def test_thumos_tables_that_are_wrong(tmp_path, old, new, message):
    thumos_tree(tmp_path)
    edit(tmp_path / "val_Annotation.csv", old, new)
    with pytest.raises(CatalogueError, match=rf"val_Annotation.csv, {message}"):
        thumos14(tmp_path)


@pytest.mark.parametrize(("old", "new", "message"), [
    ('"Diving"', '"Swimming"', "video_validation_0000000, annotation 2: class Swimming in subset train is unknown"),
    ('"train"', '"dev"', "annotation 0: class BaseballPitch in subset dev is unknown"),
    ('"segment"', '"times"', r"not the ground truth of THUMOS14 \(KeyError"),
    ('{"database": ', '{"database"', r"not the ground truth of THUMOS14 \(JSONDecodeError"),
    ('["0.5", "2.25"]', '["0.5"]', r"not the ground truth of THUMOS14 \(ValueError"),
])
def test_a_thumos_json_that_is_wrong(tmp_path, old, new, message):
    thumos_tree(tmp_path)
    edit(tmp_path / "thumos_gt.json", old, new)
    with pytest.raises(CatalogueError, match=f"thumos_gt.json.*{message}"):
        thumos14(tmp_path, "json")


def test_a_clip_that_is_there_twice_is_not_chosen_silently(tmp_path):
    expected = ucf_tree(tmp_path)
    touch(tmp_path, "frames/Archery/v_Archery_g03_c01/1.jpg", "other/Archery/unlisted.mp4", "other/Run/v.mp4")
    assert len(ucf101(tmp_path, expected=expected).records) == 48
    touch(tmp_path, "mpeg4/Archery/v_Archery_g03_c01.mp4")
    with pytest.raises(CatalogueError, match=r"v_Archery_g03_c01\.\w+: the clip is also there as .*\. Open the folder"):
        ucf101(tmp_path, expected=expected)
    assert len(ucf101(tmp_path / "UCF-101", expected=expected).records) == 48


# --- one function opens them all -----------------------------------------------------------------------------------

@pytest.fixture
def small(monkeypatch):
    """The miniature counts instead of the published ones."""
    def expect(expected):
        monkeypatch.setattr(released, "published", lambda counts, split: expected)
        monkeypatch.setattr(released, "THUMOS_VIDEOS", {"csv": {}})
    return expect


@pytest.mark.parametrize("tree", ALL, indirect=True)
def test_open_data_knows_every_layout(tree, small):
    small(tree.expected)
    opened = open_data(tree.root)
    assert opened == tree.read(tree.root)
    assert UserClips(str(tree.root)).catalogue() == opened
    assert open_data(tree.root, "csv" if tree.name == "thumos14" else "1") == opened
    mine = own_folds(opened, 2) if tree.name not in ("thumos14", "dark48") else opened
    assert mine == opened or "own folds" in mine.notes[0]


def test_lists_beside_the_clips_count_only_for_those_clips(tmp_path, small, monkeypatch):
    small(ucf_tree(tmp_path))
    assert open_data(tmp_path / "UCF-101").name == "UCF-101"
    monkeypatch.chdir(tmp_path / "UCF-101")
    assert open_data(".") == open_data(tmp_path / "UCF-101")
    touch(tmp_path / "mine", *(f"{c}/{i}.mp4" for c in "ab" for i in range(8)))
    assert open_data(tmp_path / "mine").name == "mine"
    with pytest.raises(CatalogueError, match="mine: test_fold='2' needs an index.csv"):
        open_data(tmp_path / "mine", "2")


def test_two_sets_in_one_folder_are_not_guessed(tmp_path, small):
    small(ucf_tree(tmp_path))
    dark48_tree(tmp_path)
    with pytest.raises(CatalogueError, match="the lists of Dark-48 and of UCF-101. Open the folder of one"):
        open_data(tmp_path)


def test_an_index_of_your_own_goes_first(tmp_path):
    ucf_tree(tmp_path)
    write(tmp_path / "index.csv", ["path,label,split", "UCF-101/Archery/v_Archery_g03_c01.avi,mine,train"])
    assert open_data(tmp_path).classes == ("mine",)
    assert open_data(tmp_path / "index.csv").classes == ("mine",)


def test_lists_without_clips_are_no_silent_fallback(tmp_path, small):
    small(ucf_tree(tmp_path))
    shutil.rmtree(tmp_path / "UCF-101")
    with pytest.raises(FileNotFoundError, match="48 of 48 listed clips are missing: Apply.*trainlist01.txt, row 1"):
        open_data(tmp_path)


def test_the_table_of_data_sets_says_where_each_belongs():
    assert [data.title.split()[0].rstrip(",") for data in DATA_SETS] == [
        "ARID", "ARID", "ARID", "Dark-48", "UCF-101", "HMDB-51", "THUMOS14", "UCF-101", "HMDB-51"]
    for data in DATA_SETS:
        assert data.remark and data.folders and data.lists and data.clips and data.splits
