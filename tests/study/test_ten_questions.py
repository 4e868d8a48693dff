"""The ten questions of studies/: they can be asked, and are answered only if they are older than their worlds."""

import re
import subprocess
from importlib import import_module
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from kdlab.study import Scores, answers, compared, values
from kdlab.study.study import COLUMNS, Study
from kdlab.system import paths

NAMES = "1", "2", "3", "4", "5", "6", "7", "8a", "8b", "9", "10"


@pytest.fixture
def ten(monkeypatch, tmp_path):
    """studies/register.py, whose folder is in a repository of its own; everything was tuned."""
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parents[2] / "studies"))
    ten, folder = import_module("register"), tmp_path / "figures" / "evidence"
    for name in ("register", "report", "worlds", "curves"):
        monkeypatch.setattr(import_module(name), "FOLDER", folder)
    monkeypatch.setattr(paths, "project_root", lambda: tmp_path)
    folder.mkdir(parents=True)
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    for name in ten.SCRIPTS:
        if hasattr(import_module(name), "tuned"):
            tuned_to(ten, name)
    return ten


def tuned_to(ten, name, worlds=(), **better):
    """Made-up rows of a tuning, by default in all its worlds: the usual values are best, but for those that are
    ``better``."""
    script = import_module(name)
    usual = ten.own(script.CANDIDATES)
    values = {name: 60 + (name in usual) for name in script.tuned.recipes(0)}
    write(ten, script.tuned, values | better, worlds or ten.TUNED_IN)


def commit(ten):
    who = ["-c", "user.name=a", "-c", "user.email=a@b.example"]
    for more in (["add", "-A"], [*who, "commit", "-q", "-m", "more"]):
        subprocess.run(["git", *more], cwd=ten.FOLDER, check=True)


def write(ten, study, values, worlds, noise=0.0):
    """Made-up rows of a study: the same values in all ``worlds``, but for noise."""
    rng = np.random.default_rng(0)
    rows = [
        (world, name, value + rng.normal(0, noise), 1.0, f"clips {world}", "code", "", "a cpu")
        for world in worlds
        for name, value in values.items()
    ]
    table = pd.DataFrame(rows, columns=COLUMNS).assign(questions=study.digest())
    table.to_csv(ten.FOLDER / f"{study.name}.csv", index=False)


def make_up(ten, worlds, scripts=()):
    """Made-up rows and logits of all studies; the methods are five points better than all else."""
    rng = np.random.default_rng(1)
    for script in map(import_module, scripts or ten.SCRIPTS):
        asked = getattr(script, "QUESTIONS", ())
        best = {question.method for question in asked}
        names = {n for q in asked for n in (q.method, q.baseline, q.teacher, *q.rivals)}
        names |= {
            n for rows in getattr(script, "ALSO", {}).values() for _, *pair in rows for n in pair
        }
        names |= {f"{w}: {m}" for w in getattr(script, "WAYS", ()) for m in script.MEASURED}
        doses = getattr(script, "DOSES", {})
        taught = getattr(script, "TAUGHT", {})
        names |= {*doses, *doses.values(), *taught, *taught.values()}
        names |= {f"{n}, ×{share}" for n in getattr(script, "DRAWN", ()) for share in ten.SHARES}
        values = {name: 50.0 + 5 * (name in best) for name in names - {"", "zero"}}
        write(ten, script.study, values, worlds, noise=1.0)
        for world in worlds:
            logits = {name: rng.normal(size=(1, 20, 3)) for name in names}
            labels, ids = np.arange(20) % 3, np.arange(20)
            scores = Scores(("a", "b", "c"), (0,), ids, ids, labels, logits=logits)
            scores.save(ten.FOLDER / f"{script.study.name}-{world}.npz")
    curves = import_module("curves")
    for name, study in curves.LATER.items():
        shares = {f"{n}, ×{share}": 50.0 for n in curves.DRAWN[name] for share in ten.SHARES}
        write(ten, study, shares, worlds, noise=1.0)


def test_the_page_has_ten_answers_in_at_most_2500_words_and_chapters_read_the_same(
    ten, monkeypatch
):
    ten.register(*NAMES)
    commit(ten)
    make_up(ten, ten.WORLDS)
    report = import_module("report")
    monkeypatch.setattr(report, "style", lambda: None)  # other tests keep matplotlib's
    report.main()
    page = (paths.project_root() / "docs" / "results.md").read_text("utf-8")
    assert len(re.findall(r"\S*\w\S*", page)) <= 2500
    assert page.count("\n## ") == 11
    assert "ithheld" not in page
    for question in ten.questions():
        assert f"## {question.name}. {question.asks}" in page
        assert (ten.FOLDER / f"question-{question.name}.png").exists()
    assert "**DL-KDD − labels alone: +" in page and "| raw student | " in page
    for name in ("question-1-steps", "question-6-steps", "question-5-dose", "answers"):
        assert (ten.FOLDER / f"{name}.png").exists()
    assert "Drawn again" not in page
    recomputed = import_module("recompute").numbers(ten.FOLDER)
    assert len(recomputed) > 100
    assert not [number for _, number in recomputed if number not in page]
    effects, worlds = compared("1")
    assert effects["− labels alone"] == answers()["1"].effect
    assert not any(map(ten.withheld, ten.questions()))
    gains = values("1").eval("`DL-KDD` - `labels alone`")
    assert worlds["− labels alone"].tolist() == gains.tolist()
    file = ten.FOLDER / "flatness.csv"
    table = pd.read_csv(file)
    table.assign(value=table.value.where(table.world > ten.WORLDS[0])).to_csv(file, index=False)
    assert str(answers()["10"]).startswith("withheld: an effect needs a finite difference")
    assert not answers()["1"].withheld
    make_up(ten, ten.WORLDS[:-1])
    last, first = ten.WORLDS[-1], ten.WORLDS[0]
    assert str(answers()["6"]) == f"withheld: no rows of worlds [{last}]"
    (ten.FOLDER / "detection.csv").unlink()
    assert str(answers()["6"]).startswith(f"withheld: no rows of worlds [{first}, ")


