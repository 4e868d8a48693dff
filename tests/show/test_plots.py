"""Every picture is a Figure whose axes say what they show, on the smallest input there is."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from kdlab.measure.paired import Effect, effect
from kdlab.show import plots
from kdlab.study import Scores
from tests.conftest import words
from tests.figures import faults

CLASSES = ("Jump", "Run", "Sit")
LABELS = np.arange(12) % 3
RIGHT, GUESSED = np.tile(LABELS, (2, 1)), np.zeros((2, 12), int)
LOGITS = np.eye(3)[LABELS]
CLIP = np.random.default_rng(0).integers(0, 60, (6, 16, 20, 3), np.uint8)
SCORES = Scores(CLASSES, (0, 1), np.array([f"c{n}" for n in range(12)]), np.arange(12), LABELS,
                {"a": RIGHT, "b": GUESSED})
TITLES = {"a": "method", "b": "baseline", "missing": "not run"}
EFFECTS = {"method - baseline": effect(SCORES.correct("a"), SCORES.correct("b"))}

# name of the function: a call of it, and the words its axes must carry
PICTURES = {
    "accuracies": (lambda: plots.accuracies(SCORES, TITLES, "T", {"majority": 40.0}), ["test accuracy (%)"]),
    "effects": (lambda: plots.effects(EFFECTS), ["difference", "points"]),
    "filmstrip": (lambda: plots.filmstrip({"dark": CLIP, "shorter": CLIP[:2]}, 4, "T", seconds=2.4), ["dark", "2.4 s"]),
    "soft_target_bars": (lambda: plots.soft_target_bars(LOGITS[0], CLASSES, label=1), ["probability", "label is Run"]),
}


@pytest.mark.usefixtures("styled")
@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_has_its_words_and_can_be_read_on_a_wall(name):
    draw, expected = PICTURES[name]
    fig = draw()
    assert faults(fig) == []
    assert [word for word in expected if word not in words(fig)] == []


def test_a_level_is_a_line_near_the_values_and_a_word_far_from_them():
    fig, ax = plt.subplots()
    ax.plot([60, 64], [0, 1])
    assert plots.levels(ax, {"chance": 9.1, "majority": 58.0}, [60, 64, np.nan]) == "; chance 9.1 %"
    assert [line.get_xdata()[0] for line in ax.lines[1:]] == [58] and "majority" in words(fig)
    assert plots.levels(ax, {"half": 0.5}, [0, 1], axis="y") == "" and ax.lines[-1].get_ydata()[0] == 0.5


def test_the_axis_of_accuracies_shows_the_seeds_and_only_notes_what_is_far():
    right = np.tile(LABELS, (2, 100))
    right[0, :30], right[1, :18] = -1, -1  # 97.5 and 98.5 %, where chance is 33.3
    near = Scores(CLASSES, (0, 1), np.arange(1200).astype(str), np.arange(1200), np.tile(LABELS, 100), {"a": right})
    fig = plots.accuracies(near, TITLES, also={"majority": 95.0})
    assert fig.axes[0].get_xlim()[0] > 80 and "; chance 33.3 %" in words(fig)
    dotted = [line.get_xdata()[0] for line in fig.axes[0].lines if line.get_linestyle() == ":"]
    assert dotted == [95.0] and "; majority" not in words(fig)
    again = plots.accuracies(near, TITLES)
    for one, other in zip(fig.axes[0].collections, again.axes[0].collections, strict=True):
        np.testing.assert_allclose(one.get_offsets(), other.get_offsets(), atol=1e-9)  # and not by chance


def test_the_bars_are_the_intervals_and_an_infinite_one_crosses_the_axis():
    bars = {"wide": (3, -1, 7), "left": (-5, -7, -3), "single": (1, -np.inf, np.inf)}
    (ax,) = plots.effects({name: Effect(*ends, 3) for name, ends in bars.items()}).axes
    left, right = ax.get_xlim()
    assert -8.5 < left < -7 and 7 < right < 8.5
    assert [text.get_text() for text in ax.texts] == ["+3.0 ± 4.0", "−5.0 ± 2.0", "+1.0 ± inf"], "no hyphen is a minus"
    thick = [line.get_xdata() for line in ax.lines if line.get_linewidth() == 4]
    assert np.allclose(thick, [[-1, 7], [-7, -3], [left, right]])


