"""Pictures of accuracy over cost: where clips stop, what that saves, and what was published. Notebooks 07 and 07b.

Exits are called R1 to R4, M1 to M4 and I1 to I4, in the order of ``nets.ORDER``. Each function returns a Figure, but
for the widget.
"""

from collections.abc import Mapping, Sequence
from textwrap import fill

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from kdlab.measure.paired import effect
from kdlab.papers.progressive.budgets import THETAS
from kdlab.papers.progressive.nets import EXITS
from kdlab.papers.progressive.published import OTHERS, POINTS
from kdlab.papers.progressive.wise import curve, stop_at
from kdlab.show.plots import PAGE, drawn, key, note, numbers
from kdlab.show.widgets import explore

_COSTS = {"macs": ("million MACs a clip", 1e6), "seconds": ("CPU ms a clip, decoding included", 1e-3),
          "seconds_decoded": ("CPU ms a clip, decoded before", 1e-3)}


def cost_curves(sets: dict[str, dict[str, np.ndarray]], titles: dict[str, str]) -> Figure:
    """Accuracy against each cost, mean over seeds, clips and halves, a row for each set's ``wise_study.load_curves``:
    a point a threshold for each method of ``titles``, a point a number of segments for ``segments``."""
    size = 9, 1.5 * len(sets) + 0.6
    fig, grid = plt.subplots(len(sets), 3, figsize=size, sharex="col", sharey="row", squeeze=False)
    for axes, (name, curves) in zip(grid, sets.items(), strict=True):
        for ax, (cost, (_, unit)) in zip(axes, _COSTS.items(), strict=True):
            for line, (method, title) in enumerate(titles.items()):
                accuracy = 100 * curves[f"right/{method}"].mean((0, 2, 3))
                if method == "segments":
                    spent = curves[f"cost/{cost}_segments"] / unit
                    for n, at in enumerate(zip(spent, accuracy, strict=True), 1):
                        note(ax, str(n), at, (3, -11))
                else:
                    spent = curves[f"cost/{cost}"][curves[f"stops/{method}"]].mean((0, 2, 3)) / unit
                ax.plot(spent, accuracy, label=title, **drawn(line, markersize=2.5))
        axes[0].set_ylabel(f"{fill(name, 20)}\naccuracy (%)", fontsize="small")
    for ax, (label, _) in zip(grid[-1], _COSTS.values(), strict=True):
        ax.set_xlim(left=0)
        ax.set_xlabel(label, fontsize="small")
    fig.legend(*grid[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=3, fontsize="small")
    return fig


def exit_shares(stops: np.ndarray, thetas: Sequence[float] = THETAS, title: str = "") -> Figure:
    """Percentage of clips by the exit ``stops (Θ, …)`` where they stop, a row a threshold; empty below a half."""
    shares = np.stack([100 * np.bincount(row.ravel(), minlength=12) / row.size for row in stops])
    fig, ax = plt.subplots(figsize=(6.2, 0.22 * len(shares) + 1))
    words = np.array([[f"{v:.0f}" if v >= 0.5 else "" for v in row] for row in shares])
    table = pd.DataFrame(shares, [f"{theta:g}" for theta in thetas], EXITS)
    numbers(ax, table, words, cmap="cividis", vmin=0, vmax=100, linewidths=0)
    ax.tick_params(axis="y", labelsize="small")
    ax.set(ylabel="threshold", xlabel="% of clips that stop there", title=title)
    return fig


def along_curve(combined: np.ndarray, labels: np.ndarray, costs: Mapping[str, np.ndarray], theta: float) -> Figure:
    """``theta`` on the curve of accuracy over each cost of calibrated sums ``(N, 12, K)``, and where clips then stop.
    ``costs``: the axis in words → what a clip pays that stops at each exit, ``(12,)``."""
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
    """Drag WISE's threshold over :func:`along_curve`; with the focus on the slider, arrow keys move it."""

    return explore(lambda theta: along_curve(combined, labels, costs, theta), theta=(0.9, 0.1, 1, 0.005, "threshold"))


def relative(spent: np.ndarray, accuracy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Costs ``(P,)`` in percent of the dearest, and accuracies ``(P,)`` less that of the dearest, in points."""
    spent, accuracy, last = np.asarray(spent, float), np.asarray(accuracy, float), np.argmax(spent)
    return 100 * spent / spent[last], accuracy - accuracy[last]


def trade_off(curves: Mapping[str, np.ndarray], title: str, method: str = "pkd") -> Figure:
    """Above, each published set: WISE's points, with their segments of motion, residual and I-frame, and the others
    that its authors draw. Below, those points beside ours of ``wise_study.load_curves``, each curve as a share of its
    dearest point, since neither clips nor networks are the same."""
    names = list(dict.fromkeys(point.data for point in POINTS))
    fig = plt.figure(figsize=(PAGE, 6.6))
    grid = fig.add_gridspec(2, len(names), height_ratios=(1.15, 1))
    both = fig.add_subplot(grid[1, :])
    for line, name in enumerate(names):
        ax, some = fig.add_subplot(grid[0, line]), [point for point in POINTS if point.data == name]
        spent, accuracy = np.array([(point.gmacs, point.accuracy) for point in some]).T
        ax.plot(spent, accuracy, **drawn(line))
        for point in some:  # left of the curve nothing else stands; the first is the dearest
            words, by = "/".join(str(point.segments[k]) for k in (1, 0, 2)), (0, 7) if point is some[0] else (-5, 2)
            note(ax, words, (point.gmacs, point.accuracy), by)
        for other, gmacs, accuracies in OTHERS:
            ax.plot(gmacs, accuracies[name], "x", color="grey")
            note(ax, other, (gmacs, accuracies[name]), (6, -4))
        ax.set(title=f"{name}, published", xlabel="GMACs a video", ylabel="" if line else "accuracy (%)", xlim=(5, 70))
        ax.margins(y=0.14)
        both.plot(*relative(spent, accuracy), label=f"{name}: segments and θ", **drawn(line))
    of = {"segments": ("night: segments, no exits", curves["cost/macs_segments"]),
          method: ("night: θ alone, 3 segments", curves["cost/macs"][curves[f"stops/{method}"]].mean((0, 2, 3)))}
    for line, (which, (label, spent)) in enumerate(of.items(), len(names)):
        right = 100 * curves[f"right/{which}"].mean((0, 2, 3))
        both.plot(*relative(spent, right), label=label, **drawn(line))
    both.set(xlabel="cost (% of the dearest point)", title=f"Beside ours: {title}", xlim=(0, 103), ylim=(-15, 1.5),
             ylabel="accuracy minus the dearest\npoint's (points; cut off at −15)")
    key(fig)
    return fig


def by_frames(right: Mapping[str, np.ndarray], counts: Sequence[int], units: np.ndarray) -> Figure:
    """Accuracy of each network over the number of frames that it is shown: modality → whether it was right, ``(S,
    len(counts), N)``. Small marks are seeds; bars are 95 % of their mean over ``units (N,)``, for these very networks:
    of two or three seeds an interval over seeds would leave the axis."""
    fig, ax = plt.subplots(figsize=(6.4, 3.4))
    for line, (modality, hits) in enumerate(right.items()):
        each = hits.mean(0)
        found = [effect(each[k][None], np.zeros((1, len(units))), units) for k in range(len(counts))]
        mean, low, high = np.array([(e.mean, e.low, e.high) for e in found]).T
        x = np.arange(len(counts)) + 0.1 * (line - 1)
        ax.errorbar(x, mean, (mean - low, high - mean), label=modality, capsize=3, **drawn(line))
        ax.plot(x, 100 * hits.mean(2).T, "o", color=f"C{line}", markersize=4, markerfacecolor="none")
    ax.set(xlabel="frames of a clip; bars: 95 % over clips, circles: seeds", ylabel="test accuracy (%)",
           title="What more frames tell")
    ax.set_xticks(range(len(counts)), counts)
    key(fig)
    return fig
