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

from kdlab.distill.wise import FINAL_EXITS, curve, max_probability, stop_at
from kdlab.exit_profiles import TITLES, TRAINED
from kdlab.measure.exits import THETAS
from kdlab.measure.paired import effect
from kdlab.nets.exits import ORDER
from kdlab.study import Scores

__all__ = ["EXITS", "NAMES", "along_curve", "confidence", "cost_curves", "exit_shares", "exit_table", "regimes",
           "weights_map"]

EXITS = tuple(f"{modality[0].upper()}{k}" for modality in ORDER for k in (1, 2, 3, 4))
#: The study's other conditions; those that are named by their teachers' order are left as they are.
NAMES = TITLES | {
    "ce_2x": "CE, twice the steps", "pkd_2x": "PKD, twice the steps", "ce_half": "CE, half the steps",
    "ce_ic_difference": "CE, plain difference as residual", "pkd_difference": "PKD, plain difference as residual",
    "pkd_batch_statistics": "PKD, frozen nets in train mode",
}
#: Cost → (what an axis says, by what it is divided).
_COSTS = {"macs": ("million MACs a clip", 1e6), "seconds": ("CPU ms a clip, decoding included", 1e-3),
          "seconds_decoded": ("CPU ms a clip, decoded before", 1e-3)}


def exit_table(scores: Scores, title: str = "", baseline: str = "ce_ic") -> Figure:
    """Test accuracy of all twelve exits under ``baseline``, and what every other condition adds to it in points.

    Finals are not trained by any of them, so they stand in the first row only. The last column is the mean of nine.
    """
    percent = {name: 100 * scores.correct(name).mean((0, 1)) for name in scores.predicted}
    with_mean = lambda row: np.append(row, row[list(TRAINED)].mean())  # noqa: E731
    gain = np.stack([with_mean(percent[name] - percent[baseline]) for name in percent if name != baseline])
    gain[:, FINAL_EXITS] = np.nan
    names = [NAMES.get(name, f"order {name.replace('-', ', ')}") for name in percent if name != baseline]
    fig, (top, bottom) = plt.subplots(2, 1, figsize=(9.4, 0.27 * len(names) + 1.7), height_ratios=(1, len(names)))
    columns, most = [*EXITS, "mean\nof 9"], max(1.0, np.nanmax(np.abs(gain)))
    how = dict(cbar=False, annot_kws={"fontsize": 8}, linewidths=0.5)
    first = pd.DataFrame([with_mean(percent[baseline])], [f"{NAMES[baseline]} (%)"], columns)
    sns.heatmap(first, annot=True, fmt=".1f", cmap="cividis", vmin=0, vmax=100, ax=top, **how)
    sns.heatmap(pd.DataFrame(gain, names, columns), annot=True, fmt="+.1f", cmap="PuOr_r", vmin=-1.3 * most,
                vmax=1.3 * most, ax=bottom, **how)  # 1.3: the darkest colours would hide the numbers
    bottom.grid(False)
    for ax in (top, bottom):
        ax.tick_params(axis="y", rotation=0, labelsize=8)
        ax.tick_params(axis="x", rotation=0, labelsize=8, length=0, labelbottom=False, labeltop=ax is top)
        for line in (4, 8, 12):
            ax.axvline(line, color="black", linewidth=1.2)
    for place in FINAL_EXITS:
        bottom.text(place + 0.5, len(names) / 2, "the final classifier", rotation=90, ha="center", va="center",
                    fontsize=8, color="grey")
    bottom.set_xlabel(f"points above {NAMES[baseline]}; {len(scores.seeds)} seeds, "
                      f"{len(scores.labels)} test clips", fontsize=9)
    fig.suptitle(title, fontsize=11, fontweight="bold")
    return fig


