"""What a finished or interrupted training left, damaged in every way: one sentence, or begun anew; never used."""

import json
import os
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
from kdlab.train.status import note_trial, tried
from safetensors.torch import load_file, save_file

from kdlab.papers.dual_light import enhancer as enhancer_module
from kdlab.papers.dual_light.enhancer import TrainedCurves
from kdlab.papers.generative.nets import Gated
from kdlab.system.ours import NotOurs
from kdlab.train.recipe import UserClips
from kdlab.train.runs import DamagedRun, Run, committed_runs, find, obtain, unfit
from tests.train.test_runs import DualLight, make_recipe, make_student
from tests.train.test_runs import clips as clips
from tests.train.test_runs import places as places


def quiet(line: str) -> None:
    pass


@pytest.fixture(scope="module")
def made(clips, tmp_path_factory) -> Path:
    """A folder of runs: a teacher, its student, and one of another seed."""
    root = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KDLAB_RUNS", str(root))
        patch.setenv("KDLAB_CACHE", str(root / "cache"))
        for recipe in (make_student(clips, epochs=1), make_recipe(clips, seed=8, epochs=1)):
            obtain(recipe, pretrained=False, say=quiet)
    return root


@pytest.fixture
def runs(made, places) -> Path:
    shutil.copytree(made, places / "runs")
    return places / "runs"


def cut(part: float):
    return lambda path: path.write_bytes(path.read_bytes()[: int(part * path.stat().st_size)])


