"""Notebooks executed beside one schedule of what they train."""

import json
from pathlib import Path

import pytest

from kdlab import paths
from kdlab.notebooks import reproduce as reproducing
from kdlab.notebooks.reproduce import reproduce
from kdlab.notebooks.run import Executed, executed_dir
from kdlab.train.many import TrainingFailed
from kdlab.train.runs import obtain
from tests.notebooks.test_run import quiet, write
from tests.train.test_runs import clips, make_recipe, make_student  # noqa: F401

#: What each toy notebook reads; the scoreboard reads all.
NAMED = {"01_raw": ("raw",), "02_pupil": ("student", "raw"), "03_none": (), "10_scoreboard": ()}


@pytest.fixture
def toys(clips, own_places, monkeypatch):  # noqa: F811
    """A clone of four notebooks, of which three read runs that reproduce knows of, on two cores."""
    monkeypatch.setattr(paths, "project_root", lambda: own_places)
    monkeypatch.delenv("KDLAB_PROFILE", raising=False)
    made = {"raw": make_recipe(clips, 5, epochs=1), "student": make_student(clips, epochs=1)}
    monkeypatch.setattr(reproducing, "trainings", lambda notebook, _: tuple(made[r] for r in NAMED[notebook.stem]))
    monkeypatch.setattr(reproducing, "available_cores", lambda: 2)
    (own_places / "notebooks").mkdir()
    for name, recipes in NAMED.items():
        there = [str(paths.runs_dir() / made[r].name / "run.json") for r in recipes]
        write(own_places, name, f"assert all(map(os.path.exists, {there}))\nassert os.environ['KDLAB_CORES'] in '12'")
    return own_places, made


def done(steps) -> dict[str, str]:
    return {step.notebook: step.status for step in steps}


def started() -> dict[str, float]:
    records = {file.stem.removesuffix("-demo-pretrained=False"): file for file in executed_dir().glob("*.json")}
    return {stem: json.loads(file.read_text())["started"] for stem, file in records.items()}


@pytest.mark.slow
def test_what_is_interrupted_or_fails_goes_on_to_the_bits_of_one_trained_alone(toys, monkeypatch):
    clone, made = toys
    write(clone, "03_none", "assert os.path.exists('mended'), 'mend me'")
    lines = []
    steps = reproduce(say=lines.append)
    assert steps[2].status == "failed" and "mend me" in steps[2].failure and steps[3].status == "not run"
    assert lines[0].startswith("3 trainings for 4 notebooks, on 2 cores")

    (clone / "notebooks" / "mended").touch()

    def stop_at_the_student(text):
        if text == "02_pupil: begun\n":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt, match="3 of 3 runs are finished and kept"):
        reproduce(say=stop_at_the_student)
    trained = {name: (paths.runs_dir() / recipe.name / "run.json").stat().st_mtime_ns for name, recipe in made.items()}
    steps = reproduce(say=quiet)
    assert {*done(steps).values()} <= {"done", "skipped"} and done(steps)["02_pupil"] == "done"
    assert trained == {name: (paths.runs_dir() / recipe.name / "run.json").stat().st_mtime_ns
                       for name, recipe in made.items()}, "a finished run is trained once"
    assert {*done(reproduce(say=quiet)).values()} == {"skipped"}

    before, run = started(), paths.runs_dir() / made["student"].name
    weights = json.loads((run / "run.json").read_text())["weights"]
    (run / "run.json").unlink()
    assert done(reproduce(say=quiet)) == {"01_raw": "skipped", "02_pupil": "done", "03_none": "skipped",
                                          "10_scoreboard": "done"}, "those that read it are executed again"
    assert started()["10_scoreboard"] > before["10_scoreboard"]
    monkeypatch.setenv("KDLAB_RUNS", str(clone / "alone"))
    alone = obtain(made["student"], pretrained=False, say=quiet)
    assert alone.provenance["weights"] == weights == json.loads((run / "run.json").read_text())["weights"]


def test_a_training_that_fails_names_itself_and_those_that_wait_for_it(toys, monkeypatch):
    _, made = toys
    why = f"{made['student'].name}: OSError: no space"

    def scheduled(todo, done, board, workers, how, *, tasks, begun, ended):
        ready = next(task for task in tasks if not task.recipes)
        begun(ready)
        assert ended(ready, Executed(ready.name, "done", 1.0))
        raise TrainingFailed(why)

    monkeypatch.setattr(reproducing, "scheduled", scheduled)
    lines = []
    steps = reproduce(say=lines.append)
    assert list(done(steps).values()) == ["not run", "not run", "done", "not run"]
    assert [step.failure for step in steps] == [None, f"not run, it needs {why}", None, f"not run, it needs {why}"]
    assert lines[0].startswith("3 trainings for 4 notebooks, on 2 cores") and f"failed: {why}\n" in lines


def test_after_a_notebook_that_fails_no_other_begins(toys, monkeypatch):
    def scheduled(todo, done, board, workers, how, *, tasks, begun, ended):
        assert not ended(tasks[0], Executed(tasks[0].name, "failed", 1.0, "cell 1: mend me"))
        assert ended(tasks[2], Executed(tasks[2].name, "done", 1.0)), "it was at work, and ends"

    monkeypatch.setattr(reproducing, "scheduled", scheduled)
    steps = reproduce(say=quiet)
    assert list(done(steps).values()) == ["failed", "not run", "done", "not run"]
    assert steps[0].failure == "cell 1: mend me" and steps[1].failure is None


def test_a_notebook_of_which_nothing_is_known_is_named_where_the_others_wait_for_it(toys, monkeypatch):
    _, made = toys
    unknown = {"03_none": None, "10_scoreboard": None}
    monkeypatch.setattr(reproducing, "trainings",
                        lambda notebook, _: unknown.get(notebook.stem, tuple(made[r] for r in NAMED[notebook.stem])))
    monkeypatch.setattr(reproducing, "run_notebook", lambda notebook, given, **_: Executed(notebook.stem, "done"))
    lines = []
    reproduce(say=lines.append)
    assert lines == ["one notebook after the other, because kdlab does not know what these train: "
                     "03_none, 10_scoreboard\n"]


def test_on_one_core_notebooks_follow_each_other_in_their_order(toys, monkeypatch):
    monkeypatch.setattr(reproducing, "available_cores", lambda: 1)
    monkeypatch.setattr(reproducing, "scheduled", lambda *_, **__: pytest.fail("there is nothing to do side by side"))
    order = []

    def executed(notebook, given, **_):
        order.append(notebook.stem)
        return reproducing.Executed(notebook.stem, "done")

    monkeypatch.setattr(reproducing, "run_notebook", executed)
    assert {*done(reproduce(say=quiet)).values()} == {"done"} and order == list(NAMED)
    assert not any(Path(paths.runs_dir()).glob("*/run.json")), "each trains what it needs by itself"
