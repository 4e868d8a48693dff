"""What a training left, damaged: one sentence with the mend, or begun anew; never used."""

import json
import os
import shutil
from importlib import import_module
from pathlib import Path

import pytest
from safetensors.torch import save_file

from kdlab.papers.generative.networks import Gated, read_cvae
from kdlab.system import paths
from kdlab.train.loop import weights_hash
from kdlab.train.obtain import obtain
from kdlab.train.runs import DamagedRun, Run, committed_runs, find_run, why_unusable
from tests.conftest import cut, interrupted_at, overwrite, places_in
from tests.train.test_runs import clips as clips
from tests.train.test_runs import make_recipe, make_student


@pytest.fixture(scope="module")
def made(clips, tmp_path_factory) -> Path:
    """A folder of runs: a teacher and its student."""
    root = tmp_path_factory.mktemp("made")
    with places_in(root):
        obtain(make_student(clips, epochs=1))
    return root / "RUNS"


@pytest.fixture
def student(made, own_places, clips) -> Run:
    shutil.copytree(made, own_places / "RUNS")
    return find_run(make_student(clips, epochs=1), False)


def flip(path: Path) -> None:
    """Turn one bit in the middle."""
    content = path.read_bytes()
    overwrite(path, bytes([content[len(content) // 2] ^ 1]))


def put_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


DAMAGES = {
    "empty": lambda path: path.write_bytes(b""),
    "gone": Path.unlink,
    "a folder": put_a_folder,
    "noise": lambda path: path.write_bytes(os.urandom(999)),
    "flipped": flip,
    "cut": cut,
}
ASKS = {
    "weights.safetensors": lambda run: run.net(),
    "predictions.npz": lambda run: run.predictions(),
    "history.csv": lambda run: run.history,
    "run.json": lambda run: run.provenance,
}
QUIET = {
    ("history.csv", "cut"),
    ("history.csv", "flipped"),
    ("run.json", "flipped"),
    ("run.json", "gone"),
}


@pytest.mark.parametrize(
    "name, damage", [(name, d) for name in ASKS for d in DAMAGES if (name, d) not in QUIET]
)
def test_a_damaged_file_of_a_run_is_named_with_the_mend(student, name, damage):
    ASKS[name](student)
    DAMAGES[damage](student.folder / name)
    with pytest.raises(
        DamagedRun, match=f"{name} is damaged: .*delete the folder .*{student.folder.name}"
    ):
        ASKS[name](Run(student.folder))
    if name == "run.json":
        assert "run.json is damaged" in why_unusable(Run(student.folder, student.wanted))
        with pytest.raises(DamagedRun):
            obtain(student.wanted)


def test_files_of_another_run_are_not_taken_for_its_own(student):
    teacher = find_run(student.wanted.teacher, False)
    shutil.copy(teacher.folder / "weights.safetensors", student.folder / "weights.safetensors")
    with pytest.raises(DamagedRun, match="the hash of its tensors"):
        student.net()
    shutil.copy(teacher.folder / "run.json", student.folder / "run.json")
    with pytest.raises(DamagedRun, match="its recipe is not the one"):
        obtain(student.wanted)


def test_a_folder_of_somebodys_is_never_said_to_be_deleted(tmp_path):
    """A mistyped place may be where somebody's clips are."""
    for ask in (lambda run: run.net(), lambda run: run.provenance, lambda run: run.recipe):
        with pytest.raises(
            DamagedRun, match="name the folder of a run, which has a run.json"
        ) as said:
            ask(Run(tmp_path))
        assert "elete" not in str(said.value)


def test_a_teacher_of_other_weights_never_teaches(student, clips):
    teacher = find_run(student.wanted.teacher, False)
    flip(teacher.folder / "weights.safetensors")
    other = make_student(clips, epochs=1, condition="other")
    with pytest.raises(DamagedRun, match=f"{teacher.folder.name}/weights.safetensors"):
        obtain(other)
    assert not (paths.runs_dir() / other.name / "run.json").exists()


def test_a_damaged_cvae_never_teaches(tmp_path):
    """It is read by another way than its network."""
    state = {
        f"cvae.{k}": v.contiguous() for k, v in Gated().make(2).new_cvae().state_dict().items()
    }
    save_file(state, tmp_path / "weights.safetensors")
    (tmp_path / "run.json").write_text(json.dumps({"weights": weights_hash(state)}))
    read_cvae(tmp_path)
    flip(tmp_path / "weights.safetensors")
    with pytest.raises(DamagedRun, match="the hash of its tensors"):
        read_cvae(tmp_path)


def test_what_a_run_does_not_have_is_answered_with_what_there_is(student):
    with pytest.raises(ValueError, match="predictions of test and val, none of 'train'"):
        student.predictions("train")


def test_a_damaged_or_foreign_checkpoint_counts_as_none_and_the_same_weights_come_out(
    clips, own_places, monkeypatch
):
    recipe = make_recipe(clips, epochs=4)
    other = make_recipe(clips, seed=5, epochs=4)
    said = []
    with monkeypatch.context() as patch:
        patch.setenv("KDLAB_RUNS", str(own_places / "whole"))
        whole = obtain(recipe).provenance["weights"]
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("kdlab.train.obtain.track", interrupted_at(9))
        obtain(recipe)
    folder = own_places / "RUNS" / recipe.name
    kept = shutil.copytree(folder, own_places / "kept")
    theirs = shutil.copytree(folder, own_places / "RUNS" / other.name)
    for damage in ("empty", "cut", "flipped", "noise"):
        shutil.rmtree(folder)
        shutil.copytree(kept, folder)
        DAMAGES[damage](folder / "checkpoint.pt")
        assert obtain(recipe, say=said.append).provenance["weights"] == whole, damage
    assert sum("trained from the start" in line for line in said) == 4
    assert obtain(other, say=said.append).folder == Path(theirs)
    assert "it is of another training" in said[-2]


def test_the_committed_runs_are_as_their_notes_say(monkeypatch):
    monkeypatch.syspath_prepend(paths.project_root() / "studies")
    import_module("both_ways")  # has classes of the run of real_dark.py
    assert committed_runs()
    for run in committed_runs():
        assert run.net() is not None and len(run.history)
        # an enhancer predicts nothing
        assert run.folder.name.startswith("zerodce-") or run.predictions().logits.size
