"""A compressed clip, one step at a time: what is uncovered when, of which frame, and by which hand."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from kdlab.clips.compressed import modalities
from kdlab.show.codec_plots import STEPS, gop_step, gop_widget
from tests.conftest import words


@pytest.fixture
def clip(make_video):
    """15 frames in two groups; a box walks over a background that brightens."""
    return make_video("clip.avi", 15, codec="mpeg4", g="12", sc_threshold="1000000000")


def test_each_step_uncovers_one_panel_more(clip):
    last = 5 * 12  # of the 13th P-frame, the second of the second group
    for panel in range(5):
        fig = gop_step(clip, last + 1 + panel)
        assert [ax.get_title() == "?" for ax in fig.axes[:5]] == [place > panel for place in range(5)]
        assert f"frame 14, step {panel + 1} of 5: {STEPS[panel]}" in fig.get_suptitle()
        assert ("mean square" in fig.get_suptitle()) == (panel == 4)
    picture = np.asarray(fig.axes[4].get_images()[0].get_array())
    assert np.array_equal(picture, [frame.picture for frame in modalities(clip)][14])


def test_the_reference_follows_the_tick_and_the_last_frame_stays(clip):
    assert [gop_step(clip, 61, far).axes[0].get_title() for far in (True, False)] == ["frame 12", "frame 13"]
    assert gop_step(clip, 99).get_suptitle() == gop_step(clip, 65).get_suptitle()
    with pytest.raises(ValueError, match="five to each of 13 P-frames"):
        gop_step(clip, 0)


@pytest.mark.usefixtures("watched")
def test_a_hand_can_go_through_all_of_it(clip, capsys):
    widget = gop_widget(clip)
    step, accumulated = widget.children[:2]
    assert (step.min, step.max, step.step) == (1, 65, 1)
    step.value, accumulated.value = 65, False
    widget.update()
    assert "Error" not in capsys.readouterr().out and not step.continuous_update
    plt.close("all")
    widget.f(step=2, accumulated=True)
    assert "frame 1, step 2 of 5" in words(plt.gcf())
