"""The study of GenKD for recognition: what is compared with what, verdicts on made-up answers, and a smoke run."""


import numpy as np
import pandas as pd
import pytest

from kdlab import paths
from kdlab.measure.accuracy import expected_calibration_error
from kdlab.measure.alignment import ENERGY
from kdlab.night.untrimmed import Untrimmed
from kdlab.papers.generative import alignment, recipes, study
from kdlab.papers.generative.method import GenerativeDistillation
from kdlab.papers.generative.nets import Gated
from kdlab.papers.generative.recipes import (
    ABLATIONS,
    DEMO,
    HEADLINE,
    ONCE,
    RELEASED,
    SMOKE,
    STUDIED,
    STUDY,
    TITLES,
    conditions,
    night,
    on_flow,
)
from kdlab.study import FIRST, Scores, load_rows, pooled
from tests.papers.generative.test_generation import r2_rows
from tests.papers.progressive.test_study import miniature_people  # noqa: F401 (a fixture)

WRONG = "teacher's wrong answers given"
MADE = conditions(STUDY, night(STUDY), 5)


def made_up(gains: dict[str, float], clips=600, seeds=4) -> Scores:
    """Scores that are right 60 % of the time, and ``gains`` more often."""
    draw = np.random.default_rng(0).random((seeds, clips))
    predicted = {name: (draw > 0.6 + gain).astype(int) for name, gain in gains.items()}
    ids = np.array([f"c{i}" for i in range(clips)])
    names = {name: [f"{name}-s{s}" for s in range(seeds)] for name in predicted}
    return Scores(("a", "b"), tuple(range(seeds)), ids, ids, np.zeros(clips, int), predicted, {}, names)


def test_students_have_equal_steps_but_where_the_steps_are_the_question():
    epochs = {name: recipe.settings.epochs for name, recipe in MADE.items()}
    usual = epochs["genkd"]
    assert epochs.pop("student_2x") == epochs.pop("alternating") == 2 * usual and set(epochs.values()) == {usual}
    assert MADE["alternating"].method.alternating == 2 * usual
    assert {r.seed for name, r in MADE.items() if not name.startswith("teacher")} == {5}
    assert {r.teacher.seed for r in MADE.values() if r.teacher} == {6} == {MADE["teacher_fr"].seed}
    assert {(r.data, r.window, r.settings.batch_size, r.settings.lr) for r in MADE.values()} == {
        (night(STUDY), STUDY.window, 8, 1.2e-2)}


def test_competitors_are_taught_by_the_plain_teacher_and_gated_students_by_phase_1():
    for name, recipe in MADE.items():
        if recipe.teacher is None:
            continue
        gated = isinstance(recipe.net, Gated)
        assert isinstance(recipe.teacher.net, Gated) == gated, name
        if not gated:
            assert recipe.teacher == MADE["teacher_ce"]
    for name in ("genkd", "untrained", "generative", "attention", "permuted", "kd_gate", "alternating"):
        assert MADE[name].teacher == MADE["teacher_fr"]
    assert MADE["autoencoder"].teacher.method.deterministic and MADE["faithful"].teacher.net.faithful
    assert MADE["released"].teacher == MADE["teacher_released"] and MADE["released"].method == GenerativeDistillation()
    changed = {name for name, recipe in MADE.items() if getattr(recipe.method, "generation", 0)}
    assert changed == {"teacher_fr", "student_fr", "genkd", "untrained", "generative", "permuted", "autoencoder",
                       "alternating", "faithful"}
    assert all(MADE[name].teacher.method.generation for name in changed if MADE[name].teacher)
    assert MADE["attention"].method == GenerativeDistillation(generative=False) and MADE["generative"].method.beta == 0


def test_every_condition_has_a_title_and_a_place_in_the_study():
    assert set(MADE) <= set(TITLES) and set(HEADLINE) <= set(STUDIED)
    assert set(STUDIED) | set(ABLATIONS) | set(ONCE) | set(RELEASED) == set(MADE)
    assert set(study.COMPETITORS) <= set(STUDIED)
    assert set(study.study.trainings(STUDY)) >= {r for column in study.columns(
        STUDY, 1, night(STUDY), STUDIED, first=FIRST).values() for r in column}


