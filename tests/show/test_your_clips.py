"""What is said of somebody's clips follows from the result."""

from types import SimpleNamespace

import numpy as np
import pytest

from kdlab.show.your_clips import about, best_constant, given, learnt_from
from kdlab.study import Scores
from kdlab.train.recipe import UserClips

TITLES = {"good": "method", "guess": "baseline", "missing": "not run"}


def made(groups: int, clips: int = 120) -> Scores:
    """Three classes, the first of half of the clips; one network that is right, one that always says the first."""
    labels = np.array([0, 1, 0, 2] * (clips // 4))
    predicted = {"good": np.tile(labels, (2, 1)), "guess": np.zeros((2, clips), int)}
    ids = np.arange(clips).astype(str)
    return Scores(("a", "b", "c"), (0, 1), ids, np.arange(clips) % groups, labels, predicted, {}, {})


def test_clips_are_given_as_a_notebooks_parameters_name_them():
    assert given(None, "2", 3, "skip") is None and given("") is None
    assert given("clips") == given("clips", "", 0, "raise") == UserClips("clips")
    assert given("clips", "2", 3, "skip") == UserClips("clips", "2", 3, "skip")
    with pytest.raises(ValueError, match="on_damaged='drop'"):
        given("clips", on_damaged="drop")


def test_what_networks_learn_from_is_said_by_number_or_counted():
    parts = {"train": range(4), "val": range(2), "test": range(3)}
    catalogue = SimpleNamespace(split=parts.get)
    data = SimpleNamespace(name="few", fingerprint=lambda: 20 * "ab", catalogue=lambda: catalogue)
    line = "networks of this notebook: few, abababababab, {} to train, choose and test on"
    assert learnt_from(data, (9, 1, 2)) == line.format("9/1/2 clips a class")
    assert learnt_from(data, (9, 1, 2), "videos") == line.format("9/1/2 videos")
    assert learnt_from(data) == line.format("4/2/3 clips")
    assert learnt_from(data, None, "videos", "actions") == line.format("4/2/3 actions")


def test_the_best_constant_answer_is_the_commonest_class():
    assert best_constant(made(120)) == pytest.approx(50)


def test_clips_without_groups_are_not_called_actors_or_scenes():
    said = about(made(120), TITLES)
    assert "120 test clips, each a group of its own" in said and "actors" not in said
    said = about(made(40), TITLES)
    assert "40 groups" in said and "of 120 test clips" in said and "each a group" not in said


def test_networks_far_above_chance_are_not_said_to_be_expected_there():
    said = about(made(120), {"good": "method"})
    assert "Best constant answer 50.0 %, chance 33.3 %." in said
    assert "by their 95 % interval: method." in said and "tells nothing" not in said and "places" not in said
    said = about(made(120), {"guess": "baseline"})
    assert "tells nothing" in said and "interval: none." in said
    both = about(made(120), TITLES)
    assert "interval: method." in both and "tells nothing" in both
