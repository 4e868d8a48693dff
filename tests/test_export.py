"""An exported run is what the hub's own tools read, tells its own numbers, and opens again from anywhere."""

import json
import shutil
import socket
from pathlib import Path

import pytest
import torch
import yaml

from kdlab.clips.views import Window
from kdlab.export import FILES, export, outside
from kdlab.nets.video import TinyR2Plus1D
from kdlab.predict import open_run
from kdlab.system.ours import NotOurs
from kdlab.system.stored import sealed
from kdlab.train.loop import Settings
from kdlab.train.recipe import Recipe, UserClips
from kdlab.train.runs import DamagedRun, Run, committed_runs, obtain
from tests.conftest import encode, square


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    def refuse(*_):
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", refuse)


def committed(condition) -> Run:
    return next(run for run in committed_runs() if run.provenance["recipe"]["condition"] == condition)


def front(folder) -> dict:
    return yaml.safe_load((folder / "README.md").read_text(encoding="utf-8").split("---\n")[1])


def of_a_stranger(tmp_path, monkeypatch) -> Run:
    for name in ("RUNS", "CACHE"):
        monkeypatch.setenv(f"KDLAB_{name}", str(tmp_path / name))
    lines = ["path,label,split,group"]
    for label, direction in (("left", -1), ("right", 1)):
        for n, split in enumerate(("train", "train", "val", "test")):
            encode(tmp_path / "clips" / label / f"{n}.mp4", square(direction, 5 * n))
            lines.append(f"{label}/{n}.mp4,{label},{split},{split}{n}")
    (tmp_path / "clips" / "index.csv").write_text("\n".join(lines))
    recipe = Recipe("ce_raw", UserClips(str(tmp_path / "clips")), net=TinyR2Plus1D((4, 8)), window=Window(4, 16, 16),
                    settings=Settings(epochs=1, batch_size=4))
    return obtain(recipe, say=lambda _: None)