def zeros(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def flipped(path: Path) -> None:
    """One bit in the middle, the structure sound."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()
    (path / "of somebody").write_text("kept")


DAMAGES = {"empty": cut(0), "a byte": lambda path: path.write_bytes(path.read_bytes()[:1]), "a third": cut(0.33),
           "all but the end": lambda path: path.write_bytes(path.read_bytes()[:-2]), "zeros": zeros, "flipped": flipped,
           "gone": Path.unlink, "a folder": a_folder, "noise": lambda path: path.write_bytes(os.urandom(999)),
           "an empty object": lambda path: path.write_text("{}"), "a list": lambda path: path.write_text("[1, 2]"),
           "a deep list": lambda path: path.write_text("[" * 100_000)}
ASKS = {"weights.safetensors": lambda run: run.net(), "predictions.npz": lambda run: run.predictions(),
        "history.csv": lambda run: run.history}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", ASKS)
def test_a_damaged_file_of_a_run_is_named_and_never_used(clips, runs, name, damage):
    run = find(make_recipe(clips, seed=8, epochs=1), pretrained=False)
    ASKS[name](run)
    DAMAGES[damage](run.folder / name)
    told = f"{name} is damaged or was exchanged: .*Delete the folder .*{run.folder.name}"
    with pytest.raises(DamagedRun, match=told):
        ASKS[name](Run(run.folder))


def test_a_note_that_lies_is_named(clips, runs):
    run = find(make_recipe(clips, seed=8, epochs=1), pretrained=False)
    note = run.folder / "run.json"
    whole, turned = note.read_text(), json.loads(note.read_text())
    turned["classes"] = turned["classes"][::-1]
    for lie in (json.dumps(turned), whole.rstrip()[:-1] + ', "classes": ["up", "down"]}'):
        note.write_text(lie)
        with pytest.raises(DamagedRun, match="run.json is damaged or was exchanged: its entries are not those"):
            Run(run.folder).net()
    note.write_text(whole)
    assert Run(run.folder).net() is not None


def test_a_folder_of_somebodys_is_never_said_to_be_deleted(tmp_path):
    """A mistyped place may be where somebody's clips are."""
    (tmp_path / "clips").mkdir()
    (tmp_path / "clips" / "a.mp4").touch()
    for folder in (tmp_path / "clips", tmp_path / "nowhere"):
        for ask in (lambda run: run.net(), lambda run: run.provenance, lambda run: run.recipe):
            with pytest.raises(DamagedRun, match=f"{folder.name} is no run of kdlab's: it has no run.json") as said:
                ask(Run(folder))
            assert "elete" not in str(said.value)


def test_a_damaged_copy_elsewhere_is_not_said_to_be_deleted(clips, runs, tmp_path):
    """It may be the only one, and no call makes it again."""
    run = find(make_recipe(clips, seed=8, epochs=1), pretrained=False)
    backup = Path(shutil.copytree(run.folder, tmp_path / "backup" / run.folder.name))
    (backup / "history.csv").write_text("other")
    with pytest.raises(DamagedRun, match="Restore it from where it came") as said:
        _ = Run(backup).history
    assert "Delete" not in str(said.value)


def test_a_broken_history_is_told_in_one_sentence(clips, runs):
    run = find(make_recipe(clips, seed=8, epochs=1), pretrained=False)
    (run.folder / "history.csv").write_text("other")
    with pytest.raises(DamagedRun) as said:
        _ = Run(run.folder).history
    assert str(said.value).count("is damaged") == 1


def test_a_decoder_that_is_not_there_is_no_damage(clips, runs, monkeypatch):
    run = find(make_recipe(clips, seed=8, epochs=1), pretrained=False)
    monkeypatch.setenv("KDLAB_DECODER", "foo")
    with pytest.raises(ValueError, match="no decoder 'foo' in KDLAB_DECODER") as said:
        _ = Run(run.folder).recipe
    assert "damaged" not in str(said.value)


@pytest.mark.parametrize("name", ASKS)
def test_files_of_another_run_are_not_taken_for_its_own(clips, runs, name):
    mine, other = (find(r, pretrained=False) for r in (make_recipe(clips, seed=8, epochs=1),
                                                       make_student(clips, epochs=1)))
    shutil.copy(other.folder / name, mine.folder / name)
    with pytest.raises(DamagedRun, match=f"{name} is damaged or was exchanged"):
        ASKS[name](mine)


@pytest.mark.parametrize("damage", [name for name in DAMAGES if name not in ("gone", "flipped")])
def test_a_damaged_note_is_named_at_every_call_and_lists_go_on(clips, runs, damage):
    recipe = make_recipe(clips, seed=8, epochs=1)
    run = find(recipe, pretrained=False)
    DAMAGES[damage](run.folder / "run.json")
    for ask in (lambda: obtain(recipe, pretrained=False, say=quiet), lambda: run.predictions(), lambda: run.net()):
        with pytest.raises(DamagedRun, match="run.json is damaged or was exchanged: .*Delete the folder"):
            ask()
    assert "run.json is damaged" in unfit(find(recipe, pretrained=False), recipe)
    if damage == "a folder":
        assert (run.folder / "run.json" / "of somebody").read_text() == "kept"


@pytest.mark.parametrize("entry, value", [("weights", 5), ("weights", "0" * 64), ("classes", "left"), ("recipe", []),
                                          ("recipe", {"type": "kdlab.cli.main:main"}), ("recipe", {"type": 7}),
                                          ("recipe", {}), ("recipe", {"type": "kdlab.nowhere:X"}), ("classes", None),
                                          ("files", []), ("classes", ["left", "right", "up"])])
def test_notes_with_entries_of_another_kind_are_named(clips, runs, entry, value):
    run = Run(find(make_recipe(clips, seed=8, epochs=1), pretrained=False).folder)
    note = json.loads((run.folder / "run.json").read_text())
    del note["check"]  # as before there was one
    (run.folder / "run.json").write_text(json.dumps(note | {entry: value}))
    with pytest.raises(ValueError, match=f"{run.folder.name}.*(Delete the folder|delete the run)"):
        run.net()
    del note["sources"]
    (run.folder / "run.json").write_text(json.dumps(note))
    with pytest.raises(DamagedRun, match="it has no 'sources'"):
        Run(run.folder).staleness()


def test_the_note_of_another_run_is_not_taken_for_its_own(clips, runs):
    recipe = make_recipe(clips, seed=8, epochs=1)
    mine, other = find(recipe, pretrained=False), find(make_student(clips, epochs=1), pretrained=False)
    for file in other.folder.iterdir():
        shutil.copy(file, mine.folder / file.name)
    with pytest.raises(DamagedRun, match="another recipe"):
        obtain(recipe, pretrained=False, say=quiet)


def test_a_teacher_of_other_weights_never_teaches(clips, runs):
    """Sound in structure, of the right architecture: another seed's, which the provenance does not name."""
    taught = make_student(clips, epochs=1)
    student = make_student(clips, epochs=1, method=DualLight(alpha=0.3))
    teacher = find(taught.teacher, pretrained=False)
    state = load_file(teacher.folder / "weights.safetensors")
    state["student.net.fc.bias"] += 1
    save_file(state, teacher.folder / "weights.safetensors")
    with pytest.raises(DamagedRun, match=f"{teacher.folder.name}/weights.safetensors"):
        obtain(student, pretrained=False, say=quiet)
    assert not (runs / student.name / "run.json").exists()


def test_a_rotten_cvae_never_teaches(tmp_path):
    """It is read by another way than its network."""
    from kdlab.papers.generative.nets import read_cvae
    from kdlab.system.stored import weights_hash

    cvae = Gated().make(2).new_cvae(4)
    state = {f"cvae.{k}": v.contiguous() for k, v in cvae.state_dict().items()}
    save_file(state, tmp_path / "weights.safetensors")
    (tmp_path / "run.json").write_text(json.dumps({"weights": weights_hash(state)}))
    read_cvae(tmp_path)
    flipped(tmp_path / "weights.safetensors")
    with pytest.raises(DamagedRun, match="the hash of its tensors"):
        read_cvae(tmp_path)


def test_an_unknown_network_of_a_run_is_answered_with_what_there_is(clips, runs):
    run = find(make_recipe(clips, seed=8, epochs=1), pretrained=False)
    with pytest.raises(ValueError, match="holds no network 'teacher'.*there are the weights of student"):
        run.net("teacher")
    with pytest.raises(ValueError, match="predictions of test and val, none of 'train'"):
        run.predictions("train")


# --- unfinished work -----------------------------------------------------------------------------------------------


@pytest.fixture
def interrupted(clips, places, monkeypatch):
    """A training stopped after its second epoch, and the weights it would have ended in."""
    recipe = make_recipe(clips, epochs=4)
    monkeypatch.setenv("KDLAB_RUNS", str(places / "whole"))
    whole = obtain(recipe, pretrained=False, say=quiet).provenance["weights"]
    monkeypatch.setenv("KDLAB_RUNS", str(places / "runs"))

    def stopped(steps, name, total=None):
        for step in steps:
            if step == 9 and name == recipe.name:
                raise KeyboardInterrupt
            yield step

    with monkeypatch.context() as patch:
        patch.setattr("kdlab.train.runs.track", stopped)
        with pytest.raises(KeyboardInterrupt):
            obtain(recipe, pretrained=False, say=quiet)
    assert (places / "runs" / recipe.name / "checkpoint.safetensors").is_file()
    return recipe, whole


@pytest.mark.parametrize("name", ["checkpoint.safetensors", "begun.json"])
def test_a_damaged_checkpoint_counts_as_none_and_the_same_bits_come_out(interrupted, places, name):
    recipe, whole = interrupted
    folder = places / "runs" / recipe.name
    kept = shutil.copytree(folder, places / "kept")
    for damage, spoil in DAMAGES.items():
        if damage == "a folder":
            continue
        shutil.rmtree(folder)
        shutil.copytree(kept, folder)
        spoil(folder / name)
        said = []
        assert obtain(recipe, pretrained=False, say=said.append).provenance["weights"] == whole, damage
        told = [line for line in said if "trained from the start" in line]
        assert len(told) == (name != "begun.json" and damage != "gone"), (damage, said)


def test_the_checkpoint_of_another_training_counts_as_none(interrupted, clips, places):
    recipe, whole = interrupted
    folder, said = places / "runs" / recipe.name, []
    other = make_recipe(clips, seed=5, epochs=4)
    shutil.copytree(folder, places / "runs" / other.name)
    obtained = obtain(other, pretrained=False, say=said.append)
    assert "was begun with other sources, clips or needed runs" in said[0] and obtained.provenance["weights"] != whole
    shutil.copy(folder / "checkpoint.safetensors", obtained.folder)  # and nothing else: the note is its own
    (obtained.folder / "run.json").unlink()
    again = obtain(other, pretrained=False, say=said.append)
    assert "it is of another training" in said[-2], said
    assert again.provenance["weights"] == obtained.provenance["weights"]


def test_files_have_the_mode_that_the_umask_says_and_old_drafts_go(clips, places):
    recipe, long_ago = make_recipe(clips, epochs=1), time.time() - 7200
    folder = places / "runs" / recipe.name
    folder.mkdir(parents=True)
    drafts = [folder / name for name in (".run.json.4194999-0123abcd.tmp", ".history.csv.1.tmp", ".tmpAb3xYz")]
    others = [folder / name for name in ("mine.tmp", ".notes.tmp", "run.json.tmp")]
    fresh = folder / f".run.json.{os.getpid()}-0123abcd.tmp"
    for file in (*drafts, *others, fresh):
        file.write_text("half")
        os.utime(file, (long_ago, long_ago) if file != fresh else None)
    before = os.umask(0o027)
    try:
        run = obtain(recipe, pretrained=False, say=quiet)
    finally:
        os.umask(before)
    left = {file.name for file in folder.iterdir()}
    assert not left & {file.name for file in drafts} and {file.name for file in (*others, fresh)} <= left
    for name in ("weights.safetensors", "run.json", "predictions.npz", "history.csv", "begun.json"):
        assert (run.folder / name).stat().st_mode & 0o777 == 0o640, name


# --- the enhancer, lists of trials -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["weights.safetensors", "run.json", "history.csv"])
def test_a_damaged_enhancer_is_named_and_never_used(clips, places, name):
    curves = TrainedCurves(UserClips(str(clips)), width=4, side=16, steps=2)
    enhancer_module._net.cache_clear()
    folder = curves.run().folder
    kept = shutil.copytree(folder, places / "kept")
    frames = np.zeros((1, 20, 20, 3), np.uint8)
    for damage, spoil in DAMAGES.items():
        if name == "run.json" and damage in ("gone", "flipped"):  # begun anew; a letter of an id
            continue
        shutil.rmtree(folder)
        shutil.copytree(kept, folder)
        spoil(folder / name)
        enhancer_module._net.cache_clear()
        with pytest.raises(DamagedRun, match=f"{name} is damaged or was exchanged.*Delete the folder|'weights'"):
            curves.training() if name == "history.csv" else curves(frames)
    enhancer_module._net.cache_clear()


@pytest.mark.parametrize("content", [b"", b"\0" * 500, b"\xff\xfe\xfd,,,\n", b"time,sources,data,run\na,b\n\n,,,"])
def test_a_damaged_list_of_trials_is_counted_as_far_as_it_can_be_read(clips, places, content):
    name = "ce_raw-clips-s0-012345"
    (places / "runs" / name).mkdir(parents=True)
    (places / "runs" / "tried.csv").write_bytes(content)
    for damage in ("zeros", "noise", "empty", "a list", "a deep list"):
        (places / "runs" / name / "begun.json").write_text(json.dumps({"sources": "a", "data": "d"}))
        DAMAGES[damage](places / "runs" / name / "begun.json")
        assert tried([name]) == 1, "begun, whatever its note says"
    if content and not content.startswith(b"time,"):  # so damaged that it might be somebody's
        with pytest.raises(NotOurs, match="tried.csv is there already.*move that one away"):
            note_trial("ce_raw-clips-s1-012345", {"sources": "a", "data": "d"})
    else:
        note_trial("ce_raw-clips-s1-012345", {"sources": "a", "data": "d"})
        assert tried([name]) == 2


def test_the_committed_runs_are_all_as_their_notes_say():
    for run in committed_runs():
        assert run.net() is not None and len(run.history)
        assert run.folder.name.startswith("zerodce-") or run.predictions().logits.size  # an enhancer predicts nothing