def regimes(sets: dict[str, Scores], titles: dict[str, str], method: str = "pkd") -> Figure:
    """Sets side by side. Above: accuracy of the exits under the conditions ``titles``, finals as stars. Below:
    ``method`` minus each other one, mean over a network's three trained exits and over all nine, with 95 % bars."""
    fig, axes = plt.subplots(2, len(sets), figsize=(3.25 * len(sets), 5), sharey="row", squeeze=False,
                             height_ratios=(1.4, 1))
    places = {m: [4 * i, 4 * i + 1, 4 * i + 2] for i, m in enumerate(ORDER)} | {"all nine": list(TRAINED)}
    for (top, bottom), (name, scores) in zip(axes.T, sets.items(), strict=True):
        for line, (condition, title) in enumerate(titles.items()):
            right = 100 * scores.correct(condition).mean((0, 1))
            right = np.insert(right, (4, 8), np.nan)  # a line for each network
            x = np.insert(np.arange(12.0), (4, 8), np.nan)
            top.plot(x, right, color=f"C{line}", marker="os^D"[line % 4], linestyle=("-", "--", ":")[line % 3],
                     markersize=4, label=title)
        for place in FINAL_EXITS:
            final = 100 * scores.correct(next(iter(titles)))[:, :, place].mean()
            top.plot(place, final, "*", color="black", markersize=9)
            top.annotate(f"{final:.0f}", (place, final), xytext=(0, 6), textcoords="offset points", ha="center",
                         fontsize=8)
        top.axhline(100 / len(scores.classes), color="grey", linestyle=":", linewidth=1)
        top.set(title=name, ylim=(0, 108), xticks=range(12))
        top.set_xticklabels(EXITS, fontsize=7)
        bottom.axhspan(-2, 2, color="grey", alpha=0.15, linewidth=0)
        bottom.axhline(0, color="black", linewidth=0.8)
        for number, other in enumerate(c for c in titles if c != method):
            for place, some in enumerate(places.values()):
                e = effect(*(scores.correct(c)[:, :, some].mean(2) for c in (method, other)), scores.units, 2000)
                x = place + 0.24 * number - 0.12
                bottom.plot([x, x], [e.low, e.high], color=f"C{list(titles).index(other)}", linewidth=2.5)
                bottom.plot(x, e.mean, "os"[number % 2], color="black", markersize=4,
                            label=f"− {titles[other]}" if place == 0 else None)
        bottom.set(xticks=range(4))
        bottom.set_xticklabels(places, fontsize=7)
    axes[0, 0].set_ylabel("test accuracy (%)")
    axes[1, 0].set_ylabel(f"{titles[method]}\nminus … (points)", fontsize=8)
    axes[0, 0].legend(fontsize=7, loc="lower left")
    axes[1, 0].legend(fontsize=7)
    return fig


def weights_map(weights: np.ndarray, title: str = "") -> Figure:
    """WISE's weights ``(12, 12)``: row k says how the exits so far are added at exit k."""
    fig, ax = plt.subplots(figsize=(7, 4.6))
    shown = pd.DataFrame(np.where(np.tri(12, dtype=bool), weights, np.nan), EXITS, EXITS)
    most = np.nanmax(np.abs(shown.to_numpy()))
    sns.heatmap(shown, annot=True, fmt=".2f", annot_kws={"fontsize": 7}, cmap="PuOr_r", vmin=-1.3 * most,
                vmax=1.3 * most, linewidths=0.5, cbar_kws={"label": "weight"}, ax=ax)
    ax.grid(False)
    for line in (4, 8):
        ax.axvline(line, color="black", linewidth=1)
        ax.axhline(line, color="black", linewidth=1)
    ax.tick_params(axis="y", rotation=0)
    ax.set(xlabel="logits of exit j", ylabel="sum at exit k", title=title)
    return fig


def confidence(weights: np.ndarray, combined: np.ndarray, heat: np.ndarray, labels: np.ndarray) -> Figure:
    """Left the size ``‖w‖₁`` of each exit's weights ``(12, 12)``; right the mean confidence of the sums
    ``(N, 12, K)``, as they are and divided by the temperatures ``heat (12,)``, beside their accuracy."""
    fig, (left, right) = plt.subplots(1, 2, figsize=(9.2, 3.1), width_ratios=(1, 1.4))
    left.bar(EXITS, np.abs(weights).sum(1), color="0.6", edgecolor="black", linewidth=0.5)
    left.axvline(4.5, color="black", linestyle=":", linewidth=1)
    left.set(ylabel="‖w‖₁", title="Size of the weights; dotted: L1 begins")
    right.plot(EXITS, 100 * (combined.argmax(2) == labels[:, None]).mean(0), "k-o", markersize=4, label="accuracy")
    for name, z, how in (("confidence", combined, "C1--s"), ("confidence, calibrated", combined / heat[:, None],
                                                             "C0:^")):
        right.plot(EXITS, 100 * max_probability(z).mean(0), how, markersize=4, label=name)
    right.set(ylabel="%", ylim=(0, 102), title="Confidence and accuracy of the sum at each exit")
    right.legend(fontsize=8)
    for ax in (left, right):
        ax.tick_params(axis="x", labelsize=7)
    return fig