def test_the_folder_opens_again_with_the_same_answers(tmp_path):
    run = committed("dlkdd")
    opened = open_run(export(run, tmp_path / "elsewhere" / "mine"))
    assert opened.folder == tmp_path / "elsewhere" / "mine" and opened.recipe == run.recipe
    assert (opened.predictions().logits == run.predictions().logits).all() and opened.history.equals(run.history)
    video = torch.rand(2, 3, 8, 36, 36, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(opened.net()(video), run.net()(video))
    for name in FILES:
        assert (opened.folder / name).read_bytes() == (run.folder / name).read_bytes()


def test_the_hub_reads_the_card_and_its_numbers_are_those_of_the_predictions(tmp_path):
    hub = pytest.importorskip("huggingface_hub", reason="needs the extra: pip install 'kdlab[hub]'")
    run = committed("dlkdd")
    folder = export(run, tmp_path / "x")
    data = hub.ModelCard.load(folder / "README.md").data  # raises where its results are not the hub's
    assert (data.license, data.library_name, data.pipeline_tag) == ("mit", "kdlab", "video-classification")
    accuracy, ece = data.eval_results
    assert isinstance(accuracy, hub.EvalResult) and accuracy.metric_value == round(run.predictions().accuracy, 2)
    assert accuracy.dataset_split == "test" and run.provenance["data"] in accuracy.dataset_name
    assert 0 < ece.metric_value < 100 and ece.metric_type == "ece"
    again = hub.ModelCardData(model_name=data.model_name, eval_results=data.eval_results)
    assert again.to_dict()["model-index"] == front(folder)["model-index"]


def test_a_snapshot_that_the_hub_keeps_opens(tmp_path):
    """The cache's layout: the files are links to blobs with other names."""
    hub = pytest.importorskip("huggingface_hub", reason="needs the extra: pip install 'kdlab[hub]'")
    run, commit = committed("ce_raw"), 40 * "a"
    kept = tmp_path / "cache" / "models--somebody--mine"
    for folder in ("blobs", "refs", f"snapshots/{commit}"):
        (kept / folder).mkdir(parents=True)
    (kept / "refs" / "main").write_text(commit)
    for number, file in enumerate(sorted(export(run, tmp_path / "x").iterdir())):
        shutil.move(file, kept / "blobs" / f"{number}")
        (kept / "snapshots" / commit / file.name).symlink_to(Path("..", "..", "blobs", f"{number}"))
    found = hub.snapshot_download("somebody/mine", cache_dir=tmp_path / "cache", local_files_only=True)
    opened = Run(found)
    assert opened.net() is not None and opened.predictions().accuracy == run.predictions().accuracy


@pytest.mark.parametrize(("condition", "accuracies", "words"), [
    ("pkd", 12, "accuracy of exit 12"), ("zerodce", 0, "learnt no classes"),
    ("det_genkd", 0, "kdlab.measure.detections"),
])
def test_what_gives_no_single_accuracy_is_exported_too(condition, accuracies, words, tmp_path):
    folder = export(committed(condition), tmp_path / "x")
    results = front(folder).get("model-index", [{"results": []}])[0]["results"]
    assert sum(len(result["metrics"]) for result in results) == accuracies
    assert words in (folder / "README.md").read_text(encoding="utf-8") and open_run(folder).net is not None


def test_a_run_from_before_precision_and_remarks_were_noted_is_exported(tmp_path):
    folder = shutil.copytree(committed("ce_raw").folder, tmp_path / "old")
    note = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    for name in ("precision", "notes", "files", "digest"):
        note.pop(name, None)
    (folder / "run.json").write_text(json.dumps(sealed(note)))
    text = (export(Run(folder), tmp_path / "x") / "README.md").read_text(encoding="utf-8")
    assert "| precision | not noted |" in text


def test_the_card_does_not_tell_where_pictures_of_flow_lay(tmp_path):
    folder = shutil.copytree(committed("ce_raw").folder, tmp_path / "old")
    note = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    note.pop("digest", None), note.pop("files", None)
    note["recipe"]["view"] = {"type": "kdlab.clips.flow:FlowFiles", "folder": "/home/ann_private/flow", "x": "x_*.jpg",
                              "y": "y_*.jpg"}
    (folder / "run.json").write_text(json.dumps(sealed(note)))
    text = (export(Run(folder), tmp_path / "x") / "README.md").read_text(encoding="utf-8")
    assert "ann_private" not in text and "FlowFiles(x=x_*.jpg, y=y_*.jpg)" in text
    assert outside(Run(folder)) == ["/home/ann_private/flow"] and front(tmp_path / "x")["license"] == "unknown"


def test_clips_of_others_have_no_licence_but_the_one_that_is_told(tmp_path, monkeypatch, command):
    run = of_a_stranger(tmp_path, monkeypatch)
    code, out, _ = command("export", run.folder.name, tmp_path / "untold")
    assert code == 0 and f"this machine: {tmp_path / 'clips'}\n" in out and "--licence tells it" in out
    assert front(tmp_path / "untold")["license"] == "unknown" and outside(run) == [str(tmp_path / "clips")]
    text = (tmp_path / "untold" / "README.md").read_text(encoding="utf-8")
    assert str(tmp_path) not in text and "kdlab does not know" in text and "synthetic" not in text
    assert command("export", run.folder.name, tmp_path / "told", "--licence", "cc-by-4.0")[0] == 0
    assert front(tmp_path / "told")["license"] == "cc-by-4.0"
    shutil.rmtree(tmp_path / "clips")
    text = (export(run, tmp_path / "gone") / "README.md").read_text(encoding="utf-8")
    assert "not compared with today's clips, which were not there" in text


def test_what_cannot_be_exported_is_told_in_a_sentence_and_nothing_is_written(tmp_path, command):
    name = committed("dlkdd").folder.name
    code, _, error = command("export", "dlkdd-nigth-s0", tmp_path / "x")
    assert code == 2 and name in error and "is no run's folder" in error
    code, _, error = command("export", name, tmp_path / "x", "--licence", "CC BY 4.0")
    assert code == 2 and "such as cc-by-4.0" in error and not (tmp_path / "x").exists()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("!")
    code, _, error = command("export", name, tmp_path / "mine")
    assert code == 2 and error == (f"error: {tmp_path / 'mine'} is there already: name a folder that does not exist "
                                   "yet, or delete this one first\n")
    assert [file.name for file in (tmp_path / "mine").iterdir()] == ["thesis.txt"]
    with pytest.raises(NotOurs, match="is there already"):
        export(committed("dlkdd"), tmp_path / "mine" / "thesis.txt")


@pytest.mark.parametrize("name", ["predictions.npz", "history.csv", "weights.safetensors"])
def test_a_file_that_was_changed_is_refused_before_and_after(name, tmp_path):
    folder = export(committed("dlkdd"), tmp_path / "x")
    (folder / name).write_bytes(b"other")
    with pytest.raises(DamagedRun, match=f"Export or download {folder} again"):
        export(Run(folder), tmp_path / "y")
    assert not (tmp_path / "y").exists()


def test_a_run_of_classes_that_are_not_imported_is_exported_and_says_so(tmp_path):
    folder = shutil.copytree(committed("ce_raw").folder, tmp_path / "theirs")
    note = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    note["recipe"]["net"]["type"] = "elsewhere_nets:Strided"
    (folder / "run.json").write_text(json.dumps(sealed(note)))
    text = (export(Run(folder), tmp_path / "x") / "README.md").read_text(encoding="utf-8")
    assert "Strided(widths=" in text and "not compared with today's sources, since elsewhere_nets had not" in text
    assert "import Run\nimport elsewhere_nets  # not of kdlab, and not in this folder\nrun = Run(" in text
    assert "--run FOLDER --import elsewhere_nets`" in text and "Stale" not in text
    assert front(tmp_path / "x")["license"] == "unknown" and Run(tmp_path / "x").predictions().accuracy > 0
