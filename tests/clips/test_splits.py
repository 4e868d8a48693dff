"""Splits are made of whole groups, near the shares asked for, the same way every time."""

import random
from collections import Counter

import pytest

from kdlab.clips.splits import TEST_SHARE, VAL_SHARE, complete_splits, deal_folds, shared_groups


def test_clips_that_are_their_own_groups_come_out_60_15_25():
    ids = [f"{label}/{i}" for label in range(5) for i in range(40)]
    labels = [i // 40 for i in range(200)]
    splits, _ = complete_splits(ids, labels, ids, list("abcde"))
    for label in range(5):
        counts = Counter(split for split, its in zip(splits, labels, strict=True) if its == label)
        assert counts == {"train": 24, "val": 6, "test": 10}


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("shared", [False, True], ids=["groups within classes", "groups across classes"])
def test_no_group_crosses_and_every_class_is_trained_and_tested(seed, shared):
    rng = random.Random(seed)
    classes = [str(label) for label in range(rng.randint(2, 6))]
    labels, groups = [], []
    for label in range(len(classes)):
        for group in range(rng.randint(3, 9)):
            size = rng.randint(1, 12)
            labels += [label] * size
            groups += [f"{group}" if shared else f"{label}-{group}"] * size
    ids = [f"clip{i}" for i in range(len(labels))]
    splits, notes = complete_splits(ids, labels, groups, classes)
    assert shared_groups(groups, splits) == []
    for split in ("train", "test"):
        assert {label for label, its in zip(labels, splits, strict=True) if its == split} == set(range(len(classes)))
    assert abs(splits.count("test") / len(splits) - TEST_SHARE) < 0.2
    crossing = {group for group, split in zip(groups, splits, strict=True) if split == "val"} & {
        group for group, split in zip(groups, splits, strict=True) if split == "train"}
    assert bool(crossing) == any("validation accuracy is flattered" in note for note in notes)


def test_a_class_of_one_group_is_trained_on_and_the_want_is_noted():
    ids = [f"{i}" for i in range(20)]
    labels = [0] * 10 + [1] * 10
    groups = ["only"] * 10 + [f"g{i}" for i in range(10)]
    splits, notes = complete_splits(ids, labels, groups, ["lone", "rich"])
    assert Counter(splits[:10]) == {"train": 8, "val": 2}
    assert any("No test clips for lone" in note for note in notes)
    assert any("Validation clips of lone" in note and "flattered" in note for note in notes)


def test_declared_splits_stay_and_only_a_missing_val_is_carved():
    ids = [f"{i}" for i in range(20)]
    declared = ["train"] * 10 + ["test"] * 10
    splits, _ = complete_splits(ids, [0] * 20, ids, ["a"], declared)
    assert splits[10:] == declared[10:]
    assert splits[:10].count("val") == round(10 * VAL_SHARE)
    given = ["train"] * 8 + ["val"] * 2 + ["test"] * 10
    assert complete_splits(ids, [0] * 20, ids, ["a"], given) == (given, [])


def test_own_folds_deal_the_largest_groups_first():
    groups = [group for group, size in zip("abcde", (1, 1, 1, 1, 4), strict=True) for _ in range(size)]
    assert sorted(Counter(deal_folds([0] * 8, groups, 2)).values()) == [4, 4]


def test_own_folds_of_groups_that_span_classes_are_blocks():
    people = [f"p{i}" for i in range(7)]
    assert deal_folds([0] * 7 + [1] * 7, people * 2, 3) == [0, 0, 0, 1, 1, 2, 2] * 2
