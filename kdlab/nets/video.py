"""A tiny R(2+1)D for CPUs, the input normalisation of every network, and functions that load weights.

R(2+1)D factorises a 3-D convolution into a spatial and a temporal one (Tran et al., arXiv 1711.11248).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from kdlab.nets.layers import channels_last, seeded_weights, trunk
from kdlab.nets.norms import ClipNorm
from kdlab.protocols import Net, Statistics
from kdlab.system.values import fraction, integer

#: Mean and standard deviation per channel (RGB in [0, 1]) of ImageNet, whose photographs are not dark.
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


class Stage(nn.Module):
    """Spatial convolution (stride 2), then temporal convolution (stride ``pace``), each followed by a norm and ReLU."""

    def __init__(self, channels_in: int, channels: int, pace: int, per_clip: bool):
        super().__init__()
        self.spatial = nn.Conv3d(channels_in, channels, (1, 3, 3), (1, 2, 2), (0, 1, 1), bias=False)
        self.spatial_norm = ClipNorm(channels) if per_clip else nn.BatchNorm3d(channels)
        self.temporal = nn.Conv3d(
            channels, channels, (3, 1, 1), (pace, 1, 1), (1, 0, 0), bias=False
        )
        self.temporal_norm = nn.BatchNorm3d(channels)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.spatial_norm(self.spatial(x)))
        return torch.relu(self.temporal_norm(self.temporal(x)))


class TinyNet(nn.Module):
    """Four :class:`Stage`, global average pooling, dropout, linear layer: video ``(B, 3, T, H, W)`` → logits
    ``(B, K)``.

    The first norm is per clip (instance norm). Exposure varies by factors between dark clips, and under batch
    statistics this variation hides the actor: with batch norm there, the same network stayed at chance; with instance
    norm it reached 76 % (docs/log.md).
    """

    def __init__(self, widths: tuple[int, ...], num_classes: int, dropout: float):
        super().__init__()
        self.stages, before = nn.Sequential(), 3
        for i, width in enumerate(widths):
            # only the second half of the stages halves time, after motion is read
            pace = 1 if i < len(widths) // 2 else 2
            self.stages.append(Stage(before, width, pace, per_clip=i == 0))
            before = width
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(widths[-1], num_classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.dropout(self.stages(x).mean((2, 3, 4))))


@dataclass(frozen=True)
class TinyR2Plus1D(Net):
    """About 69,000 parameters at the default widths; training processes about 500 clips of 16 × 36² per second and
    core."""

    widths: tuple[int, ...] = (8, 16, 40, 88)
    dropout: float = 0.0

    def __post_init__(self):
        integer(1, widths=self.widths)
        fraction(dropout=self.dropout)

    @property
    def stages(self) -> tuple[str, ...]:
        """See :func:`stages`."""
        return numbered(len(self.widths))

    def make(self, num_classes: int) -> nn.Module:
        return TinyNet(self.widths, num_classes, self.dropout)


def numbered(count: int) -> tuple[str, ...]:
    """The names of the layers in the sequence ``stages``: ``stages.0`` …, so many."""
    return tuple(f"stages.{k}" for k in range(count))


def stages(spec) -> tuple[str, ...]:
    """The names of the layers with features in the network of ``spec``, from input to output. Raises ``ValueError`` for
    a spec that names none."""
    if not spec.stages:
        raise ValueError(
            f"{type(spec).__name__} names no stages: give it stages = (…), the layers that give features, "
            "the pixels' first (kdlab.protocols.Net)"
        )
    return tuple(spec.stages)


class OnTrunk(Net):
    """The spec of a network on the trunk of the network ``backbone``, which becomes its layer ``trunk_name``."""

    trunk_name: ClassVar = "backbone"

    @property
    def statistics(self) -> Statistics | None:
        """The input statistics of the backbone's weights; None without weights."""
        return self.backbone.statistics

    @property
    def channels(self) -> int:
        return self.backbone.channels

    @property
    def stages(self) -> tuple[str, ...]:
        return tuple(f"{self.trunk_name}.{name}" for name in stages(self.backbone))

    def trunk(self, backbone: nn.Module) -> nn.Module:
        """The made ``backbone`` up to its last stage."""
        return trunk(backbone, stages(self.backbone)[-1])

    def width(self, backbone: nn.Module) -> int:
        """The channels that the head of the made ``backbone`` reads."""
        return backbone.get_submodule(self.backbone.head).weight.shape[1]


