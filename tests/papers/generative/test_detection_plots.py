"""Pictures of notebook 05 carry the numbers that they claim to."""

import numpy as np
import pandas as pd
import pytest

from kdlab.measure.detection import TIOUS, evaluate
from kdlab.papers.generative.detection_plots import (
    false_positives,
    kind_counts,
    map_over_tiou,
    map_table,
    timeline,
    timeline_widget,
)
from kdlab.papers.generative.detection_study import METRICS, Detections
from tests.figures import legible

pytestmark = pytest.mark.usefixtures("styled")

CLASSES = ("Jump", "Walk")
TRUTH = pd.DataFrame({"video": ["v"] * 4, "label": [0, 1, 0, 1], "start": [0.0, 5, 10, 15], "end": [2.0, 7, 12, 17]})
FRAMES = np.zeros((40, 8, 10, 3), np.uint8)


def found(**changes):
    return TRUTH.assign(score=[0.9, 0.8, 0.7, 0.6], **changes)


def scores():
    each = {"det_student": found(label=[0, 0, 0, 1], start=[0.0, 5, 11.5, 30], end=[2.0, 7, 13.5, 32]),
            "det_genkd": found()}
    each = {c: [evaluate(TRUTH, its, 2, TIOUS)] for c, its in each.items()}
    ids = np.array(["v"])
    return Detections(CLASSES, (0,), ids, ids, np.zeros(1, int), found=each, recipes={c: ["r"] for c in each})


TITLES = {"det_student": "student", "det_genkd": "student + GenKD"}


def bars(fig):
    ax = fig.axes[-1]
    return sorted((round(p.get_y() + p.get_height() / 2), p.get_x(), p.get_x() + p.get_width()) for p in ax.patches)


def test_a_time_line_has_true_and_found_segments_and_frames_of_their_moments():
    fig = timeline(TRUTH, {"one": found()[::-1]}, CLASSES, FRAMES, 20.0, most=2)
    assert [bar for bar in bars(fig) if bar[0] == 0] == [(0, 0, 2), (0, 5, 7), (0, 10, 12), (0, 15, 17)]
    assert [bar for bar in bars(fig) if bar[0] == 1] == [(1, 0, 2), (1, 5, 7)], "the surest"
    shown = legible(fig)
    assert "true" in shown and "one" in shown and "Jump" in shown and "1.2 s" in shown and len(fig.axes) == 9
    assert len(timeline(TRUTH, {}, CLASSES, FRAMES, 20.0, at=20.0).axes) == 2
    hatches = {p.get_hatch() for p in fig.axes[-1].patches}
    assert len(hatches) == 2, "classes differ without colour"


def test_the_widget_is_silent_where_nobody_can_move_it(monkeypatch, capsys):
    monkeypatch.setenv("KDLAB_HEADLESS", "1")
    assert timeline_widget(TRUTH, {"one": found()}, CLASSES, FRAMES, 20.0) is None
    assert "JupyterLab" in capsys.readouterr().out


def test_kinds_are_of_as_many_predictions_as_there_are_actions():
    extra = pd.concat([found(), found(start=[30.0] * 4, end=[31.0] * 4).assign(score=0.1)])
    assert kind_counts([evaluate(TRUTH, extra, 2, TIOUS)])["true"] == 100
    counts = kind_counts(scores().found["det_student"])
    assert counts == {"true": 25, "double": 0, "localisation": 25, "confusion": 25, "background": 25}
    shown = legible(false_positives(scores(), TITLES))
    assert "badly placed" in shown and "25" in shown and "100" in shown


def test_map_over_tiou_and_its_table():
    table = map_table(scores(), TITLES)
    assert table.iloc[1, 1:].tolist() == [100] * len(METRICS) and "mean 0.1-0.5" in table.columns
    assert table.iloc[0]["0.1"] == pytest.approx(scores().mean_ap("det_student", "0.1")[0])
    fig = map_over_tiou(scores(), TITLES, "title")
    student = fig.axes[0].containers[0].lines[0].get_ydata()
    assert student == pytest.approx([scores().mean_ap("det_student", f"{t:g}")[0] for t in
                                     (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)])
    assert "one seed" in legible(fig)
