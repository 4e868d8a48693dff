"""Networks for one compressed-domain modality each: CoViAR's (arXiv 1712.00636; docs/methods.md, 3.1) and a tiny one.

A video ``(B, C, T, H, W)`` has T frames, one from each TSN segment. Its logits are the mean of the frames' logits,
before the softmax.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kdlab.nets.norms import PixelNorm
from kdlab.nets.pretrained import Weights
from kdlab.nets.video import IMAGENET, numbered
from kdlab.protocols import Net, Statistics
from kdlab.system.values import fraction, integer

#: The channels of each modality: colours, or the two components of motion.
CHANNELS = {"iframe": 3, "motion": 2, "residual": 3}


class StagedNet(nn.Module):
    """Four ``stages`` applied to every frame, each of which can run separately; then ``dropout`` and ``fc``."""

    stages: Sequence[Callable[[Tensor], Tensor]]

    def classify(self, h: Tensor, segments: int) -> Tensor:
        """Logits ``(B, K)`` from the last stage's ``(B*T, C, h, w)``: pooled, classified, averaged over T segments."""
        frames = self.fc(self.dropout(F.adaptive_avg_pool2d(h, 1).flatten(1)))
        return frames.unflatten(0, (-1, segments)).mean(1)

    def features(self, x: Tensor) -> tuple[list[Tensor], Tensor]:
        """The outputs ``(B*T, C_k, h_k, w_k)`` of the first three stages and the logits ``(B, K)``, for video
        ``(B, C, T, H, W)``."""
        h, taps = x.transpose(1, 2).flatten(0, 1), []
        for stage in self.stages:
            taps.append(h := stage(h))
        return taps[:-1], self.classify(h, x.shape[2])

    def forward(self, x: Tensor) -> Tensor:
        return self.features(x)[1]


class EverySecond(nn.Conv2d):
    """A 1×1 convolution of stride 2, computed as a matrix product with the pixels that it reads. oneDNN's convolution
    (in torch 2.14) is slower. For feature maps of an even width of 60 pixels or more, such as those of 4:3 frames here,
    its backward pass writes beyond its memory and the process dies."""

    def _conv_forward(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        read = x.permute(0, 2, 3, 1)[:, ::2, ::2]
        return F.linear(read, weight.flatten(1), bias).permute(0, 3, 1, 2)


class Block(nn.Module):
    """A residual block of two 3×3 convolutions that halves the resolution, in torchvision's order and names."""

    def __init__(self, channels_in: int, channels: int):
        super().__init__()
        # initialised first, registered last
        shortcut = EverySecond(channels_in, channels, 1, 2, bias=False)
        self.conv1 = nn.Conv2d(channels_in, channels, 3, 2, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.downsample = nn.Sequential(shortcut, nn.BatchNorm2d(channels))
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        h = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        return self.relu(h + self.downsample(x))


class TinyNet(StagedNet):
    """A :class:`StagedNet` with one residual block per stage, each halving the resolution, behind an input batch
    norm."""

    def __init__(self, channels: int, widths: tuple[int, ...], num_classes: int, dropout: float):
        super().__init__()
        self.stages = nn.Sequential(*(Block(*pair) for pair in pairwise((channels, *widths))))
        self.stages[0] = nn.Sequential(PixelNorm(channels), self.stages[0])
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(widths[-1], num_classes)


@dataclass(frozen=True)
class TinyCompressed(Net):
    """A residual network of four blocks for frames of about 64×80: 155,000 parameters, 14 million MACs per frame.
    ``channels`` are those of the modality (:data:`CHANNELS`)."""

    widths: tuple[int, int, int, int] = (16, 32, 64, 64)
    dropout: float = 0.1
    channels: int = 3
    stages: ClassVar = numbered(4)  # they give feature maps of each frame, (B*T, C, h, w)

    def __post_init__(self):
        integer(1, widths=self.widths, channels=self.channels)
        fraction(dropout=self.dropout)

    def make(self, num_classes: int) -> StagedNet:
        net = TinyNet(self.channels, self.widths, num_classes, self.dropout)
        return net.to(memory_format=torch.channels_last)


def tiny(modality: str) -> TinyCompressed:
    """The network for ``modality``, sized as in CoViAR: motion and residual have half the widths of the I-frame
    network."""
    if modality == "iframe":
        return matched(modality)
    return TinyCompressed((8, 16, 32, 32), channels=CHANNELS[modality])


def matched(modality: str) -> TinyCompressed:
    """The network for ``modality`` with equal widths for all three modalities; motion has two input channels."""
    return TinyCompressed(channels=CHANNELS[modality])


@dataclass(frozen=True)
class CoViARNet(Net):
    """CoViAR's network for ``modality``: a ResNet of ``depth`` 18, 50 or 152 for 224² frames.

    CoViAR uses depth 152 for I-frames (the PKD study 50) and 18 for motion and residual, which have an input batch
    norm. ``weights`` are a checkpoint of its released code. kdlab's residuals are RGB, as are all its pixels. The
    released networks were trained on BGR, so the network reverses the channels itself.
    """

    modality: str
    depth: int
    weights: Weights | None = None
    stages: ClassVar = ("layer1", "layer2", "layer3", "layer4")

    def __post_init__(self):
        if self.modality not in CHANNELS or self.depth not in (18, 50, 152):
            raise ValueError(
                f"modality must be one of {', '.join(CHANNELS)} and depth 18, 50 or 152, got {self}"
            )

    @property
    def channels(self) -> int:
        return CHANNELS[self.modality]

    @property
    def statistics(self) -> Statistics:
        """The released input statistics, with or without weights: the input batch norm expects them."""
        if self.modality == "iframe":
            return IMAGENET
        if self.modality == "motion":
            return (0.5, 0.5), (1.0, 1.0)
        # The released code applies ImageNet's deviations in RGB order to BGR channels: reversed here.
        return (0.5, 0.5, 0.5), IMAGENET[1][::-1]

    def make(self, num_classes: int) -> StagedNet:
        # the import takes a second
        from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet

        kinds = {
            18: (BasicBlock, [2, 2, 2, 2]),
            50: (Bottleneck, [3, 4, 6, 3]),
            152: (Bottleneck, [3, 8, 36, 3]),
        }
        net = FrameNet(ResNet(*kinds[self.depth], num_classes), self.modality)
        net = net.to(memory_format=torch.channels_last)
        return self.weights.into(net) if self.weights else net


class FrameNet(StagedNet):
    """The layers of torchvision's ``resnet``, under their names, behind ``data_bn``; the first stage includes the
    stem."""

    dropout = nn.Identity()

    def __init__(self, resnet: nn.Module, modality: str):
        super().__init__()
        for name, layer in resnet.named_children():
            self.add_module(name, layer)
        if modality == "motion":
            self.conv1 = nn.Conv2d(2, 64, 7, 2, 3, bias=False)
        self.data_bn = nn.Identity() if modality == "iframe" else nn.BatchNorm2d(CHANNELS[modality])
        self.reversed = modality == "residual"

    @property
    def stages(self) -> tuple[Callable[[Tensor], Tensor], ...]:
        return self._first, self.layer2, self.layer3, self.layer4

    def _first(self, x: Tensor) -> Tensor:
        x = self.data_bn(x.flip(1) if self.reversed else x)
        return self.layer1(self.maxpool(self.relu(self.bn1(self.conv1(x)))))
