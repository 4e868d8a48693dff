"""Where networks look in a clip."""

import numpy as np
from matplotlib import colormaps
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure

from kdlab.clips.enhance import Gamma
from kdlab.show.plots import evenly, filmstrip


def mapped(frames: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """The map ``heat (T, H, W)``, divided by its maximum, over the grey ``frames uint8 (T, H, W, C)``: RGB."""
    colours = colormaps["inferno"](heat / max(heat.max(), 1e-12))[..., :3]
    return (0.45 * frames.mean(-1, keepdims=True) + 0.55 * 255 * colours).astype(np.uint8)


def heat_picture(frames: np.ndarray, heat: np.ndarray, title: str) -> Figure:
    """A map over the ``frames`` of one clip, as in :func:`mapped`. Dark frames are brightened."""
    name = "the frames"
    if np.median(frames) < 50:
        name, frames = "brightened", Gamma(2.2)(frames)
    fig = filmstrip({name: frames, "Grad-CAM": mapped(frames, heat)}, 4, title)
    for ax, t in zip(fig.axes, evenly(len(frames), 4), strict=False):
        ax.set_title(f"frame {t}", fontsize="small")
    bar = fig.colorbar(ScalarMappable(cmap="inferno"), ax=fig.axes, fraction=0.03, pad=0.02)
    bar.set_label("part of the map's\nlargest value", fontsize="small")
    return fig
