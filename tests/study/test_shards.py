"""Finished seeds of a study are kept as shards, from which any machine goes on; nothing is trained twice."""

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from kdlab import paths
from kdlab.cli.claims import claims
from kdlab.study import FIRST, Claim, Outcome, Part, Plan, Scores, Study, awaited, by_condition
from kdlab.study import shards as module
from kdlab.study.register import Register
from kdlab.system.contents import hashes
from kdlab.train import many
from kdlab.train.recipe import UserClips
from kdlab.train.sizes import SMOKE
from tests.study.test_register import begin, commit
from tests.train.test_runs import clips, make_recipe, make_student  # noqa: F401

SEEDS = 3


def study_of(clips, epochs=1, **changes) -> Study:  # noqa: F811
    """Two conditions of all seeds, also on other clips; one with fewer seeds, and one part without any."""
    made = by_condition(lambda s: {"plain": make_recipe(clips, s, epochs, condition="plain"),
                                   "taught": make_student(clips, s, condition="taught")}, SEEDS, first=FIRST)
    few = by_condition(lambda s: {"few": make_recipe(clips, s, epochs, condition="few")}, 2)

    def rows(outcome: Outcome) -> list[dict]:
        right = outcome.scores.correct("taught")
        outcome.evidence.save("tiny-curves", {"ids": outcome.scores.ids, "right/taught": right}, once=["ids"])
        once = outcome.numbers(("clips", len(outcome.scores.ids), "1"), condition="all")
        return [*outcome.rows(), *once]

    parts = [Part("mine", made, unit="group", rows=rows),
             Part("mine_again", made, on=UserClips(str(clips)), rows=Outcome.test_rows),
             Part("few", few, file="", rows=lambda o: [row for row in o.rows() if row["metric"] == "accuracy"]),
             Part("cost", rows=lambda outcome: outcome.numbers(("macs", 5, "1"), condition="plain"))]
    return replace(Study("tiny", lambda size, seeds: parts, size=SMOKE, committed=True, seedwise=True), **changes)


@pytest.fixture
def trained(own_places, monkeypatch):
    """Names of what was trained, in turn."""
    names, true_of = [], many._obtain_named

    def counted(recipe, *how):
        if not (paths.runs_dir() / recipe.name / "run.json").is_file():
            names.append(recipe.name)
        return true_of(recipe, *how)

    monkeypatch.setattr(many, "_obtain_named", counted)
    return names


@pytest.fixture(scope="module")
def runs(clips, tmp_path_factory):  # noqa: F811
    """The finished runs of :func:`study_of`, each trained once for all tests."""
    root = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("RUNS", "CACHE", "DATA", "FIGURES"):
            patch.setenv(f"KDLAB_{name}", str(root / name))
        patch.setattr(paths, "pretrained_dir", lambda: root / "pretrained")
        run(study_of(clips))
    return root / "RUNS"


@pytest.fixture
def finished(runs, trained):
    """As :func:`trained`, with all runs of the study there already."""
    shutil.copytree(runs, paths.runs_dir())
    return trained


def evidence(place: Path) -> dict[str, object]:
    """Every file of a study's evidence: bytes of tables, arrays by name."""
    found = {"tiny.csv": (place / "tiny.csv").read_bytes()}
    for file in sorted((place / "predictions").glob("*.npz")):
        found |= {f"{file.stem}/{name}": values for name, values in module._arrays(file).items()}
    return found


def run(study: Study, **how) -> tuple[dict[str, Scores], list[str]]:
    said = []
    return study.run(workers=1, say=said.append, **how), said


def equal(one: dict, other: dict) -> bool:
    assert list(one) == list(other)
    return all(np.array_equal(one[name], other[name]) for name in one)


