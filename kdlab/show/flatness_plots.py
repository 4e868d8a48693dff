"""Pictures of notebook 08: the loss around networks, and measures of one function in other weights.

A network has the same colour, mark and line in all pictures. Each function except the widget returns a Figure.
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from kdlab.show.plots import PAGE, drawn, key
from kdlab.show.widgets import explore

#: The loss in nats at which pictures are cut off.
CEILING = 6.0


def surfaces(at: np.ndarray, losses: dict[str, np.ndarray]) -> Figure:
    """The loss in two directions around each network, as reliefs side by side on one scale: name → losses ``(A, A)``.
    """
    fig, axes = plt.subplots(1, len(losses), figsize=(2.7 * len(losses), 2.5), subplot_kw={"projection": "3d"})
    for ax, (name, values) in zip(np.atleast_1d(axes), losses.items(), strict=True):
        how = dict(cmap="cividis", vmin=0, vmax=CEILING, edgecolor="black", linewidth=0.15, rstride=1, cstride=1)
        ax.plot_surface(*np.meshgrid(at, at), np.minimum(values, CEILING).T, **how)
        ax.set(zlim=(0, CEILING), title=name)
        ax.view_init(35, -60)
        ax.tick_params(labelsize="small", pad=-2)
    fig.supylabel(f"loss (nats), cut off at {CEILING:g}", fontsize="small")
    return fig


def walk_picture(at: np.ndarray, losses: dict[str, dict[str, np.ndarray]], direction: str, step: float = 0.0) -> Figure:
    """The loss of each network along one ``direction``, with a mark at ``step``. ``losses``: network → direction →
    losses at the steps ``at``."""
    fig, ax = plt.subplots(figsize=(PAGE - 2, 3.2))
    for k, (network, along) in enumerate(losses.items()):
        here = np.interp(step, at, along[direction])
        ax.plot(at, along[direction], label=f"{network}: {here:.2f} nats", **drawn(k, marker=""))
        ax.plot(step, here, **drawn(k, markersize=8))
    ax.axvline(step, color="black", linewidth=0.8, linestyle=":")
    ax.set(xlabel="step, in lengths of the weights", ylabel=f"loss (nats), cut off at {CEILING:g}", ylim=(0, CEILING))
    ax.set_title(f"{direction}, step {step:+.2f}")
    key(fig)
    return fig


def walk_widget(at: np.ndarray, losses: dict[str, dict[str, np.ndarray]]):
    """Controls for the step and the direction over :func:`walk_picture`."""
    directions = list(next(iter(losses.values())))
    return explore(lambda direction, step: walk_picture(at, losses, direction, step), direction=directions,
                   step=(0.0, float(at[0]), float(at[-1]), 0.01))


def ratios(table: pd.DataFrame, title: str = "One function, other weights") -> Figure:
    """The ratio of each measure of a rescaled network to that of the network itself. ``table`` has a row per factor and
    a column per measure."""
    fig, ax = plt.subplots(figsize=(6.4, 3))
    for k, measure in enumerate(table):
        ax.plot(table.index, table[measure], label=measure, **drawn(k, markersize=5))
    ax.axhline(1, color="black", linewidth=0.8)
    ax.set(xscale="log", yscale="log", ylabel="measure, over that\nof the same network", title=title)
    ax.set_xlabel("the weights before a batch norm, times …")
    key(fig)
    return fig
