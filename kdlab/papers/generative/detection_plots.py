"""Pictures of notebook 05: true and found segments on a time line, mAP over tIoU, and what false positives are."""

from collections.abc import Sequence
from functools import partial

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from kdlab.measure.detection import KINDS, Evaluation
from kdlab.papers.generative.detection_study import METRICS, Detections
from kdlab.show.plots import PALETTE, beside, drawn, image, key
from kdlab.show.plots import rows as in_rows
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
        frame = frames[min(int(t / seconds * len(frames)), len(frames) - 1)]
        image(fig.add_subplot(grid[0, column]), frame, f"{t:.1f} s", weight="normal")
    ax = fig.add_subplot(grid[1, :])
    colours = [to_rgb(PALETTE[k % len(PALETTE)]) for k in range(len(classes))]

    def looks(label: int, strength: float) -> dict:
        shades = dict(facecolor=(*colours[label], 0.75 * strength), edgecolor=(0, 0, 0, strength))
        return shades | {"hatch": HATCHES[label % len(HATCHES)]}

    for line, its in enumerate(rows.values()):
        its = its.sort_values("start")
        lanes = _lanes(its[["start", "end"]].to_numpy(float))
        high = 0.72 / (max(lanes, default=0) + 1)
        for lane, (label, start, end, score) in zip(lanes, its[["label", "start", "end", "score"]].itertuples(
                index=False), strict=True):
            how = looks(label, 0.25 + 0.75 * min(1.0, score / max(its["score"].max(), 1e-9)))
            ax.barh(line - 0.36 + high * (lane + 0.5), end - start, left=start, height=high, linewidth=0.8, **how)
    if at is not None:
        ax.axvline(at, color="black", linewidth=1.4)
    in_rows(ax, rows, xlim=(0, seconds), xlabel="time (s)")
    ax.grid(axis="y", visible=False)
    there = sorted(set(truth["label"]) | {k for its in rows.values() for k in its["label"]})
    keys = [Patch(label=classes[k], **looks(k, 1)) for k in there]
    fig.legend(handles=keys, loc="outside lower center", ncols=len(keys), fontsize="small", frameon=False)
    return fig


def _lanes(spans: np.ndarray) -> list[int]:
    """The first lane in which each of ``spans (N, 2)``, by their starts, lies over no other."""
    ends: list[float] = []
    found = []
    for start, end in spans:
        lane = next((k for k, busy in enumerate(ends) if busy <= start), len(ends))
        ends[lane:lane + 1] = [end]
        found.append(lane)
    return found


def timeline_widget(truth: pd.DataFrame, found: dict[str, pd.DataFrame], classes: Sequence[str], frames: np.ndarray,
                    seconds: float):
    """Scrub the video: the frame at a moment, and where on the :func:`timeline` it lies."""

    moment = seconds / 2, 0, seconds, 0.1, "moment (s)"
    surest = len(truth), 1, 4 * len(truth), 1, "surest segments shown"
    draw = partial(timeline, truth, found, classes, frames, seconds)
    return explore(lambda at, most: draw(at, most), at=moment, most=surest)


def map_over_tiou(scores: Detections, titles: dict[str, str], title: str = "") -> Figure:
    """mAP on test videos over the tIoU that counts as right: mean over seeds, bars from the lowest to the highest."""
    tious = [name for name in METRICS if "-" not in name and ":" not in name]
    fig, ax = plt.subplots(figsize=(7.2, 3.6))
    shown = [c for c in titles if c in scores.found]
    for line, condition in enumerate(shown):
        values = np.stack([scores.mean_ap(condition, name) for name in tious])  # (thresholds, S)
        mean = values.mean(1)
        x = np.array([float(name) for name in tious]) + 0.008 * (line - (len(shown) - 1) / 2)
        how = drawn(line, markersize=5, capsize=2, linewidth=1.3, label=titles[condition])
        ax.errorbar(x, mean, [mean - values.min(1), values.max(1) - mean], **how)
    seeds = len(scores.seeds)
    what = f"; {seeds} seeds, bars their range" if seeds > 1 else "; one seed"
    ax.set(ylabel="mAP (%)", title=title)
    ax.set_xlabel(f"tIoU that counts as right{what}")
    key(fig)
    return fig


def map_table(scores: Detections, titles: dict[str, str]) -> pd.DataFrame:
    """Rows: conditions; columns: mean mAP in percent at each threshold, and the published averages."""
    rows = [[titles[c], *(scores.mean_ap(c, name).mean() for name in METRICS)] for c in titles if c in scores.found]
    averages = {name: f"mean {name}" for name in METRICS if "-" in name or ":" in name}
    return pd.DataFrame(rows, columns=["", *(averages.get(name, name) for name in METRICS)])


def kind_counts(each: Sequence[Evaluation], threshold: float = 0.5) -> dict[str, float]:
    """Of as many of the surest predictions as there are true segments, how many are of each of ``KINDS``, in percent;
    mean over seeds."""
    surest = [pd.Series(its.kinds(threshold)[: len(its.truth)]).value_counts() / len(its.truth) for its in each]
    return {kind: 100 * float(np.mean([shares.get(kind, 0) for shares in surest])) for kind in KINDS}


def false_positives(scores: Detections, titles: dict[str, str], threshold: float = 0.5) -> Figure:
    """The wrong ones of :func:`kind_counts` of every condition as one bar each; how many are right stands beside it."""
    shown = [c for c in titles if c in scores.found]
    fig, ax = plt.subplots(figsize=(6.8, 0.34 * len(shown) + 1.3))
    left = np.zeros(len(shown))
    counts = [kind_counts(scores.found[c], threshold) for c in shown]
    wrong = {kind: word for kind, word in _WORDS.items() if kind != "true"}
    styles = zip(wrong.items(), ("C0", "C1", "C2", "C3"), ("..", "///", "xx", "\\\\"), strict=True)
    for (kind, word), colour, hatch in styles:
        values = np.array([each[kind] for each in counts])
        how = dict(color=colour, hatch=hatch, edgecolor="black", linewidth=0.6, height=0.7, label=word)
        bars = ax.barh(range(len(shown)), values, left=left, **how)
        words, white = [f"{value:.1f}" if value >= 1 else "" for value in values], dict(color="white", pad=1)
        for text in ax.bar_label(bars, words, label_type="center", fontsize="small"):
            text.set_bbox(white if text.get_text() else None)
        left += values
    in_rows(ax, [titles[c] for c in shown])
    for y, each in enumerate(counts):
        beside(ax, y, f"right: {each['true']:.0f} %")
    ax.set_xlabel(f"% of the surest predictions, as many as there are actions; tIoU {threshold:g}")
    ax.grid(axis="y", visible=False)
    fig.legend(*ax.get_legend_handles_labels(), loc="outside upper center", ncols=4, fontsize="small", columnspacing=1)
    return fig
