"""Public data sets in their released layout: folders, lists and class numbers, checked against published counts.

docs/methods.md, section 6, has the formats and counts. The released lists lie in the folder of the clips or beside it.
Labels are 0-based in the released order. Validation groups are taken from train.
"""

import json
import os
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from kdlab.clips.records import Catalogue, CatalogueError, ClipRecord
from kdlab.datasets.catalogue import from_csv, from_folder, group_from_name
from kdlab.datasets.files import (
    EXPECTED,
    files_below,
    read_list,
    read_text,
    relative_name,
    seconds,
    user_path,
)
from kdlab.datasets.splits import complete_splits, own_folds
from kdlab.system.files import read_json
from kdlab.system.values import some

#: What the lists of a data set give: class number → name, and rows. A row is file and row, clip, class number, part, and,
#: if there are, group, start and end.
Lists = tuple[dict[str, str], list[tuple[str, ...]]]

#: Title → what is known of each data set: the fields of :class:`DataSet`.
_KNOWN = read_json(Path(__file__).with_suffix(".json"))
THUMOS_VIDEOS = {"json": {"train": 200, "test": 210}}
TRAINED = {
    title: tuple(split["train"] for split in known["counts"].values())
    for title, known in _KNOWN.items()
}
ARID_CLASSES = tuple(_KNOWN["ARID v1.5"]["classes"])


# --- a reader for each: from the list that identifies the data set to class number → name, and to rows ----------------


def _arid(lists: Path, split: str) -> Lists:
    rows = []
    for part in ("train", "other", "others", "test"):  # one README writes _others
        path = lists.with_name(f"ARID_split{split}_{part}.txt")
        if part.startswith("other") and not path.is_file():
            continue  # your own lists may lack it
        for where, (_, number, clip) in read_list(path, 3, name_first=False):
            rows.append((where, clip, number, part))
    return _class_index(lists, 0), rows


def _dark48(lists: Path, split: str) -> Lists:
    """A group is a source video."""
    rows = []
    for part in ("train", "test"):
        for where, (clip, number) in read_list(lists.with_name(f"{part}_split{split}.txt"), 2):
            group = re.sub(r"_\d+$", "", PurePosixPath(clip).stem)
            rows.append((where, clip, number, part, group))
    return _class_index(lists, 0), rows


def _ucf101(lists: Path, split: str) -> Lists:
    """In test lists the folder's name gives the class."""
    index = _class_index(lists, 1)
    train = read_list(lists.with_name(f"trainlist0{split}.txt"), 2)
    rows = [(where, clip, number, "train") for where, (clip, number) in train]
    number_of = {name: number for number, name in index.items()}
    for where, (clip,) in read_list(lists.with_name(f"testlist0{split}.txt"), 1):
        folder = clip.split("/")[0]
        rows.append((where, clip, number_of.get(folder, folder), "test"))
    return index, rows


def _hmdb51(lists: Path, split: str) -> Lists:
    """Classes are in alphabetical order; clips with flag 0 are neither in train nor in test."""
    ending, rows = f"_test_split{split}.txt", []
    # the order is that of the names, such as climb, climb_stairs, not that of the files
    names = sorted(path.name.removesuffix(ending) for path in lists.parent.glob(f"*{ending}"))
    for number, name in enumerate(names):
        for where, (clip, flag) in read_list(lists.with_name(name + ending), 2):
            if (source := re.match(rf"(.+)_{re.escape(name)}_[a-z]+_", clip)) is None:
                raise CatalogueError(
                    f"{where}: {clip!r} does not say its class {name}. Take the list as released."
                )
            part = {"1": "train", "2": "test"}.get(flag, "unused")
            rows.append((where, f"{name}/{clip}", str(number), part, f"{name}/{source[1]}"))
    return {str(number): name for number, name in enumerate(names)}, rows


