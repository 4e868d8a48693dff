"""The losses of a temporal detector on labelled segments, and GenKD for detection (arXiv 2312.08644; docs/methods.md,
2.3).

The losses are those of AFSD (arXiv 2103.13137), with sigmoid classes. A prior inside a segment learns that segment. A
prior inside several learns the shortest, and all its classes where one segment is annotated under two. With N such
priors, the loss of each stage is

    L = [ Σ focal(z, y)  +  Σ⁺ (1 − IoU*(p, s))  +  w₁ Σ⁺ |p − s| / |s|  +  w_q Σ⁺ BCE(q, tIoU(p, s)) ] / N

Σ runs over all priors, Σ⁺ over those that learn a segment s; p is the predicted segment, IoU* the generalised IoU. The
second stage learns only where the first stage has a tIoU of at least 0.5.

Detectors with boundary maps also learn starts and ends from these maps and from spliced windows. A *map*
``(B, 2C, T)`` covers T equal parts of a window; half of its channels detect starts, the other half ends. Segments are
in steps. All constants are those of the released code, except that the released code rounds the ends of a segment to
whole steps.

GenKD is as in :mod:`kdlab.papers.generative.method`, with the detection loss L_det (the sum of the losses above) in
place of the class loss. Each term is summed over the taps i:

    pass 1   L = Σ_i MSE(F_i, F'_i) + 0.1 KL_i + 0.01 MSE(F'_i, F'_i,T)      F'_i = CVAE_i(F_i, λ_i)
    pass 2   L = L_det + Σ_i 0.5 w MSE(Dec_i(λ_i + ε, λ_i), F_i) + β MSE(λ_i, λ_i,T) + b L_bg

F_i are the backbone's features before the gate; the released code has overwritten them with the gated ones by pass 2.
L_bg trains the detector to predict background on ``F ⊙ (1 − λ)``; b = 0 leaves it out.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kdlab.clips.untrimmed import IGNORED
from kdlab.distill.method import CrossEntropy, weighted_sum
from kdlab.nets.layers import Outputs, outputs
from kdlab.papers.generative.detector import pooled_ends
from kdlab.papers.generative.method import (
    FeatureRepresentation,
    GenerativeDistillation,
    Terms,
    attending,
    attention_of,
)
from kdlab.system.values import not_negative


def overlaps(predicted: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """tIoU in [0, 1] and generalised IoU in (−1, 1] (arXiv 1902.09630) of segments ``(..., 2)``, each ``(...)``. Both
    are equal unless the segments are disjoint."""
    (start, end), (low, high) = predicted.unbind(-1), target.unbind(-1)
    shared = (torch.minimum(end, high) - torch.maximum(start, low)).clamp_min(0)
    union = ((end - start).clamp_min(0) + (high - low) - shared).clamp_min(1e-6)
    hull = (torch.maximum(end, high) - torch.minimum(start, low)).clamp_min(1e-6)
    tiou = shared / union
    return tiou, tiou - (hull - union).clamp_min(0) / hull


def match(priors: Tensor, labels: Tensor, num_classes: int):
    """The targets of ``priors (P,)``: segments ``(B, P, 2)``, classes ``(B, P, K)`` of zeros and ones (all zero:
    background), and a bool mask ``(B, P)`` of the priors to leave out. ``labels (B, N, 3)`` hold start, end and class;
    class −1 is an empty row, −2 a segment to ignore."""
    start, end, label = (column[:, None] for column in labels.unbind(-1))
    inside = (start < priors[:, None]) & (priors[:, None] < end)
    length = torch.where(inside & (label >= 0), end - start, torch.inf)
    shortest, which = length.min(-1)
    chosen = inside & (length == shortest[..., None])
    classes = (
        chosen[..., None] & (label[..., None] == torch.arange(num_classes, device=labels.device))
    ).any(2)
    segments = labels[..., :2].gather(1, which[..., None].expand(-1, -1, 2))
    return segments, classes.float(), (inside & (label == IGNORED)).any(-1) & ~classes.any(-1)


def focal_loss(logits: Tensor, classes: Tensor) -> Tensor:
    """The focal loss (arXiv 1708.02002) of each logit, with alpha 0.25 and gamma 2, in the shape of ``logits``."""
    from torchvision.ops import sigmoid_focal_loss  # a second of imports that only training needs

    return sigmoid_focal_loss(logits, classes, alpha=0.25, gamma=2)


def detection_terms(output: Tensor, priors: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """The four terms of the module's L, each divided by N and summed over the stages: ``focal``, ``tiou``, ``l1`` and
    ``quality``. ``output (B, S, P, K + 3)`` is the output of a :mod:`.detector`. Raises ``ValueError`` for shapes that
    do not fit."""
    if output.ndim != 4 or output.shape[2] != len(priors) or labels.shape[::2] != (len(output), 3):
        raise ValueError(
            f"answers {tuple(output.shape)}, {len(priors)} priors and labels {tuple(labels.shape)} do not "
            "fit: give answers (B, S, P, K + 3), priors (P,) and labels (B, N, 3)"
        )
    segments, classes, ignored = match(priors, labels, output.shape[-1] - 3)
    terms = dict.fromkeys(("focal", "tiou", "l1", "quality"), 0.0)
    for stage, answer in enumerate(output.unbind(1)):
        if stage:
            near = overlaps(output[:, 0, :, -3:-1].detach(), segments)[0] >= 0.5
            classes = classes * near[..., None]
        learns = classes.any(-1)
        count = learns.sum().clamp_min(1)
        focal = focal_loss(answer[..., :-3], classes)[~ignored].sum()
        predicted, wanted = answer[learns][:, -3:-1], segments[learns]
        tiou, generalised = overlaps(predicted, wanted)
        l1 = ((predicted - wanted).abs().mean(-1) / (wanted[:, 1] - wanted[:, 0])).sum()
        quality = F.binary_cross_entropy_with_logits(
            answer[learns][:, -1], tiou.detach(), reduction="sum"
        )
        sums = focal, (1 - generalised).sum(), l1, quality
        for name, new in zip(terms, sums, strict=True):
            terms[name] = terms[name] + new / count
    return terms


def boundary_targets(labels: Tensor, steps: int) -> Tensor:
    """Boundary targets ``(B, 2, steps)`` of zeros and ones: first the starts, then the ends. ``labels (B, N, 3)`` are
    those of :class:`kdlab.clips.untrimmed.WindowBatches`. A boundary is as wide as a tenth of its segment, at least two
    steps, half on either side. Ignored segments have no boundaries."""
    ends, known = labels[..., :2], labels[..., 2] >= 0
    half = (ends.diff(dim=-1) / 10).clamp_min(2) / 2
    low, high = ((ends + way * half).round().clamp(0, steps - 1)[..., None] for way in (-1, 1))
    at = torch.arange(steps, device=labels.device)
    return ((low <= at) & (at <= high) & known[..., None, None]).any(1).to(labels.dtype)


def boundary_loss(both: Tensor, targets: Tensor) -> Tensor:
    """The loss −[y ln p + (1 − y) ln(1 − p)] of the starts plus that of the ends, each a mean over the map's places. p
    is the mean over channels of tanh of the non-negative map ``both``. y are the ``targets (B, 2, steps)`` at the first
    step of each place."""
    p = torch.tanh(both).unflatten(1, (2, -1)).mean(2)
    return 2 * F.binary_cross_entropy(p, F.interpolate(targets, p.shape[2]).to(p.dtype))


def spliced(labels: Tensor, steps: int) -> tuple[Tensor, Tensor, Tensor]:
    """Splice windows: cut one action of each window in two and move background between the parts. Draws come from
    torch's global generator.

    Returns the new order of the frames ``(B, steps)``; ``pieces (B, 2, 3)``, the starts and ends of the action's first
    part, of its second part, and of the background between; and a bool mask ``(B,)`` of the windows that were spliced.
    A window whose actions or background are too short keeps its order. The inserted background is as long as the
    shortest action in ``labels`` (where windows are ``dense``: in the video). The cut action is more than twice as
    long. The background is drawn from all stretches without segments; the released code first draws a gap, and then a
    stretch in it.
    """
    start, end, label = labels.unbind(-1)
    known = label >= 0
    listed = known | (label == IGNORED) & (end <= 0)
    part = torch.where(listed, end - start, steps).amin(1).ceil().clamp_max(steps)[:, None]
    long = known & (end - start > 2 * part)
    which, inside = _drawn(long), _steps_inside(start, end, steps)
    start, end = start.gather(1, which), end.gather(1, which)
    places = ((end - start - part).ceil() - part).clamp_min(1)
    cut = start.ceil() + part + (torch.rand_like(start) * places).floor()

    at = torch.arange(steps, device=labels.device)
    before = F.pad(inside.cumsum(1), (1, 0))  # how many steps before each are inside segments
    until = (at + part).long()
    free = (until <= steps) & (before.gather(1, until.clamp_max(steps)) == before[:, :-1])
    taken = _drawn(free)

    done = long.any(1) & free.any(1)
    behind = taken > start
    first = torch.where(behind, cut, cut - part)  # the first step of the inserted part
    moved = torch.where(behind, (at >= first) & (at < taken + part), (at >= taken) & (at < cut))
    source = torch.where(behind, at - part, at + part)
    source = torch.where((at >= first) & (at < first + part), taken + at - first, source)
    order = torch.where(moved & done[:, None], source, at).long()
    shift = torch.where(behind, part, -part)
    starts = [start + shift.clamp_max(0), first + part, first + 1]
    ends = [first, end + shift.clamp_min(0), first + part - 1]
    return order, torch.stack([torch.cat(starts, 1), torch.cat(ends, 1)], 1), done


def _drawn(allowed: Tensor) -> Tensor:
    """The index ``(B, 1)`` of a random place in each row of the mask ``allowed (B, N)``; 0 where there is none."""
    scores = torch.rand(allowed.shape, device=allowed.device)
    return scores.masked_fill(~allowed, -1).argmax(1, keepdim=True)


def _steps_inside(start: Tensor, end: Tensor, steps: int) -> Tensor:
    """A mask ``(B, steps)`` of the steps that a segment touches."""
    at = torch.arange(steps, device=start.device)
    start, end = start[..., None], end[..., None]
    return ((start < end) & (start < at + 1) & (at < end)).any(1)


def triplet_loss(both: Tensor, pieces: Tensor, done: Tensor, steps: int) -> Tensor:
    """The triplet loss max(0, 1 + |e₁ − s₂| − |e₁ − s₃|), mean over the windows that are ``done``. It draws the end of
    the action's first part to the start of its second part, and away from the start of the inserted background (see
    :func:`spliced`). s and e are the features of the ``pieces``' starts and ends, pooled from the map ``both``.
    Distances are Euclidean over channels, as in torch's ``TripletMarginLoss``."""
    starts, ends = pooled_ends(both, pieces, steps)
    losses = F.triplet_margin_loss(ends[..., 0], starts[..., 1], starts[..., 2], reduction="none")
    return _mean_of(losses, done)


