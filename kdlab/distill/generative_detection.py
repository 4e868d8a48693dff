"""GenKD for temporal detection (arXiv 2312.08644; docs/methods.md, 2.3): generation and attention at several taps.

As :mod:`kdlab.distill.generative`, with the detector's loss in the place of the class loss, and each term summed over
the taps i:

    pass 1   L = Σ_i MSE(F_i, F'_i) + 0.1 KL_i + 0.01 MSE(F'_i, F'_i,T)      F'_i = CVAE_i(F_i, λ_i)
    pass 2   L = L_det + Σ_i 0.5 w MSE(Dec_i(λ_i + ε, λ_i), F_i) + β MSE(λ_i, λ_i,T) + b L_bg

F_i are the features as the backbone gives them: the released code has overwritten them by the gated ones when it comes
to pass 2. L_bg asks the detector to see nothing in ``F ⊙ (1 − λ)``; b = 0 leaves it out.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F
from torchvision.ops import sigmoid_focal_loss

from kdlab.distill.baselines import tapped
from kdlab.distill.detection import Detection, detection_terms
from kdlab.distill.generative import (
    FeatureRepresentation,
    GenerativeDistillation,
    _frozen,
    _gated,
    kl_to_attention,
    warmth,
)
from kdlab.values import not_negative

__all__ = ["DetectionDistillation", "DetectionRepresentation"]


def _seen(net: nn.Module, x: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor], list[torch.Tensor]]:
    """The detector's answers, and features and attention tap by tap."""
    names = _gated(net).taps
    answers, seen = tapped(net, x, names)
    found = [seen[name] for name in names]
    return answers, found[: len(found) // 2], found[len(found) // 2 :]


def _summed(loss: Callable, *columns: Sequence[torch.Tensor]) -> torch.Tensor:
    return sum(loss(*its) for its in zip(*columns, strict=True))


class _AtTaps:
    """Both passes at several taps."""

    def __post_init__(self):
        super().__post_init__()
        not_negative(background=self.background)

    def _first(self, nets, batch) -> dict[str, tuple[float, torch.Tensor]]:
        """Weights and terms of pass 1."""
        student = nets["student"].eval()  # nothing of the network may move, its batch statistics neither
        with torch.no_grad():
            _, features, attention = _seen(student, batch.views["student"])
        student.train()
        noise = [torch.randn_like(its) if self.common_noise else None for its in attention]  # None: each draws its own
        made, means, log_variances = zip(*nets["cvae"](features, attention, noise), strict=True)
        terms = {"rebuilt": (1.0, _summed(F.mse_loss, made, features)),
                 "kl": (self.kl, _summed(kl_to_attention, means, log_variances, attention))}
        if self.teaching:
            with torch.no_grad():
                theirs = [its[0] for its in nets["teacher_cvae"](features, attention, noise)]
            if self.teacher == "permuted":
                theirs = [its[:, torch.randperm(its.shape[1], generator=torch.Generator().manual_seed(0))]
                          for its in theirs]
            terms["taught"] = self.teaching, _summed(F.mse_loss, made, theirs)
        return terms

    def _second(self, nets, batch, progress) -> dict[str, tuple[float, torch.Tensor]]:
        """Weights and terms of pass 2."""
        answers, features, attention = _seen(nets["student"], batch.views["student"])
        bare, loss = _gated(nets["student"]), self.detection
        its = detection_terms(answers, bare.priors, batch.labels, loss.distance)
        weights = {"focal": 1.0, "tiou": 1.0, "l1": loss.l1, "quality": loss.quality}
        terms = {name: (weights[name], term) for name, term in its.items()}
        if self.generative:
            weight = self.reconstruction * warmth(progress.fraction, self.warmup)
            with _frozen(nets["cvae"]) as cvaes:
                made = [cvae.decode(cvae.sample(its, torch.zeros_like(its)), its)
                        for cvae, its in zip(cvaes, attention, strict=True)]
            targets = [its.detach() for its in features] if self.detached else features
            terms["generated"] = weight, _summed(F.mse_loss, made, targets)
        if self.beta:
            with torch.no_grad():
                theirs = _seen(nets["teacher"], batch.views["teacher"])[2]
            terms["attention"] = self.beta, _summed(F.mse_loss, attention, theirs)
        if self.background:
            logits = bare.detect(bare.gated(features, [1 - where for where in attention]))[..., :-3]
            terms["background"] = self.background, sigmoid_focal_loss(
                logits, torch.zeros_like(logits), alpha=0.25, gamma=2).sum() / len(logits)
        return terms


@dataclass(frozen=True)
class DetectionRepresentation(_AtTaps, FeatureRepresentation):
    """Phase 1 for a detector: of a teacher, or, for a student, the ablation without one. ``background`` is b."""

    detection: Detection = Detection()
    background: float = 0.0


@dataclass(frozen=True)
class DetectionDistillation(_AtTaps, GenerativeDistillation):
    """Phase 2 for a detector; the paper's ``beta`` is 10 there."""

    beta: float = 10.0
    detection: Detection = Detection()
    background: float = 0.0
