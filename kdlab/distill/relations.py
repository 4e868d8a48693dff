"""Distillers that compare relations instead of values (docs/methods.md, 1.4): standardised logits, DIST, RKD.

What they compare does not change with the scale of the logits (or with scale and place of the features), so a student
need not copy the confidence of a larger or a foreign teacher.
"""

from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional as F

from kdlab.distill.distiller import AtLayer, Distiller, Tap
from kdlab.distill.method import kd_loss
from kdlab.system.values import alike


def standardised_kd_loss(
    student_logits: Tensor, teacher_logits: Tensor, temperature: float
) -> Tensor:
    """``t² KL(softmax(Z(z_T) / t) ‖ softmax(Z(z_S) / t))``, mean over the batch; logits ``(B, K)`` (Sun et al., arXiv
    2403.01427).

    ``Z(z) = (z − mean z) / (σ(z) + 1e-7)`` over the classes of a clip, with K − 1 in the deviation σ as in the authors'
    code. It is 0 exactly when one clip's logits are a positive multiple of the other's plus a constant. Raises as
    :func:`kdlab.distill.method.kd_loss`.
    """
    student, teacher = (
        (z - z.mean(1, keepdim=True)) / (z.std(1, keepdim=True) + 1e-7)
        for z in (student_logits, teacher_logits)
    )
    return kd_loss(student, teacher, temperature)


def dist_loss(
    student_logits: Tensor,
    teacher_logits: Tensor,
    temperature: float,
    inter: float,
    intra: float,
) -> Tensor:
    """``t² [inter · mean_b (1 − ρ(p_S[b, :], p_T[b, :])) + intra · mean_k (1 − ρ(p_S[:, k], p_T[:, k]))]`` for softened
    probabilities p of logits ``(B, K)`` (Huang et al., arXiv 2205.10536).

    ρ is Pearson's correlation: over the classes of a clip (inter-class), and over the clips of the batch for a class
    (intra-class). Each mean is in [0, 2]. A batch of one clip has no intra-class correlation, and counts as 1.
    """
    alike(student_logits=student_logits, teacher_logits=teacher_logits)
    student, teacher = (F.softmax(z / temperature, dim=1) for z in (student_logits, teacher_logits))

    def unlike(dim: int) -> Tensor:
        centred = (p - p.mean(dim, keepdim=True) for p in (student, teacher))
        return 1 - F.cosine_similarity(*centred, dim=dim).mean()

    return temperature**2 * (inter * unlike(1) + intra * unlike(0))


def distance_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """RKD-D: Huber loss between the distances of clips, mean over all ordered pairs of the batch (Park et al., arXiv
    1904.05068).

    Features are ``(B, C)``, with any C in either network. The distance of two clips is divided by the mean distance of
    different clips in that network's batch. A clip's distance to itself is 0 in both and counts in the mean.
    """
    alike(clips_of_student=student[:, 0], clips_of_teacher=teacher[:, 0])

    def distances(f):
        every = (f[None] - f[:, None]).norm(dim=-1)
        return every * (len(f) * (len(f) - 1)) / every.sum().clamp_min(1e-12)

    return F.smooth_l1_loss(distances(student), distances(teacher))


def angle_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """RKD-A: Huber loss between the cosines of the angle at clip j between clips i and k, mean over all ordered triples
    of the batch (Park et al., arXiv 1904.05068). Features are ``(B, C)``, with any C in either network. Triples of
    fewer than three different clips count as 0, so a batch of two clips has the loss 0."""
    alike(clips_of_student=student[:, 0], clips_of_teacher=teacher[:, 0])

    def cosines(f):
        towards = F.normalize(f[None] - f[:, None], dim=-1)  # [j, i] points from clip j to clip i
        return towards @ towards.transpose(1, 2)

    return F.smooth_l1_loss(cosines(student), cosines(teacher))


@dataclass(frozen=True)
class StandardisedKD(Distiller):
    """KD of standardised logits. The authors' base temperature for CIFAR-100 is 2, and their weights are 0.1 for labels
    and 9 for the term."""

    temperature: float = 2.0
    weight: float = 9.0

    def terms(self, nets, logits, features, batch, progress):
        return {"soft": (self.weight, standardised_kd_loss(*logits, self.temperature))}


@dataclass(frozen=True)
class DIST(Distiller):
    """DIST. ``inter`` and ``intra`` are the authors' β and γ, which are 2 for ImageNet at temperature 1."""

    temperature: float = 1.0
    inter: float = 2.0
    intra: float = 2.0

    def terms(self, nets, logits, features, batch, progress):
        return {"dist": (1.0, dist_loss(*logits, self.temperature, self.inter, self.intra))}


@dataclass(frozen=True)
class RelationalKD(AtLayer):
    """RKD on the features of ``tap``, averaged over time and space. The weights of 25 and 50 are the authors' for
    classification."""

    tap: Tap = -1
    distance: float = 25.0
    angle: float = 50.0

    def terms(self, nets, logits, features, batch, progress):
        pooled = [of_one.mean((2, 3, 4)) for of_one in features[0]]
        return {
            "distance": (self.distance, distance_loss(*pooled)),
            "angle": (self.angle, angle_loss(*pooled)),
        }
