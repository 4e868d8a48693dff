"""Pictures of notebook 08: the loss around networks and between them, spectra, and what the study's rows say.

Modalities keep one colour, one mark and one kind of line everywhere. Each function returns a Figure; a ``..._widget``
is a slider over it.
"""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from kdlab.measure.lanczos import Krylov, density
from kdlab.measure.surface import Path
from kdlab.papers.progressive.nets import CLAIMED
from kdlab.show.plots import PAGE, drawn, interval, key, rows
from kdlab.show.widgets import explore
from kdlab.studies.flatness_rows import MEASURES
from kdlab.studies.walks import Walk

#: Modality → colour, mark and line, greys well apart.
LOOKS = {modality: drawn(k) for k, modality in enumerate(CLAIMED)}
#: At how many nats reliefs are cut off.
CEILING = 6.0
#: Networks of other notebooks, beside them.
BESIDE = {"dual_light": ("C3", "D", "notebook 03"), "generative": ("C4", "v", "notebook 04")}


def surfaces(at: np.ndarray, beside: np.ndarray, losses: dict[str, np.ndarray]) -> Figure:
    """The loss in two filter-normalised directions from networks, as reliefs side by side: name → losses ``(A, B)``, on
    one scale. Its alternative text tells each loss in the middle and the mean along the edge."""
    fig, axes = plt.subplots(1, len(losses), figsize=(2.7 * len(losses), 2.5), subplot_kw={"projection": "3d"})
    for ax, (name, values) in zip(np.atleast_1d(axes), losses.items(), strict=True):
        how = dict(cmap="cividis", vmin=0, vmax=CEILING, edgecolor="black", linewidth=0.15, rstride=1, cstride=1)
        ax.plot_surface(*np.meshgrid(at, beside), np.minimum(values, CEILING).T, **how)
        ax.set(zlim=(0, CEILING))
        ax.view_init(35, -60)
        ax.set_title(name)
        ax.tick_params(labelsize="small", pad=-2)
    fig.supylabel(f"loss (nats), cut off at {CEILING:g}", fontsize="small")
    told = [f"{name} {values[len(at) // 2, len(beside) // 2]:.2f} in the middle, {_edge(values):.2f} along the edge"
            for name, values in losses.items()]
    fig.set_label(f"Reliefs: loss (nats) in two directions, cut off at {CEILING:g}; {'; '.join(told)}")
    return fig


def _edge(values: np.ndarray) -> float:
    return float(np.concatenate([values[0], values[-1], values[1:-1, 0], values[1:-1, -1]]).mean())


def walk_picture(walks: dict[str, dict[str, Walk]], direction: str, step: float = 0.0) -> Figure:
    """Loss and accuracy of each network along one ``direction`` (network → direction → :class:`Walk`), with a mark
    where ``step`` leads; losses above :data:`CEILING` are not shown. Raises ``KeyError`` for an unknown direction."""
    fig, (left, right) = plt.subplots(1, 2, figsize=(PAGE, 3.2))
    said = []
    for network, along in walks.items():
        at, losses, accuracies = along[direction]
        for ax, values in ((left, losses), (right, accuracies)):
            ax.plot(at, values, label=network, **LOOKS[network] | {"marker": ""})
            ax.plot(step, np.interp(step, at, values), **LOOKS[network] | {"markersize": 8})
        loss = np.interp(step, at, losses)
        said.append(f"{network} {loss:.2f}" if loss <= CEILING else f"{network} above {CEILING:g}")
    for ax, what in ((left, f"loss (nats), cut off at {CEILING:g}"), (right, "accuracy on these clips (%)")):
        ax.axvline(step, color="black", linewidth=0.8, linestyle=":")
        ax.set(xlabel=f"step in the direction {direction!r}", ylabel=what)
    left.set_ylim(0, CEILING)
    right.set_ylim(0, 103)
    fig.suptitle(f"loss at step {step:+.2f}: {', '.join(said)} nats")
    key(fig)
    return fig


def walk_widget(walks: dict[str, dict[str, Walk]]):
    """Drag the step, and choose the direction, over :func:`walk_picture`."""
    first = next(iter(walks.values()))
    at = next(iter(first.values())).at
    return explore(lambda direction, step: walk_picture(walks, direction, step), direction=list(first),
                   step=(0.0, float(at[0]), float(at[-1]), 0.01))


