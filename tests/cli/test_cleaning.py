"""`kdlab clean`, where its variables lead into folders with other people's files."""

import json
import os
from pathlib import Path

import nbformat
import numpy as np
import pytest
from filelock import FileLock
from nbformat.v4 import new_code_cell, new_notebook

from kdlab import paths
from kdlab.cli import cleaning
from kdlab.clips.cache import FrameCache
from kdlab.night import Night, make_night
from kdlab.night import make as making
from kdlab.notebooks.report import TITLE
from kdlab.notebooks.run import run_notebook
from kdlab.study.evidence import COLUMNS, Evidence
from kdlab.system.files import write_atomically
from kdlab.train import status
from kdlab.train.sizes import SMOKE

RECIPE = {"recipe": {"type": "kdlab.train.recipe:Recipe", "condition": "ce_raw"}}


@pytest.fixture
def clone(tmp_path, monkeypatch):
    """A clone; all variables name ``mine``, a folder of somebody's own beside it."""
    monkeypatch.setattr(paths, "project_root", lambda: tmp_path / "clone")
    (tmp_path / "clone" / "notebooks").mkdir(parents=True)
    for name in ("RUNS", "DATA", "CACHE"):
        monkeypatch.setenv(f"KDLAB_{name}", str(tmp_path / "mine"))
    monkeypatch.delenv("KDLAB_FIGURES", raising=False)
    return tmp_path / "clone"


def put(folder: Path, *names: str, text: str = "mine") -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def contents(folder: Path) -> dict[str, str]:
    """Every entry below ``folder``: its bytes, where a link leads, or that it is a folder."""
    return {path.relative_to(folder).as_posix(): os.readlink(path) if path.is_symlink() else
            "folder" if path.is_dir() else path.read_bytes().decode("latin-1") for path in sorted(folder.rglob("*"))}


@pytest.fixture
def mine(clone):
    """Somebody's files, many with names like those of kdlab's."""
    folder = clone.parent / "mine"
    put(folder, "thesis.tex", "report.html", "weights.safetensors", "exp-s0-abcdef/weights.safetensors",
        "notebooks/03_x-demo.ipynb", "notebooks/03_x-demo.json", "notebooks/plan.txt", "frames/0001.npy",
        "frames/a.tmp", "damaged/list.json",
        "passing/notes.txt", "studies/plan.csv", "night/dark/Run/train-0000.mp4", "night/index.csv",
        "dlkdd-night-s0-123abc.lock", "blobs/0123456789abcdef0123456789abcdef.npy", ".x.csv.12.tmp")
    put(folder, "exp/run.json", "other-night-s0-abc123/run.json", text='{"recipe": {"type": "theirs:Recipe"}}')
    put(folder, "list-night-s0-abc123/run.json", text="[1]")
    put(folder, "notebooks/executed.ipynb", text=json.dumps({"metadata": {}, "cells": []}))
    put(folder, "film/night.json", "film/dark/Run/train-0000.mp4", text='{"length": 3}')
    (folder / "empty").mkdir()
    os.symlink(clone.parent / "treasure", folder / "ce_raw-night-s0-7f3a2c")
    os.symlink(clone.parent / "treasure", folder / "link")
    put(clone.parent / "treasure", "gold", "weights.safetensors")
    put(clone.parent / "treasure", "run.json", text=json.dumps(RECIPE))
    return folder


def make_ours(folder: Path, monkeypatch) -> None:
    """One of each thing that kdlab makes, with drafts that a kill has left."""
    for run in ("dlkdd-night-s0-7f3a2c", "x@context-a b-s12-0123456789", "passing/iframe-night_bright-s0-aaaaaa"):
        put(folder, f"{run}/weights.safetensors", f"{run}/history.csv", f"{run}/predictions.npz",
            f"{run}/ce-0.5.safetensors", f"{run}/.run.json.123.tmp", f"{run}/checkpoint.safetensors",
            f"{run}/checkpoint-1-process-0123abcd.safetensors", f"{run}/checkpoint-4-processes-0123abcd.safetensors")
        put(folder, f"{run}.lock", text="")
        name = "passing.json" if run.startswith("passing") else "run.json"
        put(folder, f"{run}/{name}", text=json.dumps(RECIPE))
    put(folder, "begun-night-s0-7f3a2c/begun.json", text=json.dumps(RECIPE))
    put(folder, "zerodce-night-s0-ef4e5562/enhancer.json",
        text='{"enhancer": {"type": "kdlab.papers.dual_light.enhancer:Curves"}}')
    put(folder, "broken-night-s0-123456/begun.json", text=json.dumps(RECIPE))
    put(folder, "broken-night-s0-123456/run.json", text="")
    put(folder, "notebooks/.03_x-demo.json.99.tmp", ".report.html.99.tmp")
    study = Evidence.of("wise", SMOKE, {}, whole=False, say=str)
    study.save("wise-night", {"ids": np.arange(3)})
    study.save_rows([dict.fromkeys(COLUMNS, 0)])

    def make_one(job, root):
        for stream in ("dark", "dark_mpeg4", "bright", "truth"):
            write_atomically(job.file(root, stream), lambda path: path.write_bytes(b"0"))

    monkeypatch.setattr(making, "_make_one", make_one)
    make_night(Night(("Jump", "Run"), (1, 0, 0)))
    clip = folder.parent / "clip"
    clip.touch()
    assert FrameCache().frames(clip, [0], 8, lambda path: np.zeros((1, 8, 8, 3), np.uint8)).shape == (1, 8, 8, 3)
    put(folder, f"damaged/{32 * 'a'}.json", f"damaged/.{32 * 'a'}.json.5.tmp", f"contents/{32 * 'a'}.json")


