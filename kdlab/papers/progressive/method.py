"""Progressive knowledge distillation (PKD) of internal classifiers, and its controls.

"Advancing Compressed Video Action Recognition through Progressive Knowledge Distillation" attaches three internal
classifiers to each of three frozen networks (residual, motion, I-frame). Their teacher changes during training: first
the motion network's final classifier, then the residual network's, then each network's own, or the I-frame network's
(docs/methods.md, 3.3). PKD uses soft targets only: no label term, and no factor T².

``nets["student"]`` is the module of the nine heads: ``batch.views`` → logits ``(B, 9, K)``, stages 1 to 3 of the
residual, the motion and the I-frame network in turn. ``batch.views["finals"] (B, 3, K)`` are the logits of the three
frozen final classifiers in that order. Heads share no parameters, so the *sum* of their losses trains each as if alone.
"""

import math
from dataclasses import dataclass
from itertools import permutations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kdlab.distill.method import (
    CrossEntropy,
    check_mixture,
    entropy,
    smoothed_targets,
    smoothing_of_entropy,
)
from kdlab.papers.progressive.networks import ORDER
from kdlab.system.values import fraction, positive

Schedule = tuple[tuple[str, float], ...]

#: Teachers and their shares of the training: epochs 0-49, 50-99 and 100-299 of 300 `[code]`.
PAPER: Schedule = (("motion", 1 / 6), ("residual", 1 / 6), ("own", 4 / 6))


def soft_cross_entropy(logits: Tensor, targets: Tensor, temperature: float = 1) -> Tensor:
    """The cross-entropy ``−Σ_c targets_c · ln softmax_T(z)_c`` in nats, ``(..., K)`` → ``(...)``; ``targets`` are
    *probabilities* (docs/methods.md, 3.3). It equals the KL divergence plus the entropy of the targets. Its gradient is
    therefore that of KL, and its lowest value is that entropy."""
    return -(targets * F.log_softmax(logits / temperature, dim=-1)).sum(-1)


def teacher_at(schedule: Schedule, fraction: float) -> str:
    """The teacher when ``fraction`` in [0, 1) of the training is done. A boundary belongs to the later teacher."""
    end = 0.0
    for teacher, share in schedule:
        end += share
        if fraction < end - 1e-9:  # shares add up with rounding errors; no training has 1e9 steps
            return teacher
    return schedule[-1][0]


def only(teacher: str) -> Schedule:
    """The schedule of one teacher throughout: ``own`` is plain self-distillation, ``iframe`` the paper's baseline."""
    return ((teacher, 1.0),)


def orders(strongest: str = "own") -> dict[str, Schedule]:
    """Name → schedule of the six orders of motion, residual and ``strongest`` (``own``, or the paper's variant
    ``iframe``). Names look like ``motion-residual-own``. The first teacher has 1/6 of the training, the second 1/6, the
    third 4/6."""
    shares = [share for _, share in PAPER]
    return {
        "-".join(names): tuple(zip(names, shares, strict=True))
        for names in permutations(("motion", "residual", strongest))
    }


@dataclass(frozen=True)
class LabelExits(CrossEntropy):
    """The baseline: cross-entropy on labels at every exit."""

    def exit_losses(self, logits: Tensor, batch, progress) -> Tensor:
        """Loss of each clip at each exit, ``(B, E)``, in nats."""
        labels = batch.labels[:, None].expand(logits.shape[:2])
        return F.cross_entropy(logits.movedim(-1, 1), labels, reduction="none")

    def losses(self, nets, batch, progress):
        """Yield the loss (a sum over exits, a mean over the batch), and the part of each modality as its terms."""
        exits = self.exit_losses(nets["student"](batch.views), batch, progress).mean(0)
        terms = {name: part.sum() for name, part in zip(ORDER, exits.chunk(3), strict=True)}
        yield "net", exits.sum(), terms


