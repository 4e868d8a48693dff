"""A teacher without a second light: several networks whose logits are averaged."""

from dataclasses import dataclass

import torch
from torch import nn

from kdlab.clips.records import Catalogue
from kdlab.nets.video import TinyR2Plus1D, build
from kdlab.protocols import Net
from kdlab.train.loop import predict
from kdlab.train.preparing import batches
from kdlab.train.recipe import Inputs, Recipe


class _Together(nn.Module):
    def __init__(self, members: list[nn.Module]):
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Pixels ``(B, C, T, H, W)`` in [0, 1] → the mean of the members' logits, ``(B, K)``."""
        return sum(member(x) for member in self.members) / len(self.members)


@dataclass(frozen=True)
class Together(Net):
    """``count`` networks ``of`` one kind."""

    of: object = TinyR2Plus1D()
    count: int = 3

    def make(self, num_classes: int) -> nn.Module:
        return _Together([build(self.of, num_classes, 0) for _ in range(self.count)])


@dataclass(frozen=True)
class Ensemble(Recipe):
    """The ``members`` as one network. Nothing is trained: give it a method without a loss
    (:class:`kdlab.distill.adaptation.AsItIs`)."""

    members: tuple[Recipe, ...] = ()

    def needs(self) -> dict[str, Recipe]:
        return {f"member_{k}": member for k, member in enumerate(self.members)}

    def inputs(self, needed: dict, catalogue: Catalogue) -> Inputs:
        """The trained members as one network, and the clips on which it predicts."""

        def answers(student: nn.Module, split: str, batch_size: int = 64):
            loaded = batches(self, split)
            records = loaded.records
            return (
                (records, predict(student, loaded.evaluation(batch_size), "student")[0])
                if records
                else ((), None)
            )

        student = _Together([run.net() for run in needed.values()])
        return Inputs({"student": student}, batches(self, "train"), None, answers)
