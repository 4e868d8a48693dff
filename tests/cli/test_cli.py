"""The command line: exit codes, one line for what is wrong, and what each command prints."""

import os
import re
import shlex
import sys
import time

import numpy as np
import pytest
from matplotlib import pyplot as plt

from kdlab.cli import data, notebooks
from kdlab.datasets.released import open_data
from kdlab.datasets.splits import shared_groups
from kdlab.system import paths
from kdlab.video.compressed import read
from tests.conftest import ran, table


@pytest.fixture
def kdlab(own_places, command, monkeypatch):
    """``command``, where the project is ``tmp_path``."""
    monkeypatch.setattr(paths, "project_root", lambda: own_places)
    return command


def test_help_is_instant():
    began = time.perf_counter()
    done = ran(sys.executable, "-X", "importtime", "-m", "kdlab.cli.main", "--help")
    assert done.returncode == 0 and "reproduce" in done.stdout
    assert time.perf_counter() - began < 2  # 0.1 s on an idle machine
    assert not re.search(
        r"\| +(torch|numpy|pandas|nbformat|papermill|matplotlib)$", done.stderr, re.MULTILINE
    )


def test_known_errors_are_one_line_unless_debugging(kdlab, refused, monkeypatch):
    error = refused("run", "3")
    assert len(error.splitlines()) == 1
    assert "no notebooks in" in error
    assert "Traceback" not in error
    refused("run", "3", "--timeout", "0")
    monkeypatch.setenv("KDLAB_DEBUG", "1")
    assert "Traceback" in refused("run", "3")


def test_run_gives_parameters_as_they_are_written(kdlab, refused, monkeypatch):
    given = []
    monkeypatch.setattr(notebooks, "find", lambda name: name)
    monkeypatch.setattr(
        notebooks, "run", lambda *what, **how: given.append((*what, how)) or "made.ipynb"
    )
    code, out, _ = kdlab(
        "run", "3", "-p", "seed", "4", "-p", "words", "a b", "--data", "clips", "--timeout", "9"
    )
    assert code == 0 and out == "made.ipynb\n"
    assert given == [("3", {"seed": 4, "words": "a b", "data": "clips"}, {"timeout": 9})]
    assert "'[1' is no YAML value" in refused("run", "3", "-p", "words", "[1")


@pytest.mark.parametrize("good", [True, False])
def test_reproduce_ends_with_the_comparison_with_the_committed_runs(kdlab, monkeypatch, good):
    monkeypatch.setattr(notebooks, "reproduce", lambda *_, **__: {"01_a": "done in 3 s"})
    monkeypatch.setattr(
        notebooks, "compared_with_pretrained", lambda: (["run: the same bits"], good)
    )
    code, out, _ = kdlab("reproduce")
    assert code == (not good)
    assert re.search("01_a +done in 3 s", out)
    assert out.endswith("\n  run: the same bits\n")


def test_a_notebook_that_fails_and_one_that_is_stopped_have_their_exit_codes(kdlab, monkeypatch):
    for error, code in ((notebooks.NotebookFailed("01_a: wrong"), 1), (KeyboardInterrupt(), 130)):
        monkeypatch.setattr(
            notebooks, "reproduce", lambda *_, error=error, **__: (_ for _ in ()).throw(error)
        )
        assert kdlab("reproduce")[0] == code


def test_fresh_names_what_other_code_made(kdlab, monkeypatch):
    monkeypatch.setattr(notebooks, "stale", lambda: [])
    assert kdlab("fresh")[0] == 0
    monkeypatch.setattr(notebooks, "stale", lambda: ["01_a"])
    assert kdlab("fresh")[:2] == (1, "01_a\n")


@pytest.mark.parametrize("clips, each", [(440, (24, 4, 12)), (33, (1, 1, 1)), (90, (5, 1, 2))])
def test_clips_are_spread_over_classes_and_splits(clips, each):
    assert data.spread(clips, 11) == each
    with pytest.raises(ValueError, match="at least 33 clips"):
        data.spread(20, 11)


def test_data_list_counts_the_clips_of_a_folder_or_a_fold(kdlab, refused, tmp_path):
    for split, count in (("train", 3), ("val", 1), ("test", 2)):
        for label in ("run", "walk"):
            (folder := tmp_path / "mine" / split / label).mkdir(parents=True)
            for index in range(count):
                (folder / f"{index}.mp4").write_bytes(os.urandom(8))
    code, out, err = kdlab("data", "list", tmp_path / "mine")
    assert code == 0 and "12 clips" in out and re.search(r"walk +3 +1 +2", out), err
    rows = [
        f"{label}/{fold}{i}.mp4,{label},{fold}"
        for label in ("run", "walk")
        for fold in "AB"
        for i in range(4)
    ]
    table(tmp_path / "index.csv", "path,label,fold", *rows)
    assert re.search(r"walk +3 +1 +4", kdlab("data", "list", tmp_path, "--test-fold", "A")[1])
    assert re.match("error: .*nowhere", refused("data", "list", tmp_path / "nowhere"))


