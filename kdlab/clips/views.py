"""Views of a clip, the draw that all views of one clip share, and the batches a network is fed.

A *view* turns a file into ``uint8`` frames ``(T, H, W, C)``; everything after it (sampling in time, crop, flip) is one
:class:`Draw`, made once per clip and applied to every view, so that a teacher and a student see the same moment of the
same place. Rule 3 of docs/methods.md, 0.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

import numpy as np
import torch

from kdlab.clips.cache import FrameCache
from kdlab.clips.catalogue import ClipRecord
from kdlab.clips.decode import DamagedClip, probe, read_frames
from kdlab.values import whole

__all__ = ["Batch", "ClipBatches", "Draw", "Enhanced", "MotionMix", "Raw", "TooShort", "UnusableClips", "View",
           "Window"]


class TooShort(ValueError):
    """A clip with too few frames to be an action."""


class UnusableClips(ValueError):
    """Several bad clips, each named with its reason in ``errors``."""

    def __init__(self, errors: list[Exception]):
        self.errors = errors
        shown = "\n  ".join(str(error) for error in errors[:20])
        super().__init__(f"{len(errors)} clips cannot be used; mend or remove them:\n  {shown}")


@dataclass(frozen=True)
class Raw:
    """The clip as it was recorded."""

    name = "raw"

    def read(self, path: Path, indices: Sequence[int] | None = None) -> np.ndarray:
        """Frames of ``path`` (all, or those at ``indices``), ``uint8 (T, H, W, 3)`` RGB."""
        return read_frames(path, indices).frames


@dataclass(frozen=True)
class Enhanced:
    """The view ``of`` brightened at full resolution by any enhancer (``kdlab.clips.enhance``, or one of yours)."""

    by: Callable[[np.ndarray], np.ndarray]
    of: "View" = Raw()

    @property
    def name(self) -> str:
        return f"enhanced-{self.by.name}" + ("" if self.of == Raw() else f"-{self.of.name}")

    def read(self, path: Path, indices: Sequence[int] | None = None) -> np.ndarray:
        """Frames of ``path`` (all, or those at ``indices``) after enhancement, ``uint8 (T, H, W, 3)`` RGB."""
        if indices is not None and getattr(self.by, "steady", False):  # its parameters are the whole clip's
            return self.by(self.of.read(path))[np.asarray(indices, dtype=np.intp)]
        return self.by(self.of.read(path, indices))


@dataclass(frozen=True)
class MotionMix:
    """Three grey channels of the view ``of``: appearance, what differs from the background, and what moves.

    The pixels are those of ``of``; :meth:`finish` mixes them after sampling and cropping, so that "moves" means from
    one frame the network sees to the next. Use an enhanced view: raw dark pixels have few grey levels.
    """

    of: "View" = Raw()

    @property
    def name(self) -> str:
        return self.of.name  # the frames to cache are the same

    def read(self, path: Path, indices: Sequence[int] | None = None) -> np.ndarray:
        """As the view ``of``."""
        return self.of.read(path, indices)

    def finish(self, pixels: torch.Tensor) -> torch.Tensor:
        """``(B, C, T, H, W)`` → ``(B, 3, T, H, W)``: luma, luma minus its temporal median, and its change from the
        frame before (0 in the first); each with zero mean and unit deviation over the clip."""
        grey = pixels.mean(1)
        still = grey - grey.median(1, keepdim=True).values
        change = torch.diff(grey, dim=1, prepend=grey[:, :1])
        centred = grey - grey.mean((1, 2, 3), keepdim=True)
        mixed = torch.stack([centred, still, change], -1)
        spread = mixed.square().mean((1, 2, 3), keepdim=True).sqrt()
        return (mixed / (spread + 1e-3)).permute(0, 4, 1, 2, 3)


#: Anything with a ``name``, ``read(path, indices)`` and, optionally, ``finish(pixels)`` on the cut clips as a tensor.
View = Raw | Enhanced | MotionMix


@dataclass(frozen=True)
class Draw:
    """One clip's crop, flip and frames; the same for all its views. ``top`` and ``left`` are fractions in [0, 1]."""

    frames: np.ndarray
    top: float = 0.5
    left: float = 0.5
    flip: bool = False

    def apply(self, pixels: np.ndarray, crop: int) -> np.ndarray:
        """Cut ``(T, h, w, C)`` pixels to ``(T, crop, crop, C)``."""
        h, w = pixels.shape[1:3]
        y, x = round(self.top * (h - crop)), round(self.left * (w - crop))
        cut = pixels[:, y : y + crop, x : x + crop]
        return cut[:, :, ::-1] if self.flip else cut


@dataclass(frozen=True)
class Window:
    """How a clip becomes a network's input: ``frames`` moments, short side ``side``, square ``crop``, in pixels."""

    frames: int = 16
    side: int = 40
    crop: int = 36

    def __post_init__(self):
        whole(1, frames=self.frames, side=self.side, crop=self.crop)
        if self.crop > self.side:
            raise ValueError(f"a window needs frames >= 1 and 1 <= crop <= side, got {self}")

    def moments(self, length: int, offset: float) -> np.ndarray:
        """``frames`` indices spread evenly over ``length`` frames; ``offset`` in [0, 1) shifts them within a stride.

        A clip shorter than ``frames`` repeats some of its own frames; it is never filled with black.
        """
        stride = length / self.frames
        return np.floor((np.arange(self.frames) + offset) * stride).astype(np.int64)

    def centre(self, length: int) -> Draw:
        """The evaluation draw: centred in time and space, not flipped."""
        return Draw(self.moments(length, 0.5))

    def random(self, length: int, generator: torch.Generator) -> Draw:
        """A training draw: random phase, place and flip."""
        phase, top, left, flip = torch.rand(4, generator=generator).tolist()
        return Draw(self.moments(length, phase), top, left, flip < 0.5)


