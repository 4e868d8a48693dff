"""Pictures in one style: colour-blind-safe palette, intervals, units. Functions that return no Figure draw a part of
one: an image, a key, rows."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from kdlab.measure.paired import Effect

#: The width of a notebook's page in inches. A wider figure would be shrunk there, with its letters.
PAGE = 9
#: The label of the axis of :func:`effects`.
DIFFERENCE = "difference in test accuracy (points)"


# --- parts of pictures -----------------------------------------------------------------------------------------


def image(ax: plt.Axes, picture: np.ndarray, title: str = "", weight: str = "bold", **how) -> None:
    """Show ``picture`` without ticks under a small title, which may be the name of a user's file: it is never read as a
    formula."""
    ax.imshow(picture, **how)
    ax.set(xticks=[], yticks=[])
    ax.set_title(title, fontsize="small", fontweight=weight, parse_math=False)


def rows(ax: plt.Axes, names: Iterable[str], **labels) -> None:
    """Set one row per name on the y axis, from the top down; ``labels`` are those of ``Axes.set``."""
    names = list(names)
    ax.set(yticks=range(len(names)), yticklabels=names, ylim=(len(names) - 0.5, -0.5), **labels)


def evenly(length: int, count: int) -> np.ndarray:
    """The places of ``count`` of ``length`` frames, evenly from the first to the last."""
    return np.linspace(0, length - 1, min(count, length)).round().astype(int)


# --- pictures --------------------------------------------------------------------------------------------------


def filmstrip(
    rows: dict[str, np.ndarray], columns: int = 6, title: str = "", seconds: float | None = None
) -> Figure:
    """Clips as rows of frames, with the same moments in every row: name → ``uint8 (T, H, W, 3)``."""
    first = next(iter(rows.values()))
    moments = evenly(len(first), columns)
    columns = len(moments)
    h, w = first.shape[1:3]
    wide = min(1.45, (PAGE - 0.3) / columns)
    size = wide * columns, wide * h / w * len(rows) + 0.35
    fig, axes = plt.subplots(len(rows), columns, figsize=size, squeeze=False)
    for row, (line, (name, frames)) in enumerate(zip(axes, rows.items(), strict=True)):
        for ax, t in zip(line, moments, strict=True):
            when = f"{seconds * t / max(1, len(first) - 1):.1f} s" if row == 0 and seconds else ""
            image(ax, frames[min(t, len(frames) - 1)], when, weight="normal")
        line[0].set_ylabel(
            name, fontsize="small", parse_math=False
        )  # a name may be that of a user's file
    if title:
        fig.suptitle(title, parse_math=False)
    return fig


def effects(
    found: Mapping[str, Effect],
    title: str = "",
    xlabel: str = DIFFERENCE,
    near: float = 2,
    worlds: Mapping[str, ArrayLike] = MappingProxyType({}),
) -> Figure:
    """Paired differences by name with their 95 % intervals; grey band ± ``near`` points. The numbers stand beside the
    bars. The bar of an infinite interval crosses the whole axis. ``worlds``: the differences behind each, a dot each."""
    fig, ax = plt.subplots(figsize=(6.6, 0.32 * len(found) + 1.2))
    ends = np.array([(e.mean, e.low, e.high) for e in found.values()])
    ends = np.concatenate([ends[np.isfinite(ends)], [-near, near], *worlds.values()])
    margin = 0.05 * np.ptp(ends)
    left, right = ends.min() - margin, ends.max() + margin
    ax.set_xlim(left, right)
    ax.axvspan(-near, near, color="grey", alpha=0.15, linewidth=0)
    ax.axvline(0, color="black", linewidth=0.8)
    for y, (name, e) in enumerate(found.items()):
        dots = worlds.get(name, ())
        ax.plot(dots, np.full(len(dots), y), "o", color="C1", alpha=0.7, markersize=4, zorder=3)
        bar = np.clip([e.low, e.high], left, right)
        ax.plot(bar, [y, y], color="C0", linewidth=4, solid_capstyle="butt")
        ax.plot(e.mean, y, "D", color="black", markersize=5)
        ax.text(1.01, y, str(e), transform=ax.get_yaxis_transform(), va="center", fontsize="small")
    rows(
        ax,
        found,
        xlabel=f"{xlabel}\nbar: 95 % interval; {'dot: a world; ' if worlds else ''}grey: within ± {near:g}",
        title=title,
    )
    return fig