@pytest.mark.parametrize(
    "spoil, why",
    [
        (lambda ten: None, "the questions are not committed"),
        (
            lambda ten: (make_up(ten, ten.WORLDS[:-2]), commit(ten)),
            "no rows of worlds [215, 216]",
        ),
        (
            lambda ten: ((ten.FOLDER / "from_nothing_tuning.csv").unlink(), commit(ten)),
            "labels alone was not tuned",
        ),
        (
            lambda ten: (tuned_to(ten, "from_nothing", ten.TUNED_IN[:1]), commit(ten)),
            "labels alone was not tuned",
        ),
        (
            lambda ten: (
                tuned_to(ten, "from_nothing", **{"DL-KDD, alpha 0.25": 62}),
                commit(ten),
            ),
            "its recipes were changed after it was written down",
        ),
        (
            lambda ten: (ten.FOLDER / "questions.json").write_text("{}"),
            "the question was changed after it was",
        ),
        (
            lambda ten: (
                commit(ten),
                ten.write_note(
                    "questions", {n: q | {"sees": 9} for n, q in ten.note("questions").items()}
                ),
                commit(ten),
            ),
            "the results are older than their",
        ),
    ],
)
def test_an_answer_is_withheld_in_one_sentence(ten, spoil, why):
    ten.register(*NAMES)
    make_up(ten, ten.WORLDS)
    spoil(ten)
    assert ten.withheld(ten.questions()[0]).startswith(why)


def test_no_world_of_the_answers_is_drawn_before_its_questions_are_written_down(ten):
    for script in map(import_module, ten.SCRIPTS):
        with pytest.raises(ValueError, match="world 211 of .* is drawn once its questions are"):
            script.study.recipes(211)
        assert script.study.recipes(300)
    ten.register("1")
    assert import_module("from_nothing").study.recipes(211)
    with pytest.raises(ValueError, match="world 211 of generative"):
        import_module("generative").study.recipes(211)
    make_up(ten, ten.WORLDS)
    with pytest.raises(ValueError, match="questions are written down before"):
        ten.register("5")
    for name, why in (("8", "there is no question 8"), ("7", "8a has the worlds of question 7")):
        with pytest.raises(ValueError, match=why):
            ten.register(name)


def test_a_question_that_is_written_down_later_withholds_no_earlier_answer(ten):
    ten.register("1")
    commit(ten)
    make_up(ten, ten.WORLDS, ["from_nothing"])
    commit(ten)
    ten.register("5")
    commit(ten)
    assert not ten.withheld(ten.questions()[0])


def test_the_best_values_are_trained_and_none_at_an_edge_is_registered(ten):
    script = import_module("from_nothing")
    assert script.study.recipes(300)["DL-KDD"].method.alpha == 0.5
    best = {"DL-KDD, alpha 0.9": 62, "labels alone, lr 0.002": 62}
    tuned_to(ten, "from_nothing", **best)
    recipes = script.study.recipes(300)
    assert (recipes["DL-KDD"].method.alpha, recipes["same-light KD"].method.alpha) == (0.9, 0.5)
    assert recipes["DL-KDD, bright twin"].method.alpha == 0.9
    assert recipes["labels alone"].settings.lr == recipes["twice the steps"].settings.lr == 2e-3
    assert recipes["twice the steps"].settings.epochs == 2 * recipes["labels alone"].settings.epochs
    with pytest.raises(ValueError, match="labels alone is best at settings.lr=0.002, the last"):
        ten.register("1")


def test_a_world_that_failed_is_drawn_again_with_other_seeds(ten, monkeypatch):
    worlds, seeds = import_module("worlds"), []
    study = import_module("from_nothing").study
    ten.register("1")

    def draw(self, world, folder, *_):
        seed = study.recipes(world)["DL-KDD"].seed
        seeds.append(seed)
        if seed == 213100:
            raise KeyboardInterrupt
        values = {"DL-KDD: training loss": 0.3 if seed in (211000, 211100, 213000) else 0.2}
        # a short training may fail
        values |= {"DL-KDD, ×1/4: training loss": 2.0, "GenKD in labels' time: training loss": 2.0}
        values |= {"a random teacher: training loss": 0.5}  # its student cannot fit
        write(ten, study, values, [world])

    monkeypatch.setattr(Study, "draw", draw)
    study.draw(211, ten.FOLDER)
    assert seeds == [211000, 211100, 211200]
    assert worlds.redrawn("from_nothing") == {"211": [["DL-KDD"], ["DL-KDD"]]}
    assert import_module("report").failures("from_nothing") == "Drawn again: world 211 (DL-KDD)."
    failed = pd.read_csv(ten.FOLDER / "failed.csv")
    assert sorted(set(failed.attempt)) == [0, 1] and set(failed.study) == {"from_nothing"}
    study.draw(212, ten.FOLDER)
    assert seeds[3:] == [212000]
    with pytest.raises(KeyboardInterrupt):
        study.draw(213, ten.FOLDER)
    assert 213 not in set(study.rows(ten.FOLDER).world)  # so it is drawn when the study goes on


def test_a_slope_of_gain_on_lead():
    slope = import_module("report").slope
    leads = np.array([[0.0, 1, 2], [1, 2, 5], [0, 4, 8]])
    offsets = np.array([[3.0], [-1], [2]])
    assert slope(leads, 0.5 * leads + offsets) == pytest.approx((0.5, 0))
