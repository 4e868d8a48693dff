"""A control of DL-KDD (docs/methods.md, 1.4): does a student gain from brightness without a teacher?"""

from dataclasses import dataclass

import torch
from torch.nn import functional as F

from kdlab.distill.method import CrossEntropy
from kdlab.system.values import fraction, positive


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
            raise ValueError(
                f"gamma needs 0 < low <= high, got {self.low} and {self.high}; above 1 brightens"
            )

    def brightened(self, x: torch.Tensor) -> torch.Tensor:
        """``x^(1/γ)`` for some clips of ``x (B, C, T, H, W)``, pixels in [0, 1]; the other clips are unchanged.

        Each clip is chosen with ``probability`` and has its own γ, uniform in [``low``, ``high``]. Both are drawn from
        torch's global generator, which the loop seeds at each step.
        """
        chosen, place = torch.rand(2, len(x), *[1] * (x.ndim - 1), device=x.device)
        return torch.where(
            chosen < self.probability, x.pow(1 / (self.low + (self.high - self.low) * place)), x
        )

    def losses(self, nets, batch, progress):
        """Yield the cross-entropy in nats, mean over the batch."""
        ce = F.cross_entropy(nets["student"](self.brightened(batch.views["student"])), batch.labels)
        yield "net", ce, {"ce": ce}
