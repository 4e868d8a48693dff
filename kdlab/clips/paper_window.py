"""The window of DL-KDD's reference pipeline: consecutive frames and crops of several sizes (docs/methods.md, 1.5)."""

from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional as F

from kdlab.clips.catalogue import Catalogue, ClipRecord
from kdlab.clips.views import ClipBatches, Draw, TooShort, View, Window, called


@dataclass(frozen=True)
class ConsecutiveWindow(Window):
    """``frames`` in a row, from a random start (in evaluation a centred one).

    A shorter clip begins again at its end.

    Training squares have one of the ``scales`` times the short side, at a random place; evaluation cuts the centre.
    """

    frames: int = 64
    side: int = 128
    crop: int = 112
    scales: tuple[float, ...] = (1.0, 0.875, 0.75, 0.66)

    def moments(self, length: int, offset: float) -> np.ndarray:
        """``frames`` consecutive indices modulo ``length``; ``offset`` in [0, 1) chooses among the starts that fit."""
        start = int(offset * (max(0, length - self.frames) + 1))
        return (start + np.arange(self.frames)) % length

    def random(self, length: int, generator: torch.Generator) -> Draw:
        """A training draw: random start, place, size and flip."""
        phase, top, left, flip, scale = torch.rand(5, generator=generator).tolist()
        size = self.scales[int(scale * len(self.scales))]
        return Draw(self.moments(length, phase), top, left, flip < 0.5, (size, size))

    def batches(self, catalogue: Catalogue, split: str, views: dict[str, View]) -> "LoopedBatches":
        """The clips of ``split`` of a catalogue under ``views`` (name → view), through this window."""
        return LoopedBatches(catalogue.split(split), views, self)

    def cut(self, draw: Draw, pixels):
        """As in ``Window``; a box is resized bilinearly."""
        if not draw.box:
            return super().cut(draw, pixels)
        side = round(draw.box[0] * min(pixels.shape[1:3]))
        cut = torch.as_tensor(draw.placed(pixels, side, side)).permute(0, 3, 1, 2).float()
        cut = F.interpolate(cut, (self.crop, self.crop), mode="bilinear").round_().byte().permute(0, 2, 3, 1)
        return cut if isinstance(pixels, torch.Tensor) else cut.numpy()


@dataclass
class LoopedBatches(ClipBatches):
    """Batches through a window that begins again at a clip's end, so that a clip may be far shorter than the window:
    UCF-101, HMDB-51 and Dark-48 have some of 11 to 31 frames."""

    def length(self, record: ClipRecord) -> int:
        """Frames of a clip. Raises :class:`TooShort` for one without two."""
        length = self.stretch(record)[1]
        if length < 2:
            raise TooShort(f"{called(record)} has {length} frame(s), and a clip has two; remove it from the index")
        return length
