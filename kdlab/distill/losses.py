"""The classical distillation losses, as pure functions of logits. Sections refer to docs/methods.md.

The losses take the student's logits and apply log-softmax themselves: do not apply softmax first.
"""

import torch
from torch.nn import functional as F

from kdlab.system.values import alike, fraction, integer, not_negative, positive


def check_mixture(temperature: float, alpha: float) -> None:
    """Raise ``ValueError`` unless ``temperature`` is finite and above 0, and ``alpha`` lies in [0, 1]."""
    positive("1 leaves logits as they are, 4 is usual", temperature=temperature)
    fraction("0 is cross-entropy alone, 1 soft targets alone", alpha=alpha)


def entropy(probabilities: torch.Tensor) -> torch.Tensor:
    """Entropy in nats of ``probabilities (..., K)`` → ``(...)``; 0·ln 0 counts as 0."""
    return torch.special.entr(probabilities).sum(-1)


def soft_target_loss(student_logits: torch.Tensor, targets: torch.Tensor, temperature: float) -> torch.Tensor:
    """``t² KL(targets ‖ softmax_t(z_S))``, mean over the batch, for target *probabilities* ``(B, K)`` (section 1).

    The factor t² keeps the scale of the gradient when t grows (Hinton et al., arXiv 1503.02531). Raises ``ValueError``
    for shapes that differ, and for a temperature that is not above 0.
    """
    alike(student_logits=student_logits, targets=targets)
    positive(temperature=temperature)
    log_student = F.log_softmax(student_logits / temperature, dim=-1)
    return temperature**2 * F.kl_div(log_student, targets, reduction="batchmean")


def kd_loss(student_logits: torch.Tensor, teacher_logits: torch.Tensor, temperature: float) -> torch.Tensor:
    """``t² KL(softmax_t(z_T) ‖ softmax_t(z_S))``, mean over the batch; logits ``(B, K)`` (section 1, L_S). Zero exactly
    when the logits differ by a constant. Raises as :func:`soft_target_loss`."""
    return soft_target_loss(student_logits, F.softmax(teacher_logits / temperature, dim=-1), temperature)


def smoothed_targets(labels: torch.Tensor, num_classes: int, smoothing: float) -> torch.Tensor:
    """Probabilities ``(B, K)``: ``1 − smoothing`` for the label, the rest spread evenly over the other classes."""
    integer(2, num_classes=num_classes)
    fraction(smoothing=smoothing)
    off = smoothing / (num_classes - 1)
    return torch.full((len(labels), num_classes), off, device=labels.device).scatter_(1, labels[:, None], 1 - smoothing)


def smoothing_of_entropy(nats: float, num_classes: int) -> float:
    """The ``smoothing`` for which :func:`smoothed_targets` has the entropy ``nats``, in [0, ln K] (bisection)."""
    not_negative(nats=nats)
    low, high = 0.0, 1 - 1 / num_classes
    for _ in range(60):
        middle = (low + high) / 2
        p = smoothed_targets(torch.zeros(1, dtype=torch.long), num_classes, middle).double()
        low, high = (middle, high) if float(entropy(p)) < nats else (low, middle)
    return (low + high) / 2
