"""A user's clips open with one line, and what is wrong with them is said with file, row and mend."""

import os
import sys
import unicodedata
from collections import Counter
from pathlib import Path

import pytest

from kdlab.clips.records import Catalogue, CatalogueError, ClipRecord
from kdlab.datasets.catalogue import from_csv, from_folder, group_from_name
from kdlab.datasets.check import check
from kdlab.datasets.released import open_data
from kdlab.datasets.splits import own_folds, shared_groups
from kdlab.datasets.user_clips import UserClips
from tests.conftest import table, touch


def refuses(message, read, *given):
    with pytest.raises(CatalogueError, match=message):
        read(*given)


# --- folders -------------------------------------------------------------------------------------------------------


def test_class_folders(tmp_path):
    root = touch(
        tmp_path / "mine",
        *(
            f"{c}/{i:02}{s}"
            for c in ("Run", "Jump")
            for i, s in enumerate([".mp4", ".AVI", ".mkv", ".mov", ".webm", ".m4v", ".mp4", ".mp4"])
        ),
        "Run/notes.txt",
        "Run/._00.mp4",
        ".git/x.mp4",
        "Run/sub/deep.mp4",
    )
    catalogue = open_data(root)
    assert (catalogue.name, catalogue.classes) == ("mine", ("Jump", "Run"))
    assert [r.id for r in catalogue.records[:2]] == ["Jump/00", "Jump/01"]
    assert "Run/sub/deep" in {r.id for r in catalogue.records}
    assert len(catalogue.records) == 17
    assert catalogue.counts().loc["Jump"].to_dict() == {"train": 5, "val": 1, "test": 2}
    assert any("Each clip is its own group" in note for note in catalogue.notes)
    catalogue.require()


def test_split_folders_are_kept_and_a_missing_val_is_carved(tmp_path):
    root = touch(
        tmp_path,
        *(f"{s}/{c}/{i}.mp4" for s in ("Train", "test") for c in "ab" for i in range(10)),
        "extra/a/1.mp4",
    )
    catalogue = from_folder(root)
    assert catalogue.classes == ("a", "b")
    assert catalogue.counts().loc["a"].to_dict() == {"train": 8, "val": 2, "test": 10}
    assert {r.id.split("/")[0] for r in catalogue.split("test")} == {"test"}
    assert any("extra" in note for note in catalogue.notes)
    touch(root, "validation/a/1.mp4", "validation/b/1.mp4")
    assert [r.id for r in from_folder(root).split("val")] == ["validation/a/1", "validation/b/1"]


@pytest.mark.parametrize(
    "id_, label, group",
    [
        ("Jump/Jump_8_1", "Jump", "Jump_8"),
        ("jump/Jump_8_12", "jump", "jump_8"),
        ("ApplyLipstick/v_ApplyLipstick_g07_c02", "ApplyLipstick", "g07"),
        ("train/walk/walk_03_2", "walk", "walk_03"),
        ("Walk/cam_2023_01", "Walk", "Walk/cam_2023_01"),
        ("Walk/0001", "Walk", "Walk/0001"),
    ],
)
def test_groups_are_read_from_usual_names_only(id_, label, group):
    assert group_from_name(id_, label) == group


def test_paths_that_are_nothing(tmp_path):
    for gone in (tmp_path / "gone", "~nobody_gone/clips"):
        with pytest.raises(FileNotFoundError, match="gone"):
            open_data(gone)
    for files in ([], ["Run/a.txt"], ["b.mp4"], ["train/c.mp4", "test/d.mp4"]):
        refuses(
            "one subfolder of videos",
            open_data,
            touch(tmp_path / f"{len(files)}{files[:1]}".replace("/", ""), ".x", *files),
        )
    refuses(
        "test_fold='A' needs an index.csv",
        open_data,
        touch(tmp_path / "set", "Run/a.mp4"),
        "A",
    )


