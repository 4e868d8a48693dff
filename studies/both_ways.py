"""People who walk and run in any direction, clips that run both ways, and several networks that teach one: the classes of the
recipes in real_dark.py.

A run is stale when this file changes, and not when the tries in real_dark.py do.
"""

from dataclasses import dataclass, replace
from unittest.mock import patch

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from kdlab.clips.records import Catalogue, ClipRecord
from kdlab.clips.views import MotionMix, View
from kdlab.clips.windows import ClipBatches, Window
from kdlab.distill.method import KD
from kdlab.night import Night, folder, make
from kdlab.night.drawing import clip, stage
from kdlab.protocols import Data
from kdlab.system.files import text_hash
from kdlab.system.paths import data_dir
from kdlab.train.recipe import Recipe

#: The class that a reversed clip shows, and the class of all other reversed clips.
OPPOSITE = {"Sit": "Stand", "Stand": "Sit"}
REVERSED = "Reversed"
_MARK = "@reversed"


# --- time runs both ways -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class BothWays(Data):
    """The clips of ``night``, and reversed ones. Each action without an opposite gives as many reversed clips as make
    their class as large as the others."""

    night: Night

    @property
    def name(self) -> str:
        return "night_both"

    def catalogue(self) -> Catalogue:
        """The clips of ``night`` and the reversed ones, of the same group."""
        found = self.night.catalogue()
        classes = (*found.classes, REVERSED)
        step = max(1, len(found.classes) - len(OPPOSITE))
        records = []
        for number, record in enumerate(found.records):
            if shows := OPPOSITE.get(found.classes[record.label]):
                records.append(backwards(record, classes.index(shows)))
            elif number // len(found.classes) % step == record.label % step:
                records.append(backwards(record, len(classes) - 1))
        return Catalogue(self.name, found.root, classes, (*found.records, *records), found.notes)

    def fingerprint(self) -> str:
        """A hash of the clips of ``night``."""
        return self.night.fingerprint()


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


# --- people who walk and run in any direction --------------------------------------------------------------------

ALL_ALONG = 0.8  # how many walk or run from before the clip to after it
FAR = 2.2  # the distance at which they are nearest / that of `night`, at most
CROSSED = 1.1  # the most that they cross / frame width


@dataclass(frozen=True)
class AnyWay(Night):
    """`night`, of whose people those who walk or run do so :data:`ALL_ALONG`, in any direction and at their own speed.
    All other clips are those of `night`."""

    @property
    def name(self) -> str:
        return f"{super().name}-any"

    def fingerprint(self) -> str:
        return text_hash(f"{super().fingerprint()} any way")

    def catalogue(self) -> Catalogue:
        root, made_by = data_dir() / self.name, f"{make.generator_fingerprint()} any way"
        folder.complete(
            root, make._jobs(self), self.pixels, made_by, _make_one, make._write_index, None, True
        )
        return make._catalogue(self, root, "dark")


def _make_one(job, root) -> None:
    with patch.object(clip, "draw_moment", _moment), patch.object(clip, "place_actor", _placed):
        make._make_one(job, root)


def _moment(class_name, variety, rng, begin):
    moment = stage.draw_moment(class_name, variety, rng, begin)
    if class_name in stage.TRAVELLING and rng.random() < ALL_ALONG:
        return replace(moment, start=-0.5, span=stage.SECONDS + 1)
    return moment


def _placed(class_name, pose, look, view, distance, pan, variety, rng):
    if class_name not in stage.TRAVELLING:
        return stage.place_actor(class_name, pose, look, view, distance, pan, variety, rng)
    facing, way = rng.uniform(0, 2 * np.pi), np.ptp(pose["forward"])
    along, aside = way * np.abs((np.cos(facing), np.sin(facing)))
    middle = distance * rng.uniform(1, FAR) + along / 2
    middle = max(middle, aside * view.focal / (CROSSED * stage.WIDTH))
    yaw = np.rad2deg(facing) + pose["yaw"]
    own = stage.joints(pose, look.height, planted=False)
    return stage.Placed(stage.to_world(own, yaw, np.array([0.0, 0.0, middle])), yaw)


# --- networks that differ, and the one that they teach -----------------------------------------------------------


@dataclass(frozen=True)
class Exposed(MotionMix):
    """Appearance, difference and motion of the clip brightened by ``gamma``, after it was cut: all exposures share the
    cached frames."""

    gamma: float = 2.5

    def finish(self, pixels: torch.Tensor) -> torch.Tensor:
        return super().finish(pixels ** (1 / self.gamma))


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
