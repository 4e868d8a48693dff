"""The distillers with which every study compares: DKD, FitNets, attention transfer, SimKD, feature norm and ReviewKD
(docs/methods.md, 1.4 and 2). KD is in ``kdlab.distill.method``, DIST, RKD and others in ``kdlab.distill.relations``.

Each distiller is a pure function and, below, a method with the loss L = CE(z_S, y) + weight · distiller. Student and
teacher see the batch's ``student`` and ``teacher`` views. We do not know which of several "feature norm" losses GenKD's
paper means; kdlab implements KD++.

A method reads the networks' own ``stages`` (:class:`kdlab.protocols.Net`), which are numbered as in a list: -1 is the
last one. Numbers count from the end by default, so that networks with different numbers of stages are compared at their
last ones. ``tap`` is the number of a stage or the name of a layer for both networks, or a pair of these, (student's,
teacher's): ``FitNet(tap=("net.stages.2", "net.layer3"))``. In time and space, features of unlike lengths are
average-pooled to the shorter one.
"""

from dataclasses import dataclass, fields

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kdlab.distill.method import CrossEntropy, check_mixture, kd_loss, rise, weighted_sum
from kdlab.nets.layers import bare, layers_of, outputs, trunk
from kdlab.system.values import alike, fraction, integer, not_negative


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


def _pooled(*features: Tensor) -> tuple[Tensor, ...]:
    """The features, each ``(B, C, T, H, W)``, average-pooled in time and space to the shorter length of both."""
    size = [min(lengths) for lengths in zip(*(each.shape[2:] for each in features), strict=True)]
    return tuple(F.adaptive_avg_pool3d(each, size) for each in features)


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
    return F.mse_loss(*_pooled(student_features, teacher_features))


simkd_loss = fitnet_loss  # of the student's projector (Chen et al., arXiv 2203.14001)


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
    maps = _pooled(
        *(
            features.square().mean(1, keepdim=True)
            for features in (student_features, teacher_features)
        )
    )
    return F.mse_loss(*(F.normalize(m.flatten(1)) for m in maps))


def feature_norm_loss(student: Tensor, teacher: Tensor, centres: Tensor, labels: Tensor) -> Tensor:
    """``1 − ⟨s, c/|c|⟩ / max(|s|, |t|)``, mean over the batch (Wang et al., arXiv 2305.17007).

    ``student`` s and ``teacher`` t are pooled features ``(B, C)``; c is the label's row of ``centres (K, C)``, the
    teacher's class means. The loss is in [0, 2]; it is 0 where s has the direction of c and is no shorter than t.
    """
    alike(student=student, teacher=teacher)
    along = (student * F.normalize(centres[labels], dim=1)).sum(1)
    return (
        1 - along / torch.maximum(student.norm(dim=1), teacher.norm(dim=1)).clamp_min(1e-12)
    ).mean()


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
    terms = [F.mse_loss(student, teacher)]
    for most in (4, 2, 1):
        if (size := torch.Size(min(most, n) for n in student.shape[2:])) != student.shape[2:]:
            terms.append(
                F.mse_loss(*(F.adaptive_avg_pool3d(each, size) for each in (student, teacher)))
            )
    weights = [0.5**level for level in range(len(terms))]
    return sum(w * term for w, term in zip(weights, terms, strict=True)) / sum(weights)


ROLES = ("student", "teacher")
#: The number of a stage or the name of a layer; a pair has the student's and the teacher's.
Tap = int | str | tuple[int | str, int | str]


