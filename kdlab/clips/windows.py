"""From clips to the input of a network: windows, draws that all views of a clip share, and batches."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import cv2
import numpy as np
import torch
from torch.nn import functional as F

from kdlab.clips.cache import FrameCache
from kdlab.clips.records import Catalogue, ClipRecord
from kdlab.clips.views import View, require_own_pictures, tag
from kdlab.system.pool import each, track
from kdlab.system.values import fraction, integer, positive
from kdlab.video.container import timeline

_PATIENCE = 5.0  # seconds; if opening clips would take longer, all cores help


@dataclass(frozen=True)
class Draw:
    """Frames, place, flip and size of one clip's input, shared by all its views.

    ``top`` and ``left`` are fractions in [0, 1] of the free margin. ``box`` (height, width) has fractions too; the
    window that made the draw defines of which length.
    """

    frames: np.ndarray
    top: float = 0.5
    left: float = 0.5
    flip: bool = False
    box: tuple[float, float] | None = None

    def placed(self, pixels: np.ndarray, height: int, width: int) -> np.ndarray:
        """Crop ``(T, h, w, C)`` to ``height`` x ``width`` at the draw's place."""
        y = round(self.top * (pixels.shape[1] - height))
        x = round(self.left * (pixels.shape[2] - width))
        return pixels[:, y : y + height, x : x + width]


