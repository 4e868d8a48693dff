"""A folder of made videos: whose it is, who made it, written whole or not at all, in parallel, resumable."""

import csv
import json
import re
from collections.abc import Callable, Iterable, Iterator
from functools import cache, partial
from pathlib import Path

import numpy as np

from kdlab.system.files import NotOurs, delete_old_drafts, may_fill, write_atomically
from kdlab.system.pool import each, track
from kdlab.system.sources import files_hash

from .codec import write_h264, write_mpeg4
from .spec import NightError

STREAMS = {"dark": ".mp4", "dark_mpeg4": ".avi", "bright": ".avi"}
TRUTH = "truth"
#: What lies beside the videos.
TABLES = ("night.json", "index.csv", "videos.csv")
_VIDEO = re.compile(r"(train|val|test)-\d{4,}\.(mp4|avi|npz)")


@cache
def sources(*without: str) -> str:
    """Sixteen hex digits of this package's sources, docstrings and comments stripped, but for the files ``without``."""
    return files_hash(path for path in Path(__file__).parent.glob("*.py") if path.name not in without)[:16]


def about(root: Path) -> dict:
    """What ``night.json`` says of the folder; empty where there is none. Raises NightError when it is damaged, or was
    written by something else."""
    file = root / "night.json"
    try:
        held = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (ValueError, IsADirectoryError) as error:
        raise NightError(f"{file}: not readable ({error}); remove the folder and make it anew") from None
    if not (isinstance(held, dict) and held.keys() >= {"generator", "variety", "seed"}):
        raise NightError(f"{file}: not written by `kdlab data night`; give another folder")
    return held


def check_free(root: Path) -> None:
    """Raise NightError where ``root`` is neither free nor a folder of this package's making; nothing is touched."""
    try:
        may_fill(root, lambda folder: bool(about(folder)), "data set")
    except NotOurs as error:
        raise NightError(str(error)) from None


def claim(root: Path, values: dict, generator: str) -> None:
    """Check that ``root`` may hold the data set of ``values``, and drop what another version of ``generator`` left."""
    check_free(root)
    held = about(root)
    made_by = held.pop("generator", None)
    if any(held[name] != values[name] for name in held.keys() & values.keys()):  # an older kdlab knew fewer
        raise NightError(f"{root}: holds another night data set, {held}, not {values}; give another folder")
    folders = list(_folders(root))
    if made_by != generator:
        for file in (file for folder in folders for file in sorted(folder.iterdir())):
            if _VIDEO.fullmatch(file.name):  # somebody may have put more into these folders
                file.unlink()
        text = json.dumps({**values, "generator": generator}, indent=1)
        write_atomically(root / "night.json", lambda path: path.write_text(text + "\n", encoding="utf-8"))
    for folder in (root, *folders):
        delete_old_drafts(folder)


def is_own(name: str) -> bool:
    """Whether this package gives files that ``name``."""
    return name in TABLES or bool(_VIDEO.fullmatch(name))


def _folders(root: Path) -> Iterator[Path]:
    """The folders of videos and truths in ``root``, the truths' first.

    Raises NightError where one is a link: it leads to a place of somebody's own.
    """
    for stream in (TRUTH, *STREAMS):
        for folder in (root / stream, *sorted((root / stream).glob("*"))):
            if folder.is_symlink() and folder.is_dir():
                raise NightError(f"{folder} is a link, and what lies behind it is not touched; put the folder itself "
                                 "there, or give another folder")
            if folder != root / stream and folder.is_dir():
                yield folder


def make_all(make_one: Callable, jobs: list, root: Path, name: str, workers: int | None, progress: bool) -> None:
    """``make_one(job, root)`` for every job that :func:`finished` does not find, in ``workers`` processes."""
    for folder in {job.file(root, stream).parent for job in jobs for stream in (*STREAMS, TRUTH)}:
        folder.mkdir(parents=True, exist_ok=True)
    made = each(partial(make_one, root=root), jobs, workers=1 if len(jobs) < 4 else workers)
    for _ in track(made, name, total=len(jobs)) if progress else made:
        pass


def finished(job, root: Path) -> bool:
    """Whether all files of ``job`` are there."""
    return all(job.file(root, stream).is_file() for stream in (TRUTH, *STREAMS))


def write_video(job, root: Path, video, **truth: np.ndarray) -> None:
    """The three streams of ``video`` (with ``dark``, ``bright``, ``masks`` and ``joints``), and its truth at last."""

    def write_truth(path: Path) -> None:
        with path.open("wb") as file:  # an open file, because numpy would append .npz to the temporary name
            np.savez_compressed(file, masks=np.packbits(video.masks), shape=np.array(video.masks.shape),
                                joints=video.joints, **truth)  # fmt: skip

    write_atomically(job.file(root, "dark"), lambda path: write_h264(path, video.dark))
    write_atomically(job.file(root, "dark_mpeg4"), lambda path: write_mpeg4(path, video.dark))
    write_atomically(job.file(root, "bright"), lambda path: write_mpeg4(path, video.bright))
    write_atomically(job.file(root, TRUTH), write_truth)


def read_truth(path: Path) -> dict[str, np.ndarray]:
    """The truth that :func:`write_video` has written. Raises FileNotFoundError when it is missing."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no ground truth there; the video was not made by `kdlab data night`")
    with np.load(path, allow_pickle=False) as file:
        found = {name: file[name] for name in file.files}
    shape = tuple(found.pop("shape"))
    found["masks"] = np.unpackbits(found["masks"], count=int(np.prod(shape))).reshape(shape).astype(bool)
    return found


def write_table(path: Path, rows: Iterable[Iterable]) -> None:
    """A CSV file; the first row names the columns."""

    def write(temporary: Path) -> None:
        with temporary.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file, lineterminator="\n").writerows(rows)

    write_atomically(path, write)
