"""GenKD's networks (arXiv 2312.08644; docs/methods.md, 2): attention over time and channels, the gates, and the CVAE.

Features are ``F (B, C, T', h, w)``, attention is ``λ (B, C, T')`` in (0, 1).
"""

import math
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kdlab.nets.i3d import I3D, PairPool, TinyC3D
from kdlab.nets.layers import evaluating
from kdlab.nets.video import OnTrunk, load_weights
from kdlab.system.values import fraction, integer
from kdlab.train.runs import named_with, read_weights


def gate(features: Tensor, attention: Tensor, faithful: bool = False) -> Tensor:
    """``F ⊙ λ · ΣF / Σ(F ⊙ λ)``, with sums over each clip, so each clip keeps the sum of its (rectified) features.
    ``faithful`` sums over the whole batch, as the released code does. The prediction for a clip then depends on the
    other clips of its batch."""
    weighted = features * attention[..., None, None]
    axes = tuple(range(0 if faithful else 1, 5))
    before, after = (maps.sum(axes, keepdim=True) for maps in (features, weighted))
    return weighted * (before / after.clamp_min(1e-12))


def normed_gate(features: Tensor, attention: Tensor) -> Tensor:
    """The gate of detection: ``F ⊙ λ / mean λ``, with the mean over channels and steps of each clip. It is F where λ is
    constant.

    The paper divides by the sum of λ, which differs by a constant factor of some thousands. Features divided by that
    factor would vanish beside the ε of the next group norm.
    """
    share = attention / attention.mean((1, 2), keepdim=True).clamp_min(1e-6)
    return features * share[..., None, None]


def mean_log_probability(logits: Tensor) -> Tensor:
    """``ln mean_j softmax(z_j)`` of ``logits (B, J, K)`` → ``(B, K)``. The result is logits, whose cross-entropy is
    GenKD's class loss ``−ln mean_j p_j[y]``; it needs only one softmax."""
    return logits.log_softmax(-1).logsumexp(1) - math.log(logits.shape[1])


