"""Untrimmed `night`: one actor, one place, 20 to 60 seconds, several actions with idle time between them.

Actor, place, camera and light are drawn as for trimmed clips. These parts are new:

* Half a second before the start of an action, the idle pose begins to blend into it; the reverse follows its end.
* An actor who sits down stays seated for a while, and the next action is to stand up. Both actions are labelled if they
  are among the classes; otherwise they happen without a label. The chair is there from the start.
* An actor who walks or runs sets out in the current direction, and turns so as to stay within a few metres of the
  start. The camera follows with a delay, and only in part.
* The first 8 seconds set the exposure.
* Passers-by and other distractors come at any time.

A folder holds ``dark``, ``dark_mpeg4``, ``bright`` and ``truth``, as for trimmed clips, but with one sub-folder per
split. ``index.csv`` has one row per labelled segment (path,label,split,group,start,end; seconds). ``videos.csv`` has
one row per video (path,split,group,seconds).
"""

import json
from dataclasses import asdict, dataclass
from functools import cache, partial
from pathlib import Path

import cv2
import numpy as np

from kdlab.clips.records import Catalogue, ClipRecord
from kdlab.protocols import Data
from kdlab.system.files import text_hash
from kdlab.system.paths import data_dir
from kdlab.system.values import finite, integer

from . import folder
from .drawing import (
    ACTIONS,
    FPS,
    SPLITS,
    Performance,
    Segment,
    group_of_video,
    render_video,
    staged,
)
from .make import Night, Twins


@dataclass(frozen=True)
class Untrimmed(Data):
    """A set of untrimmed videos: ``videos`` in train, val and test; ``seconds`` their shortest and longest duration.

    ``classes``, ``variety`` and ``seed`` are those of :class:`kdlab.night.Night`. Three videos share an actor and a
    place (a group). A video depends on all values but ``videos``. Raises ``ValueError`` for impossible values.
    """

    classes: tuple[str, ...] = ACTIONS
    videos: tuple[int, int, int] = (24, 6, 12)
    seconds: tuple[float, float] = (20.0, 60.0)
    variety: float = 0.25
    seed: int = 0

    def __post_init__(self) -> None:
        integer(0, videos=list(self.videos))
        finite(seconds=list(self.seconds))
        if len(self.videos) != 3 or not any(self.videos):
            raise ValueError(
                f"videos={self.videos!r}: give three counts (train, val, test), e.g. (24, 6, 12)"
            )
        if len(self.seconds) != 2 or not 12 <= self.seconds[0] <= self.seconds[1]:
            raise ValueError(
                f"seconds={self.seconds!r}: give the shortest and the longest duration, from 12 on"
            )
        # Night checks the values that clips have too.
        Night(self.classes, variety=self.variety, seed=self.seed)

    @property
    def name(self) -> str:
        """The folder's name, e.g. ``night-untrimmed-v0.25-s0-1f3a``; the digits stand for classes and seconds."""
        rest = text_hash(json.dumps([self.classes, self.seconds]), 4)
        return f"night-untrimmed-v{self.variety:g}-s{self.seed}-{rest}"

    def fingerprint(self) -> str:
        """Hash of the values and of the generator's sources, 16 hex digits."""
        return text_hash(json.dumps([asdict(self), folder.sources()]))

    def catalogue(self) -> Catalogue:
        """The labelled segments of the dark H.264 videos in the data folder; makes missing videos."""
        return make_untrimmed(self)


@dataclass(frozen=True)
class UntrimmedStream(Twins):
    """The labelled segments of the ``bright`` (or ``dark``, ``dark_mpeg4``) videos of untrimmed ``night``."""

    night: Untrimmed
    stream: str = "bright"

    @property
    def name(self) -> str:
        return "night_untrimmed" + ("" if self.stream == "bright" else f"_{self.stream}")

    def catalogue(self) -> Catalogue:
        """One record per segment; makes missing videos."""
        return make_untrimmed(self.night, stream=self.stream)


@dataclass(frozen=True)
class _Job:
    spec: Untrimmed
    split: str
    index: int

    @property
    def group(self) -> str:
        return group_of_video(self.split, self.index)

    def name(self, stream: str) -> str:
        return f"{stream}/{self.split}/{self.split}-{self.index:04d}{folder.STREAMS.get(stream, '.npz')}"


def _performed(job: _Job) -> Performance:
    *_, performance = staged(job.spec, job.split, job.index)
    return performance


@cache  # each call of catalogue() needs it
def _labelled(job: _Job) -> tuple[Segment, ...]:
    segments = _performed(job).segments
    return tuple(segment for segment in segments if segment.label in job.spec.classes)


def make_untrimmed(
    spec: Untrimmed,
    root: Path | None = None,
    *,
    workers: int | None = None,
    progress: bool = True,
    stream: str = "dark",
) -> Catalogue:
    """Make the missing videos in ``root`` (default ``data_dir()/spec.name``); return the labelled segments of a stream.

    There is one record per segment; ``stream`` is "dark", "dark_mpeg4" or "bright". As in
    :func:`kdlab.night.make_night`, the work is parallel with the same bits, and resumable; a folder holds one data set.
    """
    root = Path(root) if root is not None else data_dir() / spec.name
    values = json.loads(json.dumps(asdict(spec)))
    values |= {"context": None}  # unlike in trimmed clips' folders
    del values["videos"]
    write_tables = partial(_write_tables, spec)
    folder.complete(
        root, _jobs(spec), values, folder.sources(), _make_one, write_tables, workers, progress
    )
    records = []
    for job in _jobs(spec):
        file = job.name(stream)
        for label, start, end in _labelled(job):
            name = f"{file.rpartition('.')[0]}@{start:g}-{end:g}"
            number = spec.classes.index(label)
            records.append(ClipRecord(name, root / file, number, job.split, job.group, start, end))
    name = spec.name if stream == "dark" else f"{spec.name}-{stream}"
    return Catalogue(name, root, spec.classes, tuple(records))


def _jobs(spec: Untrimmed) -> list[_Job]:
    jobs = []
    for split, count in zip(SPLITS, spec.videos, strict=True):
        jobs += [_Job(spec, split, k) for k in range(count)]
    return jobs


def _make_one(job: _Job, root: Path) -> None:
    cv2.setNumThreads(1)
    video = render_video(job.spec, job.split, job.index)
    labels, starts, ends = map(np.array, zip(*video.segments, strict=True))
    folder.write_video(
        job, root, video, segment_labels=labels, segment_starts=starts, segment_ends=ends
    )


def _write_tables(spec: Untrimmed, root: Path) -> None:
    """Write ``index.csv`` and ``videos.csv`` with every complete video, including those of larger specifications."""
    segments, videos = [], []
    for job in folder.made(root, lambda _, split, index: _Job(spec, split, index)):
        name = job.name("dark")
        videos.append([name, job.split, job.group, round(len(_performed(job).yaw) / FPS, 3)])
        for label, start, end in _labelled(job):
            segments.append([name, label, job.split, job.group, start, end])
    columns = "path", "label", "split", "group", "start", "end"
    folder.write_table(root / "index.csv", segments, columns)
    folder.write_table(root / "videos.csv", videos, ("path", "split", "group", "seconds"))