def path_picture(paths: dict[str, Path], here: float = 0.5) -> Figure:
    """Loss and accuracy on lines between two networks, with a mark at the place ``here`` in [0, 1] on each."""
    fig, (left, right) = plt.subplots(1, 2, figsize=(7.8, 2.7))
    words = []
    for k, (name, line) in enumerate(paths.items()):
        loss, accuracy = (float(np.interp(here, line.at, v)) for v in (line.losses, line.accuracies))
        for ax, values, at in ((left, line.losses, loss), (right, 100 * line.accuracies, 100 * accuracy)):
            ax.plot(line.at, values, label=f"{name}: barrier {line.barrier:.2f}", **drawn(k, marker=""))
            ax.plot(here, at, **drawn(k, markersize=7))
        words.append(f"{loss:.2f} nats, {100 * accuracy:.0f} %")
    for ax, what in ((left, "loss (nats)"), (right, "accuracy (%)")):
        ax.axvline(here, color="black", linewidth=0.8, linestyle=":")
        ax.set(xlabel="from the first network (0) to the second (1)", ylabel=what)
    right.set_ylim(0, 103)
    right.set_title(f"at {here:.2f}: " + " / ".join(words), fontsize="small")
    left.set_ylim(bottom=0)
    key(fig)
    return fig


def path_widget(paths: dict[str, Path]):
    """Slide along :func:`path_picture`."""

    return explore(lambda here: path_picture(paths, here), here=(0.5, 0, 1, 0.02, "place on the line"))


def bands(curves: dict[str, tuple[np.ndarray, np.ndarray]], title: str = "") -> Figure:
    """Filter-normalised curves: modality → places ``(A,)`` and the rise of the loss ``(D, A)`` in D directions; the
    line is their mean, the band their range."""
    fig, ax = plt.subplots(figsize=(6, 3))
    for modality, (at, rises) in curves.items():
        ax.plot(at, rises.mean(0), label=modality, **LOOKS[modality])
        ax.fill_between(at, rises.min(0), rises.max(0), color=LOOKS[modality]["color"], alpha=0.15, linewidth=0)
    ax.axhline(0, color="black", linewidth=0.8)
    for rise in (0.1, 1):
        ax.axhline(rise, color="grey", linewidth=0.8, linestyle=":", label="a rise of 0.1 and of 1")
    ax.set(xlabel="step, in lengths of each filter", ylabel="rise of the loss (nats,\nlinear near 0)")
    ax.set(yscale="symlog", ylim=(-0.1, 20))
    ax.set_title(title)
    key(fig)
    return fig


def densities(runs: dict[str, Sequence[Krylov]], title: str = "") -> Figure:
    """Spectral densities from Lanczos runs, modality → runs, a panel each on one axis, with the nodes as ticks."""
    nodes = {m: np.concatenate([run.ritz()[0] for run in found]) for m, found in runs.items()}
    low, high = min(map(np.min, nodes.values())), max(map(np.max, nodes.values()))
    width = 0.01 * (high - low)
    at = np.linspace(low - 5 * width, high + 5 * width, 900)
    size = 7, 1.15 * len(runs) + 0.7
    fig, axes = plt.subplots(len(runs), 1, figsize=size, sharex=True, sharey=True, squeeze=False)
    for ax, (modality, found) in zip(axes[:, 0], runs.items(), strict=True):
        height = np.maximum(density(found, at, width), 1e-9)
        ax.fill_between(at, height, 1e-9, color=LOOKS[modality]["color"], alpha=0.35)
        ax.plot(nodes[modality], np.full(nodes[modality].shape, 2e-8), "|", color="black", markersize=7)
        ax.set(yscale="log", ylim=(1e-8, None))
        ax.set_ylabel(modality, fontsize="small")
        ax.tick_params(labelsize="small")
    axes[-1, 0].set_xlabel("eigenvalue of the Hessian; ticks: what Lanczos found")
    fig.suptitle(title)
    return fig


def faked(ratios: pd.DataFrame, title: str = "One function, other weights") -> Figure:
    """Measures of rescaled networks over those of the network itself: rows are the factors, columns the measures."""
    fig, ax = plt.subplots(figsize=(6.4, 3))
    for k, measure in enumerate(ratios):
        ax.plot(ratios.index, ratios[measure], label=measure, **drawn(k, markersize=5))
    ax.axhline(1, color="black", linewidth=0.8)
    ax.set(xscale="log", yscale="log", ylabel="measure, over that\nof the same network", title=title)
    ax.set_xlabel("the weights before a batch norm, times …")
    key(fig)
    return fig


def orders(tables: dict[str, pd.DataFrame], title: str = "") -> Figure:
    """A row for each set's ``flatness_rows.hierarchy``, a column a measure: the three networks at each training loss,
    geometric means and 95 % intervals over seeds. Below each group its word."""
    size = 9, 2.2 * len(tables) + 0.5
    fig, grid = plt.subplots(len(tables), len(MEASURES), figsize=size, squeeze=False, sharex="col")
    for axes, (name, table) in zip(grid, tables.items(), strict=True):
        for ax, measure in zip(axes, MEASURES, strict=True):
            selected = table[table.measure == measure].reset_index(drop=True)
            for place, line in selected.iterrows():
                for k, modality in enumerate(CLAIMED):
                    if not isinstance(line[modality], tuple):
                        continue
                    (mean, low, high), y = line[modality], place + 0.22 * (k - 1)
                    if np.isfinite(high):  # one seed has no interval
                        ax.plot([low, high], [y, y], color=f"C{k}", linewidth=2)
                    ax.plot(mean, y, label=modality if place == 0 else None, **drawn(k, markersize=6, linestyle=""))
                where = dict(ha="right", va="center", transform=ax.get_yaxis_transform())
                ax.text(0.98, place + 0.42, line.word.split(":")[0], fontsize="small", color="0.3", **where)
            ax.set_xscale("log")
            rows(ax, [f"{m:g} nats" if ax is axes[0] else "" for m in selected["mark"]])
            ax.set_ylim(bottom=len(selected) - 0.3)
            ax.tick_params(labelsize="small")
            ax.grid(False, axis="y")
            _factors(ax)
        axes[0].set_ylabel(name, fontsize="medium")
    for ax, label in zip(grid[0], MEASURES.values(), strict=True):
        ax.set_title(label, fontsize="medium")
    key(fig)
    fig.suptitle(title)
    return fig


