"""Sliders over plain functions: the ``..._picture`` function of a widget draws the same picture without sliders."""

from collections.abc import Callable
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from scipy.special import entr, softmax

from kdlab.clips.enhance import Clahe, Gamma, HistogramEqualisation
from kdlab.measure.darkness import colours, luma
from kdlab.night import Camera, darken
from kdlab.show.plots import light_and_histograms, soft_target_bars
from kdlab.system.pool import STILL, headless
from kdlab.system.values import positive

_SETTLED = 4  # the number of frames after which the running mean of the camera's denoiser has settled


def exposure_picture(bright: np.ndarray, exposure: float = 1.0, enhancer: Callable | None = None,
                     camera: Camera = Camera(), seed: int = 0) -> Figure:
    """The middle frame of a well exposed clip ``bright uint8 (T, H, W, 3)``, the same frame recorded in the dark by
    ``camera``, and the dark frame brightened by ``enhancer`` (from ``kdlab.clips.enhance``, or none).

    ``exposure`` is the light on the sensor, 1 for a typical dark clip. The title gives the signal-to-noise ratio of the
    photo-electrons at the median, before denoising. Raises ``ValueError`` for an exposure that is not positive.
    """
    positive("1 is a typical dark clip, 0.5 one stop darker", exposure=exposure)
    shown = len(bright) // 2
    frames = bright[np.maximum(np.arange(shown - _SETTLED, shown + 1), 0)]
    camera = replace(camera, steps=())  # steps of the auto-exposure are timed for a whole clip
    dark = darken(frames, exposure, np.random.default_rng(seed), camera)[-1:]
    pictures = {"ordinary light": frames[-1], f"dark: {np.log2(exposure):+.3g} stops": dark[0]}
    if enhancer:
        pictures[f"dark, {enhancer.name}"] = enhancer(dark)[0]
    fig = light_and_histograms(pictures)
    photons = camera.electrons * exposure
    snr = photons / np.sqrt(photons + camera.read_noise**2)
    seen = f"median luma {np.median(luma(dark)):.0f} of 255, {colours(dark)} different colours"
    fig.suptitle(f"{seen}, signal to noise {snr:.1f}")
    return fig


def exposure_widget(bright: np.ndarray, camera: Camera = Camera()):
    """Controls for exposure, gain, read noise and enhancer over :func:`exposure_picture`. Returns ``None`` and prints a
    line when headless."""

    others = {"none": None, "histogram equalisation": HistogramEqualisation(), "CLAHE": Clahe()}

    def picture(stops: float, level: float, read_noise: float, enhancer: str, gamma: float) -> None:
        chosen = Gamma(gamma) if enhancer == "gamma" else others[enhancer]
        exposure_picture(bright, 2.0**stops, chosen, replace(camera, level=level, read_noise=read_noise))

    light = 0, -4, 4, 0.5, "light (stops)"
    level = camera.level, 6, 120, 0.5, "gain (level of the median at 0 stops)"
    noise = camera.read_noise, 0, 20, 0.1, "read noise (electrons)"
    enhancers, gamma = ["gamma", *others], (1.8, 1, 4, 0.1)
    return explore(picture, stops=light, level=level, read_noise=noise, enhancer=enhancers, gamma=gamma)


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
