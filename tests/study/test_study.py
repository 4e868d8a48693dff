import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from kdlab import paths
from kdlab.measure.accuracy import expected_calibration_error
from kdlab.papers.dual_light import study as dual_light_study
from kdlab.papers.dual_light.recipes import TITLES, dual_light
from kdlab.papers.dual_light.study import columns, ledger
from kdlab.study import (
    Outcome,
    Part,
    Scores,
    Study,
    collect,
    compare_with_pretrained,
    convergence,
    fused,
    load_rows,
    stale_predictions,
    three_seed_range,
)
from kdlab.study.evidence import Evidence
from kdlab.study.table import scatter
from kdlab.system.sources import source_hash
from kdlab.train.runs import Run
from kdlab.train.sizes import SMOKE


def made_scores(seeds=4, clips=60, classes=3, gains=None) -> Scores:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, classes, clips)
    predicted, logits = {}, {}
    for name, right in (gains or {"ce_raw": 0.5, "dlkdd": 0.9, "same_light": 0.9, "ce_enhanced": 0.9}).items():
        hit = rng.random((seeds, clips)) < right
        predicted[name] = np.where(hit, labels, (labels + 1) % classes)
        logits[name] = 3.0 * np.eye(classes)[predicted[name][0]]
    ids = np.array([f"c{i}" for i in range(clips)])
    return Scores(("a", "b", "c"), tuple(range(seeds)), ids, ids, labels, predicted, logits,
                  {k: [f"{k}-s{s}" for s in range(seeds)] for k in predicted})


def test_scores_survive_the_disk(tmp_path):
    scores = made_scores()
    scores.save(tmp_path / "deep" / "scores.npz")
    back = Scores.load(tmp_path / "deep" / "scores.npz")
    assert back.classes == scores.classes and back.seeds == scores.seeds and back.recipes == scores.recipes
    for name in scores.predicted:
        assert np.array_equal(back.predicted[name], scores.predicted[name])
        assert np.array_equal(back.accuracy(name), scores.accuracy(name))
        assert np.allclose(back.logits[name], scores.logits[name], atol=1e-2)


def test_a_file_is_read_once_and_again_once_it_is_another(tmp_path):
    file, scores = tmp_path / "scores.npz", made_scores()
    scores.save(file)
    back = Scores.load(file)
    assert Scores.load(file) is back
    with pytest.raises(ValueError, match="read-only"):
        next(iter(back.predicted.values()))[0, 0] = 1
    made_scores(clips=7).save(file)
    assert len(Scores.load(file).labels) == 7
    file.unlink()
    with pytest.raises(FileNotFoundError):
        Scores.load(file)


def test_hundreds_of_classes_survive_the_disk(tmp_path):
    labels = np.arange(400)
    many = Scores(tuple(map(str, labels)), (0,), labels.astype(str), labels.astype(str), labels, {"x": labels[None]},
                  {"x": np.eye(400)}, {"x": ["x-s0"]})
    many.save(tmp_path / "many.npz")
    back = Scores.load(tmp_path / "many.npz")
    assert np.array_equal(back.labels, labels) and np.array_equal(back.predicted["x"], labels[None])


def test_verdicts_follow_the_numbers():
    table = ledger(made_scores(clips=400), None).set_index("claim")
    assert table.verdict["D1"] == "supported (4 seeds: provisional)"
    assert table.comparison["D2"] == "DL-KDD − same-light KD"
    assert table.verdict["D2"].startswith(("underpowered", "no effect"))
    worse = ledger(made_scores(clips=400, gains={"ce_raw": 0.9, "dlkdd": 0.5, "same_light": 0.5, "ce_enhanced": 0.5}))
    assert worse.verdict[0] == "contradicted (4 seeds: provisional)"


def test_the_cost_verdict_needs_every_ratio_below_one():
    costs = pd.DataFrame([("two-stream", "MACs", 0.5, 0.5, 0.5), ("enhance + classify", "MACs", 1.0, 1.0, 1.0)],
                         columns=["against", "what", "ratio", "low", "high"])
    assert "not supported: MACs against enhance + classify" in ledger(made_scores(), costs).verdict[3]
    assert ledger(made_scores(), costs[:1]).verdict[3] == "supported"