class Distiller(CrossEntropy):
    """Cross-entropy with weight ``labels``, plus the terms of a subclass.

    ``taps`` are the layers that it reads; a number stands for that many of the last stages, or as many as both networks
    have. ``terms(nets, logits, features, batch, progress)`` returns pairs of weight and term, by name; it receives the
    logits of student and teacher, and for each tap the features of both. ``beside(channels)`` returns the networks that
    are trained with the student; ``channels`` are those of both networks at each tap. Fields of type float are at least
    0, a ``temperature`` is above 0, and a ``warmup`` at most 1.
    """

    labels = 1.0
    taps = ()

    def __post_init__(self):
        check_mixture(getattr(self, "temperature", 1.0), 0)
        not_negative(**{f.name: getattr(self, f.name) for f in fields(self) if f.type is float})
        fraction(warmup=getattr(self, "warmup", 0.0))

    def beside(self, channels: list[tuple[int, int]]) -> dict[str, nn.Module]:
        return {}

    def extra_nets(self, nets, batches, seed: int, needed=None) -> dict[str, nn.Module]:
        """The networks ``beside`` the student. One clip of ``batches`` determines their channels; ``seed`` alone
        determines their weights. Raises ``ValueError`` for layers that give no features."""
        _, features = _of_one_clip(nets, next(iter(batches)), self.taps)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return self.beside([(ours.shape[1], theirs.shape[1]) for ours, theirs in features])

    def networks_by_optimiser(self, nets) -> dict[str, list[str]]:
        """The student and the networks ``beside`` it share one optimiser."""
        return {"net": [name for name in nets if name != "teacher"]}

    def losses(self, nets, batch, progress):
        """Yield the weighted sum of cross-entropy (nats, mean over the batch) and terms, and each of them
        unweighted."""
        logits, features = _seen(nets, batch, self.taps)
        terms = {"ce": (self.labels, F.cross_entropy(logits[0], batch.labels))}
        yield "net", *weighted_sum(terms | self.terms(nets, logits, features, batch, progress))


class AtLayer(Distiller):
    """A distiller that reads the layer ``tap``."""

    @property
    def taps(self) -> tuple[Tap, ...]:
        return (self.tap,)


def _seen(nets, batch, taps, clips: int | None = None) -> tuple[tuple, list[tuple]]:
    """The logits of student and teacher for the first ``clips`` of the batch, and for each tap the features of both."""
    with torch.no_grad():
        targets, theirs = _read(nets, "teacher", batch, taps, clips)
    logits, ours = _read(nets, "student", batch, taps, clips)
    return (logits, targets), list(zip(ours, theirs, strict=True))


@torch.no_grad()
def _of_one_clip(nets, batch, taps) -> tuple[tuple, list[tuple]]:
    """:func:`_seen` of the first clip, with the student in evaluation mode."""
    was_training = nets["student"].training
    nets["student"].eval()
    seen = _seen(nets, batch, taps, clips=1)
    nets["student"].train(was_training)
    return seen


def _read(nets, role: str, batch, taps, clips: int | None = None) -> tuple[Tensor, list[Tensor]]:
    """The logits of the network of ``role`` for its view of the batch, and its features ``(B, C, T, H, W)`` at each of
    ``taps``. Raises ``ValueError`` for features of another shape."""
    names = _layers(nets, role, taps)
    try:
        seen = outputs(nets[role], batch.views[role][:clips], names)
    except ValueError as error:
        raise ValueError(f"the {role}: {error}") from error
    for name in names:
        if seen.taps[name].dim() != 5:
            raise ValueError(
                f"layer {name!r} of the {role} gives {tuple(seen.taps[name].shape)}: name a layer with "
                "features (B, C, T, H, W), or (B·T, C, H, W)"
            )
    return seen.logits, [seen.taps[name] for name in names]


def _layers(nets, role: str, taps) -> list[str]:
    """The names of the layers of ``taps`` in the network of ``role``."""
    stages = {role: getattr(bare(nets[role]), "stage_names", ()) for role in ROLES}
    if isinstance(taps, int):
        taps = range(-max(1, min(taps, *map(len, stages.values()))), 0)
    own = [tap[ROLES.index(role)] if isinstance(tap, tuple) else tap for tap in taps]
    try:
        return [stages[role][tap] if isinstance(tap, int) else tap for tap in own]
    except IndexError:
        raise ValueError(
            f"the {role} has {len(stages[role])} stages (kdlab.protocols.Net), and the method reads "
            f"{', '.join(map(str, own))}: give it the numbers or names of layers, or a pair of these, "
            "(student's, teacher's)"
        ) from None


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


