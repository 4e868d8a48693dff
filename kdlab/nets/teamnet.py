"""TEAM-Net's setting (docs/methods.md, 3.5), tiny: one network in which the three modalities inform each other."""

from dataclasses import dataclass

import torch
from torch import nn

from kdlab.nets.compressed import tiny
from kdlab.nets.exits import ORDER
from kdlab.nets.video import Outputs

__all__ = ["TinyTeam"]


class Exchange(nn.Module):
    """Each column's channels scaled by 0..2, as the pooled channels of all columns say."""

    def __init__(self, widths: list[int]):
        super().__init__()
        self.widths = widths
        self.squeeze = nn.Linear(sum(widths), sum(widths) // 4)
        self.excite = nn.Linear(sum(widths) // 4, sum(widths))

    def forward(self, maps: list[torch.Tensor]) -> list[torch.Tensor]:
        pooled = torch.cat([m.mean((2, 3)) for m in maps], 1)
        gates = 2 * torch.sigmoid(self.excite(torch.relu(self.squeeze(pooled))))
        return [m * gate[:, :, None, None] for m, gate in zip(maps, gates.split(self.widths, 1), strict=True)]


class TeamNet(nn.Module):
    """The tiny trio as ``columns`` with an :class:`Exchange` after each stage; three linear ``exits`` and the finals.

    Each column stands behind an input batch norm, so pixels in [0, 1] need no other statistics.
    """

    def __init__(self, num_classes: int):
        super().__init__()
        specs = [tiny(modality) for modality in ORDER]
        self.columns = nn.ModuleDict({m: spec.make(num_classes) for m, spec in zip(ORDER, specs, strict=True)})
        widths = [list(stage) for stage in zip(*(spec.widths for spec in specs), strict=True)]
        self.exchanges = nn.ModuleList(Exchange(w) for w in widths)
        self.exits = nn.ModuleList(nn.Linear(sum(w), num_classes) for w in widths[:3])

    def features(self, views: dict[str, torch.Tensor]) -> tuple[list[torch.Tensor], torch.Tensor]:
        """Of views ``(B, C, T, H, W)``: what the three exits see, ``(B, C_k)``, and the columns' finals ``(B, 3, K)``.

        Both are means over T; the finals, in :data:`~kdlab.nets.exits.ORDER`, are PKD's teachers here.
        """
        maps = [views[modality].transpose(1, 2).flatten(0, 1) for modality in ORDER]
        segments, pooled = views[ORDER[0]].shape[2], []
        for stage, exchange in enumerate(self.exchanges):
            maps = exchange([c.stages[stage](m) for c, m in zip(self.columns.values(), maps, strict=True)])
            pooled.append(torch.cat([m.mean((2, 3)) for m in maps], 1).unflatten(0, (-1, segments)).mean(1))
        finals = [c.classify(m, segments) for c, m in zip(self.columns.values(), maps, strict=True)]
        return pooled[:3], torch.stack(finals, 1)

    def forward(self, views: dict[str, torch.Tensor]) -> Outputs:
        """``exits (B, 4, K)``; ``logits (B, K)``, the last of them, are the mean of the finals, which are the taps."""
        pooled, finals = self.features(views)
        logits = finals.mean(1)
        exits = torch.stack([*(head(p) for head, p in zip(self.exits, pooled, strict=True)), logits], 1)
        return Outputs(logits, dict(zip(ORDER, finals.unbind(1), strict=True)), exits)


@dataclass(frozen=True)
class TinyTeam:
    """A :class:`TeamNet`, which sees the three views of a batch together."""

    def make(self, num_classes: int) -> TeamNet:
        return TeamNet(num_classes)