def test_shard_after_shard_gives_bit_for_bit_what_the_whole_gives(clips, trained, monkeypatch):  # noqa: F811
    study, figures = study_of(clips), paths.figures_dir()
    found, said = run(study)
    assert [k for k in range(SEEDS) if f"shard {k} of 3 of tiny" in " ".join(said)] == [0, 1, 2]
    assert found["mine"].seeds == (100, 101, 102) and not (figures / "shards" / "tiny").exists()
    assert len(trained) == len(set(trained)) == 3 * 3 + 2 and not any("_again" in name for name in trained)
    by_shards = evidence(figures)
    assert b"ece" in by_shards["tiny.csv"] and by_shards["tiny-curves/right/taught"].shape == (3, 8)
    monkeypatch.setenv("KDLAB_FIGURES", str(figures.with_name("whole")))
    whole, _ = run(replace(study, seedwise=False))
    assert len(trained) == 11 and set(whole) == {"mine", "mine_again", "few"}
    assert equal(by_shards, evidence(figures.with_name("whole")))


def test_a_killed_run_goes_on_from_its_shards_alone(clips, trained, monkeypatch):  # noqa: F811
    study, figures = study_of(clips), paths.figures_dir()
    assert run(study, shards=[0])[0] == {} and [p.name for p in figures.iterdir()] == ["predictions", "shards"]
    assert len(trained) == 4
    true_of = Study._evaluated

    def killed(self, *how):
        true_of(self, *how)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Study, "_evaluated", killed)
        with pytest.raises(KeyboardInterrupt):
            run(study)
    assert (figures / "shards" / "tiny" / "01" / "tiny.csv").is_file(), "all but the last word of it"
    assert study.shards().finished() == [0]

    shutil.rmtree(paths.runs_dir())  # another machine
    trained.clear()
    found, said = run(study)
    assert "1 of 3 shards are there: 0" in said[0] and "01 is made again: it is not finished" in said[1]
    assert len(trained) == 4 + 3 and found["mine"].predicted["plain"].shape == (3, 8)

    shutil.rmtree(paths.runs_dir())
    trained.clear()
    found, said = run(study)
    assert not trained and "all of its evidence is there" in said[0] and set(found) == {"mine", "mine_again"}
    (figures / "tiny.csv").write_text((figures / "tiny.csv").read_text() + "\n")
    with pytest.raises(ValueError, match="tiny.csv is damaged: restore it .* or delete .*tiny.json to run the study"):
        run(study)
    (figures / "shards" / "tiny.json").unlink()
    assert run(study, only=["cost"])[0] == {} and run(study)[0] and len(trained) == 11


@pytest.mark.parametrize("change, why", [
    (dict(epochs=2), "today it is made of plain-.*, which it does not have"),
    (dict(sources="other"), "was trained by other sources"),
    (dict(on="other"), "mine_again was tested on other clips"),
    (dict(claims="digest"), "its claims had another registration"),
    (dict(condition="other"), "its study had other conditions or data sets"),
])
def test_a_shard_of_something_else_is_made_again(clips, finished, change, why):  # noqa: F811
    study = study_of(clips)
    run(study, shards=[1])
    file = paths.figures_dir() / "shards" / "tiny" / "01" / "shard.json"
    note = json.loads(file.read_text())
    if "epochs" in change:
        study = study_of(clips, epochs=2)
    elif "sources" in change:
        note["sources"] = dict.fromkeys(note["sources"], "other")
    elif "on" in change:
        note["parts"][1]["on"] = "other"
    elif "claims" in change:
        note["registered"] = {"M1": "digest"}
    else:
        note["parts"][0]["recipes"]["other"] = note["parts"][0]["recipes"].pop("plain")
    file.write_text(json.dumps(note))
    assert study.shards().finished() == [] and str(file.parent) in study.stale()
    _, said = run(study, shards=[1])
    assert any(pd.Series(said).str.contains(f"01 is made again: .*{why}")), said
    assert study.shards().finished() == [1]


def test_shards_of_different_clips_are_not_put_together(clips, finished):  # noqa: F811
    study = study_of(clips)
    run(study, shards=[0, 1, 2])
    paths.figures_dir().rename(paths.figures_dir().with_name("kept"))
    kept = paths.figures_dir().with_name("kept")
    run(study, shards=[0, 1])
    place = paths.figures_dir() / "shards" / "tiny"
    file = place / "01" / "predictions" / "tiny-mine_again.npz"
    scores = Scores.load(file)
    replace(scores, labels=1 - scores.labels).save(file)
    note = json.loads((place / "01" / "shard.json").read_text())
    note["files"] = hashes(place / "01", [place / "01" / name for name in note["files"]])
    (place / "01" / "shard.json").write_text(json.dumps(note))
    with pytest.raises(ValueError, match=r"00/predictions/tiny-mine_again.npz and .*01/predictions/tiny-mine_again.npz "
                                         "were tested on different clips"):
        run(study)
    assert study.shards().finished() == [0, 1, 2] and (kept / "tiny.csv").is_file()


