"""The ten questions of studies/: they can be asked, and are answered only if they are older than their worlds."""

import re
import subprocess
from importlib import import_module
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from kdlab.study import edition
from kdlab.study.study import COLUMNS
from kdlab.system import paths


@pytest.fixture
def ten(monkeypatch, tmp_path):
    """studies/register.py, whose folder is in a repository of its own."""
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parents[2] / "studies"))
    ten, folder = import_module("register"), tmp_path / "figures" / "edition-2"
    for module in (ten, import_module("report"), import_module("worlds")):
        monkeypatch.setattr(module, "FOLDER", folder)
    monkeypatch.setattr(paths, "project_root", lambda: tmp_path)
    folder.mkdir(parents=True)
    for more in (
        ["init", "-q"],
        ["config", "user.email", "a@b.example"],
        ["config", "user.name", "a"],
    ):
        subprocess.run(["git", *more], cwd=tmp_path, check=True)
    return ten


def commit(ten):
    for more in (["add", "-A"], ["commit", "-q", "-m", "more"]):
        subprocess.run(["git", *more], cwd=ten.FOLDER, check=True)


def make_up(ten, worlds):
    """Made-up rows of all studies and tunings; the methods are five points better than all else."""
    rng = np.random.default_rng(0)

    def write(study, names, worlds):
        rows = [
            (
                world,
                name,
                50 + 5 * (name in best) + rng.normal(),
                1.0,
                f"clips {world}",
                "code",
                study.digest(),
            )
            for world in worlds
            for name in names
            if world < 205 or "Zero-DCE" not in name
        ]
        pd.DataFrame(rows, columns=COLUMNS).to_csv(ten.FOLDER / f"{study.name}.csv", index=False)

    for script in map(import_module, ten.SCRIPTS):
        asked = getattr(script, "QUESTIONS", ())
        best = {q.method for q in getattr(script, "QUESTIONS", ())}
        names = {n for q in asked for n in (q.method, q.baseline, q.teacher, *q.rivals)}
        names |= {
            n for rows in getattr(script, "ALSO", {}).values() for _, *pair in rows for n in pair
        }
        names |= {
            f"{way}: {what}"
            for way in getattr(script, "WAYS", ())
            for what in getattr(script, "MEASURED", ())
        }
        write(script.study, names - {"", "zero"}, worlds)
        if hasattr(script, "tuned"):
            labels = [
                ten.label(c, change)
                for c, some in ten.tried(script.CANDIDATES).items()
                for change in some
            ]
            write(script.tuned, labels, ten.TUNED_IN)


def test_the_page_has_ten_answers_in_at_most_2500_words_and_chapters_read_the_same(ten, capsys):
    ten.register()
    commit(ten)
    make_up(ten, ten.WORLDS)
    rows = pd.read_csv(ten.FOLDER / "into_the_dark.csv")
    rows.loc[(rows.world == 203) & (rows.condition == "ten labels alone"), "value"] = 10.0
    rows.to_csv(ten.FOLDER / "into_the_dark.csv", index=False)
    import_module("report").main()
    page = (paths.project_root() / "docs" / "results.md").read_text("utf-8")
    assert len(re.findall(r"\S*\w\S*", page)) <= 2500
    assert page.count("\n## ") == 11
    assert "ithheld" not in page
    for question in ten.questions():
        assert f"## {question.name}. {question.asks}" in page
        assert (ten.FOLDER / f"question-{question.name}.png").exists()
    assert "**DL-KDD helps by +" in page and "| raw student | " in page
    assert "| Zero-DCE: the teacher's lead (5 worlds) | " in page
    assert "| gamma 1.2: the teacher's lead | " in page
    assert "| over ten labels alone (failed: 1) | " in page
    assert "without the failed world (added later) | " in page
    assert list(edition.answers().values()) == ten.answers()
    assert edition.compared("1").iloc[0, 0] == str(ten.answers()[0].effect)
    assert len(ten.answers()) == 10
    assert (
        edition.compared("1").iloc[0, 1]
        == edition.values("1").eval("`DL-KDD` - `labels alone`").min()
    )
    make_up(ten, ten.WORLDS[:9])
    assert str(edition.answers()["6"]) == "withheld: world 209 is missing"
    (ten.FOLDER / "detection.csv").unlink()
    assert str(edition.answers()["6"]) == "withheld: world 200 is missing, and 9 more"


@pytest.mark.parametrize(
    "spoil, why",
    [
        (lambda ten: None, "the questions are not committed"),
        (
            lambda ten: (make_up(ten, ten.WORLDS[:8]), commit(ten)),
            "world 208 is missing, and 1 more",
        ),
        (
            lambda ten: ((ten.FOLDER / "from_nothing_tuning.csv").unlink(), commit(ten)),
            "DL-KDD was not tuned",
        ),
        (
            lambda ten: (ten.FOLDER / "questions.json").write_text("{}"),
            "the question was changed after it was",
        ),
        (
            lambda ten: (
                commit(ten),
                (ten.FOLDER / "questions.json").write_text(
                    (ten.FOLDER / "questions.json").read_text() + "\n"
                ),
                commit(ten),
            ),
            "the results are older than their",
        ),
    ],
)
def test_an_answer_is_withheld_in_one_sentence(ten, spoil, why):
    ten.register()
    make_up(ten, ten.WORLDS)
    spoil(ten)
    assert str(ten.answers()[0]).startswith(f"withheld: {why}")


def test_no_world_of_the_answers_is_drawn_before_the_questions_are_written_down(ten):
    for script in map(import_module, ten.SCRIPTS):
        with pytest.raises(
            ValueError, match="world 200 is drawn once the questions are written down"
        ):
            script.study.recipes(200)
        assert script.study.recipes(300)
    make_up(ten, ten.WORLDS)
    with pytest.raises(ValueError, match="questions are written down before"):
        ten.register()


def test_what_was_chosen_is_trained_also_where_a_choice_is_shared(ten):
    script = import_module("from_nothing")
    assert script.study.recipes(300)["DL-KDD"].method.alpha == 0.5  # before it was tuned
    best = {
        ten.label("DL-KDD", {"method.alpha": 0.9}),
        ten.label("labels alone", {"settings.lr": 2e-3}),
    }
    labels = [
        ten.label(c, change) for c, some in ten.tried(script.CANDIDATES).items() for change in some
    ]
    rows = [
        (world, name, 60 + (name in best), 1.0, "", "", "")
        for world in (190, 191)
        for name in labels
    ]
    pd.DataFrame(rows, columns=COLUMNS).to_csv(ten.FOLDER / "from_nothing_tuning.csv", index=False)
    made = script.study.recipes(300)
    assert (made["DL-KDD"].method.alpha, made["same-light KD"].method.alpha) == (0.9, 0.5)
    assert made["labels alone"].settings.lr == made["twice the steps"].settings.lr == 2e-3
