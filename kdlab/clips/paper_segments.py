"""CoViAR's window: boxes of several sizes and shapes, all resized to one square (docs/methods.md, 3.6)."""

from dataclasses import dataclass

import cv2
import numpy as np
import torch

from kdlab.clips.coviar import tsn_frames
from kdlab.clips.segments import Segments, SegmentsDraw

__all__ = ["PaperSegments", "SquareDraw"]


@dataclass(frozen=True)
class SquareDraw(SegmentsDraw):
    """A draw whose ``box`` (height, width), in parts of the picture's short side, is resized to a square. Without one,
    for evaluation, the whole picture is squeezed to a square as high as its short side, and then cut."""

    box: tuple[float, float] | None = None

    def cut(self, pixels: np.ndarray, crop: int) -> np.ndarray:
        """Cut ``(T, h, w, C)`` quantised pixels to ``(T, crop, crop, C)``."""
        short = min(pixels.shape[1:3])
        height, width = (int(part * short) for part in self.box) if self.box else (crop, crop)
        pixels = pixels if self.box else _square(pixels, short)
        y, x = round(self.top * (pixels.shape[1] - height)), round(self.left * (pixels.shape[2] - width))
        return super().cut(_square(pixels[:, y : y + height, x : x + width], crop), crop)


def _square(pixels: np.ndarray, side: int) -> np.ndarray:
    return np.stack([cv2.resize(frame, (side, side)) for frame in pixels])


@dataclass(frozen=True)
class PaperSegments(Segments):
    """Three segments of pictures with a short side of 256 pixels, seen at 224². A training box has two of ``scales`` as
    its sides, equal or neighbours, as in the released code."""

    side: int = 256
    crop: int = 224
    scales: tuple[float, ...] = (1.0, 0.875, 0.75)

    def draw(self, count: int, phases: np.ndarray | None = None, **place) -> SquareDraw:
        return SquareDraw(tsn_frames(count, self.frames, phases=phases), **place)

    def random(self, length: int, generator: torch.Generator) -> SquareDraw:
        """A training draw: a random frame of each segment, random place, size, shape and flip."""
        boxes = [(a, b) for i, a in enumerate(self.scales) for j, b in enumerate(self.scales) if abs(i - j) < 2]
        top, left, flip, which, *phases = torch.rand(4 + self.frames, generator=generator).tolist()
        return self.draw(length, np.array(phases), top=top, left=left, flip=flip < 0.5,
                         box=boxes[int(which * len(boxes))])
