"""Which public data sets kdlab reads, where their files belong, and one function that opens any folder of clips."""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

from kdlab.clips.catalogue import Catalogue, open_clips
from kdlab.clips.released import ARID_CLASSES, arid, arid15, coviar, dark48, hmdb51, thumos14, ucf101, ug2
from kdlab.clips.tables import find_near
from kdlab.clips.tree import SPLIT_WORDS, CatalogueError, is_aside, is_video, named


class DataSet(NamedTuple):
    """``marker`` is a list file, in the folder of the clips or beside it; ``example`` a class folder of the set."""

    title: str
    read: Callable[..., Catalogue]
    marker: str
    example: str
    clips: str
    splits: str
    folders: str
    lists: str
    remark: str


DATA_SETS = (
    DataSet("ARID v1.0", arid, "list_cvt/mapping_table.txt", "Drink", "3,784 clips, 11 classes", "1, 2, 3",
            "Drink/Drink_11_1.mp4 (or .avi), Jump/…",
            "list_cvt/mapping_table.txt, ARID_split{1,2,3}_{train,other,test}.txt",
            "Unknown: whether a group is an actor or a scene. `other` is left out; test sets overlap across splits."),
    DataSet("ARID v1.5", arid15, "list_v1.5/mapping_table.txt", "Drink", "5,572 clips (second-hand), 11 classes",
            "your lists, or own folds 1, 2, 3",
            "Drink/Drink_11_1.mp4, Jump/…",
            "list_v1.5/: lists of your own, as in ARID v1.0; without them, own folds",
            "Unknown: its splits are published nowhere. Results on own folds are labelled so."),
    DataSet("ARID v1.1, UG2+ 2021", ug2, "ARID1.1_t1_train_pub.csv", "Wave",
            "1,837 train, 1,289 numbered test clips, 6 classes", "1",
            "train/Wave/Wave_10_1.mp4, …, test/0.mp4, …",
            "ARID1.1_t1_train_pub.csv, and ARID1.1_t1_test_pub.csv where you have one",
            "Unknown: the official test labels. A third party's copy is used when there; else an own split of train."),
    DataSet("Dark-48", dark48, "annotations/classInd.txt", "adult_female_singing", "8,815 clips, 48 classes", "1, 2, 3",
            "bouncing/meGuchxNyKg_106.mp4, …",
            "annotations/classInd.txt, {train,test}_split{1,2,3}.txt",
            "Splits are not disjoint by source video: 127 to 138 of 1,763 test clips come from one that train has."),
    DataSet("UCF-101", ucf101, "ucfTrainTestlist/classInd.txt", "ApplyEyeMakeup", "13,320 clips, 101 classes",
            "1, 2, 3",
            "UCF-101/Archery/v_Archery_g01_c01.avi, …",
            "ucfTrainTestlist/classInd.txt, {train,test}list0{1,2,3}.txt",
            "A group (g01 to g25) never crosses a split."),
    DataSet("HMDB-51", hmdb51, "testTrainMulti_7030_splits/*_test_split1.txt", "brush_hair",
            "6,766 clips, 51 classes; 5,100 in a split", "1, 2, 3",
            "brush_hair/April_09_brush_hair_u_nm_np1_ba_goo_0.avi, …",
            "testTrainMulti_7030_splits/<class>_test_split{1,2,3}.txt",
            "The stabilised version is another set. A source video can be in train under another class."),
    DataSet("THUMOS14", thumos14, "Class Index_Detection.txt", "", "200 + 212 videos, 6,365 segments, 20 classes",
            "csv, or json (the ground truth of published scores: 210 test videos)",
            "validation/video_validation_0000051.mp4, …, test/video_test_0000004.mp4, …",
            "Class Index_Detection.txt, {val,test}_Annotation.csv, thumos_gt.json",
            "Unknown: how the original scoring tool treats Ambiguous segments; they are left out here."),
    *(DataSet(f"{title} by CoViAR's lists", partial(coviar, name=name), f"datalists/{name}_split1_train.txt", example,
              "the clips and splits of the set", "1, 2, 3",
              f"{name}/mpeg4_videos/{example}/….mp4", f"datalists/{name}_split{{1,2,3}}_{{train,test}}.txt",
              "Its class numbers are not those of the released set. It re-encodes the clips as MPEG-4 part 2.")
      for title, name, example in (("UCF-101", "ucf101", "ApplyEyeMakeup"), ("HMDB-51", "hmdb51", "brush_hair"))),
)


def open_data(path: Path | str, test_fold: str | None = None) -> Catalogue:
    """A public data set in its released layout, known by its lists, or else any clips that ``open_clips`` reads.

    ``test_fold`` is the published split (default: the first; for THUMOS14 the ground truth, ``csv`` or ``json``). A
    folder with an ``index.csv`` is the user's own, whatever else it holds. Raises CatalogueError, FileNotFoundError.
    """
    root = named(path).absolute()  # "." has a parent then, where lists may lie
    if not root.is_dir() or os.path.lexists(root / "index.csv"):
        return open_clips(path, test_fold)
    fitting = [data for data in DATA_SETS if _fits(data, root)]
    if len(fitting) > 1:
        raise CatalogueError(f"{root}: here are the lists of {' and of '.join(data.title for data in fitting)}. Open "
                             "the folder of one data set, or move the other's lists away.")
    if not fitting and (inner := _arid_folder(root)):
        fitting, root = [data for data in DATA_SETS if data.read is arid15], inner
    if not fitting:
        return open_clips(path, test_fold)
    return fitting[0].read(root, **({"split": test_fold} if test_fold else {}))


def _fits(data: DataSet, root: Path) -> bool:
    """Whether the lists are in ``root`` or a folder of it; lists beside it count when its class folders are in it."""
    if (found := find_near(root, data.marker)) is None:
        return False
    below = found.is_relative_to(root)
    return below or bool(data.example) and any(any(root.glob(depth + data.example)) for depth in ("", "*/", "*/*/"))


def _arid_folder(root: Path) -> Path | None:
    """The folder of ARID's class folders, which are all that tells ARID v1.5: ``root``, or one up to two folders below
    it. None where videos lie beside that one, too: then its name can be a class's, or a split's."""
    found = next((found for depth in ("", "*/", "*/*/") if (found := [
        place.parent for place in sorted(root.glob(depth + ARID_CLASSES[0]))
        if all(any((place.parent / name).glob(f"{name}_*_*.*")) for name in ARID_CLASSES)])), [])
    if len(found) != 1 or SPLIT_WORDS.keys() & {part.lower() for part in found[0].relative_to(root).parts}:
        return None
    way = [found[0], *found[0].parents]
    above = way[1 : way.index(root) + 1]
    beside = (entry for folder in above for entry in folder.iterdir()
              if entry not in way and not is_aside(entry.name))
    return None if any(is_video(file) for entry in beside for file in (entry, *entry.rglob("*"))) else found[0]
