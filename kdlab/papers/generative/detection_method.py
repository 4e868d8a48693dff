"""GenKD for temporal detection (arXiv 2312.08644; docs/methods.md, 2.3): generation and attention at several taps.

As :mod:`kdlab.papers.generative.method`, with the detector's loss in the place of the class loss, and each term summed
over the taps i:

    pass 1   L = Σ_i MSE(F_i, F'_i) + 0.1 KL_i + 0.01 MSE(F'_i, F'_i,T)      F'_i = CVAE_i(F_i, λ_i)
    pass 2   L = L_det + Σ_i 0.5 w MSE(Dec_i(λ_i + ε, λ_i), F_i) + β MSE(λ_i, λ_i,T) + b L_bg

F_i are the features as the backbone gives them: the released code has overwritten them by the gated ones when it comes
to pass 2. L_bg asks the detector to see nothing in ``F ⊙ (1 − λ)``; b = 0 leaves it out.
"""

from dataclasses import dataclass

import torch
from torch import nn
from torchvision.ops import sigmoid_focal_loss

from kdlab.papers.generative.detection_loss import Detection
from kdlab.papers.generative.method import FeatureRepresentation, GenerativeDistillation, attending
from kdlab.values import not_negative


class _OfDetectors:
    """What a detector learns in pass 2, in place of classes."""

    def __post_init__(self):
        super().__post_init__()
        not_negative(background=self.background)

    def _task(self, student: nn.Module, answers: torch.Tensor, labels: torch.Tensor):
        return self.detection.weights(answers, attending(student).priors, labels)

    def _background(self, student: nn.Module, features, attention) -> dict[str, tuple[float, torch.Tensor]]:
        if not self.background:
            return {}
        bare = attending(student)
        logits = bare.detect(bare.gated(features, [1 - where for where in attention]))[..., :-3]
        loss = sigmoid_focal_loss(logits, torch.zeros_like(logits), alpha=0.25, gamma=2).sum() / len(logits)
        return {"background": (self.background, loss)}


@dataclass(frozen=True)
class DetectionRepresentation(_OfDetectors, FeatureRepresentation):
    """Phase 1 for a detector: of a teacher, or, for a student, the ablation without one. ``background`` is b."""

    detection: Detection = Detection()
    background: float = 0.0


@dataclass(frozen=True)
class DetectionDistillation(_OfDetectors, GenerativeDistillation):
    """Phase 2 for a detector; the paper's ``beta`` is 10 there."""

    beta: float = 10.0
    detection: Detection = Detection()
    background: float = 0.0
