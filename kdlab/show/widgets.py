"""Sliders over plain functions that draw a picture."""

import io
from collections.abc import Callable

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from scipy.special import entr, softmax

from kdlab.show.plots import soft_target_bars
from kdlab.system.pool import STILL, headless


def _entropy(logits: np.ndarray, temperature: float) -> str:
    """The entropy of the softmax of ``logits (K,)`` at ``temperature``, in words."""
    nats = entr(softmax(logits / temperature)).sum()
    return f"entropy at t = {temperature:g}: {nats:.2f} of at most {np.log(len(logits)):.2f} nats"


def temperature_widget(logits: np.ndarray, classes: tuple[str, ...]):
    """A slider for the temperature over the soft targets of one clip's ``logits (K,)``, with their entropy in nats.

    A move sets the bars of one figure, which takes a tenth of a second; a new figure takes a second. Returns ``None``
    and prints a line when headless."""
    if headless():
        print(STILL)
        return None
    from ipywidgets import FloatLogSlider, Image, VBox

    fig = soft_target_bars(logits, classes, (1, 4))
    plt.close(fig)
    canvas = FigureCanvasAgg(fig)
    [ax] = fig.axes
    fig.legends[0].get_texts()[1].set_text("t of the slider")
    fig.draw_without_rendering()
    fig.set_layout_engine("none")  # its places stay
    slider = FloatLogSlider(4, base=2, min=-1, max=5, step=0.25, description="temperature")
    slider.style.description_width, slider.layout.width = "initial", "36em"
    picture = Image(format="png", layout={"width": "100%", "max_width": "880px"})

    def moved(change=None) -> None:
        temperature = round(slider.value, 1)
        for bar, share in zip(ax.containers[1], softmax(logits / temperature), strict=True):
            bar.set_height(share)
        ax.set(ylim=(0, 1), title=f"Soft targets; {_entropy(logits, temperature)}")
        canvas.print_png(content := io.BytesIO())
        picture.value = content.getvalue()

    moved()
    slider.observe(moved, "value")
    return VBox([slider, picture])


def flipbook(picture: Callable[[int], Figure], count: int, label: str):
    """A slider over the pictures ``picture(0)`` to ``picture(count - 1)``, all drawn beforehand: a move shows at once.
    When headless it draws the middle one, prints a line and returns ``None``."""
    if headless():
        print(STILL)
        picture(count // 2)
        return None
    from IPython.core.pylabtools import print_figure
    from ipywidgets import Image, IntSlider, VBox

    pictures = []
    for k in range(count):
        pictures.append(print_figure(fig := picture(k)))
        plt.close(fig)
    shown = Image(value=pictures[count // 2])
    slider = IntSlider(count // 2, 0, count - 1, description=label)
    slider.observe(lambda change: setattr(shown, "value", pictures[change.new]), "value")
    return VBox([slider, shown])
