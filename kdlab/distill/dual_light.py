"""DL-KDD: Dual-Light Knowledge Distillation for Action Recognition in the Dark (arXiv 2406.02468), and its controls.

A teacher trained on the *enhanced* clip gives soft targets to a student that sees only the *raw dark* clip; at test
time only the student runs, on raw video (abstract). No code was released and the exact loss is unknown to us: we use
the usual mixture of cross-entropy and softened targets (docs/methods.md, 1):

    L = (1 − α) CE(z_S(raw), y) + α t² KL( softmax_t(z_T(enhanced)) ‖ softmax_t(z_S(raw)) )

Nothing below knows about light: which view each network sees stands in the recipe. The same-light control is the same
method with a teacher whose view is raw, and whether *dual* light matters is the difference between the two.

A method's ``losses(nets, batch, progress)`` is a generator of ``(optimiser, loss, terms)``; the loop steps that
optimiser before it asks for the next one. ``batch.views["student"]`` and ``["teacher"]`` share crop, flip and moment.
"""

from dataclasses import dataclass

import torch
from torch.nn import functional as F

from kdlab.distill.losses import (
    check_mixture,
    entropy,
    kd_loss,
    smoothed_targets,
    smoothing_of_entropy,
    soft_target_loss,
)

__all__ = ["CrossEntropy", "DualLight", "MatchedSmoothing"]


@dataclass(frozen=True)
class CrossEntropy:
    """Labels alone: every teacher, and every baseline without one."""

    def parts(self, nets) -> dict[str, list[str]]:
        """Which networks each optimiser owns."""
        return {"net": ["student"]}

    def losses(self, nets, batch, progress):
        """Yield the cross-entropy in nats, mean over the batch."""
        ce = F.cross_entropy(nets["student"](batch.views["student"]), batch.labels)
        yield "net", ce, {"ce": ce}


@dataclass(frozen=True)
class DualLight:
    """Cross-entropy plus the teacher's soft targets; α = 0.5 and t = 4 are our defaults, not the paper's (unknown)."""

    temperature: float = 4.0
    alpha: float = 0.5

    def __post_init__(self):
        check_mixture(self.temperature, self.alpha)

    def parts(self, nets) -> dict[str, list[str]]:
        """Which networks each optimiser owns: the teacher is in none."""
        return {"net": ["student"]}

    def losses(self, nets, batch, progress):
        """Yield the mixture, with its two terms beside it (nats, mean over the batch)."""
        with torch.no_grad():
            teacher_logits = nets["teacher"](batch.views["teacher"])
        logits = nets["student"](batch.views["student"])
        ce = F.cross_entropy(logits, batch.labels)
        kd = kd_loss(logits, teacher_logits, self.temperature)
        yield "net", (1 - self.alpha) * ce + self.alpha * kd, {"ce": ce, "kd": kd}


@dataclass(frozen=True)
class MatchedSmoothing:
    """The control for dark knowledge: label smoothing in the teacher's place, with the teacher's mean entropy.

    The loss, its weights and its temperature are :class:`DualLight`'s; only the soft targets change, from the
    teacher's to a fixed distribution per label whose entropy is the teacher's mean over training clips. What this
    gains is regularisation; what :class:`DualLight` gains beyond it is what the teacher knows about clips and classes.
    """

    temperature: float = 4.0
    alpha: float = 0.5

    def __post_init__(self):
        check_mixture(self.temperature, self.alpha)

    def parts(self, nets) -> dict[str, list[str]]:
        """Which networks each optimiser owns: the teacher is in none."""
        return {"net": ["student"]}

    def prepare(self, nets, batches) -> float:
        """The smoothing whose entropy is the teacher's mean over evaluation ``batches`` of the training clips."""
        with torch.no_grad():
            logits = torch.cat([nets["teacher"](batch.views["teacher"]) for batch in batches])
        nats = float(entropy(F.softmax(logits / self.temperature, dim=-1)).mean())
        return smoothing_of_entropy(nats, logits.shape[-1])

    def losses(self, nets, batch, progress):
        """Yield the mixture; ``progress.prepared`` is what :meth:`prepare` returned."""
        logits = nets["student"](batch.views["student"])
        targets = smoothed_targets(batch.labels, logits.shape[-1], progress.prepared)
        ce = F.cross_entropy(logits, batch.labels)
        smooth = soft_target_loss(logits, targets, self.temperature)
        yield "net", (1 - self.alpha) * ce + self.alpha * smooth, {"ce": ce, "smooth": smooth}