@dataclass(frozen=True)
class AttentionTransfer(Distiller):
    """Attention transfer, summed over the layers ``taps``; by default over the last three stages that both networks
    have. The ``weight`` of 1000 is the authors' for a *mean* over batch and places; they divide β = 10³ by batch and
    places and apply it to the sum."""

    taps: int | tuple[Tap, ...] = 3
    weight: float = 1000.0

    def terms(self, nets, logits, features, batch, progress):
        return {
            "attention": (self.weight, sum(attention_transfer_loss(*pair) for pair in features))
        }


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
        own, head = (_head(nets[role].net, *_layers(nets, role, self.taps)) for role in ROLES)
        fits = [weight.shape for weight in own.values()] == [
            weight.shape for weight in head.values()
        ]
        if fits:
            nets["student"].net.load_state_dict(
                dict(zip(own, head.values(), strict=True)), strict=False
            )
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
        (_, wanted), ((_, theirs),) = _of_one_clip(nets, batch, self.taps)
        (name,) = _layers(nets, "student", self.taps)
        hook = layers_of(nets["student"])[name].register_forward_hook(lambda *_: theirs)
        (logits, _), _ = _of_one_clip(nets, batch, ())
        hook.remove()
        return torch.allclose(logits, wanted, rtol=1e-3, atol=1e-4)

    def terms(self, nets, logits, features, batch, progress):
        return {"features": (1.0, simkd_loss(*features[0]))}


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
        sums = 0
        for batch in batches:
            with torch.no_grad():
                logits, (features,) = _read(nets, "teacher", batch, self.taps)
            of = F.one_hot(batch.labels, logits.shape[1]).float()
            sums = sums + of.T @ features.mean((2, 3, 4))
        return sums

    def terms(self, nets, logits, features, batch, progress):
        ((ours, theirs),) = features
        if "regressor" in nets:
            ours = nets["regressor"](ours)
        norm = feature_norm_loss(
            ours.mean((2, 3, 4)), theirs.mean((2, 3, 4)), progress.prepared, batch.labels
        )
        return {
            "soft": (self.soft, kd_loss(*logits, self.temperature)),
            "norm": (self.weight, norm),
        }


def _head(net: nn.Module, layer: str) -> dict[str, Tensor]:
    """The weights of ``net`` that are not in its children up to the ``layer``, which is named with ``net.``."""
    before = trunk(net, layer.removeprefix("net.")).state_dict()
    return {name: weight for name, weight in net.state_dict().items() if name not in before}


class Review(nn.ModuleList):
    """ReviewKD's fusion: the student's features, stage by stage → features with the teacher's channels. Each stage is
    mixed with the fused deeper ones by two attention maps, from the deepest stage upwards; ``width`` is the number of
    channels of that mixture."""

    def __init__(self, channels: list[tuple[int, int]], width: int):
        def step(kernel: int, a: int, b: int) -> nn.Sequential:
            return nn.Sequential(
                nn.Conv3d(a, b, kernel, padding=kernel // 2, bias=False), nn.BatchNorm3d(b)
            )

        super().__init__(
            nn.ModuleDict(
                {
                    "into": step(1, student, width),
                    "out": step(3, width, teacher),
                    "attention": nn.Conv3d(2 * width, 2, 1)
                    if k + 1 < len(channels)
                    else nn.Identity(),
                }
            )
            for k, (student, teacher) in enumerate(channels)
        )

    def forward(self, features: list[Tensor]) -> list[Tensor]:
        found, deeper = [], None
        for stage, x in zip(reversed(self), reversed(features), strict=True):
            x = stage["into"](x)
            if deeper is not None:
                deeper = F.interpolate(deeper, x.shape[2:])
                own, other = torch.sigmoid(stage["attention"](torch.cat([x, deeper], 1))).chunk(
                    2, 1
                )
                x = own * x + other * deeper
            found.append(stage["out"](x))
            deeper = x
        return found[::-1]


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
        fused = nets["review"](ours)
        review = sum(review_loss(*pair) for pair in zip(fused, theirs, strict=True))
        return {"review": (self.weight * rise(progress.fraction, self.warmup), review)}
