"""Public data sets in their released layout: folders, lists and class numbers, checked against published counts.

docs/methods.md, section 6, has the formats and counts. Each reader takes the folder of the clips; the released lists
lie in it or beside it. ``split`` names a published split. Labels are 0-based in the released order. Validation groups
are taken from train. All readers raise CatalogueError or FileNotFoundError with file and row.
"""

import json
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from kdlab.clips.catalogue import Catalogue, ClipRecord, group_from_name, open_clips
from kdlab.clips.files import (
    CatalogueError,
    find_near,
    is_hidden,
    is_video,
    read_list,
    read_text,
    relative_name,
    seconds,
    some,
    user_path,
)
from kdlab.clips.splits import complete_splits, own_folds

Counts = Mapping[str, int]

ARID_CLASSES = ("Drink", "Jump", "Pick", "Pour", "Push", "Run", "Sit", "Stand", "Turn", "Walk", "Wave")
ARID_COUNTS = {"1": {"train": 2288, "other": 673, "test": 823}, "2": {"train": 2252, "other": 673, "test": 859},
               "3": {"train": 2259, "other": 673, "test": 852}}
ARID15_CLIPS = 5572
DARK48_COUNTS = dict.fromkeys("123", {"train": 7052, "test": 1763})
UCF_COUNTS = {"1": {"train": 9537, "test": 3783}, "2": {"train": 9586, "test": 3734},
              "3": {"train": 9624, "test": 3696}}
HMDB_COUNTS = dict.fromkeys("123", {"train": 3570, "test": 1530})
THUMOS_VIDEOS = {"json": {"train": 200, "test": 210}}
THUMOS_SEGMENTS = {"json": {"train": 3007, "test": 3311}}
_SUBSETS = {"train": "train", "test": "test"}
_HMDB_NOTE = ("Within a class a source video is on one side of the split; under another class the same video may be on "
              "the other side (457 to 529 of the 1,530 test clips).")


def arid(root: Path | str, split: str = "1") -> Catalogue:
    """ARID v1.0: 11 classes, 3 splits. The ``other`` clips are left out, because train and test share their groups."""
    return _arid("ARID v1.0", root, near(root, "list_cvt/mapping_table.txt"), split, ARID_COUNTS,
                 "The `other` list shares groups with train and test and is left out; validation is carved from train.",
                 "The test sets of the three splits overlap: their mean is not one of independent tests.")


def arid15(root: Path | str, split: str = "1") -> Catalogue:
    """ARID v1.5, which has no published splits: your lists in ``list_v1.5``, else three own folds by group.

    The count of 5,572 clips is reported second-hand, so a different number gives a note and no error.
    """
    if mapping := find_near(root, "list_v1.5/mapping_table.txt"):
        catalogue = _arid("ARID v1.5", root, mapping, split, {}, "The lists are not published ones but yours.")
    else:
        catalogue = replace(own_folds(open_clips(root), 3, split), name="ARID v1.5")
    note = f"{len(catalogue.records)} clips; {ARID15_CLIPS} are reported for ARID v1.5, and no list is published."
    return replace(catalogue, notes=(*catalogue.notes, note))


def _arid(name: str, root: Path | str, mapping: Path, split: str, counts: Mapping[str, Counts],
          *notes: str) -> Catalogue:
    rows = []
    for part in ("train", "other", "others", "test"):  # one README writes _others; your own lists may lack it
        path = mapping.with_name(f"ARID_split{split}_{part}.txt")
        if part in ("train", "test") or path.is_file():
            rows += [(where, clip, number, part) for where, (_, number, clip) in read_list(path, 3, name_first=False)]
    return _finish(name, root, _class_index(mapping, 0), rows, counts.get(split), notes)


def dark48(root: Path | str, split: str = "1") -> Catalogue:
    """Dark-48: 48 classes, 3 splits drawn at random over clips; a group is a source video."""
    lists = near(root, "annotations/classInd.txt")
    rows = [(where, clip, number, part, re.sub(r"_\d+$", "", PurePosixPath(clip).stem)) for part in ("train", "test")
            for where, (clip, number) in read_list(lists.with_name(f"{part}_split{split}.txt"), 2)]
    note = ("The splits are random draws of clips: report the accuracy without those test clips, too, whose group "
            "training has.")
    return _finish("Dark-48", root, _class_index(lists, 0), rows, DARK48_COUNTS.get(split), (note,))


