"""The study of detection: what is compared, the verdict on made-up detections, and the whole at smoke size."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest

from kdlab import paths
from kdlab.clips.windows import WindowBatches, windows
from kdlab.night.streams import UntrimmedStream
from kdlab.night.untrimmed import Untrimmed
from kdlab.papers.generative import detection_recipes, detection_study
from kdlab.papers.generative.detection_recipes import DEMO, SMOKE, STUDY, TITLES, conditions, night
from kdlab.papers.generative.detection_study import Detections, columns, ledger
from kdlab.papers.generative.nets import read_cvae
from kdlab.study import Scores, load_rows
from kdlab.train.recipe import from_json, to_json
from kdlab.train.runs import Run, batches, find, obtain
from tests.papers.generative.test_generation import r2_rows


def made_up(late: dict[str, float], seeds=3, videos=12) -> Detections:
    """Detections that are ``late`` seconds late, more or less."""
    rng = np.random.default_rng(0)
    names = [f"v{i:02d}" for i in range(videos)]
    truth = pd.DataFrame([(v, k, 10.0 * k, 10.0 * k + 2) for v in names for k in (0, 1, 2)],
                         columns=["video", "label", "start", "end"])
    found = {}
    for condition, off in late.items():
        found[condition] = []
        for seed in range(seeds):
            shift = off + 0.3 * np.random.default_rng(seed).normal(size=len(truth))
            its = truth.assign(start=truth.start + shift, end=truth.end + shift, score=rng.uniform(0.2, 1, len(truth)))
            found[condition].append(detection_study._scored(truth, its, 3))
    ids = np.array(names)
    return Detections(("a", "b", "c"), tuple(range(seeds)), ids, ids, np.zeros(videos, int), found=found,
                      recipes={c: [f"{c}-{s}" for s in range(seeds)] for c in found}, sources=dict.fromkeys(found, "x"))


def test_all_students_see_the_same_and_the_longer_one_has_the_teachers_steps():
    made = conditions(STUDY, 3)
    assert set(made) == set(TITLES)
    teacher, *students = made.values()
    assert {(r.data, r.view, r.window, r.seed) for r in students} == {(night(STUDY), teacher.view, teacher.window, 3)}
    assert {r.settings for name, r in made.items() if name.endswith(("student", "genkd", "untrained"))} == {
        made["det_student"].settings}
    assert made["det_student_2x"].settings == teacher.settings != made["det_student"].settings
    assert made["det_genkd"].teacher == made["det_untrained"].teacher == teacher
    assert conditions(STUDY, 4)["det_teacher"] == dataclasses.replace(teacher, seed=teacher.seed + 1)
    assert made["det_untrained"].method == dataclasses.replace(made["det_genkd"].method, teacher="untrained")
    assert made["det_genkd"].method.beta == 10
    assert {name for name, recipe in made.items() if getattr(recipe.method, "generation", 0)} == {
        "det_teacher", "det_genkd", "det_untrained"}
    for recipe in made.values():
        assert from_json(json.loads(json.dumps(to_json(recipe)))) == recipe
        assert recipe.name.startswith(recipe.condition + "-night_untrimmed-s")


def test_a_demo_is_small():
    assert sum(DEMO.videos) <= 100 and DEMO.epochs < STUDY.epochs


def test_no_training_comes_twice_and_an_interrupted_study_has_whole_seeds():
    every = detection_study.study.trainings(STUDY, 3)
    order = [r for r in every if r.data == night(STUDY) and r.settings.epochs > 20 and r.condition != "det_teacher"]
    assert len(every) == len(set(every)) and [r.seed for r in order] == sorted(r.seed for r in order)
    assert [r.seed for r in order if r.condition == "det_genkd"] == [101, 102, 103], "none is the teacher's"


def test_the_verdict_follows_the_detections(tmp_path, monkeypatch):
    monkeypatch.setenv("KDLAB_FIGURES", str(tmp_path))  # no claim is registered: it would make intervals wider
    good = ledger(made_up({"det_student": 1.2, "det_genkd": 0.0, "det_untrained": 1.2})).iloc[0]
    assert good.claim == "G4" and good.verdict == "supported (3 seeds: provisional)" and good.effect.startswith("+")
    explained = ledger(made_up({"det_student": 1.2, "det_genkd": 0.0, "det_untrained": 0.0})).iloc[0].verdict
    assert explained == "supported, and explained by an untrained teacher (3 seeds: provisional)"
    same = made_up({"det_student": 0.4, "det_genkd": 0.4, "det_untrained": 0.4})
    same.found["det_genkd"] = same.found["det_student"]
    assert ledger(same).iloc[0].verdict.startswith("not testable on this set (all 12 test units say the same")


def test_detections_come_back_from_their_file(tmp_path):
    made = made_up({"det_student": 0.4, "det_genkd": 0.1}, seeds=2, videos=5)
    made.save(tmp_path / "d.npz")
    again = Detections.load(tmp_path / "d.npz")
    for condition in made.found:
        for name in detection_study.METRICS:
            assert again.mean_ap(condition, name) == pytest.approx(made.mean_ap(condition, name), abs=0)
    assert (again.classes, again.seeds, again.ids.tolist(), again.recipes) == (
        made.classes, made.seeds, made.ids.tolist(), made.recipes)
    assert Scores.load(tmp_path / "d.npz").sources == made.sources, "stale studies are found by these"
    many = made_up({"det_student": 0.4}, seeds=1, videos=300)
    many.save(tmp_path / "many.npz")
    assert np.array_equal(Detections.load(tmp_path / "many.npz").mean_ap("det_student"), many.mean_ap("det_student"))


def test_convergence_is_read_on_validation():
    about = dict(data="night_untrimmed_longer", metric="val_map@0.1-0.5")
    rows = pd.DataFrame([about | dict(condition=c, seed=s, value=v) for c, values in
                         (("det_student", (50.0, 52, 51)), ("det_student_2x", (50.5, 52.6))) for s, v in
                         enumerate(values)])
    gain, half, word = detection_study.convergence(rows)
    assert gain == pytest.approx(0.55) and half == pytest.approx(12.706 * 0.05, rel=1e-3) and word == "converged"
    rows.loc[rows.condition == "det_student_2x", "value"] += 20
    assert detection_study.convergence(rows)[2] == "under-trained"


@pytest.mark.parametrize(("gain", "teacher", "student", "why"), [
    (1.0, 30, 20, ""), (9.0, 30, 20, "under-trained"), (1.0, 5, 20, "the CVAE of det_teacher does not generate"),
    (1.0, 30, 5, "the CVAE of det_genkd does not generate")])
def test_the_gate_asks_for_convergence_and_for_models_that_generate(gain, teacher, student, why):
    about = dict(data="night_untrimmed_longer", metric="val_map@0.1-0.5")
    table = [about | dict(condition=c, seed=s, value=50 + off + 0.1 * s)
             for c, off in (("det_student", 0), ("det_student_2x", gain)) for s in range(3)]
    rows = pd.concat([pd.DataFrame(table), *(r2_rows(value, value, value, data="night_untrimmed_fresh", condition=name)
                                             for name, value in (("det_teacher", teacher), ("det_genkd", student)))])
    passed, words = detection_study.gate(rows)
    assert passed == (not why) and why in words
    assert detection_study._lines({}, rows) == [words.partition(";")[0]]


def test_a_longer_student_has_fewer_seeds_and_a_part_of_its_own():
    parts = {part.data: part for part in detection_study.study.chosen(STUDY, 10)}
    longer = parts["night_untrimmed_longer"]
    assert {c: len(column) for c, column in longer.recipes.items()} == {"det_student": 3, "det_student_2x": 3}
    assert longer.recipes["det_student"] == parts["night_untrimmed"].recipes["det_student"][:3]
    assert all("det_student_2x" not in part.recipes for part in parts.values() if part is not longer)


def test_a_stream_has_a_name_and_a_fingerprint_of_its_own():
    spec = Untrimmed(classes=("Jump",), videos=(1, 0, 1))
    assert UntrimmedStream(spec).name == "night_untrimmed" and UntrimmedStream(spec, "dark").name.endswith("_dark")
    assert UntrimmedStream(spec).fingerprint() != UntrimmedStream(spec, "dark").fingerprint()


# --- through recipes and runs ----------------------------------------------------------------------------------


@pytest.fixture
def tiny(monkeypatch, own_places):
    """Three videos of two classes."""
    size = dataclasses.replace(SMOKE, videos=(1, 1, 1))
    monkeypatch.setattr(detection_recipes, "CLASSES", ("Jump", "Walk"))
    return size


@pytest.mark.slow
def test_a_detector_is_trained_found_and_asked_through_its_recipe(tiny):
    made, said = conditions(tiny, 0), []
    run = obtain(made["det_genkd"], say=said.append)
    assert [line.split(":")[0] for line in said] == [made["det_teacher"].name, made["det_genkd"].name]
    assert "loss" in said[1] and "%" not in said[1]
    assert obtain(made["det_genkd"], say=said.append).folder == run.folder and said[-1].endswith("found")
    assert {"cvae", "net"} <= {k.removeprefix("loss_") for k in run.history.columns if k.startswith("loss_")}
    assert {"focal", "generated", "attention", "taught"} <= set(run.history.columns)

    some = batches(made["det_genkd"], "test")
    assert isinstance(some, WindowBatches)
    answers = run.predictions("test")
    assert answers.logits.shape == (len(some.records), 1, 60, 2 + 3) and (answers.labels == -1).all()
    assert answers.ids.tolist() == [w.id for w in windows(night(tiny).catalogue(), "test", run.recipe.window)]
    batch = next(some.evaluation())
    assert np.allclose(run.net()(batch.views["student"]).detach(), answers.logits[: len(batch.ids)], atol=1e-4)

    teacher = Run(run.folder.parent / made["det_teacher"].name)
    assert len(read_cvae(teacher.folder)) == 2 and not run.staleness()

    begun = dataclasses.replace(made["det_student"], condition="begun", start=made["det_student"])
    started = obtain(begun, say=said.append)
    assert started.provenance["needed"]["start"] == obtain(made["det_student"], say=said.append).provenance["weights"]

    other = dataclasses.replace(made["det_genkd"], data=UntrimmedStream(
        dataclasses.replace(night(tiny).night, classes=("Jump", "Turn"))))
    with pytest.raises(ValueError, match="teacher detects Jump, Walk, the student Jump, Turn; train both"):
        obtain(dataclasses.replace(other, teacher=made["det_teacher"]), say=said.append)


@pytest.mark.slow
def test_the_study_at_smoke_size(own_places, monkeypatch, reading):
    scores = detection_study.study.run(SMOKE, 2, workers=1, say=lambda _: None)["night_untrimmed"]
    place = reading("detection")
    rows = load_rows("detection")
    assert set(rows.data) == {"night_untrimmed", "night_untrimmed_fresh", "night_untrimmed_longer",
                              "night_untrimmed_demo"}
    r2 = rows[rows.metric.str.startswith("r2_")]
    assert r2.groupby(["data", "condition"]).size().to_dict() == {
        ("night_untrimmed_fresh", name): 16 for name in detection_study.GENERATIVE}
    assert "det_student" in rows.condition.unique() and "does not generate" in detection_study.gate(rows)[1]
    again = Detections.load(place / "predictions" / "detection-night_untrimmed.npz")
    for row in rows[(rows.data == "night_untrimmed") & rows.metric.str.startswith("map@")].itertuples():
        value = again.mean_ap(row.condition, row.metric.removeprefix("map@"))[scores.seeds.index(row.seed)]
        assert value == pytest.approx(row.value, abs=1e-3) and scores.seeds == (101, 102)
    made = columns(SMOKE, 2, first=detection_study.FIRST)
    runs = {c: [find(recipe, pretrained=False) for recipe in column] for c, column in made.items()}
    asked = detection_study.seen_in(runs, night(SMOKE))
    assert all(a.found.equals(b.found) for c in made for a, b in zip(asked.found[c], scores.found[c], strict=True))
    new = Detections.load(place / "predictions" / "detection-night_untrimmed_fresh.npz")
    assert not set(new.truth.start) & set(again.truth.start), "other videos"
    monkeypatch.setattr(detection_study, "DEMO", SMOKE)
    assert detection_study.study.compared() == [], "two seeds are no range"
    monkeypatch.setattr("kdlab.study.study.load_rows", lambda _: pd.concat([rows, rows.assign(seed=9)]))
    lines = detection_study.study.compared()
    assert len(lines) == 4 and all(": your " in line and "lies in" in line for line in lines)


# --- the committed evidence ------------------------------------------------------------------------------------

PREDICTIONS = paths.project_root() / "figures" / "predictions" / "detection-night_untrimmed.npz"
committed = pytest.mark.skipif(not PREDICTIONS.is_file(), reason="not committed yet")


@committed
def test_committed_rows_follow_from_the_committed_predictions():
    scores, rows = Detections.load(PREDICTIONS), load_rows("detection")
    rows = rows[(rows.data == "night_untrimmed") & rows.metric.str.startswith("map@")]
    seen = {(c, s): its.mean_ap() for c, each in scores.found.items() for s, its in enumerate(each)}
    runs = {(condition, name) for condition, names in scores.recipes.items() for name in names}
    assert len(rows) == len(detection_study.METRICS) * len(runs)
    for row in rows.itertuples():
        value = seen[row.condition, scores.seeds.index(int(row.seed))][row.metric.removeprefix("map@")]
        assert 100 * value == pytest.approx(row.value, abs=1e-3)


@committed
def test_the_committed_study_is_of_todays_recipes():
    """Of other sources, or of recipes by other names, it may be, until it is run again: `kdlab fresh` says so."""
    stale = detection_study.study.stale()
    assert {file for file, why in stale.items() if why == "missing"} <= {"detection-night_untrimmed_fresh.npz"}
    assert len(columns(STUDY, 1)["det_student"]) == 1
