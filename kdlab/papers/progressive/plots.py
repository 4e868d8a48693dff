"""Pictures of exits: twelve exits by method, the weights that combine them, and stopping early.

Exits are called R1 to R4, M1 to M4 and I1 to I4, in the order of ``networks.ORDER``. The fourth exit of each network is
its own final classifier, the same under every method. Each function except the widget returns a Figure.
"""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from kdlab.papers.progressive.networks import EXITS, FINALS
from kdlab.papers.progressive.recipes import TITLES
from kdlab.papers.progressive.wise import curve, stop_at
from kdlab.show.plots import PAGE, drawn, key, numbers
from kdlab.show.widgets import explore
from kdlab.study import Scores

#: Thresholds of WISE's early exits. At −1 every clip stops at the first exit, at 1 every clip at the last.
THETAS = np.array([-1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.93, 0.96, 0.98, 0.99, 0.995, 0.999, 1])


def exit_curves(scores: Scores, title: str = "") -> Figure:
    """Test accuracy of the twelve exits under each condition, mean over seeds. Stars mark the final classifiers."""
    fig, ax = plt.subplots(figsize=(7, 3.2))
    for line, condition in enumerate(scores.predicted):
        right = 100 * scores.correct(condition).mean((0, 1))
        x, y = (np.insert(v, (4, 8), np.nan) for v in (np.arange(12.0), right))  # nan separates the networks' lines
        ax.plot(x, y, label=TITLES.get(condition, condition), **drawn(line))
        ax.plot(FINALS, right[FINALS], "*", color="black", markersize=9)
    ax.axhline(100 / len(scores.classes), color="grey", linestyle=":", label="chance")
    ax.set_xticks(range(12), EXITS)
    ax.set(ylabel="test accuracy (%)", title=title)
    key(fig)
    return fig


def weights_map(weights: np.ndarray, title: str = "") -> Figure:
    """WISE's weights ``(12, 12)`` as a map: row k has the weights of the sum at exit k."""
    fig, ax = plt.subplots(figsize=(5.6, 3.8))
    shown = pd.DataFrame(np.where(np.tri(12, dtype=bool), weights, np.nan), EXITS, EXITS)
    numbers(ax, shown, np.array([[f"{w:.2f}" if w else "0" for w in row] for row in weights]))
    ax.vlines([4, 8], 0, 12, "black", linewidth=1)
    ax.hlines([4, 8], 0, 12, "black", linewidth=1)
    ax.set(xlabel="logits of exit j", ylabel="sum at exit k", title=title)
    return fig


def along_curve(combined: np.ndarray, labels: np.ndarray, costs: Mapping[str, np.ndarray], theta: float) -> Figure:
    """Accuracy of calibrated sums ``(N, 12, K)`` against each cost, with ``theta`` marked, and the exits at which clips
    stop under ``theta``. ``costs``: label of the axis → cost of a clip that stops at each exit, ``(12,)``."""
    width = (*len(costs) * [1.0], 1.4)
    fig, (*axes, right) = plt.subplots(1, len(width), figsize=(min(3 * len(width), PAGE), 2.8), width_ratios=width)
    for ax, (unit, up_to) in zip(axes, costs.items(), strict=True):
        points, here = (curve(combined, labels, up_to, some) for some in (THETAS, [theta]))
        ax.plot(points.cost, points.accuracy, "C0-", marker=".")
        ax.plot(here.cost, here.accuracy, "*", color="black", markersize=13)
        ax.set(xlabel=unit, xlim=(0, 1.05 * up_to[-1]), ylabel="accuracy (%)" if ax is axes[0] else "")
        share = 100 * here.cost[0] / up_to[-1]
        ax.set_title(f"{here.accuracy[0]:.1f} % for {share:.0f} % of the cost", fontsize="small")
    stops = stop_at(combined, theta)
    hit = combined[np.arange(len(labels)), stops].argmax(1) == labels
    for some, colour, label in ((slice(None), "white", "wrong"), (hit, "C0", "right")):
        share = 100 * np.bincount(stops[some], minlength=12) / len(labels)
        right.bar(EXITS, share, color=colour, edgecolor="black", linewidth=0.8, label=label)
    right.set(ylabel="% of clips", title=f"Where they stop at {theta:g}")
    right.tick_params(axis="x", labelsize="small")
    key(fig)
    return fig


def threshold_widget(combined: np.ndarray, labels: np.ndarray, costs: Mapping[str, np.ndarray]):
    """A slider for WISE's threshold over :func:`along_curve`. Once the slider has the focus, arrow keys move it."""
    return explore(lambda theta: along_curve(combined, labels, costs, theta), theta=(0.9, 0.1, 1, 0.005, "threshold"))
