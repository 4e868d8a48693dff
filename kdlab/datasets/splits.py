"""Deterministic splits into train, val and test by whole groups.

The clips of a *group* look alike for reasons other than the action: they share an actor, a scene or a long recording. A
network that has seen the scene in training may recognise the scene instead of the action.
"""

import hashlib
from collections import Counter
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from kdlab.clips.records import Catalogue, CatalogueError, ClipRecord
from kdlab.protocols import Data
from kdlab.system.values import integer, some

TEST_SHARE = 0.25
VAL_SHARE = 0.2  # of the clips that are not in test, hence 15 % of all clips
NO_GROUPS = (
    "Each clip is its own group, so an actor or scene may be in train and test. A `group` column in an "
    "index.csv, with the actor or scene of each clip, prevents that."
)


def complete_splits(
    records: Iterable[ClipRecord], classes: Sequence[str], declared: bool
) -> tuple[tuple[ClipRecord, ...], tuple[str, ...]]:
    """Records sorted by id, each with its split, and caveats about the splits that belong with every result.

    ``declared`` splits stay; only a missing val is taken from train. Undeclared splits are made here: first test is
    taken from all clips, without sharing a group with another split.
    """
    records, notes = sorted(records, key=lambda record: record.id), []
    if not declared:
        if len({record.group for record in records}) == len(records):
            notes.append(NO_GROUPS)
        records = _moved(records, "test", deal(records, TEST_SHARE))
    elif shared := shared_groups(records):
        notes.append(
            f"Group {some(shared)} is both in test and outside it: test accuracy may reward recognising "
            "the recording."
        )
    if not any(record.split == "val" for record in records):
        records, more = _carve_validation(records, classes)
        notes += more
    for split in ("val", "test"):
        there = {record.label for record in records if record.split == split}
        if absent := [name for label, name in enumerate(classes) if label not in there]:
            notes.append(
                f"No {split} clips for {some(absent, 10)}, so {split} accuracy says nothing of them."
            )
    return tuple(records), tuple(notes)


def _moved(records: Iterable[ClipRecord], split: str, ids: Container[str]) -> list[ClipRecord]:
    """The records; those whose id is among ``ids`` are in ``split``."""
    return [replace(r, split=split) if r.id in ids else r for r in records]


def _carve_validation(
    records: list[ClipRecord], classes: Sequence[str]
) -> tuple[list[ClipRecord], list[str]]:
    """Move about ``VAL_SHARE`` of train to val: whole groups, or single clips of classes that cannot spare a group."""
    train = [record for record in records if record.split == "train"]
    chosen = deal(train, VAL_SHARE)
    covered = {record.label for record in train if record.id in chosen}
    rest = [record for record in train if record.label not in covered]
    singles = deal(rest, VAL_SHARE, by="id")
    records = _moved(records, "val", chosen | singles)
    if not singles:
        return records, []
    labels = {record.label for record in rest if record.id in singles}
    names = some([classes[label] for label in sorted(labels)], 10)
    return records, [
        f"Validation clips of {names} are of groups that training has too, for want of a second "
        "group: validation accuracy is flattered there, test accuracy is not."
    ]


def deal(records: Sequence[ClipRecord], share: float, by: str = "group") -> set[str]:
    """The ids of groups that hold about ``share`` of each class and leave at least one clip of each class behind.

    Groups are visited in the order of a hash of their names, so that neither alphabet nor recording date matters. A
    group is chosen if it brings the shares of its classes closer to ``share``. Then each class without a chosen clip
    adds its smallest group that can be spared. Groups may lie within one class or span classes. With ``by="id"`` each
    clip is a group.
    """
    number = Counter((getattr(record, by), record.label) for record in records)
    kinds = list(dict.fromkeys(record.label for record in records))
    names = sorted(
        {name for name, _ in number},
        key=lambda name: hashlib.blake2b(name.encode(), digest_size=8).digest(),
    )
    sizes = {name: np.array([number[name, kind] for kind in kinds]) for name in names}
    total, taken, chosen = sum(sizes.values()), np.zeros(len(kinds), int), set()

    def can_be_spared(size: np.ndarray) -> bool:
        return (total - taken > size)[size > 0].all()

    for name, size in sizes.items():
        gain = ((taken / total - share) ** 2 - ((taken + size) / total - share) ** 2).sum()
        if gain > 1e-9 and can_be_spared(size):
            chosen.add(name)
            taken += size
    for kind in range(len(kinds)):
        spare = [name for name in names if sizes[name][kind] and can_be_spared(sizes[name])]
        if spare and not taken[kind]:
            smallest = min(spare, key=lambda name: sizes[name].sum())
            chosen.add(smallest)
            taken += sizes[smallest]
    return {record.id for record in records if getattr(record, by) in chosen}


