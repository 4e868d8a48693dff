"""Widgets are sugar: the picture is there without them, and moving a slider draws it anew."""

from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.figure import Figure

from kdlab.clips.enhance import Gamma
from kdlab.night import Camera
from kdlab.show.widgets import (
    exposure_picture,
    exposure_widget,
    temperature_picture,
    temperature_widget,
)

CLASSES = ("Jump", "Run", "Sit")
LOGITS = np.array([2.0, 1.0, -1.0])


@pytest.fixture
def bright() -> np.ndarray:
    ramp = np.linspace(20, 230, 48).astype(np.uint8)
    return np.broadcast_to(ramp[None, None, :, None], (9, 32, 48, 3)).copy()


def shown(fig: Figure) -> list[np.ndarray]:
    return [np.asarray(ax.get_images()[0].get_array()) for ax in fig.axes if ax.get_images()]


def test_less_light_gives_a_darker_picture(bright):
    _, usual = shown(exposure_picture(bright, 1.0))
    _, darker = shown(exposure_picture(bright, 0.25))
    assert darker.mean() < usual.mean() < bright.mean()


def test_the_enhancer_is_applied_to_the_dark_frame(bright):
    _, dark, enhanced = shown(exposure_picture(bright, 1.0, Gamma(2.2)))
    assert np.array_equal(enhanced, Gamma(2.2).table()[dark])


def test_gain_lifts_the_picture_and_not_the_signal_above_its_noise(bright):
    camera = Camera(electrons=36, read_noise=0)
    (_, low), (_, high) = (shown(exposure_picture(bright, 0.25, camera=replace(camera, level=level)))
                           for level in (10, 80))
    assert high.mean() > 2 * low.mean()
    titles = [plt.figure(number).get_suptitle() for number in plt.get_fignums()]
    assert all(title.endswith("signal to noise 3.0") for title in titles)  # the root of nine photo-electrons


def test_entropy_is_that_of_the_softened_softmax():
    # softmax((2, 1, -1) / 2) = (0.5465, 0.3315, 0.1220)
    title = temperature_picture(LOGITS, CLASSES, 2, label=0).axes[0].get_title()
    assert "label is Jump" in title and "t = 2: 0.95" in title


@pytest.mark.parametrize("wrong", [0, -1, float("nan")])
def test_what_cannot_be_is_refused(bright, wrong):
    with pytest.raises(ValueError, match="above 0"):
        exposure_picture(bright, wrong)
    with pytest.raises(ValueError, match="above 0"):
        temperature_picture(LOGITS, CLASSES, wrong)


@pytest.mark.usefixtures("watched")
def test_every_position_of_the_sliders_draws(bright, capsys):
    widget = exposure_widget(bright)
    stops, level, read_noise, enhancer, gamma = widget.children[:5]
    for name in enhancer.options:
        enhancer.value = name
        widget.update()
    stops.value, level.value, read_noise.value, gamma.value = -4, 120, 20, 4
    widget.update()
    assert "Error" not in capsys.readouterr().out


@pytest.mark.usefixtures("watched")
def test_a_move_of_the_temperature_draws_other_bars():
    slider, picture = temperature_widget(LOGITS, CLASSES, 1).children
    before = picture.value
    slider.value = 0.5
    assert bytes(picture.value).startswith(b"\x89PNG") and picture.value != before


@pytest.mark.usefixtures("watched")
def test_sliders_wait_until_they_are_let_go(bright):
    assert not any(getattr(child, "continuous_update", False) for child in exposure_widget(bright).children)


def test_headless_there_is_no_dead_slider(bright, capsys, monkeypatch):
    monkeypatch.setenv("KDLAB_HEADLESS", "1")
    assert exposure_widget(bright) is None and temperature_widget(LOGITS, CLASSES) is None
    assert capsys.readouterr().out.count("JupyterLab") == 2
