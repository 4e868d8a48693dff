"""Committed runs are replaced whole, by runs of the same condition; nothing else in their folder is touched."""

import json
from types import SimpleNamespace

import pytest

from kdlab import paths
from kdlab.study.evidence import Evidence
from kdlab.system.ours import NotOurs
from kdlab.train import runs
from kdlab.train.runs import publish


def run_in(place, name, condition, weights):
    folder = place / name
    folder.mkdir(parents=True)
    (folder / "weights.safetensors").write_text(weights)
    (folder / "begun.json").write_text("{}")
    note = {"recipe": {"condition": condition}}
    (folder / "run.json").write_text(json.dumps(note))
    return there(folder)


def there(folder):
    note = json.loads((folder / "run.json").read_text())
    return SimpleNamespace(folder=folder, provenance=note, recipe=SimpleNamespace(needs=dict))


@pytest.fixture
def clone(tmp_path, monkeypatch):
    for name in ("KDLAB_RUNS", "KDLAB_FIGURES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(paths, "project_root", lambda: tmp_path)
    (tmp_path / "notebooks").mkdir()
    run_in(tmp_path / "pretrained", "a-night-s0-000001", "a", "old")
    run_in(tmp_path / "pretrained", "b-night-s0-000002", "b", "old")
    (tmp_path / "pretrained" / "notes.txt").write_text("mine")
    return tmp_path


def committed(clone):
    return {folder.name: (folder / "weights.safetensors").read_text()
            for folder in (clone / "pretrained").iterdir() if folder.is_dir()}


def test_a_run_replaces_those_of_its_condition(clone):
    publish([run_in(clone / "runs", "a-night-s0-000003", "a", "new")])
    assert committed(clone) == {"a-night-s0-000003": "new", "b-night-s0-000002": "old"}
    assert not (clone / "pretrained" / "a-night-s0-000003" / "begun.json").exists()
    assert (clone / "pretrained" / "notes.txt").read_text() == "mine"


def test_a_folder_that_is_no_run_stays(clone):
    (clone / "pretrained" / "a-night-s0-000003").mkdir()
    (clone / "pretrained" / "a-night-s0-000003" / "weights.safetensors").write_text("mine")
    with pytest.raises(NotOurs, match="is no run of kdlab's"):
        publish([run_in(clone / "runs", "a-night-s0-000003", "a", "new")])
    assert committed(clone)["a-night-s0-000003"] == "mine" and "a-night-s0-000001" in committed(clone)


@pytest.mark.parametrize(("elsewhere", "whole", "published"), [(None, True, True), (None, False, False),
                                                               ("figures_of_mine", True, False)])
def test_only_the_committed_evidence_comes_with_committed_weights(clone, monkeypatch, elsewhere, whole, published):
    if elsewhere:
        monkeypatch.setenv("KDLAB_FIGURES", str(clone / elsewhere))
    found = Evidence.of("wise", SimpleNamespace(name="study"), {}, whole=whole, say=str)
    found.publish([run_in(clone / "runs", "a-night-s0-000003", "a", "new")])
    assert ("a-night-s0-000003" in committed(clone)) is published


def test_a_committed_run_that_is_published_again_stays(clone):
    publish([there(clone / "pretrained" / "a-night-s0-000001")])
    assert committed(clone) == {"a-night-s0-000001": "old", "b-night-s0-000002": "old"}


def test_a_run_brings_its_teacher_where_only_that_is_committed(clone, monkeypatch):
    monkeypatch.setattr(runs, "find", lambda recipe, pretrained: there(recipe) if pretrained else None)
    student = run_in(clone / "runs", "c-night-s0-000004", "c", "new")
    student.recipe.needs = lambda: {"teacher": clone / "pretrained" / "a-night-s0-000001"}
    publish([student])
    assert committed(clone) == {"a-night-s0-000001": "old", "b-night-s0-000002": "old", "c-night-s0-000004": "new"}
