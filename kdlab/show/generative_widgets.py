"""Notebook 04's slider over an untrimmed video and λ; ``generative_plots.moment`` draws one position of it."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np

from kdlab.measure.alignment import Trace
from kdlab.show.generative_plots import moment
from kdlab.show.widgets import _interactive

__all__ = ["moment_widget"]


def moment_widget(frames: np.ndarray, trace: Trace, classes: Sequence[str], names: Sequence[str], fps: float):
    """Scrub ``frames uint8 (T, H, W, 3)`` of the video of ``trace`` beside λ over time."""

    def show(second: float) -> None:
        moment(frames, trace, classes, second, names, fps)
        plt.show()

    from ipywidgets import FloatSlider

    slider = FloatSlider(0, min=0, max=(len(frames) - 1) / fps, step=0.2, description="second", continuous_update=False)
    return _interactive(show, second=slider)
