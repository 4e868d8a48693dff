"""What all distillers share: the layers of student and teacher that they read, and the networks that are trained beside
the student.

Student and teacher see the batch's ``student`` and ``teacher`` views. A method reads the networks' own ``stages``
(:class:`kdlab.protocols.Net`), which are numbered as in a list: -1 is the last one. Numbers count from the end by
default, so that networks with different numbers of stages are compared at their last ones. ``tap`` is the number of a
stage or the name of a layer for both networks, or a pair of these, (student's, teacher's):
``FitNet(tap=("net.stages.2", "net.layer3"))``. In time and space, features of unlike lengths are average-pooled to the
shorter one.
"""

from collections.abc import Mapping
from dataclasses import fields

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kdlab.distill.method import CrossEntropy, check_mixture, weighted_sum
from kdlab.nets.layers import bare, evaluating, outputs, seeded_weights
from kdlab.system.values import fraction, not_negative

ROLES = ("student", "teacher")
#: The number of a stage or the name of a layer; a pair has the student's and the teacher's.
Tap = int | str | tuple[int | str, int | str]
#: What the student gives, and what the teacher gives.
Pair = tuple[Tensor, Tensor]


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

    def beside(self, channels: list[tuple[int, int]]) -> Mapping[str, nn.Module]:
        return {}

    def terms(
        self, nets: dict[str, nn.Module], logits: Pair, features: list[Pair], batch, progress
    ) -> Mapping[str, tuple[float, Tensor]]:
        raise NotImplementedError(f"{type(self).__qualname__} has no terms()")

    def extra_nets(self, nets, batches, seed: int, needed=None) -> dict[str, nn.Module]:
        """The networks ``beside`` the student. One clip of ``batches`` determines their channels; ``seed`` alone
        determines their weights. Raises ``ValueError`` for layers that give no features."""
        _, features = of_one_clip(nets, next(iter(batches)), self.taps)
        with seeded_weights(seed):
            return {**self.beside([(a.shape[1], b.shape[1]) for a, b in features])}

    def networks_by_optimiser(self, nets) -> dict[str, list[str]]:
        """The student and the networks ``beside`` it share one optimiser."""
        return {"net": [name for name in nets if name != "teacher"]}

    def losses(self, nets, batch, progress):
        """Yield the weighted sum of cross-entropy (nats, mean over the batch) and terms, and each of them
        unweighted."""
        logits, features = seen(nets, batch, self.taps)
        terms = {"ce": (self.labels, F.cross_entropy(logits[0], batch.labels))}
        terms |= self.terms(nets, logits, features, batch, progress)
        yield "net", *weighted_sum(terms)


class AtLayer(Distiller):
    """A distiller that reads the layer ``tap``."""

    tap: Tap

    @property
    def taps(self) -> tuple[Tap, ...]:
        return (self.tap,)


def seen(nets, batch, taps, clips: int | None = None) -> tuple[Pair, list[Pair]]:
    """The logits of student and teacher for the first ``clips`` of the batch, and for each tap the features of both."""
    with torch.no_grad():
        targets, theirs = read(nets, "teacher", batch, taps, clips)
    logits, ours = read(nets, "student", batch, taps, clips)
    return (logits, targets), list(zip(ours, theirs, strict=True))


@torch.no_grad()
def of_one_clip(nets, batch, taps) -> tuple[Pair, list[Pair]]:
    """:func:`seen` of the first clip, with the student in evaluation mode."""
    with evaluating(nets["student"]):
        return seen(nets, batch, taps, clips=1)


def read(nets, role: str, batch, taps, clips: int | None = None) -> tuple[Tensor, list[Tensor]]:
    """The logits of the network of ``role`` for its view of the batch, and its features ``(B, C, T, H, W)`` at each of
    ``taps``. Raises ``ValueError`` for features of another shape."""
    names = layers(nets, role, taps)
    try:
        out = outputs(nets[role], batch.views[role][:clips], names)
    except ValueError as error:
        raise ValueError(f"the {role}: {error}") from error
    for name in names:
        if out.taps[name].dim() != 5:
            raise ValueError(
                f"layer {name!r} of the {role} gives {tuple(out.taps[name].shape)}: name a layer with "
                "features (B, C, T, H, W), or (B·T, C, H, W)"
            )
    return out.logits, [out.taps[name] for name in names]


def layers(nets, role: str, taps) -> list[str]:
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
