"""A network: a (2+1)D transformer, with attention among the places of a frame and then along time. Its first stage
gives frames."""

from collections import OrderedDict
from dataclasses import dataclass

import torch
from torch import nn

from kdlab.protocols import Net


class Holdfast(nn.Module):
    def __init__(self, channels: int, width: int):
        super().__init__()
        self.patch = nn.Conv2d(channels, width, 4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        frames = self.patch(x.transpose(1, 2).flatten(0, 1))
        return frames.unflatten(0, (len(x), -1)).transpose(1, 2)


class Blade(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.space, self.time = (
            nn.TransformerEncoderLayer(width, 2, width, 0.0, batch_first=True) for _ in range(2)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        b, c, t, h, w = x.shape
        y = self.space(x.permute(0, 2, 3, 4, 1).reshape(b * t, h * w, c))
        y = self.time(y.reshape(b, t, h * w, c).transpose(1, 2).reshape(b * h * w, t, c))
        return y.reshape(b, h, w, t, c).permute(0, 4, 3, 1, 2)


@dataclass(frozen=True)
class Kelp(Net):
    width: int = 8
    head = "classify"
    stages = ("holdfast.patch", "blades.0", "blades.1")

    def make(self, num_classes: int) -> nn.Module:
        return nn.Sequential(
            OrderedDict(
                holdfast=Holdfast(3, self.width),
                blades=nn.Sequential(Blade(self.width), Blade(self.width)),
                pool=nn.AdaptiveAvgPool3d(1),
                flat=nn.Flatten(),
                classify=nn.Linear(self.width, num_classes),
            )
        )
