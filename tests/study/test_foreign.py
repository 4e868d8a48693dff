"""A study in a file of somebody else's, the whole way: trained, interrupted, resumed, judged; and what is refused."""

import re
import sys
import textwrap

import numpy as np
import pandas as pd
import pytest

import kdlab.study
from kdlab.study import Scores, study_in
from kdlab.study.evidence import COLUMNS
from kdlab.train import many
from tests.train.test_runs import clips  # noqa: F401

MINE = '''
"""Does a student learn more from a bright teacher than from labels? One page, outside kdlab."""

from dataclasses import replace

from kdlab.clips.enhance import Gamma
from kdlab.clips.views import Enhanced, Window
from kdlab.papers.dual_light.method import DualLight
from kdlab.nets.video import TinyR2Plus1D
from kdlab.train.sizes import SMOKE
from kdlab.train.recipe import Recipe, UserClips
from kdlab.study import Claim, Part, Study, by_condition
from kdlab.train.loop import Settings


def conditions(seed):
    plain = Recipe("plain", UserClips({clips!r}), net=TinyR2Plus1D(widths=(4, 8)), window=Window(4, 16, 16),
                   settings=Settings(epochs=1, batch_size=4), seed=seed)
    bright = replace(plain, condition="bright", view=Enhanced(Gamma(1.8)), seed=seed + 1)
    return {{"plain": plain, "taught": replace(plain, condition="taught", method=DualLight(), teacher=bright)}}


def parts(size, seeds):
    return [Part("mine", by_condition(conditions, seeds), unit="group")]


study = Study("my_study", parts, size=SMOKE, claims=[
    Claim("M1", "a bright teacher helps", "taught", "plain", comparison="taught − labels")])
'''


@pytest.fixture
def places(tmp_path, monkeypatch):
    """Own places; what a foreign file added to ``sys.path`` and ``sys.modules`` is taken away again."""
    for name in ("RUNS", "CACHE", "DATA", "FIGURES"):
        monkeypatch.setenv(f"KDLAB_{name}", str(tmp_path / name.lower()))
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path
    for name in [name for name, its in sys.modules.items() if str(tmp_path) in str(getattr(its, "__file__", ""))]:
        del sys.modules[name]


def write(folder, text, name="my_study.py"):
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


def test_a_study_of_ones_own_goes_the_whole_way(clips, places, command, monkeypatch):  # noqa: F811
    file, true_of, begun = write(places, MINE.format(clips=str(clips))), many._obtain_named, []

    def interrupted(recipe, *how):
        begun.append(recipe)
        if len(begun) == 4:
            raise KeyboardInterrupt
        return true_of(recipe, *how)

    monkeypatch.setattr(many, "_obtain_named", interrupted)
    code, out, _ = command("study", file, "--workers", 1, "--status")
    assert code == 0 and "plain-clips" in out and out.splitlines()[-1].split()[:4] == ["total", "0", "0", "6"]
    code, _, err = command("study", file, "--workers", 1)
    assert code == 130 and "3 of 6 runs are finished and kept; the same call goes on from there" in err
    assert command("study", file, "--status")[1].splitlines()[-1].split()[:4] == ["total", "3", "0", "3"]

    code, out, err = command("study", file, "--workers", 1)
    assert code == 0, err
    assert len(begun) == 4 + 3 and "M1 a bright teacher helps taught − labels" in " ".join(out.split())
    assert "4 trainings are in this table" in out and not (places / "figures").exists()
    place = places / "runs" / "studies" / "my_study-smoke"
    assert str(place / "my_study.csv") in out
    table = pd.read_csv(place / "my_study.csv", keep_default_na=False)
    scores = Scores.load(place / "predictions" / "my_study-mine.npz")
    assert list(table.columns) == COLUMNS and set(table.study) == {"my_study"} and set(table.data) == {"mine"}
    found = table[table.metric == "accuracy"].set_index(["condition", "seed"]).value
    assert len(found) == 4 and len(scores.ids) == 8 and len(np.unique(scores.units)) == 4
    for (condition, seed), value in found.items():
        assert value == pytest.approx(scores.accuracy(condition)[seed], abs=1e-3)
    assert study_in(file).verdicts(scores).effect[0] == str(scores.effect("taught", "plain"))

    before = (place / "my_study.csv").read_bytes()
    assert command("study", file, "--workers", 1)[0] == 0 and len(begun) == 7, "nothing is trained twice"
    assert (place / "my_study.csv").read_bytes() == before


