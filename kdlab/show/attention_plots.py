"""Pictures of notebook 09: where networks look, beside the actor's true place. Each function returns a Figure."""

from collections.abc import Callable, Sequence
from functools import cache
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from kdlab.clips.enhance import Gamma
from kdlab.show.plots import INTERVALS, PAGE, drawn, effects, image, key
from kdlab.show.widgets import explore

#: How a map lies over a frame.
HEAT = dict(cmap="inferno", vmin=0, vmax=1, alpha=0.55)


class Look(NamedTuple):
    """Where something looks in a clip: ``heat (T, H, W)``, not negative; the class that it takes the clip for (none: it
    knows of no classes), and whether that is ``right``."""

    heat: np.ndarray
    says: str = ""
    right: bool = False

    @property
    def words(self) -> str:
        """What stands beside the map."""
        return f"says {self.says} {'✓' if self.right else '✗'}" if self.says else "knows no class"


def _over(ax: plt.Axes, frame: np.ndarray, heat: np.ndarray, mask: np.ndarray | None) -> None:
    """A grey frame (H, W, 3) under ``heat (H, W)`` in [0, 1]; the actor's outline in white over black."""
    image(ax, frame.mean(-1), cmap="gray", vmin=0, vmax=255)
    ax.imshow(heat, **HEAT)
    if mask is not None and mask.any() and not mask.all():
        for colour, width in (("black", 2.4), ("white", 1)):
            ax.contour(mask, levels=[0.5], colors=[colour], linewidths=width)


def looks_picture(frames: np.ndarray, rows: dict[str, np.ndarray], masks: np.ndarray, moments=(2, 6, 10, 14),
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


def over_time(frames: np.ndarray, looks: dict[str, Look], masks: np.ndarray, at: int, enhanced: bool = True,
              title: str = "") -> Figure:
    """Side by side where several networks look in frame ``at`` of a clip ``uint8 (T, H, W, 3)``, each with the class
    that it takes the clip for; below, how much of each map lies on the actor (``masks (T, H, W)``) in every frame.

    A map is divided by its own largest value over the whole clip. Raises ``IndexError`` for a frame that is not there.
    """
    columns, shown = 4, Gamma(2.2)(frames[[at]])[0] if enhanced else frames[at]
    lines = -(-(len(looks) + 1) // columns)
    fig = plt.figure(figsize=(PAGE, 2.3 * lines * frames.shape[1] / frames.shape[2] + 0.4 * lines + 2.5))
    top, bottom = fig.subfigures(2, 1, height_ratios=(2.3 * lines, 2.5))
    axes = top.subplots(lines, columns, squeeze=False)
    for ax in axes.flat[len(looks) + 1:]:
        ax.set_visible(False)
    image(axes.flat[0], shown, f"frame {at}{', brightened' if enhanced else ''}")
    chart = bottom.subplots()
    for k, (ax, (name, look)) in enumerate(zip(axes.flat[1:], looks.items(), strict=False)):
        _over(ax, shown, look.heat[at] / max(look.heat.max(), 1e-12), masks[at])
        ax.set_title(f"{name}\n{look.words}", fontsize="small")
        chart.plot(on_actor(look.heat, masks), label=name, **drawn(k, marker="") | {"color": f"C{k % 9}"})
    # broad and behind, as a map that knows nothing lies just there
    chart.plot(on_actor(np.ones(masks.shape), masks), color="#d0d0d0", linewidth=5, zorder=1,
               label="a map that looks everywhere")
    chart.axvline(at, color="black", linewidth=1)
    chart.set(xlabel="frame", ylabel="of the map on\nthe actor (%)", xlim=(0, len(masks) - 1))
    bottom.legend(loc="outside lower center", ncols=4)
    _scale(top, axes)
    fig.suptitle(title, parse_math=False)
    fig.set_label(f"{title or 'A clip'}, frame {at}, and where each network looks in it: "
                  f"{'; '.join(f'{n}, {look.words}, {_mean(look, masks)}' for n, look in looks.items())}. Below, the "
                  "same share over time.")
    return fig


def on_actor(heat: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Percent ``(T,)`` of each frame of a map ``(T, H, W)`` on the actor; ``nan`` where there is none, or no map."""
    total, inside = heat.sum((1, 2)), (heat * masks).sum((1, 2))
    seen = masks.any((1, 2)) & (total > 0)
    return np.where(seen, 100 * inside / np.where(seen, total, 1), np.nan)


def _mean(look: Look, masks: np.ndarray) -> str:
    shares = on_actor(look.heat, masks)
    known = shares[np.isfinite(shares)]
    return f"{known.mean():.0f} % of its map on the actor" if len(known) else "no actor"


def _scale(fig, axes: np.ndarray) -> None:
    """What the colours over ``axes`` mean."""
    bar = fig.colorbar(ScalarMappable(Normalize(0, 1), HEAT["cmap"]), ax=axes.ravel().tolist(), alpha=HEAT["alpha"],
                       fraction=0.03, pad=0.02)
    bar.set_label("part of the map's\nlargest value", fontsize="small")


def time_widget(frames: list[np.ndarray], labels: list[str], masks: np.ndarray, looks: Callable, layers: Sequence[str]):
    """Drag time through :func:`over_time`, and choose clip and layer; ``looks(clip, layer)`` are its maps, asked for
    once. ``None``, with a line that says so, when headless."""
    known = cache(looks)

    def picture(clip: int, layer: str, frame: int, enhanced: bool) -> None:
        over_time(frames[clip], known(clip, layer), masks[clip], frame, enhanced, labels[clip])

    clips, count = [(f"{i}: {name}", i) for i, name in enumerate(labels)], masks.shape[1]
    return explore(picture, clip=clips, layer=list(layers), frame=(count // 2, 0, count - 1, 1), enhanced="brightened")


def ranked(scores: np.ndarray) -> dict[str, int]:
    """The clips with the best, the median and the worst of ``scores (N,)``; those without a score are left out."""
    order = np.argsort(np.where(np.isnan(scores), -np.inf, scores), kind="stable")[np.isnan(scores).sum():]
    if not len(order):
        raise ValueError("no clip has a score: is the actor in any picture?")
    return {"best": int(order[-1]), "median": int(order[len(order) // 2]), "worst": int(order[0])}


def gain_bars(table: pd.DataFrame, titles: dict[str, str], metric: str, title: str = "") -> Figure:
    """Of ``studies.attention.gains``: each network's gain over its best baseline, thick 95 %, thin the ledger's. A
    ``@fine`` network is the one of its name, at a finer layer."""
    rows = table[table.metric == metric]
    label = f"{metric.replace('_', ' ')}: points above the best map that knows nothing, with no more units than its " \
            f"own\n{INTERVALS.partition(', grey')[0]}"

    def read(network: str) -> str:
        plain, _, layer = network.partition("@")
        return titles.get(plain, plain) + f", {layer}" * bool(layer)

    return effects({read(row.network): row.gain for row in rows.itertuples()}, title, label, near=0)


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


def randomised(similar: dict[str, dict[str, float]]) -> Figure:
    """How like the original a map stays while weights go, from the logits down: network → layer → correlation."""
    fig, ax = plt.subplots(figsize=(7, 2.8))
    for k, (name, values) in enumerate(similar.items()):
        ax.plot(["all trained", *values], [1, *values.values()], label=name, **drawn(k))
    ax.axhline(0, color="grey", linestyle=":", linewidth=1)
    ax.set(ylabel="correlation with its own map", xlabel="at random from the logits down to …", ylim=(-0.25, 1.05))
    key(fig)
    return fig
