"""Runs: trained once, found again, noticed when stale, and the same bits after a kill."""

import dataclasses
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from kdlab.clips.enhance import Gamma
from kdlab.clips.views import Enhanced
from kdlab.clips.windows import Window
from kdlab.datasets.user_clips import UserClips
from kdlab.nets.video import TinyR2Plus1D
from kdlab.papers.dual_light.method import DualLight
from kdlab.system.pool import pool
from kdlab.train.loop import Trained
from kdlab.train.many import obtain_all
from kdlab.train.obtain import obtain
from kdlab.train.recipe import Recipe
from kdlab.train.runs import Run, why_unusable, write_run
from kdlab.train.settings import Settings
from kdlab.video.container import DamagedClip
from tests.conftest import cut, encode, square, walks

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def clips(tmp_path_factory) -> Path:
    return walks(tmp_path_factory.mktemp("clips"), train=8, val=2, test=4)


@pytest.fixture
def places(own_places) -> Path:
    return own_places


def make_recipe(clips, seed=0, epochs=3, **changes) -> Recipe:
    base = Recipe(
        "ce_raw",
        UserClips(str(clips)),
        net=TinyR2Plus1D(widths=(4, 8)),
        window=Window(4, 16, 16),
        settings=Settings(epochs=epochs, batch_size=4),
        seed=seed,
    )
    return dataclasses.replace(base, **changes)


def make_student(clips, seed=0, **changes) -> Recipe:
    teacher = make_recipe(clips, seed + 1, condition="ce_enhanced", view=Enhanced(Gamma(1.8)))
    given = dict(condition="dlkdd", method=DualLight(), teacher=teacher) | changes
    return make_recipe(clips, seed, **given)


def test_obtain_trains_the_teacher_first_and_then_finds_both(clips, places):
    said = []
    student = make_student(clips)
    run = obtain(student, say=said.append)
    assert [line.split(":")[1].split()[0] for line in said] == ["trained", "trained"]
    assert said[0].startswith("ce_enhanced") and "teacher" in said[1]
    teacher = obtain(student.teacher, say=said.append)
    assert run.provenance["needed"]["teacher"] == teacher.provenance["weights"]
    assert said[2].endswith(": found")
    test = run.predictions("test")
    assert test.logits.shape == (8, 2)
    assert sorted(set(test.labels.tolist())) == [0, 1]
    assert len(set(test.ids)) == 8
    assert len(run.history) == 3 and run.recipe == student and run.staleness() == ""
    assert not (run.folder / "checkpoint.pt").exists()


def edited(run, **entries) -> None:
    """Change entries of the run's note, as other sources or another training would have written it."""
    note = run.folder / "run.json"
    note.write_text(json.dumps(json.loads(note.read_text()) | entries))


def test_a_stale_run_on_your_own_clips_is_made_anew_and_the_old_one_kept(clips, places):
    said, recipe = [], make_recipe(clips)
    run = obtain(recipe, say=said.append)
    edited(run, sources="of yesterday")
    assert why_unusable(Run(run.folder)) == "made by other sources"
    assert obtain(recipe, say=said.append).staleness() == ""
    assert "STALE: made by other sources; trained again" in said[-2] and "trained in" in said[-1]
    old = Run(places / "RUNS" / "stale" / recipe.name)
    assert old.provenance["sources"] == "of yesterday" and old.net() is not None
    edited(run, sources="of yesterday")
    said.clear()
    obtain_all([recipe], workers=1, say=said.append)
    assert sum("STALE" in line for line in said) == 1 and Run(run.folder).staleness() == ""


def test_clips_that_change_while_they_are_trained_on_are_told(clips, places, monkeypatch):
    mine = places / "clips"
    shutil.copytree(clips, mine)
    recipe = make_recipe(mine)

    def changing(steps, name, total=None):
        for step in steps:
            if step == 3 and name.startswith("ce_raw"):
                shutil.copy(mine / "left" / "train0.mp4", mine / "left" / "train1.mp4")
            yield step

    monkeypatch.setattr("kdlab.train.obtain.track", changing)
    with pytest.raises(ValueError, match="changed while ce_raw-clips-s0-.* Call again"):
        obtain(recipe)
    assert not list((places / "RUNS").glob("*/run.json"))


def without(index: Path, word: str) -> None:
    index.write_text("\n".join(line for line in index.read_text().split("\n") if word not in line))


