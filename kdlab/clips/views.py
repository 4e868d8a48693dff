"""Views of a clip, the draw that all views of one clip share, and the batches a network is fed.

A *view* turns a file into ``uint8`` frames ``(H, W, C)``, one by one, as a long clip may not fit into memory;
everything after it (sampling in time, crop, flip) is one :class:`Draw`, made once per clip and the same for every view,
so that a teacher and a student see the same moment of the same place. Rule 3 of docs/methods.md, 0.
"""

import math
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import lru_cache
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import torch

from kdlab.clips.cache import FrameCache
from kdlab.clips.catalogue import Catalogue, ClipRecord
from kdlab.clips.container import timeline
from kdlab.clips.decode import DECODERS, Streamed, chosen, each_frame, gathered, raw_name
from kdlab.system.sources import dataclasses_in, view_mark
from kdlab.system.values import fraction, integer, positive

_AT_ONCE = 4  # frames that are brightened together


class TooShort(ValueError):
    """A clip with too few frames to be an action."""


class UnusableClips(ValueError):
    """Several bad clips, each named with its reason in ``errors``."""

    def __init__(self, errors: list[Exception]):
        self.errors = errors
        shown = "\n  ".join(str(error) for error in errors[:20])
        super().__init__(f"{len(errors)} clips cannot be used; mend or remove them:\n  {shown}")


def called(record: ClipRecord) -> Path | str:
    """A clip in a message: its file, and which segment of it."""
    return record.path if record.start is record.end is None else f"{record.id} of {record.path}"


def streamed(view: "View") -> Callable[..., Iterator[np.ndarray]]:
    """``each_frame(path, indices=None)`` of a view: frames ``uint8 (H, W, C)`` one by one, all or those at ascending
    ``indices``; of a view that has a ``read`` only, or one of a class below, through that."""
    home = [next((depth for depth, kind in enumerate(type(view).__mro__) if name in vars(kind)), math.inf)
            for name in ("each_frame", "read")]
    if home[0] <= home[1] and home[0] < math.inf:
        return view.each_frame

    def each(path: Path, indices: Sequence[int] | np.ndarray | None = None) -> Iterator[np.ndarray]:
        yield from (view.read(path) if indices is None else view.read(path, indices))

    return each


def tag(view: "View") -> str:
    """What names a view's frames in the cache: its name, where it is not kdlab's its sources, and where it reads from
    other files than the clip's, their place: two folders may have one name."""
    return view.name + view_mark(view) + "".join(f"@{place}" for place in _places(view))


@lru_cache
def _places(view: "View") -> tuple[str, ...]:
    return tuple(os.path.abspath(getattr(part, f.name)) for part in dataclasses_in(view) for f in fields(part)
                 if not f.metadata.get("identity", True))


@dataclass(frozen=True)
class Raw(Streamed):
    """The clip as it was recorded, read by ``decoder``: ``pyav``, ``decord``; empty: ``$KDLAB_DECODER``, else PyAV."""

    decoder: str = field(default="", kw_only=True)

    def __post_init__(self):
        if self.decoder not in ("", *DECODERS):  # one that is not installed is refused where it is to read
            chosen(self.decoder)

    def __eq__(self, other: object) -> bool:  # the same decoder, whoever chose it
        return type(other) is type(self) and self.name == other.name

    def __hash__(self) -> int:
        return hash((type(self), self.name))

    @property
    def name(self) -> str:
        return raw_name(self.decoder)

    def resolved(self) -> "Raw":
        """With the decoder that it is now: what a run notes. Raises ``ValueError`` where that one cannot read."""
        return replace(self, decoder=chosen(self.decoder))

    def each_frame(self, path: Path, indices: Sequence[int] | np.ndarray | None = None) -> Iterator[np.ndarray]:
        """As :func:`kdlab.clips.decode.each_frame`."""
        return each_frame(path, indices, self.decoder)


