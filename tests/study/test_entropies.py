"""How much a teacher says beyond the label, by hand."""

import dataclasses
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from kdlab.distill.method import KD
from kdlab.measure.transfer import narrowed
from kdlab.study import entropies
from kdlab.study.entropies import entropy_rows, mean_entropy, target_entropy, taught_rows


def test_the_entropy_of_logits_by_hand():
    assert mean_entropy(torch.zeros(3, 4)) == pytest.approx(math.log(4))
    assert mean_entropy(torch.tensor([[50.0, 0, 0, 0]])) == pytest.approx(0, abs=1e-9)
    two = torch.tensor([[math.log(3.0), 0.0]]).double()  # 3 to 1, and at T = 2 √3 to 1
    assert mean_entropy(two) == pytest.approx(0.5623, abs=1e-4)
    share = math.sqrt(3) / (1 + math.sqrt(3))
    assert mean_entropy(two, 2) == pytest.approx(-share * math.log(share) - (1 - share) * math.log(1 - share))


@dataclasses.dataclass(frozen=True)
class Taught:
    teacher: str | None
    method: KD = KD(temperature=4)
    data: str = "clips"
    seed: int = 0
    name = "teacher-s1"


def run(recipe) -> SimpleNamespace:
    return SimpleNamespace(recipe=recipe, folder=SimpleNamespace(name="student-s0"), provenance={"classes": ["a", "b"]})


def teacher(name, classes=("a", "b")) -> SimpleNamespace:
    return SimpleNamespace(name=name, provenance={"classes": list(classes)})


def test_of_a_teacher_of_more_classes_those_of_its_student_count(monkeypatch):
    monkeypatch.setattr(entropies, "find", lambda recipe, pretrained: teacher(recipe, ("other", "b", "a")))
    said = np.array([[90, 0, 4 * math.log(3.0)]])
    monkeypatch.setattr(entropies, "logits_on",
                        lambda run, *_, among, **__: narrowed(said, run.provenance["classes"], among))
    assert target_entropy(run(Taught("t"))) == pytest.approx(0.5623, abs=1e-4)


@dataclasses.dataclass(frozen=True)
class Features:
    """A method without soft targets."""


def test_rows_of_a_study_have_entropies_where_targets_are_soft(monkeypatch):
    monkeypatch.setattr(entropies, "target_entropy", lambda run: 0.5)
    runs = {"kd": [run(Taught("t"))], "fitnet": [run(Taught("t", method=Features()))],
            "ce": [run(Taught(None, method=Features()))]}
    outcome = SimpleNamespace(rows=lambda: [{"condition": "kd", "metric": "accuracy"}], runs=runs,
                              numbers=lambda *numbers, **about: [about | {"metric": metric} for metric, *_ in numbers])
    told = lambda: [(row["condition"], row["metric"]) for row in taught_rows(outcome)]  # noqa: E731
    assert told() == [("kd", "accuracy"), ("kd", "target_entropy")]
    del runs["kd"]
    assert told() == [("kd", "accuracy")], "nothing soft is left"


def test_the_teacher_is_asked_about_its_students_training_clips_at_the_methods_temperature(monkeypatch):
    asked = []

    def says(teacher, data, split, among):
        assert among == ["a", "b"]
        asked.append((teacher, data, split))
        return np.array([[4 * math.log(3.0), 0.0]])

    monkeypatch.setattr(entropies, "find", lambda recipe, pretrained: teacher(recipe))
    monkeypatch.setattr(entropies, "logits_on", says)
    assert target_entropy(run(Taught("t"))) == pytest.approx(0.5623, abs=1e-4)
    assert asked == [(teacher("t"), "clips", "train")]

    outcome = SimpleNamespace(runs={"kd": [run(Taught("t")), run(Taught("t", seed=1))], "ce": [run(Taught(None))]},
                              numbers=lambda *numbers, **about: [(*number, about) for number in numbers])
    rows = entropy_rows(outcome)
    assert [(row[0], round(row[1], 4), row[2], row[3]["seed"]) for row in rows] == [
        ("target_entropy", 0.5623, "nats", 0), ("target_entropy", 0.5623, "nats", 1)]
    assert len(asked) == 2, "the same teacher and clips are not asked again"
    assert entropy_rows(outcome, ["ce"]) == []


def test_without_a_teacher_there_is_none(monkeypatch):
    with pytest.raises(ValueError, match="student-s0 had no teacher"):
        target_entropy(run(Taught(None)))
    monkeypatch.setattr(entropies, "find", lambda recipe, pretrained: None)
    with pytest.raises(FileNotFoundError, match="obtain it first"):
        target_entropy(run(Taught(SimpleNamespace(name="teacher-s1"))))
