"""Pictures of where networks look."""

import numpy as np
import pytest

from kdlab.show import widgets
from kdlab.show.attention_plots import maps_picture, over_time, percent_on_actor, removal, time_widget
from tests.conftest import words
from tests.figures import faults, legible

pytestmark = pytest.mark.usefixtures("styled")


@pytest.fixture
def clip():
    frames = np.random.default_rng(0).integers(0, 60, (6, 12, 14, 3)).astype(np.uint8)
    masks = np.zeros((6, 12, 14), bool)
    masks[:5, 3:6, 4:8] = True  # who has left has no outline
    return frames, masks


def test_a_row_for_each_map_and_one_for_the_clip(clip):
    frames, masks = clip
    fig = maps_picture(frames, {"student": masks.astype(float), "teacher": np.ones(masks.shape)}, masks, (0, 5, 9))
    assert len(fig.axes) == 3 * 2 + 1, "a moment outside the clip is left out; a bar says what colours mean"
    assert faults(fig) == []
    assert {"student", "teacher", "brightened", "largest value"} <= set(words(fig).splitlines())


def test_a_share_of_the_map_lies_on_the_actor_in_frames_that_have_both(clip):
    _, masks = clip
    heat = np.ones(masks.shape)
    heat[1] = 0
    heat[2] = masks[2]
    shares = percent_on_actor(heat, masks)
    assert shares[[0, 2, 3]] == pytest.approx([100 * 12 / 168, 100, 100 * 12 / 168])
    assert np.isnan(shares[[1, 5]]).all(), "no map, and nobody there"


def test_maps_stand_side_by_side_with_their_shares_over_time(clip):
    frames, masks = clip
    fig = over_time(frames, {"DL-KDD\nRun ✓": masks * 1.0, "what moves": masks + 0.5}, masks, 3, title="Run")
    said = legible(fig)
    assert "DL-KDD\nRun ✓" in said and "part of the map's\nlargest value" in said and "frame 3, brightened" in said
    lines = {line.get_label(): line.get_ydata() for ax in fig.axes for line in ax.lines}
    assert lines["DL-KDD, Run ✓"][:5] == pytest.approx([100] * 5)
    assert lines["alike everywhere"][0] == pytest.approx(100 * 12 / 168)
    with pytest.raises(IndexError):
        over_time(frames, {"a": masks * 1.0}, masks, 6)


def test_time_is_dragged_through_the_maps_and_each_is_asked_for_once(clip, monkeypatch, capsys):
    frames, masks = clip
    asked = []
    monkeypatch.setattr(widgets, "headless", lambda: False)
    widget = time_widget([frames, frames], ["Run", "Sit"], np.stack([masks, masks]),
                         lambda number: asked.append(number) or {"a map": masks * 1.0})
    clip, frame, enhanced = widget.children[:3]
    assert (frame.min, frame.max, frame.value) == (0, 5, 3)
    for frame.value in (0, 5):
        widget.update()
    enhanced.value, clip.value = False, 1
    widget.update()
    assert "Error" not in capsys.readouterr().out and sorted(asked) == [0, 1]


def test_curves_of_deletion_are_means_over_clips():
    curves = np.stack([np.linspace(1, 0, 11), np.ones(11)])
    left, _ = removal({"its own": {"deletion": curves, "insertion": curves}}).axes
    assert left.lines[0].get_ydata() == pytest.approx(50 * np.linspace(1, 0, 11) + 50)