@dataclass(frozen=True)
class Enhanced(Streamed):
    """The view ``of`` brightened at full resolution by any enhancer (``kdlab.clips.enhance``, or one of yours).

    It gets the clip whole, or, if it says ``steady = False``, some frames at a time.
    """

    by: Callable[[np.ndarray], np.ndarray]
    of: "View" = Raw()

    @property
    def name(self) -> str:
        return f"enhanced-{self.by.name}" + ("" if self.of.name == "raw" else f"-{self.of.name}")

    def each_frame(self, path: Path, indices: Sequence[int] | np.ndarray | None = None) -> Iterator[np.ndarray]:
        """Frames after enhancement, ``uint8 (H, W, 3)`` RGB."""
        return (bright for _, bright in self.pairs(path, indices))

    def pairs(self, path: Path, indices: Sequence[int] | np.ndarray | None = None) -> Iterator[tuple]:
        """Frames before and after enhancement."""
        each = streamed(self.of)
        if getattr(self.by, "steady", True):
            frames = gathered(each, path)
            wanted = np.arange(len(frames)) if indices is None else np.asarray(indices)
            if wanted.max(initial=0) >= len(frames):
                raise ValueError(f"{path}: frame {wanted.max()} asked, but the clip has {len(frames)} frames.")
            yield from zip(frames[wanted], self.by(frames)[wanted], strict=True)
            return
        frames = each(path) if indices is None else each(path, indices)
        while some := list(islice(frames, _AT_ONCE)):
            yield from zip(some, self.by(np.stack(some)), strict=True)


class Around(Streamed):
    """A view around the view ``of``: its frames, under its name in the cache, unless it says otherwise."""

    @property
    def name(self) -> str:
        return self.of.name

    def each_frame(self, path: Path, indices: Sequence[int] | np.ndarray | None = None) -> Iterator[np.ndarray]:
        """As the view ``of``."""
        return streamed(self.of)(path, *(() if indices is None else (indices,)))

    def mirrored(self, pixels):
        """As the view ``of``."""
        return mirror_of(self.of)(pixels)

    def finish(self, pixels: torch.Tensor) -> torch.Tensor:
        """As the view ``of``."""
        return self.of.finish(pixels) if hasattr(self.of, "finish") else pixels


@dataclass(frozen=True)
class MotionMix(Around):
    """Three grey channels of the view ``of``: appearance, what differs from the background, and what moves.

    The pixels are those of ``of``; :meth:`finish` mixes them after sampling and cropping, so that "moves" means from
    one frame the network sees to the next. Use an enhanced view: raw dark pixels have few grey levels.
    """

    of: "View" = Raw()

    def finish(self, pixels: torch.Tensor) -> torch.Tensor:
        """``(B, C, T, H, W)`` → ``(B, 3, T, H, W)``: luma, luma minus its temporal median, and its change from the
        frame before (0 in the first); each with zero mean and unit deviation over the clip."""
        grey = sum(pixels.unbind(1)) / pixels.shape[1]
        middle = (grey.shape[1] - 1) // 2  # of two the lower one, which NumPy finds in a fifth of torch's time
        still = grey - (torch.from_numpy(np.partition(grey.numpy(), middle, 1)[:, middle, None]) if grey.is_cpu else
                        grey.median(1, keepdim=True).values)
        change = torch.diff(grey, dim=1, prepend=grey[:, :1])
        mixed = grey.new_empty(*grey.shape, 3)
        for channel, part in enumerate((grey - grey.mean((1, 2, 3), keepdim=True), still, change)):
            torch.div(part, part.square().mean((1, 2, 3), keepdim=True).sqrt() + 1e-3, out=mixed[..., channel])
        return mixed.permute(0, 4, 1, 2, 3)


#: Anything with a ``name``, ``read(path, indices)`` (better: ``each_frame(path, indices)`` and :class:`Streamed`) and,
#: optionally, ``finish(pixels)`` on the cut clips as a tensor; ``mirrored(pixels)``, which stands in for the function
#: below where a mirror does more than swap left and right.
View = Raw | Enhanced | MotionMix


def mirrored(pixels: np.ndarray | torch.Tensor) -> np.ndarray | torch.Tensor:
    """``uint8 (..., w, C)`` with left and right swapped."""
    if isinstance(pixels, torch.Tensor):
        return pixels.flip(-2)
    # Steps of NumPy back along a row take twelve times as long: they made a third of all reading.
    rows = np.ascontiguousarray(pixels).reshape(-1, *pixels.shape[-2:])
    return cv2.flip(rows, 1).reshape(pixels.shape)


