"""Progressive knowledge distillation (PKD) of internal classifiers, and its controls.

"Advancing Compressed Video Action Recognition through Progressive Knowledge Distillation" attaches three internal
classifiers to each of three frozen networks (residual, motion, I-frame) and trains them by a teacher that changes: the
motion network's final classifier, then the residual's, then each network's own, or the I-frame's: docs/methods.md, 3.3.
There are soft targets only: no label term, and no factor T².

``nets["student"]`` is the module of the nine heads: ``batch.views`` → logits ``(B, 9, K)``, stages 1 to 3 of the
residual, the motion and the I-frame network in turn. ``batch.views["finals"] (B, 3, K)`` are the logits of the three
frozen final classifiers in that order. Heads share no parameters, so the *sum* of their losses trains each as if alone.
"""

import math
from dataclasses import dataclass
from itertools import permutations

import torch
from torch import nn
from torch.nn import functional as F

from kdlab.distill.losses import check_mixture, entropy, smoothed_targets, smoothing_of_entropy
from kdlab.distill.method import CrossEntropy
from kdlab.papers.progressive.networks import ORDER
from kdlab.system.values import fraction, positive

Schedule = tuple[tuple[str, float], ...]

#: Teachers and their shares of the training: epochs 0-49, 50-99 and 100-299 of 300 `[code]`.
PAPER: Schedule = (("motion", 1 / 6), ("residual", 1 / 6), ("own", 4 / 6))


def soft_cross_entropy(logits: torch.Tensor, targets: torch.Tensor, temperature: float = 1) -> torch.Tensor:
    """``−Σ_c targets_c · ln softmax_T(z)_c`` in nats, ``(..., K)`` → ``(...)``, of target *probabilities*
    (docs/methods.md, 3.3). It is the KL divergence plus the targets' entropy, so its gradient is KL's; the lowest value
    is that entropy."""
    return -(targets * F.log_softmax(logits / temperature, dim=-1)).sum(-1)


def teacher_at(schedule: Schedule, fraction: float) -> str:
    """The teacher when ``fraction`` in [0, 1) of the training is done; a boundary belongs to the later one."""
    end = 0.0
    for teacher, share in schedule:
        end += share
        if fraction < end - 1e-9:  # shares add up with rounding errors; no training has 1e9 steps
            return teacher
    return schedule[-1][0]


def only(teacher: str) -> Schedule:
    """One teacher throughout: ``own`` is plain self-distillation, ``iframe`` the paper's baseline."""
    return ((teacher, 1.0),)


def orders(strongest: str = "own") -> dict[str, Schedule]:
    """The six orders of motion, residual and ``strongest`` (``own``, or the paper's variant ``iframe``), named as
    ``motion-residual-own``; shares (1/6, 1/6, 4/6) belong to the places."""
    shares = [share for _, share in PAPER]
    return {"-".join(names): tuple(zip(names, shares, strict=True))
            for names in permutations(("motion", "residual", strongest))}


@dataclass(frozen=True)
class LabelExits(CrossEntropy):
    """Labels alone: cross-entropy at every exit, the baseline."""

    def exit_losses(self, logits: torch.Tensor, batch, progress) -> torch.Tensor:
        """Loss of each clip at each exit, ``(B, E)``, in nats."""
        labels = batch.labels[:, None].expand(logits.shape[:2])
        return F.cross_entropy(logits.movedim(-1, 1), labels, reduction="none")

    def losses(self, nets, batch, progress):
        """Yield the sum over exits of the mean over the batch, and beside it each modality's part of that sum."""
        exits = self.exit_losses(nets["student"](batch.views), batch, progress).mean(0)
        yield "net", exits.sum(), {name: part.sum() for name, part in zip(ORDER, exits.chunk(3), strict=True)}


