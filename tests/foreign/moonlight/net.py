"""A network whose last layer is not called ``fc``."""

from collections import OrderedDict
from dataclasses import dataclass

from torch import nn


@dataclass(frozen=True)
class Strided:
    width: int = 4

    head = "answer.1"
    stages = ("early", "late")

    def make(self, num_classes):
        def block(a, b):
            return nn.Sequential(nn.Conv3d(a, b, 3, (1, 2, 2), 1, bias=False), nn.BatchNorm3d(b), nn.ReLU())

        return nn.Sequential(OrderedDict(
            early=block(3, self.width), late=block(self.width, 2 * self.width), pool=nn.AdaptiveAvgPool3d(1),
            flat=nn.Flatten(), answer=nn.Sequential(nn.Dropout(0.1), nn.Linear(2 * self.width, num_classes)),
        ))