def deal_folds(records: Sequence[ClipRecord], count: int) -> dict[str, int]:
    """The fold 1 … count of each group of clips.

    If any group spans classes (an actor who performs several actions), consecutive blocks of groups in alphabetical
    order form the folds. If each group has one class, groups are assigned from the largest on to the fold with the
    fewest clips of that class.
    """
    sizes = Counter((record.group, record.label) for record in records)
    names = sorted({group for group, _ in sizes})
    if len(sizes) > len(names):
        return {group: 1 + i * count // len(names) for i, group in enumerate(names)}
    fold_of, filled = {}, Counter()
    for (group, label), size in sorted(sizes.items(), key=lambda item: (-item[1], item[0])):
        # ties go to the fold with fewer clips of all classes, or small classes would all fill the first fold
        fold = min(range(1, count + 1), key=lambda fold: (filled[fold, label], filled[fold], fold))
        fold_of[group] = fold
        filled.update({(fold, label): size, fold: size})
    return fold_of


def shared_groups(records: Iterable[ClipRecord]) -> list[str]:
    """Groups with clips both in test and in another split, sorted."""
    records = list(records)
    tested = {record.group for record in records if record.split == "test"}
    return sorted(tested & {record.group for record in records if record.split != "test"})


def own_folds(catalogue: Catalogue, count: int, test_fold: str | None = None) -> Catalogue:
    """The catalogue with ``count`` folds made by kdlab from groups; ``test_fold`` ("1" …, default "1") is the test set.

    It is for data sets without splits. It replaces the catalogue's splits and notes, and adds a note with the words
    "own folds". :func:`deal_folds` has the rule. Raises CatalogueError for fewer groups than folds, an unknown fold, or
    a class within one fold, which could not be both trained and tested.
    """
    records, test_fold = catalogue.records, test_fold or "1"
    number = len({record.group for record in records})
    if count > number:
        raise CatalogueError(
            f"{catalogue.root}: own_folds={count} needs a group for each; there are {number}."
        )
    if test_fold not in map(str, range(1, count + 1)):
        raise CatalogueError(
            f"{catalogue.root}: no fold {test_fold!r}. The own folds are 1 to {count}."
        )
    fold_of = deal_folds(records, count)
    folds = Counter(label for label, _ in {(r.label, fold_of[r.group]) for r in records})
    if lone := [name for label, name in enumerate(catalogue.classes) if folds[label] == 1]:
        raise CatalogueError(
            f"{catalogue.root}: all clips of {some(lone)} fall into one fold, so it cannot be both "
            "trained and tested. Add groups of that class, or leave the class out."
        )
    notes = [
        f"These are own folds, made by kdlab from {number} groups, no published split: fold {test_fold} of "
        f"{count} is the test set."
    ]
    if number == len(records):
        notes.append(NO_GROUPS)
    tested = {group for group, fold in fold_of.items() if fold == int(test_fold)}
    records = [replace(r, split="test" if r.group in tested else "train") for r in records]
    records, more = complete_splits(records, catalogue.classes, declared=True)
    return replace(catalogue, records=records, notes=(*notes, *more))


# --- parts of a data set -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class HeldOut(Data):
    """The clips ``of`` a data set, with ``groups`` whole groups as the validation split.

    One half of the validation groups calibrates the exits, and the other half chooses their thresholds
    (:func:`halves`). A validation split of a single person is therefore too small.
    """

    of: object
    groups: int = 2

    def __post_init__(self):
        integer(1, groups=self.groups)

    @property
    def name(self) -> str:
        return self.of.name

    def catalogue(self) -> Catalogue:
        """The data set's catalogue with the new validation split.

        Raises CatalogueError if fewer than ``groups`` + 1 groups lie outside test.
        """
        of = self.of.catalogue()
        known = sorted(
            {record.group for record in of.records if record.split != "test"},
            key=lambda name: hashlib.sha256(name.encode()).digest(),
        )
        if len(known) <= self.groups:
            raise CatalogueError(
                f"{of.root}: {self.groups} groups cannot be held out of {len(known)} that are not in "
                "test; ask for fewer, or name more in a `group` column"
            )
        held = known[: self.groups]
        records = tuple(
            r if r.split == "test" else replace(r, split="val" if r.group in held else "train")
            for r in of.records
        )
        note = f"Held out of training: {', '.join(sorted(held))}."
        return replace(of, records=records, notes=(*of.notes, note))


@dataclass(frozen=True)
class Half(Data):
    """The clips ``of`` a data set with one half of its training groups (scenes, people); val and test are unchanged.

    :func:`halves` makes the two halves; ``first`` selects the one with the first group. A network trained on one half
    has not seen the other, so its predictions there are not memorised.
    """

    of: object
    first: bool = True

    @property
    def name(self) -> str:
        return f"{self.of.name}-half{1 if self.first else 2}"

    def catalogue(self) -> Catalogue:
        """The data set's catalogue with half of the training groups. Raises ValueError if there is only one group."""
        of = self.of.catalogue()
        groups = np.unique([record.group for record in of.split("train")])
        kept = groups[halves(groups) == self.first]
        records = tuple(r for r in of.records if r.split != "train" or r.group in kept)
        note = f"Half of the training groups: {self.name}."
        return replace(of, records=records, notes=(*of.notes, note))


def with_halves(data):
    """``data`` if its validation clips have at least two groups, as :func:`halves` needs; else ``HeldOut(data)``."""
    return data if len({r.group for r in data.catalogue().split("val")}) > 1 else HeldOut(data)


def halves(groups: np.ndarray) -> np.ndarray:
    """Mask of one half of N clips by their ``groups (N,)``: bool ``(N,)``, true for every second group by name.

    Raises ``ValueError`` for a single group.
    """
    names, of = np.unique(groups, return_inverse=True)
    if len(names) < 2:
        raise ValueError(
            f"the clips are of one group ({names[0]}), which has no halves: name more in a `group` column"
        )
    return of % 2 == 0
