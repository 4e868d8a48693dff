"""Train, val and test made of whole groups, the same way every time."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence

SPLITS = ("train", "val", "test")
TEST_SHARE = 0.25
VAL_SHARE = 0.2  # of what is not test, so 15 % of everything
NO_GROUPS = ("The file names tell no groups, so each clip is its own: one actor or scene may be in train and in test. "
             "A `group` column in an index.csv prevents that.")


def complete_splits(ids: Sequence[str], labels: Sequence[int], groups: Sequence[str], classes: Sequence[str],
                    declared: Sequence[str] | None = None) -> tuple[list[str], list[str]]:
    """The split of each clip, and sentences about them that a reader of results must know.

    ``declared`` holds splits that are given: they stay, and only a missing val is carved from train. Without it,
    test is carved from everything first. Test never shares a group with another split unless ``declared`` says so.
    """
    notes = []
    if declared is not None:
        splits = list(declared)
        if shared := shared_groups(groups, splits):
            notes.append(f"Group {some(shared)} is both in test and outside it: test accuracy may reward recognising "
                         "the recording.")
    else:
        if set(groups) == set(ids):
            notes.append(NO_GROUPS)
        chosen = deal(labels, groups, TEST_SHARE)
        splits = ["test" if group in chosen else "train" for group in groups]
        if untested := _without(classes, labels, splits, "test"):
            notes.append(f"No test clips for {some(untested, 10)}: no group can be spared from training there.")
    if "val" not in splits:
        splits, more = _carve_validation(ids, labels, groups, classes, splits)
        notes += more
    return splits, notes


def _carve_validation(ids: Sequence[str], labels: Sequence[int], groups: Sequence[str], classes: Sequence[str],
                      splits: Sequence[str]) -> tuple[list[str], list[str]]:
    """Move about ``VAL_SHARE`` of train to val: whole groups, or single clips where a class cannot spare a group."""
    train = [i for i, split in enumerate(splits) if split == "train"]
    chosen = deal([labels[i] for i in train], [groups[i] for i in train], VAL_SHARE)
    val = {i for i in train if groups[i] in chosen}
    covered = {labels[i] for i in val}
    rest = [i for i in train if labels[i] not in covered]
    singles = deal([labels[i] for i in rest], [ids[i] for i in rest], VAL_SHARE)
    by_clip = {i for i in rest if ids[i] in singles}
    splits = ["val" if i in val or i in by_clip else split for i, split in enumerate(splits)]
    notes = []
    if by_clip:
        names = [classes[label] for label in sorted({labels[i] for i in by_clip})]
        notes.append(f"Validation clips of {some(names, 10)} are of groups that training has too, for want of a second "
                     "group: validation accuracy is flattered there, test accuracy is not.")
    trained = {classes[labels[i]] for i in train}
    unseen = [name for name in _without(classes, labels, splits, "val") if name in trained]
    if unseen:
        notes.append(f"No validation clips for {some(unseen, 10)}: too few training clips.")
    return splits, notes


def deal(labels: Sequence[int], groups: Sequence[str], share: float) -> set[str]:
    """Groups that together hold about ``share`` of each class, leaving at least one clip of each class behind.

    Groups are visited in the order of a hash of their names (neither alphabet nor recording date decides) and taken
    when that brings the shares of the classes nearer to ``share``; a class still without a clip then gets its
    smallest group that can be spared. The same rule serves groups within one class and groups that span classes.
    """
    sizes: dict[str, Counter[int]] = {}
    for label, group in zip(labels, groups, strict=True):
        sizes.setdefault(group, Counter())[label] += 1
    total = Counter(labels)
    taken: Counter[int] = Counter()
    chosen: set[str] = set()

    def can_be_spared(group: str) -> bool:
        return group not in chosen and all(total[c] - taken[c] > n for c, n in sizes[group].items())

    def gain(group: str) -> float:
        return sum((taken[c] / total[c] - share) ** 2 - ((taken[c] + n) / total[c] - share) ** 2
                   for c, n in sizes[group].items())

    def take(group: str) -> None:
        chosen.add(group)
        taken.update(sizes[group])

    order = sorted(sizes, key=lambda group: hashlib.blake2b(group.encode(), digest_size=8).digest())
    for group in order:
        if can_be_spared(group) and gain(group) > 1e-9:
            take(group)
    groups_of: dict[int, list[str]] = {}
    for group in order:
        for label in sizes[group]:
            groups_of.setdefault(label, []).append(group)
    for label in total:
        if not taken[label]:
            candidates = [group for group in groups_of[label] if can_be_spared(group)]
            if candidates:
                take(min(candidates, key=lambda group: sizes[group].total()))
    return chosen


def deal_folds(labels: Sequence[int], groups: Sequence[str], count: int) -> list[int]:
    """The fold 0 … count−1 of each clip, whole groups in one fold.

    Groups that span classes (people who do everything) are cut into blocks in alphabetical order. Groups of one class
    each are dealt within the class, the largest first, to the fold that has the fewest clips of the class.
    """
    sizes = Counter(zip(groups, labels, strict=True))
    names = sorted(set(groups))
    if len(sizes) > len(names):
        fold_of = {group: i * count // len(names) for i, group in enumerate(names)}
    else:
        fold_of, filled = {}, Counter()
        for (group, label), size in sorted(sizes.items(), key=lambda item: (-item[1], item[0])):
            # with equal counts the fold that is smaller over all classes, or small classes would all fill the first
            fold_of[group] = min(range(count), key=lambda fold: (filled[fold, label], filled[fold], fold))
            filled.update({(fold_of[group], label): size, fold_of[group]: size})
    return [fold_of[group] for group in groups]


def shared_groups(groups: Iterable[str], splits: Iterable[str]) -> list[str]:
    """Groups that test shares with another split."""
    sides: dict[str, set[bool]] = {}
    for group, split in zip(groups, splits, strict=True):
        sides.setdefault(group, set()).add(split == "test")
    return sorted(group for group, side in sides.items() if len(side) > 1)


def some(names: Iterable[str], limit: int = 3) -> str:
    """The first ``limit`` names, and how many more there are."""
    names = list(names)
    return ", ".join(names[:limit]) + (f" and {len(names) - limit} more" if len(names) > limit else "")


def _without(classes: Sequence[str], labels: Sequence[int], splits: Sequence[str], split: str) -> list[str]:
    has = {label for label, clip_split in zip(labels, splits, strict=True) if clip_split == split}
    return [name for label, name in enumerate(classes) if label not in has]
