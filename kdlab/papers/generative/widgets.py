"""Notebook 04's slider over an untrimmed video and λ; ``generative_plots.moment`` draws one position of it."""

from collections.abc import Sequence

import numpy as np

from kdlab.measure.alignment import Trace
from kdlab.papers.generative.plots import moment
from kdlab.show.widgets import explore


def moment_widget(frames: np.ndarray, trace: Trace, classes: Sequence[str], names: Sequence[str], fps: float):
    """Scrub ``frames uint8 (T, H, W, 3)`` of the video of ``trace`` beside λ over time."""

    return explore(lambda second: moment(frames, trace, classes, second, names, fps),
                   second=(0, 0, (len(frames) - 1) / fps, 0.2))
