"""Splits are made of whole groups, near the shares asked for, the same way every time."""

import random
from collections import Counter
from pathlib import Path

import pytest

from kdlab.clips.records import ClipRecord
from kdlab.datasets.splits import TEST_SHARE, complete_splits, deal_folds, shared_groups


def records_of(labels, groups=None):
    """Records in the order of their ids, by default each with a group of its own."""
    ids = [f"{number:03}" for number in range(len(labels))]
    return [
        ClipRecord(id_, Path(id_), label, "train", group)
        for id_, label, group in zip(ids, labels, groups or ids, strict=True)
    ]


def test_clips_that_are_their_own_groups_come_out_60_15_25():
    records, _ = complete_splits(records_of([i // 40 for i in range(200)]), "abcde", declared=False)
    for label in range(5):
        assert Counter(r.split for r in records if r.label == label) == {
            "train": 24,
            "val": 6,
            "test": 10,
        }


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize(
    "shared", [False, True], ids=["groups within classes", "groups across classes"]
)
def test_no_group_crosses_and_every_class_is_trained_and_tested(seed, shared):
    rng = random.Random(seed)
    classes = [str(label) for label in range(rng.randint(2, 6))]
    labels, groups = [], []
    for label in range(len(classes)):
        for group in range(rng.randint(3, 9)):
            size = rng.randint(1, 12)
            labels += [label] * size
            groups += [f"{group}" if shared else f"{label}-{group}"] * size
    records, notes = complete_splits(records_of(labels, groups), classes, declared=False)
    assert shared_groups(records) == []
    of = {split: [r for r in records if r.split == split] for split in ("train", "val", "test")}
    for split in ("train", "test"):
        assert {r.label for r in of[split]} == set(range(len(classes)))
    assert abs(len(of["test"]) / len(records) - TEST_SHARE) < 0.2
    crossing = {r.group for r in of["val"]} & {r.group for r in of["train"]}
    assert bool(crossing) == any("validation accuracy is flattered" in note for note in notes)


def test_a_class_of_one_group_is_trained_on_and_the_want_is_noted():
    groups = ["only"] * 10 + [f"g{i}" for i in range(10)]
    records, notes = complete_splits(
        records_of([0] * 10 + [1] * 10, groups), ["lone", "rich"], declared=False
    )
    assert Counter(r.split for r in records[:10]) == {"train": 8, "val": 2}
    assert any("No test clips for lone" in note for note in notes)
    assert any("Validation clips of lone" in note and "flattered" in note for note in notes)


def test_own_folds_deal_the_largest_groups_first():
    groups = [
        group for group, size in zip("abcde", (1, 1, 1, 1, 4), strict=True) for _ in range(size)
    ]
    folds = deal_folds(records_of([0] * 8, groups), 2)
    assert sorted(Counter(folds[group] for group in groups).values()) == [4, 4]
