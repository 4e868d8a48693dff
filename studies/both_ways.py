"""Clips that run both ways, and several networks that teach one: the classes of the recipes in real_dark.py.

A run is stale when this file changes, and not when the tries in real_dark.py do.
"""

import hashlib
from dataclasses import dataclass, replace

import torch
from torch import nn
from torch.nn import functional as F

from kdlab.clips.records import Catalogue, ClipRecord
from kdlab.clips.views import MotionMix, View
from kdlab.clips.windows import ClipBatches, Window
from kdlab.distill.method import KD
from kdlab.nets.video import TinyR2Plus1D
from kdlab.night import Night
from kdlab.protocols import Data, Net
from kdlab.train.recipe import Recipe

#: The class that a reversed clip shows, and the class of all other reversed clips.
OPPOSITE = {"Sit": "Stand", "Stand": "Sit"}
REVERSED = "Reversed"
_MARK = "@reversed"


# --- time runs both ways -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class BothWays(Data):
    """The clips of ``night``, and reversed ones. ``others`` tells whether reversed clips of actions without an opposite
    are a class; then each such action gives as many as make that class as large as the others."""

    night: Night
    others: bool = True

    @property
    def name(self) -> str:
        return "night_both" if self.others else "night_opposites"

    def catalogue(self) -> Catalogue:
        """The clips of ``night`` and the reversed ones, of the same group."""
        found = self.night.catalogue()
        classes = (*found.classes, REVERSED) if self.others else found.classes
        step = max(1, len(found.classes) - len(OPPOSITE))
        records = []
        for number, record in enumerate(found.records):
            if shows := OPPOSITE.get(found.classes[record.label]):
                records.append(backwards(record, classes.index(shows)))
            elif self.others and number // len(found.classes) % step == record.label % step:
                records.append(backwards(record, len(classes) - 1))
        return Catalogue(self.name, found.root, classes, (*found.records, *records), found.notes)

    def fingerprint(self) -> str:
        """A hash of the clips of ``night`` and of the way they are reversed."""
        return hashlib.sha256(f"{self.night.fingerprint()} {self.others}".encode()).hexdigest()[:16]


def backwards(record: ClipRecord, label: int) -> ClipRecord:
    """The clip of ``record`` from its end to its beginning, which shows the class ``label``."""
    return replace(record, id=record.id + _MARK, label=label)


@dataclass(frozen=True)
class BothWaysWindow(Window):
    """A window over the whole clip, forwards or backwards as the record asks."""

    def batches(
        self, catalogue: Catalogue, split: str, views: dict[str, View]
    ) -> "BothWaysBatches":
        return BothWaysBatches(catalogue.split(split), views, self)


class BothWaysBatches(ClipBatches):
    """Batches in which the records of :func:`backwards` run backwards."""

    def pixels(self, record, view, frames):
        made = super().pixels(record, view, frames)
        return made[::-1] if record.id.endswith(_MARK) else made


# --- networks that differ, and the one that they teach -----------------------------------------------------------


@dataclass(frozen=True)
class Exposed(MotionMix):
    """Appearance, difference and motion of the clip brightened by ``gamma``, after it was cut: all exposures share the
    cached frames."""

    gamma: float = 2.5

    def finish(self, pixels: torch.Tensor) -> torch.Tensor:
        return super().finish(pixels ** (1 / self.gamma))


@dataclass(frozen=True)
class EveryNth(Net):
    """The network ``of`` on every ``step``-th frame of its input: a window of fewer frames over the same clip."""

    of: TinyR2Plus1D
    step: int = 2

    @property
    def stages(self) -> tuple[str, ...]:
        return tuple(f"1.{name}" for name in self.of.stages)

    def make(self, num_classes: int) -> nn.Module:
        return nn.Sequential(_Thinned(self.step), self.of.make(num_classes))


class _Thinned(nn.Module):
    def __init__(self, step: int):
        super().__init__()
        self.step = step

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x[:, :, self.step // 2 :: self.step]


@dataclass(frozen=True)
class TaughtRecipe(Recipe):
    """A recipe with several teachers, the ``members``, each with its own view of the clip."""

    members: tuple[Recipe, ...] = ()

    def views(self) -> dict[str, View]:
        return super().views() | {role: member.view for role, member in self._roles().items()}

    def needs(self) -> dict[str, Recipe]:
        return super().needs() | self._roles()

    def _roles(self) -> dict[str, Recipe]:
        return {f"member{number}": member for number, member in enumerate(self.members)}


@dataclass(frozen=True)
class EnsembleKD(KD):
    """Distillation from the mean softened probabilities of the members of a :class:`TaughtRecipe`."""

    alpha: float = 0.8

    def extra_nets(self, nets, batches, seed, needed) -> dict[str, nn.Module]:
        return {
            role: run.net().requires_grad_(False)
            for role, run in needed.items()
            if role.startswith("member")
        }

    def soft_targets(self, nets, batch, progress) -> torch.Tensor:
        with torch.no_grad():
            return torch.stack(
                [
                    F.softmax(net(batch.views[role]) / self.temperature, -1)
                    for role, net in nets.items()
                    if role.startswith("member")
                ]
            ).mean(0)
