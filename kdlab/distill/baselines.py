"""The distillers every study compares with: DKD, FitNets and attention transfer (docs/methods.md, 1.4). KD is
``losses.kd_loss`` in ``dual_light.DualLight``.

Each is a pure function and, below, a method in the loop's sense (see ``dual_light``) with the loss

    L = CE(z_S, y) + weight · distiller

The student and the teacher see the batch's ``student`` and ``teacher`` views; layers are named as in the bare network.
"""

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

from kdlab.distill.losses import check_mixture
from kdlab.distill.method import CrossEntropy
from kdlab.layers import outputs
from kdlab.values import alike, fraction, not_negative, positive

__all__ = ["AttentionTransfer", "DecoupledKD", "FitNet", "attention_transfer_loss", "dkd_loss", "fitnet_loss"]

def dkd_loss(student_logits: torch.Tensor, teacher_logits: torch.Tensor, labels: torch.Tensor, temperature: float,
             alpha: float, beta: float) -> torch.Tensor:
    """``t² [α KL(b_T ‖ b_S) + β KL(o_T ‖ o_S)]``, mean over the batch (Zhao et al., arXiv 2203.08679).

    Of softened probabilities, b is (the label's, all others' together) and o how the others share theirs; logits are
    ``(B, K)``. With α = 1 and β = 1 − b_T(label) a sample's loss is that of ``losses.kd_loss``; DKD's point is that its
    β does not shrink where the teacher is sure.
    """
    alike(student_logits=student_logits, teacher_logits=teacher_logits)
    alike(labels=labels, clips=student_logits[:, 0])
    positive(temperature=temperature)
    not_negative(alpha=alpha, beta=beta)
    is_label = F.one_hot(labels, student_logits.shape[1]).bool()

    def parts(logits):
        log_p = F.log_softmax(logits / temperature, dim=1)
        others = log_p[~is_label].view(len(logits), -1)
        return torch.stack([log_p[is_label], others.logsumexp(1)], 1), F.log_softmax(others, dim=1)

    kl = [F.kl_div(s, t, reduction="none", log_target=True).sum(1)
          for s, t in zip(parts(student_logits), parts(teacher_logits), strict=True)]
    return temperature**2 * (alpha * kl[0] + beta * kl[1]).mean()


def fitnet_loss(student_features: torch.Tensor, teacher_features: torch.Tensor) -> torch.Tensor:
    """Mean squared difference over all elements (Romero et al., arXiv 1412.6550); the student's features come out of a
    regressor. Raises ``ValueError`` when the shapes differ."""
    if student_features.shape != teacher_features.shape:
        raise ValueError(
            f"the student's features are {tuple(student_features.shape)} after the regressor, the teacher's "
            f"{tuple(teacher_features.shape)}; tap a layer at which both networks have the same time and space"
        )
    return F.mse_loss(student_features, teacher_features)


def attention_transfer_loss(student_features: torch.Tensor, teacher_features: torch.Tensor) -> torch.Tensor:
    """Mean over batch and places of ``(q_S − q_T)²`` (Zagoruyko & Komodakis, arXiv 1612.03928).

    q is where a layer ``(B, C, T, H, W)`` is active: the mean of its squares over channels, flattened and divided by
    its L2 norm, so a layer's scale does not matter and the sum over places is in [0, 2]. Channels may differ; an axis
    on which the maps differ is average-pooled to the shorter one. Raises ``ValueError`` for different clips.
    """
    alike(student_clips=student_features[:, 0, 0, 0, 0], teacher_clips=teacher_features[:, 0, 0, 0, 0])
    maps = [features.square().mean(1) for features in (student_features, teacher_features)]
    size = [min(lengths) for lengths in zip(maps[0].shape[1:], maps[1].shape[1:], strict=True)]
    student, teacher = (F.normalize(F.interpolate(m[:, None], size, mode="area").flatten(1)) for m in maps)
    return F.mse_loss(student, teacher)


# --- methods ---------------------------------------------------------------------------------------------------


def _both(nets, batch, taps=()):
    """The outputs of the student and of the teacher, which gets no gradient, each on its own view."""
    with torch.no_grad():
        teacher = outputs(nets["teacher"], batch.views["teacher"], taps)
    return outputs(nets["student"], batch.views["student"], taps), teacher