def normed(layer: nn.Module, channels: int) -> nn.Sequential:
    """``layer``, group norm and rectifier on ``channels``. Group norm has 32 groups as released, or on fewer channels
    about one group for every eight channels."""
    wide = channels >= 256 and channels % 32 == 0
    groups = 32 if wide else math.gcd(channels, max(1, channels // 8))
    return nn.Sequential(layer, nn.GroupNorm(groups, channels), nn.ReLU())


class ToPoint(nn.Conv3d):
    """Convolution with a kernel as large as the maps, ``(B, C, T, h, w)`` → ``(B, C', T, 1, 1)``: one matrix product."""

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[3:] != self.kernel_size[1:]:
            return super().forward(x)  # torch's error names the mismatch
        points = F.linear(_in_memory(x, 2), _in_memory(self.weight, 1), self.bias)
        return points.transpose(1, 2)[..., None, None]


class FromPoint(nn.ConvTranspose3d):
    """The transposed convolution of :class:`ToPoint`, ``(B, C, T, 1, 1)`` → ``(B, C', T, h, w)``."""

    def forward(self, x: Tensor) -> Tensor:
        _, *size = self.kernel_size
        bias = self.bias.repeat(math.prod(size))
        maps = F.linear(_in_memory(x, 2), _in_memory(self.weight, 1).T, bias)
        return maps.unflatten(2, (*size, -1)).permute(0, 4, 1, 2, 3)


def _in_memory(x: Tensor, first: int) -> Tensor:
    """``(…, C, T, h, w)`` with channels last, as in memory, and flattened from dimension ``first`` on."""
    return x.permute(0, 2, 3, 4, 1).flatten(first)


class Attention(nn.Module):
    """Attention over time and channels: ``F (B, C, T', h, w)`` → ``λ (B, C, T')`` in (0, 1), for any ``channels``,
    ``steps`` T' and ``size`` (h, w). The released code stretches the T' steps to 1024 before the second convolution;
    here they stay T'."""

    def __init__(self, channels: int, steps: int, size: tuple[int, int]):
        super().__init__()
        half = channels // 2
        self.space = normed(ToPoint(channels, half, (1, *size)), half)
        self.near = normed(nn.Conv1d(half, channels, 3, padding=1), channels)
        self.time = nn.Linear(steps, steps)

    def forward(self, features: Tensor) -> Tensor:
        return torch.sigmoid(self.time(self.near(self.space(features).flatten(2))))


class CVAE(nn.Module):
    """Reconstructs features from attention and a latent, which has C channels for each step. The prior is N(λ, I), so
    latent and attention have the same shape.

    A CVAE works for any T'. A ``deterministic`` one has neither noise nor variance: it is an auto-encoder whose code is
    drawn to λ, for comparison.
    """

    def __init__(self, channels: int, size: tuple[int, int], deterministic: bool = False):
        super().__init__()
        kernel = 1, *size
        self.squeeze = normed(ToPoint(channels, channels, kernel), channels)
        self.encoder = _perceptron(channels, 2 * channels)
        self.decoder = _perceptron(channels, channels)
        self.expand = normed(FromPoint(channels, channels, kernel), channels)
        # saved with the weights
        self.register_buffer("noise", torch.tensor(0.0 if deterministic else 1.0))
        self.to(memory_format=torch.channels_last_3d)

    def encode(self, features: Tensor, attention: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of the latent, each ``(B, C, T')``."""
        both = torch.cat([self.squeeze(features).flatten(2), attention], 1)
        mean, log_variance = self.encoder(both.transpose(1, 2)).transpose(1, 2).chunk(2, 1)
        return mean, log_variance * self.noise

    def sample(self, mean: Tensor, log_variance: Tensor, noise: Tensor | None = None) -> Tensor:
        """A sample ``mean + σ ε``. ε is ``noise (B, C, T')``, or drawn from torch's global generator."""
        noise = torch.randn_like(mean) if noise is None else noise
        return mean + self.noise * (0.5 * log_variance).exp() * noise

    def decode(self, latent: Tensor, attention: Tensor) -> Tensor:
        """Non-negative features ``(B, C, T', h, w)``."""
        both = torch.cat([latent, attention], 1).transpose(1, 2)
        return self.expand(self.decoder(both).transpose(1, 2)[..., None, None])

    def forward(
        self,
        features: Tensor | None,
        attention: Tensor,
        noise: Tensor | None = None,
    ):
        """Reconstruction ``(B, C, T', h, w)``, and mean and log-variance of the latent. Without ``features``, features
        are generated from λ alone: the latent is drawn from the prior."""
        mean, log_variance = attention, torch.zeros_like(attention)
        if features is not None:
            mean, log_variance = self.encode(features, attention)
        return self.decode(self.sample(mean, log_variance, noise), attention), mean, log_variance


def _perceptron(channels: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(2 * channels, channels),
        nn.ReLU(),
        nn.Linear(channels, channels),
        nn.ReLU(),
        nn.Linear(channels, outputs),
    )


class CVAEs(nn.ModuleList):
    """A :class:`CVAE` for each tap: features (None: generated) and attention, tap by tap → the output of each CVAE."""

    def forward(self, features: list, attention: list[Tensor]):
        return [cvae(*its) for cvae, *its in zip(self, features, attention, strict=True)]


def read_cvae(folder: Path | str) -> CVAE | CVAEs:
    """The frozen CVAE of the run in ``folder``, or the CVAEs of a detector. Raises ``ValueError`` where there is none,
    and ``DamagedRun`` for weights whose hash differs from the one in the run's note."""
    path = Path(folder) / "weights.safetensors"
    state = named_with("cvae.", read_weights(path))
    cvaes = CVAEs()
    for name in sorted(state):
        if name.endswith("squeeze.0.weight"):
            channels, _, _, *size = state[name].shape
            cvaes.append(CVAE(channels, tuple(size)))
    if not cvaes:
        raise ValueError(f"{path} holds no CVAE: train that network by FeatureRepresentation first")
    cvae = cvaes[0] if "squeeze.0.weight" in state else cvaes
    return load_weights(cvae, state, str(path)).eval().requires_grad_(False)


class GatedNet(nn.Module):
    """Backbone, attention, gate, mean over space and over pairs of steps, dropout, and ``fc`` on each step.

    Video ``(B, C, T, H, W)`` → logits ``(B, K)``: the log of the mean probability over steps. The layers ``backbone``,
    ``attention`` and ``fc`` give F, λ and the logits of each step. ``shape`` is the shape of F for one clip.
    """

    def __init__(
        self,
        backbone: nn.Module,
        shape: tuple[int, ...],
        num_classes: int,
        faithful: bool,
        dropout: float,
    ):
        super().__init__()
        self.shape, self.faithful = shape, faithful
        self.backbone = backbone
        self.attention = Attention(shape[0], shape[1], shape[2:])
        self.pool, self.dropout = PairPool(), nn.Dropout(dropout)
        self.fc = nn.Linear(shape[0], num_classes)

    def forward(self, x: Tensor) -> Tensor:
        features = self.backbone(x)
        if features.shape[1:] != self.shape:
            raise ValueError(
                f"a clip of {tuple(x.shape[2:])} gives features {tuple(features.shape[1:])}, this network "
                f"attends to {self.shape}: make it as Gated(clip=({', '.join(map(str, x.shape[2:]))}))"
            )
        steps = self.pool(gate(features, self.attention(features), self.faithful)).flatten(2)
        return mean_log_probability(self.fc(self.dropout(steps.transpose(1, 2))))

    #: Names of the layers that give F and λ in a normalised network.
    taps = "net.backbone", "net.attention"

    def new_cvae(self, deterministic: bool = False) -> CVAE:
        """An untrained CVAE for this network's features."""
        return CVAE(self.shape[0], self.shape[2:], deterministic)


@dataclass(frozen=True)
class Gated(OnTrunk):
    """The network ``backbone`` with GenKD's attention on its features, for clips of ``clip`` = (T, H, W). ``faithful``
    uses the released gate (:func:`gate`); the paper's network has ``dropout`` 0.5."""

    backbone: TinyC3D | I3D = TinyC3D()
    clip: tuple[int, int, int] = (16, 36, 36)
    faithful: bool = False
    dropout: float = 0.0

    def __post_init__(self):
        integer(1, clip=self.clip)
        fraction(dropout=self.dropout)

    def make(self, num_classes: int) -> GatedNet:
        backbone = self.trunk(self.backbone.make(num_classes))
        with evaluating(backbone), torch.no_grad():
            features = backbone(torch.zeros(1, self.channels, *self.clip))
        shape = tuple(features.shape[1:])
        return GatedNet(backbone, shape, num_classes, self.faithful, self.dropout)
