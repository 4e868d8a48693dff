"""A checkpoint that a training cannot go on from is kept for the one that can."""

import contextlib

import pytest
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from kdlab import paths
from kdlab.clips.views import Window
from kdlab.nets.video import TinyR2Plus1D
from kdlab.train import runs
from kdlab.train.loop import Settings
from kdlab.train.recipe import Recipe, UserClips
from kdlab.train.runs import obtain
from tests.conftest import encode, square


@pytest.fixture
def recipe(tmp_path, monkeypatch):
    """Six epochs of two steps on little clips of one's own."""
    for name in ("RUNS", "CACHE"):
        monkeypatch.setenv(f"KDLAB_{name}", str(tmp_path / name))
    lines = ["path,label,split,group"]
    for split, count in (("train", 4), ("val", 1), ("test", 1)):
        for label, direction in (("left", -1), ("right", 1)):
            for n in range(count):
                encode(tmp_path / f"clips/{label}/{split}{n}.mp4", square(direction, 5 * n + (split == "test")))
                lines.append(f"{label}/{split}{n}.mp4,{label},{split},{split}{n}")
    (tmp_path / "clips/index.csv").write_text("\n".join(lines))
    return Recipe("ce_raw", UserClips(str(tmp_path / "clips")), net=TinyR2Plus1D(widths=(4, 8)),
                  window=Window(4, 16, 16), settings=Settings(epochs=6, batch_size=4))


@pytest.fixture
def begins(recipe, monkeypatch):
    """``begins(until)`` trains until a step, where it is interrupted; what it says, and the step it began at."""
    def begins(until=12):
        said, began = [], []

        def steps(every, name, total=None):
            began.append(every.start)
            for step in every:
                if step == until:
                    raise KeyboardInterrupt
                yield step

        monkeypatch.setattr(runs, "track", steps)
        with contextlib.suppress(KeyboardInterrupt):
            obtain(recipe, pretrained=False, say=said.append)
        return "\n".join(said), began[0]

    return begins


def left(recipe) -> list:
    return sorted(path for path in (paths.runs_dir() / recipe.name).iterdir() if path.name.startswith("checkpoint"))


def test_one_of_other_sources_is_set_aside_and_taken_back_with_them(recipe, begins, monkeypatch):
    begins(9)
    (checkpoint,) = left(recipe)
    four_epochs = checkpoint.read_bytes()
    hashed = runs.source_hash
    monkeypatch.setattr(runs, "source_hash", lambda recipe: "others")
    said, began = begins(3)
    kept = left(recipe)[0]
    assert began == 0 and str(kept) in said and "begun with other sources" in said and "set aside" not in said
    assert kept.name.startswith("checkpoint-1-process-") and kept.read_bytes() == four_epochs != checkpoint.read_bytes()
    monkeypatch.setattr(runs, "source_hash", hashed)
    said, began = begins(10)
    assert began == 8 and f"goes on from {kept.name}, which was set aside" in said
    assert len(left(recipe)) == 2, "the other sources' is kept in turn"
    assert begins()[1] == 10 and not left(recipe) and (checkpoint.parent / "run.json").is_file()


def test_one_of_more_processes_is_not_written_over(recipe, begins):
    begins(9)
    (checkpoint,) = left(recipe)
    with safe_open(checkpoint, "pt") as file:
        about = file.metadata() | {"processes": "4", "whose": "4" * 64}
    save_file(load_file(checkpoint), checkpoint, metadata=about)
    of_four = checkpoint.read_bytes()
    said, began = begins(3)
    kept = checkpoint.with_name("checkpoint-4-processes-44444444.safetensors")
    assert began == 0 and kept.read_bytes() == of_four and left(recipe) == [kept, checkpoint]
    assert "4 processes wrote it, and 1 would go on: start 4 to go on from it" in said and str(kept) in said


def test_a_damaged_one_counts_as_none_where_it_lies(recipe, begins):
    begins(9)
    (checkpoint,) = left(recipe)
    checkpoint.write_bytes(checkpoint.read_bytes()[:-9])
    said, began = begins(3)
    assert began == 0 and "counts as none, trained from the start" in said and left(recipe) == [checkpoint]
    save_file({"weight": load_file(checkpoint)[next(iter(load_file(checkpoint)))]}, checkpoint)  # says not whose
    assert begins(3)[1] == 0 and left(recipe) == [checkpoint]
