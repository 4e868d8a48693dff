"""A network: two stages and a head of other names than kdlab's."""

from collections import OrderedDict
from dataclasses import dataclass

from torch import nn

from kdlab.protocols import Net


def planks(a: int, b: int, stride: tuple[int, int, int]) -> nn.Sequential:
    return nn.Sequential(nn.Conv3d(a, b, 3, stride, 1, bias=False), nn.BatchNorm3d(b), nn.ReLU())


@dataclass(frozen=True)
class Raft(Net):
    width: int = 6
    channels: int = 3
    head = "classify"
    stages = ("bow", "stern")

    def make(self, num_classes: int) -> nn.Module:
        return nn.Sequential(
            OrderedDict(
                bow=planks(self.channels, self.width, (1, 2, 2)),
                stern=planks(self.width, 2 * self.width, (2, 2, 2)),
                pool=nn.AdaptiveAvgPool3d(1),
                flat=nn.Flatten(),
                classify=nn.Linear(2 * self.width, num_classes),
            )
        )