@dataclass(frozen=True)
class DecoupledKD(CrossEntropy):
    """DKD. The defaults are its authors' for CIFAR-100 (their best β depends on the teacher); ``warmup`` is the
    fraction of training over which the term rises from 0, their 20 of 240 epochs."""

    temperature: float = 4.0
    alpha: float = 1.0
    beta: float = 8.0
    weight: float = 1.0
    warmup: float = 20 / 240

    def __post_init__(self):
        check_mixture(self.temperature, 0)
        not_negative(alpha=self.alpha, beta=self.beta, weight=self.weight)
        fraction(warmup=self.warmup)

    def losses(self, nets, batch, progress):
        """Yield cross-entropy plus DKD, with the two beside it (nats, mean over the batch)."""
        student, teacher = _both(nets, batch)
        ce = F.cross_entropy(student.logits, batch.labels)
        dkd = dkd_loss(student.logits, teacher.logits, batch.labels, self.temperature, self.alpha, self.beta)
        risen = min(1.0, progress.fraction / self.warmup) if self.warmup else 1.0
        yield "net", ce + risen * self.weight * dkd, {"ce": ce, "dkd": dkd}


@dataclass(frozen=True)
class FitNet(CrossEntropy):
    """FitNets' hint at the layer ``tap`` of both networks, through a 1×1×1 convolution that trains with the student.

    The paper first trains the lower half on the hint alone, then all on KD; here, as in later comparisons of distillers
    (whose ``weight`` of 100 this is), labels and hint are learnt together.
    """

    tap: str = "net.stages.2"
    weight: float = 100.0

    def __post_init__(self):
        not_negative(weight=self.weight)

    @property
    def taps(self) -> tuple[str, ...]:
        """The layers that are read of both networks."""
        return (self.tap,)

    def extra_nets(self, nets, batches, seed: int, needed=None) -> dict[str, nn.Module]:
        """The regressor, its channels read off one clip of ``batches`` and its weights decided by ``seed`` alone."""
        batch, channels = next(iter(batches)), []
        for name in ("student", "teacher"):
            was_training = nets[name].training
            with torch.no_grad():
                features = outputs(nets[name].eval(), batch.views[name][:1], [self.tap]).taps[self.tap]
            nets[name].train(was_training)
            channels.append(features.shape[1])
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return {"regressor": nn.Conv3d(*channels, kernel_size=1)}

    def parts(self, nets) -> dict[str, list[str]]:
        """Student and regressor share the optimiser. Raises ``ValueError`` without a regressor."""
        if "regressor" not in nets:
            raise ValueError("FitNet trains a regressor too: add what its extra_nets gives to the networks")
        return {"net": ["student", "regressor"]}

    def losses(self, nets, batch, progress):
        """Yield cross-entropy (nats) plus the weighted hint, with the two beside it."""
        student, teacher = _both(nets, batch, [self.tap])
        ce = F.cross_entropy(student.logits, batch.labels)
        hint = fitnet_loss(nets["regressor"](student.taps[self.tap]), teacher.taps[self.tap])
        yield "net", ce + self.weight * hint, {"ce": ce, "hint": hint}


@dataclass(frozen=True)
class AttentionTransfer(CrossEntropy):
    """Attention transfer, summed over the layers ``taps`` of both networks. ``weight`` 1000 is the authors' for the
    *mean* over batch and places: their β of 10³ divided by batch and places, on the sum."""

    taps: tuple[str, ...] = ("net.stages.1", "net.stages.2", "net.stages.3")
    weight: float = 1000.0

    def __post_init__(self):
        not_negative(weight=self.weight)

    def losses(self, nets, batch, progress):
        """Yield cross-entropy (nats) plus the weighted maps' distance, with the two beside it."""
        student, teacher = _both(nets, batch, self.taps)
        ce = F.cross_entropy(student.logits, batch.labels)
        attention = sum(attention_transfer_loss(student.taps[tap], teacher.taps[tap]) for tap in self.taps)
        yield "net", ce + self.weight * attention, {"ce": ce, "attention": attention}
