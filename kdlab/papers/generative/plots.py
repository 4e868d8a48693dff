"""Pictures of notebook 04: losses of both phases, λ over time. Each function returns a Figure; curves
differ in colour, line and mark, so that they can be told apart in grey."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from kdlab.measure.alignment import ENERGY, Trace
from kdlab.measure.paired import effect
from kdlab.papers.generative.recipes import TITLES
from kdlab.show.plots import beside, drawn, image, interval, key, rows
from kdlab.show.widgets import explore

PASSES = {"pass 1, of the CVAE": {"rebuilt": "MSE(F, F′)", "kl": "KL (nats)", "from_prior": "MSE(decoded from λ, F)",
                                  "taught": "MSE(F′, F′ by the teacher)"},
          "pass 2, of the network": {"ce": "class loss (nats)", "generated": "MSE(decoded from λ, F)",
                                     "attention": "MSE(λ, λ of the teacher)"}}


def signal_title(name: str) -> str:
    """How a signal of ``measure.alignment`` reads in figures."""
    who, _, twin = name.partition(":")
    return f"λ, {TITLES.get(who, who)}{', random weights' if twin else ''}" if name != ENERGY else ENERGY


def losses(histories: dict[str, pd.DataFrame]) -> Figure:
    """Every loss term against epochs, unweighted: a row for each training (name → history), a column for each pass."""
    fig, grid = plt.subplots(len(histories), 2, figsize=(9, 2.5 * len(histories)), squeeze=False, sharex="row")
    for axes, (name, history) in zip(grid, histories.items(), strict=True):
        every = list(dict.fromkeys(label for terms in PASSES.values() for label in terms.values()))  # of both columns
        for ax, (title, terms) in zip(axes, PASSES.items(), strict=True):
            for term, label in terms.items():
                if term in history:
                    seen = history.dropna(subset=[term])
                    ax.plot(seen.epoch, seen[term], label=label, **drawn(every.index(label), marker=""))
            ax.set(yscale="log", xlabel="epoch", title=f"{name}: {title}")
            ax.yaxis.set_major_locator(LogLocator(subs=(1, 3)))  # one label alone gives no factor
            ax.yaxis.set_major_formatter("{x:g}")
            ax.yaxis.set_minor_formatter(NullFormatter())
    key(fig)
    return fig


def _lines(ax: plt.Axes, trace: Trace, classes: Sequence[str], names: Sequence[str], offset: float = 3.0) -> None:
    """Each signal standardised over the video, above one another; labelled intervals shaded."""
    for start, end, label in trace.segments:
        ax.axvspan(start, end, color="grey", alpha=0.25, linewidth=0)
        how = dict(transform=ax.get_xaxis_transform(), ha="center", fontsize="small")
        ax.text((start + end) / 2, 1.03, classes[label], **how)
    for line, name in enumerate(names):
        values = trace.signals[name]
        height = (values - values.mean()) / max(values.std(), 1e-9) - offset * line
        ax.plot(trace.seconds, height, linewidth=1.3, **drawn(line, marker=""))
    ax.set_yticks(-offset * np.arange(len(names)), [signal_title(name) for name in names])
    ax.set(xlim=(0, float(trace.seconds[-1]) + 1), xlabel="time (s)")
    ax.tick_params(axis="y", labelsize="small")
    ax.grid(False, axis="y")


def moment(frames: np.ndarray, trace: Trace, classes: Sequence[str], second: float, names: Sequence[str],
           fps: float) -> Figure:
    """The frame of an untrimmed video at ``second`` (``frames uint8 (T, H, W, 3)`` at ``fps``) beside λ over time, with
    a line where it stands. Raises ``ValueError`` for a moment that is not in the video."""
    if not 0 <= second < len(frames) / fps:
        raise ValueError(f"second {second:g} lies outside the video of {len(frames) / fps:.1f} s")
    fig, (left, right) = plt.subplots(1, 2, figsize=(9, 0.42 * len(names) + 1.1), width_ratios=(1, 3))
    happens = [classes[label] for start, end, label in trace.segments if start <= second < end]
    image(left, frames[int(second * fps)], f"{second:.1f} s: {', '.join(happens) or 'nothing labelled'}", "medium")
    _lines(right, trace, classes, names)
    right.axvline(second, color="black", linewidth=1)
    return fig


def alignments(table: dict[str, np.ndarray], title: str = "") -> Figure:
    """Area under the ROC curve of each signal of ``alignment.aligned``: its mean over videos for each seed
    (dots), and of all with the 95 % interval over seeds and places (bar); 50 is a λ that does not look."""
    names = [name for name in table if name != "units"]
    names.sort(key=lambda name: (name == ENERGY, ":" in name))
    fig, ax = plt.subplots(figsize=(7, 0.3 * len(names) + 1.1))
    for y, name in enumerate(names):
        e = effect(table[name], 0 * table[name], table["units"])
        each = 100 * table[name].mean(1)
        ax.plot(each, np.full(len(each), y - 0.22), "o", color="C0", markersize=4, alpha=0.6)
        interval(ax, y, e.mean, e.low, e.high)
        beside(ax, y, str(round(e.mean, 1)))
    ax.axvline(50, color="black", linewidth=0.8, linestyle=":")
    rows(ax, map(signal_title, names), title=title)
    ax.set_xlabel(f"area under the ROC curve (%), {table[ENERGY].shape[1]} videos; dotted: chance")
    return fig


def moment_widget(frames: np.ndarray, trace: Trace, classes: Sequence[str], names: Sequence[str], fps: float):
    """Scrub ``frames uint8 (T, H, W, 3)`` of the video of ``trace`` beside λ over time: :func:`moment`."""
    return explore(lambda second: moment(frames, trace, classes, second, names, fps),
                   second=(0, 0, (len(frames) - 1) / fps, 0.2))
