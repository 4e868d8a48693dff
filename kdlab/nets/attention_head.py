"""Temporal attention in place of average pooling: the head of DarkLight, the public pipeline closest to DL-KDD.

The head has a learned class token, learned positions and one transformer block; the classifier reads the class token
(docs/methods.md, 1.3).
"""

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kdlab.nets.torchvision_video import R2Plus1D, TorchvisionVideo
from kdlab.nets.video import OnTrunk, TinyR2Plus1D
from kdlab.system.values import fraction, integer


class TemporalAttention(nn.Module):
    """Tokens ``(B, N, C)``, N up to ``tokens`` → the class token ``(B, C)`` after one pre-norm transformer block."""

    def __init__(self, width: int, tokens: int, heads: int = 8, dropout: float = 0.1):
        super().__init__()
        self.cls = nn.Parameter(0.02 * torch.randn(1, 1, width))
        self.positions = nn.Parameter(0.02 * torch.randn(1, 1 + tokens, width))
        gelu = partial(F.gelu, approximate="tanh")
        self.block = nn.TransformerEncoderLayer(
            width, heads, 4 * width, dropout, gelu, batch_first=True, norm_first=True
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: Tensor) -> Tensor:
        length = 1 + tokens.shape[1]
        if length > self.positions.shape[1]:
            raise ValueError(
                f"{length - 1} tokens, but the head has positions for {self.positions.shape[1] - 1}: "
                f"make it with tokens={length - 1}"
            )
        x = torch.cat([self.cls.expand(len(tokens), -1, -1), tokens], 1)
        x = x + self.positions[:, :length]
        return self.dropout(self.block(self.dropout(x)))[:, 0]


class AttendedNet(nn.Module):
    """The trunk of the backbone of ``spec``, spatial average, :class:`TemporalAttention`, dropout, linear layer.

    Video ``(B, 3, T, H, W)`` → features ``(B, C, T', H', W')`` → T' tokens of C channels → logits ``(B, K)``.
    """

    def __init__(self, spec: "Attended", num_classes: int):
        super().__init__()
        backbone = spec.backbone.make(num_classes)
        width = spec.width(backbone)
        self.features = spec.trunk(backbone)
        self.attention = TemporalAttention(width, spec.tokens, spec.heads)
        self.dropout = nn.Dropout(spec.dropout)
        self.fc = nn.Linear(width, num_classes)
        nn.init.xavier_uniform_(self.fc.weight)
        nn.init.zeros_(self.fc.bias)

    def tokens(self, x: Tensor) -> Tensor:
        """One token per time step of the features, ``(B, T', C)``."""
        return self.features(x).mean((3, 4)).transpose(1, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.dropout(self.attention(self.tokens(x))))


@dataclass(frozen=True)
class Attended(OnTrunk):
    """The features of ``backbone`` under temporal attention; ``tokens`` is the largest number of tokens (64 frames give
    8)."""

    backbone: R2Plus1D | TorchvisionVideo | TinyR2Plus1D = R2Plus1D()
    tokens: int = 8
    heads: int = 8
    dropout: float = 0.8
    trunk_name: ClassVar = "features"
    network: ClassVar = AttendedNet

    def __post_init__(self):
        integer(1, tokens=self.tokens, heads=self.heads)
        fraction(dropout=self.dropout)

    def make(self, num_classes: int) -> nn.Module:
        return self.network(self, num_classes)
