"""The specification of a `night` data set, and its clips on disk.

Clips are made in parallel. A clip counts as complete only with all its files, of which the truth is written last.
Layout of a data set's folder::

    night.json                 specification and the generator's fingerprint
    index.csv                  path,label,split,group of every complete dark clip, for users and other programs
    dark/<Class>/<id>.mp4      H.264, as ordinary videos        dark_mpeg4/<Class>/<id>.avi  the same, MPEG-4 part 2
    bright/<Class>/<id>.avi    the well exposed noise-free twin, MPEG-4 part 2
    dark_h264, bright_h264     the two MPEG-4 streams encoded again by H.264, where somebody has asked for them
    truth/<Class>/<id>.npz     masks, joints, light; written last
"""

import json
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

from kdlab.clips.records import Catalogue, ClipRecord
from kdlab.datasets.transcode import CoviarFormat, transcode
from kdlab.protocols import Data
from kdlab.system.files import text_hash
from kdlab.system.paths import data_dir
from kdlab.system.values import fraction, integer, one_of

from . import folder
from .drawing import ACTIONS, HEIGHT, JOINTS, SPLITS, WIDTH, group_of, render_clip

_H264 = {"dark_h264": "dark_mpeg4", "bright_h264": "bright"}


@dataclass(frozen=True)
class Night(Data):
    """The embedded data set: synthetic people who perform ARID's actions in the dark, made on this machine.

    classes: some of :data:`ACTIONS`, in the order of the labels; per_class: clips per class in train, val and test;
    variety: 0..1, the range of framing, camera, view, tempo, clutter and bodies (``RANGES``); context: 0..1, the
    probability that place and props reveal the class; seed: of the data (a training has its own seed); actor=False
    removes the actor and movable props, to test how much the background reveals.

    A clip depends only on (variety, context, seed, actor, split, class, index). A smaller set is therefore a subset of
    a larger set, in the same folder. Raises ``ValueError`` for impossible values.
    """

    classes: tuple[str, ...] = ACTIONS
    per_class: tuple[int, int, int] = (24, 4, 12)
    variety: float = 0.5
    context: float = 0.0
    seed: int = 0
    actor: bool = True

    def __post_init__(self) -> None:
        unknown = [name for name in self.classes if name not in ACTIONS]
        if unknown or not self.classes or len(set(self.classes)) != len(self.classes):
            raise ValueError(
                f"classes={self.classes!r}: give different names from {', '.join(ACTIONS)}"
            )
        integer(0, seed=self.seed, per_class=list(self.per_class))
        fraction(variety=self.variety, context=self.context)
        if len(self.per_class) != 3 or not any(self.per_class):
            raise ValueError(
                f"per_class={self.per_class!r}: give three counts (train, val, test), e.g. (24, 4, 12)"
            )

    @property
    def short_name(self) -> str:
        return "night"

    @property
    def name(self) -> str:
        """The folder's name, from the values that change pixels, e.g. ``night-v0.5-c0-s0``."""
        name = f"night-v{self.variety:g}-c{self.context:g}-s{self.seed}"
        return name if self.actor else f"{name}-empty"

    @property
    def pixels(self) -> dict[str, float | bool]:
        """The values that determine the pixels of each clip: all but ``classes`` and ``per_class``."""
        return {
            "variety": self.variety,
            "context": self.context,
            "seed": self.seed,
            "actor": self.actor,
        }

    def fingerprint(self) -> str:
        """Hash of the values and of the generator's sources, 16 hex digits."""
        values = [list(self.classes), list(self.per_class), *self.pixels.values()]
        return text_hash(json.dumps([values, generator_fingerprint()]))

    def catalogue(self) -> Catalogue:
        """The dark H.264 clips in the data folder; makes missing ones."""
        return make_night(self)

    def count(self, split: str) -> int:
        """Number of clips per class in ``split``."""
        return self.per_class[SPLITS.index(split)]


@dataclass(frozen=True)
class _Job:
    spec: Night
    split: str
    class_name: str
    index: int

    @property
    def group(self) -> str:
        return group_of(self.spec.seed, self.split, self.class_name, self.index)[1]

    @property
    def id(self) -> str:
        return f"{self.split}-{self.index:04d}"

    def name(self, stream: str) -> str:
        suffix = folder.STREAMS.get(_H264.get(stream, stream), ".npz")
        return f"{stream}/{self.class_name}/{self.id}{suffix}"


