"""Pictures of notebook 07 carry the numbers that they claim to."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.text import Text

from kdlab.papers.progressive.networks import EXITS
from kdlab.papers.progressive.plots import THETAS, along_curve, exit_curves, threshold_widget, weights_map
from kdlab.papers.progressive.wise import stop_at
from kdlab.study import Scores


def test_a_line_for_each_condition_with_the_finals_as_stars():
    labels, ids = np.arange(10) % 2, np.array([str(i) for i in range(10)])
    said = np.repeat(labels[None, :, None], 12, 2).repeat(2, 0)
    said[:, :2, 0], said[:, :1, 3] = 1 - said[:, :2, 0], 1 - said[:, :1, 3]
    ax = exit_curves(Scores(("a", "b"), (0, 1), ids, ids, labels, {"pkd": said})).axes[0]
    line, stars = (found.get_ydata() for found in ax.lines[:2])
    assert np.array_equal(line[:6], [80, 100, 100, 90, np.nan, 100], equal_nan=True)
    assert stars.tolist() == [90, 100, 100]
    assert [t.get_text() for t in ax.get_xticklabels()] == list(EXITS)


def test_the_map_of_weights_has_its_lower_triangle():
    weights = np.arange(144.0).reshape(12, 12)
    texts = [t.get_text() for t in weights_map(weights).axes[0].texts]
    assert texts == ["0", *(f"{v:.2f}" for v in weights[np.tri(12, dtype=bool)][1:])], "an exact zero is told apart"


@pytest.fixture
def sums():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 60)
    combined = rng.normal(size=(60, 12, 3))
    combined[np.arange(60), :, labels] += np.linspace(0.5, 4, 12)
    return combined, labels


def test_a_threshold_lies_on_each_curve_and_its_bars_are_all_clips(sums):
    combined, labels = sums
    costs = {"million MACs": np.arange(1, 13), "ms": 2 + np.arange(12) / 2}
    left, middle, right = along_curve(combined, labels, costs, 0.9).axes
    stops = stop_at(combined, 0.9)
    for ax, (unit, up_to) in zip((left, middle), costs.items(), strict=True):
        whole, here = (line.get_xydata() for line in ax.lines)
        assert len(whole) == len(THETAS) and here.tolist() == [whole[list(THETAS).index(0.9)].tolist()]
        assert here[0][0] == pytest.approx(up_to[stops].mean()) and ax.get_xlabel() == unit
    every, good = ([bar.get_height() for bar in group] for group in right.containers)
    assert every == pytest.approx(100 * np.bincount(stops, minlength=12) / 60)
    assert sum(good) == pytest.approx(here[0][1]) and np.all(np.array(good) <= every)


def test_the_widget_draws_the_picture(sums, monkeypatch):
    monkeypatch.setenv("KDLAB_HEADLESS", "")
    widget = threshold_widget(*sums, {"MACs": np.arange(1, 13)})
    plt.close("all")
    widget.f(theta=0.5)
    assert any("stop at 0.5" in text.get_text() for text in plt.gcf().findobj(Text))
