"""The distillers with which every study compares: DKD, FitNets, attention transfer, SimKD, feature norm and ReviewKD
(docs/methods.md, 1.4 and 2). KD is in ``kdlab.distill.method``, DIST, RKD and others in ``kdlab.distill.relations``.

Each distiller is a pure function and, below it, a method with the loss L = CE(z_S, y) + weight · distiller. What the
methods share is in ``kdlab.distill.distiller``. We do not know which of several "feature norm" losses GenKD's paper
means; kdlab implements KD++.
"""

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kdlab.distill.distiller import ROLES, AtLayer, Distiller, Tap, layers, of_one_clip, read
from kdlab.distill.method import kd_loss, rise, total
from kdlab.nets.layers import layers_of, trunk
from kdlab.system.values import alike, integer


def dkd_loss(
    student_logits: Tensor,
    teacher_logits: Tensor,
    labels: Tensor,
    temperature: float,
    alpha: float,
    beta: float,
) -> Tensor:
    """``t² [α KL(b_T ‖ b_S) + β KL(o_T ‖ o_S)]``, mean over the batch (Zhao et al., arXiv 2203.08679).

    Logits are ``(B, K)``. In softened probabilities, b is the pair (label's class, sum of all others), and o is the
    distribution over the other classes. With α = 1 and β = 1 − b_T(label), a sample's loss equals ``kd_loss``.
    DKD's β, in contrast, does not shrink where the teacher is confident.
    """
    alike(student_logits=student_logits, teacher_logits=teacher_logits)
    alike(labels=labels, clips=student_logits[:, 0])
    is_label = F.one_hot(labels, student_logits.shape[1]).bool()

    def parts(logits):
        log_p = F.log_softmax(logits / temperature, dim=1)
        others = log_p[~is_label].view(len(logits), -1)
        return torch.stack([log_p[is_label], others.logsumexp(1)], 1), F.log_softmax(others, dim=1)

    kl = [
        F.kl_div(s, t, reduction="none", log_target=True).sum(1)
        for s, t in zip(parts(student_logits), parts(teacher_logits), strict=True)
    ]
    return temperature**2 * (alpha * kl[0] + beta * kl[1]).mean()


@dataclass(frozen=True)
class DecoupledKD(Distiller):
    """DKD. The defaults are the authors' for CIFAR-100 (their best β depends on the teacher). ``warmup`` is the
    fraction of training over which the weight of the term rises from 0; theirs is 20 of 240 epochs."""

    temperature: float = 4.0
    alpha: float = 1.0
    beta: float = 8.0
    weight: float = 1.0
    warmup: float = 20 / 240

    def terms(self, nets, logits, features, batch, progress):
        dkd = dkd_loss(*logits, batch.labels, self.temperature, self.alpha, self.beta)
        return {"dkd": (rise(progress.fraction, self.warmup) * self.weight, dkd)}


