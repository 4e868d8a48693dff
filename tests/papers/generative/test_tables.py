"""Tables of notebooks 04 and 05 say what the rows and predictions of a study say, and which reading that is."""

import numpy as np
import pandas as pd
import pytest

from kdlab.measure.paired import Effect
from kdlab.papers.generative import study as recognition
from kdlab.papers.generative.generation import WAYS, metric
from kdlab.papers.generative.tables import (
    cost_table,
    enough_steps,
    generation_table,
    gradient_table,
    inherited_line,
    inherited_table,
    reading,
    taught_table,
)
from kdlab.study import Scores


def scores(seeds=(100, 101, 102), names=("student_ce", "genkd", "teacher_fr", "kd", "teacher_ce")) -> Scores:
    rng = np.random.default_rng(0)
    labels = np.arange(600) % 4
    said = {c: np.where(rng.random((len(seeds), 600)) < 0.5, labels, rng.integers(0, 4, (len(seeds), 600)))
            for c in names}
    ids = np.array([f"c{i}" for i in range(600)])
    return Scores(tuple("abcd"), tuple(seeds), ids, ids, labels, predicted=said,
                  recipes={c: [f"{c}-s{s}" for s in seeds] for c in names}, sources=dict.fromkeys(names, "x"))


def row(metric, value, data="night_bright", condition="genkd", seed=100, recipe=""):
    return dict(study="generative", data=data, condition=condition, seed=seed, fold="", metric=metric, value=value,
                unit="", recipe=recipe)


def test_a_reading_says_whether_it_was_registered():
    assert reading("d_fresh", scores()) == "Registered reading: seeds 100 to 102, 600 test clips that nobody had read."
    assert reading("d", scores()).startswith("Second reading: registered seeds 100 to 102")
    earlier = reading("d", scores((0, 1)), "videos")
    assert earlier == "Second reading: seeds 0 to 1, 600 test videos; no claim is to be confirmed by these seeds."
    assert "seed 7," in reading("d", scores((7,)))


def test_enough_steps_or_not_known():
    said = enough_steps((1.8, 1.4, "undecided"), "the student", "validation mAP")
    assert said == "Twice the steps change the student by +1.8 ± 1.4 points of validation mAP: undecided."
    missing = enough_steps((float("nan"), float("inf"), "not measured"), "the student", "mAP")
    assert "not measured in what is committed" in missing and "nan" not in missing


def test_who_generates_is_the_gates_word():
    rows = [row(metric(way) + end, value, "d_fresh", "genkd", seed) for seed in (100, 101, 102)
            for way, value in zip(WAYS, (40, 30, 5, -5), strict=True) for end, value in (("", value), ("_within", 1))]
    found = generation_table(pd.DataFrame(rows), [("d_fresh", "genkd"), ("d_fresh", "teacher_fr")], {"genkd": "GenKD"})
    assert found.network.tolist() == ["GenKD", "teacher_fr"]
    assert found["generated, R² %"].tolist() == ["+30.0 ± 1.0", "–"]
    assert found["another λ costs (generated)"].iloc[0].startswith("+35.0")
    assert found["the gate says"].tolist() == ["generates", "not measured in what is committed"]
    fails = pd.DataFrame(rows).assign(value=lambda t: t.value.where(~t.metric.eq("r2_generated"), 5))
    assert generation_table(pd.DataFrame(rows), [("nowhere", "genkd")], {}).empty, "no table of dashes"
    word = generation_table(fails, [("d_fresh", "genkd")], {})["the gate says"].iloc[0]
    assert "features generated explain" in word


def test_entropies_stand_beside_effects():
    its = scores()
    assert taught_table(pd.DataFrame([row("accuracy", 50)]), its).empty, "none is committed"
    rows = pd.DataFrame([row("target_entropy", 0.5, condition="genkd", recipe="genkd-s100"),
                         row("target_entropy", 0.7, condition="kd", recipe="kd-s100")])
    found = taught_table(rows, its).set_index("student")
    assert found.loc["KD", "teacher's targets (nats)"] == 0.7
    assert found.loc["GenKD", "gain over CE (points)"] == str(its.effect("genkd", "student_ce"))
    assert found.loc["KD", "teacher − CE (points)"] == str(its.effect("teacher_ce", "student_ce"))
    alone = scores(names=("student_ce", "kd"))
    assert taught_table(rows, alone)["teacher − CE (points)"].tolist() == ["–"], "its teacher is not in the table"


def test_errors_are_those_of_the_study():
    its = scores()
    found, whole = inherited_table(its), recognition.inherited_table(its)
    assert set(found.student) == {"GenKD", "KD", "student, CE"}
    genkd = whole[(whole.student == "genkd") & (whole.measure == "teacher's wrong answers given")].iloc[0]
    mine = found[found.student == "GenKD"].iloc[0]
    assert mine["own teacher's wrong answers given, %"] == genkd.own
    assert str(mine["difference (points)"]) == str(genkd.gain)
    assert inherited_table(scores((100,))).empty, "one seed has no other teacher"


def effect_of(mean: float, half: float) -> Effect:
    return Effect(mean, mean - half, mean + half, mean - half, mean + half, 5, 100, np.inf, np.inf)


def test_what_errors_come_to_in_a_sentence():
    assert inherited_line(inherited_table(scores((100,)))).startswith("Whose errors students give cannot be told")
    row = {"student": "KD", "difference (points)": effect_of(1, 2)}
    assert "every interval reaches down to zero" in inherited_line(pd.DataFrame([row]))
    sure = {"student": "GenKD", "difference (points)": effect_of(3, 2)}
    assert inherited_line(pd.DataFrame([row, sure])) == (
        "1 of 2 give their own teacher's errors surely more often than another teacher's: GenKD.")


def test_costs_are_shares_of_the_teachers():
    values = {("teacher_fr", "macs"): 2e6, ("teacher_fr", "cpu_ms"): 4, ("teacher_fr", "parameters"): 10,
              ("genkd", "macs"): 5e5, ("genkd", "cpu_ms"): 1, ("genkd", "parameters"): 7}
    found = cost_table(pd.DataFrame([row(m, v, "cost", c, "") for (c, m), v in values.items()])).set_index("network")
    assert found.loc["GenKD"].tolist() == [7, 0.5, 1, 25, 25]


def test_gradients_are_means_over_seeds():
    rows = pd.DataFrame([row("gradient:generated", v, seed=s) for s, v in ((100, 0.1), (101, 0.3))])
    assert gradient_table(rows).iloc[0].tolist() == ["features generated from λ", pytest.approx(20), 10, 30]