def mirror_of(view: View) -> Callable:
    """How cut pixels of ``view`` are mirrored."""
    return getattr(view, "mirrored", mirrored)


@dataclass(frozen=True)
class Draw:
    """One clip's frames, place, flip and size; the same for all its views. ``top`` and ``left`` are fractions in
    [0, 1]; of what the sizes of a ``box`` (height, width) are parts, the window says that drew it."""

    frames: np.ndarray
    top: float = 0.5
    left: float = 0.5
    flip: bool = False
    box: tuple[float, float] | None = None

    def placed(self, pixels, height: int, width: int):
        """So many pixels of ``(T, h, w, C)``, at the draw's place."""
        y, x = round(self.top * (pixels.shape[1] - height)), round(self.left * (pixels.shape[2] - width))
        return pixels[:, y : y + height, x : x + width]


@dataclass(frozen=True)
class Window:
    """How a clip becomes a network's input: ``frames`` moments, short side ``side``, square ``crop``, in pixels."""

    frames: int = 16
    side: int = 40
    crop: int = 36

    def __post_init__(self):
        integer(1, frames=self.frames, side=self.side, crop=self.crop)
        if self.crop > self.side:
            raise ValueError(f"a window needs frames >= 1 and 1 <= crop <= side, got {self}")
        scales = list(getattr(self, "scales", (1.0,)))  # of training boxes, where a window has several
        integer(1, number_of_scales=len(scales))
        positive(scales=scales)
        fraction("a box does not exceed the picture", scales=scales)

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

    def cut(self, draw: Draw, pixels):
        """``uint8 (T, h, w, C)``, an array or a tensor, to ``(T, crop, crop, C)``, not mirrored."""
        return draw.placed(pixels, self.crop, self.crop)

    def shown(self, draw: Draw, pixels, view: "View | None" = None):
        """As :meth:`cut`, and mirrored as ``view`` is where the draw says so."""
        cut = self.cut(draw, pixels)
        return mirror_of(view)(cut) if draw.flip else cut

    def batches(self, catalogue: Catalogue, split: str, views: "dict[str, View]") -> "ClipBatches":
        """The clips of ``split`` of a catalogue under ``views`` (name → view), through this window."""
        return ClipBatches(catalogue.split(split), views, self)


@dataclass(frozen=True)
class Batch:
    """Views by name, each ``(B, C, T, H, W)`` float, pixels in [0, 1]; ``labels (B,)``; the records' ``ids``."""

    views: dict[str, torch.Tensor]
    labels: torch.Tensor
    ids: tuple[str, ...]

    def to(self, device: torch.device) -> "Batch":
        return Batch({k: v.to(device) for k, v in self.views.items()}, self.labels.to(device), self.ids)


