from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest

from kdlab.clips.catalogue import Catalogue, ClipRecord
from kdlab.clips.unbalanced import Unbalanced

CLASSES = tuple("abcdefghijk")


@dataclass(frozen=True)
class Even:
    """So many training clips a class, and two of validation and test."""

    count: int = 100
    name: str = "even"

    def catalogue(self) -> Catalogue:
        kinds = [("train", k) for k in range(self.count)] + [(s, k) for s in ("val", "test") for k in range(2)]
        records = tuple(ClipRecord(f"{split}/{c}/{k}", Path(f"{split}/{c}/{k}"), label, split, f"{split}{k}")
                        for split, k in kinds for label, c in enumerate(CLASSES))
        return Catalogue(self.name, Path(), CLASSES, records)


def counts(clips, split="train") -> list[int]:
    found = Counter(record.label for record in clips.catalogue().split(split))
    return [found[label] for label in range(len(CLASSES))]


def test_shares_fall_evenly_from_all_to_one_in_ten():
    assert counts(Unbalanced(Even())) == [100, 79, 63, 50, 40, 32, 25, 20, 16, 13, 10]  # 100 · 10^(−k/10)
    assert counts(Unbalanced(Even()), "val") == counts(Unbalanced(Even()), "test") == [2] * 11
    assert sum(counts(Unbalanced(Even()))) == pytest.approx(11 * 40, rel=0.03), "as many as 40 of each"


def test_every_class_keeps_its_first_clips_and_at_least_one():
    kept = Unbalanced(Even(3), factor=1000.0)
    assert counts(kept) == [3, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1]
    assert {r.id for r in kept.catalogue().split("train") if r.label == 10} == {"train/k/0"}
    assert kept.name == "even-unbalanced1000"


def test_a_factor_of_one_changes_nothing_and_less_is_refused():
    assert Unbalanced(Even(4), 1).catalogue().records == Even(4).catalogue().records
    for wrong in (0.5, 0, float("nan")):
        with pytest.raises(ValueError, match="factor="):
            Unbalanced(Even(), wrong)