@dataclass(frozen=True)
class Batch:
    """Views by name, each ``(B, C, T, H, W)`` float, pixels in [0, 1]; ``labels (B,)``; the records' ``ids``."""

    views: dict[str, torch.Tensor]
    labels: torch.Tensor
    ids: tuple[str, ...]

    def to(self, device: torch.device) -> "Batch":
        return Batch({k: v.to(device) for k, v in self.views.items()}, self.labels.to(device), self.ids)


@cache
def _rate(path: Path) -> float:
    return probe(path).fps


@dataclass
class ClipBatches:
    """Batches of ``records`` under several ``views`` (name → view) through one ``window`` and one frame cache."""

    records: Sequence[ClipRecord]
    views: dict[str, View]
    window: Window = field(default_factory=Window)
    cache: FrameCache = field(default_factory=FrameCache)

    def stretch(self, record: ClipRecord) -> tuple[int, int]:
        """A clip's first frame in its file, and how many it has; a record's ``start`` and ``end`` are in seconds."""
        view = next(iter(self.views.values()))
        length = self.cache.length(record.path, self.window.side, view.read, view.name)
        if record.start is None and record.end is None:
            return 0, length
        rate = _rate(record.path)
        first = round((record.start or 0.0) * rate)
        return first, (length if record.end is None else min(length, round(record.end * rate))) - first

    def length(self, record: ClipRecord) -> int:
        """Frames of a clip. Raises :class:`TooShort` below half of what the network looks at."""
        length = self.stretch(record)[1]
        if length < max(2, self.window.frames // 2):
            what = record.path if record.start is record.end is None else f"{record.id} of {record.path}"
            raise TooShort(
                f"{what} has {length} frame(s), but the network looks at {self.window.frames}; "
                f"remove the clip from the index or ask for fewer frames (window.frames <= {2 * length})"
            )
        return length

    def check(self, progress=iter) -> None:
        """Open every clip once, so that a bad file is named before any training, not in the middle of one.

        Raises :class:`DamagedClip` or :class:`TooShort`, or :class:`UnusableClips` for several; fills the cache.
        """
        bad = []
        for record in progress(self.records):
            try:
                self.length(record)
            except (DamagedClip, TooShort, FileNotFoundError) as error:
                bad.append(error)
        if bad:
            raise bad[0] if len(bad) == 1 else UnusableClips(bad)

    def collate(self, indices: Sequence[int], draws: Sequence[Draw]) -> Batch:
        """The batch of ``records[i]`` cut by ``draws``, the same draw for each view."""
        crop, chosen = self.window.crop, [self.records[i] for i in indices]
        firsts = [0 if record.start is None else self.stretch(record)[0] for record in chosen]
        tensors = {}
        for view in set(self.views.values()):  # a same-light teacher and its student share one tensor
            pixels = np.stack([
                draw.apply(self.cache.frames(r.path, first + draw.frames, self.window.side, view.read, view.name), crop)
                for r, draw, first in zip(chosen, draws, firsts, strict=True)
            ])
            # (B, T, H, W, C) seen as (B, C, T, H, W) *is* channels-last: no copy is needed for the fast layout.
            tensor = torch.from_numpy(pixels).permute(0, 4, 1, 2, 3).float().div_(255)
            tensors[view] = view.finish(tensor) if hasattr(view, "finish") else tensor
        views = {name: tensors[view] for name, view in self.views.items()}
        return Batch(views, torch.tensor([r.label for r in chosen]), tuple(r.id for r in chosen))

    def training(self, indices: Sequence[int], generator: torch.Generator) -> Batch:
        """A batch under random draws; the generator alone decides them."""
        draws = [self.window.random(self.length(self.records[i]), generator) for i in indices]
        return self.collate(indices, draws)

    def evaluation(
        self, batch_size: int = 64, reorder: Callable[[np.ndarray], np.ndarray] | None = None
    ) -> Iterator[Batch]:
        """All records in order, centre draw. ``reorder`` changes which frames are shown when (``(T,)`` indices in and
        out), to probe what a network makes of time: ``lambda f: f[::-1]`` shows every clip backwards."""
        for start in range(0, len(self.records), batch_size):
            indices = range(start, min(start + batch_size, len(self.records)))
            draws = [self.window.centre(self.length(self.records[i])) for i in indices]
            yield self.collate(indices, [replace(d, frames=reorder(d.frames)) for d in draws] if reorder else draws)

    def statistics(self, view: str, clips: int = 256) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and standard deviation per channel, each ``(C,)``, of one view over at most ``clips`` spread clips."""
        step = max(1, len(self.records) // clips)
        some = ClipBatches(self.records[::step], {view: self.views[view]}, self.window, self.cache)
        count, total, squares = 0, 0.0, 0.0
        for batch in some.evaluation():
            x = batch.views[view].double()
            count += x.numel() // x.shape[1]
            total = total + x.sum((0, 2, 3, 4))
            squares = squares + (x * x).sum((0, 2, 3, 4))
        mean = total / count
        std = (squares / count - mean * mean).clamp_min(0).sqrt()
        return mean.float(), std.clamp_min(1e-3).float()
