"""The teachers of the papers' own students, and what their losses come to."""

import pandas as pd
import pytest

from kdlab.papers.dual_light import study as dual_light_study
from kdlab.papers.generative import recipes as generative
from kdlab.studies import teachers
from kdlab.study import FIRST, load_rows
from kdlab.train.sizes import STUDY, GenerativeSize, current


def test_they_are_those_that_taught_the_students_of_the_claims():
    found = teachers.columns(STUDY, 15)
    assert [(data, name, len(its)) for data, names in found.items() for name, its in names.items()] == [
        ("night", "ce_enhanced", 15), ("night", "ce_raw", 15),
        ("night_bright", "teacher_fr", 10), ("night_bright", "teacher_ce", 10)]
    students = dual_light_study.columns(STUDY, 15, ["dlkdd"], first=FIRST)["dlkdd"]
    assert [student.teacher for student in students] == found["night"]["ce_enhanced"]
    size = current("study", GenerativeSize)
    assert generative.conditions(size, generative.night(size), FIRST)["genkd"].teacher == found[
        "night_bright"]["teacher_fr"][0]
    assert {recipe.seed for names in teachers.columns(STUDY, 2).values() for its in names.values()
            for recipe in its} == {FIRST + 1, FIRST + 2}


def rows(*found):
    return pd.DataFrame([dict(condition=name, seed=seed, metric=metric, value=value)
                         for name, seed, *both in found for metric, value in zip(teachers.TRAIN_CE, both, strict=True)])


def test_a_network_that_says_something_else_in_use_is_counted():
    table = teachers.table(rows(("ce_raw", 101, 0.04, 0.06), ("ce_raw", 102, 0.90, 0.10), ("teacher_ce", 101, 0, 0)))
    assert table.teacher.tolist() == [teachers.TITLES["ce_raw"], teachers.TITLES["teacher_ce"]]
    assert table.iloc[0, 1:4].tolist() == pytest.approx([0.47, 0.08, 0.80])
    assert table["may teach"].tolist() == ["1 of 2", "1 of 1"]


def test_the_committed_ones_may_all_teach():
    try:
        committed = load_rows("teachers")
    except FileNotFoundError as missing:
        pytest.skip(str(missing))
    assert teachers.table(committed)["may teach"].tolist() == ["15 of 15", "15 of 15", "10 of 10", "10 of 10"]


@pytest.mark.slow
def test_the_study_runs_and_its_rows_are_of_its_runs(at_smoke):
    found, told = at_smoke(teachers.study)
    assert len(found) == 2 * 4 * 2 and (found.value.astype(float) > 0).all() and found.recipe.nunique() == 8
    assert any("may teach" in line for line in told)
