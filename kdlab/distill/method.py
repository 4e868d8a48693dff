"""The two methods on which all others build, labels alone and labels with a teacher's soft targets, and their losses.

A method's ``losses(nets, batch, progress)`` is a generator of ``(optimiser, loss, terms)``. The loop steps that
optimiser before it requests the next loss. ``batch.views["student"]`` and ``["teacher"]`` share crop, flip and sampled
frames. :class:`kdlab.protocols.Method` documents everything that a method may have.

The losses below are pure functions. They take the student's logits and apply log-softmax themselves: do not apply
softmax first. Sections refer to docs/methods.md.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from kdlab.protocols import Method
from kdlab.system.values import alike, fraction, integer, not_negative, positive


@dataclass(frozen=True)
class CrossEntropy(Method):
    """Cross-entropy with labels alone: for every teacher, and for every baseline without one."""

    def networks_by_optimiser(self, nets) -> dict[str, list[str]]:
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

    def soft_targets(self, nets, batch, progress) -> Tensor:
        """The frozen teacher's softened probabilities ``(B, K)`` for its own view of the batch."""
        with torch.no_grad():
            return F.softmax(nets["teacher"](batch.views["teacher"]) / self.temperature, dim=-1)

    def losses(self, nets, batch, progress):
        """Yield the mixture and its two unweighted terms (nats, mean over the batch)."""
        logits = nets["student"](batch.views["student"])
        ce = F.cross_entropy(logits, batch.labels)
        soft = soft_target_loss(logits, self.soft_targets(nets, batch, progress), self.temperature)
        yield "net", (1 - self.alpha) * ce + self.alpha * soft, {"ce": ce, "soft": soft}


# --- losses ------------------------------------------------------------------------------------------------------


def total(losses: Iterable[Tensor]) -> Tensor:
    """The sum of ``losses``."""
    return sum(losses, torch.zeros(()))


def weighted_sum(terms: dict[str, tuple[float, Tensor]]) -> tuple[Tensor, dict[str, Tensor]]:
    """The loss and the unweighted terms, from name → (weight, term). A term of weight 0 is only recorded."""
    loss = total(weight * term for weight, term in terms.values() if weight)
    return loss, {name: term for name, (_, term) in terms.items()}


def rise(fraction: float, warmup: float) -> float:
    """A weight's factor: it rises from 0 to 1 over the first ``warmup`` of training; both are fractions of it. GenKD's
    paper has min(e, 20) / 20 at epoch e of 200."""
    return min(1.0, fraction / warmup) if warmup else 1.0


def check_mixture(temperature: float, alpha: float) -> None:
    """Raise ``ValueError`` unless ``temperature`` is finite and above 0, and ``alpha`` lies in [0, 1]."""
    positive("1 leaves logits as they are, 4 is usual", temperature=temperature)
    fraction("0 is cross-entropy alone, 1 soft targets alone", alpha=alpha)


def entropy(probabilities: Tensor) -> Tensor:
    """Entropy in nats of ``probabilities (..., K)`` → ``(...)``; 0·ln 0 counts as 0."""
    return torch.special.entr(probabilities).sum(-1)


def soft_target_loss(student_logits: Tensor, targets: Tensor, temperature: float) -> Tensor:
    """``t² KL(targets ‖ softmax_t(z_S))``, mean over the batch, for target *probabilities* ``(B, K)`` (section 1).

    The factor t² keeps the scale of the gradient when t grows (Hinton et al., arXiv 1503.02531). Raises ``ValueError``
    for shapes that differ, and for a temperature that is not above 0.
    """
    alike(student_logits=student_logits, targets=targets)
    positive(temperature=temperature)
    log_student = F.log_softmax(student_logits / temperature, dim=-1)
    return temperature**2 * F.kl_div(log_student, targets, reduction="batchmean")


def kd_loss(student_logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    """``t² KL(softmax_t(z_T) ‖ softmax_t(z_S))``, mean over the batch; logits ``(B, K)`` (section 1, L_S). Zero exactly
    when the logits differ by a constant. Raises as :func:`soft_target_loss`."""
    return soft_target_loss(
        student_logits, F.softmax(teacher_logits / temperature, dim=-1), temperature
    )


def smoothed_targets(labels: Tensor, num_classes: int, smoothing: float) -> Tensor:
    """Probabilities ``(B, K)``: ``1 − smoothing`` for the label, the rest spread evenly over the other classes."""
    integer(2, num_classes=num_classes)
    fraction(smoothing=smoothing)
    off = smoothing / (num_classes - 1)
    return torch.full((len(labels), num_classes), off, device=labels.device).scatter_(
        1, labels[:, None], 1 - smoothing
    )


def smoothing_of_entropy(nats: float, num_classes: int) -> float:
    """The ``smoothing`` for which :func:`smoothed_targets` has the entropy ``nats``, in [0, ln K] (bisection)."""
    not_negative(nats=nats)
    low, high = 0.0, 1 - 1 / num_classes
    for _ in range(60):
        middle = (low + high) / 2
        p = smoothed_targets(torch.zeros(1, dtype=torch.long), num_classes, middle).double()
        low, high = (middle, high) if float(entropy(p)) < nats else (low, middle)
    return (low + high) / 2
