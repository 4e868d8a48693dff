"""Widgets are sugar: the picture is there without them, and moving a slider draws it anew."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.figure import Figure

from kdlab.show.widgets import _entropy, flipbook, temperature_widget

CLASSES = ("Jump", "Run", "Sit")
LOGITS = np.array([2.0, 1.0, -1.0])


def test_entropy_is_that_of_the_softened_softmax():
    # softmax((2, 1, -1) / 2) = (0.5465, 0.3315, 0.1220)
    assert _entropy(LOGITS, 2) == "entropy at t = 2: 0.95 of at most 1.10 nats"


@pytest.mark.usefixtures("watched")
def test_a_move_of_the_temperature_draws_other_bars(capsys):
    slider, picture = temperature_widget(LOGITS, CLASSES).children
    before = picture.value
    slider.value = 0.5
    assert bytes(picture.value).startswith(b"\x89PNG") and picture.value != before
    assert "Error" not in capsys.readouterr().out


def test_headless_there_is_no_dead_slider(capsys, monkeypatch):
    monkeypatch.setenv("KDLAB_HEADLESS", "1")
    assert temperature_widget(LOGITS, CLASSES) is None
    assert capsys.readouterr().out.count("JupyterLab") == 1


@pytest.mark.usefixtures("watched")
def test_a_flipbook_draws_its_pictures_once_and_turns_to_each():
    drawn = []

    def picture(k: int) -> Figure:
        drawn.append(k)
        fig, ax = plt.subplots(figsize=(1, 1))
        ax.plot([0, k])
        return fig

    slider, shown = flipbook(picture, 3, "frame").children
    middle = shown.value
    slider.value = 2
    assert drawn == [0, 1, 2] and shown.value != middle and shown.value[:4] == b"\x89PNG"[:4]
    # no picture stands below the slider a second time
    assert not plt.get_fignums()
