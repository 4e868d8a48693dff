"""Where networks look in a clip."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from kdlab.clips.enhance import Gamma
from kdlab.show.plots import image

#: The style of a map over a frame.
HEAT = dict(cmap="inferno", vmin=0, vmax=1, alpha=0.55)


def maps_picture(
    frames: np.ndarray,
    rows: dict[str, np.ndarray],
    moments: Sequence[int],
    enhanced: bool,
    title: str,
) -> Figure:
    """Maps over the ``frames uint8 (T, H, W, 3)`` of one clip, a row for each of ``rows``: name → map (T, H, W), each
    divided by its own maximum. ``moments`` are numbers of frames. ``enhanced`` brightens the frames."""
    shown = Gamma(2.2)(frames) if enhanced else frames
    size = 1.5 * len(moments) + 0.6, 1.45 * (len(rows) + 1) + 0.3
    fig, axes = plt.subplots(len(rows) + 1, len(moments), squeeze=False, figsize=size)
    for ax, t in zip(axes[0], moments, strict=True):
        image(ax, shown[t], f"frame {t}", "medium")
    axes[0, 0].set_ylabel("brightened" if enhanced else "the frames", fontsize="small")
    for line, (name, heat) in zip(axes[1:], rows.items(), strict=True):
        heat = heat / max(heat.max(), 1e-12)
        for ax, t in zip(line, moments, strict=True):
            image(ax, shown[t].mean(-1), cmap="gray", vmin=0, vmax=255)
            over = ax.imshow(heat[t], **HEAT)
        line[0].set_ylabel(name, fontsize="small")
    bar = fig.colorbar(over, ax=axes.ravel().tolist(), fraction=0.03, pad=0.02)
    bar.set_label("part of the map's\nlargest value", fontsize="small")
    fig.suptitle(title, parse_math=False)  # the title may hold the name of a user's file
    return fig