def ucf101(root: Path | str, split: str = "1") -> Catalogue:
    """UCF-101: 101 classes, 3 splits disjoint by group (g01 … g25). The folder's name gives the class."""
    lists = near(root, "ucfTrainTestlist/classInd.txt")
    index = _class_index(lists, 1)
    number_of = {name: number for number, name in index.items()}
    rows = [(where, clip, number, "train")
            for where, (clip, number) in read_list(lists.with_name(f"trainlist0{split}.txt"), 2)]
    rows += [(where, clip, number_of.get(clip.split("/")[0], clip.split("/")[0]), "test")
             for where, (clip,) in read_list(lists.with_name(f"testlist0{split}.txt"), 1)]
    return _finish("UCF-101", root, index, rows, UCF_COUNTS.get(split))


def hmdb51(root: Path | str, split: str = "1") -> Catalogue:
    """HMDB-51: 51 classes in alphabetical order, 3 splits; clips with flag 0 are neither in train nor in test."""
    ending = f"_test_split{split}.txt"
    folder = near(root, f"testTrainMulti_7030_splits/*{ending}").parent
    lists = sorted(folder.glob(f"*{ending}"), key=lambda path: path.name.removesuffix(ending))  # climb, climb_stairs
    index = {str(label): path.name.removesuffix(ending) for label, path in enumerate(lists)}
    rows = []
    for (number, name), path in zip(index.items(), lists, strict=True):
        for where, (clip, flag) in read_list(path, 2):
            if flag not in ("0", "1", "2"):
                raise CatalogueError(f"{where}: flag {flag!r}, expected 1 (train), 2 (test) or 0 (unused).")
            if (source := re.match(rf"(.+)_{re.escape(name)}_[a-z]+_", clip)) is None:
                raise CatalogueError(f"{where}: {clip!r} does not say its class {name}. Take the list as released.")
            part = ("unused", "train", "test")[int(flag)]
            rows.append((where, f"{name}/{clip}", number, part, f"{name}/{source[1]}"))
    return _finish("HMDB-51", root, index, rows, HMDB_COUNTS.get(split), (_HMDB_NOTE,))


def thumos14(root: Path | str, split: str = "json") -> Catalogue:
    """THUMOS14: 20 classes, one record per segment; ids are ``<class>/<video>@<start>-<end>``, groups are videos.

    The ground truth is the file behind published scores. It has 200 validation videos, used for training, and 210 test
    videos, without video_test_0000270 and video_test_0001496. Some segments end after their video.
    """
    if split not in THUMOS_SEGMENTS:
        raise CatalogueError(f"no split {split!r}: the ground truth is {' or '.join(THUMOS_SEGMENTS)}.")
    root, path = Path(root).expanduser(), near(root, "thumos_gt.json")
    classes = [name for _, (_, name) in read_list(near(root, "Class Index_Detection.txt"), 2, name_first=False)]
    records = []
    try:
        for video, info in json.loads(read_text(path))["database"].items():
            for number, annotation in enumerate(info["annotations"]):
                where, name = f"{path}, {video}, annotation {number}", annotation["label"]
                start, end = seconds(*map(str, annotation["segment"]), where)
                records.append(ClipRecord(f"{name}/{video}@{start:g}-{end:g}", Path(f"{video}.mp4"),
                                          classes.index(name), _SUBSETS[info["subset"]], video, start, end, where))
    except CatalogueError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CatalogueError(f"{path}: not the ground truth of THUMOS14 ({error!r}): expected database → video → "
                             "subset, annotations → segment, label. Take the file as it was released.") from None
    videos = Counter(part for part, _ in {(record.split, record.group) for record in records})
    check_counts(f"{root} (videos of THUMOS14)", videos, THUMOS_VIDEOS[split])
    check_counts(f"{root} (THUMOS14)", Counter(record.split for record in records), THUMOS_SEGMENTS[split])
    used, notes = complete_splits(_located(root, records), classes, declared=True)
    return Catalogue("THUMOS14", root, tuple(classes), used, notes)


