"""The picture of ``kdlab data modalities``: the data that a codec stores. See docs/methods.md, section 4."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from kdlab.show.notebook import write_picture
from kdlab.show.plots import evenly, filmstrip, image
from kdlab.system.files import begins_with, may_write, save_arrays
from kdlab.video.compressed import read

#: From grey to orange at equal luma; the opposite direction leads to blue.
_RIGHT = np.array([0.4, -0.107, -0.5])
MOST = 20  # pixels of motion that have full colour
_EXPORT = "kdlab data modalities"  # marks the pictures of :func:`export`


def flow_colours(motion: np.ndarray, most: float) -> np.ndarray:
    """Motion (H, W, 2) as float RGB (H, W, 3): grey at rest, right orange, left blue, up light, down dark, with full
    colour at ``most`` pixels. Unlike the usual rainbow, it needs no distinction of red and green."""
    within = motion / np.maximum(np.linalg.norm(motion, axis=-1, keepdims=True), most)
    return np.clip(0.5 + within[..., :1] * _RIGHT - 0.45 * within[..., 1:], 0, 1)


def around_grey(residual: np.ndarray) -> np.ndarray:
    """A residual as ``uint8`` pixels, twice as strong and around mid grey."""
    return np.clip(128 + 2 * residual, 0, 255).astype(np.uint8)


def _wheel(ax: plt.Axes) -> None:
    """Draw the legend of :func:`flow_colours` on the right of a picture."""
    inset = ax.inset_axes((1.03, 0.0, 0.2, 0.25))
    xy = np.stack(np.meshgrid(*2 * [np.linspace(-1.15, 1.15, 65)]), -1)
    image(inset, np.where(np.linalg.norm(xy, axis=-1, keepdims=True) <= 1, flow_colours(xy, 1), 1))
    inset.set_xlabel(f"edge: {MOST} px", fontsize="small", labelpad=1)


def overview(arrays: dict[str, np.ndarray]) -> Figure:
    """Frame, motion, accumulated motion and residual at up to five positions of the first GOP of a clip, of which
    ``kdlab.video.compressed.read`` has returned the ``arrays``. The residual is accumulated."""
    its, first = arrays["group"] == 0, arrays["iframes"][0]
    back, residual = arrays["accumulated_motion"][its], arrays["accumulated_residual"][its]
    y, x = np.indices(first.shape[:2])
    rebuilt = first[y - back[..., 1], x - back[..., 0]] + residual
    rows = {
        "frame": rebuilt.astype(np.uint8),
        "motion": flow_colours(arrays["motion"][its], MOST),
        "accumulated": flow_colours(back, MOST),
        "residual, times 2": around_grey(residual),
    }
    moments = evenly(len(back), 5)
    fig = filmstrip(rows, 5)
    for ax, t in zip(fig.axes, moments, strict=False):
        ax.set_title(f"frame {arrays['number'][t]} ({arrays['kind'][t]})", fontsize="small")
    _wheel(fig.axes[2 * len(moments) - 1])
    return fig


def export(path: Path, folder: Path) -> None:
    """Write the arrays that ``kdlab.video.compressed.read`` returns to ``folder/NAME.npz``, and their :func:`overview`
    to ``folder/NAME.png``, where NAME is the file's name with its suffix. Each file appears as a whole or not at all.
    Raises what ``read`` raises, and NotOurs for a file there that this function did not write."""
    folder.mkdir(parents=True, exist_ok=True)
    arrays, picture = (folder / f"{path.name}.{kind}" for kind in ("npz", "png"))
    for place, mark in ((arrays, "motion.npy"), (picture, _EXPORT)):
        may_write(place, lambda file, mark=mark: begins_with(file, mark), "export")
    content = read(path)
    save_arrays(arrays, content)
    write_picture(picture, _EXPORT, lambda: overview(content))
