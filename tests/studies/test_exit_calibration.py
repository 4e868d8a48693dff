"""How surely exits answer, and that it was read of the very networks whose answers are kept."""

import numpy as np
import pytest

from kdlab.papers.progressive import inherited
from kdlab.papers.progressive import study as progressive
from kdlab.papers.progressive.nets import FINALS, TRAINED
from kdlab.studies import exit_calibration
from kdlab.study import load_rows


def test_exits_that_are_always_sure_are_wrong_by_what_they_miss():
    labels = np.arange(4)
    logits = np.zeros((4, 12, 4))
    logits[np.arange(4)[:, None], TRAINED, labels[:, None]] = 50
    logits[:, FINALS, 0] = np.nan  # no trained exit: never looked at
    assert exit_calibration.told(logits, labels) == pytest.approx((0, 100))
    logits[0, TRAINED] = 50 * np.eye(4)[3]  # sure, and wrong, of one clip in four
    assert exit_calibration.told(logits, labels) == pytest.approx((25, 75))
    logits[:, TRAINED[0]] = 0  # one exit of nine knows nothing and says so: a quarter sure, a quarter right
    assert exit_calibration.told(logits, labels) == pytest.approx((25 * 8 / 9, (8 * 75 + 25) / 9))


def test_they_are_the_networks_whose_answers_are_kept():
    try:
        rows = load_rows("exit_calibration")
    except FileNotFoundError as missing:
        pytest.skip(str(missing))
    _, scores, conditions = inherited.told(progressive.study.scores([progressive.CROSSED.data]))
    assert set(rows.condition) == set(conditions)
    for condition, its in rows[rows.metric == "accuracy"].groupby("condition"):
        assert its.sort_values("seed").recipe.tolist() == list(scores.recipes[condition])
        kept = 100 * scores.correct(condition)[:, :, TRAINED].mean((1, 2))
        others = np.abs(its.sort_values("seed").value.astype(float).to_numpy() - kept)
        assert others[1:] == pytest.approx(0, abs=1e-3), condition
        assert others[0] < 2, "the first seed's were trained on another kind of CPU, to other bits (docs/log.md)"
    assert set(exit_calibration.errors(rows).index) == set(conditions)


@pytest.mark.slow
def test_the_study_runs_and_reads_each_network(at_smoke):
    found, told = at_smoke(exit_calibration.study)
    assert len(found) == 2 * 2 * len(exit_calibration.CONDITIONS) and found.recipe.nunique() == len(found) // 2
    assert any("calibration error" in line for line in told)