# --- shared by the readers -----------------------------------------------------------------------------------------

def _finish(name: str, root: Path | str, index: Mapping[str, str], rows: Iterable[tuple], counts: Counts | None,
            notes: Iterable[str] = ()) -> Catalogue:
    """The catalogue of ``rows`` (where, clip, class number, split, optional group), after checking counts and files."""
    root, records = Path(root).expanduser(), [_record(index, *row) for row in rows]
    check_counts(f"{root} ({name})", Counter(record.split for record in records), counts)
    used = [record for record in records if record.split in ("train", "test")]
    used, more = complete_splits(_located(root, used), list(index.values()), declared=True)
    return Catalogue(name, root, tuple(index.values()), used, (*notes, *more))


def _record(index: Mapping[str, str], where: str, clip: str, number: str, split: str, group: str = "") -> ClipRecord:
    clip = relative_name(clip, where)
    name, folder = index.get(number, "no class"), PurePosixPath(clip).parent.name
    if number not in index or folder and folder.casefold() != name.casefold():
        raise CatalogueError(f"{where}: the clip lies in the folder {folder}, and its class number {number} stands for "
                             f"{name}. Lists and class index do not belong together; take both as they were released.")
    id_ = PurePosixPath(clip).with_suffix("").as_posix()
    return ClipRecord(id_, Path(clip), list(index).index(number), split, group or group_from_name(id_, name),
                      where=where)


def _located(root: Path, records: list[ClipRecord]) -> list[ClipRecord]:
    """The records with the paths of their files, which lie in ``root`` or up to two folders below it.

    Suffixes may differ from the list (ARID's lists name .avi, the download has .mp4), and so may the case of a folder
    (HandstandPushups).
    """
    keys = [(record.path.parent.name.casefold(), record.path.stem) for record in records]
    wanted, names, there = set(keys), {name for name, _ in keys}, {}
    for base in (root, *sorted(root.glob("*/")), *sorted(root.glob("*/*/"))):
        folders = [("", base), *((folder.name.casefold(), folder) for folder in base.glob("*/"))]
        for name, folder in folders if not any(map(is_hidden, base.relative_to(root).parts)) else ():
            for file in folder.iterdir() if name in names else ():
                key = name, file.stem
                if key in wanted and is_video(file) and there.setdefault(key, file) != file:
                    raise CatalogueError(f"{file}: the clip is also there as {there[key]}. Open the folder that holds "
                                         "the one you mean, or move the other away.")
    if lost := [f"{r.path} ({r.where})" for r, key in zip(records, keys, strict=True) if key not in there]:
        raise FileNotFoundError(f"{root}: {len(lost)} of {len(records)} listed clips are missing: {some(lost)}. Unpack "
                                "the whole data set there, or correct the list.")
    return [replace(record, path=there[key]) for record, key in zip(records, keys, strict=True)]


def check_counts(where: str, found: Mapping[str, int], expected: Counts | None) -> None:
    """Raise CatalogueError if a count of the lists at ``where`` differs from the published one."""
    if wrong := [what for what, number in (expected or {}).items() if found.get(what, 0) != number]:
        differ = ", ".join(f"{found.get(what, 0)} {what} clips, expected {expected[what]}" for what in wrong)
        raise CatalogueError(f"{where}: the lists name {differ}. Take the lists as they were released; for a choice of "
                             "your own write an index.csv with columns path,label,split,group there.")


def near(root: Path | str, pattern: str) -> Path:
    """As ``find_near``; raises FileNotFoundError if no file matches."""
    if (found := find_near(root, pattern)) is None:
        raise FileNotFoundError(f"{root}: no {pattern} in this folder or beside it. Put the released lists there; "
                                "`kdlab data list` shows the layout.")
    return found


