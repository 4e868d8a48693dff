"""Test clips of a data set that come after those which were read."""

from collections import Counter
from dataclasses import dataclass, replace

from kdlab.clips.catalogue import Catalogue
from kdlab.system.values import whole


@dataclass(frozen=True)
class Later:
    """The test clips ``of`` a data set without the ``first`` so many of each class, in the catalogue's order; it has no
    others. Where a data set's places tell the class, only its own later clips are of the same world: another data seed
    deals the places anew."""

    of: object
    first: int

    def __post_init__(self):
        whole(1, first=self.first)

    @property
    def name(self) -> str:
        return f"{self.of.name}-later{self.first}"

    def catalogue(self) -> Catalogue:
        """Raises ``ValueError`` for a data set with no more test clips of a class than are left out."""
        found, seen, kept = self.of.catalogue(), Counter(), []
        for record in found.split("test"):
            seen[record.label] += 1
            kept += [record] if seen[record.label] > self.first else []
        if lacking := [name for label, name in enumerate(found.classes) if seen[label] <= self.first]:
            raise ValueError(f"{self.of.name} has {seen[found.classes.index(lacking[0])]} test clips of {lacking[0]}: "
                             f"leave out fewer than first={self.first}")
        return replace(found, records=tuple(kept))

    def fingerprint(self) -> str:
        return f"{self.of.fingerprint()}-{self.first}"
