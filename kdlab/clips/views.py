"""Views of a clip: readers of ``uint8`` frames ``(H, W, C)``, one by one, because a long clip may exceed the memory.

Sampling in time, crop and flip come after the view, as one :class:`kdlab.clips.windows.Draw` per clip. All views of the
clip share the draw, so that teacher and student see the same moments and the same place (docs/methods.md, 0).
"""

import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, fields
from itertools import count, islice
from pathlib import Path

import cv2
import numpy as np
import torch

from kdlab.clips.records import Catalogue, require_apart
from kdlab.protocols import View
from kdlab.system.files import text_hash
from kdlab.system.sources import dataclasses_in, view_mark
from kdlab.system.values import one_of, positive
from kdlab.video.container import DamagedClip, Frames, Indices
from kdlab.video.decode import each_frame, gathered, mirrored

_AT_ONCE = 4  # frames enhanced together


def tag(view: View) -> str:
    """The tag of a view's frames in the cache: its name, a hash of its sources if they are not kdlab's, and the paths
    of its own files, if it has any (two folders may have one name)."""
    places = [
        os.path.abspath(getattr(part, f.name))
        for part in dataclasses_in(view)
        for f in fields(part)
        if not f.metadata.get("identity", True)
    ]
    return "@".join([view.name + view_mark(view), *places])


@dataclass(frozen=True)
class Raw(View):
    """The clip as recorded, read by PyAV. ``decoder`` is part of the identity of runs and has one value."""

    decoder: str = field(default="pyav", kw_only=True)

    name = "raw"

    def __post_init__(self):
        one_of(("pyav",), decoder=self.decoder)

    def each_frame(self, path: Path, indices: Indices = None) -> Frames:
        """As :func:`kdlab.video.decode.each_frame`."""
        return each_frame(path, indices)


@dataclass(frozen=True)
class Enhanced(View):
    """The view ``of``, enhanced at full resolution by any enhancer ``by`` (``kdlab.clips.enhance``, or your own).

    The enhancer receives the whole clip, or, if it has ``steady = False``, a few frames at a time.
    """

    by: Callable[[np.ndarray], np.ndarray]
    of: View = Raw()

    @property
    def name(self) -> str:
        return f"enhanced-{self.by.name}" + ("" if self.of.name == "raw" else f"-{self.of.name}")

    def each_frame(self, path: Path, indices: Indices = None) -> Frames:
        """Yield enhanced frames, ``uint8 (H, W, 3)`` RGB: all, or those at ascending ``indices``."""
        return (bright for _, bright in self.pairs(path, indices))

    def pairs(self, path: Path, indices: Indices = None) -> Iterator[tuple]:
        """Yield pairs of a frame before and after enhancement."""
        of = self.of.yield_frames
        if getattr(self.by, "steady", True):
            frames = gathered(of, path)
            wanted = slice(None) if indices is None else np.asarray(indices)
            yield from zip(frames[wanted], self.by(frames)[wanted], strict=True)
            return
        frames = of(path, indices)
        while some := list(islice(frames, _AT_ONCE)):
            yield from zip(some, self.by(np.stack(some)), strict=True)


class Around(View):
    """Base of views that wrap the view ``of``. By default it passes on the frames and the name in the cache."""

    @property
    def name(self) -> str:
        return self.of.name

    def each_frame(self, path: Path, indices: Indices = None) -> Frames:
        """The frames of the view ``of``."""
        return self.of.yield_frames(path, indices)

    def mirrored(self, pixels):
        """Mirror cut pixels as the view ``of`` does."""
        return self.of.mirrored(pixels)

    def finish(self, pixels: torch.Tensor) -> torch.Tensor:
        """Finish cut clips as the view ``of`` does."""
        return self.of.finish(pixels)


@dataclass(frozen=True)
class MotionMix(Around):
    """Three grey channels of the view ``of``: appearance, difference from the background, and motion.

    :meth:`finish` computes them from the pixels of ``of`` after sampling and cropping, so motion is the change between
    consecutive frames of the network's input. Use an enhanced view: raw dark pixels have few grey levels.
    """

    of: View = Raw()

    def finish(self, pixels: torch.Tensor) -> torch.Tensor:
        """``(B, C, T, H, W)`` → ``(B, 3, T, H, W)``: mean of the channels, that minus its temporal median, and its
        change from the previous frame (0 in the first frame).

        Each is divided by its root mean square over the clip; the first has zero mean.
        """
        grey = sum(pixels.unbind(1)) / pixels.shape[1]
        # the lower median, which NumPy finds in a fifth of torch's time
        middle = (grey.shape[1] - 1) // 2
        median = np.partition(grey.cpu(), middle, 1)[:, middle, None]
        still = grey - torch.from_numpy(median).to(grey)
        change = torch.diff(grey, dim=1, prepend=grey[:, :1])
        mixed = grey.new_empty(*grey.shape, 3)
        for channel, part in enumerate((grey - grey.mean((1, 2, 3), keepdim=True), still, change)):
            size = part.square().mean((1, 2, 3), keepdim=True).sqrt()
            torch.div(part, size + 1e-3, out=mixed[..., channel])
        return mixed.permute(0, 4, 1, 2, 3)