# --- tables --------------------------------------------------------------------------------------------------------


def test_a_table_with_splits_groups_and_times(tmp_path):
    path = table(
        tmp_path / "set" / "index.csv",
        "Path, LABEL ,split,group,start,end",
        "long.mp4,run,train,ann,0,2.5",
        "long.mp4,jump,train,ann,2.5,4",
        "b\\c.avi,run,val,bob,,",
        "d.mp4,run,test,cy,1,",
        encoding="utf-8-sig",
        newline="\r\n",
    )
    catalogue = open_data(tmp_path / "set")
    assert catalogue == open_data(path)
    assert (catalogue.name, catalogue.classes) == ("set", ("jump", "run"))
    assert [note.split(",")[0] for note in catalogue.notes] == [
        "No val clips for jump",
        "No test clips for jump",
    ]
    assert {r.id: (r.split, r.group, r.start, r.end) for r in catalogue.records} == {
        "long@0-2.5": ("train", "ann", 0.0, 2.5),
        "long@2.5-4": ("train", "ann", 2.5, 4.0),
        "b/c": ("val", "bob", None, None),
        "d@1-": ("test", "cy", 1.0, None),
    }
    assert {r.path for r in catalogue.records} == {
        path.parent / name for name in ("long.mp4", "b/c.avi", "d.mp4")
    }
    refuses("It has no `fold` column", open_data, path, "A")


def test_folds(tmp_path):
    path = table(
        tmp_path / "index.csv",
        "path,label,fold,group",
        *(
            f"{c}/{g}_{k}.mp4,{c},{'AB'[g % 2]},{c}{g}"
            for c in ("run", "jump")
            for g in range(6)
            for k in range(4)
        ),
    )
    assert {r.group[-1] for r in open_data(tmp_path).split("test")} == set("135")
    catalogue = open_data(path, "A")
    assert {r.group[-1] for r in catalogue.split("test")} == set("024")
    assert catalogue.counts().loc["run"].to_dict() == {"train": 8, "val": 4, "test": 12}
    refuses(r"no fold 0. .* column has: \['A', 'B'\]", open_data, path, 0)


@pytest.mark.parametrize(
    "lines, message",
    [
        (
            ["path;label", "a.mp4;x"],
            r"row 1: no column path and no column label \(found: path;label\)",
        ),
        (["path,label", "a\0b.mp4,x"], "not a UTF-8 text"),
        (
            ["path,label", "https://x.example/a.mp4,x"],
            "row 2: .* is a web address. Download the file first",
        ),
        (["path,label"], "a header but no rows"),
        (["path,label", "a.mp4,x", "b, c.mp4,x"], "row 3: 2 cells expected"),
        (["path,label", "a.mp4,x", "b.mp4,"], "row 3: the label is empty"),
        (
            ["path,label,split", "a.mp4,x,train", "b.mp4,x,tset"],
            "row 3: unknown split 'tset'. Write train, val or test",
        ),
        (["path,label,end", "a.mp4,x,nan"], "row 2: start .* and end 'nan' are no times"),
        (
            ["path,label,start,end", "a.mp4,x,3,2"],
            "row 2: start '3' and end '2' are no times in seconds",
        ),
        (
            ["path,label,split,group", "a.mp4,x,train,g", "b.mp4,x,test,g"],
            "group g both in test and outside it",
        ),
        (["path,label,label", "a.mp4,x,y"], "row 1: two columns of one name"),
        (
            ["path,label", "a.mp4,x", "/data/b.mp4,x"],
            "row 3: /data/b.mp4 is an absolute path or leads upwards",
        ),
        (["path,label", '"say "hi".mp4",x'], "row 2: the quotes do not match"),
    ],
)
def test_a_wrong_table_names_file_row_and_mend(tmp_path, lines, message):
    path = table(tmp_path / "bad.csv", *lines)
    refuses(f"bad.csv.*{message}", from_csv, path)


