"""A catalogue of clips: paths, labels, splits and groups."""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from kdlab.system.files import content_keys, text_hash, why_no_file
from kdlab.system.values import some

SPLITS = ("train", "val", "test")


class CatalogueError(ValueError):
    """The folder or table does not describe a usable set of clips; the message names the place and the remedy."""


@dataclass(frozen=True)
class ClipRecord:
    """A labelled clip: a video file, or a segment of one.

    ``id`` is unique: the path relative to the catalogue's root without suffix, in posix style. A segment's id ends with
    its times. ``label`` indexes ``Catalogue.classes``; ``start`` and ``end`` are in seconds. ``where`` names the table
    and row of the record, for messages.
    """

    id: str
    path: Path
    label: int
    split: str
    group: str
    start: float | None = None
    end: float | None = None
    where: str = field(default="", compare=False)


@dataclass(frozen=True)
class Catalogue:
    """All clips of a data set. ``notes`` are caveats about the splits that belong with every result."""

    name: str
    root: Path
    classes: tuple[str, ...]
    records: tuple[ClipRecord, ...]
    notes: tuple[str, ...] = ()

    def split(self, name: str) -> tuple[ClipRecord, ...]:
        """The records of ``train``, ``val`` or ``test``, in catalogue order; empty if the split has none."""
        if name not in SPLITS:
            raise CatalogueError(f"unknown split {name!r}: use one of {', '.join(SPLITS)}.")
        return tuple(record for record in self.records if record.split == name)

    def counts(self):
        """Number of clips per class (rows) and split (columns), as a ``pandas.DataFrame``."""
        import pandas as pd  # importing it takes a second, which workers of a process pool save

        counts = Counter((record.label, record.split) for record in self.records)
        index, table = pd.Index(self.classes, name="class"), {}
        for split in SPLITS:
            table[split] = [counts[label, split] for label in range(len(self.classes))]
        return pd.DataFrame(table, index=index)

    def fingerprint(self) -> str:
        """Hash of classes, ids, labels, splits, groups, times and file contents: 16 hex digits, independent of paths.

        Raises FileNotFoundError for a missing clip.
        """
        keys = content_keys(record.path for record in self.records)
        lines = sorted(
            repr((r.id, self.classes[r.label], r.split, r.group, r.start, r.end, keys[r.path]))
            for r in self.records
        )
        text = "\n".join([*lines, repr(self.classes)])
        return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()

    def sizes(self) -> str:
        """Hash of the file sizes, 16 hex digits. Sizes differ if an encoder received different pixels."""
        lines = sorted(f"{record.id} {record.path.stat().st_size}" for record in self.records)
        return text_hash("\n".join(lines))

    def require(self, *splits: str) -> None:
        """Check that the named splits (default: all three) can be used.

        Raises CatalogueError for an empty split and for two clips with one id. If ``train`` is among the splits, it is
        also raised for a class in val or test without training clips. If ``train`` and ``test`` are among the splits,
        it is also raised for a single class, unless all clips are segments of untrimmed video, where background is the
        other class. Raises FileNotFoundError for missing clips and for paths that are not plain files.
        """
        splits = splits or SPLITS
        records = [record for split in splits for record in self.split(split)]
        why = "".join(f" ({note})" for note in self.notes)
        if empty := [split for split in splits if not self.split(split)]:
            raise CatalogueError(
                f"{self.root}: the {empty[0]} split is empty. Add clips or groups, or say in a "
                f"`split` column which clips it has.{why}"
            )
        times = Counter(record.id for record in records)
        if twice := [name for name, number in times.items() if number > 1]:
            raise CatalogueError(
                f"{self.root}: {some(twice)} named by two clips. Rename one of the two files, or "
                "remove the second row of the table."
            )
        if "train" in splits:
            self._require_known(records, why)
        faults = {record: why_no_file(record.path) for record in records}
        if lost := {
            f"{record.path}{record.where and f' ({record.where})'}: {fault}"
            for record, fault in faults.items()
            if fault
        }:
            raise FileNotFoundError(
                f"{self.root}: {some(sorted(lost))}. Restore the files or correct their paths."
            )
        if {"train", "test"} <= {*splits}:
            self._require_two_classes(records)

    def _require_known(self, records: list[ClipRecord], why: str) -> None:
        """Raise CatalogueError for a class without training clips."""
        known = {record.label for record in records if record.split == "train"}
        if strange := {
            f"{self.classes[r.label]} (in {r.split})" for r in records if r.label not in known
        }:
            raise CatalogueError(
                f"{self.root}: train has no clip of {some(sorted(strange))}. Move clips of that class "
                f"to train, or remove the class.{why}"
            )

    def _require_two_classes(self, records: list[ClipRecord]) -> None:
        """Raise CatalogueError where all clips are of one class, and nothing is background."""
        labels = {record.label for record in records if record.split == "train"}
        if len(labels) == 1 and any(record.end is None for record in records):
            raise CatalogueError(
                f"{self.root}: all clips are of one class, {self.classes[labels.pop()]}, so there is "
                "nothing to tell apart. Add clips of another class, or name the folder that holds one "
                "subfolder per class."
            )


def require_apart(records: Iterable[ClipRecord], named: Callable, mend: str) -> None:
    """Raise CatalogueError with the ``mend`` if ``named(path)`` is the same for two files of ``records``."""
    files = {}
    for record in records:
        name = named(record.path)
        first = files.setdefault(name, record.path)
        if first != record.path:
            raise CatalogueError(f"{first} and {record.path} would both be read as {name}: {mend}")
