"""I3D (Carreira & Zisserman, arXiv 1705.07750), its variants with fewer temporal kernels, and a tiny network of that
kind.

GenKD's students are I3D without temporal kernels in some stages (docs/methods.md, 2). The strides in time and the pools
between stages remain: a stem without a temporal kernel takes every second frame and never sees the others.
"""

from collections import OrderedDict
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kdlab.nets.layers import pooled
from kdlab.nets.norms import ClipNorm
from kdlab.nets.pretrained import Weights
from kdlab.nets.video import OnTrunk, TinyR2Plus1D, numbered
from kdlab.protocols import Net, Statistics
from kdlab.system.values import fraction, integer

#: Stages with temporal kernels, in order. Top-I3D keeps the later ones, Bottom-I3D the earlier, I2D none: ``()``.
STAGES = ("1a", "2c", "3b", "3c", "4b", "4c", "4d", "4e", "4f", "5b", "5c")
BOTTOM, TOP = STAGES[:6], STAGES[6:]

#: Channels of an Inception block: 1×1; 1×1 before 3×3, 3×3; 1×1 before 3×3, 3×3; 1×1 after the pool.
_MIXED = {
    "3b": (64, 96, 128, 16, 32, 32),
    "3c": (128, 128, 192, 32, 96, 64),
    "4b": (192, 96, 208, 16, 48, 64),
    "4c": (160, 112, 224, 24, 64, 64),
    "4d": (128, 128, 256, 24, 64, 64),
    "4e": (112, 144, 288, 32, 64, 64),
    "4f": (256, 160, 320, 32, 128, 128),
    "5b": (256, 160, 320, 32, 128, 128),
    "5c": (384, 192, 384, 48, 128, 128),
}
#: The pool before a stage: its name, kernel and stride.
_POOLS = {
    "3b": ("3a_3x3", (1, 3, 3), (1, 2, 2)),
    "4b": ("4a_3x3", (3, 3, 3), (2, 2, 2)),
    "5b": ("5a_2x2", (2, 2, 2), (2, 2, 2)),
}


