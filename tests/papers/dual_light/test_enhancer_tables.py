"""Tables of the study of enhancers say what its rows and predictions hold."""

import numpy as np
import pandas as pd
import pytest

from kdlab.measure.enhancement import UNITS
from kdlab.papers.dual_light.enhancer_tables import gains, rank_correlations, teachers, undoubted
from kdlab.study import Scores


@pytest.fixture
def scores() -> Scores:
    """Two seeds and twenty clips: gamma is always right, equalisation as often as nothing at all."""
    labels = np.tile([0, 1], 10)
    half = np.where(np.arange(20) % 4 < 2, labels, 1 - labels)
    said = {"identity": half, "gamma": labels, "he": half}
    predicted = {name: np.tile(each, (2, 1)) for name, each in said.items()}
    ids = np.array([f"clip{n}" for n in range(20)])
    logits = {name: np.eye(2)[each[0]] for name, each in predicted.items()}
    names = {name: ["r0", "r1"] for name in said}
    return Scores(("A", "B"), (0, 1), ids, ids, labels, predicted, logits, names, {name: "s" for name in said})


@pytest.fixture
def rows() -> pd.DataFrame:
    values = {"identity": (9.0, 50.0), "gamma": (14.0, 100.0), "he": (12.0, 50.5)}
    return pd.DataFrame([dict(condition=name, metric=metric, value=value) for name, (psnr, accuracy) in values.items()
                         for metric, value in (UNITS | {"psnr": psnr, "accuracy": accuracy}).items()
                         if metric in ("psnr", "accuracy")]
                        + [dict(condition=name, metric=metric, value=k) for k, name in enumerate(values)
                           for metric in UNITS if metric != "psnr"])


def test_gains_are_paired_differences_and_only_a_sure_one_is_undoubted(scores):
    found = gains(scores)
    assert {name: e.mean for name, e in found.items()} == {"gamma": 50, "he": 0}
    assert undoubted(found) == ["gamma"]


def test_the_table_has_units_and_the_difference_of_each_but_the_first(rows, scores):
    shown = teachers(rows, scores).data
    assert shown.enhancer.tolist() == ["identity", "gamma", "he"] and "psnr (dB)" in shown
    assert shown["− identity (95 %)"].iloc[0] == "" and shown["− identity (95 %)"].iloc[1].startswith("+50.0")
    assert shown["teacher's accuracy (%)"].tolist() == [50, 100, 50.5]


def test_ranks_that_agree_correlate_wholly(rows):
    found = rank_correlations(rows, ("psnr", "flicker"))
    assert found["psnr"] == pytest.approx(1) and found["flicker"] == pytest.approx(0.5)
