"""The study of the pre-trained regime: which starts count, what is claimed, its tables, and all of it at smoke size."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from kdlab import paths
from kdlab.distill.adaptation import ReEstimated
from kdlab.night import Night
from kdlab.papers.dual_light import regimes_real, regimes_starts, regimes_study
from kdlab.papers.dual_light.regimes import LABELS, Regime, conditions, start
from kdlab.papers.dual_light.regimes_starts import counting
from kdlab.papers.dual_light.regimes_study import PLAN, TITLES, TUNED, practitioner, study, table
from kdlab.studies import every
from kdlab.study import FIRST, Outcome, Scores, load_rows
from kdlab.study.evidence import COLUMNS, Evidence
from kdlab.study.register import described
from kdlab.train.sizes import RegimeSize, current

STUDY, SMOKE, DEMO = (current(name, RegimeSize) for name in ("study", "smoke", "demo"))


# --- starts ----------------------------------------------------------------------------------------------------


@pytest.fixture
def places(tmp_path, monkeypatch):
    monkeypatch.setenv("KDLAB_FIGURES", str(tmp_path / "figures"))
    monkeypatch.setenv("KDLAB_RUNS", str(tmp_path / "runs"))
    (tmp_path / "figures").mkdir()
    return tmp_path


def tried(found: dict[int, float], norm="bn", variety=0.25) -> list[dict]:
    row = dict.fromkeys(COLUMNS, "") | dict(study="regime_starts", data=norm, condition="start", metric="val_accuracy")
    return [row | dict(seed=seed, value=value, recipe=start(STUDY, norm, seed, variety).name)
            for seed, value in found.items()]


def test_seeds_are_those_whose_start_counts_in_their_order(places):
    rows = tried({100: 79.9, 101: 80.0, 102: 50.0, 103: 95.0}) + tried({101: 10.0}, "gn")
    rows += tried({100: 49.9, 101: 50.0}, "gn", 1.0)
    Evidence("regime_starts", paths.figures_dir(), True).save_rows(rows)
    assert counting(STUDY, "bn", 2) == [101, 103]
    assert counting(STUDY, "bn", 4) == [101, 103, 104, 105], "what was not tried yet may count"
    assert counting(STUDY, "gn", 2) == [100, 102]
    assert counting(STUDY, "bn", 2, 0) == [0, 1] and counting(STUDY, "bn", 1, variety=1.0) == [100]
    assert counting(STUDY, "gn", 1, variety=1.0) == [101], "at full variety they count from 50 on"
    assert counting(replace(STUDY, epochs=50), "bn", 1) == [100], "another start is not known"
    made = regimes_study.columns(STUDY, Regime("bn"), 2)
    assert [recipe.seed for recipe in made["dlkdd_re"]] == [101, 103]


def test_other_sizes_have_tables_of_their_own_and_at_smoke_size_all_count(places):
    folder = places / "runs" / "studies" / "regime_starts-demo"
    rows = [row | dict(recipe=start(DEMO, "gn", 100).name) for row in tried({100: 12.0}, "gn")]
    folder.mkdir(parents=True)
    Evidence("regime_starts", folder, False).save_rows(rows)
    assert counting(DEMO, "gn", 2) == [101, 102] and counting(STUDY, "gn", 2) == [100, 101]
    folder = folder.with_name("regime_starts-smoke")
    folder.mkdir()
    rows = [row | dict(recipe=start(SMOKE, "gn", 100).name) for row in tried({100: 0.0}, "gn")]
    Evidence("regime_starts", folder, False).save_rows(rows)
    assert counting(SMOKE, "gn", 2) == [100, 101]


class Answers:
    """A finished start that knows so much of bright validation clips."""

    def __init__(self, recipe, accuracy):
        self.recipe, self.accuracy, self.folder = recipe, accuracy, paths.runs_dir() / recipe.stem

    def predictions(self, split):
        assert split == "val", "no test clip is asked for"
        return self


def test_starts_are_tried_until_enough_count(monkeypatch, places):
    found = {100: 60.0, 101: 85.0, 102: 90.0, 103: 99.0, 104: 99.0}
    asked, said = [], []

    def obtain_all(recipes, **how):
        asked.extend(recipe.seed for recipe in recipes)
        return [Answers(recipe, found[recipe.seed]) for recipe in recipes]

    monkeypatch.setattr(regimes_starts, "obtain_all", obtain_all)
    monkeypatch.setattr(regimes_starts, "available_cores", lambda: 2)
    (part, *_) = regimes_starts.study.chosen(STUDY, 2, ("bn",))
    assert part.seeds == 6 and not part.to_the_end
    outcome = Outcome("regime_starts", STUDY, part, None, {}, Evidence("x", places, True), said.append)
    rows = part.rows(outcome)
    assert asked == [100, 101, 102, 103] and [row["value"] for row in rows] == [60.0, 85.0, 90.0, 99.0]
    assert "does not count" in said[0] and not any("does not count" in line for line in said[1:])
    found.update(dict.fromkeys(range(100, 106), 20.0))
    assert len(part.rows(outcome)) == 6 and said[-1] == "bn: 0 of 6 starts count, 2 are wanted"
    (part, *_), found[101] = regimes_starts.study.chosen(STUDY, 2, ("bn_full",)), 59.4
    outcome = replace(outcome, part=part)
    asked.clear()
    assert len(part.rows(outcome)) == 6 and said[-1] == "bn_full: 1 of 6 starts count, 2 are wanted"


# --- claims ----------------------------------------------------------------------------------------------------


def test_each_claim_is_of_conditions_of_its_cell_and_can_be_described():
    cell = set(conditions(STUDY, Regime("bn"), FIRST))
    for claim in regimes_study.CLAIMS:
        assert claim.plan == PLAN and not claim.unplanned() and not claim.lacking(cell) and {*claim.controls} <= cell
        fields = described(study, claim)
        assert set(fields["recipes"]) == {claim.condition, claim.baseline, *claim.controls}
        assert fields["functions"]["gate"] == "kdlab.papers.dual_light.regimes_study.gate"
    fair = regimes_study.CLAIMS[1]
    teachers = [conditions(STUDY, Regime("bn"), FIRST)[c].teacher for c in (fair.condition, fair.baseline)]
    assert fair.claim == "D2r" and all(type(teacher.method) is ReEstimated for teacher in teachers)


def test_the_gate_wants_every_start_of_the_confirming_cell_to_count():
    row = dict(data="bn_none", metric="bright_val_accuracy", condition="as_is")
    good = pd.DataFrame([row | dict(value=80.0), row | dict(value=91.2)])
    assert regimes_study.gate(good) == (True, "starts know 80.0 to 91.2 % of bright validation clips")
    control = pd.DataFrame([row | dict(value=60.3, condition=name) for name in ("augmented", "augmented_re")])
    assert regimes_study.gate(pd.concat([good, control])) == regimes_study.gate(good), "they begin elsewhere"
    poor = pd.concat([good, pd.DataFrame([row | dict(value=79.0), row | dict(value=3.0, data="gn_none")])])
    assert not regimes_study.gate(poor)[0] and "79.0 to" in regimes_study.gate(poor)[1]
    assert regimes_study.gate(good[:0]) == (False, "no start of it is known")


def test_the_orders_of_magnitude_of_the_plan():
    parts = {part.data: part for part in study.chosen(STUDY)}
    assert parts["bn_none"].seeds == 10 and parts["bn_none_unbalanced"].seeds == 3
    assert parts["bn_none"].on.seed == FIRST and sum(parts["bn_none"].on.per_class) * 11 == PLAN.units
    earlier = parts["bn_none_earlier"]
    assert [r.seed for r in earlier.recipes["as_is"]] == [0, 1, 2] and earlier.on.seed == 0
    order = list(parts)
    assert order[1:7] == [f"{norm}_{labels}" for labels in LABELS for norm in ("bn", "gn")]


# --- tables ----------------------------------------------------------------------------------------------------


def scores(right: dict[str, float], seeds=10, clips=200) -> Scores:
    """Every condition knows the same first clips, so many in a hundred."""
    predicted = {c: np.tile(np.arange(clips) >= share * clips / 100, (seeds, 1)).astype(int)
                 for c, share in right.items()}
    ids = np.array([f"c{n}" for n in range(clips)])
    return Scores(("a", "b"), tuple(range(100, 100 + seeds)), ids, ids, np.zeros(clips, int), predicted, {},
                  {c: [c] * seeds for c in predicted})


UNLABELLED = scores({"as_is": 20.0, "re_estimated": 70.0, "enhanced": 60.0, "enhanced_re": 75.0, "dlkdd_re": 71.0,
                     "same_light_re": 71.0, "augmented": 40.0})
TUNED_SCORES = scores({"as_is": 20.0, "re_estimated": 70.0, "ce_raw": 80.0, "dlkdd": 82.0, "dlkdd:teacher": 85.0,
                       "ce_enhanced": 84.0})


def test_the_table_has_effect_gap_seeds_and_verdict():
    found = table(UNLABELLED).set_index(["way", "against"])
    row = found.loc["dlkdd_re", "re_estimated"]
    assert row.effect.startswith("+1.0 ±") and row.gap.startswith("+5.0 ±") and row.seeds == 10
    assert "supported" not in row.verdict and row.low < 1 < row.high
    assert found.loc["re_estimated", "as_is"].verdict == "supported" and found.loc["re_estimated", "as_is"].gap == ""
    assert found.loc["dlkdd_re", "same_light_re"].effect.startswith("+0.0")
    assert ("entropy", "as_is") not in found.index, "a way that the cell has not is left out"
    tuned = table(TUNED_SCORES).set_index(["way", "against"])
    assert tuned.loc["dlkdd", "ce_raw"].gap.startswith("+5.0 ±") and tuned.loc["ce_raw", "as_is"].gap == ""


def test_the_practitioners_list_is_in_order_of_cost():
    spent = {"as_is": 1, "re_estimated": 2, "enhanced": 1, "enhanced_re": 2, "dlkdd_re": 9, "same_light_re": 8,
             "augmented": 90}
    rows = pd.DataFrame([dict(data="bn_none", metric="adaptation_seconds", condition=c, value=v)
                         for c, v in spent.items()])
    found = practitioner(rows, {"bn_few": TUNED_SCORES, "bn_none": UNLABELLED})
    assert list(found.way) == [TITLES[c] for c in ("as_is", "re_estimated", "same_light_re", "dlkdd_re", "augmented",
                                                   "enhanced", "enhanced_re")] + [
        TUNED[c] for c in ("ce_raw", "dlkdd", "ce_enhanced")]
    assert list(found.labels) == ["none"] * 7 + ["few"] * 3
    assert found.accuracy[1] == pytest.approx(70.0) and found.seconds[1] == 2 and np.isnan(found.seconds[7])


def test_every_comparison_is_of_conditions_that_exist():
    for compared, labels in ((regimes_study.COMPARED, "none"), (regimes_study.COMPARED_TUNED, "few")):
        made = set(conditions(STUDY, Regime("bn", labels), 100))
        assert {c for row in compared for c in row if c} <= made
        assert set(TITLES if labels == "none" else TUNED) <= made


def test_a_start_that_does_not_count_is_refused_and_an_augmented_one_is_not(monkeypatch):
    monkeypatch.setattr(regimes_study, "taught_rows", lambda outcome: [])
    monkeypatch.setattr(regimes_study, "_seconds", lambda run: 1.0)
    poor = SimpleNamespace(predictions=lambda split: SimpleNamespace(accuracy=62.7))
    monkeypatch.setattr(regimes_study, "find", lambda recipe, pretrained: SimpleNamespace(
        recipe=recipe, predictions=poor.predictions))
    made = conditions(STUDY, Regime("gn"), 100)

    def outcome(condition):
        run = SimpleNamespace(recipe=made[condition], folder=Path("run"))
        return SimpleNamespace(size=STUDY, part=SimpleNamespace(data="gn_none"), scores=SimpleNamespace(seeds=(100,)),
                               runs={condition: [run]}, numbers=lambda *values, **about: list(values))

    assert ("bright_val_accuracy", 62.7, "%") in regimes_study.rows(outcome("augmented"))
    with pytest.raises(ValueError, match="gn_none, seed 100: its start knows 62.7 % .* and 80 are wanted"):
        regimes_study.rows(outcome("as_is"))
    made = conditions(STUDY, Regime("gn", variety=1.0), 100)
    assert ("bright_val_accuracy", 62.7, "%") in regimes_study.rows(outcome("as_is"))


# --- the whole way ---------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_both_studies_at_smoke_size(own_places):
    size = replace(SMOKE, night=Night(("Run", "Sit"), (4, 1, 1)), bright=(4, 1, 1), adapted=1)
    regimes_starts.study.run(size, 2, only=("bn",), workers=1, say=lambda line: None)
    said = []
    found = study.run(size, 2, only=("bn_none", "bn_few"), workers=1, say=said.append)
    assert {data: set(s.predicted) for data, s in found.items()} == {
        "bn_none": set(TITLES), "bn_few": {*TUNED, "as_is", "re_estimated", *(
            f"{c}:teacher" for c in ("same_light", "dlkdd", "both_lights"))}}
    assert all(len(s.labels) == 4 and s.seeds == (100, 101) for s in found.values())
    place = paths.runs_dir() / "studies" / "regimes-smoke"
    rows = pd.read_csv(place / "regimes.csv")
    spent = rows[rows.metric == "adaptation_seconds"].set_index(["data", "condition", "seed"]).value.sort_index()
    assert len(spent) == 2 * sum(len(s.predicted) for s in found.values())
    assert (spent["bn_none", "dlkdd_re"] > spent["bn_none", "enhanced_re"]).all()
    known = rows[rows.metric == "bright_val_accuracy"]
    assert known.groupby(["data", "condition"]).size().eq(2).all()
    soft = set(rows[rows.metric == "target_entropy"].condition)
    assert soft >= {"dlkdd_re", "both_lights"} and "pseudo_labels" not in soft, "hard answers have no entropy"
    assert any(line.startswith("bn, in order of cost") for line in said)
    assert Scores.load(place / "predictions" / "regimes-bn_none.npz").seeds == (100, 101)


def test_without_real_clips_it_says_what_is_missing(monkeypatch):
    monkeypatch.delenv("KDLAB_REAL_CLIPS", raising=False)
    with pytest.raises(FileNotFoundError, match="KDLAB_REAL_CLIPS is not set.*docs/real-clips.md"):
        regimes_real.study.run(SMOKE)


def test_real_clips_are_adapted_to_on_the_other_fold():
    made = regimes_real.columns(STUDY, 1, "gn", "A")
    assert "dark_input" not in made and set(made) < set(TITLES)
    for (recipe,) in made.values():
        assert recipe.data.test_fold == "A" and (recipe.teacher is None or recipe.teacher.data == recipe.data)


def test_fold_b_is_read_by_final_alone():
    studies = {name: its for name, its in every().items() if any(p.real == "arid6" for p in its.chosen())}
    assert set(studies) == {"dual_light_arid6", "regimes_arid6", "transfer"}
    for its in studies.values():
        assert {(p.fold, p.final) for p in its.chosen() if p.real == "arid6"} == {("A", False), ("B", True)}


@pytest.mark.slow
def test_the_whole_study_on_miniature_clips(miniature_arid6, reading):
    size = replace(SMOKE, night=Night(("Jump", "Run", "Sit"), (2, 1, 1)), bright=(2, 1, 1))
    said = []
    half = regimes_real.study.run(size, 1, workers=1, say=said.append)
    assert "fold B of arid6_bn, fold B of arid6_gn left out" in said[0] and "--final" in said[0]
    place = paths.runs_dir() / "studies" / f"regimes_arid6-{size.name}"
    assert sorted(file.name[-5] for file in (place / "predictions").iterdir()) == ["A", "A"]
    rows = pd.read_csv(place / "regimes_arid6.csv", keep_default_na=False)
    assert set(rows.fold) == {"A"}, "without fold B nothing is of both"
    found = regimes_real.study.run(size, 1, final=True, workers=1, say=lambda line: None)
    assert all(len(half[data].labels) == 6 for data in found)
    assert set(found) == {"arid6_bn", "arid6_gn"}
    for scores in found.values():
        assert len(scores.labels) == 12 and scores.classes == ("Run", "Sit")
        assert set(scores.predicted) == set(TITLES) - {"dark_input"} | {"transductive"}
    reading("regimes_arid6")
    rows = load_rows("regimes_arid6")
    assert set(rows.fold) == {"", "A", "B"} and (rows.metric == "mean_recall").any()
