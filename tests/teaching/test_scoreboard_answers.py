"""Exercises of notebooks 10 and 11: what is asked for in code is told from what is nearly it."""

import numpy as np
import pytest

from kdlab.teaching import scoreboard_answers as answers
from kdlab.teaching.check import judge
from kdlab.teaching.exercises import find


def rule(low, high, strict_low, strict_high):
    if strict_low > 0:
        return 1
    if strict_high < 0:
        return -1
    return 0 if -2 < low and high < 2 else 9


def strict_forgotten(low, high, strict_low, strict_high):
    return 1 if low > 0 else -1 if high < 0 else 0 if -2 < low and high < 2 else 9


def changes(pixels):
    before = np.concatenate([pixels[:, :, :1], pixels[:, :, :-1]], axis=2)
    return 0.5 + (pixels - before) / 2


@pytest.mark.parametrize(("name", "good", "bad"), [
    ("10.4", rule, strict_forgotten), ("11.4", changes, lambda pixels: 0.5 + np.diff(pixels, axis=2) / 2)])
def test_code_is_tried(name, good, bad):
    assert judge(find(name), good).right and not judge(find(name), bad).right


def test_the_closed_form_is_that_of_the_network():
    assert answers.parameters_of_width_sixteen(8) == 2035, "which notebook 11 prints"


def test_three_seeds_leave_a_wider_interval_than_all():
    from kdlab import paths
    from kdlab.study import Scores

    study = Scores.load(paths.figures_dir() / "predictions" / "dual_light-night.npz")
    assert answers.half_width_of_three_seeds() > study.effect("dlkdd", "ce_raw").half_width
