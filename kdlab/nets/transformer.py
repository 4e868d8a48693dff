"""A tiny video transformer for CPUs, whose stages give maps ``(B, C, T, H, W)`` like those of a convolutional network.

Two convolutional stages come before the patches: with them a transformer learns from few clips (Xiao et al., arXiv
2106.14881). Attention is joint over time and space (ViViT's model 1; Arnab et al., arXiv 2103.15691).
"""

from collections import OrderedDict
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from kdlab.nets.layers import pooled
from kdlab.nets.video import Stage, numbered
from kdlab.protocols import Net
from kdlab.system.values import fraction, integer


class OnPlaces(nn.Sequential):
    """Layers for tokens ``(B, N, C)``, applied to the N = T·H·W places of a map ``(B, C, T, H, W)``."""

    def forward(self, x: Tensor) -> Tensor:
        return (
            super().forward(x.flatten(2).transpose(1, 2)).transpose(1, 2).unflatten(2, x.shape[2:])
        )


class Positions(nn.Conv3d):
    """``x`` plus a depthwise 3×3×3 convolution of it. Its zero padding tells a place where it lies, for clips of any
    size (Chu et al., arXiv 2102.10882)."""

    def __init__(self, channels: int):
        super().__init__(channels, channels, 3, padding=1, groups=channels)

    def forward(self, x: Tensor) -> Tensor:
        return x + super().forward(x)


@dataclass(frozen=True)
class TinyTransformer(Net):
    """Two convolutional stages, patches of 2×2×2 places, and two stages of ``blocks`` pre-norm transformer blocks each;
    then mean pooling and ``fc``. ``widths`` are the channels of both convolutions and of the tokens; ``channels`` those
    of the video.

    A clip of 12 × 34² has stages of 12 × 17², 6 × 9² and twice 3 × 4² places, as in ``kdlab.nets.i3d.TinyC3D``. The
    last stage ends in layer norm and ReLU, so that its features are never negative, like those of that network.
    """

    widths: tuple[int, int, int] = (8, 16, 64)
    blocks: tuple[int, int] = (1, 2)
    heads: int = 4
    channels: int = 3
    dropout: float = 0.0
    stages: ClassVar = numbered(4)

    def __post_init__(self):
        integer(1, widths=self.widths, blocks=self.blocks, heads=self.heads, channels=self.channels)
        fraction(dropout=self.dropout)
        if self.widths[-1] % self.heads:
            raise ValueError(
                f"tokens of {self.widths[-1]} channels do not divide among heads={self.heads}: let widths "
                "end with a multiple"
            )

    def make(self, num_classes: int) -> nn.Module:
        first, second, width = self.widths
        stages = nn.Sequential(
            Stage(self.channels, first, pace=1, per_clip=True),
            Stage(first, second, pace=2, per_clip=False),
            nn.Sequential(
                nn.Conv3d(second, width, 2, 2),
                Positions(width),
                OnPlaces(*self._blocks(self.blocks[0])),
            ),
            OnPlaces(*self._blocks(self.blocks[1]), nn.LayerNorm(width), nn.ReLU()),
        )
        return nn.Sequential(OrderedDict(stages=stages, **pooled(width, num_classes)))

    def _blocks(self, count: int) -> list[nn.Module]:
        width, block = self.widths[-1], nn.TransformerEncoderLayer
        options = {"activation": "gelu", "batch_first": True, "norm_first": True}
        return [block(width, self.heads, 2 * width, self.dropout, **options) for _ in range(count)]
