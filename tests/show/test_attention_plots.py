"""Pictures of where networks look."""

import numpy as np
import pandas as pd
import pytest

from kdlab.measure.paired import Effect
from kdlab.show import widgets
from kdlab.show.attention_plots import gain_bars, look_widget, looks_picture, randomised, ranked, removal
from tests.conftest import words
from tests.figures import faults

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
    assert {"student", "teacher", "brightened", "part of the map's largest value"} <= set(words(fig).splitlines())


def test_best_median_and_worst_are_by_score():
    assert ranked(np.array([0.5, np.nan, 0.1, 0.9])) == {"best": 3, "median": 0, "worst": 2}
    with pytest.raises(ValueError, match="no clip has a score"):
        ranked(np.full(3, np.nan))


def test_charts_name_what_they_show():
    e = Effect(5, 4, 6, 3, 7, 3, 40, 3, 40, 1)
    table = pd.DataFrame([(name, "iou", e, "units") for name in ("dlkdd", "dlkdd@fine")],
                         columns=["network", "metric", "gain", "grid"])
    said = words(bars := gain_bars(table, {"dlkdd": "DL-KDD"}, "iou"))
    assert "DL-KDD, fine" in said and "with no more units than its own" in said
    assert "at the resolution of pixels" in words(gain_bars(table.assign(grid="pixels"), {}, "iou"))
    curve = {"deletion": np.ones((3, 11)), "insertion": np.ones((3, 11))}
    assert "another clip's" in words(lines := removal({"its own": curve, "another clip's": curve}))
    assert "stages.3" in words(more := randomised({"DL-KDD": {"fc": 0.4, "stages.3": 0.1}}))
    assert faults(bars) == faults(lines) == faults(more) == []


def test_every_position_draws(clip, monkeypatch, capsys):
    frames, masks = clip
    make = lambda: look_widget([frames], ["Run"], masks[None], lambda c, layer: {layer: masks * 1.0}, ("a", "b"))  # noqa: E731
    monkeypatch.setattr(widgets, "headless", lambda: False)
    widget = make()
    widget.children[1].value, widget.children[2].value, widget.children[3].value = "b", 5, False
    widget.update()
    assert "Error" not in capsys.readouterr().out
    monkeypatch.setattr(widgets, "headless", lambda: True)
    assert make() is None
