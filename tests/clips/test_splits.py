"""Splits are made of whole groups, near the shares asked for, the same way every time."""

import random
from collections import Counter

import pytest

from kdlab.clips.splits import TEST_SHARE, VAL_SHARE, complete_splits, deal, deal_folds, shared_groups


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


def test_the_order_of_the_clips_does_not_matter():
    ids = [f"clip{i}" for i in range(60)]
    labels = [i % 3 for i in range(60)]
    groups = [f"g{i // 5}" for i in range(60)]
    once = dict(zip(ids, complete_splits(ids, labels, groups, "abc")[0], strict=True))
    order = random.Random(1).sample(range(60), 60)
    again = complete_splits([ids[i] for i in order], [labels[i] for i in order], [groups[i] for i in order], "abc")[0]
    assert once == {ids[i]: split for i, split in zip(order, again, strict=True)}


def test_two_groups_of_equal_size_give_one_to_test():
    assert len(deal([0] * 8, ["x"] * 4 + ["y"] * 4, TEST_SHARE)) == 1


def test_a_class_of_one_group_is_trained_on_and_the_want_is_noted():
    ids = [f"{i}" for i in range(20)]
    labels = [0] * 10 + [1] * 10
    groups = ["only"] * 10 + [f"g{i}" for i in range(10)]
    splits, notes = complete_splits(ids, labels, groups, ["lone", "rich"])
    assert Counter(splits[:10]) == {"train": 8, "val": 2}
    assert any("No test clips for lone" in note for note in notes)
    assert any("Validation clips of lone" in note and "flattered" in note for note in notes)


def test_a_single_clip_is_trained_on():
    splits, notes = complete_splits(["a", "b", "c", "d"], [0, 1, 1, 1], ["a", "b", "c", "d"], ["one", "three"])
    assert splits[0] == "train"
    assert sorted(splits[1:]) == ["test", "train", "val"]
    assert any("No test clips for one" in note for note in notes)
    assert any("No validation clips for one" in note for note in notes)


def test_declared_splits_stay_and_only_a_missing_val_is_carved():
    ids = [f"{i}" for i in range(20)]
    declared = ["train"] * 10 + ["test"] * 10
    splits, _ = complete_splits(ids, [0] * 20, ids, ["a"], declared)
    assert splits[10:] == declared[10:]
    assert splits[:10].count("val") == round(10 * VAL_SHARE)
    given = ["train"] * 8 + ["val"] * 2 + ["test"] * 10
    assert complete_splits(ids, [0] * 20, ids, ["a"], given) == (given, [])


def test_a_declared_test_group_that_is_trained_on_is_noted():
    _, notes = complete_splits(["1", "2", "3"], [0, 0, 0], ["g1", "g1", "g2"], ["a"], ["train", "test", "val"])
    assert any("Group g1 is both in test and outside it" in note for note in notes)


def test_own_folds_deal_the_largest_groups_first():
    groups = [group for group, size in zip("abcde", (1, 1, 1, 1, 4), strict=True) for _ in range(size)]
    assert sorted(Counter(deal_folds([0] * 8, groups, 2)).values()) == [4, 4]


def test_own_folds_of_groups_that_span_classes_are_blocks():
    people = [f"p{i}" for i in range(7)]
    assert deal_folds([0] * 7 + [1] * 7, people * 2, 3) == [0, 0, 0, 1, 1, 2, 2] * 2


def test_ten_thousand_clips_are_dealt_in_no_time():
    ids = [f"{i}" for i in range(10_000)]
    labels = [i % 400 for i in range(10_000)]
    splits, _ = complete_splits(ids, labels, ids, [str(label) for label in range(400)])
    # 25 clips a class: 6 to test, then 4 of 19 to val
    assert Counter(splits) == {"test": 400 * 6, "val": 400 * 4, "train": 400 * 15}
    splits, _ = complete_splits(ids, [i // 2 for i in range(10_000)], ids, [str(label) for label in range(5_000)])
    assert Counter(splits) == {"test": 5_000, "train": 5_000}  # of two clips none can be spared to validate
