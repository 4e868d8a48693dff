"""Exercises that answer: right and wrong, hints that grow, a guess that comes back, a file that is the reader's."""

import json
import subprocess
import sys
import threading

import numpy as np
import pytest
import torch

import kdlab
from kdlab.cli import cleaning
from kdlab.notebooks.parameters import find_notebook, number_of
from kdlab.teaching import answers, progress
from kdlab.teaching.exercises import FILE, Exercise, ExerciseError, digest, exercises, find, of_notebook

HINTS = ("a", "b", "c")


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """A reader's file of progress."""
    monkeypatch.setenv("KDLAB_PROGRESS", str(tmp_path / "mine" / "progress.json"))
    return tmp_path / "mine" / "progress.json"


def test_exercises_of_a_notebook_are_numbered_and_it_is_there():
    for number in dict.fromkeys(name.partition(".")[0] for name in exercises()):
        its = of_notebook(number)
        assert [e.name for e in its] == [f"{number}.{k}" for k in range(1, len(its) + 1)]
        assert number_of(find_notebook(number)) == number


def test_hints_grow_with_wrong_answers_and_the_answer_is_not_told(mine, capsys):
    for number in (1, 2, 3, 3):
        kdlab.check("03.2", 5)
        said = capsys.readouterr().out
        assert f"not yet.\nHint {number} of 3: {find('03.2').hints[number - 1]}" in said and "0.7" not in said
    kdlab.check("03.2", torch.tensor(-0.7167))
    assert capsys.readouterr().out == "03.2: right (-0.7167).\n"
    assert progress.read()["03.2"] == {"tries": 5, "right": True}
    kdlab.check("03.2", hint=2)
    assert capsys.readouterr().out == f"03.2, hint 2 of 3: {find('03.2').hints[1]}\n"
    kdlab.check("03.2", 7)  # what is solved stays solved
    assert progress.read()["03.2"]["right"]


def test_one_number_in_an_array_is_a_number(mine, capsys):
    kdlab.check("03.2", np.array([-0.7167]))
    assert capsys.readouterr().out == "03.2: right (-0.7167).\n"


def test_a_linked_file_of_progress_stays_a_link(tmp_path, monkeypatch):
    (tmp_path / "cloud").mkdir()
    (tmp_path / "progress.json").symlink_to(tmp_path / "cloud" / "mine.json")
    monkeypatch.setenv("KDLAB_PROGRESS", str(tmp_path / "progress.json"))
    monkeypatch.delenv("KDLAB_HEADLESS", raising=False)
    progress.note("03.2", tries=1)
    assert (tmp_path / "progress.json").is_symlink() and (tmp_path / "cloud" / "mine.json").is_file()


def test_a_guess_is_kept_and_shown_again_beside_what_was_found(mine, capsys):
    kdlab.check("03.1")
    assert "0 tries so far" in (said := capsys.readouterr().out) and "kdlab.guess('03.1'" in said
    kdlab.guess("03.1", 4)
    kdlab.guess("03.1", 5)
    kdlab.check("03.1", 9)
    assert "5" not in capsys.readouterr().out.rpartition("not yet")[2]
    kdlab.check("03.1", answers.NUMBERS["student_over_raw"]())
    assert "points). You had guessed 5 points." in capsys.readouterr().out
    kdlab.guessed("03.1")
    found = f"{answers.NUMBERS['student_over_raw']():.4g} points was found. It was asked: In the committed study"
    assert capsys.readouterr().out.startswith(f"Your guess for 03.1 was 5 points, and {found}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KDLAB_FIGURES", str(mine.parent / "nowhere"))
        kdlab.guessed("03.1")
    assert capsys.readouterr().out.startswith("Your guess for 03.1 was 5 points. It was asked: In the committed study")
    kdlab.guessed("00.2")
    assert not capsys.readouterr().out, "nothing was kept of it"
    with pytest.raises(ExerciseError, match="03.2 asks for no prediction"):
        kdlab.guessed("03.2")
    kdlab.guess("03.1", 1)  # as where all cells are run again the next day
    assert "solved already, so this would be no guess" in capsys.readouterr().out
    assert progress.read()["03.1"]["guess"] == 5
    with pytest.raises(ExerciseError, match="03.2 asks for no prediction"):
        kdlab.guess("03.2", 1)


@pytest.mark.parametrize(("name", "answer", "said"), [
    ("03.9", 1, "there is no exercise '03.9'; did you mean 03"), ("x", 1, "they run from 00.1 to "),
    ("03.2", "a", "03.2 takes one number, such as 1.5; got 'a'"), ("03.1", True, "one number of points"),
    ("03.1", float("nan"), "got nan"), ("03.1", [1, 2], "one number"), ("03.1", np.ones(2), "one number"),
    ("03.3", "d", r"03.3 takes a text \(a, b, c\); got 'd'"), ("03.3", 1, "takes a text"),
    ("03.5", 0.3, "takes a function of yours"),
])
def test_what_is_no_answer_is_said_and_is_no_try(mine, name, answer, said):
    with pytest.raises(ExerciseError, match=said):
        kdlab.check(name, answer)
    assert not mine.exists()
    with pytest.raises(ExerciseError, match="give 1 to 3"):
        kdlab.check("03.1", hint=4)


