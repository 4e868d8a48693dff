"""Sliders over plain functions: the ``..._picture`` function of a widget draws the same picture without sliders."""

import io
from collections.abc import Callable
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
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
