"""Clips as points: where networks put them, on the axes of one of them."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from kdlab.measure.embedding import Embedding
from kdlab.show.plots import PAGE, key

_MARKS = "os^DvP"


def embeddings(found: Embedding, labels: np.ndarray, classes: Sequence[str], shown: Sequence[str] = ()) -> Figure:
    """A panel for each network of ``found``, or for those of the names ``shown``: clips of one of ``classes`` have one
    colour and one mark. ``labels``: ``(N,)``. The axes are those of the first network, with their shares of its
    variance."""
    shown, first = shown or list(found.points), next(iter(found.points))
    size = min(3 * len(shown), PAGE), 3.9
    fig, axes = plt.subplots(1, len(shown), figsize=size, sharex=True, sharey=True, squeeze=False)
    for ax, name in zip(axes[0], shown, strict=True):
        points = found.points[name]
        for k, word in enumerate(classes):
            mine = points[labels == k]
            mark = _MARKS[-1] if k > 9 else _MARKS[k % 5]  # like colours have unlike marks
            how = dict(marker=mark, color=f"C{k % 10}", edgecolors="white", linewidths=0.4, label=word)
            ax.scatter(*mine.T, s=34, **how)
        again = found.given_again[name]
        ax.set_title(name if name == first else f"{name}\n{100 * again:.0f} % of that again")
        ax.set_xlabel(f"first axis ({100 * found.shares[0]:.0f} %)" if ax is axes[0, 0] else "the same axis")
    axes[0, 0].set_ylabel(f"second axis ({100 * found.shares[1]:.0f} %)")
    key(fig)
    return fig