@dataclass(frozen=True)
class Window:
    """Sampling of a clip: ``frames`` moments, resized to short side ``side``, cut to a square ``crop``, in pixels.

    ``scales`` are the sizes of training boxes, as fractions, if a window has boxes. Raises ValueError for values out
    of range.
    """

    frames: int = 16
    side: int = 40
    crop: int = 36

    scales = ()

    def __post_init__(self):
        integer(1, frames=self.frames, side=self.side, crop=self.crop)
        if self.crop > self.side:
            raise ValueError(f"a window needs frames >= 1 and 1 <= crop <= side, got {self}")
        positive(scales=self.scales)
        fraction("a box does not exceed the picture", scales=self.scales)

    @property
    def least(self) -> int:
        """The fewest frames of a clip: half of the window's ``frames``, and at least 2."""
        return max(2, self.frames // 2)

    def moments(self, length: int, offset: float) -> np.ndarray:
        """``frames`` indices spread evenly over ``length`` frames; ``offset`` in [0, 1) shifts them within a stride.

        A clip shorter than ``frames`` repeats some of its frames; there is no black padding.
        """
        stride = length / self.frames
        return np.floor((np.arange(self.frames) + offset) * stride).astype(np.int64)

    def centre(self, length: int) -> Draw:
        """The evaluation draw: centred in time and space, not flipped."""
        return Draw(self.moments(length, 0.5))

    def random(self, length: int, generator: torch.Generator) -> Draw:
        """A training draw: random phase, place, flip and box."""
        numbers = 5 if self.scales else 4
        phase, top, left, flip, *which = torch.rand(numbers, generator=generator).tolist()
        return Draw(self.moments(length, phase), top, left, flip < 0.5, self.box(*which))

    def box(self, which: float = 0.0) -> tuple[float, float] | None:
        """The training box chosen by ``which`` in [0, 1)."""
        return (self.scales[int(which * len(self.scales))],) * 2 if self.scales else None

    def cut(self, draw: Draw, pixels: np.ndarray) -> np.ndarray:
        """Cut ``uint8 (T, h, w, C)`` to ``(T, crop, crop, C)``, without mirroring."""
        return draw.placed(pixels, self.crop, self.crop)

    def shown(self, draw: Draw, pixels: np.ndarray, view: View = View()) -> np.ndarray:
        """As :meth:`cut`; if the draw has ``flip``, also mirror as ``view`` does."""
        cut = self.cut(draw, pixels)
        return view.mirrored(cut) if draw.flip else cut

    def batches(self, catalogue: Catalogue, split: str, views: dict[str, View]) -> "ClipBatches":
        """Batches of the clips in ``split`` of a catalogue under ``views`` (name → view), through this window. Raises
        what :func:`kdlab.clips.views.require_own_pictures` raises."""
        require_own_pictures(catalogue, views.values())
        return ClipBatches(catalogue.split(split), views, self)


@dataclass(frozen=True)
class ConsecutiveWindow(Window):
    """The window of DL-KDD's reference pipeline (docs/methods.md, 1.5): ``frames`` consecutive frames.

    The start is random in training and centred in evaluation. A clip shorter than ``frames`` is repeated from its
    beginning; UCF-101, HMDB-51 and Dark-48 have clips of 11 to 31 frames. A training crop is a square at a random
    place, whose side is one of ``scales`` times the short side. Evaluation cuts the centre.
    """

    frames: int = 64
    side: int = 128
    crop: int = 112
    scales: tuple[float, ...] = (1.0, 0.875, 0.75, 0.66)

    least = 2

    def moments(self, length: int, offset: float) -> np.ndarray:
        """``frames`` consecutive indices modulo ``length``; ``offset`` in [0, 1) chooses among the starts that fit."""
        start = int(offset * (max(0, length - self.frames) + 1))
        return (start + np.arange(self.frames)) % length

    def cut(self, draw: Draw, pixels: np.ndarray) -> np.ndarray:
        """As in ``Window``; a training box is resized bilinearly to ``crop``."""
        if not draw.box:
            return super().cut(draw, pixels)
        side = round(draw.box[0] * min(pixels.shape[1:3]))
        cut = torch.as_tensor(draw.placed(pixels, side, side)).permute(0, 3, 1, 2).float()
        cut = F.interpolate(cut, (self.crop, self.crop), mode="bilinear").round_().byte()
        return cut.permute(0, 2, 3, 1).numpy()


@dataclass(frozen=True)
class Batch:
    """A batch: views by name, each ``(B, C, T, H, W)`` float, pixels in [0, 1]; ``labels (B,)``; the records' ids."""

    views: dict[str, torch.Tensor]
    labels: torch.Tensor
    ids: tuple[str, ...]

    def to(self, device: torch.device) -> "Batch":
        return Batch(
            {k: v.to(device) for k, v in self.views.items()}, self.labels.to(device), self.ids
        )


@dataclass
class ClipBatches:
    """Batches of ``records`` under several ``views`` (name → view) through one ``window`` and one frame cache."""

    records: Sequence[ClipRecord]
    views: dict[str, View]
    window: Window = field(default_factory=Window)
    cache: FrameCache = field(default_factory=FrameCache)

    def __post_init__(self):
        #: View → its tag in the cache, which may take as long as reading a clip.
        self.tags = {view: tag(view) for view in {*self.views.values()}}

    def stretch(self, record: ClipRecord) -> tuple[int, int]:
        """First frame of a clip in its file, and number of frames, from the record's ``start`` and ``end``."""
        length = self._count(record)
        if record.start is None and record.end is None:
            return 0, length
        return timeline(record.path).stretch(record.start, record.end, length)

    def _count(self, record: ClipRecord) -> int:
        """Number of frames of a clip's whole file."""
        view = next(iter(self.views.values()))
        return self.cache.length(record.path, self.window.side, view.yield_frames, self.tags[view])

    def pixels(self, record: ClipRecord, view: View, frames: np.ndarray) -> np.ndarray:
        """The ``frames`` of a clip (counted from its start) under a view: resized, ``uint8 (T, h, w, C)``."""
        frames = frames if record.start is None else self.stretch(record)[0] + frames
        return self.cache.frames(
            record.path, frames, self.window.side, view.yield_frames, self.tags[view]
        )

    def length(self, record: ClipRecord) -> int:
        """Number of frames of a clip. Raises ValueError if the window needs more."""
        length = self.stretch(record)[1]
        if length < self.window.least:
            raise ValueError(
                f"{record.id} of {record.path} has {length} frame(s), and {self.window.least} are the "
                f"least for a window of {self.window.frames}; remove the clip from the index, or ask for "
                "fewer frames"
            )
        return length

    def collate(self, indices: Sequence[int], draws: Sequence[Draw]) -> Batch:
        """The batch of ``records[i]``, cut by ``draws``; all views of a clip share its draw."""
        chosen, tensors = [self.records[i] for i in indices], {}
        for view in set(self.views.values()):  # a same-light teacher and student share one tensor
            cut = [
                self.window.shown(draw, self.pixels(record, view, draw.frames), view)
                for record, draw in zip(chosen, draws, strict=True)
            ]
            for record, pixels in zip(chosen, cut, strict=True):
                if pixels.shape != cut[0].shape:
                    raise ValueError(
                        f"{record.path} has pictures of another shape than {chosen[0].path}; bring all "
                        "clips to one size: kdlab data transcode FOLDER --out OTHER_FOLDER"
                    )
            # NumPy converts and divides in one pass. (B, T, H, W, C) permuted to (B, C, T, H, W) is channels-last: the
            # fast layout needs no copy.
            scaled = np.divide(np.stack(cut), np.float32(255), dtype=np.float32)
            tensor = torch.from_numpy(scaled).permute(0, 4, 1, 2, 3)
            tensors[view] = view.finish(tensor)
        views = {name: tensors[view] for name, view in self.views.items()}
        return Batch(views, torch.tensor([r.label for r in chosen]), tuple(r.id for r in chosen))

    def training(
        self, indices: Sequence[int], generator: torch.Generator, part: slice = slice(None)
    ) -> Batch:
        """A batch with random draws, or a ``part`` of it. The draws of all clips are made, so that they depend on the
        generator alone."""
        draws = [self.window.random(self.length(self.records[i]), generator) for i in indices]
        return self.collate(indices[part], draws[part])

    def evaluation(self, batch_size: int = 64) -> Iterator[Batch]:
        """Yield batches of all records in order, with the centre draw."""
        for start in range(0, len(self.records), batch_size):
            records = self.records[start : start + batch_size]
            draws = [self.window.centre(self.length(record)) for record in records]
            yield self.collate(range(start, start + len(records)), draws)

    def statistics(self, view: str) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and standard deviation per channel, each ``(C,)``, of one view over about 256 spread clips."""
        step = max(1, len(self.records) // 256)
        selected = replace(self, records=self.records[::step], views={view: self.views[view]})
        count, total, squares = 0, 0.0, 0.0
        for batch in selected.evaluation():
            x = batch.views[view].double()
            count += x.numel() // x.shape[1]
            total += x.sum((0, 2, 3, 4))
            squares += (x * x).sum((0, 2, 3, 4))
        mean = total / count
        deviation = (squares / count - mean * mean).clamp_min(0).sqrt().clamp_min(1e-3)
        return mean.float(), deviation.float()


def open_all(parts: Sequence[ClipBatches]) -> None:
    """Open every clip of ``parts`` once, under each of their views, so that a bad file is named before any training.
    This fills the cache.

    Raises the error of the bad clip (DamagedClip, FileNotFoundError, ValueError for a short clip …). For several bad
    clips, raises a ValueError that names the first twenty, in the order of the parts.
    """
    jobs = []
    for clips in parts:
        segments = {(r.path, r.start, r.end): r for r in clips.records}
        jobs += [(clips, record) for record in segments.values()]
    faults = [fault for fault in track(_faults(jobs), "opening clips", len(jobs)) if fault]
    if len(faults) == 1:
        raise faults[0]
    if faults:
        head = f"{len(faults)} clips cannot be used; mend or remove them:"
        raise ValueError("\n  ".join([head, *map(str, faults[:20])]))


def _faults(jobs: list[tuple[ClipBatches, ClipRecord]]) -> Iterator[Exception | None]:
    """Yield the error of each clip, or None. Cached clips open at once, so this process begins alone; if the rest would
    take longer than ``_PATIENCE``, all cores help."""
    for number, job in enumerate(jobs, 1):
        began = time.monotonic()
        yield _fault(*job)
        if (time.monotonic() - began) * (len(jobs) - number) > _PATIENCE:
            yield from each(_fault_alone, *zip(*jobs[number:], strict=True), chunk=8)
            return


def _fault(clips: ClipBatches, record: ClipRecord) -> Exception | None:
    """Read one clip under every view, as an evaluation does, and return its error, or None."""
    try:
        next(replace(clips, records=(record,)).evaluation())  # replace() keeps the cache
    except (ValueError, OSError) as error:  # damaged, too short, wrong codec, missing, unreadable
        return error


def _fault_alone(clips: ClipBatches, record: ClipRecord) -> Exception | None:
    """As :func:`_fault`, in one thread: the other cores have their own workers."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    return _fault(clips, record)
