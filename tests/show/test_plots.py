"""Every picture is a Figure whose axes say what they show, on the smallest input there is."""

import numpy as np
import pytest

from kdlab.measure.paired import Effect
from kdlab.show import plots
from tests.conftest import words
from tests.figures import faults

CLIP = np.random.default_rng(0).integers(0, 60, (6, 16, 20, 3), np.uint8)
EFFECTS = {"method - baseline": Effect(3, 1, 5, 3, 100)}

# name of the function: a call of it, and the words its axes must carry
PICTURES = {
    "effects": (lambda: plots.effects(EFFECTS), ["difference", "points"]),
    "filmstrip": (
        lambda: plots.filmstrip({"dark": CLIP, "shorter": CLIP[:2]}, 4, "T", seconds=2.4),
        ["dark", "2.4 s"],
    ),
}


@pytest.mark.usefixtures("styled")
@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_has_its_words_and_can_be_read_on_a_wall(name):
    draw, expected = PICTURES[name]
    fig = draw()
    assert faults(fig) == []
    assert [word for word in expected if word not in words(fig)] == []


def test_the_bars_are_the_intervals_and_an_infinite_one_crosses_the_axis():
    bars = {"wide": (3, -1, 7), "left": (-5, -7, -3), "single": (1, -np.inf, np.inf)}
    (ax,) = plots.effects({name: Effect(*ends, 3) for name, ends in bars.items()}).axes
    left, right = ax.get_xlim()
    assert -8.5 < left < -7 and 7 < right < 8.5
    # no hyphen is a minus
    assert [text.get_text() for text in ax.texts] == ["+3.0 ± 4.0", "−5.0 ± 2.0", "+1.0 ± inf"]
    thick = [line.get_xdata() for line in ax.lines if line.get_linewidth() == 4]
    assert np.allclose(thick, [[-1, 7], [-7, -3], [left, right]])