def _thumos14(lists: Path, split: str) -> Lists:
    """A row for each segment, whose group is its video; ids are ``<class>/<video>@<start>-<end>``.

    The ground truth is the file behind published scores. It has 200 validation videos, used for training, and 210 test
    videos, without video_test_0000270 and video_test_0001496. Some segments end after their video.
    """
    index = {name: name for _, (_, name) in read_list(lists, 2, name_first=False)}
    path, rows = lists.with_name("thumos_gt.json"), []
    text = read_text(path)
    try:
        for video, info in json.loads(text)["database"].items():
            for number, label in enumerate(info["annotations"]):
                where, times = f"{path}, {video}, annotation {number}", map(str, label["segment"])
                name, part = index[label["label"]], info["subset"]
                rows.append((where, f"{video}.mp4", name, part, video, *times))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CatalogueError(
            f"{path}: not the ground truth of THUMOS14 ({error!r}): expected database → video → "
            "subset, annotations → segment, label. Take the file as it was released."
        ) from None
    return index, rows


def _record(
    index: Mapping[str, str],
    where: str,
    clip: str,
    number: str,
    split: str,
    group: str = "",
    *times: str,
) -> ClipRecord:
    clip = relative_name(clip, where)
    name, folder = index.get(number, "no class"), PurePosixPath(clip).parent.name
    if number not in index or folder and folder.casefold() != name.casefold():
        raise CatalogueError(
            f"{where}: the clip lies in the folder {folder}, and its class number {number} stands for "
            f"{name}. Lists and class index do not belong together; take both as they were released."
        )
    id_ = PurePosixPath(clip).with_suffix("").as_posix()
    start, end = seconds(*times, where) if times else (None, None)
    group = group or group_from_name(id_, name)
    id_ = f"{name}/{id_}@{start:g}-{end:g}" if times else id_
    return ClipRecord(id_, Path(clip), list(index).index(number), split, group, start, end, where)


def _located(root: Path, records: list[ClipRecord]) -> list[ClipRecord]:
    """The records with the paths of their files, which lie below ``root``.

    Suffixes may differ from the list (ARID's lists name .avi, the download has .mp4), and so may the case of a folder
    (HandstandPushups).
    """
    keys = [(record.path.parent.name.casefold(), record.path.stem) for record in records]
    wanted, there = set(keys), {}
    in_folders = all(name for name, _ in keys)  # THUMOS14 has no class folders
    for file in files_below(root)[0]:
        key = file.parent.name.casefold() if in_folders else "", file.stem
        if key in wanted and there.setdefault(key, file) != file:
            raise CatalogueError(
                f"{file}: the clip is also there as {there[key]}. Open the folder that holds "
                "the one you mean, or move the other away."
            )
    lost, located = [], []
    for record, key in zip(records, keys, strict=True):
        if key in there:
            located.append(replace(record, path=there[key]))
        else:
            lost.append(f"{record.path} ({record.where})")
    if lost:
        raise FileNotFoundError(
            f"{root}: {len(lost)} of {len(records)} listed clips are missing: {some(lost)}. Unpack "
            "the whole data set there, or correct the list."
        )
    return located


def _class_index(path: Path, first: int) -> dict[str, str]:
    """Class number → name, in numerical order. Raises CatalogueError unless numbers run from ``first`` without gaps."""
    rows = read_list(path, 2, name_first=False)
    index = {number: name for _, (number, name) in rows}
    order = [str(number) for number in range(first, first + len(rows))]
    if set(index) != set(order) or len(set(index.values())) < len(rows):
        raise CatalogueError(
            f"{path}: expected the class numbers {order[0]} to {order[-1]}, each once and with a name "
            "of its own. Take the list as it was released."
        )
    return {number: index[number] for number in order}


# --- opening any data set ------------------------------------------------------------------------------------------


class DataSet(NamedTuple):
    """A public data set; docs/methods.md, 6, has counts and caveats.

    ``marker`` is a list file in the folder of the clips or beside it, and identifies the data set; ``read`` reads it.
    ``counts`` are the published ones by split. ``example`` is a class folder. ``layout`` describes the folder.
    ``splits`` are the possible values of ``test_fold``; the first is the default. ``classes`` are the class folders by
    which ARID v1.5 is known without lists.
    """

    title: str
    read: Callable[[Path, str], Lists]
    marker: str
    counts: Mapping[str, Mapping[str, int]]
    example: str
    layout: str
    splits: str
    notes: Sequence[str]
    classes: Sequence[str] = ()