def test_the_claims_of_dual_light_have_a_gate_and_d4_a_power_of_its_own():
    def rows(gain):
        return pd.DataFrame([dict(data="night", condition=c, seed=s, metric="val_accuracy", value=60 + s + g)
                             for c, g in (("ce_raw", 0), ("ce_2x", gain)) for s in range(3)])

    assert dual_light_study.gate(rows(1.0))[0] and not dual_light_study.gate(rows(5.0))[0]
    assert dual_light_study.gate(rows(5.0))[1].endswith("+5.0 ± 0.0 points on validation clips: under-trained")
    costs = pd.DataFrame([("two-stream", "CPU time", 0.5, 0.49, 0.51)],
                         columns=["against", "what", "ratio", "low", "high"])
    power = dual_light_study.D4.expected
    assert [round(power(costs, dataclasses.replace(dual_light_study.D4.plan, smallest=ratio), 0.95), 2)
            for ratio in (1, 0.97)] == [0.02, 0.85]
    assert power(costs.assign(low=0.5, high=0.5), dual_light_study.D4.plan, 0.95) == 1
    read = dual_light_study.D4.judged(costs)
    assert (read["claim"], read["effect"], read["seeds"], read["verdict"]) == (
        "D4", "CPU time/two-stream 0.50", 1, "supported")


def test_costs_of_networks_that_confirm_nothing_are_not_confirming():
    cells = dict(condition="dlkdd:two-stream", data="night")
    rows = pd.DataFrame([cells | dict(seed=seed, metric=f"{what}_ratio{end}", value=0.5) for seed in (100,)
                         for what in ("macs", "cpu_seconds") for end in ("", "_low", "_high")])
    assert len(dual_light_study.committed_costs(rows, 100)) == 2
    assert dual_light_study.committed_costs(rows.assign(seed=0), 100).empty


def test_the_range_of_three_seed_means_covers_what_it_promises():
    rng, hits = np.random.default_rng(0), 0
    for _ in range(400):
        low, high = three_seed_range(rng.normal(60, 3, 8))
        hits += low <= rng.normal(60, 3, 3).mean() <= high
    assert 0.92 <= hits / 400 <= 0.98
    with pytest.raises(ValueError, match="at least three"):
        three_seed_range(np.array([60.0, 61.0]))


def test_seeds_of_all_conditions_tell_how_far_they_scatter():
    columns = [np.array([60.0, 62, 64]), np.array([10.0, 12, 14, 12])]
    assert scatter(columns) == (pytest.approx(np.sqrt(16 / 5)), 5)
    low, high = three_seed_range(columns[0], 3, scatter(columns))
    assert high - 62 == pytest.approx(62 - low) == pytest.approx(2.5706 * np.sqrt(16 / 5) * np.sqrt(2 / 3), abs=1e-3)


