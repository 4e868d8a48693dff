"""Pictures of notebook 04: they draw what they are given, say what they show, and refuse moments that are not there."""

import numpy as np
import pandas as pd
import pytest

from kdlab.measure.alignment import ENERGY, Trace
from kdlab.papers.generative.plots import alignments, losses, moment, moment_widget, signal_title
from tests.figures import legible

pytestmark = pytest.mark.usefixtures("styled")

SECONDS = (np.arange(60) + 0.5) / 7.5
TRACE = Trace("v", "g", SECONDS, (SECONDS > 2) & (SECONDS < 4), ((2.0, 4.0, 1),),
              {"genkd": np.sin(SECONDS), "genkd:random": np.zeros(60), ENERGY: SECONDS**2})
CLASSES = ("Sit", "Wave")


def test_every_term_that_a_phase_has_is_drawn():
    rows = pd.DataFrame({"epoch": [1, 2], "rebuilt": [2.0, 1], "kl": [0.1, 0.2], "ce": [2.0, 1], "generated": [3.0, 2]})
    fig = losses({"phase 1": rows, "phase 2": rows.assign(taught=[1.0, 0.5], attention=[0.1, 0.05])})
    said = legible(fig)
    assert [len(ax.lines) for ax in fig.axes] == [2, 2, 3, 3]
    assert "phase 1: pass 1" in said and "MSE(λ, λ of the teacher)" in said


def test_a_moment_says_what_happens(monkeypatch):
    frames = np.zeros((120, 8, 10, 3), np.uint8)
    said = legible(moment(frames, TRACE, CLASSES, 3.0, list(TRACE.signals), 15))
    assert "Wave" in said and "Sit" not in said and "λ, GenKD, random weights" in said and ENERGY in said
    assert "3.0 s: Wave" in legible(moment(frames, TRACE, CLASSES, 3.0, ["genkd"], 15))
    assert "nothing labelled" in legible(moment(frames, TRACE, CLASSES, 5.0, ["genkd"], 15))
    with pytest.raises(ValueError, match="second 8 lies outside the video of 8.0 s"):
        moment(frames, TRACE, CLASSES, 8.0, ["genkd"], 15)
    monkeypatch.setenv("KDLAB_HEADLESS", "1")
    assert moment_widget(frames, TRACE, CLASSES, ["genkd"], 15) is None, "no dead slider where nobody can move it"


def test_areas_are_percent_and_the_controls_come_last():
    table = {ENERGY: np.full((2, 3), 0.5), "genkd:random": np.full((2, 3), 0.4), "genkd": np.full((2, 3), 0.75),
             "units": np.array(["a", "a", "b"])}
    fig = alignments(table, "title")
    labels = [label.get_text() for label in fig.axes[0].get_yticklabels()]
    assert labels == ["λ, GenKD", "λ, GenKD, random weights", ENERGY]
    assert "75.0" in legible(fig) and "3 videos" in legible(fig)


def test_titles_of_signals():
    assert signal_title("teacher_fr:random") == "λ, teacher, FR (phase 1), random weights"
    assert signal_title("x") == "λ, x"