def test_evidence_that_is_missing_is_named(mine, monkeypatch, tmp_path):
    monkeypatch.setenv("KDLAB_FIGURES", str(tmp_path / "none"))
    with pytest.raises(ExerciseError, match="03.1 is answered from committed evidence that is not here"):
        kdlab.check("03.1", 1)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"what": "mine"}', '{"what": "kdlab progress", "exercises": []}',
                                  '{"what": "kdlab progress", "exercises": {"03.1": {"tries": "2"}}}'])
def test_a_damaged_file_is_said_and_stays_as_it_is(mine, text):
    mine.parent.mkdir()
    mine.write_text(text)
    with pytest.raises(progress.ProgressError, match="progress.json does not hold a reader's progress .* stays as it"):
        kdlab.check("03.3", "b")
    assert mine.read_text() == text


def test_a_folder_in_its_place_is_said(tmp_path, monkeypatch):
    monkeypatch.setenv("KDLAB_PROGRESS", str(tmp_path))
    with pytest.raises(progress.ProgressError, match="is a folder: let KDLAB_PROGRESS name a file"):
        progress.read()


def test_no_try_is_lost_where_several_notebooks_write(mine):
    writers = [threading.Thread(target=lambda: [progress.note("03.1", tries=1) for _ in range(5)]) for _ in range(4)]
    [w.start() for w in writers], [w.join() for w in writers]
    assert progress.read()["03.1"]["tries"] == 20
    assert sorted(p.name for p in mine.parent.iterdir()) == ["progress.json", "progress.json.lock"]


@pytest.mark.parametrize("headless", ["1", "quiet"])
def test_where_nobody_reads_no_file_is_touched(mine, monkeypatch, capsys, headless):
    monkeypatch.setenv("KDLAB_HEADLESS", headless)
    monkeypatch.setattr(progress, "_unread", {})
    kdlab.guess("03.1", 5)
    kdlab.check("03.1", answers.NUMBERS["student_over_raw"]())
    assert "You had guessed 5 points" in capsys.readouterr().out and not mine.parent.exists()


def test_clean_leaves_a_readers_progress(own_places):
    progress.note("03.1", guess=2.5)
    assert progress.file() == own_places / "RUNS" / progress.NAME
    found = cleaning.look("runs")
    cleaning.delete(found)
    assert progress.read() == {"03.1": {"guess": 2.5}} and not found.left


@pytest.mark.parametrize(("changed", "said"), [
    ({"kind": "essay"}, "kind='essay'"), ({"hints": ("one",)}, "3 hints, got 1"), ({"within": -1.0}, "within=-1.0"),
    ({"within": float("inf")}, "within=inf"), ({"digest": "a"}, "a word has a digest"), ({"by": ""}, "have `by`"),
    ({"kind": "code", "guess": True}, "only a number is guessed"),
])
def test_an_entry_that_cannot_be_asked_is_refused(changed, said):
    with pytest.raises(ExerciseError, match=said):
        Exercise(**{"name": "99.1", "ask": "?", "kind": "number", "hints": HINTS, "by": "x"} | changed)


def test_an_entry_with_an_unknown_field_is_named(monkeypatch, tmp_path):
    (tmp_path / "exercises.json").write_text(json.dumps({"99.1": {"answer": 42}}))
    monkeypatch.setattr("kdlab.teaching.exercises.FILE", tmp_path / "exercises.json")
    exercises.cache_clear()
    try:
        with pytest.raises(ExerciseError, match="exercises.json, 99.1: .*answer"):
            exercises()
    finally:
        exercises.cache_clear()
    assert FILE.is_file()


def test_digests_differ_between_exercises():
    assert digest("03.3", "b") != digest("02.4", "b") and digest("03.3", " B") == digest("03.3", "b")


def test_the_command_lists_what_is_asked_and_how_far_one_is(mine, command):
    progress.note("03.1", guess=2.5)
    progress.note("03.3", tries=2, right=True)
    code, said, _ = command("exercises", "3")
    lines = said.splitlines()
    assert code == 0 and len(lines) == 6 and "–, guessed 2.5" in lines[0] and "solved" in lines[2]
    assert lines[-1] == f"1 of 5 solved; kept in {mine}"
    assert len(command("exercises")[1].splitlines()) == len(exercises()) + 1
    code, _, said = command("exercises", "77")
    assert code == 2 and "no notebook '77'" in said


def test_kdlab_itself_imports_nothing_for_it():
    code = ("import kdlab, sys; assert 'kdlab.teaching.check' not in sys.modules; kdlab.check; kdlab.guess; "
            "kdlab.nothing")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "module 'kdlab' has no attribute 'nothing'" in done.stderr
