"""A group of pictures, one step at a time: what is uncovered when, of which frame, and by which hand."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from kdlab.clips.compressed import modalities
from kdlab.show import codec_widgets
from kdlab.show.codec_widgets import STEPS, gop_picture, gop_step, gop_steps, gop_widget
from tests.conftest import public, words


@pytest.fixture
def clip(make_video):
    """15 frames in two groups; a box walks over a background that brightens."""
    return make_video("clip.avi", 15, codec="mpeg4", g="12", sc_threshold="1000000000")


def shown(fig) -> list[np.ndarray]:
    return [np.asarray(ax.get_images()[0].get_array()) for ax in fig.axes if ax.get_images()]


def test_the_frame_asked_for_is_made_of_the_reference_asked_for(clip):
    frames = [its.picture for its in modalities(clip)]
    for accumulated, since in ((True, 12), (False, 13)):
        reference, *_, picture = shown(gop_picture(clip, 14, accumulated))
        assert np.array_equal(picture, frames[14]) and np.array_equal(reference, frames[since])


def test_steps_are_those_of_the_p_frames_of_a_group(clip):
    assert gop_steps(clip) == list(range(1, 12)) and gop_steps(clip, 1) == [13, 14]
    with pytest.raises(ValueError, match="group=2: clip.avi has 2 groups"):
        gop_steps(clip, 2)
    with pytest.raises(ValueError, match="group"):
        gop_steps(clip, -1)


def test_each_step_uncovers_one_panel_more(clip):
    for panel in range(5):
        fig = gop_step(clip, 1, 6 + panel)  # of the second P-frame of the second group
        assert [ax.get_title() == "?" for ax in fig.axes[:5]] == [place > panel for place in range(5)]
        assert f"frame 14, step {panel + 1} of 5: {STEPS[panel]}" in fig.get_suptitle()
        assert ("mean square" in fig.get_suptitle()) == (panel == 4)
    assert np.array_equal(shown(fig)[4], [its.picture for its in modalities(clip)][14])


def test_the_reference_follows_the_tick_and_the_last_frame_stays(clip):
    assert {"frame 12", "frame 13"} == {gop_step(clip, 1, 6, far).axes[0].get_title() for far in (True, False)}
    assert gop_step(clip, 1, 99).get_suptitle() == gop_step(clip, 1, 10).get_suptitle()
    with pytest.raises(ValueError, match="five to a P-frame"):
        gop_step(clip, 0, 0)


def test_an_i_frame_alone_is_said(make_video):
    path = make_video("one.avi", 13, codec="mpeg4", g="12", sc_threshold="1000000000")
    with pytest.raises(ValueError, match="group=1 of one.avi is an I-frame alone"):
        gop_step(path, 1, 1)


@pytest.mark.usefixtures("watched")
def test_a_hand_can_go_through_all_of_it(clip, capsys):
    widget = gop_widget(clip)
    step, group, accumulated = widget.children[:3]
    assert (step.min, step.max, step.step, group.options) == (1, 55, 1, (0, 1))
    step.value, group.value, accumulated.value = 55, 1, False
    widget.update()
    assert "Error" not in capsys.readouterr().out and not step.continuous_update
    plt.close("all")
    widget.f(step=2, group=0, accumulated=True)
    assert "frame 1, step 2 of 5" in words(plt.gcf())


def test_headless_there_is_no_dead_slider(clip, capsys, monkeypatch):
    monkeypatch.setenv("KDLAB_HEADLESS", "1")
    assert gop_widget(clip) is None and "JupyterLab" in capsys.readouterr().out


def test_every_function_is_tested_here():
    assert public(codec_widgets) <= globals().keys()
