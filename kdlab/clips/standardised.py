"""A view whose clips all have zero mean and unit deviation: how bright a clip is can then not matter."""

from dataclasses import dataclass

import torch

from kdlab.clips.views import Around, Raw, View


@dataclass(frozen=True)
class Standardised(Around):
    """The view ``of`` with each clip's own mean subtracted and its own deviation divided out (docs/methods.md, 1.4).

    A control: whatever enhancement gains by putting the input where a network expects it, this gains without looking
    brighter.
    """

    of: View = Raw()

    def finish(self, pixels: torch.Tensor) -> torch.Tensor:
        """``(B, C, T, H, W)`` → the same shape, zero mean and unit deviation over each clip as the network sees it."""
        pixels = super().finish(pixels)
        centred = pixels - pixels.mean((1, 2, 3, 4), keepdim=True)
        return centred / (centred.square().mean((1, 2, 3, 4), keepdim=True).sqrt() + 1e-3)
