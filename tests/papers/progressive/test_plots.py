"""Pictures of notebook 07 carry the numbers that they claim to."""

import numpy as np
import pytest
from matplotlib.text import Text

from kdlab.measure.paired import Effect
from kdlab.papers.progressive.plots import confidence, exit_table, forests, regimes, weights_map
from kdlab.study import Scores


def words(thing) -> list[str]:
    return [t.get_text().replace("−", "-") for t in thing.findobj(Text) if t.get_text()]


def scores(wrong: dict[str, dict[int, int]]) -> Scores:
    """Ten clips, two seeds; condition → exit → how many of the clips it gets wrong."""
    labels = np.arange(10) % 2
    predicted = {}
    for name, exits in wrong.items():
        said = np.repeat(labels[None, :, None], 12, 2).repeat(2, 0)
        for place, count in exits.items():
            said[:, :count, place] = 1 - said[:, :count, place]
        predicted[name] = said
    ids = np.array([str(i) for i in range(10)])
    return Scores(("a", "b"), (0, 1), ids, ids, labels, predicted, {}, {})


SOME = scores({"ce_ic": {0: 5, 3: 1, 9: 2}, "pkd": {0: 2, 3: 1, 9: 4}, "own_final": {0: 5, 3: 1, 9: 2},
               "own-residual-motion": {3: 1}, "ce_2x": {3: 1}})


def test_the_table_has_the_baseline_in_percent_and_the_others_in_points():
    top, bottom = exit_table(SOME).axes
    mean = (50 + 80 + 7 * 100) / 9
    assert [float(t.get_text()) for t in top.texts] == [50, 100, 100, 90, 100, 100, 100, 100, 100, 80, 100, 100,
                                                        round(mean, 1)]
    assert len(bottom.texts) == 3 * 10, "nine exits and their mean; finals stand in the first row alone"
    shown = [t.get_text() for t in bottom.texts]
    assert shown[:10] == ["+30", *[""] * 6, "−20", "", "+1.1"]
    assert set(shown[10:19]) == {""} and shown[19:21] == ["+0.0", "+50"]
    assert [t.get_text() for t in bottom.get_yticklabels()] == [
        "PKD (motion, residual, own)", "own final throughout", "order own, residual, motion"]


def test_regimes_show_the_finals_and_the_mean_over_each_network():
    top, bottom = regimes({"one": SOME}).axes
    assert [t.get_text() for t in top.texts] == ["90", "100", "100", "chance"]
    line = top.lines[1].get_ydata()  # PKD's
    assert np.array_equal(line, [80, 100, 100, 90, np.nan, *[100] * 4, np.nan, 100, 60, 100, 100], equal_nan=True)
    means = [line.get_ydata()[0] for line in bottom.lines if line.get_marker() == "o"]
    assert means == pytest.approx([10, 0, -20 / 3, 10 / 9])
    bars = [line.get_ydata() for line in bottom.lines if len(line.get_ydata()) == 2][1:]
    assert all(low <= mean <= high for (low, high), mean in zip(bars[:4], means, strict=True))


def test_forests_have_a_panel_a_set():
    one, other = Effect(1, -1, 3, -2, 4, 3, 10, 4, 30, 1), Effect(5, 4, 6, 3, 7, 3, 10, 4, 30, 1)
    fig = forests({"night": {"a": one, "b": other}, "day": {"a": other, "b": one}})
    left, right = fig.axes
    assert [t.get_text() for t in left.texts] == [str(one), str(other)] == [t.get_text() for t in right.texts][::-1]
    assert [t.get_text() for t in left.get_yticklabels()] == ["a", "b"]
    assert [list(line.get_xdata()) for line in left.lines[1:4]] == [[-2, 4], [-1, 3], [1]]


def test_forests_of_sets_that_compare_other_things_are_refused():
    one = Effect(1, -1, 3, -2, 4, 3, 10, 4, 30, 1)
    for rows in ({"a": one}, {"b": one, "a": one}):
        with pytest.raises(ValueError, match="night compares a, b, but day compares .*: give each set the same"):
            forests({"night": {"a": one, "b": one}, "day": rows})


def test_the_map_of_weights_has_its_lower_triangle():
    weights = np.arange(144.0).reshape(12, 12)
    texts = [t.get_text() for t in weights_map(weights).axes[0].texts]
    assert texts == ["0", *(f"{v:.2f}" for v in weights[np.tri(12, dtype=bool)][1:])], "an exact zero is told apart"


def test_confidence_before_and_after_calibration():
    weights = np.eye(12)
    weights[1, 0] = -2
    combined = np.zeros((3, 12, 2))
    combined[:, :, 0] = 2 * np.log(3)
    left, right = confidence(weights, combined, np.full(12, 2.0), np.array([0, 0, 1])).axes
    assert [bar.get_height() for bar in left.patches] == [1, 3, *[1] * 10]
    accuracy, before, after = (line.get_ydata() for line in right.lines)
    assert accuracy == pytest.approx(100 * 2 / 3) and before == pytest.approx(90) and after == pytest.approx(75)