def _pooled(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    """The features of both, each ``(B, C, T, H, W)``, average-pooled in time and space to the shorter length."""
    t, h, w = (min(pair) for pair in zip(student.shape[2:], teacher.shape[2:], strict=True))
    size = t, h, w
    return F.adaptive_avg_pool3d(student, size), F.adaptive_avg_pool3d(teacher, size)


def fitnet_loss(student_features: Tensor, teacher_features: Tensor) -> Tensor:
    """Mean squared difference over all elements (Romero et al., arXiv 1412.6550), after average pooling of time and
    space to the shorter length.

    Features are ``(B, C, T, H, W)``; ``student_features`` are the output of the regressor to the teacher's channels.
    Raises ``ValueError`` for other channels.
    """
    if student_features.shape[:2] != teacher_features.shape[:2]:
        raise ValueError(
            f"the student's features are {tuple(student_features.shape)}, the teacher's "
            f"{tuple(teacher_features.shape)}: give the student a projector to the teacher's channels "
            "(kdlab.nets.i3d.Projected)"
        )
    student, teacher = _pooled(student_features, teacher_features)
    return F.mse_loss(student, teacher)


@dataclass(frozen=True)
class FitNet(AtLayer):
    """FitNets' hint: the student's features at ``tap``, through a 1×1×1 convolution that is trained with the student.

    The paper first trains the lower half on the hint alone, then the whole network with KD. Here labels and hint are
    trained together, as in later comparisons of distillers, which also use the ``weight`` of 100.
    """

    tap: Tap = -2
    weight: float = 100.0

    def beside(self, channels):
        return {"regressor": nn.Conv3d(*channels[0], kernel_size=1)}

    def terms(self, nets, logits, features, batch, progress):
        ((ours, theirs),) = features
        return {"hint": (self.weight, fitnet_loss(nets["regressor"](ours), theirs))}


def attention_transfer_loss(student_features: Tensor, teacher_features: Tensor) -> Tensor:
    """Mean over batch and places of ``(q_S − q_T)²`` (Zagoruyko & Komodakis, arXiv 1612.03928).

    q is the attention map of a layer ``(B, C, T, H, W)``: the mean of its squares over channels, flattened and divided
    by its L2 norm. The scale of a layer therefore has no effect, and the sum over places is in [0, 2]. Channels may
    differ. An axis on which the maps differ is average-pooled to the shorter length. The usual reference (mdistiller)
    pools the features before it squares them; where sizes differ, its loss is up to half larger or smaller, and where
    they are equal both agree. Raises ``ValueError`` for different clips.
    """
    alike(
        student_clips=student_features[:, 0, 0, 0, 0], teacher_clips=teacher_features[:, 0, 0, 0, 0]
    )
    student, teacher = _pooled(
        student_features.square().mean(1, keepdim=True),
        teacher_features.square().mean(1, keepdim=True),
    )
    return F.mse_loss(F.normalize(student.flatten(1)), F.normalize(teacher.flatten(1)))


@dataclass(frozen=True)
class AttentionTransfer(Distiller):
    """Attention transfer, summed over the layers ``taps``; by default over the last three stages that both networks
    have. The ``weight`` of 1000 is the authors' for a *mean* over batch and places; they divide β = 10³ by batch and
    places and apply it to the sum."""

    taps: int | tuple[Tap, ...] = 3
    weight: float = 1000.0

    def terms(self, nets, logits, features, batch, progress):
        attention = total(attention_transfer_loss(*pair) for pair in features)
        return {"attention": (self.weight, attention)}


simkd_loss = fitnet_loss  # of the student's projector (Chen et al., arXiv 2203.14001)


@dataclass(frozen=True)
class SimKD(AtLayer):
    """The student learns only the teacher's features at ``tap`` and reuses its head; it never reads labels.

    The head is what follows ``tap``. A student with other channels needs a projector: ``kdlab.nets.i3d.Projected``.
    """

    tap: Tap = -1
    labels = 0.0

    def extra_nets(self, nets, batches, seed: int, needed=None) -> dict:
        """Copy the teacher's head into the student; return no further networks. The head receives no gradient, so it
        does not change. Raises ``ValueError`` where the student's head, with the teacher's weights, gives other logits
        than the teacher for the teacher's features."""
        student, teacher = (nets[role].net for role in ROLES)
        own = _head(student, *layers(nets, "student", self.taps))
        head = _head(teacher, *layers(nets, "teacher", self.taps))
        fits = [w.shape for w in own.values()] == [w.shape for w in head.values()]
        if fits:
            student.load_state_dict(dict(zip(own, head.values(), strict=True)), strict=False)
            fits = self._agree(nets, next(iter(batches)))
        if not fits:
            raise ValueError(
                f"the teacher's head ({', '.join(head)}) does not fit the student: build both alike, for "
                "the same classes in one order, the student with a projector to the teacher's channels "
                "(kdlab.nets.i3d.Projected)"
            )
        return {}

    def _agree(self, nets, batch) -> bool:
        """Whether the student gives the teacher's logits when it is given the teacher's features."""
        (_, wanted), ((_, theirs),) = of_one_clip(nets, batch, self.taps)
        (name,) = layers(nets, "student", self.taps)
        with layers_of(nets["student"])[name].register_forward_hook(lambda *_: theirs):
            (logits, _), _ = of_one_clip(nets, batch, ())
        return torch.allclose(logits, wanted, rtol=1e-3, atol=1e-4)

    def terms(self, nets, logits, features, batch, progress):
        return {"features": (1.0, simkd_loss(*features[0]))}


def _head(net: nn.Module, layer: str) -> dict[str, Tensor]:
    """The weights of ``net`` that are not in its children up to the ``layer``, which is named with ``net.``."""
    before = trunk(net, layer.removeprefix("net.")).state_dict()
    return {name: weight for name, weight in net.state_dict().items() if name not in before}


def feature_norm_loss(student: Tensor, teacher: Tensor, centres: Tensor, labels: Tensor) -> Tensor:
    """``1 − ⟨s, c/|c|⟩ / max(|s|, |t|)``, mean over the batch (Wang et al., arXiv 2305.17007).

    ``student`` s and ``teacher`` t are pooled features ``(B, C)``; c is the label's row of ``centres (K, C)``, the
    teacher's class means. The loss is in [0, 2]; it is 0 where s has the direction of c and is no shorter than t.
    """
    alike(student=student, teacher=teacher)
    along = (student * F.normalize(centres[labels], dim=1)).sum(1)
    longer = torch.maximum(student.norm(dim=1), teacher.norm(dim=1)).clamp_min(1e-12)
    return (1 - along / longer).mean()


@dataclass(frozen=True)
class FeatureNorm(AtLayer):
    """KD++: labels, soft targets, and :func:`feature_norm_loss` on features pooled over time and space. Where the
    student has other channels than the teacher, they pass a 1×1×1 convolution that is trained with the student."""

    tap: Tap = -1
    weight: float = 1.0
    soft: float = 1.0
    temperature: float = 4.0

    def beside(self, channels):
        ours, theirs = channels[0]
        return {} if ours == theirs else {"regressor": nn.Conv3d(ours, theirs, kernel_size=1)}

    def prepare(self, nets, batches) -> Tensor:
        """The teacher's features, summed over each class's training clips, ``(K, C)``: they have the directions of the
        class means."""
        sums = torch.zeros(())
        for batch in batches:
            with torch.no_grad():
                logits, (features,) = read(nets, "teacher", batch, self.taps)
            of_class = F.one_hot(batch.labels, logits.shape[1]).float()
            sums = sums + of_class.T @ features.mean((2, 3, 4))
        return sums

    def terms(self, nets, logits, features, batch, progress):
        ((ours, theirs),) = features
        if "regressor" in nets:
            ours = nets["regressor"](ours)
        ours, theirs = ours.mean((2, 3, 4)), theirs.mean((2, 3, 4))
        norm = feature_norm_loss(ours, theirs, progress.prepared, batch.labels)
        soft = kd_loss(*logits, self.temperature)
        return {"soft": (self.soft, soft), "norm": (self.weight, norm)}


def review_loss(student_features: Tensor, teacher_features: Tensor) -> Tensor:
    """ReviewKD's hierarchical context loss of one stage (Chen et al., arXiv 2104.09044): ``Σ_l w_l MSE_l / Σ_l w_l``.

    Features are ``(B, C, T, H, W)``. Level 0 compares all places, with weight 1; further levels compare features
    average-pooled to at most 4, 2 and 1 places on each axis, each with half the weight of the level before. A level
    that pools nothing is left out. An axis on which the features differ is first pooled to the shorter length. Raises
    ``ValueError`` for other channels.
    """
    alike(
        student_channels=student_features[:, :, 0, 0, 0],
        teacher_channels=teacher_features[:, :, 0, 0, 0],
    )
    student, teacher = _pooled(student_features, teacher_features)
    weight, weights, loss = 1.0, 1.0, F.mse_loss(student, teacher)
    for most in (4, 2, 1):
        t, h, w = (min(most, n) for n in student.shape[2:])
        if (t, h, w) != student.shape[2:]:
            weight /= 2
            ours = F.adaptive_avg_pool3d(student, (t, h, w))
            theirs = F.adaptive_avg_pool3d(teacher, (t, h, w))
            loss = loss + weight * F.mse_loss(ours, theirs)
            weights += weight
    return loss / weights


class Review(nn.ModuleList):
    """ReviewKD's fusion: the student's features, stage by stage → features with the teacher's channels. Each stage is
    mixed with the fused deeper ones by two attention maps, from the deepest stage upwards; ``width`` is the number of
    channels of that mixture."""

    def __init__(self, channels: list[tuple[int, int]], width: int):
        def step(kernel: int, a: int, b: int) -> nn.Sequential:
            convolution = nn.Conv3d(a, b, kernel, padding=kernel // 2, bias=False)
            return nn.Sequential(convolution, nn.BatchNorm3d(b))

        super().__init__()
        for student, teacher in channels:
            stage: dict[str, nn.Module] = {
                "into": step(1, student, width),
                "out": step(3, width, teacher),
            }
            last = len(self) + 1 == len(channels)
            stage["attention"] = nn.Identity() if last else nn.Conv3d(2 * width, 2, 1)
            self.append(nn.ModuleDict(stage))

    def forward(self, features: list[Tensor]) -> list[Tensor]:
        fused, deeper = [], None
        stages = cast(list[nn.ModuleDict], list(self))
        for stage, x in zip(reversed(stages), reversed(features), strict=True):
            x = stage["into"](x)
            if deeper is not None:
                deeper = F.interpolate(deeper, x.shape[2:])
                attention = torch.sigmoid(stage["attention"](torch.cat([x, deeper], 1)))
                x = attention[:, :1] * x + attention[:, 1:] * deeper
            fused.insert(0, stage["out"](x))
            deeper = x
        return fused


@dataclass(frozen=True)
class ReviewKD(Distiller):
    """ReviewKD: each of the teacher's stages ``taps`` teaches the student's same and deeper stages, through
    :class:`Review`; :func:`review_loss`, summed over the stages. By default these are the last four stages that both
    networks have.

    ``warmup`` is the fraction of training over which the weight rises from 0; theirs is 20 of 240 epochs. Their weight
    for CIFAR-100 is 0.6 to 8, and they also compare the pooled last features, which here is the last level of the last
    stage.
    """

    taps: int | tuple[Tap, ...] = 4
    width: int = 16
    weight: float = 1.0
    warmup: float = 20 / 240

    def __post_init__(self):
        super().__post_init__()
        integer(1, width=self.width)

    def beside(self, channels):
        return {"review": Review(channels, self.width)}

    def terms(self, nets, logits, features, batch, progress):
        ours, theirs = zip(*features, strict=True)
        pairs = zip(nets["review"](ours), theirs, strict=True)
        review = total(review_loss(*pair) for pair in pairs)
        return {"review": (self.weight * rise(progress.fraction, self.warmup), review)}
