"""The distillers with which every study compares: DKD, FitNets, attention transfer, SimKD, feature norm and ReviewKD
(docs/methods.md, 1.4 and 2). KD is in ``kdlab.distill.method``, DIST, RKD and others in ``kdlab.distill.relations``.

Each distiller is a pure function and, below, a method with the loss L = CE(z_S, y) + weight · distiller. Student and
teacher see the batch's ``student`` and ``teacher`` views. ``tap`` names the layer that is read in both networks: the
last features are ``net.stages``, those of gated networks ``net.backbone``. We do not know which of several "feature
norm" losses GenKD's paper means; kdlab implements KD++.
"""

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

from kdlab.distill.method import CrossEntropy, check_mixture, kd_loss, rise, weighted_sum
from kdlab.nets.layers import outputs
from kdlab.system.values import alike, fraction, integer, not_negative


def dkd_loss(student_logits: torch.Tensor, teacher_logits: torch.Tensor, labels: torch.Tensor, temperature: float,
             alpha: float, beta: float) -> torch.Tensor:
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

    kl = [F.kl_div(s, t, reduction="none", log_target=True).sum(1)
          for s, t in zip(parts(student_logits), parts(teacher_logits), strict=True)]
    return temperature**2 * (alpha * kl[0] + beta * kl[1]).mean()


def fitnet_loss(student_features: torch.Tensor, teacher_features: torch.Tensor) -> torch.Tensor:
    """Mean squared difference over all elements (Romero et al., arXiv 1412.6550). ``student_features`` are the output
    of the regressor. Raises ``ValueError`` when the shapes differ."""
    if student_features.shape != teacher_features.shape:
        raise ValueError(f"the student's features are {tuple(student_features.shape)} after the regressor, the "
                         f"teacher's {tuple(teacher_features.shape)}; tap a layer at which both have the same time "
                         "and space")
    return F.mse_loss(student_features, teacher_features)


def attention_transfer_loss(student_features: torch.Tensor, teacher_features: torch.Tensor) -> torch.Tensor:
    """Mean over batch and places of ``(q_S − q_T)²`` (Zagoruyko & Komodakis, arXiv 1612.03928).

    q is the attention map of a layer ``(B, C, T, H, W)``: the mean of its squares over channels, flattened and divided
    by its L2 norm. The scale of a layer therefore has no effect, and the sum over places is in [0, 2]. Channels may
    differ. An axis on which the maps differ is average-pooled to the shorter length. The usual reference (mdistiller)
    pools the features before it squares them; where sizes differ, its loss is up to half larger or smaller, and where
    they are equal both agree. Raises ``ValueError`` for different clips.
    """
    alike(student_clips=student_features[:, 0, 0, 0, 0], teacher_clips=teacher_features[:, 0, 0, 0, 0])
    maps = _pooled(*(features.square().mean(1, keepdim=True) for features in (student_features, teacher_features)))
    return F.mse_loss(*(F.normalize(m.flatten(1)) for m in maps))


