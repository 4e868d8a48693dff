"""Who may teach, and what teachers say beyond the label, by hand."""

import math
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from kdlab.papers.progressive import study, wise_study
from kdlab.papers.progressive.method import FixedMixture, LabelExits, Progressive, RandomTeacher, SmoothedExits, only
from kdlab.papers.progressive.nets import FINALS, ORDER
from kdlab.papers.progressive.recipes import SMOKE, WARM, night, trio
from kdlab.papers.progressive.teachers import (
    beside_effects,
    entropy_rows,
    gains_of_twice,
    gate_line,
    may_teach,
    target_entropies,
    target_entropy,
    teachers,
    twice,
)
from kdlab.study import FIRST, Scores
from kdlab.train.runs import Predictions


def rows(data="night_context", drifted=0.1, gains=(0.5, 0.7, 0.6), without=()) -> pd.DataFrame:
    """What the study writes of networks of three seeds: the last motion network's loss in eval mode is ``drifted``,
    and twice the epochs of the residual network gain ``gains``."""
    made = []
    for m in ORDER:
        for s, gain in enumerate(gains):
            loss = drifted if (m, s) == ("motion", 2) else 0.1
            values = {"train_ce": loss, "train_ce_batch_statistics": 0.1, "val_accuracy": 80.0}
            made += [(data, f"final:{m}:4", FIRST + s, "", what, value) for what, value in values.items()]
            made.append((data, f"twice:{m}", FIRST + s, "", "val_accuracy", 80 + (gain if m == "residual" else 0)))
    table = pd.DataFrame(made, columns=["data", "condition", "seed", "fold", "metric", "value"])
    return table[~table.condition.str.startswith(without) & ~table.metric.str.startswith(without)] if without else table


#: Each gate of the claims, and the data on whose networks they are read.
GATES = {"P3": "night_context", "P3a": "night_context", "P4": "night_context",
         **dict.fromkeys(("P3u", "P3w", "P4u"), "night_context_crossed_fresh")}


@pytest.mark.parametrize("claim", GATES)
def test_the_gate_of_each_claim_asks_its_own_networks(claim):
    gate = {its.claim: its.gate for its in study.CLAIMS}[claim]
    passed, words = gate(rows(GATES[claim]))
    assert passed and "residual +0.6 ± 0.2 points, converged; motion +0.0 ± 0.0 points, converged" in words
    other = {"night_context", "night_context_crossed_fresh"} - {GATES[claim]}
    assert gate(rows(*other)) == (False, f"no losses on training clips of {GATES[claim]}'s residual network are among "
                                         "the rows")
    for wrong, why in ((dict(drifted=0.9), "1 of 9 networks may not teach; motion, seed 102: its cross-entropy on "),
                       (dict(drifted=float("nan")), "1 of 9 networks may not teach; motion, seed 102: its cross"),
                       (dict(gains=(5.0, 5.5, 6.0)), "3 of 9 networks may not teach; residual, seed 100: twice the "
                                                     "epochs gain 5.5 points"),
                       (dict(without=("twice:motion",)), "what twice the epochs of .*'s motion network gain was not"),
                       (dict(without=("train_ce",)), "no losses on training clips")):
        passed, words = gate(rows(GATES[claim], **wrong))
        assert not passed and pd.Series(words).str.contains(why).all(), (wrong, words)


def test_an_undecided_gain_passes_and_says_so():
    passed, words = may_teach(rows(gains=(0.0, 6.0, 3.0)), "night_context")
    assert passed and "residual +3.0 ± 7.5 points, undecided" in words
    passed, words = may_teach(rows(gains=(3.0,)), "night_context")
    assert passed and "residual +3.0 ± inf points, undecided" in words, "one seed: a shard of a study"


def test_wise_is_read_where_the_networks_of_its_exits_may_teach(monkeypatch):
    asked = []
    monkeypatch.setattr(wise_study, "load_rows", lambda name: asked.append(name) or rows())
    assert {claim.gate for claim in wise_study.CLAIMS} == {wise_study.gate}
    assert wise_study.gate(pd.DataFrame())[0] and asked == ["progressive"]
    monkeypatch.setattr(wise_study, "load_rows", lambda name: rows(drifted=0.9))
    assert not wise_study.gate(pd.DataFrame())[0]

    def missing(name):
        raise FileNotFoundError("figures/progressive.csv is missing")

    monkeypatch.setattr(wise_study, "load_rows", missing)
    assert wise_study.gate(pd.DataFrame()) == (False, "figures/progressive.csv is missing")


def test_sets_without_longer_trainings_have_their_losses_alone():
    table = rows("weizmann", without=("twice",))
    assert set(teachers(table, "weizmann").gate) == {"may teach"} and "all may teach" in gate_line(table, "weizmann")
    assert "1 of 9 may not teach" in gate_line(rows("weizmann", drifted=2.0, without=("twice",)), "weizmann")
    assert "gate: not among the rows" in gate_line(table, "night_bright")
    assert {word for _, _, word in gains_of_twice(table, "weizmann").values()} == {"not measured"}


