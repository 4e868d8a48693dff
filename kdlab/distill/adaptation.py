"""A trained network and clips without labels: what can be had without a teacher, and first of all without a loss.

Each is a method whose recipe has a ``start``. In training mode batch norm re-estimates its statistics whatever the
loss is, so :class:`Passes` and :class:`ReEstimated` are the controls of all that trains on other clips than its start.
"""

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

from kdlab.distill.method import CrossEntropy


@dataclass(frozen=True)
class AsItIs:
    """The network stays as it began, to the bit: its run is what the start says of other clips, or of another view of
    them, and can teach there."""

    def parts(self, nets) -> dict[str, list[str]]:
        """Which networks each optimiser owns."""
        return {"net": ["student"]}

    def losses(self, nets, batch, progress):
        """Yield a loss of 0 that no weight knows of: without a gradient an optimiser leaves a weight alone, which for a
        gradient of 0 it would let decay."""
        yield "net", torch.zeros((), device=batch.views["student"].device, requires_grad=True), {}


@dataclass(frozen=True)
class Passes(AsItIs):
    """Training-mode passes without a loss: batch norm's moving averages go on, and no weight changes."""

    def losses(self, nets, batch, progress):
        """Show the batch to the student, in training mode; yield as :class:`AsItIs`."""
        with torch.no_grad():
            nets["student"](batch.views["student"])
        yield from super().losses(nets, batch, progress)


@dataclass(frozen=True)
class ReEstimated(Passes):
    """Batch norm's statistics forgotten, and those of the training clips in their place: the mean over all batches of
    all passes (AdaBN, Li et al., arXiv 1603.04779; Schneider et al., arXiv 2006.16971). No weight changes."""

    def prepare(self, nets, batches) -> None:
        """Forget the statistics; from now on every batch counts alike."""
        for norm in norms(nets["student"]):
            if isinstance(norm, nn.modules.batchnorm._BatchNorm) and norm.training:  # else its statistics stay
                norm.reset_running_stats()
                norm.momentum = None


@dataclass(frozen=True)
class EntropyMinimisation(CrossEntropy):
    """The entropy of what the student says is made small, by the scales and shifts of its norms alone (Tent, Wang et
    al., arXiv 2006.10726); theirs is online on test clips, here are training clips and an end."""

    def prepare(self, nets, batches) -> None:
        """Let no weight but the norms' be trained, and of those none that is frozen."""
        trained = [w for norm in norms(nets["student"]) for w in norm.parameters(recurse=False) if w.requires_grad]
        nets["student"].requires_grad_(False)
        for weight in trained:
            weight.requires_grad_(True)

    def losses(self, nets, batch, progress):
        """Yield the mean entropy in nats of the student's answers to the batch."""
        log_p = F.log_softmax(nets["student"](batch.views["student"]), dim=-1)
        nats = -(log_p.exp() * log_p).sum(-1).mean()  # finite, and so is its gradient, also where p rounds to 0
        yield "net", nats, {"entropy": nats}


@dataclass(frozen=True)
class PseudoLabels(CrossEntropy):
    """Cross-entropy with the class that the frozen teacher finds likeliest, as if it were the label (Lee 2013; there
    the teacher is the student itself, as it is at that step)."""

    def losses(self, nets, batch, progress):
        """Yield the cross-entropy in nats, mean over the batch."""
        with torch.no_grad():
            classes = nets["teacher"](batch.views["teacher"]).argmax(-1)
        ce = F.cross_entropy(nets["student"](batch.views["student"]), classes)
        yield "net", ce, {"pseudo": ce}


def norms(net: nn.Module) -> list[nn.Module]:
    """The batch, group and instance norms anywhere in ``net``."""
    return [layer for layer in net.modules() if isinstance(layer, (nn.modules.batchnorm._BatchNorm, nn.GroupNorm))]
