"""Folders of generated videos: ownership, version of the generator, and atomic, parallel, resumable writing."""

import csv
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import cache, partial
from io import StringIO
from pathlib import Path

import numpy as np
from filelock import FileLock

from kdlab.system.files import delete_old_drafts, may_fill, save_arrays, write_atomically
from kdlab.system.pool import each, track
from kdlab.system.sources import files_hash
from kdlab.system.values import integer

from .drawing import write_h264, write_mpeg4

STREAMS = {"dark": ".mp4", "dark_mpeg4": ".avi", "bright": ".avi"}
TRUTH = "truth"
#: The files beside the folders of videos.
TABLES = ("night.json", "index.csv", "videos.csv")
_VIDEO = re.compile(r"(train|val|test)-\d{4,}\.(mp4|avi|npz)")


@cache
def sources(*without: str) -> str:
    """Hash of the sources in ``drawing``, 16 hex digits, without docstrings, comments and the files ``without``."""
    files = (Path(__file__).parent / "drawing").glob("[!_]*.py")
    return files_hash(path for path in files if path.name not in without)[:16]


def about(root: Path) -> dict:
    """The content of ``night.json`` in the folder; empty if there is none.

    Raises ``ValueError`` if the file is damaged or was not written by kdlab.
    """
    file = root / "night.json"
    try:
        held = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (ValueError, IsADirectoryError) as error:
        raise ValueError(
            f"{file}: not readable ({error}); remove the folder and make it anew"
        ) from None
    if not (isinstance(held, dict) and held.keys() >= {"generator", "variety", "seed"}):
        raise ValueError(f"{file}: not written by `kdlab data night`; give another folder")
    return held


def check_free(root: Path) -> None:
    """Raise ``ValueError`` unless ``root`` is empty, missing, or a data set made by this package. Changes nothing."""
    may_fill(root, lambda folder: bool(about(folder)), "data set")


def complete(
    root: Path,
    jobs: list,
    values: dict,
    generator: str,
    make_one: Callable,
    write_tables: Callable,
    workers: int | None,
    progress: bool,
) -> None:
    """Make the missing videos of ``jobs`` in ``root``, by ``make_one(job, root)`` in ``workers`` processes.

    By default there is one process per core; their number does not change the videos. A killed call loses only the
    videos in progress. Videos of another version of the ``generator`` are made again; other files are not changed.
    Raises ``ValueError`` if the folder holds the data set of other ``values``, or files that are not kdlab's.
    """
    integer(1, workers=1 if workers is None else workers)
    check_free(root)  # before the lock file is created
    root.mkdir(parents=True, exist_ok=True)
    with FileLock(root / ".lock"):
        _claim(root, values, generator)
        if not (todo := missing(jobs, root)):
            return
        for folder in {root / os.path.dirname(name) for job in todo for name in names(job)}:
            folder.mkdir(parents=True, exist_ok=True)
        finished = each(partial(make_one, root=root), todo, workers=1 if len(todo) < 4 else workers)
        for _ in track(finished, root.name, total=len(todo)) if progress else finished:
            pass
        write_tables(root)


def missing(jobs: Iterable, root: Path) -> list:
    """The ``jobs`` with a missing file.

    Listing folders takes a tenth of the time of testing each file; a training reads the catalogue ten times.
    """
    wanted, there = {job: names(job) for job in jobs}, set()
    for folder in {os.path.dirname(name) for some in wanted.values() for name in some}:
        with suppress(FileNotFoundError, NotADirectoryError), os.scandir(root / folder) as files:
            there.update(f"{folder}/{file.name}" for file in files if file.is_file())
    return [job for job, some in wanted.items() if not there.issuperset(some)]


def made(root: Path, job_of: Callable) -> list:
    """The complete videos in ``root``, including those of larger sets, each by ``job_of(its folder, split, index)``."""
    jobs = []
    for path in sorted((root / TRUTH).glob("*/*.npz")):
        if is_own(path.name):
            split, number = path.stem.split("-")
            jobs.append(job_of(path.parent.name, split, int(number)))
    lacking = set(missing(jobs, root))
    return [job for job in jobs if job not in lacking]


def names(job) -> list[str]:
    """The files of ``job``, relative to its folder: the truth, and one video per stream."""
    return [job.name(stream) for stream in (TRUTH, *STREAMS)]


def _claim(root: Path, values: dict, generator: str) -> None:
    """Check that ``root`` may hold the data set of ``values``, and delete videos of other versions of ``generator``."""
    held = about(root)
    made_by = held.pop("generator", None)
    if any(
        held[name] != values[name] for name in held.keys() & values.keys()
    ):  # older kdlab wrote fewer
        raise ValueError(
            f"{root}: holds another night data set, {held}, not {values}; give another folder"
        )
    folders = list(_folders(root))
    if made_by != generator:
        for file in (file for folder in folders for file in sorted(folder.iterdir())):
            if _VIDEO.fullmatch(file.name):  # users may have put other files into these folders
                file.unlink()
        text = json.dumps({**values, "generator": generator}, indent=1)
        write_atomically(
            root / "night.json", lambda path: path.write_text(text + "\n", encoding="utf-8")
        )
    for folder in (root, *folders):
        delete_old_drafts(folder)


def is_own(name: str) -> bool:
    """Whether ``name`` is a file name that this package uses."""
    return name in TABLES or bool(_VIDEO.fullmatch(name))


def _folders(root: Path) -> Iterator[Path]:
    """Yield the folders of truths and videos in ``root``, those of truths first.

    Raises ``ValueError`` if one is a link, since it leads to a folder of the user.
    """
    for stream in (TRUTH, *STREAMS):
        for folder in (root / stream, *sorted((root / stream).glob("*"))):
            if folder.is_symlink() and folder.is_dir():
                raise ValueError(
                    f"{folder} is a link, and what lies behind it is not touched; put the folder itself "
                    "there, or give another folder"
                )
            if folder != root / stream and folder.is_dir():
                yield folder


def write_video(job, root: Path, video, **truth: np.ndarray) -> None:
    """Write the three streams of ``video`` (with ``dark``, ``bright``, ``masks`` and ``joints``), then its truth."""
    write_atomically(root / job.name("dark"), lambda path: write_h264(path, video.dark))
    write_atomically(root / job.name("dark_mpeg4"), lambda path: write_mpeg4(path, video.dark))
    write_atomically(root / job.name("bright"), lambda path: write_mpeg4(path, video.bright))
    masks = {"masks": np.packbits(video.masks), "shape": np.array(video.masks.shape)}
    save_arrays(root / job.name(TRUTH), masks | {"joints": video.joints} | truth)


def read_truth(path: Path) -> dict[str, np.ndarray]:
    """The truth that :func:`write_video` wrote to ``path``. Raises FileNotFoundError if it is missing."""
    if not path.is_file():
        raise FileNotFoundError(
            f"{path}: no ground truth there; the video was not made by `kdlab data night`"
        )
    with np.load(path, allow_pickle=False) as file:
        truth = {name: file[name] for name in file.files}
    shape = tuple(truth.pop("shape"))
    bits = np.unpackbits(truth["masks"], count=int(np.prod(shape)))
    return truth | {"masks": bits.reshape(shape).astype(bool)}


def write_table(path: Path, rows: list, columns: tuple[str, ...]) -> None:
    """Write ``rows`` to a CSV file with a header of ``columns``."""
    text = StringIO()
    csv.writer(text, lineterminator="\n").writerows([columns, *rows])
    write_atomically(
        path, lambda draft: draft.write_text(text.getvalue(), encoding="utf-8", newline="")
    )
