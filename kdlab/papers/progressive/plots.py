"""Pictures of notebook 07: twelve exits by method, the weights that combine them, and what stopping early saves.

Exits are called R1 to R4, M1 to M4 and I1 to I4, in the order of ``nets.exits.ORDER``; the fourth of each network is
its own final classifier, the same under every method. Each function returns a Figure.
"""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from kdlab.measure.paired import Effect
from kdlab.papers.progressive.budgets import THETAS
from kdlab.papers.progressive.nets import ORDER
from kdlab.papers.progressive.recipes import HEADLINE, TITLES, TRAINED
from kdlab.papers.progressive.study import exit_effect, places
from kdlab.papers.progressive.wise import FINAL_EXITS, curve, max_probability, stop_at
from kdlab.show.widgets import explore
from kdlab.study import Scores

EXITS = tuple(f"{modality[0].upper()}{k}" for modality in ORDER for k in (1, 2, 3, 4))
_LINES = [dict(marker=marker, linestyle=line) for marker, line in zip("os^", ("-", "--", ":"), strict=True)]
_COSTS = {"macs": ("million MACs a clip", 1e6), "seconds": ("CPU ms a clip, decoding included", 1e-3),
          "seconds_decoded": ("CPU ms a clip, decoded before", 1e-3)}


def _grid(ax: plt.Axes, table: pd.DataFrame, words, fmt: str = "", **how) -> None:
    """A heat map with ``words`` in its cells."""
    style = dict(fmt=fmt, cbar=False, annot_kws={"fontsize": 7}, linewidths=0.5) | how
    sns.heatmap(table, annot=words, ax=ax, **style)
    ax.grid(False)
    ax.tick_params(axis="y", rotation=0, labelsize=8)


def _around_zero(values: np.ndarray) -> dict:
    most = 1.3 * np.nanmax(np.abs(values))  # 1.3: the darkest colours would hide the numbers
    return dict(cmap="PuOr_r", vmin=-most, vmax=most)


def exit_table(scores: Scores, title: str = "") -> Figure:
    """Test accuracy of all twelve exits under CE on labels, and the whole points that every other method adds.

    Finals are not trained by any of them, so they stand in the first row only. The last column is the mean of nine.
    Of the study's conditions those in ``recipes.TITLES``, and all orders of three teachers.
    """
    percent = {name: scores.accuracy(name).mean(0) for name in scores.predicted}
    names = {name: TITLES.get(name, f"order {name.replace('-', ', ')}") for name in percent
             if name != "ce_ic" and (name in TITLES or name.count("-") == 2)}
    with_mean = lambda row: np.append(row, row[list(TRAINED)].mean())  # noqa: E731
    gain = np.stack([with_mean(percent[name] - percent["ce_ic"]) for name in names])
    gain[:, FINAL_EXITS] = np.nan
    words = np.array([[*(f"{v:+.0f}" if abs(v) > 0.5 else "" for v in row[:12]), f"{row[12]:+.1f}"] for row in gain])
    fig, (top, bottom) = plt.subplots(2, 1, figsize=(7.8, 0.22 * len(names) + 1.4), height_ratios=(1, len(names)))
    columns = [*EXITS, "mean\nof 9"]
    first = pd.DataFrame([with_mean(percent["ce_ic"])], [f"{TITLES['ce_ic']} (%)"], columns)
    _grid(top, first, True, ".1f", cmap="cividis", vmin=0, vmax=100)
    _grid(bottom, pd.DataFrame(gain, names.values(), columns), words, **_around_zero(np.append(gain, 1)))
    for ax in (top, bottom):
        ax.tick_params(axis="x", rotation=0, labelsize=8, length=0, labelbottom=False, labeltop=ax is top)
        ax.vlines([4, 8, 12], *ax.get_ylim(), "black", linewidth=1.2)
    seeds, clips = len(scores.seeds), len(scores.labels)
    bottom.set_xlabel(f"points above {TITLES['ce_ic']}, empty: less than a half; {seeds} seeds, {clips} test clips")
    fig.suptitle(title, fontsize=11, fontweight="bold")
    return fig


