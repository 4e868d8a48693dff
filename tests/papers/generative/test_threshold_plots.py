"""What becomes of answers as the least score and soft-NMS are dragged, and that the picture says it."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from kdlab.clips.windows import VideoWindow, Windows
from kdlab.measure.detection import soft_nms
from kdlab.papers.generative import threshold_plots
from kdlab.papers.generative.threshold_plots import NEVER, answered, asked, threshold_picture, threshold_widget
from kdlab.show import widgets
from tests.figures import legible

pytestmark = pytest.mark.usefixtures("styled")

CLASSES = ("Jump", "Walk")
TRUTH = pd.DataFrame({"video": ["v"] * 2, "label": [0, 1], "start": [0.0, 10], "end": [4.0, 14]})
#: A good one, nearly the same again, one badly placed, one of a class that is not there at that time.
FOUND = pd.DataFrame({"video": ["v"] * 4, "label": [0, 0, 1, 0], "start": [0.0, 0, 12, 10], "end": [4.0, 3, 16, 14],
                      "score": [0.9, 0.8, 0.7, 0.2]})


def found(sigma: float) -> pd.DataFrame:
    return soft_nms(FOUND, sigma)


def test_answers_are_counted_once_each():
    kept, right = answered(TRUTH, FOUND, 0.3, 2)
    assert right == 1 and kept.right.tolist() == [True, False, False]
    assert kept.tiou.tolist() == pytest.approx([1, 0.75, 1 / 3])
    assert answered(TRUTH, FOUND, 0.1, 2)[0].tiou.iloc[-1] == 0, "of the class, not of any"
    nothing, none = answered(TRUTH, FOUND, 0.95, 2)
    assert none == 0 and nothing.empty


def test_soft_nms_takes_the_second_of_an_action_away():
    all_of_them = legible(threshold_picture(TRUTH, found, CLASSES, 20, 0.3, NEVER))
    assert "without soft-NMS: 1 of 2 actions found, answers too many: 2" in all_of_them
    fig = threshold_picture(TRUTH, found, CLASSES, 20, 0.3, 0.1)
    said = legible(fig)
    assert "σ = 0.1" in said and "1 of 2 actions found, answers too many: 1" in said and "0.33" in said
    spans = sorted((p.get_x(), round(p.get_width(), 3), round(p.get_height(), 3)) for p in fig.axes[0].patches)
    assert spans == [(0, 4, 0.4), (0, 4, 0.86), (10, 4, 0.86), (12, 4, 0.4)]


def test_one_video_is_asked_for(monkeypatch):
    def window(video, first):
        return VideoWindow(f"{video}@{first}", None, -1, "test", "g", video=video, seconds=20.0, first=first,
                           segments=((0.0, 4.0, 0),))

    each = [window("v", 0), window("w", 0), window("v", 32)]
    logits = np.zeros((3, 1, 1, 5))
    logits[..., -3:-1], logits[:, 0, 0, 0] = (0, 30), [4, 0, -4]
    run = SimpleNamespace(folder=SimpleNamespace(name="run"), recipe=SimpleNamespace(window=Windows(rate=7.5)),
                          predictions=lambda split: SimpleNamespace(logits=logits))
    monkeypatch.setattr(threshold_plots, "of_split", lambda run, split: each)
    truth, tell = asked(run, "v")
    assert len(truth) == 1 and set(tell(NEVER).video) == {"v"}
    assert tell(NEVER).start.min() == 0 and tell(NEVER).end.max() == pytest.approx(62 / 7.5), "both of its windows"
    with pytest.raises(ValueError, match="run was not asked about 'x'; it was about v, w"):
        asked(run, "x")


def test_dragging_draws_anew_and_there_is_no_dead_slider(monkeypatch, capsys):
    monkeypatch.setenv("KDLAB_HEADLESS", "1")
    assert threshold_widget(TRUTH, found, CLASSES, 20) is None
    monkeypatch.setattr(widgets, "headless", lambda: False)
    drawn = []
    monkeypatch.setattr(threshold_plots, "threshold_picture", lambda *given: drawn.append(given[-2:]))
    widget = threshold_widget(TRUTH, found, CLASSES, 20)
    least, sigma, lowered = widget.children[:3]
    widget.update()
    least.value, sigma.value, lowered.value = 0.5, 0.4, False
    widget.update()
    assert drawn[0] == (0.3, 0.1) and drawn[-1] == (0.5, NEVER) and "Error" not in capsys.readouterr().out
