"""What a `night` data set is: the five numbers that fix it, and who belongs to which group."""

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from kdlab.system.values import fraction, integer

from .actions import ACTIONS

if TYPE_CHECKING:
    from kdlab.clips.catalogue import Catalogue

SPLITS = ("train", "val", "test")


class NightError(ValueError):
    """A value that no `night` data set can have; the message names it and the values it can have."""


@dataclass(frozen=True)
class Night:
    """The embedded data set: synthetic people performing ARID's actions in the dark, made on this machine.

    classes: some of :data:`ACTIONS`, in the order of the labels; per_class: clips per class in train, val and test;
    variety: 0..1, how far framing, camera, view, tempo, clutter and bodies range (``RANGES``); context: 0..1, the
    probability that place and props tell the class; seed: of the data (a training's seed is another); actor=False
    leaves out the actor and what an actor moves, for the audit of the background.

    A clip depends on (variety, context, seed, actor, split, class, index) alone: a smaller set is a subset of a larger
    one and lies in the same folder. Raises :class:`NightError` on impossible values.
    """

    classes: tuple[str, ...] = ACTIONS
    per_class: tuple[int, int, int] = (24, 4, 12)
    variety: float = 0.5
    context: float = 0.0
    seed: int = 0
    actor: bool = True

    def __post_init__(self) -> None:
        unknown = [name for name in self.classes if name not in ACTIONS]
        if unknown or not self.classes or len(set(self.classes)) != len(self.classes):
            raise NightError(f"classes={self.classes!r}: give different names from {', '.join(ACTIONS)}")
        try:
            integer(0, seed=self.seed, per_class=list(self.per_class))
            fraction(variety=self.variety, context=self.context)
        except ValueError as error:
            raise NightError(str(error)) from None
        if len(self.per_class) != 3 or not any(self.per_class):
            raise NightError(f"per_class={self.per_class!r}: give three counts (train, val, test), e.g. (24, 4, 12)")

    @property
    def name(self) -> str:
        """The folder's name, for people: what changes pixels and nothing else, e.g. ``night-v0.5-c0-s0``."""
        return f"night-v{self.variety:g}-c{self.context:g}-s{self.seed}" + ("" if self.actor else "-empty")

    @property
    def pixels(self) -> dict[str, float | bool]:
        """What decides how the clips of a folder look: all but which and how many there are."""
        return {"variety": self.variety, "context": self.context, "seed": self.seed, "actor": self.actor}

    def fingerprint(self) -> str:
        """Sixteen hex digits of the values and of the generator's sources."""
        values = [list(self.classes), list(self.per_class), *self.pixels.values()]
        from .make import generator_fingerprint

        return hashlib.sha256(json.dumps([values, generator_fingerprint()]).encode()).hexdigest()[:16]

    def catalogue(self) -> "Catalogue":
        """The dark H.264 clips in the data folder; makes those that are missing."""
        from .make import make_night  # the maker knows the specification, so it is imported when it is needed

        return make_night(self)

    def count(self, split: str) -> int:
        """Clips per class in ``split``."""
        return self.per_class[SPLITS.index(split)]


def group_of(spec: Night, split: str, class_name: str, index: int) -> tuple[int, str]:
    """Number and id of the clip's actor-and-place group.

    The eleven clips with one index are dealt to three groups of four, four and three: every group holds different
    classes, lies in one split, and does not change with ``per_class`` or ``classes``.
    """
    order = np.random.default_rng([spec.seed, 1, SPLITS.index(split), index]).permutation(len(ACTIONS))
    number = 3 * index + int(order[ACTIONS.index(class_name)]) // 4
    return number, f"{split}-g{number:04d}"


def streams(spec: Night, *words: int, count: int) -> list[np.random.Generator]:
    """``count`` independent generators for the purpose named by ``words``."""
    children = np.random.SeedSequence([spec.seed, *words]).spawn(count)
    return [np.random.default_rng(child) for child in children]
