"""Networks of DL-KDD's studies: networks that see both lights, and networks that start from one trained on bright
clips.

The view :class:`BothLights` gives both lights as six channels, three of the raw clip and three of the enhanced clip.
Such a network costs twice as much as a student (docs/methods.md, 1.3 and 1.6).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import nn

from kdlab.clips.decode import Streamed
from kdlab.clips.views import Enhanced, Raw, View
from kdlab.nets.attention_head import Attended, AttendedNet
from kdlab.nets.norms import ClipNorm
from kdlab.nets.pretrained import Statistics
from kdlab.nets.video import Around, Normalised, load_weights, stages


@dataclass(frozen=True)
class BothLights(Streamed):
    """The view ``of`` in channels 0 to 2, and the same view brightened by ``by`` in channels 3 to 5."""

    by: Callable[[np.ndarray], np.ndarray]
    of: View = Raw()

    @property
    def name(self) -> str:
        return f"both-{Enhanced(self.by, self.of).name}"

    def each_frame(self, path: Path, indices: Sequence[int] | np.ndarray | None = None) -> Iterator[np.ndarray]:
        """Frames of ``path`` (all, or those at ascending ``indices``), ``uint8 (H, W, 6)``."""
        return (np.concatenate(pair, -1) for pair in Enhanced(self.by, self.of).pairs(path, indices))


class TwoLightNet(AttendedNet):
    """DarkLight: one backbone for both lights, then attention over the tokens of both."""

    def tokens(self, x: torch.Tensor) -> torch.Tensor:
        """The tokens of the raw clip, then those of the enhanced clip, ``(B, 2 T', C)``."""
        # one light after the other: batch norm sees one light at a time, as in the reference
        return torch.cat([super(TwoLightNet, self).tokens(light) for light in x.chunk(2, 1)], 1)


@dataclass(frozen=True)
class TwoLights(Attended):
    """:class:`Attended` for both lights: 16 tokens for 64 frames."""

    tokens: int = 16
    channels: ClassVar = 6
    network: ClassVar = TwoLightNet

    @property
    def statistics(self) -> Statistics | None:
        """The statistics of the backbone's weights, once per light; None without weights."""
        own = super().statistics
        return own and (own[0] * 2, own[1] * 2)


@dataclass(frozen=True)
class BatchNormed(Around):
    """The network ``of`` with batch norm in place of its per-clip norms. Full-size networks have batch norm from the
    first layer on, so all their layers carry the statistics of bright clips."""

    def make(self, num_classes: int) -> nn.Module:
        net = self.of.make(num_classes)
        for name, layer in list(net.named_modules()):
            if isinstance(layer, ClipNorm):
                net.set_submodule(name, nn.BatchNorm3d(layer.num_channels))
        return net


@dataclass(frozen=True)
class OwnStatistics(Around):
    """The network ``of``, started from a start's weights but with the input statistics of its own training clips; other
    networks inherit those of the start's clips."""

    def begin(self, net: Normalised, start: Normalised) -> Normalised:
        """Load ``start`` into ``net``, except for the input statistics; both have the same classes."""
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
class TwoNets(Around):
    """Two networks ``of`` one kind, one for each light of a :class:`BothLights` view, trained together.

    This is the teacher of ActLumos (arXiv 2502.03724) in our size: theirs fuses features by a learnt weight, ours
    averages logits. With two networks instead of one, batch norm has separate statistics for each light.
    """

    channels: ClassVar = 6

    @property
    def stages(self) -> tuple[str, ...]:
        """The stages of the network that sees the dark clip."""
        return tuple(f"lights.0.{name}" for name in stages(self.of))

    def make(self, num_classes: int) -> nn.Module:
        return _TwoNets([self.of.make(num_classes) for _ in range(2)])

    def begin(self, net: Normalised, start: Normalised) -> Normalised:
        """Start both networks from ``start``, a network ``of`` one light with the same classes."""
        state = {name: torch.cat([getattr(start, name)] * 2, 1) for name in ("mean", "std")}
        state |= {f"net.lights.{light}.{name}": tensor for light in range(2)
                  for name, tensor in start.net.state_dict().items()}
        return load_weights(net, state, "the start's recipe")
