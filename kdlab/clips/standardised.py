"""A view whose clips all have zero mean and unit deviation: how bright a clip is can then not matter."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from kdlab.clips.decode import Streamed
from kdlab.clips.views import Raw, View, streamed

__all__ = ["Standardised"]


@dataclass(frozen=True)
class Standardised(Streamed):
    """The view ``of`` with each clip's own mean subtracted and its own deviation divided out (docs/methods.md, 1.4).

    A control: whatever enhancement gains by putting the input where a network expects it, this gains without looking
    brighter.
    """

    of: View = Raw()

    @property
    def name(self) -> str:
        return self.of.name  # the frames to cache are the same

    @property
    def whole(self) -> bool:
        return getattr(self.of, "whole", False)

    def each_frame(self, path: Path, indices: Sequence[int] | np.ndarray | None = None) -> Iterator[np.ndarray]:
        """As the view ``of``."""
        return streamed(self.of)(path, *(() if indices is None else (indices,)))

    def finish(self, pixels: torch.Tensor) -> torch.Tensor:
        """``(B, C, T, H, W)`` → the same shape, zero mean and unit deviation over each clip as the network sees it."""
        pixels = self.of.finish(pixels) if hasattr(self.of, "finish") else pixels
        centred = pixels - pixels.mean((1, 2, 3, 4), keepdim=True)
        return centred / (centred.square().mean((1, 2, 3, 4), keepdim=True).sqrt() + 1e-3)