def test_longer_trainings_differ_in_their_epochs_alone():
    three = trio(SMOKE, night(SMOKE), FIRST)
    made = twice(three)
    assert list(made) == [f"twice:{m}" for m in ORDER]
    for before, after in zip(three, made.values(), strict=True):
        assert after.settings.epochs == 2 * before.settings.epochs and after.view == before.view
        assert (after.seed, after.data, after.net) == (before.seed, before.data, before.net)


# --- entropies -------------------------------------------------------------------------------------------------

def nats(p):
    return -sum(q * math.log(q) for q in p if q)


LOW, MIDDLE, HIGH = ([0.98, 0.02], [0.9, 0.1], [0.6, 0.4])  # of residual, motion, I-frame


def run(method, steps=60):
    """A run of four clips on which the finals say LOW, MIDDLE, HIGH; its exits say something else."""
    logits = np.full((4, 12, 2), 7.0)
    logits[:, FINALS] = np.log([LOW, MIDDLE, HIGH])
    said = Predictions(np.array(list("abcd")), np.array(list("abcd")), np.array([0, 1, 0, 1]), logits)
    return SimpleNamespace(recipe=SimpleNamespace(method=method, seed=3), provenance={"steps": steps},
                           folder=SimpleNamespace(name="pkd-s3"), predictions={"train": said}.__getitem__)


def test_the_entropy_is_of_the_targets_that_the_method_gives():
    low, middle, high = nats(LOW), nats(MIDDLE), nats(HIGH)
    own = target_entropy(run(Progressive(schedule=only("own"))))
    assert own == pytest.approx([low, middle, high], abs=1e-6)
    assert target_entropy(run(Progressive(schedule=only("iframe")))) == pytest.approx([high] * 3, abs=1e-6)
    pkd = [middle / 6 + low / 6 + 4 / 6 * last for last in (low, middle, high)]
    assert target_entropy(run(Progressive())) == pytest.approx(pkd, abs=1e-6)
    mean = nats(np.mean([LOW, MIDDLE, HIGH], 0))
    assert target_entropy(run(FixedMixture())) == pytest.approx([mean] * 3, abs=1e-6)
    assert target_entropy(run(SmoothedExits())) == pytest.approx(pkd, abs=1e-3), "smoothing is matched to PKD"
    drawn = target_entropy(run(RandomTeacher(), 900))
    assert len(set(drawn.round(6))) == 1 and drawn[0] == pytest.approx((low + middle + high) / 3, abs=0.03)


def test_a_warm_teacher_says_more():
    root = [math.sqrt(math.sqrt(p)) for p in LOW]  # T = 4
    warm = target_entropy(run(Progressive(schedule=only("residual"), temperature=WARM)))
    assert warm == pytest.approx([nats([r / sum(root) for r in root])] * 3, abs=1e-6)


def test_rows_are_of_those_who_had_a_teacher():
    outcome = SimpleNamespace(numbers=lambda *numbers, **about: [
        dict(zip(("metric", "value", "unit"), numbers[0], strict=True)) | about | {"data": "here"}])
    assert entropy_rows(outcome, "ce_ic", run(LabelExits())) == []
    with pytest.raises(ValueError, match="pkd-s3 was taught by labels alone"):
        target_entropy(run(LabelExits()))
    table = pd.DataFrame(entropy_rows(outcome, "own_final", run(Progressive(schedule=only("own")))))
    assert table.condition.tolist() == ["own_final", *(f"own_final:{m}" for m in ORDER)] and set(table.unit) == {"nats"}
    found = target_entropies(table, "here").loc["own_final"]
    assert found["motion"] == pytest.approx(nats(MIDDLE), abs=1e-4)
    assert found["mean"] == pytest.approx(found[list(ORDER)].mean(), abs=1e-4)
    assert target_entropies(table, "there").empty


def test_where_nobody_measured_an_entropy_the_study_tells_none():
    """Labels have 0 nats, but only beside something that was measured."""
    ids = np.arange(9).astype(str)
    right = np.zeros((3, 9, 12), int)
    scores = Scores(("a", "b"), (0, 1, 2), ids, ids, np.zeros(9, int), {"pkd": right, "ce_ic": right}, {},
                    {"pkd": ["p"] * 3, "ce_ic": ["c"] * 3})
    measured = pd.DataFrame([dict(data="night_context", condition="pkd", metric="target_entropy", value=0.25)])
    (claim,) = (claim for claim in study.CLAIMS if claim.claim == "P3")
    for table, wanted in ((measured, [0.25, 0]), (measured[:0], [np.nan, np.nan])):
        told = beside_effects([claim], scores, table, "night_context").set_index("minus").loc["ce_ic"]
        np.testing.assert_array_equal(told[["nats", "nats of the other"]].astype(float), wanted)
