"""A logger hears every epoch as history.csv has it, also of a training that was interrupted, and can break nothing."""

import sys
from types import SimpleNamespace

import pandas as pd
import pytest

from kdlab import paths
from kdlab.cli import cleaning
from kdlab.clips.views import Window
from kdlab.nets.video import TinyR2Plus1D
from kdlab.train import logs, runs
from kdlab.train.loop import Settings
from kdlab.train.recipe import Recipe, UserClips
from kdlab.train.runs import obtain
from tests.conftest import encode, square

EPOCHS = 4


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    root, lines = tmp_path_factory.mktemp("clips"), ["path,label,split,group"]
    for label, direction in (("left", -1), ("right", 1)):
        for n, split in enumerate(("train", "train", "val", "test")):
            encode(root / label / f"{n}.mp4", square(direction, 5 * n))
            lines.append(f"{label}/{n}.mp4,{label},{split},{split}{n}")
    (root / "index.csv").write_text("\n".join(lines))
    return root


@pytest.fixture
def recipe(clips, own_places):
    return Recipe("ce_raw", UserClips(str(clips)), net=TinyR2Plus1D((4, 8)), window=Window(4, 16, 16),
                  settings=Settings(epochs=EPOCHS, batch_size=2))


@pytest.fixture
def heard(monkeypatch):
    """A logger of somebody's own: the calls it got, in order."""
    calls = []

    class Logger:
        def log_metrics(self, metrics, step):
            calls.append((step, metrics))

        def finalize(self, status):
            calls.append(status)

    monkeypatch.setitem(sys.modules, "my_loggers", SimpleNamespace(mine=lambda recipe: Logger(), none=lambda recipe: 1))
    monkeypatch.setenv("KDLAB_LOGGER", "my_loggers:mine")
    return calls


def train(recipe, lines=None):
    return obtain(recipe, pretrained=False, say=(lines if lines is not None else []).append)


def interrupt(monkeypatch, at):
    def track(steps, *_, **__):
        for step in steps:
            if step == at:
                raise KeyboardInterrupt
            yield step

    monkeypatch.setattr(runs, "track", track)


def expected(run) -> list:
    rows = run.history.to_dict("records")
    return [(row["step"], {k: v for k, v in row.items() if k not in ("epoch", "step") and pd.notna(v)}) for row in rows]


def test_it_hears_each_epoch_while_the_training_runs(recipe, heard, monkeypatch):
    before = []
    monkeypatch.setattr(runs, "track", lambda steps, *_, **__: (before.append(len(heard)) or step for step in steps))
    run = train(recipe)
    assert heard == [*expected(run), "success"] and len(run.history) == EPOCHS
    assert before == [0, 0, 1, 1, 2, 2, 3, 3]  # two steps an epoch


def test_the_weights_are_those_without_a_logger(recipe, heard, monkeypatch, tmp_path):
    with_one = train(recipe).provenance["weights"]
    monkeypatch.delenv("KDLAB_LOGGER")
    monkeypatch.setenv("KDLAB_RUNS", str(tmp_path / "others"))
    assert train(recipe).provenance["weights"] == with_one and len(heard) == EPOCHS + 1


def test_one_that_was_interrupted_is_told_from_its_beginning(recipe, heard, monkeypatch):
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        interrupt(patch, 5)
        train(recipe)
    assert len(heard) == 3 and heard[-1] == "aborted"
    heard.clear()
    run = train(recipe)
    assert heard == [*expected(run), "success"]


def test_a_checkpoint_of_another_training_is_not_told(recipe, heard, monkeypatch):
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        interrupt(patch, 5)
        train(recipe)
    heard.clear()
    checkpoint = paths.runs_dir() / recipe.name / "checkpoint.safetensors"
    assert list(logs.logged(range(1), checkpoint, logs.logger_of(recipe), print)) == [0] and heard == ["success"]