def _class_index(path: Path, first: int) -> dict[str, str]:
    """Class number → name, in numerical order. Raises CatalogueError unless numbers run from ``first`` without gaps."""
    rows = read_list(path, 2, name_first=False)
    index = {number: name for _, (number, name) in rows}
    order = [str(number) for number in range(first, first + len(rows))]
    if set(index) != set(order) or len(set(index.values())) < len(rows):
        raise CatalogueError(f"{path}: expected the class numbers {order[0]} to {order[-1]}, each once and with a name "
                             "of its own. Take the list as it was released.")
    return {number: index[number] for number in order}


# --- opening any data set ------------------------------------------------------------------------------------------

class DataSet(NamedTuple):
    """A public data set and its reader; docs/methods.md, 6, has counts and caveats.

    ``marker`` is a list file in the folder of the clips or beside it, and identifies the data set. ``example`` is one
    of its class folders. ``layout`` describes the folder. ``splits`` are the possible values of ``test_fold``.
    """

    title: str
    read: Callable[..., Catalogue]
    marker: str
    example: str
    layout: str
    splits: str = "1, 2, 3"


DATA_SETS = tuple(DataSet(*row) for row in (
    ("ARID v1.0", arid, "list_cvt/mapping_table.txt", "Drink",
     "Drink/Drink_11_1.mp4, …, list_cvt/mapping_table.txt, list_cvt/ARID_split{1,2,3}_{train,other,test}.txt"),
    ("ARID v1.5", arid15, "list_v1.5/mapping_table.txt", "Drink",
     "Drink/Drink_11_1.mp4, …; lists of your own, if you have some, in list_v1.5/",
     "own folds 1, 2, 3, or those of your lists"),
    ("Dark-48", dark48, "annotations/classInd.txt", "adult_female_singing",
     "bouncing/meGuchxNyKg_106.mp4, …, annotations/classInd.txt, annotations/{train,test}_split{1,2,3}.txt"),
    ("UCF-101", ucf101, "ucfTrainTestlist/classInd.txt", "ApplyEyeMakeup",
     "UCF-101/Archery/v_Archery_g01_c01.avi, …, ucfTrainTestlist/{classInd,trainlist01,testlist01,…}.txt"),
    ("HMDB-51", hmdb51, "testTrainMulti_7030_splits/*_test_split1.txt", "brush_hair",
     "brush_hair/April_09_brush_hair_u_….avi, …, testTrainMulti_7030_splits/*_test_split{1,2,3}.txt"),
    ("THUMOS14", thumos14, "Class Index_Detection.txt", "",
     "{validation,test}/video_….mp4, Class Index_Detection.txt, thumos_gt.json", "json")))


def open_data(path: Path | str, test_fold: str | None = None) -> Catalogue:
    """A public data set in its released layout, identified by its lists; else any clips that ``open_clips`` reads.

    ``test_fold`` is the published split (default: the first; for THUMOS14 the ground truth, ``json``). A folder with an
    ``index.csv`` always counts as the user's own clips. Raises CatalogueError, FileNotFoundError.
    """
    root = user_path(path).absolute()  # an absolute path has a parent, where lists may lie
    if not root.is_dir() or os.path.lexists(root / "index.csv"):
        return open_clips(path, test_fold)
    fitting = [data for data in DATA_SETS if _fits(data, root)]
    if len(fitting) > 1:
        raise CatalogueError(f"{root}: here are the lists of {' and of '.join(data.title for data in fitting)}. Open "
                             "the folder of one data set, or move the other's lists away.")
    if not fitting and all(any((root / name).glob(f"{name}_*_*.*")) for name in ARID_CLASSES):
        return arid15(root, test_fold or "1")
    if not fitting:
        return open_clips(path, test_fold)
    return fitting[0].read(root, **({"split": test_fold} if test_fold else {}))


def _fits(data: DataSet, root: Path) -> bool:
    """Whether ``root`` or a folder of it has the lists; lists beside ``root`` count if ``root`` has class folders."""
    if (found := find_near(root, data.marker)) is None:
        return False
    below = found.is_relative_to(root)
    return below or bool(data.example) and any(any(root.glob(depth + data.example)) for depth in ("", "*/", "*/*/"))
