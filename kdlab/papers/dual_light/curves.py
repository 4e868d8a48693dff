"""Zero-DCE's network: from a dark picture to the curves that brighten it (arXiv 2001.06826; docs/methods.md, 1.1)."""

from dataclasses import dataclass

import torch
from torch import nn

from kdlab.system.values import integer


def apply_curves(x: torch.Tensor, curves: torch.Tensor) -> torch.Tensor:
    """``x ← x + r (x² − x)`` for each map r of ``curves`` in turn, per pixel and colour.

    x: ``(B, 3, …)`` in [0, 1]; curves: ``(B, 3 n, …)`` in [−1, 1], n maps of three colours (dimensions of size 1
    broadcast); the result is like x. −1 brightens, 0 is the identity, +1 darkens; [0, 1] stays in itself and the
    order of values is kept.
    """
    for r in curves.split(3, dim=1):
        x = x + r * (x * x - x)
    return x


class CurveNet(nn.Module):
    """Seven 3 × 3 convolutions of ``width`` channels with skips 3→5, 2→6, 1→7; the last gives the maps, through tanh.

    79,416 parameters at the released width of 32 and 8 ``iterations``. Fully convolutional: any size of picture.
    """

    def __init__(self, width: int = 32, iterations: int = 8):
        super().__init__()
        inputs, outputs = [3, *3 * [width], *3 * [2 * width]], [*6 * [width], 3 * iterations]
        self.convs = nn.ModuleList(nn.Conv2d(i, o, 3, padding=1) for i, o in zip(inputs, outputs, strict=True))
        for conv in self.convs:
            nn.init.normal_(conv.weight, 0, 0.02)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Pictures ``(B, 3, H, W)`` or clips ``(B, 3, T, H, W)`` in [0, 1] → curves ``(B, 24, …)``, brightened x."""
        if x.ndim == 5:
            return tuple(y.unflatten(0, (len(x), -1)).transpose(1, 2) for y in self(x.transpose(1, 2).flatten(0, 1)))
        skips = [torch.relu(self.convs[0](x))]
        for conv in self.convs[1:4]:
            skips.append(torch.relu(conv(skips[-1])))
        one, two, three, y = skips
        y = torch.relu(self.convs[4](torch.cat([three, y], 1)))
        y = torch.relu(self.convs[5](torch.cat([two, y], 1)))
        curves = torch.tanh(self.convs[6](torch.cat([one, y], 1)))
        return curves, apply_curves(x, curves)


@dataclass(frozen=True)
class Curves:
    """The recipe's :class:`CurveNet` of a ``width``; it knows no classes."""

    width: int = 16

    def __post_init__(self):
        integer(1, width=self.width)

    def make(self, num_classes: int) -> CurveNet:
        return CurveNet(self.width)
