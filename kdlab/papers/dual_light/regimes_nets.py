"""Networks of the pre-trained regime: batch norm throughout, input statistics of one's own, two nets for two lights."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn

from kdlab.nets.norms import ClipNorm
from kdlab.nets.video import Normalised, TinyR2Plus1D, load_weights, stages


@dataclass(frozen=True)
class _Around:
    """A network made of the one ``of``."""

    of: TinyR2Plus1D = TinyR2Plus1D()

    @property
    def stages(self) -> tuple[str, ...]:
        return stages(self.of)

    def make(self, num_classes: int) -> nn.Module:
        return self.of.make(num_classes)


@dataclass(frozen=True)
class BatchNormed(_Around):
    """The network ``of`` with batch norm where it normalises each clip by itself: as networks of full size are, which
    bring the statistics of bright clips along from the first layer on."""

    def make(self, num_classes: int) -> nn.Module:
        net = self.of.make(num_classes)
        for name, layer in list(net.named_modules()):
            if isinstance(layer, ClipNorm):
                net.set_submodule(name, nn.BatchNorm3d(layer.num_channels))
        return net


@dataclass(frozen=True)
class OwnStatistics(_Around):
    """The network ``of`` that begins with a start's weights and the input statistics of its own training clips; any
    other brings those of the start's clips along."""

    def begin(self, net: Normalised, start: Normalised) -> Normalised:
        """Put all but the input statistics of ``start``, which knows the same classes, into ``net``."""
        own = {"mean": net.mean, "std": net.std}
        return load_weights(net, dict(start.state_dict()) | own, "the start's recipe")


class _TwoNets(nn.Module):
    def __init__(self, nets: list[nn.Module]):
        super().__init__()
        self.lights = nn.ModuleList(nets)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Both lights of a clip, ``(B, 6, T, H, W)`` → the mean of both networks' logits, ``(B, K)``."""
        lights = (light.contiguous(memory_format=torch.channels_last_3d) for light in x.chunk(len(self.lights), 1))
        return sum(net(light) for net, light in zip(self.lights, lights, strict=True)) / len(self.lights)


@dataclass(frozen=True)
class TwoNets(_Around):
    """Two networks ``of`` one kind, one for each light of a :class:`~.both_lights.BothLights` view, trained together.

    The teacher of ActLumos (arXiv 2502.03724) in our size: theirs fuses features by a learnt weight, here logits are
    averaged. Two networks, not one for both: batch norm's statistics are then each light's own.
    """

    channels: ClassVar = 6

    @property
    def stages(self) -> tuple[str, ...]:
        """Those of the network that sees the dark clip."""
        return tuple(f"lights.0.{name}" for name in stages(self.of))

    def make(self, num_classes: int) -> nn.Module:
        return _TwoNets([self.of.make(num_classes) for _ in range(2)])

    def begin(self, net: Normalised, start: Normalised) -> Normalised:
        """Let both begin as ``start``, a network ``of`` one light that knows the same classes."""
        state = {name: torch.cat([getattr(start, name)] * 2, 1) for name in ("mean", "std")}
        state |= {f"net.lights.{light}.{name}": tensor for light in range(2)
                  for name, tensor in start.net.state_dict().items()}
        return load_weights(net, state, "the start's recipe")
