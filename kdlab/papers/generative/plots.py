"""Pictures of notebooks 04 and 05: λ of a clip, and true and found segments on a time line."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from kdlab.show.plots import PALETTE, image
from kdlab.show.plots import rows as in_rows


def attention(frames: np.ndarray, each: dict[str, np.ndarray]) -> Figure:
    """Three of a clip's ``frames uint8 (T, H, W, 3)`` beside the attention λ ``(C, T')`` of each network by name. Each
    channel has a row; rows are sorted by the first network's mean λ, falling."""
    shown = np.linspace(0, len(frames) - 1, 3).round().astype(int)
    order = np.argsort(-next(iter(each.values())).mean(1))
    fig, axes = plt.subplots(1, len(shown) + len(each), figsize=(9, 2.8))
    for ax, t in zip(axes, shown, strict=False):
        image(ax, frames[t], f"frame {t}", weight="normal")
    for ax, (name, values) in zip(axes[len(shown):], each.items(), strict=True):
        picture = ax.pcolormesh(values[order], vmin=0, vmax=1, cmap="cividis")
        ax.set(title=name, xlabel="step", xticks=np.arange(values.shape[1]) + 0.5, yticks=[], ylabel="channel")
        ax.set_xticklabels(range(values.shape[1]))
        ax.grid(False)
    fig.colorbar(picture, ax=axes[-1], label="λ")
    return fig


def timeline(truth: pd.DataFrame, found: dict[str, pd.DataFrame], classes: Sequence[str], seconds: float) -> Figure:
    """One video's true segments, and the segments ``found`` by each detector, as bars with the names of their classes.
    Bars of higher score are darker and on top. The tables hold only this video's segments: ``label``, ``start``,
    ``end`` and, for ``found``, ``score``."""
    each = {"true": truth.assign(score=1.0)} | found
    fig, ax = plt.subplots(figsize=(9, 0.5 * len(each) + 1))
    for line, its in enumerate(each.values()):
        for row in its.sort_values("score").itertuples():  # the highest score on top
            strength = 0.2 + 0.7 * min(1, row.score)
            colour = 1 - strength * (1 - np.array(to_rgb(PALETTE[row.label % len(PALETTE)])))
            how = dict(color=colour, edgecolor="black", linewidth=0.8, zorder=2)
            ax.barh(line, row.end - row.start, left=row.start, height=0.7, **how)
            # the same zorder as the bars, so a bar of higher score covers the name of another
            words = dict(va="center", fontsize="small", clip_on=True, zorder=2)
            ax.text(row.start + 0.004 * seconds, line, classes[row.label], **words)
    in_rows(ax, each, xlim=(0, seconds), xlabel="time (s)")
    ax.grid(axis="y", visible=False)
    return fig