def _factors(ax: plt.Axes) -> None:
    """A few labelled ticks on a short logarithmic axis: two at least, so that a factor can be read."""
    ax.xaxis.set_minor_formatter(NullFormatter())  # those of a short axis would overlap
    low, high = ax.get_xlim()
    ax.xaxis.set_major_locator(LogLocator(subs=(1,) if high > 100 * low else (1, 3), numticks=4))
    ax.xaxis.set_major_formatter(lambda v, _: f"{v:g}" if v > 0.1 else f"{v:.0e}".replace("-0", "-"))


def scatter(networks: pd.DataFrame, gap: str = "gap") -> Figure:
    """Every measured network: its generalisation gap over each measure and over its training loss."""
    columns = {**MEASURES, "train_loss": "training loss (nats)"}
    fig, axes = plt.subplots(1, len(columns), figsize=(PAGE, 2.7), sharey=True)
    for ax, (column, label) in zip(axes, columns.items(), strict=True):
        trios = ~networks.net.isin(BESIDE)
        for (modality, data), points in networks[trios].groupby(["modality", "data"]):
            how = LOOKS[modality] | dict(markersize=5, linestyle="", label=f"{modality}, places tell")
            if data != "night_context":
                how |= dict(markerfacecolor="white", label=f"{modality}, tell nothing")
            ax.plot(points[column], points[gap], **how)
        for net, points in networks[~trios].groupby("net"):
            colour, mark, title = BESIDE[net]
            ax.plot(points[column], points[gap], mark, color=colour, markersize=4, label=title)
        ax.set_xlabel(label)
        if column != "train_loss":
            ax.set_xscale("log")
            _factors(ax)
        ax.xaxis.label.set_size("small")
        ax.tick_params(labelsize="small")
    axes[0].set_ylabel("accuracy gap (points)" if gap == "gap" else "loss gap (nats)", fontsize="small")
    key(fig)
    return fig


def forests(tables: Mapping[str, pd.DataFrame]) -> Figure:
    """``flatness_rows.correlations`` by title, a panel each: every predictor's rank correlation with the gap and its
    interval (discs), at fixed training loss (crosses), and among networks that differ by their seed alone (triangles).
    All are signed but the training loss's disc, which is the size alone: P2 asks whether a measure lies above it."""
    columns = min(2, len(tables))
    fig, axes = plt.subplots(-(-len(tables) // columns), columns, sharex=True, sharey=True, squeeze=False,
                             figsize=(PAGE if columns > 1 else 6.6, 0.5 + 2 * -(-len(tables) // columns)))
    for ax in axes.flat[len(tables):]:
        ax.remove()
    for ax, (title, table) in zip(axes.flat, tables.items(), strict=False):
        loss = table[table.predictor == "train_loss"].iloc[0]
        ax.axvspan(loss.low, loss.high, color="grey", alpha=0.15, linewidth=0, label="the training loss's bar")
        ax.axvline(0, color="black", linewidth=0.8)
        for y, line in enumerate(table.itertuples()):
            interval(ax, y, line.rho, line.low, line.high, "o", "over all networks" if y == 0 else None)
        ys = np.arange(len(table))
        ax.plot(table.partial, ys - 0.22, "x", color="C1", markersize=6, label="at fixed training loss")
        ax.errorbar(table.within, ys + 0.22, xerr=table.within_half, fmt="^", color="C2", markersize=5, elinewidth=1,
                    label="only seeds differ")
        ax.set_title(title, fontsize="medium")
        ax.tick_params(labelsize="small")
    names = [MEASURES.get(p, "training loss (disc: |ρ|)") for p in table.predictor]
    rows(axes[0, 0], names, 0.6, xlim=(-1, 1), xticks=(-1, -0.5, 0, 0.5, 1))
    for ax in axes[-1]:  # not one for both: the key below would lie over it
        ax.set_xlabel("rank correlation with the gap; thick: 95 %\n"
                      "(right of 0: the sharper, the larger the gap)", fontsize="small")
    key(fig)
    return fig
