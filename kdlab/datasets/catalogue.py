"""Catalogues of clips, read from class folders or a CSV table."""

import re
from pathlib import Path, PurePosixPath

from kdlab.clips.records import Catalogue, CatalogueError, ClipRecord
from kdlab.datasets.files import (
    EXPECTED,
    SPLIT_WORDS,
    composed,
    files_below,
    on_disk,
    one_spelling,
    read_table,
    relative_name,
    seconds,
)
from kdlab.datasets.splits import complete_splits, shared_groups
from kdlab.system.values import some


def name_of(path: Path) -> str:
    """Name of a data set: the folder's name for a folder or its ``index.csv``, the file's name for another table."""
    place = (path.parent if path.name.lower() == "index.csv" else path).resolve()
    return place.stem if place.suffix.lower() == ".csv" and not place.is_dir() else place.name


def from_folder(root: Path) -> Catalogue:
    """The clips of a folder with one subfolder per class, optionally below ``train``, ``val`` and ``test``.

    Without split folders, a deterministic rule assigns whole groups (``group_from_name``) to train, val and test, about
    60 : 15 : 25 per class. With split folders but no ``val``, validation clips are taken from train. Links are
    followed; each folder may appear once. Raises CatalogueError if no class folder holds videos, if a folder cannot be
    read, or if its name is no class name.
    """
    videos, others = files_below(root)
    by_split = any(path.name.lower() in SPLIT_WORDS and path.is_dir() for path in root.iterdir())
    clips, stray, notes = [], [], []
    for file in videos:
        name = file.relative_to(root)
        folders, split = [*name.parts[:-1]], "train"
        if by_split and folders:
            split = SPLIT_WORDS.get(folders.pop(0).lower())
        if folders and split:
            clips.append((file, composed(folders[0]), split))
        else:
            stray.append(name.as_posix())
    if not clips:
        raise CatalogueError(
            f"{root}: no video in a class folder; videos elsewhere: {some(stray) or 'none'}; "
            f"expected {EXPECTED}. Folders named {', '.join(SPLIT_WORDS)} mean splits, and hold a folder per class."
        )
    if stray:
        notes.append(f"Videos that lie in no class folder are left out: {some(stray)}.")
    if others := [file.relative_to(root).as_posix() for file in others if file.parent != root]:
        notes.append(
            f"Files that are not named like videos are left out, {len(others)} of {len(others) + len(videos)}: "
            f"{some(others)}."
        )
    classes = one_spelling("label", ((name, f"{root}, folder {name}") for _, name, _ in clips))
    records = []
    for file, name, split in clips:
        id_ = composed(file.relative_to(root).with_suffix("").as_posix())
        if id_ != id_.encode(errors="replace").decode():
            raise CatalogueError(
                f"{root}: the name {id_!a} is no text in UTF-8. Rename the file or its folder."
            )
        group = group_from_name(id_, name)
        records.append(ClipRecord(id_, file, classes.index(name), split, group))
    records, more = complete_splits(records, classes, declared=by_split)
    return Catalogue(name_of(root), root, tuple(classes), records, (*notes, *more))


def from_csv(path: Path, test_fold: str | None = None) -> Catalogue:
    """The clips of a CSV table with columns ``path``, ``label`` and optional ``split, group, start, end, fold``.

    Paths are relative to the table's folder and may be links; times are in seconds. If ``test_fold`` is given, or the
    table has ``fold`` and no ``split``, that fold (default: the last in sorted order) is the test set. Else the
    ``split`` column decides. With neither column, whole groups are assigned to the splits as in ``from_folder``. If the
    table names no validation clips, they are taken from train in the same way. Raises CatalogueError with file, row and
    remedy, and FileNotFoundError for a missing table.
    """
    rows = read_table(path, filled=("fold", "split"))
    columns = rows[0][1].keys()
    for column in ("fold", "group"):
        one_spelling(column, ((cell, where) for where, row in rows if (cell := row.get(column))))
    folds = sorted({row["fold"] for _, row in rows}) if "fold" in columns else []
    if folds and "split" not in columns and test_fold is None:
        test_fold = folds[-1]
    if test_fold is not None and test_fold not in folds:
        has = f"Its `fold` column has: {folds}" if folds else "It has no `fold` column"
        raise CatalogueError(f"{path}: no fold {test_fold!r}. {has}.")
    classes = one_spelling("label", ((row["label"], where) for where, row in rows))
    records = [_record(path.parent, classes, row, where, test_fold) for where, row in rows]
    declared = bool(test_fold) or "split" in columns
    if declared and "group" in columns and (shared := shared_groups(records)):
        raise CatalogueError(
            f"{path}: group {some(shared)} both in test and outside it, so a test would reward "
            "recognising the group. Put whole groups on one side, or remove the `group` column."
        )
    records, notes = complete_splits(records, classes, declared)
    alone = sum(row.get("group") == "" for _, row in rows)
    if 0 < alone < len(rows):
        notes += (
            f"The `group` of {alone} of {len(rows)} rows is empty: each of these clips is its own group.",
        )
    return Catalogue(name_of(path), path.parent, tuple(classes), records, notes)


def _record(
    folder: Path, classes: list[str], row: dict[str, str], where: str, test_fold: str | None
) -> ClipRecord:
    """The record of a ``row`` in a table that lies in ``folder``."""
    split = SPLIT_WORDS.get(row.get("split", "train").lower())
    if test_fold:
        split = "test" if row["fold"] == test_fold else "train"
    elif split is None:
        raise CatalogueError(f"{where}: unknown split {row['split']!r}. Write train, val or test.")
    start, end = seconds(row.get("start"), row.get("end"), where)
    file = relative_name(row["path"], where)
    id_ = composed(PurePosixPath(file).with_suffix("").as_posix())
    group = row.get("group") or group_from_name(id_, row["label"])
    if start is not None or end is not None:
        id_ += f"@{start or 0.0:g}-{'' if end is None else f'{end:g}'}"
    label, path = classes.index(row["label"]), on_disk(folder, file)
    return ClipRecord(id_, path, label, split, group, start, end, where)


def group_from_name(id_: str, label: str) -> str:
    """The recording group in a clip's file name, in the style of ARID or UCF; else the clip's id.

    >>> group_from_name("Jump/Jump_8_1", "Jump"), group_from_name("v_Archery_g07_c02", "Archery")
    ('Jump_8', 'g07')
    """
    stem = PurePosixPath(id_).name
    if ucf := re.search(r"_(g\d+)_c\d+$", stem):
        return ucf[1]
    arid = re.fullmatch(rf"{re.escape(label)}(_\d+)_\d+", stem, re.IGNORECASE)
    return label + arid[1] if arid else id_
