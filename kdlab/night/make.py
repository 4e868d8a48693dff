"""Clips on disk: made in parallel, resumable, each trusted only when its last file is there.

Layout of a data set's folder::

    night.json                 specification and the generator's fingerprint
    index.csv                  path,label,split,group of every finished dark clip, for people and other programs
    dark/<Class>/<id>.mp4      H.264, as people have it         dark_mpeg4/<Class>/<id>.avi  the same, MPEG-4 part 2
    bright/<Class>/<id>.avi    the well exposed noise-free twin, MPEG-4 part 2
    truth/<Class>/<id>.npz     masks, joints, light; written last
"""

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from filelock import FileLock

from kdlab.clips.catalogue import Catalogue, ClipRecord
from kdlab.paths import data_dir

from .body import JOINTS
from .clip import render_clip
from .folder import (
    STREAMS,
    TRUTH,
    about,
    check_free,
    claim,
    finished,
    is_own,
    make_all,
    read_truth,
    sources,
    write_table,
    write_video,
)
from .spec import SPLITS, Night, NightError, group_of


@dataclass(frozen=True)
class _Job:
    spec: Night
    split: str
    class_name: str
    index: int

    @property
    def id(self) -> str:
        return f"{self.split}-{self.index:04d}"

    def name(self, stream: str) -> str:
        return f"{stream}/{self.class_name}/{self.id}{STREAMS.get(stream, '.npz')}"

    def file(self, root: Path, stream: str) -> Path:
        return root / self.name(stream)


def make_night(
    spec: Night, root: Path | None = None, *, workers: int | None = None, progress: bool = True, stream: str = "dark"
) -> Catalogue:
    """Make the clips of ``spec`` that are missing in ``root`` (default ``data_dir()/spec.name``); those of ``stream``.

    ``workers``: processes, default one per core; the bits do not depend on it. A killed run loses the clips in
    progress only. Clips of another version of the generator are made anew, and nothing else in the folder is touched;
    one that holds a different data set, or anything that is not kdlab's, raises NightError.
    """
    if workers is not None and workers < 1:
        raise NightError(f"workers={workers!r}: give at least 1, or None for one per core")
    _known(stream)
    root = Path(root) if root is not None else data_dir() / spec.name
    check_free(root)  # before a lock is put there
    root.mkdir(parents=True, exist_ok=True)
    with FileLock(root / ".lock"):
        claim(root, spec.pixels, generator_fingerprint())
        if missing := _missing(spec, root):
            make_all(_make_one, missing, root, spec.name, workers, progress)
            _write_index(root)
    return _catalogue(spec, root, stream)


def night_catalogue(spec: Night, root: Path | None = None, stream: str = "dark") -> Catalogue:
    """The clips of ``spec`` in one of the streams "dark" (H.264), "dark_mpeg4" and "bright" (MPEG-4 part 2).

    Raises FileNotFoundError when they have not been made, or by another version of the generator.
    """
    _known(stream)
    root = Path(root) if root is not None else data_dir() / spec.name
    known = about(root)
    lacking, total = len(_missing(spec, root)), sum(spec.per_class) * len(spec.classes)
    if lacking or known.get("generator") != generator_fingerprint():
        why = f"{lacking} of {total} clips are missing" if lacking else "made by another version of the generator"
        raise FileNotFoundError(f"{root}: {why}; make them with `kdlab data night --out {root}` or make_night(spec)")
    return _catalogue(spec, root, stream)


@lru_cache(maxsize=32)
def _catalogue(spec: Night, root: Path, stream: str) -> Catalogue:
    records = tuple(
        ClipRecord(
            id=f"{stream}/{job.class_name}/{job.id}",
            path=job.file(root, stream),
            label=spec.classes.index(job.class_name),
            split=job.split,
            group=group_of(spec, job.split, job.class_name, job.index)[1],
        )
        for job in _jobs(spec)
    )
    return Catalogue(spec.name if stream == "dark" else f"{spec.name}-{stream}", root, spec.classes, records)


def _missing(spec: Night, root: Path) -> list[_Job]:
    """The clips of which a file is missing. A catalogue is asked for ten times in a training: folders are listed, which
    takes a tenth of asking for each file."""
    there = set()
    for stream in (TRUTH, *STREAMS):
        for class_name in spec.classes:
            with suppress(FileNotFoundError, NotADirectoryError), os.scandir(root / stream / class_name) as files:
                there.update(f"{stream}/{class_name}/{file.name}" for file in files if file.is_file())
    return [job for job in _jobs(spec) if not there.issuperset(map(job.name, (TRUTH, *STREAMS)))]


def truth(record: ClipRecord) -> dict[str, np.ndarray]:
    """Ground truth of a `night` clip of any stream.

    ``masks`` (36, 128, 160) bool, the actor's pixels; ``joints`` (36, 19, 2) float32 pixels, x and y, also outside the
    frame; ``joint_names`` (19,); the camera's ``electrons``, ``read_noise``, ``level``, ``black``, ``tone``, ….
    Raises FileNotFoundError when the record is not of a `night` folder.
    """
    path = record.path.parents[2] / TRUTH / record.path.parent.name / (record.path.stem + ".npz")
    return read_truth(path) | {"joint_names": np.array(JOINTS)}


def _known(stream: str) -> None:
    if stream not in STREAMS:
        raise NightError(f"stream={stream!r}: the streams are {', '.join(STREAMS)}")


def generator_fingerprint() -> str:
    """Sixteen hex digits of the sources that decide the pixels of a clip."""
    return sources("__init__.py", "darkened.py", "folder.py", "make.py", "streams.py", "untrimmed.py")


def _jobs(spec: Night) -> Iterator[_Job]:
    for split in SPLITS:
        for index in range(spec.count(split)):
            for class_name in spec.classes:
                yield _Job(spec, split, class_name, index)


def _make_one(job: _Job, root: Path) -> None:
    cv2.setNumThreads(1)
    clip = render_clip(job.spec, job.split, job.class_name, job.index)
    light = {name: np.array(value, np.float32) for name, value in asdict(clip.camera).items()}
    write_video(job, root, clip, **light)


def _write_index(root: Path) -> None:
    """List every finished clip in the folder, also those of larger specifications."""
    known = about(root)
    spec = Night(**{name: value for name, value in known.items() if name != "generator"})
    rows = []
    for path in (path for path in sorted((root / TRUTH).glob("*/*.npz")) if is_own(path.name)):
        split, number = path.stem.rsplit("-", 1)
        job = _Job(spec, split, path.parent.name, int(number))
        if finished(job, root):
            group = group_of(spec, split, job.class_name, job.index)[1]
            rows.append([job.file(root, "dark").relative_to(root).as_posix(), job.class_name, split, group])
    write_table(root / "index.csv", [["path", "label", "split", "group"], *rows])
