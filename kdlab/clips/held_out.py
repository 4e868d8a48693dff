"""Any data set with more people held out of training, or with one half of its training scenes; and validation clips in
two halves."""

import hashlib
from dataclasses import dataclass, replace

import numpy as np

from kdlab.clips.catalogue import Catalogue, CatalogueError
from kdlab.system.values import integer


@dataclass(frozen=True)
class HeldOut:
    """The clips ``of`` a data set, of which ``groups`` whole groups are validation and none other.

    Exits are calibrated on one half of them and their thresholds chosen on the other (:func:`halves`), so a set whose
    own validation is a single person is too small.
    """

    of: object
    groups: int = 2

    def __post_init__(self):
        integer(1, groups=self.groups)

    @property
    def name(self) -> str:
        return self.of.name

    def catalogue(self) -> Catalogue:
        """Raises CatalogueError where fewer than ``groups`` + 1 groups are not in test."""
        whole = self.of.catalogue()
        known = sorted({r.group for r in whole.records if r.split != "test"},
                       key=lambda name: hashlib.sha256(name.encode()).digest())
        if len(known) <= self.groups:
            raise CatalogueError(f"{whole.root}: {self.groups} groups cannot be held out of {len(known)} that are "
                                 "not in test; ask for fewer, or name more in a `group` column")
        held = set(known[: self.groups])
        records = tuple(r if r.split == "test" else replace(r, split="val" if r.group in held else "train")
                        for r in whole.records)
        note = f"Held out of training: {', '.join(sorted(held))}."
        return replace(whole, records=records, notes=(*whole.notes, note))

    def fingerprint(self) -> str:
        return self.catalogue().fingerprint()


@dataclass(frozen=True)
class Half:
    """The clips ``of`` a data set, of whose training groups (scenes, people) only every second one is left: the
    ``first`` and each second after it, or the others. Validation and test are untouched.

    What learns on one half has not seen the other, so that a network's answers to clips there are no memory.
    """

    of: object
    first: bool = True

    @property
    def name(self) -> str:
        return f"{self.of.name}-half{1 if self.first else 2}"

    def catalogue(self) -> Catalogue:
        """Raises CatalogueError where the training clips are of one group."""
        whole = self.of.catalogue()
        train = whole.split("train")
        if len({record.group for record in train}) < 2:
            raise CatalogueError(f"{whole.root}: its training clips are of one group, which has no halves; name more "
                                 "in a `group` column")
        kept = {r.id for r, first in zip(train, halves(np.array([r.group for r in train])), strict=True)
                if first == self.first}
        records = tuple(r for r in whole.records if r.split != "train" or r.id in kept)
        return replace(whole, records=records, notes=(*whole.notes, f"Half of the training groups: {self.name}."))

    def fingerprint(self) -> str:
        return self.catalogue().fingerprint()


def with_halves(data):
    """``data`` where its validation clips are of two groups or more, as :func:`halves` needs; else ``HeldOut`` of it.
    """
    return data if len({r.group for r in data.catalogue().split("val")}) > 1 else HeldOut(data)


def halves(groups: np.ndarray) -> np.ndarray:
    """``(N,)`` bool that splits clips in two by their ``groups (N,)``: every second group, in the order of names.

    Raises ``ValueError`` for a single group.
    """
    names, of = np.unique(groups, return_inverse=True)
    if len(names) < 2:
        raise ValueError(f"one group ({names[0]}) cannot both calibrate exits and choose thresholds; hold out two")
    return of % 2 == 0
