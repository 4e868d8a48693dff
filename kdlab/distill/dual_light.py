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

    def soft_targets(self, nets, batch, progress) -> torch.Tensor:
        """The frozen teacher's softened probabilities ``(B, K)`` of its own view of the batch."""
        with torch.no_grad():
            return F.softmax(nets["teacher"](batch.views["teacher"]) / self.temperature, dim=-1)

    def losses(self, nets, batch, progress):
        """Yield the mixture, with its two terms beside it (nats, mean over the batch)."""
        logits = nets["student"](batch.views["student"])
        ce = F.cross_entropy(logits, batch.labels)
        soft = soft_target_loss(logits, self.soft_targets(nets, batch, progress), self.temperature)
        yield "net", (1 - self.alpha) * ce + self.alpha * soft, {"ce": ce, "soft": soft}


@dataclass(frozen=True)
class MatchedSmoothing(DualLight):
    """The control for dark knowledge: label smoothing in the teacher's place, with the teacher's mean entropy.

    The loss, its weights and its temperature are :class:`DualLight`'s; only the soft targets change, from the
    teacher's to a fixed distribution per label whose entropy is the teacher's mean over training clips. What this
    gains is regularisation; what :class:`DualLight` gains beyond it is what the teacher knows about clips and classes.
    """

    def prepare(self, nets, batches) -> torch.Tensor:
        """One distribution per label, ``(K, K)``, with the teacher's mean entropy over training ``batches``."""
        with torch.no_grad():
            logits = torch.cat([nets["teacher"](batch.views["teacher"]) for batch in batches])
        nats = float(entropy(F.softmax(logits / self.temperature, dim=-1)).mean())
        classes = logits.shape[-1]
        labels = torch.arange(classes, device=logits.device)
        return smoothed_targets(labels, classes, smoothing_of_entropy(nats, classes))

    def soft_targets(self, nets, batch, progress) -> torch.Tensor:
        """The row of each label in what :meth:`prepare` returned."""
        return progress.prepared[batch.labels]