def test_the_flow_stream_is_the_same_network_on_two_channels():
    rgb = conditions(DEMO, night(DEMO))["genkd"]
    flow = on_flow(rgb)
    assert on_flow(MADE["student_ce"]).teacher is None and on_flow(MADE["student_ce"]).net.channels == 2
    assert flow.net.backbone.channels == flow.teacher.net.backbone.channels == 2 and flow.view == flow.teacher.view
    assert (flow.settings, flow.seed, flow.method) == (rgb.settings, rgb.seed, rgb.method)


def verdicts(gains, ablations=None):
    table = study.ledger(made_up(gains), ablations and made_up(ablations)).set_index("claim")
    return table.verdict


BASE = dict.fromkeys([*study.COMPETITORS, "student_2x", "student_gate", "student_fr", "untrained"], 0.0)
FEW = " (4 seeds: provisional)"


def test_verdicts_follow_the_answers():
    word = verdicts(BASE | {"genkd": 0.12, "student_fr": 0.12})
    assert word["G1"] == word["G2"] == f"supported{FEW}"
    word = verdicts(BASE | {"genkd": 0.12, "untrained": 0.12, "student_fr": 0.12, "student_2x": 0.12})
    assert word["G1"] == f"supported, and explained by equal passes{FEW}"
    assert word["G2"] == f"supported, and explained by an untrained teacher{FEW}"
    word = verdicts(BASE | {"genkd": 0.12, "student_fr": 0.12, "student_gate": 0.12})
    assert word["G1"] == f"supported, and explained by the gate alone{FEW}"
    word = verdicts(BASE | {"genkd": 0.12, "kd": 0.12, "untrained": 0.12})
    assert word["G1"] == f"no effect larger than 2 points{FEW}"
    assert word["G2"].startswith("not supported: ") and word["G2"].endswith(f"no effect larger than 2 points: kd{FEW}")


def test_a_verdict_of_few_seeds_says_so():
    scores = made_up(BASE | {"genkd": 0.12}, seeds=2)
    assert study.ledger(scores).verdict.str.endswith("(2 seeds: provisional)").all()


def test_both_halves_must_add():
    halves = {"genkd": 0.12, "generative": 0.0, "attention": 0.0, "permuted": 0.0}
    assert verdicts(BASE | {"genkd": 0.0}, halves)["G3"] == f"supported{FEW}"
    assert verdicts(BASE | {"genkd": 0.0}, halves | {"permuted": 0.12})["G3"].endswith(f"by permuted channels{FEW}")
    word = verdicts(BASE | {"genkd": 0.0}, halves | {"attention": 0.12})["G3"]
    assert "no effect larger than 2 points: attention" in word and "G3" not in verdicts(BASE | {"genkd": 0.0})


def gate_rows(gain: float, explained: dict[str, float]) -> pd.DataFrame:
    """Rows of three seeds: twice the steps gain so much, and CVAEs explain so much."""
    table = [dict(data="night_bright", condition=c, seed=s, metric="val_accuracy", value=70 + off + 0.1 * s)
             for c, off in (("student_ce", 0), ("student_2x", gain)) for s in range(3)]
    return pd.concat([pd.DataFrame(table), *(r2_rows(value, value, value, 0.1, data="night_bright_fresh", condition=c)
                                             for c, value in explained.items())])


