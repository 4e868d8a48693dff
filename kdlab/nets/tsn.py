"""Temporal segment networks: the mean logits of a few frames (Wang et al., arXiv 1608.00859; docs/methods.md, 1.3)."""

from dataclasses import dataclass

import torch
from torch import nn
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet

from kdlab.nets.pretrained import Statistics, Weights
from kdlab.nets.wrappers import IMAGENET

__all__ = ["TSN"]


class SegmentNet(ResNet):
    """torchvision's ResNet, with its names, on every frame: video ``(B, 3, T, H, W)`` → logits ``(B, K)``.

    The T frames are one of each segment (``Window.frames``); the consensus is the mean of logits, before the softmax.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x.transpose(1, 2).flatten(0, 1)).unflatten(0, (len(x), -1)).mean(1)

    def _apply(self, fn, recurse=True):
        # ``build`` asks for channels-last *video*, which four dimensions cannot have: show five, with one time step.
        return super()._apply(lambda t: fn(t.unsqueeze(2)).squeeze(2) if t.dim() == 4 else fn(t), recurse)


@dataclass(frozen=True)
class TSN:
    """ResNet of ``depth`` 18 or 50 with segmental consensus; ``weights`` are a torchvision ResNet's (ImageNet)."""

    depth: int = 18
    weights: Weights | None = None

    def __post_init__(self):
        if self.depth not in (18, 50):
            raise ValueError(f"depth must be 18 or 50, got {self.depth}")

    @property
    def statistics(self) -> Statistics | None:
        """Mean and standard deviation that the weights were trained with; None without weights."""
        return IMAGENET if self.weights else None

    def make(self, num_classes: int) -> nn.Module:
        block, blocks = {18: (BasicBlock, [2, 2, 2, 2]), 50: (Bottleneck, [3, 4, 6, 3])}[self.depth]
        net = SegmentNet(block, blocks, num_classes)
        return self.weights.into(net) if self.weights else net
