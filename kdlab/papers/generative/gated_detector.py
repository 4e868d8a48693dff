"""The temporal detector under GenKD's attention: λ and a gate at each tap, and a CVAE of each tap's features.

As in :mod:`kdlab.papers.generative.nets`; the gate is detection's (docs/methods.md, 2.3).
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from kdlab.nets.pretrained import Statistics
from kdlab.nets.video import Normalised, WrongWeights, load_weights
from kdlab.papers.generative.detector import DetectionNet, Detector, begin_backbone
from kdlab.papers.generative.nets import CVAE, Attention
from kdlab.stored import read_weights
from kdlab.values import whole

__all__ = ["CVAEs", "GatedDetectionNet", "GatedDetector", "normed_gate", "read_cvaes"]


def normed_gate(features: torch.Tensor, attention: torch.Tensor) -> torch.Tensor:
    """``F ⊙ λ / mean λ``, the mean over channels and steps of each clip: F where λ is constant.

    The paper divides by the sum of λ. That is the same up to a constant of some thousands, by which features would
    vanish beside the ε of the group norm behind them.
    """
    return features * (attention / attention.mean((1, 2), keepdim=True).clamp_min(1e-6))[..., None, None]


class CVAEs(nn.ModuleList):
    """A :class:`CVAE` for each tap. Features, attention and noise (None: drawn) tap by tap → what each CVAE gives."""

    def forward(self, features: list[torch.Tensor], attention: list[torch.Tensor], noise: list[torch.Tensor | None]):
        return [cvae(*its) for cvae, *its in zip(self, features, attention, noise, strict=True)]


class GatedDetectionNet(DetectionNet):
    """As :class:`DetectionNet`, seeing its taps through the gates of ``attentions`` (tap these for λ).

    ``shape`` are those of the features ``(C, T', h, w)`` of one window, tap by tap.
    """

    def __init__(self, spec: "GatedDetector", num_classes: int):
        super().__init__(spec.of, num_classes)
        was = self.backbone.training
        self.backbone.eval()
        with torch.no_grad():
            black = torch.zeros(1, getattr(spec.of.of, "channels", 3), spec.of.steps, spec.crop, spec.crop)
            self.shape = tuple(tuple(m.shape[1:]) for m in self.features(black))
        self.backbone.train(was)
        self.attentions = nn.ModuleList(Attention(c, t, tuple(size)) for c, t, *size in self.shape)

    @property
    def taps(self) -> tuple[str, ...]:
        """Names of the layers that give F, tap by tap, then of those that give λ."""
        return (*(f"net.backbone.{name}" for name in self.spec.taps),
                *(f"net.attentions.{i}" for i in range(len(self.attentions))))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        maps = self.features(x)
        for m, shape in zip(maps, self.shape, strict=True):
            if m.shape[1:] != shape:
                raise ValueError(f"a window of {tuple(x.shape[3:])} pixels gives features {tuple(m.shape[1:])}, this "
                                 f"network attends to {shape}: make it as GatedDetector(crop={x.shape[-1]})")
        return self.detect(self.gated(maps, [attend(m) for m, attend in zip(maps, self.attentions, strict=True)]))

    def gated(self, maps: list[torch.Tensor], attention: list[torch.Tensor]) -> list[torch.Tensor]:
        """What :meth:`detect` sees of the features ``maps`` under ``attention``, tap by tap."""
        return [normed_gate(m, its) for m, its in zip(maps, attention, strict=True)]

    read_cvae = staticmethod(lambda folder: read_cvaes(folder))

    def new_cvae(self, hidden: int | None = None, deterministic: bool = False) -> CVAEs:
        """An untrained CVAE for each tap."""
        return CVAEs(CVAE(c, tuple(size), hidden, deterministic) for c, _, *size in self.shape)


@dataclass(frozen=True)
class GatedDetector:
    """The detector ``of`` with attention at its taps, for square windows of ``crop`` pixels."""

    of: Detector = Detector()
    crop: int = 36

    def __post_init__(self):
        whole(1, crop=self.crop)

    @property
    def statistics(self) -> Statistics | None:
        """Those of the backbone's weights; None without weights."""
        return self.of.statistics

    def make(self, num_classes: int) -> GatedDetectionNet:
        return GatedDetectionNet(self, num_classes)

    def begin(self, net: Normalised, start: Normalised) -> Normalised:
        """See :func:`kdlab.papers.generative.detector.begin_backbone`."""
        return begin_backbone(net, start)


def read_cvaes(folder: Path | str) -> CVAEs:
    """The CVAEs that were trained beside the detector of the run in ``folder``, frozen. Raises
    :class:`WrongWeights`, and ``DamagedRun`` for weights that are not those whose hash the run's note tells."""
    path, prefix = Path(folder) / "weights.safetensors", "cvae."
    state = {k.removeprefix(prefix): v for k, v in read_weights(path).items() if k.startswith(prefix)}
    count = len({name.split(".")[0] for name in state})
    if f"{count - 1}.squeeze.0.weight" not in state:
        raise WrongWeights(f"{path} holds no CVAEs of a detector: train it by DetectionRepresentation first")
    made = []
    for i in range(count):
        (channels, _, _, *size), hidden = state[f"{i}.squeeze.0.weight"].shape, len(state[f"{i}.encoder.0.weight"])
        made.append(CVAE(channels, tuple(size), hidden))
    return load_weights(CVAEs(made), state, str(path)).eval().requires_grad_(False)