def flip_motion(quantised: np.ndarray) -> np.ndarray:
    """Mirror quantised motion, uint8 (..., W, 2): swap left and right, and change the sign of x."""
    flipped = mirrored(quantised)
    flipped[..., 0] = 0 - flipped[..., 0].clip(1)  # modulo 256; 0 would become 256 and is 255
    return flipped


# --- optical flow --------------------------------------------------------------------------------------------------
# Two channels, x and y, quantised like the motion of the compressed domain: 128 is rest (docs/methods.md, 2).


@dataclass(frozen=True)
class Flow(Around):
    """Dense optical flow (DIS) of the view ``of``, from the previous frame to each frame.

    The first frame gets the flow of the second. Flow is clipped to ± ``bound`` pixels per frame, in pixels of the
    decoded frames.
    """

    bound: float = 20.0
    of: View = Raw()

    mirrored = staticmethod(flip_motion)

    def __post_init__(self):
        positive(bound=self.bound)

    @property
    def name(self) -> str:
        return f"flow{self.bound:g}-{self.of.name}"

    def each_frame(self, path: Path, indices: Indices = None) -> Frames:
        """Yield the flow of all frames of ``path``, or of those at ascending ``indices``.

        It is uint8 (H, W, 2), ``128 + 127 v / bound``. Raises ValueError for a clip of one frame.
        """
        needed = times = None
        if indices is not None:
            times = Counter(np.maximum(indices, 1).tolist())  # how often each is yielded
            needed = sorted({*times, *(row - 1 for row in times)})
        dis = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        number, before = -1, None
        for number, frame in zip(
            needed or count(), self.of.yield_frames(path, needed), strict=False
        ):
            grey = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
            shown = 1 + (number == 1) if times is None else times[number]
            if number and shown:
                flow = np.clip(dis.calc(before, grey, None) / self.bound, -1, 1)
                yield from [np.rint(128 + 127 * flow).astype(np.uint8)] * shown
            before = grey
        if number == 0:
            raise ValueError(f"{path} has one frame, so no flow; remove the clip from the index")


@dataclass(frozen=True)
class FlowFiles(View):
    """Flow from other programs: grey pictures ``x`` and ``y`` of a clip in ``folder``/<its class folder>/<its file name
    without suffix>, else in ``folder``/<its file name without suffix>, in the order of the numbers in their names.

    The default patterns are those of the common extractors; rest is 127 or 128. The first picture is the flow from the
    first to the second frame, and is used for both. The frame cache does not notice changed pictures: delete the cache
    if they change. A recipe's identity has the names and sizes of the pictures, not their path.
    """

    folder: str = field(metadata={"identity": False})
    x: str = "flow_x_*.jpg"
    y: str = "flow_y_*.jpg"

    mirrored = staticmethod(flip_motion)

    @property
    def name(self) -> str:
        return f"flow-files-{Path(self.folder).name}-{self.x}-{self.y}"

    def contents(self) -> str:
        """Hash of names and sizes of all pictures, 16 hex digits; millions of pictures cannot be read each time."""
        folder, sizes = Path(self.folder), []
        for pattern in (self.x, self.y):
            for place in (*folder.glob(f"*/{pattern}"), *folder.glob(f"*/*/{pattern}")):
                sizes.append((str(place.relative_to(folder)), place.stat().st_size))
        return text_hash(repr(sorted(sizes)))

    def place(self, path: Path) -> Path:
        """The folder of the pictures of the clip ``path``."""
        folder = Path(self.folder)
        of_class = folder / path.parent.name / path.stem
        return of_class if of_class.is_dir() else folder / path.stem

    def each_frame(self, path: Path, indices: Indices = None) -> Frames:
        """Yield flow as :class:`Flow` does, uint8 (H, W, 2).

        Raises ``FileNotFoundError`` for missing pictures and :class:`DamagedClip` for unreadable ones.
        """
        place = self.place(path)
        both = [sorted(place.glob(pattern), key=_numbers) for pattern in (self.x, self.y)]
        rows = list(range(len(both[0]) + 1)) if indices is None else np.asarray(indices).tolist()
        if not max(rows, default=1) <= len(both[0]) == len(both[1]) > 0:
            raise FileNotFoundError(
                f"{place} has {len(both[0])} pictures {self.x} and {len(both[1])} {self.y}: put "
                f"the flow of all of {path} there, a pair of pictures for each two frames"
            )
        for row in rows:
            yield np.stack([_grey(files[max(row - 1, 0)]) for files in both], -1)


def _numbers(file: Path) -> list[str | int]:
    """The parts of a file's path, numbers as such: programs that pad none write ``flow_x_10`` after ``flow_x_9``."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", str(file))]


def _grey(file: Path) -> np.ndarray:
    picture = cv2.imread(str(file), cv2.IMREAD_GRAYSCALE)
    if picture is None:
        raise DamagedClip(file, "damaged: no picture; extract that clip's flow again")
    return picture


def require_own_pictures(catalogue: Catalogue, views: Iterable[View]) -> None:
    """Raise CatalogueError if one of ``views`` would read the flow of two clips from one folder of pictures."""
    for view in dataclasses_in(tuple(views)):
        if isinstance(view, FlowFiles):
            mend = f"put the flow of each into {view.folder}/<its folder>/<its name>, or rename one of them."
            require_apart(catalogue.records, view.place, mend)