@pytest.mark.parametrize("method", ["log_metrics", "finalize"])
def test_one_that_fails_is_told_once_and_left(recipe, heard, method, monkeypatch):
    logger, lines = sys.modules["my_loggers"].mine(recipe), []
    monkeypatch.setattr(type(logger), method, lambda *_, **__: 1 / 0)
    monkeypatch.setattr(sys.modules["my_loggers"], "mine", lambda recipe: logger)
    run = train(recipe, lines)
    assert len(run.history) == EPOCHS and heard == (expected(run) if method == "finalize" else [])
    assert [line for line in lines if "logger" in line] == [
        f"{recipe.name}: goes on without its logger: ZeroDivisionError: division by zero"]


@pytest.mark.parametrize(("wanted", "words"), [
    ("my_loggers:none", "it gave a int without log_metrics()"), ("my_loggers:other", "has no attribute 'other'"),
    ("tensorbaord", "No module named 'tensorbaord'"), ("no_such_module:x", "No module named 'no_such_module'"),
])
def test_what_names_no_logger_is_told_before_anything_is_trained(recipe, heard, wanted, words, monkeypatch):
    monkeypatch.setenv("KDLAB_LOGGER", wanted)
    with pytest.raises(logs.LoggerError, match="unset it, or give tensorboard") as error:
        train(recipe)
    assert words in str(error.value) and not (paths.runs_dir() / recipe.name).exists()


def test_tensorboard_that_is_not_installed_is_told_before_anything_is_trained(recipe, monkeypatch):
    from lightning_fabric.loggers import tensorboard

    for name in ("_TENSORBOARD_AVAILABLE", "_TENSORBOARDX_AVAILABLE"):
        monkeypatch.setattr(tensorboard, name, False)
    monkeypatch.setenv("KDLAB_LOGGER", "tensorboard")
    with pytest.raises(logs.LoggerError, match=r"unset it, or pip install 'kdlab\[tensorboard\]'"):
        train(recipe)
    assert not (paths.runs_dir() / recipe.name).exists()


def test_tensorboard_shows_one_curve_of_an_interrupted_training(recipe, monkeypatch):
    pytest.importorskip("tensorboard", reason="needs the extra: pip install 'kdlab[tensorboard]'")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    monkeypatch.setenv("KDLAB_LOGGER", "tensorboard")
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        interrupt(patch, 5)
        train(recipe)
    run = train(recipe)
    place = paths.runs_dir() / "tensorboard" / run.folder.name
    events = EventAccumulator(str(place)).Reload()
    shown = {name: [(event.step, pytest.approx(event.value)) for event in events.Scalars(name)]
             for name in events.Tags()["scalars"]}
    assert set(shown) == set(run.history.columns) - {"epoch", "step"}
    for name, points in shown.items():
        rows = run.history[["step", name]].dropna()
        assert [(step, value) for step, value in zip(rows.step, rows[name], strict=True)] == points
    assert not [path for path in cleaning.look("runs").left if "tensorboard" in path.parts]


def test_the_lines_for_mlflow_in_the_docs_work(recipe, monkeypatch, tmp_path):
    why = "needs lightning and mlflow"
    pytest.importorskip("lightning.pytorch", reason=why)
    mlflow = pytest.importorskip("mlflow", reason=why)
    pytest.importorskip("sqlalchemy", reason="needs mlflow's own store")
    text = (paths.project_root() / "docs" / "ecosystem.md").read_text(encoding="utf-8")
    (tmp_path / "my_loggers.py").write_text(text.rpartition("```python\n")[2].partition("```")[0])
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KDLAB_LOGGER", "my_loggers:mlflow")
    run = train(recipe)
    client = mlflow.MlflowClient("sqlite:///mlflow.db")
    (told,) = client.search_runs([client.get_experiment_by_name("kdlab").experiment_id])
    assert told.info.run_name == run.folder.name and told.info.status == "FINISHED"
    points = [(point.step, point.value) for point in client.get_metric_history(told.info.run_id, "loss_net")]
    assert points == list(zip(run.history.step, run.history.loss_net, strict=True))
