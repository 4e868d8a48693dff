"""Where networks look in a clip, beside the actor's true place. Each picture function returns a Figure."""

from collections.abc import Callable
from functools import cache

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from kdlab.clips.enhance import Gamma
from kdlab.show.plots import PAGE, drawn, image, key
from kdlab.show.widgets import explore

#: The style of a map over a frame.
HEAT = dict(cmap="inferno", vmin=0, vmax=1, alpha=0.55)


def _over(ax: plt.Axes, frame: np.ndarray, heat: np.ndarray, mask: np.ndarray) -> None:
    """Draw a frame (H, W, 3) in grey under ``heat (H, W)`` in [0, 1], and the actor's outline in white on black."""
    image(ax, frame.mean(-1), cmap="gray", vmin=0, vmax=255)
    ax.imshow(heat, **HEAT)
    if mask.any() and not mask.all():
        for colour, width in (("black", 2.4), ("white", 1)):
            ax.contour(mask, levels=[0.5], colors=[colour], linewidths=width)


def _scale(fig, axes: np.ndarray) -> None:
    """Draw the colour bar of the maps on ``axes``."""
    bar = fig.colorbar(ScalarMappable(Normalize(0, 1), HEAT["cmap"]), ax=axes.ravel().tolist(), alpha=HEAT["alpha"],
                       fraction=0.03, pad=0.02)
    bar.set_label("part of the map's\nlargest value", fontsize="small")


def maps_picture(frames: np.ndarray, rows: dict[str, np.ndarray], masks: np.ndarray, moments=(2, 6, 10, 14),
                  enhanced: bool = True, title: str = "") -> Figure:
    """Maps over the ``frames uint8 (T, H, W, 3)`` of one clip, a row for each of ``rows``: name → map (T, H, W), each
    divided by its own maximum. The outlines are the actor's ``masks (T, H, W)``. ``enhanced`` brightens the frames."""
    shown = Gamma(2.2)(frames) if enhanced else frames
    moments = [m for m in moments if m < len(frames)]
    size = 1.5 * len(moments) + 0.6, 1.45 * (len(rows) + 1) + 0.3
    fig, axes = plt.subplots(len(rows) + 1, len(moments), squeeze=False, figsize=size)
    for ax, t in zip(axes[0], moments, strict=True):
        image(ax, shown[t], f"frame {t}", "medium")
    axes[0, 0].set_ylabel("brightened" if enhanced else "the frames", fontsize="small")
    for line, (name, heat) in zip(axes[1:], rows.items(), strict=True):
        heat = heat / max(heat.max(), 1e-12)
        for ax, t in zip(line, moments, strict=True):
            _over(ax, shown[t], heat[t], masks[t])
        line[0].set_ylabel(name, fontsize="small")
    _scale(fig, axes)
    fig.suptitle(title, parse_math=False)  # the title may hold the name of a user's file
    return fig


def percent_on_actor(heat: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """The percentage ``(T,)`` of a map ``(T, H, W)`` that lies on the actor in each frame; ``nan`` without an actor, or
    where the map is zero."""
    total, inside = heat.sum((1, 2)), (heat * masks).sum((1, 2))
    seen = masks.any((1, 2)) & (total > 0)
    return np.where(seen, 100 * inside / np.where(seen, total, 1), np.nan)


def over_time(frames: np.ndarray, maps: dict[str, np.ndarray], masks: np.ndarray, at: int, enhanced: bool = True,
              title: str = "") -> Figure:
    """Maps ``(T, H, W)`` by name, side by side over frame ``at`` of a clip ``uint8 (T, H, W, 3)``. Below stands the
    percentage of each map on the actor (``masks (T, H, W)``) in every frame, beside that of a uniform map.

    Each map is divided by its largest value over the whole clip. Raises ``IndexError`` for a frame outside the clip.
    """
    shown, columns = Gamma(2.2)(frames[[at]])[0] if enhanced else frames[at], len(maps) + 1
    fig = plt.figure(figsize=(PAGE, PAGE / columns + 2.9))
    top, bottom = fig.subfigures(2, 1, height_ratios=(PAGE / columns + 0.5, 2.4))
    axes, chart = top.subplots(1, columns), bottom.subplots()
    image(axes[0], shown, f"frame {at}{', brightened' if enhanced else ''}")
    for k, (ax, (name, heat)) in enumerate(zip(axes[1:], maps.items(), strict=True)):
        _over(ax, shown, heat[at] / max(heat.max(), 1e-12), masks[at])
        ax.set_title(name, fontsize="small")
        chart.plot(percent_on_actor(heat, masks), label=name.replace("\n", ", "), **drawn(k, marker=""))
    level = percent_on_actor(np.ones(masks.shape), masks)
    chart.plot(level, color="#d0d0d0", linewidth=5, zorder=1, label="alike everywhere")
    chart.axvline(at, color="black", linewidth=1)
    chart.set(xlabel="frame", ylabel="of the map on\nthe actor (%)", xlim=(0, len(masks) - 1))
    bottom.legend(loc="outside lower center", ncols=3)
    _scale(top, axes)
    fig.suptitle(title, parse_math=False)
    return fig


def time_widget(frames: list[np.ndarray], labels: list[str], masks: np.ndarray, maps: Callable):
    """Controls for time, clip and brightening over :func:`over_time`. ``maps(clip)`` is called once per clip. Returns
    ``None`` and prints a line when headless."""
    known, count = cache(maps), masks.shape[1]

    def picture(clip: int, frame: int, enhanced: bool) -> None:
        over_time(frames[clip], known(clip), masks[clip], frame, enhanced, labels[clip])

    clips = [(f"{i}: {name}", i) for i, name in enumerate(labels)]
    return explore(picture, clip=clips, frame=(count // 2, 0, count - 1, 1), enhanced="brightened")


def removal(curves: dict[str, dict[str, np.ndarray]]) -> Figure:
    """Deletion and insertion curves, means over clips: name of the map → the curves ``(N, steps)`` of
    ``measure.attention.fidelity``."""
    fig, axes = plt.subplots(1, 2, figsize=(8, 2.8), sharey=True)
    for ax, what in zip(axes, ("deletion", "insertion"), strict=True):
        for k, (name, values) in enumerate(curves.items()):
            mean = values[what].mean(0)
            ax.plot(np.linspace(0, 100, len(mean)), 100 * mean, label=name, **drawn(k))
        ax.set(xlabel=f"pixels {'blurred' if what == 'deletion' else 'brought back'} (%)", title=what)
    axes[0].set_ylabel("probability of the label (%)")
    key(fig)
    return fig
