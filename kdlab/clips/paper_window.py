"""The window of DL-KDD's reference pipeline: consecutive frames and crops of several sizes (docs/methods.md, 1.5)."""

from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional as F

from kdlab.clips.views import Draw, Window
from kdlab.values import fraction, positive, whole

__all__ = ["ConsecutiveWindow", "ScaledDraw"]


@dataclass(frozen=True)
class ScaledDraw(Draw):
    """A draw whose square has ``scale`` times the short side of the picture, and is then resized to the crop."""

    scale: float = 1.0

    def cut(self, pixels, crop: int):
        """``uint8 (T, h, w, C)`` → ``(T, crop, crop, C)``, bilinear, of the kind given (array or tensor)."""
        box = round(self.scale * min(pixels.shape[1:3]))
        cut = torch.as_tensor(super().cut(pixels, box)).permute(0, 3, 1, 2)
        sized = F.interpolate(cut.float(), (crop, crop), mode="bilinear").round_().byte().permute(0, 2, 3, 1)
        return sized if isinstance(pixels, torch.Tensor) else sized.numpy()


@dataclass(frozen=True)
class ConsecutiveWindow(Window):
    """``frames`` in a row, from a random start (in evaluation a centred one); a shorter clip begins again at its end.

    Training squares have one of the ``scales`` times the short ``side``, at a random place; evaluation cuts the centre.
    """

    frames: int = 64
    side: int = 128
    crop: int = 112
    scales: tuple[float, ...] = (1.0, 0.875, 0.75, 0.66)

    def __post_init__(self):
        super().__post_init__()
        whole(1, number_of_scales=len(self.scales))
        positive(scales=list(self.scales))
        fraction("a box does not exceed the picture", scales=list(self.scales))

    def moments(self, length: int, offset: float) -> np.ndarray:
        """``frames`` consecutive indices modulo ``length``; ``offset`` in [0, 1) chooses among the starts that fit."""
        start = int(offset * (max(0, length - self.frames) + 1))
        return (start + np.arange(self.frames)) % length

    def random(self, length: int, generator: torch.Generator) -> Draw:
        """A training draw: random start, place, size and flip."""
        phase, top, left, flip, scale = torch.rand(5, generator=generator).tolist()
        which = self.scales[int(scale * len(self.scales))]
        return ScaledDraw(self.moments(length, phase), top, left, flip < 0.5, which)
