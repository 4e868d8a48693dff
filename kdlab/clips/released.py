"""Public data sets as they are released: their folders, lists and class numbers, counted before use.

Formats and counts are those of docs/methods.md, section 6. A reader takes the folder that holds the clips and, in it
or beside it, the released lists; ``split`` names a published split.
Labels are 0-based in the released order; validation is carved from train by group. All raise CatalogueError or
FileNotFoundError with file and row.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath

from kdlab.clips.catalogue import Catalogue, ClipRecord, group_from_name, open_clips, own_folds, with_splits
from kdlab.clips.splits import some
from kdlab.clips.tables import check_counts, check_name, find_near, near, read_list, read_table, read_text, times
from kdlab.clips.tree import CatalogueError, composed, is_aside, is_video

Counts = Mapping[str, int]

ARID_CLASSES = ("Drink", "Jump", "Pick", "Pour", "Push", "Run", "Sit", "Stand", "Turn", "Walk", "Wave")
ARID_COUNTS = {"1": {"train": 2288, "other": 673, "test": 823}, "2": {"train": 2252, "other": 673, "test": 859},
               "3": {"train": 2259, "other": 673, "test": 852}}
ARID15_CLIPS = 5572
DARK48_COUNTS = dict.fromkeys("123", {"train": 7052, "test": 1763})
UCF_COUNTS = {"1": {"train": 9537, "test": 3783}, "2": {"train": 9586, "test": 3734},
              "3": {"train": 9624, "test": 3696}}
HMDB_COUNTS = dict.fromkeys("123", {"train": 3570, "test": 1530})
THUMOS_VIDEOS = {"csv": {"train": 200, "test": 212}, "json": {"train": 200, "test": 210}}
THUMOS_SEGMENTS = {"csv": {"train": 3007, "test": 3358}, "json": {"train": 3007, "test": 3311}}
_SUBSETS = {"val": "train", "test": "test"}  # THUMOS trains on its validation videos
_Row = tuple[str, str, str, str, str, str]  # where, split, video, class, start, end
_HMDB_NOTE = ("Within a class a source video is on one side of the split; under another class the same video may be on "
              "the other side (457 to 529 of the 1,530 test clips).")


def arid(root: Path | str, split: str = "1") -> Catalogue:
    """ARID v1.0: 11 classes, 3 splits. The ``other`` clips are left out: they share groups with train and test."""
    return _arid("ARID v1.0", root, near(root, "list_cvt/mapping_table.txt"), split, ARID_COUNTS,
                 "The `other` list shares groups with train and test and is left out; validation is carved from train.",
                 "The test sets of the three splits overlap: their mean is not one of independent tests.")


def arid15(root: Path | str, split: str = "1") -> Catalogue:
    """ARID v1.5, whose splits are published nowhere: your lists in ``list_v1.5``, or else three own folds by group. As
    5,572 clips are reported second-hand, another number is a note and no error."""
    if mapping := find_near(root, "list_v1.5/mapping_table.txt"):
        catalogue = _arid("ARID v1.5", root, mapping, split, {}, "The lists are not published ones but yours.")
    else:
        catalogue = replace(own_folds(open_clips(root), 3, split), name="ARID v1.5")
    note = f"{len(catalogue.records)} clips; {ARID15_CLIPS} are reported for ARID v1.5, and no list is published."
    return replace(catalogue, notes=(*catalogue.notes, note))


def _arid(name: str, root: Path | str, mapping: Path, split: str, counts: Mapping[str, Counts],
          *notes: str) -> Catalogue:
    rows = []
    for part in ("train", "other", "others", "test"):  # a README writes _others, own lists may lack it
        path = mapping.with_name(f"ARID_split{split}_{part}.txt")
        if part in ("train", "test") or path.is_file():
            rows += [(where, clip, number, part) for where, (_, number, clip) in read_list(path, 3, name_first=False)]
    return _finish(name, root, _class_index(mapping, 0), rows, counts.get(split), notes)


def dark48(root: Path | str, split: str = "1") -> Catalogue:
    """Dark-48: 48 classes, 3 splits that are random draws of clips; a group is a source video."""
    lists = near(root, "annotations/classInd.txt")
    rows = [(where, clip, number, part, re.sub(r"_\d+$", "", PurePosixPath(clip).stem)) for part in ("train", "test")
            for where, (clip, number) in read_list(lists.with_name(f"{part}_split{split}.txt"), 2)]
    note = ("The splits are random draws of clips: report the accuracy without those test clips, too, whose group "
            "training has.")
    return _finish("Dark-48", root, _class_index(lists, 0), rows, DARK48_COUNTS.get(split), (note,))


def ucf101(root: Path | str, split: str = "1") -> Catalogue:
    """UCF-101: 101 classes, 3 splits disjoint by group (g01 … g25). The folder names the class, the file need not."""
    lists = near(root, "ucfTrainTestlist/classInd.txt")
    index = _class_index(lists, 1)
    number_of = {name: number for number, name in index.items()}
    rows = [(where, clip, number, "train")
            for where, (clip, number) in read_list(lists.with_name(f"trainlist0{split}.txt"), 2)]
    rows += [(where, clip, number_of.get(clip.split("/")[0], clip.split("/")[0]), "test")
             for where, (clip,) in read_list(lists.with_name(f"testlist0{split}.txt"), 1)]
    return _finish("UCF-101", root, index, rows, UCF_COUNTS.get(split))


def hmdb51(root: Path | str, split: str = "1") -> Catalogue:
    """HMDB-51: 51 classes in alphabetical order, 3 splits; clips of flag 0 are in neither part of a split."""
    ending = f"_test_split{split}.txt"
    folder = near(root, f"testTrainMulti_7030_splits/*{ending}").parent
    lists = sorted(folder.glob(f"*{ending}"), key=lambda path: path.name.removesuffix(ending))  # climb, climb_stairs
    index = {str(label): path.name.removesuffix(ending) for label, path in enumerate(lists)}
    rows = []
    for (number, name), path in zip(index.items(), lists, strict=True):
        for where, (clip, flag) in read_list(path, 2):
            if flag not in ("0", "1", "2"):
                raise CatalogueError(f"{where}: flag {flag!r}, expected 1 (train), 2 (test) or 0 (unused).")
            part = ("unused", "train", "test")[int(flag)]
            rows.append((where, f"{name}/{clip}", number, part, _hmdb_group(where, clip, name)))
    return _finish("HMDB-51", root, index, rows, HMDB_COUNTS.get(split), (_HMDB_NOTE,))


def coviar(root: Path | str, name: str, split: str = "1") -> Catalogue:
    """CoViAR's lists for ``name`` = ``ucf101`` or ``hmdb51``; their order of classes is not the data set's own. Where
    there is a folder ``mpeg4_videos``, the clips are in it; its scripts leave the originals beside it."""
    hmdb = name == "hmdb51"
    lists = near(root, f"datalists/{name}_split{split}_train.txt").parent
    rows = [(where, clip, number, part, _hmdb_group(where, clip, word) if hmdb else "", word)
            for part in ("train", "test")
            for where, (clip, word, number) in read_list(lists / f"{name}_split{split}_{part}.txt", 3)]
    index = _checked_index([(where, number, word) for where, _, number, _, _, word in rows], 0)
    note = "The order of the classes is CoViAR's: never mix its class numbers with those of the released set."
    made = (Path(root).expanduser() / place for place in ("mpeg4_videos", f"{name}/mpeg4_videos"))
    return _finish("HMDB-51 (CoViAR)" if hmdb else "UCF-101 (CoViAR)", root, index, [row[:5] for row in rows],
                   (HMDB_COUNTS if hmdb else UCF_COUNTS).get(split), (note, *[_HMDB_NOTE] * hmdb),
                   inside=next((place for place in made if place.is_dir()), None))


def thumos14(root: Path | str, split: str = "csv") -> Catalogue:
    """20 classes, one record per segment; the id is ``<class>/<video>@<start>-<end>``, the group is the video.

    ``split`` names the ground truth: "csv" reads the annotation tables, of 212 test videos and a 213th with Ambiguous
    segments alone, which are left out. "json" reads the file that published scores are made with: 210 test videos,
    without video_test_0000270 and video_test_0001496. Some segments of either end after their video does.
    """
    if split not in THUMOS_SEGMENTS:
        raise CatalogueError(f"no split {split!r}: the ground truths are {' and '.join(THUMOS_SEGMENTS)}.")
    index = {name: number for _, (number, name) in
             read_list(near(root, "Class Index_Detection.txt"), 2, name_first=False)}
    rows = list(_from_json(root, index) if split == "json" else _from_tables(root, index))
    kept = [row for row in rows if row[3] != "Ambiguous"]
    records = []
    for where, part, video, name, *cells in kept:
        start, end = times(*cells, where)
        records.append(ClipRecord(f"{name}/{video}@{start:g}-{end:g}", Path(f"{video}.mp4"), list(index).index(name),
                                  part, video, start, end, where))
    videos = Counter(part for part, _ in {row[1:3] for row in kept})
    check_counts(f"{root} (videos of THUMOS14)", videos, THUMOS_VIDEOS[split])
    check_counts(f"{root} (THUMOS14)", Counter(record.split for record in records), THUMOS_SEGMENTS[split])
    tested = sum(record.split == "test" for record in records)
    note = (f"Ground truth: {split}, {videos['test']} test videos with {tested} segments; {len(rows) - len(kept)} "
            "Ambiguous ones are left out.")
    root = Path(root).expanduser()
    used, more = with_splits(_located(root, records, root), list(index), declared=True)
    return Catalogue("THUMOS14", root, tuple(index), used, (note, *more))


def _from_tables(root: Path | str, index: dict[str, str]) -> Iterator[_Row]:
    for prefix, split in _SUBSETS.items():
        path = near(root, f"{prefix}_Annotation.csv")
        for row, cells in read_table(path, ("video", "type", "type_idx", "start", "end")):
            where, name, number = f"{path}, row {row}", cells["type"], cells["type_idx"]
            if number != (index | {"Ambiguous": "0"}).get(name):
                raise CatalogueError(f"{where}: class {number} {name} is not in the class index. Take both files as "
                                     "they were released.")
            yield where, split, cells["video"], name, cells["start"], cells["end"]


def _from_json(root: Path | str, index: dict[str, str]) -> Iterator[_Row]:
    path = near(root, "thumos_gt.json")
    try:
        for video, info in json.loads(read_text(path))["database"].items():
            for number, annotation in enumerate(info["annotations"]):
                where, (start, end) = f"{path}, {video}, annotation {number}", annotation["segment"]
                name, split = annotation["label"], {"train": "train", "test": "test"}[info["subset"]]
                yield where, split, video, name if name in index else index[name], str(start), str(end)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CatalogueError(f"{path}: not the ground truth of THUMOS14 ({error!r}): expected database → video → "
                             "subset, annotations → segment, label. Take the file as it was released.") from None


# --- what the readers share ----------------------------------------------------------------------------------------

def _finish(name: str, root: Path | str, index: Mapping[str, str], rows: Iterable[tuple], counts: Counts | None,
            notes: Iterable[str] = (), inside: Path | None = None) -> Catalogue:
    """The catalogue of ``rows`` (where, clip, class number, split, maybe a group), when counts and files are as they
    should be; the files are looked for in ``root``, or only ``inside`` a folder of it."""
    root, records = Path(root).expanduser(), [_record(index, *row) for row in rows]
    check_counts(f"{root} ({name})", Counter(record.split for record in records), counts)
    used = [record for record in records if record.split in ("train", "test")]
    used, more = with_splits(_located(root, used, inside or root), list(index.values()), declared=True)
    return Catalogue(name, root, tuple(index.values()), used, (*notes, *more))


def _record(index: Mapping[str, str], where: str, clip: str, number: str, split: str, group: str = "") -> ClipRecord:
    clip = check_name(clip, where)
    if number not in index:
        raise CatalogueError(f"{where}: unknown class {number!r}; the classes are {some(index.values(), 5)}. Take the "
                             "lists as they were released.")
    name, folder = index[number], PurePosixPath(clip).parent.name
    if folder and folder.casefold() != name.casefold():
        raise CatalogueError(f"{where}: the clip lies in the folder {folder}, and its class number {number} stands for "
                             f"{name}. Lists and class index do not belong together; take both as they were released.")
    id_ = PurePosixPath(clip).with_suffix("").as_posix()
    return ClipRecord(id_, Path(clip), list(index).index(number), split, group or group_from_name(id_, name),
                      where=where)


def _located(root: Path, records: list[ClipRecord], inside: Path) -> list[ClipRecord]:
    """The records of the data set in ``root`` with the paths of their files, up to two folders below ``inside``.

    The file type may differ from the list's (ARID's lists say .avi and the download is .mp4, CoViAR makes .mp4 of
    .avi), and so may the case of a folder (HandstandPushups).
    """
    keys = [composed(f"{record.path.parent.name.casefold()}/{record.path.stem}") for record in records]
    wanted, folders = set(keys), {key.split("/")[0] for key in keys}
    there: dict[str, Path] = {}
    for base in (inside, *sorted(inside.glob("*/")), *sorted(inside.glob("*/*/"))):
        if any(map(is_aside, base.relative_to(inside).parts)):
            continue
        here = [(composed(folder.name.casefold()), folder) for folder in base.glob("*/")] + [("", base)]
        for name, file in ((name, file) for name, folder in here if name in folders for file in folder.iterdir()):
            key = composed(f"{name}/{file.stem}")
            if key in wanted and is_video(file) and there.setdefault(key, file) != file:
                raise CatalogueError(f"{file}: the clip is also there as {there[key]}. Open the folder that holds the "
                                     "one you mean, or move the other away.")
    if lost := [f"{r.path} ({r.where})" for r, key in zip(records, keys, strict=True) if key not in there]:
        raise FileNotFoundError(f"{root}: {len(lost)} of {len(records)} listed clips are missing: {some(lost)}. Unpack "
                                "the whole data set there, or correct the list.")
    return [replace(record, path=there[key]) for record, key in zip(records, keys, strict=True)]


def _class_index(path: Path, first: int) -> dict[str, str]:
    return _checked_index([(where, number, name) for where, (number, name) in
                           read_list(path, 2, name_first=False)], first)


def _checked_index(rows: list[tuple[str, str, str]], first: int) -> dict[str, str]:
    """Class number → name, in the order of the numbers, which must run from ``first`` without a gap."""
    index, numbers = {}, {}
    for where, number, name in rows:
        if index.setdefault(number, name) != name or numbers.setdefault(name, number) != number:
            raise CatalogueError(f"{where}: class {number} {name} contradicts a row above. Take the list as released.")
    order = [str(number) for number in range(first, first + len(index))]
    if missing := [number for number in order if number not in index]:
        raise CatalogueError(f"{rows[-1][0]}: there is no class {some(missing)}. Take the list as it was released.")
    return {number: index[number] for number in order}


def _hmdb_group(where: str, clip: str, name: str) -> str:
    """Class and source video: "<source>_<class>_u_nm_np1_ba_goo_0.avi"."""
    if (source := re.match(rf"(.+)_{re.escape(name)}_[a-z]+_", PurePosixPath(clip).stem)) is None:
        raise CatalogueError(f"{where}: the name does not say its class {name}. Take the list as it was released.")
    return f"{name}/{source[1]}"
