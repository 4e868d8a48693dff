"""The clips on which two conditions differ: which, in what order, and as pictures that move."""

from io import BytesIO

import matplotlib.pyplot as plt
import numpy as np
import pytest
from PIL import Image

from kdlab.night import Night, render_clip
from kdlab.show import clip_widgets, widgets
from kdlab.show.clip_widgets import differing, differing_picture, differing_widget, moving, of_night
from kdlab.show.plots import style
from kdlab.study import Scores
from tests.figures import legible

LABELS = np.array([0, 1, 2, 0])
A = np.array([[0, 1, 2, 0], [0, 1, 2, 1], [0, 1, 0, 0]])  # right in 3, 3, 2, 2 of three seeds
B = np.array([[1, 1, 1, 0], [2, 1, 1, 0], [2, 0, 2, 0]])  # in 0, 2, 1, 3
SCORES = Scores(("Jump", "Run", "Sit"), (0, 1, 2), np.array([f"dark/Jump/test-000{k}" for k in range(4)]), np.arange(4),
                LABELS, {"a": A, "b": B})
FRAMES = np.random.default_rng(0).integers(0, 60, (5, 16, 20, 3), np.uint8)


def test_the_largest_difference_comes_first_and_what_is_not_gained_is_left_out():
    found = differing(SCORES, "a", "b")
    assert [(f.id[-1], f.one, f.other) for f in found] == [("0", 3, 0), ("1", 3, 2), ("2", 2, 1)]
    assert (found[0].label, found[0].mistaken, found[0].seeds) == ("Jump", "Sit", 3)
    assert found[1].mistaken == "Jump"
    assert [f.id[-1] for f in differing(SCORES, "b", "a")] == ["3"]


def test_a_condition_that_was_not_run_and_clips_that_are_not_there_are_told():
    with pytest.raises(ValueError, match="no condition 'c'; there are a, b"):
        differing(SCORES, "a", "c")
    with pytest.raises(ValueError, match="ask the other way round"):
        differing_picture(SCORES, "a", "a", lambda name: FRAMES)


def test_the_picture_has_a_row_for_each_clip_with_its_counts():
    asked = []
    with plt.rc_context():
        style()
        fig = differing_picture(SCORES, "a", "b", lambda name: asked.append(name) or FRAMES, {"a": "method"}, count=2)
        said = legible(fig)
    assert asked == ["dark/Jump/test-0000", "dark/Jump/test-0001"]
    assert "1. Jump\n3 : 0\nof 3 seeds" in said and "2. Run\n3 : 2" in said and "method : b" in said
    plt.close(fig)


def test_clips_of_night_are_rendered_by_their_id():
    night = Night(per_class=(0, 0, 1))
    assert np.array_equal(of_night(night)("dark/Walk/test-0000"), render_clip(night, "test", "Walk", 0).dark)


def test_moving_pictures_have_every_frame_and_the_clips_pace():
    image = Image.open(BytesIO(moving(FRAMES, fps=10)))
    assert (image.n_frames, image.size, image.info["duration"], image.info["loop"]) == (5, (20, 16), 100, 0)


def test_headless_there_is_no_widget(capsys, monkeypatch):
    monkeypatch.setattr(widgets, "headless", lambda: True)
    assert differing_widget(SCORES, "a", "b", lambda name: FRAMES) is None
    assert "JupyterLab" in capsys.readouterr().out


def test_choosing_shows_another_clip(watched, monkeypatch):
    shown = []
    monkeypatch.setattr(clip_widgets, "moving", lambda frames: shown.append(frames.shape) or b"GIF89a")
    asked = []
    widget = differing_widget(SCORES, "b", "a", lambda name: asked.append(name[-1]) or FRAMES, {"a": "method"})
    right, wrong, place = widget.children[:3]
    assert (right.value, wrong.value) == ("b", "method") and right.options == ("b", "method")
    widget.update()
    assert set(asked) == {"3"}, "the one clip that b gets right more often"
    right.value, wrong.value = "method", "b"
    place.value = 3
    assert asked[-1] == "2"
    assert shown[0] == (5, 16, 40, 3), "what the camera saw, beside what people can see"
