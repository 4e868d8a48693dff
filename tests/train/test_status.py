"""The live table, the time left, and how many trainings were ever tried: from folders alone, nothing is trained."""

import dataclasses
import io
import json
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest
from filelock import FileLock
from safetensors.numpy import save_file
from tqdm import tqdm

from kdlab.system.ours import NotOurs
from kdlab.train import status
from kdlab.train.loop import Settings
from kdlab.train.status import Board, note_trial, seconds_left, standings, table, tally, tried
from tests.train.test_runs import make_recipe, make_student


@pytest.fixture(autouse=True)
def runs(tmp_path, monkeypatch):
    monkeypatch.setenv("KDLAB_RUNS", str(tmp_path))
    for label in ("left", "right"):
        (mine() / label).mkdir(parents=True)
        for n in range(4):
            (mine() / label / f"{n}.mp4").write_text(f"{label} {n}, which nobody decodes")
    return tmp_path


def mine():
    return status.paths.runs_dir() / "clips" / "mine"


def recipes(condition, seeds, epochs=10):
    return [make_recipe(mine(), seed, epochs, condition=condition) for seed in range(seeds)]


def finished(seconds):
    return SimpleNamespace(provenance={"cpu_seconds": seconds})


def checkpoint(recipe, epochs, seconds):
    folder = status.paths.runs_dir() / recipe.name
    folder.mkdir(exist_ok=True)
    note = {"history": [{}] * epochs, "cpu_seconds": seconds}
    save_file({"x": np.zeros(3)}, folder / "checkpoint.safetensors", metadata={"note": json.dumps(note)})


def test_the_table_shows_what_other_processes_are_at(runs):
    raw, longer = recipes("ce_raw", 3), recipes("ce_2x", 2, epochs=20)
    checkpoint(raw[1], 4, 12.0)
    (runs / f"{raw[2].name}.lock").touch()  # a lock that nobody holds any more
    with FileLock(runs / f"{raw[1].name}.lock"):
        text = table(standings([*raw, *longer], {raw[0]: finished(30.0)}), "soon")
    assert text.splitlines() == [
        "              done  running   left",
        "ce_raw-mine      1        1      1   seed 1: 40%",
        "ce_2x-mine       0        0      2",
        "total            1        1      3   soon",
    ]
    assert not (runs / f"{longer[0].name}.lock").exists(), "looking must not leave locks behind"
    assert "ce_raw-mine      1        0      2\n" in table(standings([*raw, *longer], {raw[0]: finished(30.0)}), "")


def test_the_time_left_is_that_of_trainings_alike():
    raw, longer = recipes("ce_raw", 3), recipes("ce_2x", 2, epochs=20)
    students = [make_student(mine(), s, settings=Settings(epochs=10, batch_size=4)) for s in (0, 1)]
    assert np.isnan(seconds_left(standings(raw, {})))
    done = {raw[0]: finished(30.0)}
    assert seconds_left(standings([*raw, *longer], done)) == pytest.approx(2 * 30 + 2 * 60)  # by their epochs
    checkpoint(longer[0], 5, 25.0)  # a quarter in 25 s: each takes 100 s, of which 75 and 100 are left
    assert seconds_left(standings([*raw, *longer], done)) == pytest.approx(2 * 30 + 75 + 100)
    done |= {raw[1]: finished(50.0), students[0]: finished(90.0)}  # other seed and teacher, and as long
    assert seconds_left(standings([*raw, *students], done)) == pytest.approx(40 + 90)


@pytest.mark.parametrize("place", ["terminal", "notebook"])
def test_where_somebody_watches_it_is_a_bar_below_what_is_said(monkeypatch, place):
    class Terminal(io.StringIO):
        isatty = lambda self: place == "terminal"  # noqa: E731

    monkeypatch.delenv("KDLAB_HEADLESS", raising=False)
    monkeypatch.setattr(status, "tqdm", tqdm)  # the notebook's needs a kernel
    monkeypatch.delitem(sys.modules, "ipykernel", raising=False)
    if place == "notebook":
        monkeypatch.setitem(sys.modules, "ipykernel", SimpleNamespace())
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    raw, done, said = recipes("ce_raw", 2), {}, []
    board = Board(raw, done, 2, said.append)
    board.show()
    assert terminal.getvalue().rstrip().endswith("0/2, 0 running, 0:00:00 so far, unknown time left")
    done[raw[0]] = finished(5.0)
    board.say("one is trained")
    assert said == ["one is trained"] and "1/2, 0 running, 0:00:00 so far, about 0:00:" in terminal.getvalue()
    board.bar.close()
    assert terminal.getvalue().rstrip(" ").endswith("\r"), "nothing is left of it"


@pytest.fixture
def now(monkeypatch):
    """The seconds that a headless board's clock shows, in a list, for a test to move on."""
    now = [1000.0]
    monkeypatch.setenv("KDLAB_HEADLESS", "1")
    monkeypatch.setattr(status.time, "monotonic", lambda: now[0])
    return now


def test_headless_it_is_a_line_each_half_minute(now, capsys):
    raw, done = recipes("ce_raw", 4), {}
    board = Board(raw, done, 2, print)
    board.show()
    now[0] += 31
    board.show()
    board.show()
    assert capsys.readouterr().out == "trainings: 0 done, 0 running, 4 left, 0:00:31 so far, unknown time left\n"
    done |= {raw[0]: finished(40.0), raw[1]: finished(40.0)}
    now[0] += 29
    board.show()
    assert capsys.readouterr().out == ""
    now[0] += 1  # two workers have made 80 CPU s until now, however long that took: 80 are left for both
    board.show()
    assert capsys.readouterr().out == "trainings: 2 done, 0 running, 2 left, 0:01:01 so far, about 0:00:40 left\n"
    done[raw[2]] = finished(40.0)
    now[0] += 60  # one more of 40 CPU s in a minute, after 20 s in which two would have made 40: 1 a second
    board.show()
    assert capsys.readouterr().out == "trainings: 3 done, 0 running, 1 left, 0:02:01 so far, about 0:00:40 left\n"