def test_gates_ask_for_convergence_and_for_models_that_generate():
    """G1 asks for that of the student that learns alone, G2 and G3 for teacher's and student's of GenKD."""
    all_well = {"teacher_fr": 30, "genkd": 20, "student_fr": 20}
    passed, words = study.gate(gate_rows(1.0, all_well))
    assert passed and "converged; R² in percent: teacher_fr rebuilt +30.0 ± " in words and "genkd" in words
    assert study.gate_alone(gate_rows(1.0, all_well))[0]
    for gate, asked in ((study.gate, ("teacher_fr", "genkd")), (study.gate_alone, ("student_fr",))):
        assert not gate(gate_rows(9.0, all_well))[0], "surely too few steps"
        for name in all_well:
            passed, words = gate(gate_rows(1.0, all_well | {name: 5}))
            assert passed == (name not in asked) and (f"the CVAE of {name} does not generate" in words) != passed
    assert study.gate(gate_rows(1.0, {}))[1].endswith("what its features explain was not measured")
    assert {claim.claim: claim.gate for claim in study.CLAIMS} == {
        "G1": study.gate_alone, "G2": study.gate, "G3": study.gate}


def test_what_teachers_say_stands_beside_each_effect_and_the_gap_to_ce():
    scores = made_up(BASE | {"genkd": 0.12, "teacher_fr": 0.3, "teacher_ce": 0.2})
    nats = {"genkd": 0.5, "kd": 1.25, "untrained": np.nan}
    rows = pd.DataFrame([dict(metric="target_entropy", recipe=f"{c}-s{s}", value=v + s) for c, v in nats.items()
                         for s in range(4) if v == v] + [dict(metric="accuracy", recipe="dkd-s0", value=70)])
    table = study.beside_effects(rows, scores).set_index("condition")
    assert table.entropy.to_dict() == {"kd": 2.75, "genkd": 2.0}, "of CE and of an untrained teacher there is none"
    assert table.effect["genkd"].mean == pytest.approx(12, abs=2.5) and table.effect["kd"].mean == 0
    assert table.gap["genkd"].mean > table.gap["kd"].mean > 15


def test_students_are_held_against_the_teachers_in_their_own_rows():
    """One that copies its teacher gives all of its wrong answers, and of the next one's as many as anybody."""
    taught = {student: teacher for student, teacher in study.INHERITING if student != "student_ce"}
    assert {*taught.values(), *taught} <= {*STUDIED}
    for student, teacher in taught.items():
        recipe = MADE[student].teacher
        assert recipe is None or recipe == MADE[teacher], student
    draw = np.random.default_rng(0)
    answers = {name: draw.integers(0, 4, (3, 400)) for name in ("teacher_fr", "teacher_ce", "student_ce", "kd")}
    scores = Scores(tuple("abcd"), (100, 101, 102), np.arange(400), np.arange(400), draw.integers(0, 4, 400),
                    answers | {"genkd": answers["teacher_fr"]}, {}, {})
    table = study.inherited_table(scores).set_index(["student", "teacher", "measure"]).sort_index()
    copied = table.loc[("genkd", "teacher_fr", WRONG)]
    assert copied.own == 100 and copied.other < 35 and copied.gain.low > 60
    assert abs(table.loc[("student_ce", "teacher_fr", WRONG)].gain.mean) < 8
    assert {s for s, *_ in table.index} == {"genkd", "student_ce", "kd"}


