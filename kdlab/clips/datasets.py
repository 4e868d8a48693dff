"""Which public data sets kdlab reads, where their files belong, and one function that opens any folder of clips."""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

from kdlab.clips.catalogue import Catalogue, open_clips
from kdlab.clips.released import ARID_CLASSES, arid, arid15, coviar, dark48, hmdb51, thumos14, ucf101
from kdlab.clips.tables import find_near
from kdlab.clips.tree import CatalogueError, named


class DataSet(NamedTuple):
    """``marker`` is a list file, in the folder of the clips or beside it; ``example`` a class folder of the set;
    ``splits`` can be tested on; ``layout`` says what the folder holds. docs/methods.md, 6, has counts and caveats."""

    title: str
    read: Callable[..., Catalogue]
    marker: str
    example: str
    splits: str
    layout: str


DATA_SETS = (
    DataSet("ARID v1.0", arid, "list_cvt/mapping_table.txt", "Drink", "1, 2, 3",
            "Drink/Drink_11_1.mp4, …, list_cvt/mapping_table.txt, list_cvt/ARID_split{1,2,3}_{train,other,test}.txt"),
    DataSet("ARID v1.5", arid15, "list_v1.5/mapping_table.txt", "Drink", "own folds 1, 2, 3, or those of your lists",
            "Drink/Drink_11_1.mp4, …; lists of your own, if you have some, in list_v1.5/"),
    DataSet("Dark-48", dark48, "annotations/classInd.txt", "adult_female_singing", "1, 2, 3",
            "bouncing/meGuchxNyKg_106.mp4, …, annotations/classInd.txt, annotations/{train,test}_split{1,2,3}.txt"),
    DataSet("UCF-101", ucf101, "ucfTrainTestlist/classInd.txt", "ApplyEyeMakeup", "1, 2, 3",
            "UCF-101/Archery/v_Archery_g01_c01.avi, …, ucfTrainTestlist/{classInd,trainlist01,testlist01,…}.txt"),
    DataSet("HMDB-51", hmdb51, "testTrainMulti_7030_splits/*_test_split1.txt", "brush_hair", "1, 2, 3",
            "brush_hair/April_09_brush_hair_u_….avi, …, testTrainMulti_7030_splits/*_test_split{1,2,3}.txt"),
    DataSet("THUMOS14", thumos14, "Class Index_Detection.txt", "", "csv, json (the ground truth of published scores)",
            "{validation,test}/video_….mp4, Class Index_Detection.txt, {val,test}_Annotation.csv, thumos_gt.json"),
    *(DataSet(f"{title} by CoViAR's lists", partial(coviar, name=name), f"datalists/{name}_split1_train.txt", example,
              "1, 2, 3", f"{name}/mpeg4_videos/{example}/….mp4, datalists/{name}_split{{1,2,3}}_{{train,test}}.txt")
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
    if not fitting and all(any((root / name).glob(f"{name}_*_*.*")) for name in ARID_CLASSES):
        return arid15(root, test_fold or "1")
    if not fitting:
        return open_clips(path, test_fold)
    return fitting[0].read(root, **({"split": test_fold} if test_fold else {}))


def _fits(data: DataSet, root: Path) -> bool:
    """Whether the lists are in ``root`` or a folder of it; lists beside it count when its class folders are in it."""
    if (found := find_near(root, data.marker)) is None:
        return False
    below = found.is_relative_to(root)
    return below or bool(data.example) and any(any(root.glob(depth + data.example)) for depth in ("", "*/", "*/*/"))
