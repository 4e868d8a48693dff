"""Clips as points: every one is drawn, by class, and the panels share their axes."""

import matplotlib.pyplot as plt
import numpy as np

from kdlab.measure.embedding import Embedding
from kdlab.show.feature_plots import embeddings
from kdlab.show.plots import style
from tests.figures import legible

CLASSES = tuple("abcdefghijk")
LABELS = np.arange(33) % 11
POINTS = np.random.default_rng(0).normal(size=(33, 2))
FOUND = Embedding({"teacher": POINTS, "student": POINTS / 2, "none": 0 * POINTS}, np.array([0.4, 0.2]),
                  {"teacher": 1.0, "student": 0.75, "none": -0.02})


def test_every_clip_is_a_point_in_every_panel_and_the_axes_are_the_same():
    with plt.rc_context():
        style()
        fig = embeddings(FOUND, LABELS, CLASSES)
        said = legible(fig)
    assert "75 % of that again" in said and "second axis (20 %)" in said
    first = fig.axes[0]
    assert first.get_title() == "teacher" and first.get_xlabel() == "first axis (40 %)", "whose axis it is"
    for ax, points in zip(fig.axes, FOUND.points.values(), strict=True):
        drawn = np.concatenate([part.get_offsets() for part in ax.collections])
        assert sorted(map(tuple, drawn)) == sorted(map(tuple, points))
    assert len({ax.get_xlim() for ax in fig.axes}) == 1
    plt.close(fig)


def test_classes_differ_by_colour_or_mark_and_only_those_asked_for_are_shown():
    fig = embeddings(FOUND, LABELS, CLASSES, ("teacher", "student"))
    assert len(fig.axes) == 2
    looks = {(tuple(part.get_facecolor()[0]), len(part.get_paths()[0].vertices), part.get_paths()[0].vertices[0, 1])
             for part in fig.axes[0].collections}
    assert len(looks) == len(CLASSES)
    plt.close(fig)
