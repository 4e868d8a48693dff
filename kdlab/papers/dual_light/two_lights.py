"""Two lights: a network that sees a clip in two lights at once (docs/methods.md, 1.3).

Its input ``(B, 6, T, H, W)`` is the raw clip's three channels and the enhanced clip's. It costs twice a student.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch

from kdlab.nets.attention_head import Attended, AttendedNet
from kdlab.nets.pretrained import Statistics


class TwoLightNet(AttendedNet):
    """DarkLight: one backbone for both lights, then attention over the tokens of both."""

    def tokens(self, x: torch.Tensor) -> torch.Tensor:
        """Those of the raw clip, then those of the enhanced one, ``(B, 2 T', C)``."""
        # one light after the other: batch norm sees one light at a time, as in the reference
        return torch.cat([super(TwoLightNet, self).tokens(light) for light in x.chunk(2, 1)], 1)


@dataclass(frozen=True)
class TwoLights(Attended):
    """As :class:`Attended`, on both lights: 16 tokens at 64 frames."""

    tokens: int = 16
    channels: ClassVar = 6
    network: ClassVar = TwoLightNet

    @property
    def statistics(self) -> Statistics | None:
        """Those of the backbone's weights, once for each light; None without weights."""
        own = super().statistics
        return own and (own[0] * 2, own[1] * 2)