def test_of_committed_bits_the_committed_number_is_expected_and_of_others_a_range(tmp_path, monkeypatch):
    monkeypatch.setenv("KDLAB_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("KDLAB_FIGURES", str(tmp_path))
    monkeypatch.setattr(paths, "pretrained_dir", lambda: tmp_path)
    recipe = dual_light(SMOKE)["ce_raw"]
    part = Part("night_demo", {"ce_raw": [recipe]})
    study = Study("mine", lambda size, seeds: [part], yours=lambda: part)
    rows = dict(study="mine", data="night_demo", condition="ce_raw", metric="accuracy")
    pd.DataFrame([rows | dict(value=v) for v in (59.0, 60, 61)]).to_csv(tmp_path / "mine.csv", index=False)
    assert study.compared() == ["mine, ce_raw: not trained here yet"]
    fake_run(tmp_path / "runs" / recipe.name, 60)
    assert study.compared() == ["mine, ce_raw: your 60.0 lies in 55.0…65.0"]
    study.demo().to_csv(tmp_path / "demo.csv", index=False)
    assert study.compared() == ["mine, ce_raw: your 60.0 is the committed 60.0, of the same bits"]
    shutil.rmtree(tmp_path / "runs" / recipe.name)
    fake_run(tmp_path / "runs" / recipe.name, 61)
    assert study.compared() == ["mine, ce_raw: your 61.0 is NOT the committed 60.0, of the same bits"]
    shutil.rmtree(tmp_path / "runs" / recipe.name)
    fake_run(tmp_path / "runs" / recipe.name, 70, weights="x")
    assert study.compared() == ["mine, ce_raw: your 70.0 lies OUTSIDE 55.0…65.0"]


def test_convergence_compares_validation_and_says_the_word():
    def table(gain):
        return pd.DataFrame([dict(data="night", condition=c, seed=s, metric="val_accuracy", value=60 + s + g)
                             for c, g in (("ce_raw", 0), ("ce_2x", gain)) for s in range(3)])

    assert convergence(table(1.0), "night") == (pytest.approx(1.0), pytest.approx(0.0), "converged")
    assert convergence(table(5.0), "night")[2] == "under-trained"
    apart = table(1.0)
    apart.loc[apart.condition == "ce_2x", "seed"] += 100
    for nothing in (apart, table(1.0)[:3], table(1.0)[3:]):
        assert convergence(nothing, "night")[2] == "not measured", "no seed has both"


def test_rows_are_tidy_and_load_back(tmp_path, monkeypatch):
    monkeypatch.setenv("KDLAB_FIGURES", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="kdlab study dual_light"):
        load_rows("dual_light")
    scores = made_scores()
    place = Evidence("dual_light", tmp_path, True)
    place.save_rows(Outcome("dual_light", SMOKE, Part("night"), scores, {}, place, print).rows())
    table = load_rows("dual_light")
    assert len(table[table.metric == "accuracy"]) == 16 and len(table[table.metric == "ece"]) == 4
    assert [file.name for file in tmp_path.iterdir()] == ["dual_light.csv"]


def test_predictions_are_stale_when_recipe_or_sources_are_others(tmp_path, monkeypatch):
    monkeypatch.setenv("KDLAB_FIGURES", str(tmp_path))
    column = columns(SMOKE, 1, ("ce_raw", "dlkdd"))
    assert stale_predictions({"a": column}) == {"a.npz": "missing"}
    names = {condition: [recipe.name] for condition, (recipe,) in column.items()}
    sources = {condition: source_hash(recipe) for condition, (recipe,) in column.items()}
    for changes, word in (({}, ""), ({"recipes": names | {"dlkdd": ["x"]}}, "another recipe"),
                          ({"recipes": {c: [n.replace("_", ":") for n in its] for c, its in names.items()}}, ""),
                          ({"sources": sources | {"dlkdd": "x"}}, "trained by other sources")):
        made = dataclasses.replace(made_scores(), **{"recipes": names, "sources": sources} | changes)
        made.save(tmp_path / "predictions" / "a.npz")
        found = stale_predictions({"a": column})
        assert word in found["a.npz"] and "dlkdd" in found["a.npz"] if word else not found


def test_studies_of_real_clips_can_be_looked_at_where_the_clips_are_not(tmp_path, monkeypatch):
    from tests.train.test_recipe import undecodable
    from tests.train.test_runs import make_recipe

    monkeypatch.setenv("KDLAB_FIGURES", str(tmp_path))
    column = {"ce_raw": [make_recipe(undecodable(tmp_path / "real" / "mine"))]}
    here = column["ce_raw"][0]
    made = dataclasses.replace(made_scores(), recipes={"ce_raw": [here.name]}, sources={"ce_raw": source_hash(here)})
    made.save(tmp_path / "predictions" / "a.npz")
    assert not stale_predictions({"a": column})
    (tmp_path / "real" / "mine" / "left" / "0.mp4").write_text("other")
    assert "another recipe" in stale_predictions({"a": column})["a.npz"]
    shutil.rmtree(tmp_path / "real")
    assert not stale_predictions({"a": column})
    assert "another recipe" in stale_predictions({"a": {"ce_raw": [dataclasses.replace(here, seed=9)]}})["a.npz"]


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04" + bytes(90), b"x" * 500])
def test_damaged_predictions_of_a_study_are_named(tmp_path, content):
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(ValueError, match="a.npz is damaged .*restore the committed file"):
        Scores.load(tmp_path / "a.npz")


def test_a_study_needs_the_same_seeds_everywhere():
    from tests.train.test_runs import make_recipe

    with pytest.raises(ValueError, match="same seeds"):
        collect({"a": [make_recipe("/x", 0)], "b": [make_recipe("/x", 1)]})


@pytest.mark.parametrize("what", ["sources", "data"])
def test_runs_that_disagree_are_named(tmp_path, monkeypatch, what):
    made, told = {}, dict(sources="a", data="b", classes=["left", "right"])
    recipes = columns(SMOKE, 2, ("ce_raw", "ce_2x"))
    for recipe in (r for column in recipes.values() for r in column):
        fake_run(tmp_path / recipe.name, 50, **told)
        made[recipe] = Run(tmp_path / recipe.name)
    monkeypatch.setattr("kdlab.study.scores.obtain_all", lambda flat, **_: [made[recipe] for recipe in flat])
    assert collect(recipes)[0].seeds == (0, 1)
    shutil.rmtree((odd := made[recipes["ce_2x"][1]]).folder)
    fake_run(odd.folder, 50, **told | {what: "other"})
    made[recipes["ce_2x"][1]] = Run(odd.folder)
    first = recipes["ce_2x" if what == "sources" else "ce_raw"][0]  # data is shared by all conditions
    with pytest.raises(ValueError, match=f"{first.name} and .*{odd.folder.name} disagree.* different {what}"):
        collect(recipes)


def test_two_columns_of_one_word_may_have_other_sources(tmp_path, monkeypatch):
    """A teacher on a learnt enhancer is trained by more modules than one on gamma, and both students are `dlkdd`."""
    made, gamma = {}, columns(SMOKE, 2, ("dlkdd",))["dlkdd"]
    learnt = [dataclasses.replace(r, teacher=dataclasses.replace(r.teacher, seed=9)) for r in gamma]
    for recipe in (*gamma, *learnt):
        fake_run(tmp_path / recipe.name, 50, sources="ab"[recipe in learnt], data="a", classes=["left", "right"])
        made[recipe] = Run(tmp_path / recipe.name)
    monkeypatch.setattr("kdlab.study.scores.obtain_all", lambda flat, **_: [made[recipe] for recipe in flat])
    assert set(collect({"dlkdd": gamma, "dlkdd:learnt": learnt})[0].predicted) == {"dlkdd", "dlkdd:learnt"}


@dataclasses.dataclass
class FakeRun:
    folder: Path
    logits: np.ndarray

    def predictions(self):
        return self


def test_fusion_averages_probabilities():
    scores = made_scores(seeds=1, clips=2, gains={"a": 0.5, "b": 0.5})
    a = FakeRun(Path("a-s0"), np.array([[4.0, 0, 0], [0, 0.2, 0]]))
    b = FakeRun(Path("b-s0"), np.array([[0, 1.0, 0], [0, 0, 3.0]]))
    both = fused(scores, "two", [a], [b])
    assert both.predicted["two"].tolist() == [[0, 2]] and both.recipes["two"] == ["a-s0+b-s0"]


def fake_run(folder, accuracy, label=0, **provenance):
    folder.mkdir(parents=True)
    note = dict(cpu="a", clips="c", device="cpu", versions={}, weights="w", needed={}, first_losses=[2.0, 1.0])
    (folder / "run.json").write_text(json.dumps(note | provenance))
    labels = np.zeros(100, int)
    logits = np.zeros((100, 2))
    logits[int(accuracy):, 1] = 1
    np.savez(folder / "predictions.npz", test_ids=labels, test_groups=labels, test_labels=labels + label,
             test_logits=logits)


@pytest.mark.parametrize("mine, good, words", [
    (dict(), True, "the same bits"),
    (dict(weights="x"), True, "OTHER bits, though clips, kind of CPU and versions are the same; first losses within 0"),
    (dict(weights="x", first_losses=[2.0, 1.1]), False, "TOO FAR"),
    (dict(weights="x", accuracy=50), False, "mean of 1 runs: -10.0 points: TOO FAR"),
    (dict(weights="x", clips="d", cpu="b"), True, "of clips with other pixels, on another kind of CPU;"),
    (dict(weights="x", accuracy=50, needed={"teacher": "x"}, first_losses=[9.0, 9.0]), True, "its teacher"),
])
def test_reproduced_runs_are_held_against_the_committed_ones(tmp_path, monkeypatch, mine, good, words):
    monkeypatch.setenv("KDLAB_RUNS", str(tmp_path / "runs"))
    monkeypatch.setattr(paths, "pretrained_dir", lambda: tmp_path / "pretrained")
    fake_run(tmp_path / "pretrained" / "r", 60)
    fake_run(tmp_path / "runs" / "r", **({"accuracy": 60} | mine))
    lines, agreed = compare_with_pretrained()
    assert agreed is good and words in "\n".join(lines)


def test_of_untrimmed_videos_only_losses_are_compared(tmp_path, monkeypatch):
    monkeypatch.setenv("KDLAB_RUNS", str(tmp_path / "runs"))
    monkeypatch.setattr(paths, "pretrained_dir", lambda: tmp_path / "pretrained")
    fake_run(tmp_path / "pretrained" / "r", 60, label=-1)
    fake_run(tmp_path / "runs" / "r", 20, label=-1, cpu="b", weights="x")
    assert compare_with_pretrained() == (["r: OTHER bits, on another kind of CPU; first losses within 0"], True)


# --- the committed evidence ------------------------------------------------------------------------------------

COMMITTED = sorted((paths.project_root() / "figures" / "predictions").glob("*.npz"))
WHERE = {"zero_shot": "arid6", "finetuned": "arid6_finetuned", "fold1": "weizmann_dark", "fold2": "weizmann_dark",
         "fold3": "weizmann_dark"}


# read by the tests of these studies
OTHERWISE = ("night_audit", "progressive", "wise", "detection")
ARRAYS = ("-looks", "-alignment", "-gate")  # beside predictions
SINGLE = [f for f in COMMITTED if not f.stem.startswith(OTHERWISE) and not f.stem.endswith(ARRAYS)]


@pytest.mark.parametrize("file", SINGLE, ids=lambda f: f.stem)
def test_every_committed_row_is_recomputed_from_the_committed_predictions(file):
    scores, (study, place, *rest) = Scores.load(file), file.stem.split("-")
    fold = "".join(rest).removeprefix("fold") or (place[-1] if place.startswith("fold") else "")
    table = load_rows(study)
    table = table[(table.data == WHERE.get(place, place)) & (table.fold == fold)]
    found = table[table.metric == "accuracy"]
    found = found[found.seed.astype(str) != ""]
    assert len(found) == len(scores.predicted) * len(scores.seeds) > 0
    for row in found.itertuples():
        s = scores.seeds.index(int(row.seed))
        assert scores.recipes[row.condition][s] == row.recipe
        assert scores.accuracy(row.condition)[s] == pytest.approx(float(row.value), abs=1e-3)
    for row in table[table.metric == "ece"].itertuples():
        again = expected_calibration_error(scores.logits[row.condition].astype(float), scores.labels)
        assert again == pytest.approx(float(row.value), abs=1e-3)


@pytest.mark.skipif(not COMMITTED, reason="no study is committed yet")
def test_the_committed_study_has_every_condition():
    night = Scores.load(paths.project_root() / "figures" / "predictions" / "dual_light-night.npz")
    later = {"two_lights", "untrained"}  # came after the study was run
    assert set(TITLES) - later <= set(night.predicted) <= set(TITLES) | later
    assert len(night.labels) >= 550 and len(night.seeds) >= 10
    assert max(night.effect("dlkdd", other).half_width for other in ("ce_raw", "same_light")) <= 2


@pytest.mark.parametrize("run", sorted(paths.pretrained_dir().glob("*/run.json")), ids=lambda p: p.parent.name)
def test_committed_weights_build_and_are_what_their_provenance_says(run):
    from safetensors.torch import load_file

    from kdlab.train.runs import Run, weights_hash

    found = Run(run.parent)
    assert weights_hash(load_file(run.parent / "weights.safetensors")) == found.provenance["weights"]
    assert found.net().training is False and found.recipe.name == run.parent.name
    assert json.loads(run.read_text())["steps"] > 0