class Normalised(nn.Module):
    """``net`` after standardisation per channel; the statistics are stored with the weights.

    The statistics belong to the view on which the network was trained. A network therefore cannot be trained with one
    normalisation and tested with another (a pitfall of the reference pipeline: docs/methods.md, 1).
    """

    #: The names of the layers with features, as in ``net.stages.0``; :func:`build` takes them from the spec.
    stage_names: tuple[str, ...] = ()

    def __init__(self, net: nn.Module, mean: Tensor, std: Tensor):
        super().__init__()
        self.net = net
        self.register_buffer("mean", mean.view(1, -1, 1, 1, 1).clone())
        self.register_buffer("std", std.view(1, -1, 1, 1, 1).clone())
        self._still = {name for name, layer in self.named_modules() if not layer.training}

    def train(self, mode: bool = True) -> "Normalised":
        """As ``nn.Module.train``, but layers that were in evaluation mode when ``net`` was wrapped stay there."""
        super().train(mode)
        for name, layer in self.named_modules():
            layer.training = layer.training and name not in self._still
        return self

    def forward(self, x: Tensor) -> Tensor:
        """Pixels ``(B, C, T, H, W)`` in [0, 1] → logits ``(B, K)``."""
        # One pass over the pixels, along rows: a broadcast over three channels would take three times as long.
        scale, shift = (
            values.expand(1, -1, 1, 1, x.shape[-1]).contiguous(memory_format=torch.channels_last_3d)
            for values in (1 / self.std, -self.mean / self.std)
        )
        return self.net(torch.addcmul(shift, x, scale))


def build(spec: Net, num_classes: int, seed: int, *statistics: Tensor) -> Normalised:
    """A :class:`Normalised` network from its spec; ``seed`` alone determines its initial weights. ``statistics`` are a
    mean and a standard deviation per channel; without them it sees the pixels as they are."""
    mean, std = statistics or (torch.zeros(spec.channels), torch.ones(spec.channels))
    with seeded_weights(seed):
        net = Normalised(spec.make(num_classes), mean, std)
    net.stage_names = tuple(f"net.{name}" for name in spec.stages)
    _give_memory(channels_last(net))
    return net


def begin_as(
    net: Normalised,
    start: nn.Module,
    classes: Sequence[str],
    start_classes: Sequence[str],
    head: str = "fc",
) -> Normalised:
    """Give ``net`` the weights of ``start``. The last layer ``head`` is copied row by row: a class that ``start`` was
    not trained on keeps its random row. Raises ``ValueError`` when other shapes differ, or when there is no such
    layer."""
    state, own = dict(start.state_dict()), net.state_dict()
    if f"net.{head}.weight" not in own:
        raise ValueError(
            f"{type(net.net).__name__} has no layer {head!r} with a row a class: name it in the "
            'network\'s recipe, head = "…"'
        )
    for key in (f"net.{head}.weight", f"net.{head}.bias"):
        if key in own and key in state and state[key].shape[1:] == own[key].shape[1:]:
            rows = own[key].clone()
            for row, name in enumerate(classes):
                if name in start_classes:
                    rows[row] = state[key][start_classes.index(name)]
            state[key] = rows
    load_weights(net, state, "the start's recipe")
    return net


def load_weights(
    net: nn.Module,
    state: dict[str, Tensor],
    source: str,
    mend: str = (
        "Build the network from the recipe beside the weights, or delete the run to train it again."
    ),
) -> nn.Module:
    """Load ``state`` into ``net``. Raises ``ValueError`` with the first tensors that do not fit, and the advice
    ``mend``; two tensors that differ do not fit layers of ``net`` that share one weight."""
    own, first = net.state_dict(), {}
    missing, extra = sorted(own.keys() - state.keys()), sorted(state.keys() - own.keys())
    faults = [f"{len(missing)} tensors missing (first {missing[0]})"] if missing else []
    faults += [f"{len(extra)} unknown (first {extra[0]})"] if extra else []
    for name in sorted(own.keys() & state.keys()):
        mine, its = own[name], state[name]
        twin = first.setdefault((mine.data_ptr(), mine.shape), name)
        if its.shape != mine.shape:
            faults.append(f"{name} has shape {tuple(its.shape)}, expected {tuple(mine.shape)}")
        elif _kind(its) != _kind(mine):  # conversion would lose information
            faults.append(f"{name} is {its.dtype}, expected {mine.dtype}")
        elif name != twin and not torch.equal(its, state[twin]):
            faults.append(f"{twin} and {name} differ there and are one weight in this network")
    if faults:
        raise ValueError(
            f"{source} holds the weights of another architecture: {'; '.join(faults[:3])}. {mend}"
        )
    _give_memory(net)
    net.load_state_dict(state)
    return net


def _kind(tensor: Tensor) -> tuple[bool, bool]:
    return tensor.is_floating_point(), tensor.is_complex()


def _give_memory(net: nn.Module) -> None:
    """Give every element of the expanded tensors of ``net`` memory of its own; they could not be loaded otherwise."""
    for tensor in (*net.parameters(), *net.buffers()):
        if tensor.layout is torch.strided and 0 in tensor.stride():
            tensor.data = tensor.data.contiguous()


def for_classes(net: nn.Module, classes: Sequence[str], wanted: Sequence[str]) -> nn.Module:
    """``net``, trained on ``classes``, which from now on gives logits ``(B, len(wanted))`` of the classes ``wanted``;
    its layers keep their names. Raises ``ValueError`` for a wanted class on which it was not trained."""
    if unknown := [name for name in wanted if name not in classes]:
        raise ValueError(
            f"the teacher was not trained on {', '.join(unknown)}, but on {', '.join(classes)}. "
            "Train it on these clips' classes, or leave those clips out."
        )
    if (columns := [list(classes).index(name) for name in wanted]) != list(range(len(classes))):
        net.register_forward_hook(lambda _net, _video, logits: logits[:, columns])
    return net
