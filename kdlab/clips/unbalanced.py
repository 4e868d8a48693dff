"""Any data set with classes that are not equally frequent in training."""

from dataclasses import dataclass, replace

from kdlab.clips.catalogue import Catalogue
from kdlab.system.values import positive


@dataclass(frozen=True)
class Unbalanced:
    """The clips ``of`` a data set: of its first class all training clips are left, of its last one in ``factor``; in
    between the share falls by the same part from class to class. Validation and test are untouched.

    Ten is a usual factor of long-tailed sets (Cui et al., arXiv 1901.05555). Of n clips in each of eleven classes 4.3 n
    are left then.
    """

    of: object
    factor: float = 10.0

    def __post_init__(self):
        positive("10 is usual", factor=self.factor)
        if self.factor < 1:
            raise ValueError(f"factor={self.factor!r}: give at least 1, so many times as frequent is the first class")

    @property
    def name(self) -> str:
        return f"{self.of.name}-unbalanced{self.factor:g}"

    def catalogue(self) -> Catalogue:
        """Of each class the first training clips in the catalogue's order, at least one."""
        whole = self.of.catalogue()
        train, steps = whole.split("train"), max(1, len(whole.classes) - 1)
        kept = set()
        for label in range(len(whole.classes)):
            clips = [record.id for record in train if record.label == label]
            kept.update(clips[: max(1, round(len(clips) * self.factor ** (-label / steps)))])
        records = tuple(record for record in whole.records if record.split != "train" or record.id in kept)
        note = f"Training classes are not equally frequent: the first {self.factor:g} times as often as the last."
        return replace(whole, records=records, notes=(*whole.notes, note))

    def fingerprint(self) -> str:
        return self.catalogue().fingerprint()
