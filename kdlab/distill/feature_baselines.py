"""Distillers of the last features that GenKD is compared with: SimKD and feature norm (docs/methods.md, 2).

Pure functions first, then methods in the loop's sense, as in ``kdlab.distill.baselines``, which has the others.
``tap`` is the layer that gives the last features ``(B, C, T, H, W)``: ``net.stages``, of gated networks
``net.backbone``. Which of several "feature norm" losses the paper means we do not know; here it is KD++.
"""

from dataclasses import dataclass

import torch
from torch.nn import functional as F

from kdlab.distill.losses import check_mixture, kd_loss
from kdlab.distill.method import CrossEntropy
from kdlab.layers import outputs
from kdlab.values import alike, not_negative

__all__ = ["FeatureNorm", "SimKD", "feature_norm_loss", "simkd_loss"]


def simkd_loss(student_features: torch.Tensor, teacher_features: torch.Tensor) -> torch.Tensor:
    """MSE over all elements; time and space are average-pooled to the shorter of both (Chen et al., arXiv 2203.14001).

    The student's features come out of a projector, to the teacher's channels. Raises ``ValueError`` for others.
    """
    if student_features.shape[:2] != teacher_features.shape[:2]:
        raise ValueError(f"the student's features are {tuple(student_features.shape)}, the teacher's "
                         f"{tuple(teacher_features.shape)}: give the student a projector to the teacher's channels")
    size = [min(lengths) for lengths in zip(student_features.shape[2:], teacher_features.shape[2:], strict=True)]
    return F.mse_loss(*(F.adaptive_avg_pool3d(features, size) for features in (student_features, teacher_features)))


def feature_norm_loss(student: torch.Tensor, teacher: torch.Tensor, centres: torch.Tensor,
                      labels: torch.Tensor) -> torch.Tensor:
    """``1 − ⟨s, c/|c|⟩ / max(|s|, |t|)``, mean over the batch (Wang et al., arXiv 2305.17007).

    ``student`` s and ``teacher`` t are pooled features ``(B, C)``, c is the label's row of ``centres (K, C)``, the
    teacher's class means. In [0, 2]; 0 where s points along c and is no shorter than t.
    """
    alike(student=student, teacher=teacher)
    along = (student * F.normalize(centres[labels], dim=1)).sum(1)
    return (1 - along / torch.maximum(student.norm(dim=1), teacher.norm(dim=1)).clamp_min(1e-12)).mean()


@dataclass(frozen=True)
class SimKD(CrossEntropy):
    """The student learns the teacher's features alone, and reuses its head: labels are never read.

    The head, whatever does not lie under ``tap``, must fit the student's (a projector: ``TinyC3D.projector``).
    """

    tap: str = "net.stages"

    @property
    def taps(self) -> tuple[str, ...]:
        """The layers that are read of both networks."""
        return (self.tap,)

    def extra_nets(self, nets, batches, seed: int, needed=None) -> dict:
        """Nothing more to train; puts the teacher's head into the student. It takes no gradient, so it stays."""
        own, head = ({k: v for k, v in nets[name].state_dict().items()
                      if k.startswith("net.") and not k.startswith(f"{self.tap}.")} for name in ("student", "teacher"))
        if {k: v.shape for k, v in own.items()} != {k: v.shape for k, v in head.items()}:
            raise ValueError(f"the teacher's head ({', '.join(head)}) does not fit the student: build both alike, the "
                             "student with a projector to the teacher's channels")
        nets["student"].load_state_dict(head, strict=False)
        return {}

    def losses(self, nets, batch, progress):
        """Yield the distance of features; the cross-entropy (nats) beside it is not trained on."""
        with torch.no_grad():
            teacher = outputs(nets["teacher"], batch.views["teacher"], [self.tap])
        student = outputs(nets["student"], batch.views["student"], [self.tap])
        loss = simkd_loss(student.taps[self.tap], teacher.taps[self.tap])
        yield "net", loss, {"features": loss, "ce": F.cross_entropy(student.logits, batch.labels)}


@dataclass(frozen=True)
class FeatureNorm(CrossEntropy):
    """KD++: labels, soft targets, and :func:`feature_norm_loss` on features pooled over time and space."""

    tap: str = "net.stages"
    weight: float = 1.0
    soft: float = 1.0
    temperature: float = 4.0

    def __post_init__(self):
        check_mixture(self.temperature, 0)
        not_negative(weight=self.weight, soft=self.soft)

    @property
    def taps(self) -> tuple[str, ...]:
        """The layers that are read of both networks."""
        return (self.tap,)

    def prepare(self, nets, batches) -> torch.Tensor:
        """The teacher's features summed over each class's training clips, ``(K, C)``: they point where the means do."""
        sums = 0
        with torch.no_grad():
            for batch in batches:
                teacher = outputs(nets["teacher"], batch.views["teacher"], [self.tap])
                of = F.one_hot(batch.labels, teacher.logits.shape[1]).float()
                sums = sums + of.T @ teacher.taps[self.tap].mean((2, 3, 4))
        return sums

    def losses(self, nets, batch, progress):
        """Yield cross-entropy plus the weighted terms, with all three beside it."""
        with torch.no_grad():
            teacher = outputs(nets["teacher"], batch.views["teacher"], [self.tap])
        student = outputs(nets["student"], batch.views["student"], [self.tap])
        ce = F.cross_entropy(student.logits, batch.labels)
        soft = kd_loss(student.logits, teacher.logits, self.temperature)
        pooled = (each.taps[self.tap].mean((2, 3, 4)) for each in (student, teacher))
        norm = feature_norm_loss(*pooled, progress.prepared, batch.labels)
        yield "net", ce + self.soft * soft + self.weight * norm, {"ce": ce, "soft": soft, "norm": norm}
