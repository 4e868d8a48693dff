"""Pictures of where networks look."""

import numpy as np
import pandas as pd
import pytest

from kdlab.measure.paired import Effect
from kdlab.show import widgets
from kdlab.show.attention_plots import (
    Look,
    gain_bars,
    looks_picture,
    on_actor,
    over_time,
    randomised,
    ranked,
    removal,
    time_widget,
)
from kdlab.show.displayed import alt
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
    fig = looks_picture(frames, {"student": masks.astype(float), "teacher": np.ones(masks.shape)}, masks, (0, 5, 9))
    assert len(fig.axes) == 3 * 2 + 1, "a moment outside the clip is left out; a bar says what colours mean"
    assert faults(fig) == []
    assert {"student", "teacher", "brightened", "largest value"} <= set(words(fig).splitlines())


def test_best_median_and_worst_are_by_score():
    assert ranked(np.array([0.5, np.nan, 0.1, 0.9])) == {"best": 3, "median": 0, "worst": 2}
    with pytest.raises(ValueError, match="no clip has a score"):
        ranked(np.full(3, np.nan))


def test_charts_name_what_they_show():
    e = Effect(5, 4, 6, 3, 7, 3, 40, 3, 40, 1)
    table = pd.DataFrame([(name, "iou", e) for name in ("dlkdd", "dlkdd@fine")],
                         columns=["network", "metric", "gain"])
    said = words(bars := gain_bars(table, {"dlkdd": "DL-KDD"}, "iou"))
    assert "DL-KDD, fine" in said and "with no more units than its own" in said
    curve = {"deletion": np.ones((3, 11)), "insertion": np.ones((3, 11))}
    assert "another clip's" in words(lines := removal({"its own": curve, "another clip's": curve}))
    assert "stages.3" in words(more := randomised({"DL-KDD": {"fc": 0.4, "stages.3": 0.1}}))
    assert faults(bars) == faults(lines) == faults(more) == []


def test_a_share_of_the_map_lies_on_the_actor_in_frames_that_have_both(clip):
    _, masks = clip
    heat = np.ones(masks.shape)
    heat[1] = 0
    heat[2] = masks[2]
    shares = on_actor(heat, masks)
    assert shares[[0, 2, 3]] == pytest.approx([100 * 12 / 168, 100, 100 * 12 / 168])
    assert np.isnan(shares[[1, 5]]).all(), "no map, and nobody there"


def test_networks_stand_side_by_side_with_what_they_say_and_their_shares_over_time(clip):
    frames, masks = clip
    names = ("its teacher", "DL-KDD", "same-light KD", "CE, raw", "weights at random")
    looks = {name: Look(masks * 1.0, "Run", name == "DL-KDD") for name in names} | {"what moves": Look(masks + 0.5)}
    fig = over_time(frames, looks, masks, 3, title="Run")
    said = legible(fig)
    assert "DL-KDD\nsays Run ✓" in said and "CE, raw\nsays Run ✗" in said and "what moves\nknows no class" in said
    assert "part of the map's\nlargest value" in said and "frame 3, brightened" in said
    assert sum(bool(ax.images) for ax in fig.axes) == 7 and "DL-KDD, says Run ✓, 100 % of its map" in alt(fig)
    lines = {line.get_label(): line.get_ydata() for ax in fig.axes for line in ax.lines}
    assert lines["DL-KDD"][:5] == pytest.approx([100] * 5)
    assert lines["a map that looks everywhere"][0] == pytest.approx(100 * 12 / 168)
    with pytest.raises(IndexError):
        over_time(frames, looks, masks, 6)


def test_time_is_dragged_through_the_maps_and_each_is_asked_for_once(clip, monkeypatch, capsys):
    frames, masks = clip
    asked = []

    def looks(number, layer):
        asked.append((number, layer))
        return {layer: Look(masks * 1.0, "Run", True)}

    make = lambda: time_widget([frames, frames], ["Run", "Sit"], np.stack([masks, masks]), looks, ("a", "b"))  # noqa: E731
    monkeypatch.setattr(widgets, "headless", lambda: False)
    widget = make()
    clip, layer, frame, enhanced = widget.children[:4]
    assert (frame.min, frame.max, frame.value) == (0, 5, 3)
    for frame.value in (0, 5):
        widget.update()
    layer.value, enhanced.value, clip.value = "b", False, 1
    widget.update()
    assert "Error" not in capsys.readouterr().out
    assert set(asked) >= {(0, "a"), (1, "b")} and len(asked) == len(set(asked))
    monkeypatch.setattr(widgets, "headless", lambda: True)
    assert make() is None