def _mean_of(losses: Tensor, done: Tensor) -> Tensor:
    """The mean of the ``losses (B,)`` of windows that are ``done``; 0 where none is."""
    return (losses * done).sum() / done.sum().clamp_min(1)


#: The boundary maps and their weights relative to the first (released: 1, and 0.1 for each of two branches).
_MAPS = {"net.moments": 1.0, "net.ends": 0.1}


def _of_maps(loss: Callable, taps: dict[str, Tensor], *rest) -> Tensor:
    return sum(share * loss(taps[name], *rest) for name, share in _MAPS.items())


@dataclass(frozen=True)
class Detection(CrossEntropy):
    """The detection loss on labelled segments, without distillation. ``batch.labels (B, N, 3)`` are those of
    :class:`kdlab.clips.untrimmed.WindowBatches`. ``tiou``, ``l1`` (w₁) and ``quality`` (w_q) weigh the terms of the
    module's L.

    ``boundary`` weighs :func:`boundary_loss` and ``splice`` weighs :func:`triplet_loss` on the boundary maps of
    ``Detector(boundaries=True)``; 0 leaves a term out. AFSD's code has tIoU 10, l1 10, quality 1, boundary 1 and
    splice 0.1.
    """

    l1: float = 1.0
    quality: float = 1.0
    tiou: float = 1.0
    boundary: float = 0.0
    splice: float = 0.0

    def __post_init__(self):
        not_negative(**vars(self))

    def networks_by_optimiser(self, nets) -> dict[str, list[str]]:
        """The networks to train. Raises ``ValueError`` where the detector lacks the boundary maps to train."""
        student = nets["student"]
        if self.maps and not any(hasattr(module, "moments") for module in student.modules()):
            raise ValueError(
                f"boundary={self.boundary:g} and splice={self.splice:g} teach maps that this detector has "
                "not: make it as Detector(refine=True, boundaries=True)"
            )
        return super().networks_by_optimiser(nets)

    @property
    def maps(self) -> tuple[str, ...]:
        """The layers that give the boundary maps to train; none by default."""
        return tuple(_MAPS) if self.boundary or self.splice else ()

    def weights(self, net: nn.Module, out: Outputs, labels: Tensor) -> Terms:
        """Name → (weight, term): :func:`detection_terms`, and :func:`boundary_loss` where it has a weight. ``out`` has
        the outputs of ``net`` and of its :attr:`maps`."""
        terms = detection_terms(out.logits, net.priors, labels)
        if self.boundary:
            targets = boundary_targets(labels, net.spec.steps)
            terms["boundary"] = _of_maps(boundary_loss, out.taps, targets)
        # a field of the term's name weighs it; the focal loss has none, and weighs 1
        return {name: (getattr(self, name, 1.0), term) for name, term in terms.items()}

    def spliced(self, student: nn.Module, net: nn.Module, batch, more: tuple[str, ...] = ()):
        """The triplet loss on spliced windows, the outputs of the layers ``more`` on them, the order of their frames
        and the mask of spliced windows (both from :func:`spliced`). ``net`` is the detector inside ``student``."""
        order, pieces, done = spliced(batch.labels, net.spec.steps)
        taps = outputs(student, _in_order(batch.views["student"], order), (*self.maps, *more)).taps
        loss = _of_maps(triplet_loss, taps, pieces, done, net.spec.steps)
        return loss, [taps[name] for name in more], order, done

    def losses(self, nets, batch, progress):
        """Yield the student's loss on its view, and its terms."""
        student = nets["student"]
        out = outputs(student, batch.views["student"], self.maps)
        terms = self.weights(student.net, out, batch.labels)
        if self.splice:
            terms["splice"] = self.splice, self.spliced(student, student.net, batch)[0]
        yield "net", *weighted_sum(terms)


