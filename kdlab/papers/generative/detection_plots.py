"""Pictures of notebook 05: true and found segments on a time line, mAP over tIoU, and what false positives are."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from kdlab.measure.detection import KINDS, Evaluation
from kdlab.papers.generative.detection_study import METRICS, Detections
from kdlab.show.widgets import explore

#: Of a class: how its bars are hatched, so that they differ without colour.
HATCHES = ("", "///", "...", "\\\\\\", "xx", "oo", "++", "**", "--", "||", "O.")
#: What a prediction can be, from good to bad, for people.
_WORDS = {"true": "right", "double": "second one of an action", "localisation": "badly placed",
          "confusion": "wrong class", "background": "nothing there"}


def timeline(truth: pd.DataFrame, found: dict[str, pd.DataFrame], classes: Sequence[str], frames: np.ndarray,
             seconds: float, at: float | None = None, most: int | None = None) -> Figure:
    """One video: frames above, below bars for its true segments, and for what each of ``found`` says.

    truth, found: segments of this video alone (``label``, ``start``, ``end``, ``score``); of each ``found`` the
    ``most`` surest are drawn, by default as many as are true, the surer the darker; frames: ``uint8 (T, H, W, 3)`` over
    the whole ``seconds``; ``at``: draw the frame of that second alone, and a line there.
    """
    most = len(truth) if most is None else most
    rows = {"true": truth.assign(score=1.0)} | {name: its.nlargest(most, "score") for name, its in found.items()}
    shown = np.linspace(0, seconds, 9)[:-1] + seconds / 16 if at is None else np.array([at])
    fig = plt.figure(figsize=(9, 2.0 + 0.42 * len(rows)))
    grid = fig.add_gridspec(2, len(shown), height_ratios=(2.3 if at is not None else 1.1, 0.46 * len(rows) + 0.1))
    for column, t in enumerate(shown):
        ax = fig.add_subplot(grid[0, column])
        ax.imshow(frames[min(int(t / seconds * len(frames)), len(frames) - 1)])
        ax.set(xticks=[], yticks=[])
        ax.set_title(f"{t:.1f} s", fontsize=8, fontweight="normal", pad=2)
    ax = fig.add_subplot(grid[1, :])
    colours = sns.color_palette("colorblind", len(classes))
    for line, its in enumerate(rows.values()):
        for label, start, end, score in its[["label", "start", "end", "score"]].itertuples(index=False):
            strength = 0.25 + 0.75 * min(1.0, score / max(its["score"].max(), 1e-9))
            look = dict(color=(*colours[label], 0.75 * strength), edgecolor=(0, 0, 0, strength), linewidth=0.8)
            ax.barh(line, end - start, left=start, height=0.72, hatch=HATCHES[label % len(HATCHES)], **look)
    if at is not None:
        ax.axvline(at, color="black", linewidth=1.4)
    ax.set_yticks(range(len(rows)), list(rows))
    ax.set(ylim=(len(rows) - 0.5, -0.5), xlim=(0, seconds), xlabel="time (s)")
    ax.grid(axis="y", visible=False)
    there = sorted(set(truth["label"]) | {k for its in rows.values() for k in its["label"]})
    key = lambda k: Patch(fc=(*colours[k], 0.75), ec="black", hatch=HATCHES[k % len(HATCHES)], label=classes[k])  # noqa: E731
    fig.legend(handles=[*map(key, there)], loc="outside lower center", ncols=len(there), fontsize=8, frameon=False)
    return fig


def timeline_widget(truth: pd.DataFrame, found: dict[str, pd.DataFrame], classes: Sequence[str], frames: np.ndarray,
                    seconds: float):
    """Scrub the video: the frame at a moment, and where on the :func:`timeline` it lies."""
    return explore(lambda at, most: timeline(truth, found, classes, frames, seconds, at, most),
                   at=(seconds / 2, 0, seconds, 0.1, "moment (s)"),
                   most=(len(truth), 1, 4 * len(truth), 1, "surest segments shown"))


def map_over_tiou(scores: Detections, titles: dict[str, str], title: str = "") -> Figure:
    """mAP on test videos over the tIoU that counts as right: mean over seeds, bars from the lowest to the highest."""
    tious = [name for name in METRICS if "-" not in name and ":" not in name]
    fig, ax = plt.subplots(figsize=(5.8, 2.7))
    shown, lowest = [c for c in titles if c in scores.found], 100.0
    for line, condition in enumerate(shown):
        values = np.stack([scores.mean_ap(condition, name) for name in tious])  # (thresholds, S)
        mean, lowest = values.mean(1), min(lowest, values.min())
        x = np.array([float(name) for name in tious]) + 0.008 * (line - (len(shown) - 1) / 2)
        look = dict(color=f"C{line}", marker="osD^v"[line % 5], linestyle=("-", "--", ":", "-.")[line % 4])
        spread = mean - values.min(1), values.max(1) - mean
        ax.errorbar(x, mean, spread, **look, markersize=5, capsize=2, linewidth=1.3, label=titles[condition])
    seeds = len(scores.seeds)
    what = f"; {seeds} seeds, bars their range" if seeds > 1 else "; one seed"
    ax.set(xlabel=f"tIoU that counts as right{what}", ylabel="mAP (%)", ylim=(max(0, lowest - 20), None), title=title)
    ax.legend(fontsize=8)
    return fig


def map_table(scores: Detections, titles: dict[str, str]) -> pd.DataFrame:
    """Rows: conditions; columns: mean mAP in percent at each threshold, and the published averages."""
    rows = [[titles[c], *(scores.mean_ap(c, name).mean() for name in METRICS)] for c in titles if c in scores.found]
    averages = {name: f"mean {name}" for name in METRICS if "-" in name or ":" in name}
    return pd.DataFrame(rows, columns=["", *(averages.get(name, name) for name in METRICS)])


def kind_counts(each: Sequence[Evaluation], threshold: float = 0.5) -> dict[str, float]:
    """Of the surest predictions, as many as there are true segments, how many percent are of each of ``KINDS``."""
    shares = []
    for its in each:
        kinds = its.kinds(threshold)[: len(its.truth)]  # the surest first
        shares.append([100 * float((kinds == kind).sum()) / len(its.truth) for kind in KINDS])
    return {kind: value for kind, value in zip(KINDS, np.mean(shares, 0), strict=True) if kind != "ambiguous"}


def false_positives(scores: Detections, titles: dict[str, str], threshold: float = 0.5) -> Figure:
    """:func:`kind_counts` of every condition as one bar each."""
    shown = [c for c in titles if c in scores.found]
    fig, ax = plt.subplots(figsize=(6.8, 0.3 * len(shown) + 1.1))
    left = np.zeros(len(shown))
    counts = [kind_counts(scores.found[c], threshold) for c in shown]
    styles = zip(_WORDS.items(), ("0.85", "C0", "C1", "C2", "C3"), ("", "..", "///", "xx", "\\\\"), strict=True)
    for (kind, word), colour, hatch in styles:
        values = np.array([each[kind] for each in counts])
        look = dict(color=colour, hatch=hatch, edgecolor="black", linewidth=0.6)
        ax.barh(range(len(shown)), values, left=left, height=0.7, label=word, **look)
        for y, (start, value) in enumerate(zip(left, values, strict=True)):
            if value >= 5:
                box = {"facecolor": "white", "edgecolor": "none", "pad": 1}
                ax.text(start + value / 2, y, f"{value:.0f}", ha="center", va="center", fontsize=8, bbox=box)
        left += values
    ax.set_yticks(range(len(shown)), [titles[c] for c in shown])
    ax.set(ylim=(len(shown) - 0.5, -0.5))
    ax.set_xlabel(f"% of the surest predictions, as many as there are actions; tIoU {threshold:g}")
    ax.grid(axis="y", visible=False)
    fig.legend(*ax.get_legend_handles_labels(), loc="outside upper center", ncols=5, fontsize=7, columnspacing=1)
    return fig
