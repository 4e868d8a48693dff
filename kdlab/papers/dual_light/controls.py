"""More controls of DL-KDD (docs/methods.md, 1.4): brightness augmentation, and soft targets from other clips.

:class:`RandomGamma` tests whether a student gains from brightness without a teacher. :class:`StoredTargets` tests which
part of the teacher's soft targets matters: the prediction for the clip, for its class, or only their distribution.
"""

from dataclasses import dataclass

import torch
from torch.nn import functional as F

from kdlab.distill.method import CrossEntropy
from kdlab.papers.dual_light.method import DualLight
from kdlab.system.values import fraction, integer, one_of, positive


@dataclass(frozen=True)
class RandomGamma(CrossEntropy):
    """Brightness augmentation without a teacher: labels, :meth:`brightened` clips in training, raw clips in tests."""

    probability: float = 0.5
    low: float = 1.0
    high: float = 3.0

    def __post_init__(self):
        fraction(probability=self.probability)
        positive("above 1 brightens", low=self.low, high=self.high)
        if self.low > self.high:
            raise ValueError(f"gamma needs 0 < low <= high, got {self.low} and {self.high}; above 1 brightens")

    def brightened(self, x: torch.Tensor) -> torch.Tensor:
        """``x^(1/γ)`` for some clips of ``x (B, C, T, H, W)``, pixels in [0, 1]; the other clips are unchanged.

        Each clip is chosen with ``probability`` and has its own γ, uniform in [``low``, ``high``]. Both are drawn from
        torch's global generator, which the loop seeds at each step.
        """
        chosen, place = torch.rand(2, len(x), *[1] * (x.ndim - 1), device=x.device)
        return torch.where(chosen < self.probability, x.pow(1 / (self.low + (self.high - self.low) * place)), x)

    def losses(self, nets, batch, progress):
        """Yield the cross-entropy in nats, mean over the batch."""
        ce = F.cross_entropy(nets["student"](self.brightened(batch.views["student"])), batch.labels)
        yield "net", ce, {"ce": ce}


def shuffle(labels: torch.Tensor, how: str, seed: int) -> torch.Tensor:
    """For each clip, the index of the clip whose targets it receives, ``(N,)``: a permutation that ``seed`` determines.

    ``no`` is the identity; ``within`` permutes the clips of each class; ``between`` permutes all clips. Permutations
    are uniform, not derangements: on average one clip (per class, or of all) keeps its own targets. The only clip of a
    class always keeps them under ``within``.
    """
    generator, order = torch.Generator().manual_seed(seed), torch.arange(len(labels))
    groups = [torch.nonzero(labels.cpu() == label)[:, 0] for label in labels.cpu().unique()]
    for members in {"no": [], "within": groups, "between": [order.clone()]}[how]:
        order[members] = members[torch.randperm(len(members), generator=generator)]
    return order


@dataclass(frozen=True)
class StoredTargets(DualLight):
    """DL-KDD with a teacher that runs once, on the centre view of each training clip; it does not see the student's
    crop, flip and sampled frames. ``shuffled`` and ``seed`` are those of :func:`shuffle`. ``within`` keeps the
    teacher's knowledge of classes and destroys its prediction for the clip. ``between`` keeps only the distribution of
    its targets."""

    shuffled: str = "no"
    seed: int = 0

    def __post_init__(self):
        super().__post_init__()
        one_of(("no", "within", "between"), shuffled=self.shuffled)
        integer(0, seed=self.seed)

    def prepare(self, nets, batches) -> tuple[torch.Tensor, dict[str, int]]:
        """Soft targets ``(N, K)`` of all training clips, shuffled, and the row of each clip by its id."""
        logits, labels, ids = [], [], []
        with torch.no_grad():
            for batch in batches:
                logits.append(nets["teacher"](batch.views["teacher"]))
                labels.append(batch.labels)
                ids += batch.ids
        targets = F.softmax(torch.cat(logits) / self.temperature, dim=-1)
        order = shuffle(torch.cat(labels), self.shuffled, self.seed)
        return targets[order.to(targets.device)], {clip: row for row, clip in enumerate(ids)}

    def soft_targets(self, nets, batch, progress) -> torch.Tensor:
        """The rows ``(B, K)`` for the batch's clips in the result of :meth:`prepare`."""
        targets, rows = progress.prepared
        return targets[[rows[clip] for clip in batch.ids]]