def cost_curves(curves: dict[str, np.ndarray], titles: dict[str, str], title: str = "") -> Figure:
    """Accuracy against each cost, mean over seeds, clips and halves, of ``studies.wise.load_curves``: a point a
    threshold for each method of ``titles``, a point a number of segments for ``segments``."""
    fig, axes = plt.subplots(1, 3, figsize=(9.6, 3.2), sharey=True)
    for ax, (cost, (label, unit)) in zip(axes, _COSTS.items(), strict=True):
        for line, (method, name) in enumerate(titles.items()):
            accuracy = 100 * curves[f"right/{method}"].mean((0, 2, 3))
            spent = curves[f"cost/{cost}_segments"] if method == "segments" else \
                curves[f"cost/{cost}"][curves[f"stops/{method}"]].mean((0, 2, 3))
            ax.plot(spent / unit, accuracy, color=f"C{line}", marker="os^"[line % 3], markersize=4,
                    linestyle=("-", "--", ":")[line % 3], label=name)
            if method == "segments":
                for n, (x, y) in enumerate(zip(spent / unit, accuracy, strict=True), 1):
                    ax.annotate(str(n), (x, y), xytext=(3, -11), textcoords="offset points", fontsize=8)
        ax.set_xlabel(label)
        ax.set_xlim(left=0)
    axes[0].set_ylabel("test accuracy (%)")
    axes[0].legend(fontsize=7)
    fig.suptitle(title, fontsize=11, fontweight="bold")
    return fig


def exit_shares(stops: np.ndarray, thetas: Sequence[float] = THETAS, title: str = "") -> Figure:
    """Percentage of clips by the exit ``stops (Θ, …)`` where they stop, a row a threshold."""
    shares = np.stack([100 * np.bincount(row.ravel(), minlength=12) / row.size for row in stops])
    fig, ax = plt.subplots(figsize=(7.4, 0.24 * len(shares) + 1.1))
    words = np.array([[f"{v:.0f}" if v >= 0.5 else "" for v in row] for row in shares])
    sns.heatmap(pd.DataFrame(shares, [f"{theta:g}" for theta in thetas], EXITS), annot=words, fmt="", vmin=0, vmax=100,
                cmap="cividis", annot_kws={"fontsize": 7}, cbar_kws={"label": "% of clips"}, ax=ax)
    ax.tick_params(axis="y", rotation=0, labelsize=8)
    ax.set(ylabel="threshold", title=title)
    return fig


def along_curve(combined: np.ndarray, labels: np.ndarray, costs: np.ndarray, theta: float) -> Figure:
    """``theta`` on the curve of accuracy over MACs of calibrated sums ``(N, 12, K)``, and where clips then stop."""
    points, here = (curve(combined, labels, costs / 1e6, some) for some in (THETAS, [theta]))
    fig, (left, right) = plt.subplots(1, 2, figsize=(9, 3))
    left.plot(points.cost, points.accuracy, "C0-", marker=".", label="every threshold")
    left.plot(here.cost, here.accuracy, "*", color="black", markersize=13, label=f"threshold {theta:g}")
    left.set(xlabel="million MACs a clip", ylabel="accuracy (%)", xlim=(0, 1.05 * costs[-1] / 1e6),
             title=f"{here.accuracy[0]:.1f} % at {100 * here.cost[0] * 1e6 / costs[-1]:.0f} % of the MACs")
    left.legend(fontsize=8, loc="lower right")
    stops = stop_at(combined, theta)
    hit = combined[np.arange(len(labels)), stops].argmax(1) == labels
    every, good = (100 * np.bincount(stops[some], minlength=12) / len(labels) for some in (slice(None), hit))
    right.bar(EXITS, every, color="white", edgecolor="black", hatch="///", linewidth=0.8, label="wrong")
    right.bar(EXITS, good, color="C0", edgecolor="black", linewidth=0.8, label="right")
    right.set(ylabel="% of clips", title="Where they stop")
    right.tick_params(axis="x", labelsize=7)
    right.legend(fontsize=8)
    return fig
