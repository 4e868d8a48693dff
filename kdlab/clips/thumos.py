"""THUMOS14 for temporal detection: annotated segments of untrimmed videos (section 6 of docs/methods.md)."""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from kdlab.clips.catalogue import Catalogue, ClipRecord
from kdlab.clips.released import Counts, finish, published
from kdlab.clips.tables import CatalogueError, check_counts, near, read_list, read_table, read_text, times

VIDEOS = {"csv": {"train": 200, "test": 212}, "json": {"train": 200, "test": 210}}
SEGMENTS = {"csv": {"train": 3007, "test": 3358}, "json": {"train": 3007, "test": 3311}}
_SUBSETS = {"val": "train", "test": "test"}  # THUMOS trains on its validation videos
_Row = tuple[str, str, str, str, str, str]  # where, split, video, class, start, end


def thumos14(root: Path | str, split: str = "csv", expected: Counts | None = None) -> Catalogue:
    """20 classes, one record per segment; the id is ``<class>/<video>@<start>-<end>``, the group is the video.

    ``split`` names the ground truth: "csv" reads the annotation tables, of 212 test videos and a 213th with Ambiguous
    segments alone, which are left out. "json" reads the file that published scores are made with: 210 test videos,
    without video_test_0000270 and video_test_0001496. Some segments of either end after their video does.
    ``expected`` replaces the counts of segments; videos are not counted then.
    """
    counts = expected or published(SEGMENTS, split)
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
    if expected is None:
        check_counts(f"{root} (videos of THUMOS14)", videos, VIDEOS[split])
    tested = sum(record.split == "test" for record in records)
    note = (f"Ground truth: {split}, {videos['test']} test videos with {tested} segments; {len(rows) - len(kept)} "
            "Ambiguous ones are left out.")
    return finish("THUMOS14", root, index, records, counts, (note,))


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
        for video, its in json.loads(read_text(path, "It belongs to the released lists."))["database"].items():
            for number, annotation in enumerate(its["annotations"]):
                where, (start, end) = f"{path}, {video}, annotation {number}", annotation["segment"]
                if annotation["label"] not in index or its["subset"] not in ("train", "test"):
                    raise CatalogueError(f"{where}: class {annotation['label']} in subset {its['subset']} is unknown. "
                                         "Take the file as it was released.")
                yield where, its["subset"], video, annotation["label"], str(start), str(end)
    except CatalogueError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CatalogueError(f"{path}: not the ground truth of THUMOS14 ({error!r}): expected database → video → "
                             "subset, annotations → segment, label.") from None