def make_night(
    spec: Night,
    root: Path | None = None,
    *,
    workers: int | None = None,
    progress: bool = True,
    stream: str = "dark",
) -> Catalogue:
    """Make the missing clips of ``spec`` in ``root`` (default ``data_dir()/spec.name``); return those of ``stream``.

    ``stream`` is "dark" (H.264 with B-frames), "dark_mpeg4" or "bright" (MPEG-4 part 2); other words raise
    ``ValueError``. For compressed networks "dark_h264" and "bright_h264" are the two MPEG-4 streams encoded again, by
    H.264 in the same GOPs and at the same quantiser; they are made when they are asked for. The work is parallel with
    the same bits, and resumable; a folder holds one data set (:func:`kdlab.night.folder.complete`).
    """
    one_of((*folder.STREAMS, *_H264), stream=stream)
    root = Path(root) if root is not None else data_dir() / spec.name
    made_by = spec.pixels, generator_fingerprint()
    folder.complete(root, _jobs(spec), *made_by, _make_one, _write_index, workers, progress)
    return _catalogue(spec, root, stream)


@lru_cache(maxsize=32)
def _catalogue(spec: Night, root: Path, stream: str) -> Catalogue:
    if stream in _H264:
        transcode(root / _H264[stream], root / stream, CoviarFormat(WIDTH, HEIGHT, codec="h264"))
    records = tuple(
        ClipRecord(
            id=f"{stream}/{job.class_name}/{job.id}",
            path=root / job.name(stream),
            label=spec.classes.index(job.class_name),
            split=job.split,
            group=job.group,
        )
        for job in _jobs(spec)
    )
    name = spec.name if stream == "dark" else f"{spec.name}-{stream}"
    return Catalogue(name, root, spec.classes, records)


def truth(record: ClipRecord) -> dict[str, np.ndarray]:
    """Ground truth of a `night` clip of any stream.

    ``masks`` (36, 128, 160) bool, the actor's pixels; ``joints`` (36, 19, 2) float32 pixels, x and y, possibly outside
    the frame; ``joint_names`` (19,); the camera's ``electrons``, ``read_noise``, ``level``, ``black``, ``tone``, ….
    Raises FileNotFoundError if the record is not from a `night` folder.
    """
    place = record.path.parents[2] / folder.TRUTH / record.path.parent.name
    return folder.read_truth(place / f"{record.path.stem}.npz") | {"joint_names": np.array(JOINTS)}


def generator_fingerprint() -> str:
    """Hash of the sources that determine the pixels of a clip, 16 hex digits."""
    return folder.sources("video.py")


def _jobs(spec: Night) -> list[_Job]:
    return [
        _Job(spec, split, class_name, index)
        for split in SPLITS
        for index in range(spec.count(split))
        for class_name in spec.classes
    ]


def _make_one(job: _Job, root: Path) -> None:
    cv2.setNumThreads(1)
    clip = render_clip(job.spec, job.split, job.class_name, job.index)
    light = {name: np.array(value, np.float32) for name, value in asdict(clip.camera).items()}
    folder.write_video(job, root, clip, **light)


def _write_index(root: Path) -> None:
    """Write ``index.csv`` with every complete clip in the folder, including those of larger specifications."""
    known = folder.about(root)
    spec = Night(**{name: value for name, value in known.items() if name != "generator"})
    jobs = folder.made(root, lambda class_name, split, index: _Job(spec, split, class_name, index))
    rows = [[job.name("dark"), job.class_name, job.split, job.group] for job in jobs]
    folder.write_table(root / "index.csv", rows, ("path", "label", "split", "group"))


class Twins(Data):
    """Base class: one ``stream`` of the videos of ``night``."""

    def fingerprint(self) -> str:
        """Hash of the fingerprint of ``night`` and the stream, 16 hex digits."""
        return text_hash(f"{self.night.fingerprint()} {self.stream}")


@dataclass(frozen=True)
class NightStream(Twins):
    """One ``stream`` of ``night`` in GOPs of 12 frames: ``bright`` or ``dark_mpeg4`` (MPEG-4 part 2), or
    ``bright_h264`` or ``dark_h264`` (H.264, see :func:`make_night`)."""

    night: Night
    stream: str = "bright"

    @property
    def name(self) -> str:
        """``night_bright``, with ``context`` appended if it is not 0: ``night_bright-c0.9``."""
        return f"night_{self.stream}" + (f"-c{self.night.context:g}" if self.night.context else "")

    def catalogue(self) -> Catalogue:
        """The clips of the stream; makes missing ones."""
        return make_night(self.night, stream=self.stream)