@pytest.mark.parametrize(
    "by_split, names", [(True, "v_{}_g{:02}_c{:02}"), (False, "person {1:02}_{2:02}")]
)
def test_groups_that_names_tell_are_said_and_the_command_beside_them_mends_it(
    kdlab, tmp_path, by_split, names
):
    clips = tmp_path / "my clips"
    for label in ("run", "walk"):
        for group in range(6):
            for take in range(3):
                split = ("train", "test")[take % 2] if by_split else ""
                folder = clips / split / label
                folder.mkdir(parents=True, exist_ok=True)
                (folder / f"{names.format(label, group, take)}.mp4").write_bytes(os.urandom(8))
    out = kdlab("data", "list", clips)[1]
    assert "tell no groups" not in out
    [mend] = re.findall("To split by whole groups: kdlab (.*)", out)
    code, out, err = kdlab(*shlex.split(mend))
    assert code == 0 and "36 clips" in out and "whole groups" not in out, err
    records = open_data(clips).records
    assert not shared_groups(records) and len({r.group for r in records}) == 6
    assert kdlab(*shlex.split(mend))[0] == 2


def test_data_modalities_writes_arrays_and_a_picture_and_leaves_files_of_others(
    kdlab, refused, make_video, tmp_path
):
    clip = make_video("clip.avi", 15, (320, 240), codec="mpeg4", g="12", sc_threshold="1000000000")
    out = tmp_path / "out"
    b_frames = make_video("b.avi", codec="mpeg4", bf="2")
    for _ in range(2):  # its own files are written again
        code, words, _ = kdlab("data", "modalities", clip, b_frames, "--out", out)
        assert code == 1 and "15 frames in 2 groups" in words and "is a B-frame" in words
    assert sorted(path.name for path in out.iterdir()) == ["clip.avi.npz", "clip.avi.png"]
    with np.load(out / "clip.avi.npz") as file:
        assert all(np.array_equal(file[name], array) for name, array in read(clip).items())
    assert plt.imread(out / "clip.avi.png").std() > 0.05
    (out / "clip.avi.png").write_text("mine")
    assert kdlab("data", "modalities", clip, "--out", out)[0] == 2
    assert (out / "clip.avi.png").read_text() == "mine"
    other = tmp_path / "other" / "clip.avi"
    assert "two FILEs have one name" in refused("data", "modalities", clip, other, "--out", out)


def test_data_list_without_a_path_says_what_goes_where(kdlab):
    code, out, _ = kdlab("data", "list")
    assert code == 0 and all(words in out for words in ("ARID_split{1,2,3}", "Your own clips"))


def test_data_night_makes_clips_and_says_where_it_cannot(kdlab, refused, tmp_path):
    how = ["--clips", "10", "--workers", "1", "--classes", "Jump,Run,Wave"]
    code, out, err = kdlab("data", "night", "--out", tmp_path / "night", *how)
    assert code == 0, err
    assert ": 9 clips in " in out
    assert re.search(r"Wave +1 +1 +1", out)
    (tmp_path / "file").touch()
    below = tmp_path / "file" / "night"
    assert str(below) in refused("data", "night", "--out", below, "--clips", "33")
    error = refused("data", "night", "--out", tmp_path / "few", "--classes", "Jmp")
    assert "Jmp" in error and "Walk" in error


@pytest.mark.parametrize("good", [False, True])
def test_doctor_tells_by_its_exit_code(kdlab, monkeypatch, good):
    monkeypatch.setattr("kdlab.cli.doctor.report", lambda: ("check", good))
    assert kdlab("doctor")[:2] == (int(not good), "check\n")


def test_a_study_is_run_at_the_size_that_is_asked_for(kdlab, refused, tmp_path, monkeypatch):
    text = "from kdlab.study import Study\nstudy = Study('x', lambda size, world: {})"
    (tmp_path / "my_own_study.py").write_text(text)
    (tmp_path / "no_study_here.py").write_text("x = 1")
    given = []
    monkeypatch.setattr("kdlab.study.Study.run", lambda self, *what: given.append(what[:3]))
    how = ["--profile", "smoke", "--world", "3", "--world", "5"]
    assert kdlab("study", tmp_path / "my_own_study.py", *how)[0] == 0
    assert given[0][0] == (3, 5) and given[0][1].name == "smoke"
    monkeypatch.setattr("kdlab.study.study.run_all", lambda *what: given.append(what))
    assert kdlab("study", "--all")[0] == 0
    assert [place.name for place in given[1][:2]] == ["studies", "evidence"]
    for wrong in ([tmp_path / "no_study_here.py"], []):
        assert "has no Study" in refused("study", *wrong)
    refused("study", tmp_path / "none.py")
