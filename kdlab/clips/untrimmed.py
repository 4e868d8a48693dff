"""Input of a detector on untrimmed video: sliding windows and the labelled segments in each.

A video is sampled (and cached) at a fixed number of steps per second; a window is a number of consecutive steps. As in
AFSD (arXiv 2103.13137), a segment belongs to a window that shows at least half of it, and is cut to the window. A
segment of which less is visible is marked as ignored.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence

from kdlab.clips.records import SPLITS, Catalogue, CatalogueError, ClipRecord, require_apart
from kdlab.clips.views import Around, View, require_own_pictures
from kdlab.clips.windows import Batch, ClipBatches, Draw, Window
from kdlab.system.values import integer, positive
from kdlab.video.container import Frames, Indices, timeline

PADDING, IGNORED = -1, -2  # instead of a class index


@dataclass(frozen=True)
class Windows(Window):
    """Windows of ``frames`` steps at ``rate`` steps per second, one every ``stride`` steps.

    Training shifts each window at random by up to half a stride. With ``dense`` > 0, training follows AFSD: one window
    every ``dense`` steps, without shifts, and only windows that show a whole action. Validation and test keep
    ``stride``.
    """

    frames: int = 64
    rate: float = 7.5
    stride: int = 32
    dense: int = 0

    least = 1  # a shorter video repeats its last frame

    def __post_init__(self):
        super().__post_init__()
        positive(rate=self.rate)
        integer(1, stride=self.stride)
        integer(0, dense=self.dense)

    def moments(self, length: int, offset: float) -> np.ndarray:
        """Steps relative to the window's first step; ``offset`` in [0, 1) shifts them, and 0.5 does not."""
        return np.arange(self.frames) + (0 if self.dense else round((offset - 0.5) * self.stride))

    def batches(self, catalogue: Catalogue, split: str, views: dict[str, View]) -> "WindowBatches":
        """Batches of the windows of all videos in ``split``; every view is wrapped in :class:`AtRate`."""
        require_own_pictures(catalogue, views.values())
        views = {name: AtRate(view, self.rate) for name, view in views.items()}
        return WindowBatches(windows(catalogue, split, self), views, self)


@dataclass(frozen=True)
class AtRate(Around):
    """The view ``of`` at ``rate`` steps per second: the frame at the middle of each step; slow video repeats frames."""

    of: View
    rate: float

    @property
    def name(self) -> str:
        return f"{self.of.name}-{self.rate:g}hz"

    def each_frame(self, path: Path, indices: Indices = None) -> Frames:
        """Yield the frames of the view ``of`` at all steps of ``path``, or at the steps ``indices`` (ascending)."""
        steps = np.arange(_steps(path, self.rate)) if indices is None else np.asarray(indices)
        numbers, repeats = np.unique(
            timeline(path).shown(steps + 0.5, self.rate), return_counts=True
        )
        for frame, times in zip(self.of.yield_frames(path, numbers), repeats.tolist(), strict=True):
            yield from [frame] * times


@dataclass(frozen=True)
class VideoWindow(ClipRecord):
    """The window of a ``video`` that begins at step ``first``; ``label`` is unused.

    ``seconds`` is the duration of the video. ``segments`` are all annotated segments of the video: (start, end, class),
    in seconds.
    """

    video: str = ""
    seconds: float = 0.0
    first: int = 0
    segments: tuple[tuple[float, float, int], ...] = ()


def windows(catalogue: Catalogue, split: str, window: Windows) -> tuple[VideoWindow, ...]:
    """The windows of all videos of a split whose records are labelled segments (untrimmed `night`, THUMOS14).

    The last window of a video ends with the video. Decodes nothing. Segments may overlap. Some segments may lie after
    the end of their video, as in THUMOS14: no window shows them, and the detector's score counts them as missed.

    Raises :class:`CatalogueError` for two files of one video name, a segment without times, a segment that ends before
    it starts, a video whose segments all begin after its end, and a ``window.dense`` that leaves no training window.
    Raises FileNotFoundError for a missing video.
    """
    dense = window.dense if split == "train" else 0
    of_split = catalogue.split(split)
    # annotations and detections name a video by its path without suffix
    require_apart(
        of_split,
        lambda path: path.with_suffix(""),
        "rename one of the two films, and its rows in the table.",
    )
    videos: dict[Path, list[ClipRecord]] = {}
    for record in of_split:
        videos.setdefault(record.path, []).append(record)
    shown = []
    for path, records in videos.items():
        seconds, steps = timeline(path).seconds, _steps(path, window.rate)
        segments = _segments(path, records, seconds)
        low, high = np.array(segments)[:, :2].T * window.rate
        name = path.relative_to(catalogue.root).with_suffix("").as_posix()
        last = max(0, steps - window.frames)
        for first in (*range(0, last, dense or window.stride), last):
            whole = (first <= low + 1e-6) & (high <= first + window.frames + 1e-6)
            if dense and not whole.any():
                continue
            shown.append(
                VideoWindow(
                    f"{name}@{first / window.rate:g}",
                    path,
                    -1,
                    split,
                    records[0].group,
                    video=name,
                    seconds=seconds,
                    first=first,
                    segments=segments,
                )
            )
    if dense and videos and not shown:
        raise CatalogueError(
            f"{catalogue.root}: no window of {window.frames} steps at {window.rate:g} a second shows "
            f"a whole action, and dense={dense} trains on no others. Give more frames, or dense=0."
        )
    return tuple(shown)