@pytest.mark.slow
def test_the_study_at_smoke_size(miniature_people, monkeypatch, reading):  # noqa: F811
    most = ("teacher_ce", "teacher_fr", "student_ce", "student_2x", "student_fr", "kd", "genkd", "untrained")
    few = {"night_bright": most, "night_bright_ablations": ABLATIONS, "weizmann": recipes.REAL,
           "night_bright_once": ("genkd", "student_fr", "student_gate", "faithful"),
           "night_bright_released": RELEASED}
    monkeypatch.setattr(study, "SETS", few)
    monkeypatch.setattr(alignment, "UNTRIMMED", Untrimmed(("Jump", "Wave"), (1, 1, 1), (12.0, 13.0)))
    found = study.study.run(SMOKE, workers=1, say=lambda _: None)
    reading("generative")
    rows = load_rows("generative")
    more = {"night_untrimmed", "night_untrimmed_gate", "night_bright_demo", "night_bright_fresh",
            "night_bright_ablations_fresh"}
    assert found["night_bright"].seeds == found["night_bright_fresh"].seeds == (100, 101)
    assert set(found) == {*few, *more} and set(rows.data) == {*few, *more, "cost"}
    assert len(np.unique(found["weizmann"].units)) == 9
    assert rows[rows.metric.str.startswith("gradient:")].value.astype(float).gt(0).sum() == 4
    r2 = rows[rows.metric.str.startswith("r2_") & (rows.data == "night_bright_fresh")]
    assert r2.groupby("condition").size().to_dict() == dict.fromkeys(study.GENERATIVE, 16)
    assert {*rows[(rows.data == "night_bright_released") & (rows.metric == "r2_generated")].condition} == {*RELEASED}
    assert "teacher_fr" in study.gate(rows)[1] and "student_fr" in study.gate_alone(rows)[1]
    entropies = study.beside_effects(rows, found["night_bright_fresh"]).set_index("condition").entropy
    assert {*entropies.index} == {"kd", "genkd"} and entropies.between(0, np.log(11) + 1e-6).all()
    costs = rows[rows.data == "cost"].pivot_table("value", "condition", "metric")
    assert costs.macs["student_ce"] < costs.macs["teacher_ce"] / 3
    table = alignment.alignment()
    assert table["genkd"].shape == (2, 1) == table[ENERGY].shape
    assert set(table) >= {"teacher_fr:random", "student_gate", "units"}
    assert set(rows[rows.data == "night_untrimmed"].seed) == {"100", "101"}
    assert study.convergence_line(rows).rpartition(": ")[2] in ("converged", "under-trained", "undecided")
    with pytest.raises(ValueError, match="was not trained by generative distillation"):
        from kdlab.train.runs import find
        study.shares(find(conditions(SMOKE, night(SMOKE))["kd"], pretrained=False))
    again = study.study.run(SMOKE, 1, only=("night_bright_once", "cost"), workers=1, say=lambda _: None)
    assert set(again) == {"night_bright_once"} and set(load_rows("generative").data) == set(rows.data)
    with pytest.raises(ValueError, match="no data set 'dark'"):
        study.study.run(SMOKE, only=("dark",))


# --- the committed evidence ------------------------------------------------------------------------------------

PREDICTIONS = paths.project_root() / "figures" / "predictions"
committed = pytest.mark.skipif(not (PREDICTIONS / "generative-night_bright.npz").is_file(), reason="not committed yet")


@committed
@pytest.mark.parametrize("data", [name for name in study.SETS if [*PREDICTIONS.glob(f"generative-{name}*.npz")]])
def test_committed_rows_follow_from_the_committed_predictions(data):
    names = [p.predictions("generative") for p in study.study.chosen(seeds=1) if p.data == data]
    folds = [Scores.load(PREDICTIONS / f"{name}.npz") for name in names]
    rows = load_rows("generative")
    rows = rows[(rows.data == data) & rows.metric.isin(["accuracy", "ece"])]
    assert len(rows) == sum(len(s.predicted) * (len(s.seeds) + 1) for s in folds)
    for row in rows.itertuples():
        scores = folds[int(row.fold or 1) - 1]
        value = scores.accuracy(row.condition)[scores.seeds.index(int(row.seed))] if row.metric == "accuracy" else \
            expected_calibration_error(scores.logits[row.condition].astype(float), scores.labels)
        assert value == pytest.approx(float(row.value), abs=1e-3)
    pooled(folds)


@pytest.mark.skipif(not (PREDICTIONS / "generative-alignment.npz").is_file(), reason="not committed yet")
def test_committed_areas_are_the_rows():
    rows, table = load_rows("generative"), alignment.alignment()
    rows = rows[rows.data == "night_untrimmed"]
    for name in rows.condition.unique():
        values = rows[rows.condition == name].value.astype(float).to_numpy()
        assert values == pytest.approx(100 * table[name].mean(1), abs=1e-3)