def test_curves_of_different_clips_are_not_put_together(tmp_path):
    for k, ids in enumerate(("ab", "ab", "ac")):
        np.savez(tmp_path / f"{k}.npz", ids=np.array(list(ids)), right=np.full((1, 2), k))
    files = [tmp_path / f"{k}.npz" for k in range(3)]
    found = module._stacked(files[:2], module._arrays(files[0]), ["ids"])
    assert found["right"].tolist() == [[0, 0], [1, 1]] and found["ids"].tolist() == ["a", "b"]
    with pytest.raises(ValueError, match="0.npz and .*2.npz were tested on different clips"):
        module._stacked(files, module._arrays(files[0]), ["ids"])


@pytest.mark.parametrize("name, content, message", [
    ("predictions/tiny-mine.npz", b"x", "tiny-mine.npz is damaged: restore it .git checkout., or delete .*00 to make"),
    ("tiny.csv", None, "tiny.csv is missing: restore it"),
    ("shard.json", b"{", "shard.json is damaged .*: restore it"),
    ("shard.json", b"{}", "shard.json is damaged .it lacks what such a file says"),
])
def test_a_damaged_shard_is_named_and_nothing_is_trained(clips, finished, name, content, message):  # noqa: F811
    study = study_of(clips)
    run(study, shards=[0])
    file = paths.figures_dir() / "shards" / "tiny" / "00" / name
    file.write_bytes(content) if content else file.unlink()
    shutil.rmtree(paths.runs_dir())
    with pytest.raises(ValueError, match=message):
        run(study)
    assert not finished


def test_what_is_asked_for_otherwise_is_run_whole(clips, trained):  # noqa: F811
    study = study_of(clips)
    assert study.shards().count == 3 and not study.shards(only=["few"]) and not study.shards(SMOKE and "other")
    assert replace(study, committed=False).shards() is None
    with pytest.raises(ValueError, match="the study tiny has no shards 3: they are 0 to 2"):
        run(study, shards=[3])
    with pytest.raises(ValueError, match="the study tiny has no shards 0: so asked for it is run whole"):
        run(replace(study, seedwise=False), shards=[0])
    assert not trained


def test_a_group_of_shards_keeps_the_workers_busy(clips):  # noqa: F811
    shards = study_of(clips).shards()
    assert shards.together([0, 1, 2], 1) == [[0], [1], [2]], "four trainings in two of them, three in one"
    assert shards.together([0, 1, 2], 2) == [[0, 1], [2]] and shards.together([2, 0, 1], 2) == [[2, 0, 1]]
    assert shards.together([], 2) == []


def test_the_command_makes_some_shards_and_tells_which_are_there(clips, finished, command, monkeypatch):  # noqa: F811
    study = study_of(clips)
    monkeypatch.setattr("kdlab.studies.every", lambda: {"tiny": study})
    code, out, _ = command("study", "tiny", "--shards", "0-1", "--workers", 1)
    assert code == 0 and "1 of 3 shards are left: 2" in out
    shutil.rmtree(paths.runs_dir())
    code, out, _ = command("study", "tiny", "--status")
    assert code == 0 and out.startswith("tiny: 2 of 3 shards are there; their trainings count as done")
    assert out.splitlines()[-1].split()[:4] == ["total", "8", "0", "3"]
    assert command("study", "tiny", "--shards", "2", "--workers", 1)[0] == 0
    assert (paths.figures_dir() / "tiny.csv").is_file()
    for wrong in ("3-1", "x", "0-", "1,2"):
        code, _, err = command("study", "tiny", "--shards", wrong)
        assert code == 2 and "is no range of shards: write 0-3, or 2 for one" in err
    assert "--shards" in command("study", "--all", "--shards", "0")[2]