def regimes(sets: dict[str, Scores]) -> Figure:
    """Sets side by side. Above: accuracy of the exits under the headline's conditions, finals as stars. Below: PKD
    minus each of the others, mean over a network's three trained exits and over all nine, with 95 % bars."""
    size = 2.6 * len(sets) + 2.2, 4.4
    fig, axes = plt.subplots(2, len(sets), figsize=size, sharey="row", squeeze=False, height_ratios=(1.4, 1))
    where = {m: places([m]) for m in ORDER} | {"all nine": list(TRAINED)}
    for (top, bottom), (name, scores) in zip(axes.T, sets.items(), strict=True):
        bottom.axhspan(-2, 2, color="grey", alpha=0.15, linewidth=0)
        bottom.axhline(0, color="black", linewidth=0.8)
        for line, condition in enumerate(HEADLINE):
            right = 100 * scores.correct(condition).mean((0, 1))
            x, y = (np.insert(v, (4, 8), np.nan) for v in (np.arange(12.0), right))  # a line for each network
            top.plot(x, y, **_LINES[line], color=f"C{line}", markersize=4, label=TITLES[condition])
            for place, some in enumerate(where.values()) if condition != "pkd" else ():
                e, x = exit_effect(scores, "pkd", condition, some), place + 0.12 * (line - 1)
                bottom.plot([x, x], [e.low, e.high], color=f"C{line}", linewidth=2.5)
                label = None if place else f"− {TITLES[condition]}"
                bottom.plot(x, e.mean, "o^^"[line], color="black", markersize=4, label=label)
        for place in FINAL_EXITS:
            top.plot(place, right[place], "*", color="black", markersize=9)
            top.text(place, right[place] + 5, f"{right[place]:.0f}", ha="center", fontsize=8)
        top.axhline(100 / len(scores.classes), color="grey", linestyle=":", linewidth=1)
        top.set(title=name, ylim=(0, 108))
        top.set_xticks(range(12), EXITS, fontsize=7)
        bottom.set_xticks(range(4), where, fontsize=7)
    axes[0, 0].set_ylabel("test accuracy (%)")
    axes[1, 0].set_ylabel("PKD minus … (points)", fontsize=8)
    for row in axes:
        row[-1].legend(fontsize=7, loc="upper left", bbox_to_anchor=(1.01, 1))
    return fig


def forests(found: dict[str, dict[str, Effect]], title: str = "") -> Figure:
    """``plots.effects`` of several sets side by side: set → comparison → effect, each set with its own scale."""
    rows = list(next(iter(found.values())))
    fig, axes = plt.subplots(1, len(found), figsize=(9.2, 0.33 * len(rows) + 1), sharey=True)
    for ax, (name, effects) in zip(axes, found.items(), strict=True):
        ax.axvspan(-2, 2, color="grey", alpha=0.15, linewidth=0)
        ax.axvline(0, color="black", linewidth=0.8)
        for y, e in enumerate(effects.values()):
            ax.plot([e.strict_low, e.strict_high], [y, y], color="C0", linewidth=1)
            ax.plot([e.low, e.high], [y, y], color="C0", linewidth=4, solid_capstyle="butt")
            ax.plot(e.mean, y, "D", color="black", markersize=4)
            ax.annotate(str(e), (e.mean, y), xytext=(0, 5), textcoords="offset points", ha="center", fontsize=7)
        ax.set(yticks=range(len(rows)), yticklabels=rows, ylim=(len(rows) - 0.5, -0.8), title=name)
        ax.tick_params(labelsize=8)
    fig.supxlabel("difference in test accuracy (points); thick 95 %, thin ledger's level, grey within ± 2", fontsize=8)
    fig.suptitle(title, fontsize=11, fontweight="bold")
    return fig


def weights_map(weights: np.ndarray, title: str = "") -> Figure:
    """WISE's weights ``(12, 12)``: row k says how the exits so far are added at exit k."""
    fig, ax = plt.subplots(figsize=(5.6, 3.8))
    shown = pd.DataFrame(np.where(np.tri(12, dtype=bool), weights, np.nan), EXITS, EXITS)
    words = np.array([[f"{w:.2f}" if w else "0" for w in row] for row in weights])
    _grid(ax, shown, words, **_around_zero(shown.to_numpy()))
    ax.vlines([4, 8], 0, 12, "black", linewidth=1)
    ax.hlines([4, 8], 0, 12, "black", linewidth=1)
    ax.set(xlabel="logits of exit j", ylabel="sum at exit k", title=title)
    return fig


def confidence(weights: np.ndarray, combined: np.ndarray, heat: np.ndarray, labels: np.ndarray) -> Figure:
    """Left the size ``‖w‖₁`` of each exit's weights ``(12, 12)``; right the mean confidence of the sums
    ``(N, 12, K)``, as they are and divided by the temperatures ``heat (12,)``, beside their accuracy."""
    fig, (left, right) = plt.subplots(1, 2, figsize=(7.4, 2.4), width_ratios=(1, 1.5))
    left.bar(EXITS, np.abs(weights).sum(1), color="0.6", edgecolor="black", linewidth=0.5)
    left.axvline(4.5, color="black", linestyle=":", linewidth=1)
    left.set(ylabel="‖w‖₁", title="Weights; dotted: L1 begins")
    right.plot(EXITS, 100 * (combined.argmax(2) == labels[:, None]).mean(0), "k-o", markersize=4, label="accuracy")
    right.plot(EXITS, 100 * max_probability(combined).mean(0), "C1--s", markersize=4, label="confidence")
    calibrated = max_probability(combined / heat[:, None])
    right.plot(EXITS, 100 * calibrated.mean(0), "C0:^", markersize=4, label="confidence, calibrated")
    right.set(ylabel="%", ylim=(0, 102), title="The sum at each exit")
    right.legend(fontsize=8)
    plt.setp([*left.get_xticklabels(), *right.get_xticklabels()], fontsize=7)
    return fig


