"""The two methods on which all others build: labels alone, and labels with a teacher's soft targets.

A method's ``losses(nets, batch, progress)`` is a generator of ``(optimiser, loss, terms)``. The loop steps that
optimiser before it requests the next loss. ``batch.views["student"]`` and ``["teacher"]`` share crop, flip and sampled
frames. :class:`kdlab.protocols.Method` documents everything that a method may have.
"""

from dataclasses import dataclass

import torch
from torch.nn import functional as F

from kdlab.distill.losses import check_mixture, soft_target_loss


def weighted_sum(terms: dict[str, tuple[float, torch.Tensor]]) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """The loss and the unweighted terms, from name → (weight, term). A term of weight 0 is only recorded."""
    return sum(w * term for w, term in terms.values() if w), {name: term for name, (_, term) in terms.items()}


@dataclass(frozen=True)
class CrossEntropy:
    """Cross-entropy with labels alone: for every teacher, and for every baseline without one."""

    def parts(self, nets) -> dict[str, list[str]]:
        """The networks that each optimiser owns; no optimiser owns a teacher."""
        return {"net": ["student"]}

    def losses(self, nets, batch, progress):
        """Yield the cross-entropy in nats, mean over the batch."""
        ce = F.cross_entropy(nets["student"](batch.views["student"]), batch.labels)
        yield "net", ce, {"ce": ce}


@dataclass(frozen=True)
class KD(CrossEntropy):
    """Knowledge distillation (Hinton et al. 2015): cross-entropy plus the softened targets of the teacher.

    L = (1 − α) CE(z_S, y) + α t² KL( softmax(z_T / t) ‖ softmax(z_S / t) )
    """

    temperature: float = 4.0
    alpha: float = 0.5

    def __post_init__(self):
        check_mixture(self.temperature, self.alpha)

    def soft_targets(self, nets, batch, progress) -> torch.Tensor:
        """The frozen teacher's softened probabilities ``(B, K)`` for its own view of the batch."""
        with torch.no_grad():
            return F.softmax(nets["teacher"](batch.views["teacher"]) / self.temperature, dim=-1)

    def losses(self, nets, batch, progress):
        """Yield the mixture and its two unweighted terms (nats, mean over the batch)."""
        logits = nets["student"](batch.views["student"])
        ce = F.cross_entropy(logits, batch.labels)
        soft = soft_target_loss(logits, self.soft_targets(nets, batch, progress), self.temperature)
        yield "net", (1 - self.alpha) * ce + self.alpha * soft, {"ce": ce, "soft": soft}
