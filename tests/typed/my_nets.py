"""The networks of README's example, so that its types are checked."""

from dataclasses import dataclass

from torch import nn

from kdlab.protocols import Net


@dataclass(frozen=True)
class Small(Net):
    width: int = 8

    def make(self, num_classes: int) -> nn.Module:
        return nn.Sequential(
            nn.Conv3d(3, self.width, 3),
            nn.AdaptiveAvgPool3d(1),
            nn.Flatten(),
            nn.Linear(self.width, num_classes),
        )


@dataclass(frozen=True)
class Large(Small):
    width: int = 32
