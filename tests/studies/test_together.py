"""All of kdlab's studies as one schedule."""

import importlib.util
import json

import pytest

from kdlab import paths
from kdlab.papers.dual_light import regimes_real
from kdlab.papers.generative.detection_study import study as detection
from kdlab.studies import together, transfer
from kdlab.studies.night_audit import study as night_audit
from kdlab.system.engines import Slurm
from kdlab.train.many import in_order
from kdlab.train.recipe import UserClips
from tests.study.test_shards import study_of
from tests.train.test_runs import clips  # noqa: F401


@pytest.fixture
def two(own_places, monkeypatch):
    monkeypatch.setattr(together, "every", lambda: {"detection": detection, "night_audit": night_audit})
    monkeypatch.setattr(together, "available_cores", lambda: 2)
    return own_places


def test_all_trainings_are_one_schedule_and_a_study_waits_for_its_own(two, monkeypatch):
    seen = {}

    def scheduled(todo, done, board, workers, how, *, tasks, **_):
        seen.update(todo=todo, how=how, tasks={task.name: task for task in tasks}, workers=workers)

    monkeypatch.setattr(together, "scheduled", scheduled)
    together.run_all("smoke")
    every = {name: together.trained(study, "smoke") for name, study in together.every().items()}
    assert set(seen["todo"]) == set(in_order(r for recipes in every.values() for r in recipes)) and seen["workers"] == 2
    assert {name: list(task.recipes) for name, task in seen["tasks"].items()} == every
    place = {recipe: k for k, recipe in enumerate(seen["todo"])}
    assert all(place[needed] < place[recipe] for recipe in seen["todo"] for needed in recipe.needs().values())
    assert seen["how"] == dict(pretrained=False, stale="retrain")
    together.run_all()
    assert seen["how"]["stale"] == "refuse", "those of the committed size take hours"


def test_shards_of_the_first_seeds_come_first(own_places, clips, monkeypatch):  # noqa: F811
    study, seen, said = study_of(clips), {}, []
    study.run(shards=[1], workers=1, say=said.append)
    monkeypatch.setattr(together, "every", lambda: {"night_audit": night_audit, "tiny": study})

    def scheduled(todo, done, board, workers, how, *, tasks, **_):
        seen.update(todo=todo, done=done, tasks=tasks)

    monkeypatch.setattr(together, "scheduled", scheduled)
    together.run_all(workers=1)
    assert [task.name for task in seen["tasks"]] == ["tiny, shard 0", "tiny, shard 2", "night_audit"]
    assert [recipe.seed for recipe in seen["todo"] if recipe.condition == "taught"] == [100, 102]
    assert not seen["done"], "the runs of shard 1 are not needed"
    for k in (0, 2):
        (place,) = together._run("tiny", None, k)
        assert place.endswith(f"0{k}") and k in study.shards().finished()
    together.run_all(workers=1, say=said.append)
    assert [task.name for task in seen["tasks"]] == ["night_audit"] and "trainings are in this table" in said[-1]
    assert study.shards().merged()


def test_what_is_committed_tells_how_long_it_will_take(two, monkeypatch):
    recipe = next(iter(detection.chosen()[0].recipes.values()))[0]
    paths.figures_dir().mkdir()
    head = "study,data,condition,seed,fold,metric,value,unit,recipe"
    row = f"detection,{detection.chosen()[0].data},{recipe.condition},{recipe.seed},,cpu_seconds,12.5,s,old-name"
    (paths.figures_dir() / "detection.csv").write_text(f"{head}\n{row}")
    assert together.recorded_seconds() == {recipe.name: 12.5}


def test_without_the_real_clips_nothing_is_trained(two, monkeypatch):
    monkeypatch.delenv("KDLAB_REAL_CLIPS", raising=False)
    monkeypatch.setattr(together, "scheduled", lambda *_, **__: pytest.fail("trained"))
    from kdlab.studies.transfer import study

    monkeypatch.setattr(together, "every", lambda: {"transfer": study})
    with pytest.raises(FileNotFoundError, match="KDLAB_REAL_CLIPS"):
        together.run_all()
    assert any(isinstance(recipe.data, UserClips) for recipe in together.trained(study))


@pytest.mark.parametrize("study", [regimes_real.study, transfer.study], ids=lambda study: study.name)
def test_clips_for_finished_recipes_are_not_read_by_all_studies(study, own_places, monkeypatch):
    monkeypatch.setenv("KDLAB_REAL_CLIPS", str(own_places))
    folds = {recipe.data.test_fold for recipe in together.trained(study) if isinstance(recipe.data, UserClips)}
    assert folds == {"A"} < {part.fold for part in study.chosen()}


@pytest.mark.slow
@pytest.mark.parametrize("engine", [None, pytest.param(Slurm(cluster="local"), marks=pytest.mark.skipif(
    importlib.util.find_spec("submitit") is None, reason="needs the extra kdlab[slurm]"))], ids=["pool", "submitit"])
def test_a_study_in_the_schedule_writes_its_table_and_is_found_again(two, monkeypatch, engine):
    monkeypatch.setattr(together, "every", lambda: {"detection": detection})
    said = []
    together.run_all("smoke", engine=engine, say=said.append)
    table = paths.runs_dir() / "studies" / "detection-smoke" / "detection.csv"
    assert table.is_file() and any("detection: done" in line and "trainings are in this table" in line for line in said)
    before = {file: file.stat().st_mtime_ns for file in paths.runs_dir().glob("*/run.json")}
    assert len(before) == len(in_order(together.trained(detection, "smoke")))
    assert all(json.loads(file.read_text())["steps"] for file in before)
    together.run_all("smoke", say=said.append)
    assert before == {file: file.stat().st_mtime_ns for file in paths.runs_dir().glob("*/run.json")}