def test_a_missing_file_is_named_with_its_row(tmp_path):
    path = table(
        touch(tmp_path, "a.mp4", "c.mp4") / "a.csv", "path,label", "a.mp4,x", "b.mp4,x", "c.mp4,x"
    )
    with pytest.raises(FileNotFoundError, match=r"b\.mp4 \(.*a\.csv, row 3\): missing.*\. Restore"):
        from_csv(path).require()


@pytest.mark.parametrize("link", ["x/b.mp4", "y"])
def test_files_and_folders_may_be_links_to_anywhere(tmp_path, link):
    root = touch(tmp_path / "mine", "x/a.mp4", "x/c.mp4")
    outside = touch(tmp_path / "elsewhere", "b.mp4")
    (root / link).symlink_to(outside / "b.mp4" if link.endswith("mp4") else outside)
    file = link if link.endswith("mp4") else "y/b.mp4"
    path = table(root / "a.csv", "path,label", "x/a.mp4,x", f"{file},x")
    assert from_csv(path).records[1].path == root / file
    assert {r.id for r in from_folder(root).records} == {"x/a", "x/c", file.removesuffix(".mp4")}
    (tmp_path / "link").symlink_to(root)
    assert from_folder(tmp_path / "link").fingerprint() == from_folder(root).fingerprint()


# --- what is no clip -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loop", ["Run/up", "Run/sub/up", "here"])
def test_links_that_lead_round_are_refused(tmp_path, loop):
    root = touch(tmp_path / "set", "Run/sub/a.mp4", "Jump/b.mp4")
    (root / loop).symlink_to(root, target_is_directory=True)
    refuses(r"(up|here): this link leads to .*set, which is .*set already", open_data, root)


@pytest.mark.parametrize("empty", ["", " ", Path(""), "\t"])
def test_an_empty_path_is_not_the_current_folder(tmp_path, monkeypatch, empty):
    monkeypatch.chdir(touch(tmp_path, "a/1.mp4", "b/2.mp4"))
    if empty == Path(""):  # which is the same as Path(".")
        assert len(open_data(empty).records) == 2
        return
    for read in (open_data, check):
        refuses("the path of the clips is empty", read, empty)


# --- labels and class folders --------------------------------------------------------------------------------------


@pytest.mark.parametrize("label", ["NaN", "-", "\u200b"])
def test_labels_that_are_no_names(tmp_path, label):
    refuses(
        "row 3: the label .* is no name but what stands in an empty cell",
        from_csv,
        table(tmp_path / "a.csv", "path,label", "1.mp4,x", f'2.mp4,"{label}"'),
    )


@pytest.mark.parametrize(
    "one, other",
    [
        ("Run", "run"),
        ("run", "run\u200b"),
        ("run fast", "run\u00a0fast"),
        ("\uff52un", "run"),
        ("stra\u00dfe", "STRASSE"),
        ("7", "007"),
        ("7.0", "7"),
        ("00", "0"),
    ],
)
def test_two_spellings_of_one_label(tmp_path, one, other):
    refuses(
        "row 3: the label .* is spelled .* elsewhere. Choose one",
        from_csv,
        table(tmp_path / "a.csv", "path,label", f"1.mp4,{one}", f"2.mp4,{other}"),
    )
    root = touch(tmp_path / "set", f"{one}/1.mp4", f"{other}/2.mp4")
    if len(list(root.iterdir())) == 2:  # not so where the file system takes them for one
        refuses("is spelled .* elsewhere. Choose one", from_folder, root)


@pytest.mark.parametrize("column", ["group", "fold"])
def test_two_spellings_of_one_group_do_not_part_it(tmp_path, column):
    """Person 7 would be trained on as 7 and tested as 007."""
    path = table(
        tmp_path / "a.csv", f"path,label,{column}", "1.mp4,x,7", "2.mp4,y,8", "3.mp4,x,007"
    )
    refuses(rf"row 4: the {column} 007 is spelled 7 elsewhere. Choose one", from_csv, path)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_a_name_that_is_no_utf8_is_told(tmp_path):
    refuses(
        r"the name 'caf\\udce9/1' is no text in UTF-8. Rename",
        open_data,
        touch(tmp_path, "b/1.mp4", os.fsdecode(b"caf\xe9/1.mp4")),
    )