def _segments(
    path: Path, records: list[ClipRecord], seconds: float
) -> tuple[tuple[float, float, int], ...]:
    """Start, end and class of the ``records`` of a video of ``seconds``; raises what :func:`windows` raises for them."""
    for record in records:
        if None in (record.start, record.end) or not 0 <= record.start < record.end:
            raise CatalogueError(
                f"{record.where or record.id}: segments need 0 <= start < end; this one has "
                f"{record.start} and {record.end}. Give the times in seconds, in columns start "
                "and end of an index.csv beside the videos with a row for each action."
            )
    first = min(records, key=lambda record: record.start)
    if first.start >= seconds:
        raise CatalogueError(
            f"{first.where or first.id}: all {len(records)} segments of {path} begin after its "
            f"end, at {seconds:g} s; this one at {first.start:g}. Correct the times, or restore "
            "the whole video."
        )
    return tuple((record.start, record.end, record.label) for record in records)


def all_annotated(data):
    """Return ``data`` if its clips are labelled segments of untrimmed videos, each video in one split. Decodes nothing.

    Raises CatalogueError for a video in two splits and for splits that cannot be used, and what :func:`windows` raises.
    """
    catalogue, splits = data.catalogue(), {}
    catalogue.require()
    for record in catalogue.records:
        if splits.setdefault(record.path, record.split) != record.split:
            raise CatalogueError(
                f"{record.where or record.id}: {record.path.name} has actions in "
                f"{splits[record.path]} and in {record.split}, so it would be learnt with half of its "
                "annotations. Put all rows of a video in one split."
            )
    for split in SPLITS:
        windows(catalogue, split, Windows())
    return data


class WindowBatches(ClipBatches):
    """Batches of :class:`VideoWindow` through :class:`Windows`, under views :class:`AtRate`.

    A video shorter than a window repeats its last frame. ``labels (B, N, 3)`` are start and end, in steps of the
    window, and class. Class −2 marks a segment that the loss ignores; rows of −1 are padding. If windows are ``dense``,
    each has one more row of class −2, which ends at 0 and starts at minus the length of the video's shortest segment.
    """

    def collate(self, indices: Sequence[int], draws: Sequence[Draw]) -> Batch:
        """The batch of windows ``records[i]``, shifted by their draws but kept within their videos."""
        placed, tables = [], []
        for record, draw in zip((self.records[i] for i in indices), draws, strict=True):
            count, shift = self.length(record), draw.frames.min()
            first = np.clip(record.first + shift, 0, max(0, count - self.window.frames))
            placed.append(replace(draw, frames=np.minimum(first + draw.frames - shift, count - 1)))
            start, end, label = np.array(record.segments).reshape(-1, 3).T
            times = np.stack([start, end]) * self.window.rate - first
            seen = times.clip(0, min(self.window.frames, count - first))
            part = (seen[1] - seen[0]) / (times[1] - times[0])
            rows = np.stack([*seen, np.where(part >= 0.5, label, IGNORED)], 1)[part > 0]
            if self.window.dense:
                rows = np.vstack([rows, [(times[0] - times[1]).max(), 0, IGNORED]])
            tables.append(torch.from_numpy(rows).float())
        nothing = torch.full(
            (1, 3), float(PADDING)
        )  # ensures one row of padding if no window has a segment
        labels = pad_sequence([*tables, nothing], batch_first=True, padding_value=PADDING)[:-1]
        return replace(super().collate(indices, placed), labels=labels)


def _steps(path: Path, rate: float) -> int:
    """The number of steps of a video at ``rate`` steps per second."""
    return max(1, int(timeline(path).seconds * rate + 1e-6))