def cost_curves(sets: dict[str, dict[str, np.ndarray]], titles: dict[str, str]) -> Figure:
    """Accuracy against each cost, mean over seeds, clips and halves, a row for each set's ``wise_study.load_curves``:
    a point a threshold for each method of ``titles``, a point a number of segments for ``segments``."""
    size = 9, 1.5 * len(sets) + 0.6
    fig, grid = plt.subplots(len(sets), 3, figsize=size, sharex="col", sharey="row", squeeze=False)
    for axes, (name, curves) in zip(grid, sets.items(), strict=True):
        for ax, (cost, (_, unit)) in zip(axes, _COSTS.items(), strict=True):
            for line, (method, title) in enumerate(titles.items()):
                accuracy = 100 * curves[f"right/{method}"].mean((0, 2, 3))
                spent = curves[f"cost/{cost}_segments"] / unit
                if method != "segments":
                    spent = curves[f"cost/{cost}"][curves[f"stops/{method}"]].mean((0, 2, 3)) / unit
                ax.plot(spent, accuracy, **_LINES[line % 3], color=f"C{line}", markersize=2.5, label=title)
                for n, point in enumerate(zip(spent, accuracy, strict=True), 1):
                    if method == "segments":
                        ax.annotate(str(n), point, xytext=(3, -11), textcoords="offset points", fontsize=8)
        axes[0].set_ylabel(f"{name}\naccuracy (%)", fontsize=8)
    for ax, (label, _) in zip(grid[-1], _COSTS.values(), strict=True):
        ax.set_xlim(left=0)
        ax.set_xlabel(label, fontsize=8)
    fig.legend(*grid[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=3, fontsize=8)
    return fig


def exit_shares(stops: np.ndarray, thetas: Sequence[float] = THETAS, title: str = "") -> Figure:
    """Percentage of clips by the exit ``stops (Θ, …)`` where they stop, a row a threshold; empty below a half."""
    shares = np.stack([100 * np.bincount(row.ravel(), minlength=12) / row.size for row in stops])
    fig, ax = plt.subplots(figsize=(6.2, 0.22 * len(shares) + 1))
    words = np.array([[f"{v:.0f}" if v >= 0.5 else "" for v in row] for row in shares])
    table = pd.DataFrame(shares, [f"{theta:g}" for theta in thetas], EXITS)
    _grid(ax, table, words, cmap="cividis", vmin=0, vmax=100, linewidths=0)
    ax.set(ylabel="threshold", xlabel="% of clips that stop there", title=title)
    return fig


def along_curve(combined: np.ndarray, labels: np.ndarray, costs: np.ndarray, theta: float) -> Figure:
    """``theta`` on the curve of accuracy over MACs of calibrated sums ``(N, 12, K)``, and where clips then stop."""
    points, here = (curve(combined, labels, costs / 1e6, some) for some in (THETAS, [theta]))
    fig, (left, right) = plt.subplots(1, 2, figsize=(7.4, 2.4))
    left.plot(points.cost, points.accuracy, "C0-", marker=".", label="every threshold")
    left.plot(here.cost, here.accuracy, "*", color="black", markersize=13, label=f"threshold {theta:g}")
    title = f"{here.accuracy[0]:.1f} % at {100 * here.cost[0] * 1e6 / costs[-1]:.0f} % of the MACs"
    left.set(xlabel="million MACs a clip", ylabel="accuracy (%)", xlim=(0, 1.05 * costs[-1] / 1e6), title=title)
    left.legend(fontsize=8, loc="lower right")
    stops = stop_at(combined, theta)
    hit = combined[np.arange(len(labels)), stops].argmax(1) == labels
    every, good = (100 * np.bincount(stops[some], minlength=12) / len(labels) for some in (slice(None), hit))
    right.bar(EXITS, every, color="white", edgecolor="black", linewidth=0.8, label="wrong")
    right.bar(EXITS, good, color="C0", edgecolor="black", linewidth=0.8, label="right")
    right.set(ylabel="% of clips", title="Where they stop")
    right.legend(fontsize=8)
    return fig


def threshold_widget(combined: np.ndarray, labels: np.ndarray, costs: np.ndarray):
    """Drag WISE's threshold over :func:`along_curve`."""

    return explore(lambda theta: along_curve(combined, labels, costs, theta), theta=(0.9, 0.1, 1, 0.005, "threshold"))