def _pooled(*features: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """The features, each ``(B, C, T, H, W)``, average-pooled in time and space to the shorter length of both."""
    size = [min(lengths) for lengths in zip(*(each.shape[2:] for each in features), strict=True)]
    return tuple(F.adaptive_avg_pool3d(each, size) for each in features)


def simkd_loss(student_features: torch.Tensor, teacher_features: torch.Tensor) -> torch.Tensor:
    """MSE over all elements, after average pooling of time and space to the shorter length (Chen et al., arXiv
    2203.14001).

    ``student_features`` are the output of a projector to the teacher's channels. Raises ``ValueError`` for other
    channels.
    """
    if student_features.shape[:2] != teacher_features.shape[:2]:
        raise ValueError(f"the student's features are {tuple(student_features.shape)}, the teacher's "
                         f"{tuple(teacher_features.shape)}: give the student a projector to the teacher's channels")
    return F.mse_loss(*_pooled(student_features, teacher_features))


def feature_norm_loss(student: torch.Tensor, teacher: torch.Tensor, centres: torch.Tensor,
                      labels: torch.Tensor) -> torch.Tensor:
    """``1 − ⟨s, c/|c|⟩ / max(|s|, |t|)``, mean over the batch (Wang et al., arXiv 2305.17007).

    ``student`` s and ``teacher`` t are pooled features ``(B, C)``; c is the label's row of ``centres (K, C)``, the
    teacher's class means. The loss is in [0, 2]; it is 0 where s has the direction of c and is no shorter than t.
    """
    alike(student=student, teacher=teacher)
    along = (student * F.normalize(centres[labels], dim=1)).sum(1)
    return (1 - along / torch.maximum(student.norm(dim=1), teacher.norm(dim=1)).clamp_min(1e-12)).mean()


def review_loss(student_features: torch.Tensor, teacher_features: torch.Tensor) -> torch.Tensor:
    """ReviewKD's hierarchical context loss of one stage (Chen et al., arXiv 2104.09044): ``Σ_l w_l MSE_l / Σ_l w_l``.

    Features are ``(B, C, T, H, W)``. Level 0 compares all places, with weight 1; further levels compare features
    average-pooled to at most 4, 2 and 1 places on each axis, each with half the weight of the level before. A level
    that pools nothing is left out. An axis on which the features differ is first pooled to the shorter length. Raises
    ``ValueError`` for other channels.
    """
    alike(student_channels=student_features[:, :, 0, 0, 0], teacher_channels=teacher_features[:, :, 0, 0, 0])
    student, teacher = _pooled(student_features, teacher_features)
    terms = [F.mse_loss(student, teacher)]
    for most in (4, 2, 1):
        if (size := torch.Size(min(most, n) for n in student.shape[2:])) != student.shape[2:]:
            terms.append(F.mse_loss(*(F.adaptive_avg_pool3d(each, size) for each in (student, teacher))))
    weights = [0.5**level for level in range(len(terms))]
    return sum(w * term for w, term in zip(weights, terms, strict=True)) / sum(weights)


def _teacher(nets, batch, taps=()):
    with torch.no_grad():
        return outputs(nets["teacher"], batch.views["teacher"], taps)


def _channels(nets, batches, taps) -> list[tuple[int, int]]:
    """The channels of student and teacher at each of ``taps``, read from one clip of ``batches``."""
    batch, channels = next(iter(batches)), []
    for name in ("student", "teacher"):
        was_training = nets[name].training
        with torch.no_grad():
            found = outputs(nets[name].eval(), batch.views[name][:1], taps).taps
        nets[name].train(was_training)
        channels.append([found[tap].shape[1] for tap in taps])
    return list(zip(*channels, strict=True))


class Distiller(CrossEntropy):
    """Cross-entropy with weight ``labels``, plus the terms of a subclass.
    ``terms(nets, student, teacher, batch, progress)`` receives the outputs of both networks and returns pairs of weight
    and term, by name."""

    labels = 1.0

    def losses(self, nets, batch, progress):
        """Yield the weighted sum of cross-entropy (nats, mean over the batch) and terms, and each of them
        unweighted."""
        taps = getattr(self, "taps", ())
        teacher = _teacher(nets, batch, taps)
        student = outputs(nets["student"], batch.views["student"], taps)
        terms = {"ce": (self.labels, F.cross_entropy(student.logits, batch.labels))}
        yield "net", *weighted_sum(terms | self.terms(nets, student, teacher, batch, progress))


class AtLayer(Distiller):
    """A distiller that reads the layer ``tap`` of both networks."""

    @property
    def taps(self) -> tuple[str, ...]:
        return (self.tap,)


@dataclass(frozen=True)
class DecoupledKD(Distiller):
    """DKD. The defaults are the authors' for CIFAR-100 (their best β depends on the teacher). ``warmup`` is the
    fraction of training over which the weight of the term rises from 0; theirs is 20 of 240 epochs."""

    temperature: float = 4.0
    alpha: float = 1.0
    beta: float = 8.0
    weight: float = 1.0
    warmup: float = 20 / 240

    def __post_init__(self):
        check_mixture(self.temperature, 0)
        not_negative(alpha=self.alpha, beta=self.beta, weight=self.weight)
        fraction(warmup=self.warmup)

    def terms(self, nets, student, teacher, batch, progress):
        dkd = dkd_loss(student.logits, teacher.logits, batch.labels, self.temperature, self.alpha, self.beta)
        return {"dkd": (rise(progress.fraction, self.warmup) * self.weight, dkd)}


@dataclass(frozen=True)
class FitNet(AtLayer):
    """FitNets' hint at the layer ``tap`` of both networks, through a 1×1×1 convolution that is trained with the
    student.

    The paper first trains the lower half on the hint alone, then the whole network with KD. Here labels and hint are
    trained together, as in later comparisons of distillers, which also use the ``weight`` of 100.
    """

    tap: str = "net.stages.2"
    weight: float = 100.0

    def __post_init__(self):
        not_negative(weight=self.weight)

    def extra_nets(self, nets, batches, seed: int, needed=None) -> dict[str, nn.Module]:
        """The regressor. One clip of ``batches`` determines its channels; ``seed`` alone determines its weights."""
        channels, = _channels(nets, batches, self.taps)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return {"regressor": nn.Conv3d(*channels, kernel_size=1)}

    def networks_by_optimiser(self, nets) -> dict[str, list[str]]:
        """Student and regressor share one optimiser."""
        return {"net": ["student", "regressor"]}

    def terms(self, nets, student, teacher, batch, progress):
        return {"hint": (self.weight, fitnet_loss(nets["regressor"](student.taps[self.tap]), teacher.taps[self.tap]))}


@dataclass(frozen=True)
class AttentionTransfer(Distiller):
    """Attention transfer, summed over the layers ``taps`` of both networks. The ``weight`` of 1000 is the authors' for
    a *mean* over batch and places; they divide β = 10³ by batch and places and apply it to the sum."""

    taps: tuple[str, ...] = ("net.stages.1", "net.stages.2", "net.stages.3")
    weight: float = 1000.0

    def __post_init__(self):
        not_negative(weight=self.weight)

    def terms(self, nets, student, teacher, batch, progress):
        maps = sum(attention_transfer_loss(student.taps[tap], teacher.taps[tap]) for tap in self.taps)
        return {"attention": (self.weight, maps)}


@dataclass(frozen=True)
class SimKD(AtLayer):
    """The student learns only the teacher's features and reuses its head; it never reads labels.

    The head is everything outside ``tap``. The teacher's must fit the student's (with a projector:
    ``TinyC3D.projector``).
    """

    tap: str = "net.stages"
    labels = 0.0

    def extra_nets(self, nets, batches, seed: int, needed=None) -> dict:
        """Copy the teacher's head into the student; return no further networks. The head receives no gradient, so it
        does not change. Raises ``ValueError`` where the heads' shapes differ."""
        own, head = ({k: v for k, v in nets[name].state_dict().items()
                      if k.startswith("net.") and not k.startswith(f"{self.tap}.")} for name in ("student", "teacher"))
        if {k: v.shape for k, v in own.items()} != {k: v.shape for k, v in head.items()}:
            raise ValueError(f"the teacher's head ({', '.join(head)}) does not fit the student: build both alike, the "
                             "student with a projector to the teacher's channels")
        nets["student"].load_state_dict(head, strict=False)
        return {}

    def terms(self, nets, student, teacher, batch, progress):
        return {"features": (1.0, simkd_loss(student.taps[self.tap], teacher.taps[self.tap]))}


@dataclass(frozen=True)
class FeatureNorm(AtLayer):
    """KD++: labels, soft targets, and :func:`feature_norm_loss` on features pooled over time and space."""

    tap: str = "net.stages"
    weight: float = 1.0
    soft: float = 1.0
    temperature: float = 4.0

    def __post_init__(self):
        check_mixture(self.temperature, 0)
        not_negative(weight=self.weight, soft=self.soft)

    def prepare(self, nets, batches) -> torch.Tensor:
        """The teacher's features, summed over each class's training clips, ``(K, C)``: they have the directions of the
        class means."""
        sums = 0
        for batch in batches:
            teacher = _teacher(nets, batch, self.taps)
            of = F.one_hot(batch.labels, teacher.logits.shape[1]).float()
            sums = sums + of.T @ teacher.taps[self.tap].mean((2, 3, 4))
        return sums

    def terms(self, nets, student, teacher, batch, progress):
        pooled = (each.taps[self.tap].mean((2, 3, 4)) for each in (student, teacher))
        return {"soft": (self.soft, kd_loss(student.logits, teacher.logits, self.temperature)),
                "norm": (self.weight, feature_norm_loss(*pooled, progress.prepared, batch.labels))}


class Review(nn.ModuleList):
    """ReviewKD's fusion: the student's features, stage by stage → features with the teacher's channels. Each stage is
    mixed with the fused deeper ones by two attention maps, from the deepest stage upwards; ``width`` is the number of
    channels of that mixture."""

    def __init__(self, channels: list[tuple[int, int]], width: int):
        def step(kernel: int, a: int, b: int) -> nn.Sequential:
            return nn.Sequential(nn.Conv3d(a, b, kernel, padding=kernel // 2, bias=False), nn.BatchNorm3d(b))

        super().__init__(nn.ModuleDict({
            "into": step(1, student, width), "out": step(3, width, teacher),
            "attention": nn.Conv3d(2 * width, 2, 1) if k + 1 < len(channels) else nn.Identity(),
        }) for k, (student, teacher) in enumerate(channels))

    def forward(self, features: list[torch.Tensor]) -> list[torch.Tensor]:
        found, deeper = [], None
        for stage, x in zip(reversed(self), reversed(features), strict=True):
            x = stage["into"](x)
            if deeper is not None:
                deeper = F.interpolate(deeper, x.shape[2:])
                own, other = torch.sigmoid(stage["attention"](torch.cat([x, deeper], 1))).chunk(2, 1)
                x = own * x + other * deeper
            found.append(stage["out"](x))
            deeper = x
        return found[::-1]


@dataclass(frozen=True)
class ReviewKD(Distiller):
    """ReviewKD: each of the teacher's stages ``taps`` teaches the student's same and deeper stages, through
    :class:`Review`; :func:`review_loss`, summed over the stages.

    ``warmup`` is the fraction of training over which the weight rises from 0; theirs is 20 of 240 epochs. Their weight
    for CIFAR-100 is 0.6 to 8, and they also compare the pooled last features, which here is the last level of the last
    stage.
    """

    taps: tuple[str, ...] = ("net.stages.0", "net.stages.1", "net.stages.2", "net.stages.3")
    width: int = 16
    weight: float = 1.0
    warmup: float = 20 / 240

    def __post_init__(self):
        integer(1, width=self.width)
        not_negative(weight=self.weight)
        fraction(warmup=self.warmup)

    def extra_nets(self, nets, batches, seed: int, needed=None) -> dict[str, nn.Module]:
        """The fusion. One clip of ``batches`` determines its channels; ``seed`` alone determines its weights."""
        channels = _channels(nets, batches, self.taps)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return {"review": Review(channels, self.width)}

    def networks_by_optimiser(self, nets) -> dict[str, list[str]]:
        """Student and fusion share one optimiser."""
        return {"net": ["student", "review"]}

    def terms(self, nets, student, teacher, batch, progress):
        made = nets["review"]([student.taps[tap] for tap in self.taps])
        review = sum(review_loss(one, teacher.taps[tap]) for one, tap in zip(made, self.taps, strict=True))
        return {"review": (self.weight * rise(progress.fraction, self.warmup), review)}
