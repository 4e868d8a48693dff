"""Whose errors a study's students give, on answers made up for it."""

import numpy as np
import pytest

from kdlab.measure.accuracy import expected_calibration_error
from kdlab.measure.inherited import MEASURES
from kdlab.study import Scores
from kdlab.study.inheritance import inheritance
from tests.conftest import guesses

WRONG, CONSISTENT, ALIKE = MEASURES
CLASSES, CLIPS = 6, 900


def made_up(seeds=5, first=100) -> Scores:
    """Teachers right on 70 % of the clips, by chance. ``copy`` answers as the teacher of its own row, ``next`` as that
    of the next seed, ``stranger`` by itself, ``half`` as its own on every other clip."""
    rng = np.random.default_rng(0)
    labels = rng.integers(CLASSES, size=CLIPS)
    teacher, stranger = (guesses(rng, labels, seeds, 0.7, CLASSES) for _ in range(2))
    predicted = {"teacher": teacher, "copy": teacher.copy(), "next": np.roll(teacher, -1, 0), "stranger": stranger,
                 "half": np.where(np.arange(CLIPS) % 2, teacher, stranger)}
    ids = np.array([f"c{n}" for n in range(CLIPS)])
    logits = {"copy": 3 * np.eye(CLASSES)[teacher[0]]}
    return Scores(tuple("abcdef"), tuple(range(first, first + seeds)), ids, ids, labels, predicted, logits)


def of(table, student, measure):
    (row,) = table[(table.student == student) & (table.measure == measure)].itertuples()
    return row


def test_who_copies_its_teacher_gives_all_of_its_errors_and_a_stranger_what_chance_gives():
    table = inheritance(made_up(), [(name, "teacher") for name in ("copy", "half", "stranger")])
    assert list(table.measure) == 3 * list(MEASURES) and set(table.teacher) == {"teacher"}
    chance = 100 * 0.3 / (CLASSES - 1)  # wrong, and in the same way of five
    for name, share in (("copy", 1), ("half", 0.5), ("stranger", 0)):
        row = of(table, name, WRONG)
        assert row.own == pytest.approx(100 * share + (1 - share) * chance, abs=2)
        assert row.other == pytest.approx(chance, abs=2), "an equal teacher that never taught it"
        assert row.gain.mean == pytest.approx(row.own - row.other) and (row.gain.strict_low > 0) == (share > 0)
        assert (row.gain.seeds, row.gain.units) == (5, CLIPS)
    assert of(table, "copy", CONSISTENT).own == 100 == of(table, "copy", ALIKE).own
    assert of(table, "stranger", CONSISTENT).own == pytest.approx(0, abs=4)
    assert of(table, "stranger", ALIKE).own == pytest.approx(20, abs=4)


def test_a_teacher_of_the_next_seed_is_found_by_its_seed():
    scores = made_up()
    right, wrong = (of(inheritance(scores, [("next", "teacher", *shift)]), "next", WRONG) for shift in ((1,), ()))
    assert right.own == 100 and right.gain.seeds == 4, "the last seed's teacher was never asked"
    assert right.other < 10 and wrong.own < 10
    assert wrong.other == 100, "of equal seeds the other teacher is the next one"


def test_the_other_teacher_is_of_the_seed_after_and_after_the_last_of_the_first():
    scores = made_up(3)
    teacher = scores.predicted["teacher"]
    scores.predicted.update(after=np.roll(teacher, -2, 0), twin=teacher)
    table = inheritance(scores, [("after", "teacher", 1), ("twin", "teacher", 1)])
    assert of(table, "after", WRONG).other == 100 and of(table, "after", WRONG).gain.seeds == 2
    assert of(table, "twin", WRONG).other < 10, "the student's own seed is never asked"


def test_calibration_is_told_where_logits_are_kept():
    scores = made_up()
    table = inheritance(scores, [("copy", "teacher"), ("stranger", "teacher")])
    kept = scores.logits["copy"].astype(np.float16).astype(float)
    assert of(table, "copy", WRONG).ece == expected_calibration_error(kept, scores.labels) > 0
    assert np.isnan(of(table, "stranger", WRONG).ece)


def test_clips_of_one_unit_count_as_one():
    scores = made_up()
    scores.units[:] = np.repeat(np.arange(30), 30)
    assert of(inheritance(scores, [("half", "teacher")]), "half", WRONG).gain.units == 30


def test_what_cannot_be_told_is_a_sentence():
    scores = made_up(2)
    with pytest.raises(ValueError, match="nothing was predicted by 'nobody': give conditions among teacher, copy"):
        inheritance(scores, [("nobody", "teacher")])
    with pytest.raises(ValueError, match="of 2 seeds 1 have their teacher there: give at least 3 in a row"):
        inheritance(scores, [("copy", "teacher", 1)])
    with pytest.raises(ValueError, match="shift=-1"):
        inheritance(scores, [("copy", "teacher", -1)])
    scores.predicted["exits"] = np.zeros((2, CLIPS, 12), int)
    with pytest.raises(ValueError, match="'exits' has several exits"):
        inheritance(scores, [("exits", "teacher")])
