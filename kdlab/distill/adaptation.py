"""Adapt a trained network to clips without labels: what is possible without a teacher, and first without a loss.

Each class is a method for a recipe with a ``start``. In training mode batch norm re-estimates its statistics, whatever
the loss is. :class:`Passes` and :class:`ReEstimated` are therefore the controls of every method that trains on other
clips than its start.
"""

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

from kdlab.distill.method import CrossEntropy


@dataclass(frozen=True)
class AsItIs(CrossEntropy):
    """The network stays as it began, bit for bit. The run gives the start's predictions on other clips, or on another
    view of them, and can serve as a teacher there."""

    def losses(self, nets, batch, progress):
        """Yield a loss of 0 that depends on no weight: an optimiser skips a weight without a gradient, but would let it
        decay under a gradient of 0."""
        yield "net", torch.zeros((), device=batch.views["student"].device, requires_grad=True), {}


@dataclass(frozen=True)
class Passes(AsItIs):
    """Training-mode passes without a loss: batch norm updates its moving averages, and no weight changes."""

    def losses(self, nets, batch, progress):
        """Run the student on the batch in training mode; yield the loss of :class:`AsItIs`."""
        with torch.no_grad():
            nets["student"](batch.views["student"])
        yield from super().losses(nets, batch, progress)


@dataclass(frozen=True)
class ReEstimated(Passes):
    """Batch norm's statistics, re-estimated from scratch on the training clips: the mean over all batches of all passes
    (AdaBN, Li et al., arXiv 1603.04779; Schneider et al., arXiv 2006.16971). No weight changes."""

    def prepare(self, nets, batches) -> None:
        """Reset the statistics; from then on every batch has equal weight."""
        for norm in norms(nets["student"]):
            # A frozen norm keeps its own statistics.
            if isinstance(norm, nn.modules.batchnorm._BatchNorm) and norm.training:
                norm.reset_running_stats()
                norm.momentum = None


@dataclass(frozen=True)
class EntropyMinimisation(CrossEntropy):
    """Minimise the entropy of the student's predictions by training only the scales and shifts of its norms (Tent, Wang
    et al., arXiv 2006.10726). Tent adapts online on test clips; this method trains on training clips for a fixed number
    of steps."""

    def prepare(self, nets, batches) -> None:
        """Freeze all weights but those of the norms; norm weights that came frozen stay frozen."""
        own = {w for norm in norms(nets["student"]) for w in norm.parameters(recurse=False)}
        for weight in nets["student"].parameters():
            weight.requires_grad_(weight.requires_grad and weight in own)

    def losses(self, nets, batch, progress):
        """Yield the entropy in nats of the student's predictions, mean over the batch."""
        log_p = F.log_softmax(nets["student"](batch.views["student"]), dim=-1)
        # Value and gradient are finite, also where p rounds to 0.
        nats = -(log_p.exp() * log_p).sum(-1).mean()
        yield "net", nats, {"entropy": nats}


def norms(net: nn.Module) -> list[nn.Module]:
    """The batch and group norms anywhere in ``net``."""
    kinds = nn.modules.batchnorm._BatchNorm, nn.GroupNorm
    return [layer for layer in net.modules() if isinstance(layer, kinds)]
