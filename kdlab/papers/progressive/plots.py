"""Pictures of notebook 07: twelve exits by method, and the weights that combine them.

Exits are called R1 to R4, M1 to M4 and I1 to I4, in the order of ``nets.exits.ORDER``; the fourth of each network is
its own final classifier, the same under every method. Each function returns a Figure. What stopping early saves stands
in ``cost_plots``.
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from kdlab.measure.paired import Effect
from kdlab.papers.progressive.nets import EXITS, FINALS, ORDER, TRAINED
from kdlab.papers.progressive.recipes import HEADLINE, TITLES
from kdlab.papers.progressive.study import exit_effect, places
from kdlab.papers.progressive.tables import titled
from kdlab.papers.progressive.wise import max_probability
from kdlab.show.plots import INTERVALS, PAGE, drawn, forest, key, levels, note, numbers
from kdlab.show.said import minus
from kdlab.study import Scores


def exit_table(scores: Scores, title: str = "") -> Figure:
    """Test accuracy of all twelve exits under CE on labels, and the whole points that every other method adds.

    Finals are not trained by any of them, so they stand in the first row only. The last column is the mean of nine.
    Of the study's conditions those in ``recipes.TITLES``, and all orders of three teachers.
    """
    percent = {name: scores.accuracy(name).mean(0) for name in scores.predicted}
    names = {name: titled(name) for name in percent if name != "ce_ic" and titled(name) != name}
    with_mean = lambda row: np.append(row, row[TRAINED].mean())  # noqa: E731
    gain = np.stack([with_mean(percent[name] - percent["ce_ic"]) for name in names])
    gain[:, FINALS] = np.nan
    words = np.array([[minus(text) for text in (*(f"{v:+.0f}" if abs(v) > 0.5 else "" for v in row[:12]),
                                                f"{row[12]:+.1f}")] for row in gain])
    fig, (top, bottom) = plt.subplots(2, 1, figsize=(7.8, 0.25 * len(names) + 1.8), height_ratios=(1, len(names)))
    columns, first = [*EXITS, "mean\nof 9"], with_mean(percent["ce_ic"])[None]
    baseline = pd.DataFrame(first, [f"{TITLES['ce_ic']} (%)"], columns)
    numbers(top, baseline, first.round(1), cmap="cividis", vmin=0, vmax=100)
    numbers(bottom, pd.DataFrame(gain, names.values(), columns), words)
    for ax in (top, bottom):
        ax.tick_params(labelsize="small")
        ax.tick_params(axis="x", length=0, labelbottom=False, labeltop=ax is top)
        ax.vlines([4, 8, 12], *ax.get_ylim(), "black", linewidth=1.2)
    counted = f"{len(scores.seeds)} seeds, {len(scores.labels)} test clips"
    bottom.set_xlabel(f"points above {TITLES['ce_ic']}, empty: less than a half; {counted}", fontsize="medium")
    fig.suptitle(title)
    return fig


def regimes(sets: dict[str, Scores]) -> Figure:
    """Sets side by side. Above: accuracy of the exits under the headline's conditions, finals as stars. Below: PKD
    minus each of the others, mean over a network's three trained exits and over all nine, with 95 % bars."""
    size = min(2.6 * len(sets) + 2.2, PAGE), 4.4
    fig, axes = plt.subplots(2, len(sets), figsize=size, sharey="row", squeeze=False, height_ratios=(1.4, 1))
    where = {m: places([m]) for m in ORDER} | {"all nine": TRAINED}
    for (top, bottom), (name, scores) in zip(axes.T, sets.items(), strict=True):
        bottom.axhspan(-2, 2, color="grey", alpha=0.15, linewidth=0)
        bottom.axhline(0, color="black", linewidth=0.8)
        for line, condition in enumerate(HEADLINE):
            right = 100 * scores.correct(condition).mean((0, 1))
            x, y = (np.insert(v, (4, 8), np.nan) for v in (np.arange(12.0), right))  # a line for each network
            top.plot(x, y, label=TITLES[condition], **drawn(line))
            for place, some in enumerate(where.values()) if condition != "pkd" else ():
                e, x = exit_effect(scores, "pkd", condition, some), place + 0.12 * (line - 1)
                bottom.plot([x, x], [e.low, e.high], color=f"C{line}", linewidth=2.5)
                label = None if place else f"− {TITLES[condition]}"
                bottom.plot(x, e.mean, "o^^"[line], color="black", markersize=4, label=label)
        for place in FINALS:
            top.plot(place, right[place], "*", color="black", markersize=9)
            note(top, f"{right[place]:.0f}", (place, right[place]))
        seen = [100 * scores.correct(condition).mean((0, 1)) for condition in HEADLINE]
        levels(top, {"chance": 100 / len(scores.classes)}, np.concatenate(seen), axis="y")
        top.set_title(name)
        top.margins(y=0.14)
        top.set_xticks(range(12), EXITS, fontsize="small", rotation=90)
        bottom.set_xticks(range(4), where, fontsize="small")
    axes[0, 0].set_ylabel("test accuracy (%)")
    axes[1, 0].set_ylabel("PKD minus … (points)", fontsize="small")
    key(fig)
    return fig


def forests(found: dict[str, dict[str, Effect]], title: str = "") -> Figure:
    """``plots.effects`` of several sets side by side: set → comparison → effect, each set with its own scale. Raises
    ``ValueError`` for sets of which not the same is compared: their rows would have each other's names."""
    compared = {name: [*effects] for name, effects in found.items()}
    first, rows = next(iter(compared.items()))
    for name, its in compared.items():
        if its != rows:
            raise ValueError(f"{first} compares {', '.join(rows)}, but {name} compares {', '.join(its)}: give each set "
                             "the same comparisons in one order, or a figure of its own")
    fig, axes = plt.subplots(1, len(found), figsize=(PAGE, 0.33 * len(rows) + 1), sharey=True, squeeze=False)
    for ax, (name, effects) in zip(axes[0], found.items(), strict=True):
        forest(ax, effects, above=True, title=name)
        ax.tick_params(labelsize="small")
    fig.supxlabel(f"difference in test accuracy (points); {INTERVALS}", fontsize="small")
    fig.suptitle(title)
    return fig


def weights_map(weights: np.ndarray, title: str = "") -> Figure:
    """WISE's weights ``(12, 12)``: row k says how the exits so far are added at exit k."""
    fig, ax = plt.subplots(figsize=(5.6, 3.8))
    shown = pd.DataFrame(np.where(np.tri(12, dtype=bool), weights, np.nan), EXITS, EXITS)
    numbers(ax, shown, np.array([[f"{w:.2f}" if w else "0" for w in row] for row in weights]))
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
    calm = combined / heat[:, None]
    right.plot(EXITS, 100 * (combined.argmax(2) == labels[:, None]).mean(0), "k-o", markersize=4, label="accuracy")
    right.plot(EXITS, 100 * max_probability(combined).mean(0), "C1--s", markersize=4, label="confidence")
    right.plot(EXITS, 100 * max_probability(calm).mean(0), "C0:^", markersize=4, label="confidence, calibrated")
    right.set(ylabel="%", title="The sum at each exit")
    key(fig)
    plt.setp([*left.get_xticklabels(), *right.get_xticklabels()], fontsize="small")
    return fig
