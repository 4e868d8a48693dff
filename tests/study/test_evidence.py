"""Where a study of which size writes; and that nothing of somebody's, nor of the committed evidence, is lost by it."""


import numpy as np
import pandas as pd
import pytest

from kdlab import paths
from kdlab.papers.dual_light import study
from kdlab.studies import every
from kdlab.study import evidence, load_scores
from kdlab.study.evidence import COLUMNS, Evidence, replaces
from kdlab.system.ours import NotOurs
from kdlab.train.sizes import SMOKE, STUDY

STUDIES = every()


class Asked(Exception):
    """What a study asked for, before it trained anything."""


@pytest.fixture
def places(tmp_path, monkeypatch):
    """Own runs, and real clips by their folders alone."""
    for name in ("FIGURES", "DATA", "CACHE"):
        monkeypatch.delenv(f"KDLAB_{name}", raising=False)
    monkeypatch.setenv("KDLAB_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("KDLAB_REAL_CLIPS", str(tmp_path))
    for name in ("arid6", "weizmann"):
        (tmp_path / name).mkdir()
    return tmp_path


def place_of(name, monkeypatch, *arguments, **more) -> Evidence:
    """Where the study would write: the first thing it asks, and nothing is written."""
    def asked(*its, **them):
        with monkeypatch.context() as patch:
            patch.setattr(evidence, "may_write", lambda *_: None)
            patch.setattr("pathlib.Path.mkdir", lambda *_, **__: None)
            raise Asked(true_of(*its, **them))

    true_of = Evidence.of
    with monkeypatch.context() as patch:
        patch.setattr(Evidence, "of", asked)
        with pytest.raises(Asked) as found:
            STUDIES[name].run(*arguments, **more, say=lambda _: None)
    return found.value.args[0]


@pytest.mark.parametrize("name", STUDIES)
def test_only_the_committed_size_writes_the_committed_evidence(name, places, monkeypatch):
    final = dict(final=True) if any(part.final for part in STUDIES[name].chosen()) else {}
    whole = place_of(name, monkeypatch, **final)
    assert whole == Evidence(name, paths.figures_dir(), True)
    if final:
        assert not place_of(name, monkeypatch).committed, "half of the clips are no evidence"
    small = place_of(name, monkeypatch, STUDIES[name].sized("smoke"))
    assert small == Evidence(name, places / "runs" / "studies" / f"{name}-smoke", False)


def test_a_teacher_under_its_own_seeds_counts_once(tmp_path, monkeypatch):
    monkeypatch.setenv("KDLAB_FIGURES", str(tmp_path))
    row = dict.fromkeys(COLUMNS, "") | dict(study="mine", data="d", condition="teacher", value=1)
    rows = [row | dict(metric=metric, seed=seed)
            for metric, seeds in (("accuracy", (100, 101)), ("seconds", (101, 102))) for seed in seeds]
    Evidence("mine", tmp_path, True).save_rows(rows)
    assert replaces("mine", {"d": 2}) and not replaces("mine", {"d": 1})


@pytest.mark.parametrize("name", ["dual_light", "dual_light_controls", "attention", "generative", "detection",
                                  "flatness"])
def test_fewer_seeds_than_are_committed_replace_nothing(name, places, monkeypatch):
    assert not place_of(name, monkeypatch, None, 2).committed


def test_part_of_a_study_replaces_that_part(places, monkeypatch):
    seeds = len(load_scores("progressive-night_bright").seeds)  # fewer than of the study's other sets
    assert place_of("progressive", monkeypatch, None, seeds, only=("night_bright",)).committed
    assert not place_of("progressive", monkeypatch, None, seeds - 1, only=("night_bright",)).committed
    assert not place_of("progressive", monkeypatch, None, seeds).committed
    monkeypatch.setattr(study, "DEMO_SEEDS", 1)
    assert not place_of("dual_light", monkeypatch).committed


@pytest.mark.parametrize("name", STUDIES)
def test_a_smoke_study_trains_networks_of_smoke_size_only(name, places):
    todo, seen = STUDIES[name].trainings(STUDIES[name].sized("smoke")), set()
    while todo:
        recipe = todo.pop()
        if recipe not in seen:
            seen.add(recipe)
            todo += recipe.needs().values()
            assert recipe.settings.epochs <= 8, recipe.name
            data = getattr(recipe.data, "night", recipe.data)
            assert max(getattr(data, "per_class", (0,))) <= 4 and max(getattr(data, "videos", (0,))) <= 3, recipe.name
    assert seen


def rows(**columns) -> list[dict]:
    return [dict.fromkeys(COLUMNS, 0) | {"condition": "ce", "fold": ""} | columns]


def test_the_size_is_told_and_its_folder_holds_all(places, monkeypatch):
    monkeypatch.setenv("KDLAB_FIGURES", str(places / "figures"))
    said = []
    found = Evidence.of("wise", SMOKE, {"night": 2}, whole=False, say=said.append)
    assert "wise: what it finds at this size goes to" in said[0] and str(found.folder) in said[0]
    found.save("wise-night", {"ids": np.arange(3)})
    found.save_rows(rows(data="12", fold="01") + rows(data="007", fold="01"))  # names are no numbers
    found.save("wise-night", {"ids": np.arange(4)})  # its own are written anew
    again = Evidence.of("wise", SMOKE, {"night": 2}, whole=False, say=str)
    assert again.kept(("12",)) == rows(data="007", fold="01") and again.kept(()) == []
    assert again.kept(("12", "007")) == []
    assert not (places / "figures").exists()
    again.publish([None])  # is not asked for


def test_committed_rows_are_replaced_by_as_many_seeds_or_more(places, monkeypatch):
    monkeypatch.setenv("KDLAB_FIGURES", str(places / "figures"))
    assert Evidence.of("wise", STUDY, {"night": 1}, whole=True, say=str).committed
    Evidence("wise", places / "figures", True).save_rows([row for s in range(3) for row in rows(data="night", seed=s)])
    assert not Evidence.of("wise", STUDY, {"night": 2}, whole=True, say=str).committed
    assert Evidence.of("wise", STUDY, {"night": 3}, whole=True, say=str).committed
    assert Evidence.of("wise", STUDY, {"day": 2}, whole=True, say=str).committed


def test_somebodys_tables_and_arrays_stay(places, monkeypatch):
    mine = places / "figures"
    monkeypatch.setenv("KDLAB_FIGURES", str(mine))
    (mine / "predictions").mkdir(parents=True)
    (mine / "wise.csv").write_text("my,table\n1,2\n")
    with pytest.raises(NotOurs, match="wise.csv is there already and is no table of a study of kdlab's"):
        Evidence.of("wise", STUDY, {"night": 3}, whole=True, say=str)
    assert (mine / "wise.csv").read_text() == "my,table\n1,2\n"
    (mine / "wise.csv").unlink()
    found = Evidence.of("wise", STUDY, {"night": 3}, whole=True, say=str)
    np.savez(mine / "predictions" / "wise-night.npz", mine=np.arange(3))
    np.save(mine / "predictions" / "plain.npy", np.arange(3))
    (mine / "predictions" / "plain.npy").rename(mine / "predictions" / "wise-day.npz")
    (mine / "predictions" / "wise-noon.npz").write_text("text")
    for name in ("wise-night", "wise-day", "wise-noon"):
        with pytest.raises(NotOurs, match=f"{name}.npz is there already"):
            found.file(name)


@pytest.mark.parametrize("name", ["KDLAB_FIGURES", "KDLAB_RUNS"])
def test_a_place_that_cannot_be_written_is_named_first(places, monkeypatch, name):
    (places / "file").touch()
    monkeypatch.setenv("KDLAB_FIGURES", str(places / "figures"))
    monkeypatch.setenv(name, str(places / "file" / "deep"))
    with pytest.raises(OSError, match="deep"):
        Evidence.of("wise", SMOKE, {}, whole=name == "KDLAB_FIGURES", say=str)


def test_every_committed_table_is_known_as_one():
    tables = sorted((paths.project_root() / "figures").glob("*.csv"))
    if not tables:
        pytest.skip("not a clone")
    for table in tables:
        assert evidence.is_table(table)
        assert set(pd.read_csv(table).study) == {table.stem}, "rows carry the name of their own study"
    for file in (paths.project_root() / "figures" / "predictions").glob("*.npz"):
        assert evidence._is_predictions(file), file.name
