"""Small things around a network: the input statistics it was made for, and only the classes that can be right."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from kdlab.nets.video import TinyR2Plus1D, WrongWeights, stages
from kdlab.system.values import finite, positive

#: Mean and standard deviation per channel (RGB in [0, 1]) of ImageNet's photographs, which are not dark.
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@dataclass(frozen=True)
class WithStatistics:
    """The network ``of`` behind fixed input ``statistics`` (mean, deviation), not those of the training clips' view.

    Under ImageNet's a dark clip is nearly constant at −2, and zero padding draws a bright frame around it
    (docs/methods.md, 1): the control for every comparison of lights.
    """

    of: TinyR2Plus1D = TinyR2Plus1D()
    statistics: tuple[tuple[float, ...], tuple[float, ...]] = IMAGENET

    def __post_init__(self):
        mean, deviation = self.statistics
        finite(mean=list(mean))
        positive(deviation=list(deviation))

    @property
    def stages(self) -> tuple[str, ...]:
        return stages(self.of)

    def make(self, num_classes: int) -> nn.Module:
        return self.of.make(num_classes)


class Narrowed(nn.Module):
    """``net`` with the logits of some of its classes only, in the order of ``kept``."""

    def __init__(self, net: nn.Module, kept: Sequence[int]):
        super().__init__()
        self.net = net
        self.register_buffer("kept", torch.tensor(kept), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits ``(B, len(kept))``."""
        return self.net(x)[:, self.kept]


def for_classes(net: nn.Module, classes: Sequence[str], wanted: Sequence[str]) -> nn.Module:
    """``net``, trained on ``classes``, as a network for ``wanted``: itself where they are equal. Raises
    :class:`kdlab.nets.video.WrongWeights` naming a wanted class that it was not trained on."""
    if list(classes) == list(wanted):
        return net
    if unknown := [name for name in wanted if name not in classes]:
        raise WrongWeights(f"the teacher does not know {', '.join(unknown)}; it was trained on {', '.join(classes)}. "
                           "Train it on these clips' classes, or leave those clips out.")
    return Narrowed(net, [list(classes).index(name) for name in wanted])
