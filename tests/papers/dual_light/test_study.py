"""What stands beside DL-KDD's effects: entropy, gap and inherited errors, on made-up answers and at smoke size."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from kdlab.measure.inherited import MEASURES
from kdlab.night import Night
from kdlab.papers.dual_light import study as dual_light_study
from kdlab.papers.dual_light.study import LEARNERS, beside_effects, inherited_table
from kdlab.study import Scores, load_rows
from kdlab.train.sizes import SMOKE
from tests.conftest import guesses

WRONG = next(iter(MEASURES))


def made_up(seeds=5, clips=600, classes=6) -> Scores:
    """DL-KDD's students answer as the enhanced network of the next seed, same-light's as the raw one."""
    rng = np.random.default_rng(0)
    labels = rng.integers(classes, size=clips)
    shares = dict.fromkeys(("ce_raw", "ce_2x", "label_smoothing"), 0.7) | {"ce_enhanced": 0.8}
    predicted = {name: guesses(rng, labels, seeds, right, classes) for name, right in shares.items()}
    predicted |= {"dlkdd": np.roll(predicted["ce_enhanced"], -1, 0), "same_light": np.roll(predicted["ce_raw"], -1, 0)}
    ids = np.array([f"c{n}" for n in range(clips)])
    names = {c: [f"{c}-s{s}" for s in range(seeds)] for c in predicted}
    return Scores(tuple("abcdef"), tuple(range(100, 100 + seeds)), ids, ids, labels, predicted, {}, names)


def test_who_copies_its_teacher_inherits_and_who_has_none_does_not():
    table = inherited_table(made_up()).query("measure == @WRONG").set_index(["student", "teacher"])
    assert set(table.index) == {(s, t) for s in set(LEARNERS) - {"two_lights", "untrained"}
                                for t in ("ce_enhanced", "ce_raw")}, "what was not asked is left out"
    for (student, teacher), row in table.iterrows():
        copied = (student, teacher) in (("dlkdd", "ce_enhanced"), ("same_light", "ce_raw"))
        assert row.own == pytest.approx(100 if copied else 6, abs=4) and row.other == pytest.approx(6, abs=5)
        assert (row.gain.strict_low > 0) == copied and row.gain.seeds == 4


def test_entropies_of_the_very_runs_and_the_gap_stand_beside_each_effect():
    scores = made_up()
    rows = [dict(condition=c, metric="target_entropy", value=value + s / 100, recipe=f"{c}-s{s}")
            for c, value in (("dlkdd", 0.3), ("same_light", 0.5)) for s in range(5)]
    rows += [dict(condition="dlkdd", metric="target_entropy", value=9.0, recipe="dlkdd-of-other-seeds"),
             dict(condition="dlkdd", metric="accuracy", value=80.0, recipe="dlkdd-s0")]
    table = beside_effects(pd.DataFrame(rows), scores).set_index("claim")
    assert list(table.index) == ["D1", "D2", "D3"]
    assert table.entropy.tolist() == pytest.approx([0.32] * 3)
    assert table.baseline["D2"] == pytest.approx(0.52) and table.baseline[["D1", "D3"]].isna().all()
    assert (table.gap == scores.effect("ce_enhanced", "ce_raw")).all() and table.gap["D1"].mean > 5
    assert table.effect["D2"] == scores.effect("dlkdd", "same_light")
    joined = {c: [f"{name}+of-another-fold" for name in its] for c, its in scores.recipes.items()}
    folds = dataclasses.replace(scores, recipes=joined)
    assert beside_effects(pd.DataFrame(rows), folds).entropy.tolist() == pytest.approx([0.32] * 3)
    nothing = beside_effects(pd.DataFrame(rows)[:0], scores)
    assert nothing.entropy.isna().all() and len(nothing) == 3


def test_the_study_tells_both_and_of_too_few_seeds_why_not():
    rows = pd.DataFrame(columns=["metric", "recipe", "value"])
    said = "\n".join(dual_light_study._lines({"night": made_up()}, rows))
    assert "night, what there was to learn" in said and "DL-KDD − CE raw" in said
    assert "night, whose errors students give" in said and WRONG in said
    assert "give at least 3" in "\n".join(dual_light_study._lines({"night": made_up(2)}, rows))


@pytest.mark.slow
def test_the_study_at_smoke_size_seed_by_seed(own_places, reading):
    """One seed alone has all its rows; and an untrained network is asked about both sets of test clips."""
    profile = dataclasses.replace(SMOKE, night=Night(("Run", "Sit"), (4, 1, 2)))
    said, sets = [], ("night", "night_fresh")
    found = dual_light_study.study.run(profile, 1, only=sets, workers=1, say=said.append)
    assert all(scores.predicted["untrained"].shape == (1, 4) for scores in found.values())
    assert not np.array_equal(*(scores.logits["untrained"] for scores in found.values())), "of other clips"
    assert sum("whose errors students give" in line and "give at least 3" in line for line in said) == 2
    reading("dual_light")
    rows = load_rows("dual_light")
    nats = rows[rows.metric == "target_entropy"]
    assert sorted(nats.condition) == ["dlkdd", "label_smoothing", "same_light"] and set(nats.data) == {"night"}
    assert nats.value.astype(float).between(0, np.log(2)).all() and (nats.unit == "nats").all()
    for scores in found.values():
        table = beside_effects(rows, scores)
        assert table.entropy.notna().all() and table.baseline.notna().tolist() == [False, True, False]
