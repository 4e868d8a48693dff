"""Sliders over plain functions: the ``..._picture`` function of a widget draws the same picture without sliders."""

import io
from collections.abc import Callable

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from scipy.special import entr, softmax

from kdlab.show.plots import soft_target_bars
from kdlab.system.pool import STILL, headless
from kdlab.system.values import positive


def temperature_picture(logits: np.ndarray, classes: tuple[str, ...], temperature: float = 4.0,
                        label: int | None = None) -> Figure:
    """The softmax of one clip's ``logits (K,)`` at temperature 1 and at ``temperature``, with the entropy of the latter
    in nats. Raises ``ValueError`` for a temperature that is not positive."""
    positive("1 is the softmax as it is", temperature=temperature)
    fig = soft_target_bars(logits, classes, tuple(dict.fromkeys((1, temperature))), label)
    fig.axes[0].set_title(f"{fig.axes[0].get_title()}; {_entropy(logits, temperature)}")
    return fig


def _entropy(logits: np.ndarray, temperature: float) -> str:
    nats = entr(softmax(logits / temperature)).sum()
    return f"entropy at t = {temperature:g}: {nats:.2f} of at most {np.log(len(logits)):.2f} nats"


def temperature_widget(logits: np.ndarray, classes: tuple[str, ...], label: int | None = None):
    """A slider for the temperature over :func:`temperature_picture`. A move sets the bars of one figure, which takes a
    tenth of a second; a new figure takes a second. Returns ``None`` and prints a line when headless."""
    if headless():
        print(STILL)
        return None
    from ipywidgets import FloatLogSlider, Image, VBox

    fig = temperature_picture(logits, classes, 4.0, label)
    plt.close(fig)
    canvas = FigureCanvasAgg(fig)
    ax, truth = fig.axes[0], fig.axes[0].get_title().partition(";")[0]
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
        ax.set(ylim=(0, 1), title=f"{truth}; {_entropy(logits, temperature)}")
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
    shown, slider = Image(value=pictures[count // 2]), IntSlider(count // 2, 0, count - 1, description=label)
    slider.observe(lambda change: setattr(shown, "value", pictures[change.new]), "value")
    return VBox([slider, shown])
