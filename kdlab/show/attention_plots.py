"""Where networks look in a clip, beside the actor's true place. Each function returns a Figure, but for the widget."""

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

#: How a map lies over a frame.
HEAT = dict(cmap="inferno", vmin=0, vmax=1, alpha=0.55)


def _over(ax: plt.Axes, frame: np.ndarray, heat: np.ndarray, mask: np.ndarray) -> None:
    """A grey frame (H, W, 3) under ``heat (H, W)`` in [0, 1]; the actor's outline in white over black."""
    image(ax, frame.mean(-1), cmap="gray", vmin=0, vmax=255)
    ax.imshow(heat, **HEAT)
    if mask.any() and not mask.all():
        for colour, width in (("black", 2.4), ("white", 1)):
            ax.contour(mask, levels=[0.5], colors=[colour], linewidths=width)


def _scale(fig, axes: np.ndarray) -> None:
    """What the colours over ``axes`` mean."""
    bar = fig.colorbar(ScalarMappable(Normalize(0, 1), HEAT["cmap"]), ax=axes.ravel().tolist(), alpha=HEAT["alpha"],
                       fraction=0.03, pad=0.02)
    bar.set_label("part of the map's\nlargest value", fontsize="small")


def maps_picture(frames: np.ndarray, rows: dict[str, np.ndarray], masks: np.ndarray, moments=(2, 6, 10, 14),
                  enhanced: bool = True, title: str = "") -> Figure:
    """Maps over one clip ``uint8 (T, H, W, 3)``: name → map (T, H, W), each divided by its own maximum; the actor's
    ``masks`` are outlined. ``enhanced``: the frames below are brightened, so that a person sees something."""
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
    fig.suptitle(title, parse_math=False)  # it may hold the name of somebody's file
    return fig


def percent_on_actor(heat: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Percent ``(T,)`` of each frame of a map ``(T, H, W)`` on the actor; ``nan`` where there is none, or no map."""
    total, inside = heat.sum((1, 2)), (heat * masks).sum((1, 2))
    seen = masks.any((1, 2)) & (total > 0)
    return np.where(seen, 100 * inside / np.where(seen, total, 1), np.nan)


def over_time(frames: np.ndarray, maps: dict[str, np.ndarray], masks: np.ndarray, at: int, enhanced: bool = True,
              title: str = "") -> Figure:
    """Maps ``(T, H, W)`` side by side over frame ``at`` of a clip ``uint8 (T, H, W, 3)``, by name; below, how much of
    each lies on the actor (``masks (T, H, W)``) in every frame, beside a map that is alike everywhere.

    A map is divided by its own largest value over the whole clip. Raises ``IndexError`` for a frame that is not there.
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
    """Drag time through :func:`over_time`, and choose the clip; ``maps(clip)`` are asked for once. ``None``, with a
    line that says so, when headless."""
    known, count = cache(maps), masks.shape[1]

    def picture(clip: int, frame: int, enhanced: bool) -> None:
        over_time(frames[clip], known(clip), masks[clip], frame, enhanced, labels[clip])

    clips = [(f"{i}: {name}", i) for i, name in enumerate(labels)]
    return explore(picture, clip=clips, frame=(count // 2, 0, count - 1, 1), enhanced="brightened")


def removal(curves: dict[str, dict[str, np.ndarray]]) -> Figure:
    """Deletion and insertion: whose map → ``measure.attention.fidelity``'s curves ``(N, steps)``, means over clips."""
    fig, axes = plt.subplots(1, 2, figsize=(8, 2.8), sharey=True)
    for ax, what in zip(axes, ("deletion", "insertion"), strict=True):
        for k, (name, values) in enumerate(curves.items()):
            mean = values[what].mean(0)
            ax.plot(np.linspace(0, 100, len(mean)), 100 * mean, label=name, **drawn(k))
        ax.set(xlabel=f"pixels {'blurred' if what == 'deletion' else 'brought back'} (%)", title=what)
    axes[0].set_ylabel("probability of the label (%)")
    key(fig)
    return fig
