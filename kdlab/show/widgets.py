"""Sliders over plain functions: the ``..._picture`` function of a widget draws the same picture without sliders."""

from collections.abc import Callable

import matplotlib.pyplot as plt
import numpy as np
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
    nats = entr(softmax(logits / temperature)).sum()
    fig = soft_target_bars(logits, classes, tuple(dict.fromkeys((1, temperature))), label)
    most, ax = np.log(len(classes)), fig.axes[0]
    ax.set_title(f"{ax.get_title()}; entropy at t = {temperature:g}: {nats:.2f} of at most {most:.2f} nats")
    return fig


def temperature_widget(logits: np.ndarray, classes: tuple[str, ...], label: int | None = None):
    """A slider for the temperature over :func:`temperature_picture`. Returns ``None`` and prints a line when headless.
    """

    from ipywidgets import FloatLogSlider

    def picture(temperature: float) -> None:
        temperature_picture(logits, classes, round(temperature, 1), label)

    return explore(picture, temperature=FloatLogSlider(4, base=2, min=-1, max=5, step=0.25))


def explore(picture: Callable, **controls):
    """A widget that draws ``picture(**values)`` anew whenever a control is released. When headless it returns ``None``
    and prints a line, so no dead slider is stored.

    A control is one of four: a slider (start, lowest, highest, step, and its label if that is not its name), with whole
    numbers where the step is an int; a list of choices; the label of a checkbox, which is ticked at first; or any
    widget."""
    if headless():
        print(STILL)
        return None
    from ipywidgets import Checkbox, Dropdown, FloatSlider, IntSlider, interactive

    def control(given):
        if isinstance(given, tuple):
            start, low, high, step, *words = given
            how = dict(min=low, max=high, step=step, description="".join(words))
            if isinstance(step, int):
                return IntSlider(start, **how)
            return FloatSlider(start, readout_format=f".{max(1, len(f'{step:g}') - 2)}f", **how)
        if isinstance(given, list):
            return Dropdown(options=given)
        return Checkbox(True, description=given) if isinstance(given, str) else given

    def show(**values) -> None:
        picture(**values)
        plt.show()

    made = {name: control(given) for name, given in controls.items()}
    for each in made.values():
        each.style.description_width = "initial"
        # Label and slider stand side by side; by default a long label leaves no room for the slider.
        each.layout.width = each.layout.width or "36em"
        if hasattr(each, "continuous_update"):
            each.continuous_update = False
    return interactive(show, **made)


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