def test_the_page_in_the_docstring_is_a_study(places):
    text = textwrap.dedent(kdlab.study.__doc__.partition("::\n")[2].partition("\n``kdlab study")[0])
    study = study_in(write(places, text))
    assert {(r.condition, r.seed) for r in study.trainings()} == {
        (name, seed) for name in ("ce_raw", "ce_2x", "dlkdd") for seed in (0, 1)}
    assert study.claims[0].controls == ("ce_2x",) and text.count("\n") < 30


@pytest.mark.parametrize("change, message", [
    (("study = Study(", "study = (lambda *_, **__: None)("), "has no Study, where one is wanted: end it with study ="),
    (("study = Study(", "other = Study('o', parts)\nstudy = Study("), "has 2 Study objects, where one is wanted"),
    (("def conditions", "def def conditions"), "cannot be read as Python .SyntaxError"),
    (("import Gamma", "import Gama"), "cannot be read as Python .ImportError: .*Gama"),
    (('Study("my_study"', 'Study("dual_light"'), "'dual_light' is the name of a study of kdlab's"),
    (('Study("my_study"', 'Study("my study"'), "'my study' may have letters, digits and _ only"),
    (('"taught", "plain"', '"taught", "plan"'), "claim M1 of the study my_study names 'plan', which it does not train; "
                                                "it trains plain, taught"),
    (("return [Part(", "return [dict(data="), "parts.. of the study my_study must give kdlab.study.Part s, not"),
    (("size=SMOKE", "size='small'"), "the size of the study my_study, 'small', has no name: give it one"),
    (("[Part(", "2 * [Part("), "two parts of the study my_study keep their predictions as my_study-mine: give one"),
    (("return [Part(", "return [Part('mine', by_condition(conditions, seeds), file='other'), Part("),
     "two parts of the study my_study keep predictions of mine, and one alone would be read: give one another data="),
    (("by_condition(conditions, seeds)", "{'plain': [conditions(0)['plain']], 'taught': [conditions(1)['taught']]}"),
     "every condition needs the same seeds"),
])
def test_what_is_no_study_is_refused_before_anything_is_trained(clips, places, command, change, message):  # noqa: F811
    text = MINE.format(clips=str(clips)).replace(*change).replace('data="mine", ', 'data="mine", recipes=')
    assert text != MINE.format(clips=str(clips))
    code, _, err = command("study", write(places, text), "--workers", 1)
    assert code == 2 and re.search(message, err) and len(err.splitlines()) == 1, err
    assert not (places / "runs" / "tried.csv").exists()


@pytest.mark.parametrize("name, message", [
    ("nothing.py", "there is no such file"), ("random.py", "cannot be imported by the name 'random'"),
    ("my-study.py", "cannot be imported by the name 'my-study'"), ("pandas.py", "has the name of another module"),
    ("unknown", "kdlab has no study .*it has attention, .*One of your own is named by its file"),
])
def test_a_file_that_cannot_be_imported_is_named(places, command, name, message):
    file = places / name if name == "nothing.py" else write(places, "", name) if name.endswith(".py") else name
    code, _, err = command("study", file)
    assert code == 2 and re.search(message, err) and len(err.splitlines()) == 1, err


def test_data_sets_that_a_study_does_not_have_are_refused(clips, places, command):  # noqa: F811
    code, _, err = command("study", write(places, MINE.format(clips=str(clips))), "--only", "yours")
    assert code == 2 and "my_study has no data set 'yours'; it has mine" in err
