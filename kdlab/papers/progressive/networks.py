"""Exits: heads after the first three stages of three frozen networks, and the twelve exits together.

All modules order exits as docs/methods.md, 3.2 does: residual 1..4, motion 1..4, I-frame 1..4. Exit 4 is the network's
own final classifier.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor, nn

from kdlab.nets.layers import Outputs
from kdlab.nets.video import Normalised
from kdlab.protocols import Net
from kdlab.system.values import integer

#: The modalities in the order of their exits, and in the order of flatness that the paper claims for their minima (P1).
ORDER, CLAIMED = ("residual", "motion", "iframe"), ("iframe", "residual", "motion")
#: The names of the twelve exits in figures, the indices of the networks' final classifiers, and those of the heads.
EXITS = tuple(f"{modality[0].upper()}{k}" for modality in ORDER for k in (1, 2, 3, 4))
FINALS = [3, 7, 11]
TRAINED = [k for k in range(12) if k not in FINALS]
#: Height and width to which a tiny network's heads average a map first: about the size of its third stage.
POOLED = (7, 9)


@dataclass(frozen=True)
class Exit:
    """A head on the ``channels`` of a stage: convolution to ``width`` channels, batch norm, 4×4 pooling, linear.

    As released, there is no rectifier, and the padding is 1 for any ``kernel`` (docs/methods.md, 3.2). ``pooled`` is
    the size to which maps are averaged first, which makes tiny heads three times as fast. The released code has no such
    average.
    """

    channels: int
    width: int
    kernel: int = 3
    pooled: tuple[int, int] | None = None

    def __post_init__(self):
        integer(1, **vars(self) | {"pooled": self.pooled or (1, 1)})

    def make(self, num_classes: int) -> nn.Module:
        first = [Pooled(self.pooled)] if self.pooled else []
        return nn.Sequential(
            *first,
            nn.Conv2d(self.channels, self.width, self.kernel, padding=1, bias=False),
            nn.BatchNorm2d(self.width),
            nn.AdaptiveAvgPool2d(4),
            nn.Flatten(),
            nn.Linear(16 * self.width, num_classes),
        )


class Pooled(nn.AdaptiveAvgPool2d):
    """Averages maps to a size. Maps of that size pass unchanged, which saves a third of a head's time."""

    def forward(self, x: Tensor) -> Tensor:
        return x if tuple(x.shape[-2:]) == self.output_size else super().forward(x)


class Heads(nn.ModuleDict):
    """The nine heads: ``self[modality][stage]`` maps ``(N, C_k, h, w)`` → ``(N, K)``."""

    def forward(self, features: dict[object, Tensor]) -> Tensor:
        """Logits ``(B, 9, K)`` of the maps in :func:`frozen_features`. The modalities stand in :data:`ORDER`."""
        exits = product(self, range(3))
        return torch.stack([self.at(*exit, features[exit]) for exit in exits], 1)

    def at(self, modality: str, stage: int, maps: Tensor) -> Tensor:
        """Logits ``(B, K)`` of one head on ``maps (B, T, C_k, h, w)``, averaged over T."""
        return self[modality][stage](maps.flatten(0, 1)).unflatten(0, maps.shape[:2]).mean(1)


@dataclass(frozen=True)
class ExitHeads(Net):
    """Three :class:`Exit` for each modality. ``make(num_classes)`` gives :class:`Heads`."""

    residual: tuple[Exit, ...] = ()
    motion: tuple[Exit, ...] = ()
    iframe: tuple[Exit, ...] = ()

    @classmethod
    def on(cls, **nets) -> "ExitHeads":
        """The heads for networks given by their specs, by modality. On CoViAR's networks heads are as released; on tiny
        ones they have 3×3 kernels and the stage's own width."""
        return cls(**{modality: _heads(net) for modality, net in nets.items()})

    def make(self, num_classes: int) -> Heads:
        heads = Heads()
        for modality in ORDER:
            layers = (head.make(num_classes) for head in getattr(self, modality))
            heads[modality] = nn.ModuleList(layers)
        return heads


def _heads(net) -> tuple[Exit, Exit, Exit]:
    if not hasattr(net, "depth"):
        return tuple(Exit(width, width, pooled=POOLED) for width in net.widths[:3])
    if net.depth == 18:
        return Exit(64, 64, kernel=7), Exit(128, 128), Exit(256, 256)
    return Exit(256, 64), Exit(512, 256), Exit(1024, 1024)


@torch.no_grad()
def frozen_features(
    nets: Mapping[str, Normalised], views: dict[str, Tensor]
) -> dict[object, Tensor]:
    """The heads' input from the first three stages of ``nets`` for pixels ``views[modality] (B, C, T, H, W)``: maps
    ``(B, T, C_k, h, w)`` under (modality, stage), and under ``finals`` the networks' logits ``(B, 3, K)``."""
    features, finals = {}, []
    for modality, net in nets.items():
        x = views[modality]
        stages, logits = net.net.features((x - net.mean) / net.std)
        for stage, maps in enumerate(stages):
            features[modality, stage] = maps.unflatten(0, (len(x), -1))
        finals.append(logits)
    return features | {"finals": torch.stack(finals, 1)}


def twelve(heads: Heads, features: dict[object, Tensor]) -> Tensor:
    """Logits ``(B, 12, K)``: for each modality its three trained heads, followed by its own final classifier."""
    trained = heads(features).unflatten(1, (3, 3))
    return torch.cat([trained, features["finals"][:, :, None]], 2).flatten(1, 2)


class Trio(nn.Module):
    """Three frozen networks and their trained heads: twelve exits. ``train`` does not affect the networks: their
    weights get no gradient, and their batch statistics do not change."""

    def __init__(self, nets: dict[str, Normalised], heads: Heads):
        super().__init__()
        in_order = {modality: nets[modality] for modality in ORDER}
        self.nets = nn.ModuleDict(in_order).requires_grad_(False)
        self.heads = heads
        self.train()

    def train(self, mode: bool = True) -> "Trio":
        super().train(mode)
        self.nets.eval()
        return self

    def forward(self, views: dict[str, Tensor]) -> Outputs:
        """The logits of all ``exits (B, 12, K)`` for ``views[modality] (B, C, T, H, W)``; ``logits`` are the last
        exit's."""
        exits = twelve(self.heads, frozen_features(self.nets, views))
        return Outputs(exits[:, -1], exits=exits)

    def begin(self, modality: str, x: Tensor) -> Tensor:
        """Normalised frames ``(B, T, C, H, W)`` for :meth:`advance`. Here and after each stage, clips may be dropped
        (``maps[kept]``)."""
        net = self.nets[modality]
        return ((x - net.mean) / net.std).transpose(1, 2)

    def advance(self, modality: str, stage: int, maps: Tensor) -> Tensor:
        """The output ``(B, T, C, h, w)`` of ``stage`` (0..3) on the output of the stage before, or of :meth:`begin`."""
        compute = self.nets[modality].net.stages[stage]
        return compute(maps.flatten(0, 1)).unflatten(0, maps.shape[:2])

    def logits_at(self, modality: str, stage: int, maps: Tensor) -> Tensor:
        """Logits ``(B, K)`` of the exit after ``stage`` (0..3)."""
        if stage == 3:
            return self.nets[modality].net.classify(maps.flatten(0, 1), maps.shape[1])
        return self.heads.at(modality, stage, maps)