def _in_order(x: Tensor, order: Tensor) -> Tensor:
    """Video ``(B, C, T, H, W)`` with its frames in ``order (B, T)``."""
    return torch.stack([clip[:, its] for clip, its in zip(x, order, strict=True)])


@dataclass(frozen=True)
class _OfDetectors:
    """The detection loss of pass 2, in place of the class loss. ``background`` is b."""

    detection: Detection = Detection()
    background: float = 0.0

    def __post_init__(self):
        super().__post_init__()
        not_negative(background=self.background)

    def networks_by_optimiser(self, nets) -> dict[str, list[str]]:
        """The networks to train, after the checks of ``detection`` and of the GenKD phase."""
        self.detection.networks_by_optimiser(nets)
        return super().networks_by_optimiser(nets)

    @property
    def task_taps(self) -> tuple[str, ...]:
        return self.detection.maps

    def _task_terms(self, student: nn.Module, out: Outputs, labels: Tensor) -> Terms:
        return self.detection.weights(attending(student), out, labels)

    def _detection_terms(self, nets, batch, features, attention) -> Terms:
        terms, bare = {}, attending(nets["student"])
        if self.background:
            logits = bare.detect(bare.gated(features, [1 - where for where in attention]))[..., :-3]
            loss = focal_loss(logits, torch.zeros_like(logits)).sum() / len(logits)
            terms["background"] = self.background, loss
        if self.detection.splice:
            terms |= self._spliced_terms(nets, batch, bare)
        return terms

    def _spliced_terms(self, nets, batch, bare: nn.Module) -> Terms:
        """The triplet loss on spliced windows and, as released, the attention distillation on them, weighted by β."""
        names = bare.taps[len(bare.taps) // 2 :] if self.beta else ()
        loss, attention, order, done = self.detection.spliced(nets["student"], bare, batch, names)
        terms = {"splice": (self.detection.splice, loss)}
        if self.beta:
            theirs = attention_of(nets["teacher"], _in_order(batch.views["teacher"], order))
            apart = sum(
                (a - b).square().flatten(1).mean(1) for a, b in zip(attention, theirs, strict=True)
            )
            terms["spliced_attention"] = self.beta, _mean_of(apart, done)
        return terms


@dataclass(frozen=True)
class DetectionRepresentation(_OfDetectors, FeatureRepresentation):
    """Phase 1 for a detector: the training of a teacher, or the ablation of a student without a teacher."""


@dataclass(frozen=True)
class DetectionDistillation(_OfDetectors, GenerativeDistillation):
    """Phase 2 for a detector, with the paper's ``beta`` of 10 for detection."""

    beta: float = 10.0
