"""Untrimmed video as a detector sees it: windows that slide over a video, and the labelled segments in each.

A video is read at ``rate`` steps a second (and cached so); a window is ``frames`` consecutive steps. As in AFSD (arXiv
2103.13137) a segment belongs to a window that shows half of it or more, and is cut to the window; one of which less is
seen is marked, so that a loss can leave its place out.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from kdlab.clips.catalogue import Catalogue, ClipRecord
from kdlab.clips.decode import probe, read_frames
from kdlab.clips.tables import CatalogueError
from kdlab.clips.views import Batch, ClipBatches, Draw, View, Window

__all__ = ["AtRate", "VideoWindow", "WindowBatches", "Windows", "windows"]

PADDING, IGNORED = -1, -2  # in the place of a class


@dataclass(frozen=True)
class Windows(Window):
    """``frames`` steps at ``rate`` steps a second; windows begin ``stride`` steps apart. A training draw moves a window
    by up to half a stride."""

    frames: int = 64
    rate: float = 7.5
    stride: int = 32

    def moments(self, length: int, offset: float) -> np.ndarray:
        """Steps, counted from the window's nominal first one; ``offset`` in [0, 1), 0.5 for that."""
        return np.arange(self.frames) + round((offset - 0.5) * self.stride)


@dataclass(frozen=True)
class AtRate:
    """The view ``of`` at ``rate`` frames a second: those at the middles of equal steps, some repeated in slow video."""

    of: View
    rate: float

    @property
    def name(self) -> str:
        return f"{self.of.name}-{self.rate:g}hz"

    def read(self, path: Path, indices: Sequence[int] | None = None) -> np.ndarray:
        """Frames of ``path`` (all steps, or those at ``indices``), as the view ``of`` gives them."""
        count, fps, every = _length(path, self.rate)
        steps = np.arange(every) if indices is None else np.asarray(indices)
        return self.of.read(path, np.minimum((steps + 0.5) * fps / self.rate, count - 1).astype(int))

    def finish(self, pixels: torch.Tensor) -> torch.Tensor:
        """As the view ``of``."""
        return self.of.finish(pixels) if hasattr(self.of, "finish") else pixels


@dataclass(frozen=True)
class VideoWindow(ClipRecord):
    """The window of a ``video`` of ``seconds`` that begins at step ``first``; ``segments`` are the whole video's, as
    annotated: (start, end, class), in seconds. ``label`` says nothing."""

    video: str = ""
    seconds: float = 0.0
    first: int = 0
    segments: tuple[tuple[float, float, int], ...] = ()


def windows(catalogue: Catalogue, split: str, window: Windows) -> tuple[VideoWindow, ...]:
    """The windows of all videos of a split whose records are labelled segments, such as those of untrimmed `night` and
    of THUMOS14; a last one ends where its video does. Reads headers only.

    Segments may overlap, and end after the video (some of THUMOS14 do). Raises :class:`CatalogueError` naming a segment
    without times, one that ends before it starts, and one that begins after the video; FileNotFoundError for a missing
    video.
    """
    videos: dict[Path, list[ClipRecord]] = {}
    for record in catalogue.split(split):
        videos.setdefault(record.path, []).append(record)
    found = []
    for path, its in videos.items():
        count, fps, steps = _length(path, window.rate)
        for record in its:
            where = record.where or record.id
            if record.start is None or record.end is None or not 0 <= record.start < record.end:
                raise CatalogueError(f"{where}: segments need 0 <= start < end, in seconds, this one has "
                                     f"{record.start} and {record.end}. Correct the times.")
            if record.start >= count / fps:
                raise CatalogueError(f"{where}: the segment begins at {record.start:g} s, but {path} ends at "
                                     f"{count / fps:.2f} s. Correct the time, or restore the whole video.")
        segments = tuple((record.start, record.end, record.label) for record in its)
        name = path.relative_to(catalogue.root).with_suffix("").as_posix()
        last = max(0, steps - window.frames)
        for first in (*range(0, last, window.stride), last):
            found.append(VideoWindow(f"{name}@{first / window.rate:g}", path, -1, split, its[0].group, video=name,
                                     seconds=count / fps, first=first, segments=segments))
    return tuple(found)


@dataclass
class WindowBatches(ClipBatches):
    """Batches of :class:`VideoWindow` through :class:`Windows`; ``views`` are read :class:`AtRate` by themselves.

    ``labels (B, N, 3)`` are start and end in steps of the window, and class: −2 for one to be ignored; rows of −1 fill
    up. Where a video is shorter than a window its last frame stays on.
    """

    def __post_init__(self):
        self.views = {name: view if isinstance(view, AtRate) else AtRate(view, self.window.rate)
                      for name, view in self.views.items()}

    def length(self, record: ClipRecord) -> int:
        """Steps of a whole video."""
        view = next(iter(self.views.values()))
        return self.cache.length(record.path, self.window.side, view.read, view.name)

    def check(self, progress=iter) -> None:
        """As in ``ClipBatches``, each video once."""
        ClipBatches.check(replace(self, records=tuple({r.path: r for r in self.records}.values())), progress)

    def collate(self, indices: Sequence[int], draws: Sequence[Draw]) -> Batch:
        """The batch of windows ``records[i]``, moved as the draws say, but not out of their videos."""
        placed, tables = [], []
        for record, draw in zip((self.records[i] for i in indices), draws, strict=True):
            count, shift = self.length(record), draw.frames.min()
            first = np.clip(record.first + shift, 0, max(0, count - self.window.frames))
            placed.append(replace(draw, frames=np.minimum(first + draw.frames - shift, count - 1)))
            *times, label = np.array(record.segments).T
            times = np.stack(times) * self.window.rate - first
            seen = times.clip(0, min(self.window.frames, count - first))
            part = (seen[1] - seen[0]) / (times[1] - times[0])
            rows = np.stack([*seen, np.where(part >= 0.5, label, IGNORED)], 1)[part > 0]
            tables.append(torch.from_numpy(rows).float())
        longest = max(1, *map(len, tables))
        labels = [F.pad(rows, (0, 0, 0, longest - len(rows)), value=PADDING) for rows in tables]
        return replace(super().collate(indices, placed), labels=torch.stack(labels))

    def statistics(self, view: str, clips: int = 32) -> tuple[torch.Tensor, torch.Tensor]:
        """As in ``ClipBatches``, over windows: mean and standard deviation per channel, each ``(C,)``."""
        some = replace(self, records=self.records[:: max(1, len(self.records) // clips)])
        std, mean = torch.std_mean(torch.cat([b.views[view] for b in some.evaluation(8)]), (0, 2, 3, 4), correction=0)
        return mean, std.clamp_min(1e-3)


@cache
def _length(path: Path, rate: float) -> tuple[int, float, int]:
    """Frames of a video, as announced or else counted; frames a second; and how many steps at ``rate`` it has."""
    info = probe(path)
    count = info.frames or len(read_frames(path).frames)
    return count, info.fps, max(1, int(count / info.fps * rate + 1e-6))
