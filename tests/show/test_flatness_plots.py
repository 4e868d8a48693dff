"""Pictures of notebook 08 carry the numbers that they claim to."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from kdlab.show.flatness_plots import CEILING, ratios, surfaces, walk_picture, walk_widget
from tests.conftest import words
from tests.figures import faults

pytestmark = pytest.mark.usefixtures("styled")

AT = np.linspace(-0.5, 0.5, 5)
LOSSES = {"iframe": {"random 1": AT**2, "the steepest": 40 * AT**2}, "motion": {"random 1": 2 * AT**2,
                                                                              "the steepest": AT**2}}


def test_reliefs_are_cut_off_on_one_scale():
    fig = surfaces(AT, {"iframe": 100 * np.add.outer(AT**2, AT**2), "motion": np.zeros((5, 5))})
    assert [ax.get_zlim() for ax in fig.axes] == 2 * [(0, CEILING)] and "motion" in words(fig)


def test_a_walk_tells_the_loss_at_its_step():
    fig = walk_picture(AT, LOSSES, "the steepest", 0.25)
    assert "iframe: 2.50 nats" in words(fig) and "motion: 0.06 nats" in words(fig) and faults(fig) == []
    with pytest.raises(KeyError):
        walk_picture(AT, LOSSES, "nowhere")


@pytest.mark.usefixtures("watched")
def test_the_widget_walks():
    widget = walk_widget(AT, LOSSES)
    assert widget.children[0].options == ("random 1", "the steepest")
    plt.close("all")
    widget.f(direction="random 1", step=0.5)
    assert "motion: 0.50 nats" in words(plt.gcf())


def test_ratios_have_a_line_a_measure():
    fig = ratios(pd.DataFrame({"trace": [100, 1, 0.01], "ASAM": [1, 1, 1]}, index=[0.1, 1, 10]))
    assert fig.axes[0].lines[0].get_ydata().tolist() == [100, 1, 0.01] and "ASAM" in words(fig)