@dataclass(frozen=True, kw_only=True)
class _Taught(LabelExits):
    """The loss ``(1 − α)`` labels + ``α`` soft targets; the paper's α is 1 and its temperature 1. ``targets(batch,
    progress)`` are probabilities: ``(B, 3, K)``, one for each modality, or ``(B, 1, K)``, the same for all."""

    temperature: float = 1.0
    alpha: float = 1.0

    def __post_init__(self):
        check_mixture(self.temperature, self.alpha)

    def finals(self, batch) -> Tensor:
        """Softened probabilities ``(B, 3, K)`` of the frozen final classifiers."""
        return F.softmax(batch.views["finals"] / self.temperature, dim=-1)

    def exit_losses(self, logits, batch, progress):
        targets = self.targets(batch, progress)
        if targets.shape[1] == 3:
            targets = targets.repeat_interleave(3, dim=1)
        labels = super().exit_losses(logits, batch, progress)
        soft = soft_cross_entropy(logits, targets, self.temperature)
        return (1 - self.alpha) * labels + self.alpha * soft


@dataclass(frozen=True)
class Progressive(_Taught):
    """PKD. ``schedule`` lists (teacher, share of the training) in order; a teacher is ``own``, ``iframe``, ``motion``
    or ``residual``. Other schedules are controls: :func:`only`, :func:`orders`, or your own.

    Raises ``ValueError`` for an unknown teacher, or shares that are not positive or do not add up to 1.
    """

    schedule: Schedule = PAPER

    def __post_init__(self):
        super().__post_init__()
        if unknown := [t for t, _ in self.schedule if t not in (*ORDER, "own")]:
            raise ValueError(
                f"unknown teacher {unknown[0]!r} in the schedule; use own, {', '.join(ORDER)}"
            )
        positive(shares=[share for _, share in self.schedule])
        if not math.isclose(sum(s for _, s in self.schedule), 1):
            raise ValueError(
                f"the shares of a schedule must be positive and add up to 1, got {self.schedule}"
            )

    def targets(self, batch, progress) -> Tensor:
        teacher, finals = teacher_at(self.schedule, progress.fraction), self.finals(batch)
        return finals if teacher == "own" else finals[:, [ORDER.index(teacher)]]


@dataclass(frozen=True)
class RandomTeacher(_Taught):
    """Control: a random one of the three final classifiers teaches each batch, so teachers change without an order."""

    def targets(self, batch, progress) -> Tensor:
        generator = torch.Generator().manual_seed(progress.seed)
        drawn = torch.randint(len(ORDER), (), generator=generator)
        return self.finals(batch)[:, [int(drawn)]]


@dataclass(frozen=True)
class FixedMixture(_Taught):
    """Control: the mean probabilities of the three final classifiers teach throughout, without an order."""

    def targets(self, batch, progress) -> Tensor:
        return self.finals(batch).mean(1, keepdim=True)


@dataclass(frozen=True)
class SmoothedExits(Progressive):
    """Control for dark knowledge: label smoothing with the entropy of :class:`Progressive`'s targets. For each
    modality, the entropy is the mean over the training clips and over the schedule."""

    def prepare(self, nets, batches) -> Tensor:
        """The smoothed distribution for each modality and label, ``(3, K, K)``."""
        finals = torch.cat([self.finals(batch) for batch in batches])
        nats, classes = entropy(finals).mean(0), finals.shape[-1]
        labels = torch.arange(classes, device=finals.device)
        means = sum(
            share * (nats if teacher == "own" else nats[ORDER.index(teacher)].expand(3))
            for teacher, share in self.schedule
        )
        shares = (smoothing_of_entropy(float(mean), classes) for mean in means)
        return torch.stack([smoothed_targets(labels, classes, share) for share in shares])

    def targets(self, batch, progress) -> Tensor:
        return progress.prepared[:, batch.labels].movedim(0, 1)


@dataclass(frozen=True)
class SettledCrossEntropy(CrossEntropy):
    """Cross-entropy on labels, with batch norms' statistics frozen after the fraction ``freeze_after`` of the training.
    Their affine parameters go on learning.

    Motion is sparse and heavy-tailed, so the statistics of a batch depend strongly on its clips. A network can fit the
    training set with batch statistics and fail with the running ones. Training the last third with the running
    statistics prevents this (docs/methods.md, 3.3).
    """

    freeze_after: float = 2 / 3

    def __post_init__(self):
        fraction(freeze_after=self.freeze_after)
        positive(
            "1 never freezes, and at 0 the statistics would stay those of no data",
            freeze_after=self.freeze_after,
        )

    def losses(self, nets, batch, progress):
        """Yield the cross-entropy in nats, mean over the batch."""
        # at every step, since the loop's validation returns to train mode
        if progress.fraction >= self.freeze_after:
            for module in nets["student"].modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.eval()
        yield from super().losses(nets, batch, progress)