def _same(x: Tensor, kernel: tuple[int, ...], stride: tuple[int, ...]) -> Tensor:
    """Pad time and space with zeros, so that a length n comes out as ⌈n / stride⌉. An odd zero goes to the end, as
    released."""
    pads = []
    for n, k, s in zip(x.shape[:1:-1], kernel[::-1], stride[::-1], strict=True):
        total = max((-(-n // s) - 1) * s + k - n, 0)
        pads += [total // 2, total - total // 2]
    return F.pad(x, pads)


class Unit(nn.Module):
    """Convolution, batch norm and ReLU, under the released names."""

    def __init__(self, channels_in: int, channels: int, kernel=(1, 1, 1), stride=(1, 1, 1)):
        super().__init__()
        # symmetric padding needs no copy
        inside = [k // 2 for k in kernel] if stride == (1, 1, 1) else 0
        self.conv3d = nn.Conv3d(channels_in, channels, kernel, stride, inside, bias=False)
        self.bn = nn.BatchNorm3d(channels, eps=1e-3, momentum=0.01)

    def forward(self, x: Tensor) -> Tensor:
        conv = self.conv3d
        if conv.stride != (1, 1, 1):
            x = _same(x, conv.kernel_size, conv.stride)
        return torch.relu(self.bn(conv(x)))


class Pool(nn.MaxPool3d):
    """Max pooling with zero padding: its inputs are rectified."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(_same(x, self.kernel_size, self.stride))


class PairPool(nn.Module):
    """Mean over space and over each pair of neighbouring steps: ``(B, C, T', H', W')`` → ``(B, C, T' − 1, 1, 1)``."""

    def forward(self, x: Tensor) -> Tensor:
        return F.avg_pool3d(x, (min(2, x.shape[2]), *x.shape[3:]), 1)


class Mixed(nn.Module):
    """An Inception block of four branches."""

    def __init__(self, channels_in: int, widths: tuple[int, ...], temporal: bool):
        super().__init__()
        one, before, three, before_too, three_too, after_pool = widths
        kernel = (3 if temporal else 1, 3, 3)
        self.b0 = Unit(channels_in, one)
        self.b1a, self.b1b = Unit(channels_in, before), Unit(before, three, kernel)
        self.b2a, self.b2b = Unit(channels_in, before_too), Unit(before_too, three_too, kernel)
        self.b3a = nn.MaxPool3d(kernel, 1, [k // 2 for k in kernel])
        self.b3b = Unit(channels_in, after_pool)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat(
            [self.b0(x), self.b1b(self.b1a(x)), self.b2b(self.b2a(x)), self.b3b(self.b3a(x))], 1
        )


class I3DNet(nn.Sequential):
    """Video → logits ``(B, K)``, averaged over time; the layer ``Mixed_5c`` gives ``(B, 1024, T/8, H/32, W/32)``."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).mean((2, 3, 4))


@dataclass(frozen=True)
class I3D(Net):
    """I3D with temporal kernels in the stages ``temporal`` (:data:`STAGES`), for RGB or flow (``channels`` 2).

    12.7 million parameters with 400 classes, for clips of 64 × 224². ``weights`` are a checkpoint in the layout of the
    widely used PyTorch conversion of the released networks; a head for other classes keeps its random weights.
    """

    temporal: tuple[str, ...] = STAGES
    channels: int = 3
    weights: Weights | None = None
    dropout: float = 0.5

    def __post_init__(self):
        if unknown := sorted(set(self.temporal) - set(STAGES)):
            raise ValueError(f"no stage {unknown[0]!r} in I3D; it has {', '.join(STAGES)}")
        integer(1, channels=self.channels)
        fraction(dropout=self.dropout)

    @property
    def statistics(self) -> Statistics | None:
        """The statistics that map pixels and flow to [−1, 1], as the released networks expect; None without weights."""
        return ((0.5,) * self.channels, (0.5,) * self.channels) if self.weights else None

    head: ClassVar = "logits.conv3d"
    stages: ClassVar = ("Conv3d_2c_3x3", "Mixed_3c", "Mixed_4f", "Mixed_5c")

    def make(self, num_classes: int) -> nn.Module:
        net = I3DNet(self._layers())
        net.logits = nn.Sequential(OrderedDict(conv3d=nn.Conv3d(1024, num_classes, 1)))
        return self.weights.into(net, self.head) if self.weights else net

    def _layers(self) -> OrderedDict:
        def kernel(stage: str, size: int) -> tuple[int, int, int]:
            return size if stage in self.temporal else 1, size, size

        layers = OrderedDict(
            Conv3d_1a_7x7=Unit(self.channels, 64, kernel("1a", 7), (2, 2, 2)),
            MaxPool3d_2a_3x3=Pool((1, 3, 3), (1, 2, 2)),
            Conv3d_2b_1x1=Unit(64, 64),
            Conv3d_2c_3x3=Unit(64, 192, kernel("2c", 3)),
        )
        width = 192
        for stage, widths in _MIXED.items():
            if stage in _POOLS:
                name, size, stride = _POOLS[stage]
                layers[f"MaxPool3d_{name}"] = Pool(size, stride)
            layers[f"Mixed_{stage}"] = Mixed(width, widths, stage in self.temporal)
            width = sum(widths[i] for i in (0, 2, 4, 5))
        return layers | OrderedDict(avg_pool=PairPool(), dropout=nn.Dropout(self.dropout))


@dataclass(frozen=True)
class TinyC3D(Net):
    """Four convolutions, ``stages``, map 16 frames of 32² or 36² to features ``(widths[3], 4, 4, 4)``; then the head.

    ``temporal`` states which convolutions have temporal kernels: ``(False, False, True, True)`` is the tiny Top-I3D. A
    student with half the widths in all but the last has features of its teacher's shape. ``projector`` is the number of
    output channels of SimKD's projector, which follows the stages: 1×1×1 to half as many, 3×3×3, 1×1×1 (arXiv
    2203.14001). The first norm is per clip (``kdlab.nets.video.TinyNet``).
    """

    widths: tuple[int, int, int, int] = (8, 16, 32, 64)
    temporal: tuple[bool, bool, bool, bool] = (True, True, True, True)
    channels: int = 3
    projector: int = 0
    dropout: float = 0.0

    def __post_init__(self):
        integer(1, widths=self.widths, channels=self.channels)
        integer(0, projector=self.projector)
        fraction(dropout=self.dropout)

    @property
    def stages(self) -> tuple[str, ...]:
        """See :func:`kdlab.nets.video.stages`."""
        return numbered(5 if self.projector else 4)

    def make(self, num_classes: int) -> nn.Module:
        # Strides halve space where maps are large; max pools halve time, so that a 2-D stage still sees all frames.
        strides, pools = ((1, 2, 2), (1, 2, 2), 1, 1), (None, (2, 1, 1), (2, 2, 2), None)
        stages, before = [], self.channels
        for width, temporal, stride, pool in zip(
            self.widths, self.temporal, strides, pools, strict=True
        ):
            kernel = (3 if temporal else 1, 3, 3)
            stages.append(_stage(before, width, kernel, stride, pool, per_clip=not stages))
            before = width
        if self.projector:
            stages.append(_projector(width, self.projector))
            width = self.projector
        head = pooled(width, num_classes, self.dropout)
        return nn.Sequential(OrderedDict(stages=nn.Sequential(*stages), **head))


@dataclass(frozen=True)
class Projected(OnTrunk):
    """The features of ``backbone`` under SimKD's projector to ``to`` channels (:class:`TinyC3D`), mean pooling and
    ``fc``: a student for a teacher of another class, whose last stage has ``to`` channels."""

    backbone: TinyR2Plus1D | TinyC3D = TinyR2Plus1D()
    to: int = 64

    def __post_init__(self):
        integer(2, to=self.to)

    @property
    def stages(self) -> tuple[str, ...]:
        return *super().stages, "projector"

    def make(self, num_classes: int) -> nn.Module:
        backbone = self.backbone.make(num_classes)
        projector = _projector(self.width(backbone), self.to)
        head = pooled(self.to, num_classes)
        return nn.Sequential(
            OrderedDict(backbone=self.trunk(backbone), projector=projector, **head)
        )


def _projector(channels: int, width: int) -> nn.Sequential:
    half = width // 2
    return nn.Sequential(
        _stage(channels, half, (1, 1, 1)),
        _stage(half, half, (3, 3, 3)),
        _stage(half, width, (1, 1, 1)),
    )


def _stage(
    channels_in: int, channels: int, kernel, stride=1, pool=None, per_clip: bool = False
) -> nn.Sequential:
    convolution = nn.Conv3d(
        channels_in, channels, kernel, stride, tuple(k // 2 for k in kernel), bias=False
    )
    norm = ClipNorm(channels) if per_clip else nn.BatchNorm3d(channels)
    return nn.Sequential(convolution, norm, nn.ReLU(), *([nn.MaxPool3d(pool)] if pool else []))