def test_what_comes_before_the_first_training_does_not_slow_the_estimate(now, capsys):
    """Opening clips and starting processes, which comes once: the first estimate was three times too long."""
    raw, done = recipes("ce_raw", 4), {}
    board = Board(raw, done, 2, print)
    now[0] += 360
    done |= {raw[0]: finished(40.0), raw[1]: finished(40.0)}
    board.show()
    assert capsys.readouterr().out == "trainings: 2 done, 0 running, 2 left, 0:06:00 so far, about 0:00:40 left\n"


def test_of_trainings_that_begin_at_once_each_has_a_line_below_one_head(runs):
    def begin(k):
        together.wait()
        note_trial(f"ce_raw-night-s{k}-ab12cd", {"sources": "a", "data": "d"})

    for _ in range(10):
        together = threading.Barrier(8)
        (runs / "tried.csv").unlink(missing_ok=True)
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(begin, range(8)))
        lines = (runs / "tried.csv").read_text().splitlines()
        assert lines[0] == "time,sources,data,run" and len(lines) == 1 + 8
        assert {line.split("-s")[1][0] for line in lines[1:]} == set("01234567")


def test_trainings_once_tried_are_not_forgotten(runs):
    raw, other = recipes("ce_raw", 2), recipes("dlkdd", 1)
    resized = dataclasses.replace(raw[0], settings=Settings(epochs=77))
    assert tried([raw[0].name]) == 0
    for recipe, sources in ((raw[0], "a"), (raw[0], "a"), (raw[0], "b"), (resized, "a"), (other[0], "a")):
        note_trial(recipe.name, {"sources": sources, "data": "d"})
    assert (runs / "tried.csv").read_text().splitlines()[0] == "time,sources,data,run"
    assert tried([raw[0].name]) == 3, "gone on with: once; other sources or another size: once more"
    assert tried([raw[0].name, other[0].name]) == 4
    for recipe, sources in ((raw[0], "b"), (raw[1], "a")):  # the first is in the list, the second from before the list
        (runs / recipe.name).mkdir()
        (runs / recipe.name / "begun.json").write_text(json.dumps({"sources": sources, "data": "d"}))
    assert tried([raw[0].name]) == 4
    scores = SimpleNamespace(recipes={"ce_raw": [raw[0].name, raw[1].name], "both": [f"{raw[0].name}+{raw[1].name}"]})
    assert tally([scores]) == (
        "2 trainings are in this table. In this runs folder 4 trainings of its conditions were ever begun, at any "
        "size; a committed table may come from another machine")


def test_a_plus_in_the_name_of_clips_is_no_end_of_a_run():
    names = ["ce_raw-c++-s0-ab12cd", "ce_raw-c++-s1-ab12ce"]
    scores = SimpleNamespace(recipes={"ce_raw": names, "both": ["+".join(names)], "wise": ["no run's name"]})
    assert tally([scores]).startswith("3 trainings are in this table")


def test_a_list_of_somebodys_is_not_continued(runs):
    (runs / "tried.csv").write_text("recipes I tried\nlasagne\n")
    with pytest.raises(NotOurs, match="tried.csv is there already and is no list of trainings of kdlab's"):
        note_trial("ce_raw-night-s0-ab12cd", {"sources": "a", "data": "d"})
    assert (runs / "tried.csv").read_text() == "recipes I tried\nlasagne\n"


@pytest.mark.parametrize("content", [b"", b"\0" * 300, b"\x10" + bytes(7) + b"{\"a\": 1}......", None])
def test_a_damaged_checkpoint_is_no_progress_and_stops_no_table(content):
    raw = recipes("ce_raw", 1)
    checkpoint(raw[0], 4, 12.0)
    file = status.paths.runs_dir() / raw[0].name / "checkpoint.safetensors"
    if content is None:
        save_file({"x": np.zeros(3)}, file, metadata={"note": json.dumps({"history": 3, "cpu_seconds": "x"})})
    else:
        file.write_bytes(content)
    assert standings(raw, {}).share.tolist() == [0.0]


def test_a_line_that_was_cut_off_does_not_swallow_the_next(runs):
    note_trial("ce_raw-night-s0-ab12cd", {"sources": "a", "data": "d"})
    (runs / "tried.csv").write_bytes((runs / "tried.csv").read_bytes()[:-9])
    note_trial("ce_raw-night-s1-ab12cd", {"sources": "a", "data": "d"})
    assert tried(["ce_raw-night-s1-ab12cd"]) == 2


def test_the_status_of_a_study_goes_on_where_clips_are_away_and_runs_damaged(runs, capsys):
    from kdlab.cli.study import _say_status

    raw, away = recipes("ce_raw", 2), [make_recipe("/nowhere/real", seed) for seed in range(3)]
    (runs / raw[0].name).mkdir()
    (runs / raw[0].name / "run.json").write_text("{")
    _say_status([*raw, *away])
    said = capsys.readouterr().out
    assert "ce_raw-mine      0        0      2" in said
    assert f"left, because stale or damaged: {raw[0].name}: " in said and "run.json is damaged" in said
    assert "not looked for, 3 trainings: /nowhere/real: no such file or folder" in said