def test_a_claim_tells_how_many_of_its_seeds_are_in_shards(clips, trained, runs, monkeypatch):  # noqa: F811
    figures, plan = paths.figures_dir(), Plan("mine_again", "mine", 8, seeds=3)
    claim = Claim("M1", "a bright teacher helps", "taught", "plain", rule="it is better", plan=plan)
    study = study_of(clips, claims=[claim])
    figures.mkdir()
    begin(figures, monkeypatch)
    ids = np.array([f"c{n}" for n in range(8)])
    earlier = {"plain": np.arange(16).reshape(2, 8) % 2, "taught": np.arange(16).reshape(2, 8) % 3 % 2}
    Scores(("a", "b"), (0, 1), ids, ids, np.zeros(8, int), earlier, {}, dict.fromkeys(earlier, ["x", "y"])).save(
        figures / "predictions" / "tiny-mine.npz")
    with pytest.raises(ValueError, match="claim M1 of the study tiny is not registered"):
        run(study)
    assert not trained and Register().add([study]) == ["M1"]
    commit(figures)
    shutil.copytree(runs, paths.runs_dir())
    assert Register().standing(study, claim).verdict == "withheld: its confirming runs are not there yet"
    run(study, shards=[0, 2])
    commit(figures)
    assert Register().standing(study, claim).verdict == "withheld: 2 of 3 seeds are there, in shards"
    run(study)
    commit(figures)
    rows = pd.read_csv(figures / "tiny.csv")
    (digest,) = rows[rows.metric == "registered"].recipe
    found = Register().standing(study, claim)
    assert digest == Register().entries[0]["digest"] and found.state == "run with 3 seeds" and not found.withheld


def test_claims_of_some_studies_are_registered(monkeypatch):
    asked, own = [], {name: SimpleNamespace(name=name, committed=True) for name in ("one", "two")}
    monkeypatch.setattr("kdlab.studies.every", lambda: own)
    monkeypatch.setattr(Register, "add", lambda self, studies: asked.append([s.name for s in studies]) or ["M1"])
    monkeypatch.setattr("kdlab.study.register.table", lambda register, studies: pd.DataFrame([len(studies)]))
    assert "registered: M1" in CliRunner().invoke(claims, ["--register", "two"]).output
    CliRunner().invoke(claims, ["--register"])
    assert asked == [["two"], ["one", "two"]]
    assert "kdlab has no study 'three'; it has one, two" in str(CliRunner().invoke(claims, ["three"]).exception)
    assert CliRunner().invoke(claims, ["one"]).output.split() == ["0", "1"] and len(asked) == 2, "one study is told"


def test_claims_of_ones_own_are_registered_where_the_evidence_is_kept(tmp_path, monkeypatch):
    (tmp_path / "claims_of_mine.py").write_text(
        "from kdlab.study import Part, Study\n"
        "study = Study('mine', lambda size, seeds: [Part('x')], committed=True)\n")
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delenv("KDLAB_FIGURES", raising=False)
    asked = [str(tmp_path / "claims_of_mine.py"), "--register"]
    assert "committed=True, and let KDLAB_FIGURES name a folder of yours" in CliRunner().invoke(claims, asked).output
    monkeypatch.setenv("KDLAB_FIGURES", str(tmp_path / "evidence"))
    monkeypatch.setattr(Register, "add", lambda self, studies: [f"{s.name} in {self.folder}" for s in studies])
    monkeypatch.setattr("kdlab.study.register.table", lambda register, studies: pd.DataFrame([len(studies)]))
    assert f"registered: mine in {tmp_path / 'evidence'}" in CliRunner().invoke(claims, asked).output


def test_what_is_awaited_is_said_with_its_command_until_it_is_there(tmp_path, monkeypatch):
    monkeypatch.setenv("KDLAB_FIGURES", str(tmp_path))
    for k in range(3):
        place = tmp_path / "shards" / "second" / f"{k:02}"
        place.mkdir(parents=True)
        if k < 2:  # the third is not finished
            (place / module.NOTE).touch()
    first = "`figures/first.csv`, which `kdlab study first` makes"
    assert awaited("first", "second") == f"Awaited: {first}; then `figures/second.csv`, which `kdlab study second` " \
                                         "makes (2 seeds of it are there)."
    (tmp_path / "second.csv").touch()
    assert awaited("first", "second") == f"Awaited: {first}."
    assert awaited("second") == ""