@pytest.mark.parametrize(
    "change, error, words",
    [
        (lambda root: (root / "left/train3.mp4").write_bytes(b""), DamagedClip, "train3.mp4"),
        (lambda root: cut(root / "right/test1.mp4"), DamagedClip, "test1.mp4"),
        (
            lambda root: encode(root / "left/val0.mp4", square(1, 0)[:1]),
            ValueError,
            "val0.mp4 has 1 frame",
        ),
        (lambda root: (root / "left/train0.mp4").unlink(), FileNotFoundError, "train0.mp4"),
        (
            lambda root: without(root / "index.csv", "left/train"),
            ValueError,
            "train has no clip of.*left",
        ),
    ],
)
def test_bad_clips_are_named_before_anything_is_trained(clips, places, change, error, words):
    mine = Path(shutil.copytree(clips, places / "clips"))
    change(mine)
    with pytest.raises(error, match=words):
        obtain(make_recipe(mine))
    assert not list((places / "RUNS").glob("*/*.safetensors"))


def test_a_student_without_test_clips_is_refused_before_its_teacher_is_trained(clips, places):
    mine, said = Path(shutil.copytree(clips, places / "clips")), []
    without(mine / "index.csv", "/test")
    teacher = make_student(clips).teacher
    with pytest.raises(ValueError, match="test split is empty"):
        obtain(make_student(mine, teacher=teacher), say=said.append)
    assert not said and not list((places / "RUNS").glob("*/*.safetensors"))


CHILD = """
import sys
from pathlib import Path
from tests.train.test_runs import make_student, obtain
print("ready", flush=True)
obtain(make_student(Path(sys.argv[1]), epochs=150))
"""


def said_of_obtaining(clips) -> list[str]:
    lines = []
    obtain(make_student(clips), say=lines.append)
    return lines


def test_two_processes_do_not_train_the_same_run_twice(clips, places):
    with pool(2) as processes:
        lines = [line for its in processes.map(said_of_obtaining, [clips, clips]) for line in its]
    assert sum("trained" in line for line in lines) == 2, lines  # one teacher, one student, in all
    assert sum(line.endswith("found") for line in lines) >= 1


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_killed_at_random_moments_then_resumed_the_weights_are_the_same_bits(
    clips, places, monkeypatch
):
    monkeypatch.setenv("KDLAB_RUNS", str(places / "whole"))
    whole = obtain(make_student(clips, epochs=150)).provenance["weights"]
    monkeypatch.setenv("KDLAB_RUNS", str(places / "killed"))
    rng, kills = random.Random(0), 0
    while kills < 6:
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD, str(clips)],
            stdout=subprocess.PIPE,
            text=True,
            stderr=subprocess.DEVNULL,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
        )
        assert child.stdout.readline() == "ready\n"
        time.sleep(rng.uniform(0.05, 1.2))
        child.send_signal(signal.SIGINT if kills == 5 else signal.SIGKILL)
        child.communicate()
        if child.returncode == 0:
            break
        kills += 1
    # the training was too short to be killed
    assert kills >= 3
    assert obtain(make_student(clips, epochs=150)).provenance["weights"] == whole


def test_a_student_begins_as_its_start_and_is_stale_when_that_was_trained_again(clips, places):
    recipe = make_recipe(clips, seed=1, epochs=1, start=make_recipe(clips, seed=2))
    run = obtain(recipe)
    begun = make_recipe(clips, seed=1, epochs=1)
    start = obtain(recipe.start)
    assert run.provenance["needed"] == {"start": start.provenance["weights"]}
    assert run.staleness() == ""
    fresh = obtain(begun)
    assert run.history.loss_net[0] < fresh.history.loss_net[0]  # it has learnt three epochs before
    edited(start, data="others")
    assert run.staleness() == "made with a start that was made from other clips"
    edited(start, weights="another")
    assert run.staleness() == "made with another training of its start"


@pytest.mark.parametrize(
    "broken, says",
    [
        ("weights", "student.weight is no number"),
        ("answers", "what it says of val clips is no number"),
    ],
)
def test_a_network_that_is_no_number_is_not_filed(tmp_path, broken, says):
    """The loss of the last step may still be one: its gradient is not."""
    net = nn.Linear(2, 2)
    logits = torch.zeros(1, 2)
    (net.weight.data if broken == "weights" else logits).view(-1)[0] = torch.nan
    record = SimpleNamespace(id="a", group="g", label=0)
    ready = SimpleNamespace(splits=("val",), answers=lambda student, split: ([record], logits))
    trained = Trained({"student": net}, [], [], 1, 0.0, "cpu", owned=["student"])
    with pytest.raises(ValueError, match=f"{says} after the last step: lower the learning rate"):
        write_run(tmp_path, ready, trained, {}, 0.0)
    assert not list(tmp_path.iterdir())