def test_what_is_left_out_is_noted(tmp_path):
    root = touch(tmp_path, "loose.mp4", "a/1.mp4", "b/2.mp4", "c/.hidden.mp4", "d/.hidden/3.mp4")
    catalogue = from_folder(root)
    assert catalogue.classes == ("a", "b") and len(catalogue.records) == 2
    assert catalogue.notes[0] == "Videos that lie in no class folder are left out: loose.mp4."
    touch(root, "b/2.srt")
    assert (
        from_folder(root).notes[1]
        == "Files that are not named like videos are left out, 1 of 4: b/2.srt."
    )


@pytest.mark.parametrize(
    "name",
    [
        "$RECYCLE.BIN",
        "System Volume Information",
        "@eaDir",
        ".Trash-1000",
        "__MACOSX",
        "lost+found",
        "#recycle",
    ],
)
def test_what_a_system_keeps_for_itself_is_no_class(tmp_path, name):
    root = touch(tmp_path, "a/1.mp4", "b/2.mp4", f"{name}/3.mp4", f"a/{name}/4.mp4", "b/@5.mp4")
    assert from_folder(root).classes == ("a", "b") and len(from_folder(root).records) == 3
    assert "3.mp4" not in check(root).render()


@pytest.mark.parametrize("there, named", [("NFD", "NFC"), ("NFC", "NFD")])
def test_accents_are_coded_in_either_way(tmp_path, there, named):
    """macOS writes an accented letter as two signs, most other systems and spreadsheets as one."""
    disk, text = (unicodedata.normalize(form, "caf\u00e9/\u00fcber.mp4") for form in (there, named))
    touch(tmp_path, disk, "b/2.mp4")
    catalogue = from_csv(
        table(tmp_path / "index.csv", "path,label,split", f"{text},x,train", "b/2.mp4,x,train")
    )
    catalogue.require("train")
    clip = next(record for record in catalogue.records if record.id != "b/2")
    assert clip.id == "caf\u00e9/\u00fcber"
    # no other clip in a class folder
    in_folders = from_folder(tmp_path)
    assert clip.id == in_folders.records[1].id and in_folders.classes == ("b", "caf\u00e9")


# --- own folds -----------------------------------------------------------------------------------------------------


def people(root):
    return table(
        root / "index.csv",
        "path,label,group",
        *(f"{c}{p}.avi,{c},p{p:02}" for p in range(9) for c in "abcdefghij"),
    )


def test_own_folds_of_people_are_blocks_in_alphabetical_order(tmp_path):
    catalogue = open_data(people(tmp_path))
    seen = []
    for fold in "123":
        mine = own_folds(catalogue, 3, fold)
        tested = sorted({r.group for r in mine.split("test")})
        assert not shared_groups(mine.records)
        assert not {r.group for r in mine.split("val")} & {r.group for r in mine.split("train")}
        assert mine.counts().loc["a"].to_dict() == {"train": 5, "val": 1, "test": 3}
        assert (
            f"own folds, made by kdlab from 9 groups, no published split: fold {fold} of 3"
            in mine.notes[0]
        )
        seen += tested
    assert seen == [f"p{p:02}" for p in range(9)]
    assert own_folds(catalogue, 3) == own_folds(catalogue, 3, "1")
    assert UserClips(str(tmp_path), "2", own_folds=3).catalogue() == own_folds(catalogue, 3, "2")


