"""Exits that copy the errors of one final classifier, and exits that copy none."""

from dataclasses import replace

import numpy as np
import pytest

from kdlab.papers.progressive.inherited import inherited_table, pairs, told
from kdlab.papers.progressive.nets import FINALS, ORDER, TRAINED
from kdlab.study import Scores
from tests.conftest import guesses

SHARE = "teacher's wrong answers given"


@pytest.fixture
def scores():
    rng, clips = np.random.default_rng(0), 200
    labels = rng.integers(6, size=clips)
    alone = guesses(rng, labels[:, None].repeat(12, 1), 4, 0.6, 6)
    own, motion = alone.copy(), alone.copy()
    own[:, :, TRAINED] = alone[:, :, np.repeat(FINALS, 3)]
    motion[:, :, TRAINED] = alone[:, :, [FINALS[1]]]
    ids = np.array([f"c{n}" for n in range(clips)])
    predicted = {"ce_ic": alone, "own_final": own, "pkd": motion}
    return Scores(tuple("abcdef"), (0, 1, 2, 3), ids, ids, labels, predicted, {}, {c: [] for c in predicted})


def test_each_exit_stands_beside_the_final_that_is_asked_for():
    predicted = np.arange(2 * 3 * 12).reshape(2, 3, 12)
    student, teacher = pairs(predicted, "own")
    assert student[0, :9].tolist() == TRAINED and teacher[0, :9].tolist() == [3, 3, 3, 7, 7, 7, 11, 11, 11]
    assert student[1, 9:18].tolist() == [36 + 12 + k for k in TRAINED], "clip after clip"
    student, teacher = pairs(predicted, "motion")
    assert student[0, :6].tolist() == [0, 1, 2, 8, 9, 10] and set(teacher[0, :6]) == {7}


def test_who_copies_whom_is_found(scores):
    table = inherited_table(scores, replicates=200)
    assert len(table) == 3 * 4 * 3 and set(table.teacher) == {"own", *ORDER} and set(table.seeds) == {4}
    found = table[table.measure == SHARE].set_index(["condition", "teacher"])
    chance = 100 * 0.4 / 5
    assert found["its own"]["own_final", "own"] == found["its own"]["pkd", "motion"] == 100
    assert found["of another seed"]["own_final", "own"] == pytest.approx(chance, abs=3)
    for pair in (("ce_ic", "own"), ("ce_ic", "motion"), ("pkd", "iframe"), ("own_final", "motion")):
        assert found["its own"][pair] == pytest.approx(chance, abs=3) and found.low[pair] < 0 < found.high[pair], pair
    assert found.low["pkd", "motion"] > 85


def test_errors_are_told_of_exits_whose_teachers_have_not_seen_their_clips_once_those_are_there(scores):
    data, its, conditions = told({"weizmann": None, "night_context": scores})
    assert data == "night_context" and its is scores and conditions[0] == "ce_ic"
    data, its, conditions = told({"night_context": scores, "night_context_crossed_fresh": scores})
    assert data == "night_context_crossed_fresh" and conditions[0] == "ce_ic_unseen"


def test_one_seed_has_no_teacher_that_never_taught(scores):
    alone = replace(scores, seeds=(0,), predicted={c: p[:1] for c, p in scores.predicted.items()})
    with pytest.raises(ValueError, match="one seed has no teacher of another seed"):
        inherited_table(alone)
