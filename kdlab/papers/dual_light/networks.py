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
from torch import Tensor, nn

from kdlab.clips.views import Enhanced, Raw, View
from kdlab.nets.attention_head import Attended, AttendedNet
from kdlab.nets.norms import ClipNorm
from kdlab.nets.video import TinyR2Plus1D, stages
from kdlab.protocols import Net, Statistics


@dataclass(frozen=True)
class BothLights(View):
    """The view ``of`` in channels 0 to 2, and the same view brightened by ``by`` in channels 3 to 5."""

    by: Callable[[np.ndarray], np.ndarray]
    of: View = Raw()

    @property
    def name(self) -> str:
        return f"both-{Enhanced(self.by, self.of).name}"

    def each_frame(
        self, path: Path, indices: Sequence[int] | np.ndarray | None = None
    ) -> Iterator[np.ndarray]:
        """Frames of ``path`` (all, or those at ascending ``indices``), ``uint8 (H, W, 6)``."""
        return (
            np.concatenate(pair, -1) for pair in Enhanced(self.by, self.of).pairs(path, indices)
        )


class TwoLightNet(AttendedNet):
    """DarkLight: one backbone for both lights, then attention over the tokens of both."""

    def tokens(self, x: Tensor) -> Tensor:
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
class BatchNormed(Net):
    """The network ``of`` with batch norm in place of its per-clip norms. Full-size networks have batch norm from the
    first layer on, so all their layers carry the statistics of bright clips."""

    of: TinyR2Plus1D = TinyR2Plus1D()

    @property
    def stages(self) -> tuple[str, ...]:
        return stages(self.of)

    def make(self, num_classes: int) -> nn.Module:
        net = self.of.make(num_classes)
        for name, layer in list(net.named_modules()):
            if isinstance(layer, ClipNorm):
                net.set_submodule(name, nn.BatchNorm3d(layer.num_channels))
        return net
