"""Pictures of accuracy over cost carry the numbers that they claim to."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from kdlab.papers.progressive import cost_plots
from kdlab.papers.progressive.budgets import THETAS
from kdlab.papers.progressive.cost_plots import (
    along_curve,
    by_frames,
    cost_curves,
    exit_shares,
    relative,
    threshold_widget,
    trade_off,
)
from kdlab.papers.progressive.nets import EXITS
from kdlab.papers.progressive.published import POINTS
from kdlab.papers.progressive.wise import stop_at
from tests.conftest import public
from tests.papers.progressive.test_plots import words


def test_curves_of_cost():
    costs = np.arange(1.0, 13) * 1e6
    stops = np.zeros((2, 2, 4, 2), np.uint8)
    stops[:, 1] = 11
    stops[:, 0, 0] = 4  # one clip of four goes on to the fifth exit
    right = np.zeros(stops.shape, bool)
    right[:, 1, :3], right[:, 0, :1] = True, True
    fused = np.ones((2, 3, 4, 2), bool)
    curves = {"stops/pkd": stops, "right/pkd": right, "right/segments": fused}
    for cost in ("macs", "seconds", "seconds_decoded"):
        curves |= {f"cost/{cost}": costs, f"cost/{cost}_segments": np.array([1.0, 2, 3]) * 1e6}
    first = cost_curves({"a set": curves}, {"pkd": "PKD", "segments": "none"}).axes[0]
    pkd, segments = (line.get_xydata().tolist() for line in first.lines)
    assert pkd == [[2.0, 25.0], [12.0, 75.0]]
    assert segments == [[1, 100], [2, 100], [3, 100]]
    assert [t.get_text() for t in first.texts] == ["1", "2", "3"]
    assert first.get_xlabel() == "million MACs a clip" and first.get_xlim()[0] == 0 < 12 < first.get_xlim()[1]


def test_shares_of_exits():
    stops = np.array([[[0, 0], [0, 1]], [[11, 11], [11, 11]]])
    ax = exit_shares(stops, [0.5, 1.0]).axes[0]
    assert [t.get_text() for t in ax.texts if t.get_text()] == ["75", "25", "100"]
    assert [t.get_text() for t in ax.get_yticklabels()] == ["0.5", "1"]


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
        assert f"for {100 * up_to[stops].mean() / up_to[-1]:.0f} % of the cost" in ax.get_title()
    every, good = ([bar.get_height() for bar in group] for group in right.containers)
    assert every == pytest.approx(100 * np.bincount(stops, minlength=12) / 60)
    assert sum(good) == pytest.approx(here[0][1]) and np.all(np.array(good) <= every)
    assert [t.get_text() for t in right.get_xticklabels()] == list(EXITS)


def test_without_hands_there_is_no_widget(sums, monkeypatch, capsys):
    monkeypatch.setenv("KDLAB_HEADLESS", "1")
    assert threshold_widget(*sums, {"MACs": np.arange(1, 13)}) is None
    assert "JupyterLab" in capsys.readouterr().out


def test_the_widget_draws_the_picture(sums, monkeypatch):
    monkeypatch.setenv("KDLAB_HEADLESS", "")
    widget = threshold_widget(*sums, {"MACs": np.arange(1, 13)})
    plt.close("all")
    widget.f(theta=0.5)
    assert any("stop at 0.5" in said for said in words(plt.gcf()))


def test_relative_to_the_dearest_point():
    spent, less = relative([1, 4, 2], [60, 70, 68])
    assert spent.tolist() == [25, 100, 50] and less.tolist() == [-10, 0, -2]


def test_published_points_stand_beside_ours():
    stops = np.zeros((1, 2, 4, 2), np.uint8)
    stops[:, 1] = 11
    right = np.zeros(stops.shape, bool)
    right[:, 1], right[:, 0, :2] = True, True  # half are right at once, all of them in the end
    curves = {"stops/pkd": stops, "right/pkd": right, "right/segments": np.ones((1, 3, 4, 2), bool),
              "cost/macs": np.arange(1.0, 13), "cost/macs_segments": np.array([1.0, 2, 3])}
    both, ucf, hmdb = trade_off(curves, "a set").axes
    assert [line.get_xydata().tolist() for line in ucf.lines[:1]] == [
        [[p.gmacs, p.accuracy] for p in POINTS if p.data == "UCF-101"]]
    assert {"1/2/2", "3/5/3", "CoViAR", "TEAM-Net"} <= set(words(ucf)) and "5/5/3" in words(hmdb)
    first, _, segments, ours = (line.get_xydata().tolist() for line in both.lines)
    assert first[0] == [100, 0] and first[-1] == pytest.approx([100 * 13.14 / 45.37, 88.41 - 92.77])
    assert segments[0] == pytest.approx([100 / 3, 0]) and ours == [[pytest.approx(100 / 12), -50], [100, 0]]
    assert "Beside ours: a set" in words(both)


def test_accuracy_over_frames_has_a_line_a_network():
    hits = np.zeros((2, 2, 10), bool)
    hits[:, 0, :5], hits[0, 1, :8], hits[1, 1, :7] = True, True, True
    hits = hits.repeat(4, 2)
    ax = by_frames({"motion": hits, "iframe": ~hits}, (1, 3), np.arange(40)).axes[0]
    lines = [container.lines[0].get_ydata() for container in ax.containers]
    assert lines[0] == pytest.approx([50, 75]) and lines[1] == pytest.approx([50, 25])
    seeds = [line.get_ydata().tolist() for line in ax.lines if line.get_markerfacecolor() == "none"][:2]
    assert seeds == [[50, 80], [50, 70]]
    low, high = ax.containers[0].lines[1]
    assert all(0 <= a < b <= 100 for a, b in zip(low.get_ydata(), high.get_ydata(), strict=True))
    assert [t.get_text() for t in ax.get_xticklabels()] == ["1", "3"]


def test_every_function_is_tested_here():
    assert public(cost_plots) <= globals().keys()