@dataclass(frozen=True, kw_only=True)
class _Taught(LabelExits):
    """``(1 − α)`` labels + ``α`` soft targets; the paper's α is 1 and its temperature 1. ``targets(batch, progress)``
    are probabilities: ``(B, 3, K)``, one for each modality, or ``(B, 1, K)``, one for all."""

    temperature: float = 1.0
    alpha: float = 1.0

    def __post_init__(self):
        check_mixture(self.temperature, self.alpha)

    def finals(self, batch) -> torch.Tensor:
        """Softened probabilities ``(B, 3, K)`` of the frozen final classifiers."""
        return F.softmax(batch.views["finals"] / self.temperature, dim=-1)

    def exit_losses(self, logits, batch, progress):
        targets = self.targets(batch, progress)
        if targets.shape[1] == 3:
            targets = targets.repeat_interleave(3, dim=1)
        labels = super().exit_losses(logits, batch, progress)
        return (1 - self.alpha) * labels + self.alpha * soft_cross_entropy(logits, targets, self.temperature)


@dataclass(frozen=True)
class Progressive(_Taught):
    """PKD: ``schedule`` has (teacher, share of the training) in turn, the teacher ``own``, ``iframe``, ``motion`` or
    ``residual``. Other schedules are controls: :func:`only`, :func:`orders`, or any of your own.

    Raises ``ValueError`` for an unknown teacher, or shares that are not positive or do not add up to 1.
    """

    schedule: Schedule = PAPER

    def __post_init__(self):
        super().__post_init__()
        if unknown := [t for t, _ in self.schedule if t not in (*ORDER, "own")]:
            raise ValueError(f"unknown teacher {unknown[0]!r} in the schedule; use own, {', '.join(ORDER)}")
        positive(shares=[share for _, share in self.schedule])
        if not math.isclose(sum(s for _, s in self.schedule), 1):
            raise ValueError(f"the shares of a schedule must be positive and add up to 1, got {self.schedule}")

    def targets(self, batch, progress) -> torch.Tensor:
        teacher, finals = teacher_at(self.schedule, progress.fraction), self.finals(batch)
        return finals if teacher == "own" else finals[:, [ORDER.index(teacher)]]


@dataclass(frozen=True)
class RandomTeacher(_Taught):
    """One of the three finals for each batch: a changing teacher without progress."""

    def targets(self, batch, progress) -> torch.Tensor:
        drawn = torch.randint(len(ORDER), (), generator=torch.Generator().manual_seed(progress.seed))
        return self.finals(batch)[:, [int(drawn)]]


@dataclass(frozen=True)
class FixedMixture(_Taught):
    """The mean of the three finals' probabilities throughout: all teachers without order."""

    def targets(self, batch, progress) -> torch.Tensor:
        return self.finals(batch).mean(1, keepdim=True)


@dataclass(frozen=True)
class SmoothedExits(Progressive):
    """The control for dark knowledge: label smoothing with, for each modality, the mean entropy of the targets that
    :class:`Progressive` would give its exits, over the training clips and over the schedule."""

    def prepare(self, nets, batches) -> torch.Tensor:
        """One distribution for each modality and label, ``(3, K, K)``."""
        finals = torch.cat([self.finals(batch) for batch in batches])
        nats, classes = entropy(finals).mean(0), finals.shape[-1]
        labels = torch.arange(classes, device=finals.device)
        means = sum(share * (nats if t == "own" else nats[ORDER.index(t)].expand(3)) for t, share in self.schedule)
        return torch.stack([smoothed_targets(labels, classes, smoothing_of_entropy(float(m), classes)) for m in means])

    def targets(self, batch, progress) -> torch.Tensor:
        return progress.prepared[:, batch.labels].movedim(0, 1)


@dataclass(frozen=True)
class SettledCrossEntropy(CrossEntropy):
    """Labels alone, with batch statistics frozen from ``freeze_after`` of the training on; their affine part learns on.

    Motion is sparse and heavy-tailed, so a batch's statistics depend on which clips are in it, and a network can fit
    the training set with them and fail with the running ones. The last third with the running ones mends it
    (docs/methods.md, 3.3).
    """

    freeze_after: float = 2 / 3

    def __post_init__(self):
        fraction(freeze_after=self.freeze_after)
        positive("1 never freezes, and at 0 the statistics would stay those of no data", freeze_after=self.freeze_after)

    def losses(self, nets, batch, progress):
        """Yield the cross-entropy in nats, mean over the batch."""
        if progress.fraction >= self.freeze_after:  # at every step, as the loop's validation ends in train mode
            for module in nets["student"].modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.eval()
        yield from super().losses(nets, batch, progress)