DATA_SETS = tuple(
    DataSet(title, read, **_KNOWN[title])
    for title, read in (
        ("ARID v1.0", _arid),
        ("ARID v1.5", _arid),
        ("Dark-48", _dark48),
        ("UCF-101", _ucf101),
        ("HMDB-51", _hmdb51),
        ("THUMOS14", _thumos14),
    )
)


def open_data(path: Path | str, test_fold: str | None = None) -> Catalogue:
    """The clips of a CSV table, of a folder with an ``index.csv``, of a public data set in its released layout, which
    its lists identify, or of a folder with one subfolder per class; in this order.

    ``test_fold`` is the published split (default: the first; for THUMOS14 the ground truth, ``json``), or a fold of the
    table (``kdlab.datasets.catalogue.from_csv``). ARID v1.5 without lists gets three own folds. Raises CatalogueError
    or FileNotFoundError, with file and row.
    """
    try:
        return _opened(user_path(path), test_fold)
    except PermissionError as error:
        raise CatalogueError(
            f"{error.filename} cannot be read ({error.strerror}): make it and the folders above it "
            "readable."
        ) from None


def _opened(path: Path, test_fold: str | None) -> Catalogue:
    if not os.path.lexists(path):
        raise FileNotFoundError(
            f"{path}: no such file or folder. Give a CSV table or a folder of clips."
        )
    table = path / "index.csv" if path.is_dir() else path
    if table.suffix.lower() == ".csv" and os.path.lexists(table) and not table.is_dir():
        return from_csv(table, test_fold)
    if not path.is_dir():
        raise CatalogueError(f"{path}: found no folder and no table, expected {EXPECTED}.")
    root = path.absolute()  # an absolute path has a parent, where lists may lie
    fitting = [data for data in DATA_SETS if _lists(data, root)]
    if len(fitting) > 1:
        titles = " and of ".join(data.title for data in fitting)
        raise CatalogueError(
            f"{root}: here are the lists of {titles}. Open the folder of one data set, or move the "
            "other's lists away."
        )
    if fitting:
        return _released(root, fitting[0], test_fold)
    if all(any((root / name).glob(f"{name}_*_*.*")) for name in ARID_CLASSES):
        folds = own_folds(from_folder(root), 3, test_fold)
        title = "ARID v1.5"
        return replace(folds, name=title, notes=(*folds.notes, _KNOWN[title]["notes"][-1]))
    if test_fold is not None:
        raise CatalogueError(
            f"{path}: test_fold={test_fold!r} needs an index.csv with a `fold` column there."
        )
    return from_folder(path)


def _released(root: Path, data: DataSet, test_fold: str | None) -> Catalogue:
    split = test_fold or next(iter(data.counts), "1")
    if data.counts and split not in data.counts:
        raise CatalogueError(
            f"{root}: {data.title} has no split {split!r}. Its splits are {data.splits}."
        )
    index, rows = data.read(_lists(data, root), split)
    classes = tuple(index.values())
    records = [_record(index, *row) for row in rows]
    counts = Counter(record.split for record in records)
    wrong = []
    for part, number in data.counts.get(split, {}).items():
        if counts[part] != number:
            wrong.append(f"{counts[part]} {part} clips, expected {number}")
    if wrong:
        raise CatalogueError(
            f"{root} ({data.title}): the lists name {', '.join(wrong)}. Take the lists as they were released; for a "
            "choice of your own write an index.csv with columns path,label,split,group there."
        )
    used = _located(root, [record for record in records if record.split in ("train", "test")])
    used, notes = complete_splits(used, classes, declared=True)
    return Catalogue(data.title, root, classes, used, (*data.notes, *notes))


def _lists(data: DataSet, root: Path) -> Path | None:
    """The list file of ``data`` in ``root``, a subfolder, the parent or the grandparent. The last two count only if
    ``root`` has class folders."""
    folders = root, *sorted(root.glob("*/")), root.parent, root.parent.parent
    near = next((file for folder in folders for file in sorted(folder.glob(data.marker))), None)
    if near is None or near.is_relative_to(root):
        return near
    for depth in ("", "*/", "*/*/"):
        if data.example and any(root.glob(depth + data.example)):
            return near
    return None
