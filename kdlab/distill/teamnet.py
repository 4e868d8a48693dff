"""PKD and WISE on TEAM-Net's fused network, as the released code of the PKD paper has them: docs/methods.md, 3.5.

First the network learns from labels (:class:`FusedLabels`); then, all of it frozen, its linear exits learn with
``Progressive(TEAMNET)`` from the three single-modality heads; then :func:`fit_team` weighs exits and heads.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from kdlab.distill.dual_light import CrossEntropy
from kdlab.distill.wise import descend

__all__ = ["FusedLabels", "LinearExits", "fit_team"]


@dataclass(frozen=True)
class FusedLabels(CrossEntropy):
    """Labels for a network that sees all views of a batch: at its prediction, and at the heads that will teach."""

    def losses(self, nets, batch, progress):
        """Yield the cross-entropy of the prediction plus those of the heads (``taps``), nats, mean over the batch."""
        out = nets["student"](batch.views)
        said = {"ce": out.logits} | out.taps
        terms = {name: F.cross_entropy(logits, batch.labels) for name, logits in said.items()}
        yield "net", sum(terms.values()), terms


class LinearExits(nn.ModuleList):
    """A fused network's linear exits by themselves: ``views["pooled"]``, one ``(B, C_k)`` each → ``(B, E, K)``."""

    def forward(self, views: dict[str, list[torch.Tensor]]) -> torch.Tensor:
        return torch.stack([head(pooled) for head, pooled in zip(self, views["pooled"], strict=True)], 1)


def fit_team(logits: np.ndarray, labels: np.ndarray, l1: float = 0.01, steps: int = 500) -> np.ndarray:
    """TEAM-Net's WISE: weights ``(4, 6)`` for ``wise.combine`` of ``logits (N, 6, K)``, three exits and three heads.

    Each row begins at its own exit, the last at 1, 1.2 and 1.3 of the heads, and takes ``steps`` of descent, after
    which negative weights are cut `[code]`. The first row is the first exit itself.
    """
    starts = [(0, 1), (0, 0, 1), (0, 0, 0, 1, 1.2, 1.3)]
    weights = np.eye(4, 6)
    for row, start in zip(weights[1:], starts, strict=True):
        count = len(start)
        row[:count] = descend(logits[:, :count], labels, l1, lambda _, its=start: its, steps, clamp=True)
    return weights