@dataclass
class ClipBatches:
    """Batches of ``records`` under several ``views`` (name → view) through one ``window`` and one frame cache."""

    records: Sequence[ClipRecord]
    views: dict[str, View]
    window: Window = field(default_factory=Window)
    cache: FrameCache = field(default_factory=FrameCache)

    def stretch(self, record: ClipRecord) -> tuple[int, int]:
        """A clip's first frame in its file, and how many it has; a record's ``start`` and ``end`` are in seconds."""
        length = self._count(record)
        if record.start is None and record.end is None:
            return 0, length
        return timeline(record.path).stretch(record.start, record.end, length)

    def _count(self, record: ClipRecord) -> int:
        """Frames of a clip's whole file."""
        view = next(iter(self.views.values()))
        return self.cache.length(record.path, self.window.side, streamed(view), tag(view))

    def pixels(self, record: ClipRecord, view: View, frames: np.ndarray) -> np.ndarray:
        """The ``frames`` of a clip, counted from its start, under a view: ``uint8 (T, h, w, C)``, small."""
        frames = frames if record.start is None else self.stretch(record)[0] + frames
        return self.cache.frames(record.path, frames, self.window.side, streamed(view), tag(view))

    def length(self, record: ClipRecord) -> int:
        """Frames of a clip. Raises :class:`TooShort` below half of what the network looks at."""
        length = self.stretch(record)[1]
        if length < max(2, self.window.frames // 2):
            raise TooShort(
                f"{called(record)} has {length} frame(s), but the network looks at {self.window.frames}; "
                f"remove the clip from the index or ask for fewer frames (window.frames <= {2 * length})"
            )
        return length

    def check(self, progress=iter) -> None:
        """Open every clip once, so that a bad file is named before any training, not in the middle of one.

        Raises what :meth:`length` and the first view do (:class:`DamagedClip`, :class:`TooShort` …), or
        :class:`UnusableClips` for several; fills the cache.
        """
        bad = []
        for record in progress(self.records):
            try:
                self.length(record)
            except (ValueError, OSError) as error:  # damaged, too short, of another codec, missing, not readable
                bad.append(error)
        if bad:
            raise bad[0] if len(bad) == 1 else UnusableClips(bad)

    def collate(self, indices: Sequence[int], draws: Sequence[Draw]) -> Batch:
        """The batch of ``records[i]`` cut by ``draws``, the same draw for each view."""
        chosen, tensors = [self.records[i] for i in indices], {}
        for view in set(self.views.values()):  # a same-light teacher and its student share one tensor
            cut = [self.window.shown(draw, self.pixels(record, view, draw.frames), view)
                   for record, draw in zip(chosen, draws, strict=True)]
            for record, pixels in zip(chosen, cut, strict=True):
                if pixels.shape != cut[0].shape:
                    raise ValueError(f"{record.path} has pictures of another shape than {chosen[0].path}; bring all "
                                     "clips to one size: kdlab data transcode FOLDER --out OTHER_FOLDER")
            # NumPy divides while it converts, in one pass. (B, T, H, W, C) seen as (B, C, T, H, W) *is* channels-last:
            # no copy is needed for the fast layout.
            scaled = np.divide(np.stack(cut), np.float32(255), dtype=np.float32)
            tensor = torch.from_numpy(scaled).permute(0, 4, 1, 2, 3)
            tensors[view] = view.finish(tensor) if hasattr(view, "finish") else tensor
        views = {name: tensors[view] for name, view in self.views.items()}
        return Batch(views, torch.tensor([r.label for r in chosen]), tuple(r.id for r in chosen))

    def training(self, indices: Sequence[int], generator: torch.Generator, part: slice = slice(None)) -> Batch:
        """A batch under random draws, or a ``part`` of it; the generator alone decides them, those of all its clips."""
        draws = [self.window.random(self.length(self.records[i]), generator) for i in indices]
        return self.collate(indices[part], draws[part])

    def evaluation(self, batch_size: int = 64,
                   reorder: Callable[[np.ndarray], np.ndarray] | None = None) -> Iterator[Batch]:
        """All records in order, centre draw. ``reorder`` changes which frames are shown when (``(T,)`` indices in and
        out), to probe what a network makes of time: ``lambda f: f[::-1]`` shows every clip backwards."""
        for start in range(0, len(self.records), batch_size):
            indices = range(start, min(start + batch_size, len(self.records)))
            draws = [self.window.centre(self.length(self.records[i])) for i in indices]
            yield self.collate(indices, [replace(d, frames=reorder(d.frames)) for d in draws] if reorder else draws)

    def statistics(self, view: str, clips: int = 256) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and standard deviation per channel, each ``(C,)``, of one view over at most ``clips`` spread clips."""
        step = max(1, len(self.records) // clips)
        selected = replace(self, records=self.records[::step], views={view: self.views[view]})
        count, total, squares = 0, 0.0, 0.0
        for batch in selected.evaluation():
            x = batch.views[view].double()
            count += x.numel() // x.shape[1]
            total = total + x.sum((0, 2, 3, 4))
            squares = squares + (x * x).sum((0, 2, 3, 4))
        mean = total / count
        return mean.float(), (squares / count - mean * mean).clamp_min(0).sqrt().clamp_min(1e-3).float()