def test_nothing_of_somebodys_goes_and_all_of_kdlabs_does(clone, mine, command, monkeypatch):
    before = contents(clone.parent)
    make_ours(mine, monkeypatch)
    before["clip"] = ""
    code, out, _ = command("clean", "--cache", "--runs", "--data", "--yes")
    assert code == 0 and contents(clone.parent) == before
    assert "left there, because kdlab did not make it" in out and "thesis.tex" not in out.split("(")[0]
    code, out, _ = command("clean", "--runs", "--yes")
    assert code == 0 and "delete  --runs        0.0 MB" in out and "deleted" not in out.splitlines()[-1]


def test_what_somebody_put_among_kdlabs_files_stays(clone, command, monkeypatch):
    folder = clone.parent / "mine"
    make_ours(folder, monkeypatch)
    added = ("dlkdd-night-s0-7f3a2c/notes.txt", "dlkdd-night-s0-7f3a2c/plots/a.png",
             "night-v0.5-c0-s0/dark/Run/mine.mp4", "night-v0.5-c0-s0/thesis.txt",
             "frames/mine.npy", "studies/wise-smoke/mine.csv", "tried.csv")
    put(folder, *added)
    code, out, _ = command("clean", "--cache", "--runs", "--data", "--yes")
    left = {name for name, what in contents(folder).items() if what != "folder"}
    assert code == 0 and left == set(added)
    assert "left there" in out and "dlkdd-night-s0-7f3a2c/notes.txt" in out and "(tried.csv" not in out


def test_it_asks_and_tells_what_it_would_delete(clone, command, monkeypatch):
    run = clone.parent / "mine" / "dlkdd-night-s0-7f3a2c"
    put(run, "weights.safetensors", text="0" * 2_000_000)
    put(run, "run.json", text=json.dumps(RECIPE))
    before = contents(clone.parent)
    assert "nothing chosen" in command("clean")[1]
    monkeypatch.setattr("click.confirm", lambda *_, **__: False)
    code, out, _ = command("clean", "--runs")
    assert code == 0 and "delete  --runs        2.0 MB" in out and "keep    --cache       0.0 MB" in out
    assert contents(clone.parent) == before
    command("clean", "--cache", "--data", "--yes")
    assert contents(clone.parent) == before
    command("clean", "--runs", "--yes")
    assert not run.exists() and run.parent.is_dir()


def test_the_list_that_is_kept_is_that_of_the_trials():
    assert cleaning.TRIED == status.TRIED


def test_a_training_that_runs_now_is_left(clone, command):
    run = clone.parent / "mine" / "dlkdd-night-s0-7f3a2c"
    put(run, "begun.json", text=json.dumps(RECIPE))
    with FileLock(f"{run}.lock"):
        assert "left there" in command("clean", "--runs", "--yes")[1] and (run / "begun.json").exists()
    command("clean", "--runs", "--yes")
    assert not run.exists() and not Path(f"{run}.lock").exists()


def test_the_locks_of_notebooks_go_but_none_that_is_held_and_none_that_holds_anything(clone, command):
    folder = clone.parent / "mine" / "notebooks"
    put(folder, "03_x-demo.ipynb.lock", "04_x-demo.ipynb.lock", "mine.lock", text="")
    put(folder, "05_x-demo.ipynb.lock")
    with FileLock(folder / "04_x-demo.ipynb.lock"):
        command("clean", "--runs", "--yes")
        assert {*os.listdir(folder)} == {"04_x-demo.ipynb.lock", "05_x-demo.ipynb.lock", "mine.lock"}


def test_executed_notebooks_and_the_page_go(clone, command):
    path = clone / "notebooks" / "03_x.ipynb"
    nbformat.write(new_notebook(cells=[new_code_cell("seed = 0", metadata={"tags": ["parameters"]})]), path)
    assert run_notebook(path, {}, say=lambda _: None).failure is None
    put(clone.parent / "mine", "report.html", text=f"<html><title>{TITLE}</title>")
    put(clone.parent / "mine" / "notebooks", "03_x-by-seed.csv", text="notebook,status,seed\n")
    assert len({name for name in contents(clone.parent / "mine") if not name.endswith(".lock")}) == 5
    command("clean", "--runs", "--yes")
    assert contents(clone.parent / "mine") == {} and path.exists()


@pytest.mark.parametrize("place", ["../clone", "../clone/pretrained", "../clone/figures/predictions"])
def test_committed_files_are_out_of_reach(clone, command, monkeypatch, place):
    put(clone / "pretrained" / "dlkdd-night-s0-7f3a2c", "run.json", text=json.dumps(RECIPE))
    put(clone / "figures" / "predictions", "a.npz")
    before = contents(clone)
    monkeypatch.chdir(clone)
    monkeypatch.setenv("KDLAB_RUNS", place)
    code, _, err = command("clean", "--runs", "--yes")
    assert code == 2 and "let it name a folder of its own" in err and contents(clone) == before