def test_own_folds_of_groups_within_classes_test_every_class_in_every_fold(tmp_path):
    sizes = {"Jump": (1, 9, 1, 4), "Run": (3, 3, 3, 3, 3), "Sit": (2, 2, 2)}
    root = touch(
        tmp_path,
        *(
            f"{c}/{c}_{g}_{k}.mp4"
            for c, its in sizes.items()
            for g, n in enumerate(its)
            for k in range(n)
        ),
    )
    catalogue = open_data(root)
    folds = [own_folds(catalogue, 3, fold) for fold in "123"]
    assert all((fold.counts()["test"] > 0).all() for fold in folds)
    tested = Counter(r.id for fold in folds for r in fold.split("test"))
    assert set(tested.values()) == {1} and len(tested) == len(catalogue.records)
    assert sorted(fold.counts().loc["Run", "test"] for fold in folds) == [3, 6, 6]
    assert not any(shared_groups(fold.records) for fold in folds)


@pytest.mark.parametrize(
    "count, fold, message",
    [
        (1, "1", "all clips of a, b, c and 7 more fall into one fold"),
        (10, "1", "own_folds=10 needs a group for each; there are 9"),
        (3, "4", "no fold '4'. The own folds are 1 to 3"),
    ],
)
def test_own_folds_that_cannot_be(tmp_path, count, fold, message):
    with pytest.raises(ValueError, match=message):
        own_folds(open_data(people(tmp_path)), count, fold)


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16"])
def test_a_table_in_another_encoding(tmp_path, encoding):
    path = table(tmp_path / "bad.csv", "path,label", "a.mp4,Läufer", encoding=encoding)
    refuses(r"bad\.csv: not a UTF-8 text.* a spreadsheet as CSV UTF-8", from_csv, path)


# --- what a catalogue promises -------------------------------------------------------------------------------------


def catalogue_of(root, *records):
    touch(root, *(f"{id_}.mp4" for id_, _, _ in records))
    return Catalogue(
        "x",
        root,
        ("a", "b"),
        tuple(
            ClipRecord(id_, root / f"{id_}.mp4", label, split, id_) for id_, label, split in records
        ),
    )


def test_require(tmp_path):
    whole = [("1", 0, "train"), ("2", 1, "train"), ("3", 0, "val"), ("4", 0, "test")]
    catalogue = catalogue_of(tmp_path, *whole)
    catalogue.require()
    one, two, val, test = whole
    other = ("5", 1, "test")
    for records, said in (
        ((one, two, test), "the val split is empty"),
        ((one, val, other), r"train has no clip of b \(in test\)"),
        ((one, val, test), "all clips are of one class, a, so there is nothing to tell apart"),
        ((*whole, one), "1 named by two clips"),
    ):
        refuses(said, catalogue_of(tmp_path, *records).require)
    catalogue_of(tmp_path, one, two, test).require("train", "test")
    # testing finished weights needs no train
    catalogue_of(tmp_path, other).require("test")
    # what learns without labels may learn from one class
    catalogue_of(tmp_path, one).require("train")
    refuses("unknown split 'dev'", catalogue.split, "dev")
    (tmp_path / "3.mp4").unlink()
    with pytest.raises(
        FileNotFoundError, match=r"3\.mp4: missing: there is no such file\. Restore"
    ):
        catalogue.require()


def test_fingerprint_follows_content_and_not_place(tmp_path):
    records = [("1", 0, "train"), ("2", 1, "test")]
    one = catalogue_of(tmp_path / "one", *records).fingerprint()
    assert len(one) == 16
    assert catalogue_of(tmp_path / "two", *reversed(records)).fingerprint() == one
    changed = catalogue_of(tmp_path / "three", *records)
    (tmp_path / "three" / "1.mp4").write_bytes(b"2")
    assert changed.fingerprint() != one
    assert catalogue_of(tmp_path / "four", records[0], ("2", 1, "val")).fingerprint() != one
    assert catalogue_of(tmp_path / "five", records[0], ("2", 0, "test")).fingerprint() != one
