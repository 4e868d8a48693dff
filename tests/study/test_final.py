"""Test clips for finished recipes are read where somebody says so, and then alone."""

import pandas as pd
import pytest
from click.testing import CliRunner

from kdlab import paths, studies
from kdlab.cli.study import study as command
from kdlab.study import Part, Study, by_condition
from kdlab.study import study as module
from kdlab.study.evidence import COLUMNS
from kdlab.train.sizes import SMOKE
from tests.train.test_runs import make_recipe

OPEN, CLOSED = (by_condition(lambda seed, name=name: {name: make_recipe("/x", seed, condition=name)}, 2)
                for name in ("open", "closed"))
PARTS = [Part("mine", OPEN, "A"), Part("mine", CLOSED, "B", final=True), Part("last", CLOSED, final=True)]
STUDY = Study("tiny", lambda size, seeds: PARTS, size=SMOKE, committed=True)


@pytest.fixture
def read(own_places, monkeypatch):
    """(fold, set) of what a study evaluates, whose trainings are taken for granted, and where it keeps that."""
    found = []

    def evaluated(self, size, parts, evidence, table, *how):
        found.extend((part.fold, part.data, evidence.folder) for part in parts)
        pd.DataFrame(columns=COLUMNS).to_csv(evidence.folder / "tiny.csv", index=False)
        return {}

    monkeypatch.setattr(module, "obtain_all", lambda recipes, **how: None)
    monkeypatch.setattr(Study, "_evaluated", evaluated)
    return found


def test_what_is_final_is_left_out_and_then_nothing_is_evidence(read):
    said = []
    STUDY.run(say=said.append)
    assert read == [("A", "mine", paths.runs_dir() / "studies" / "tiny-smoke")]
    assert said[0] == "tiny: fold B of mine, last left out, which finished recipes alone may read (--final)"
    assert not paths.figures_dir().exists() and "figures/ and pretrained/ stay as they are" in said[1]


def test_the_final_reading_is_of_all_and_committed(read):
    said = []
    STUDY.run(final=True, say=said.append)
    assert read == [(part.fold, part.data, paths.figures_dir()) for part in PARTS] and "left out" not in " ".join(said)


def test_a_set_that_is_final_as_a_whole_asks_for_the_word(read):
    with pytest.raises(ValueError, match="all that was asked of the study tiny is for finished recipes: give --final"):
        STUDY.run(only=["last"], say=str)
    assert read == []
    STUDY.run(only=["last"], final=True, say=str)
    assert [data for _, data, _ in read] == ["last"]


@pytest.mark.parametrize(("flags", "folds", "conditions"), [((), ["A"], {"open"}),
                                                            (("--final",), ["A", "B", ""], {"open", "closed"})])
def test_the_command_says_it_to_the_study_and_to_its_status(read, monkeypatch, flags, folds, conditions):
    monkeypatch.setattr(studies, "every", lambda: {"tiny": STUDY})
    asked = []
    monkeypatch.setattr("kdlab.cli.study._say_status", lambda recipes, **how: asked.extend(recipes))
    for more in ((), ("--status",)):
        assert CliRunner().invoke(command, ["tiny", *flags, *more]).exit_code == 0
    assert [fold for fold, _, _ in read] == folds and {recipe.condition for recipe in asked} == conditions
