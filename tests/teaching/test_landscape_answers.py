"""Code of a few lines for notebooks 08 and 09, right and nearly right."""

import numpy as np
import pytest

from kdlab.teaching import landscape_answers
from kdlab.teaching.check import judge
from kdlab.teaching.exercises import find


def rise(a, w, radius):
    g = a @ w
    there = w + radius * g / np.sqrt(g @ g)
    return there @ a @ there / 2 - w @ a @ w / 2


def energy(heat, masks, all_frames=False):
    seen = masks.any((1, 2)) | all_frames
    return ((heat * masks).sum((1, 2)) / heat.sum((1, 2)))[seen].mean()


@pytest.mark.parametrize(("name", "good", "bad"), [
    ("08.4", rise, lambda a, w, radius: radius * np.linalg.norm(a @ w)),
    ("09.5", energy, lambda heat, masks: energy(heat, masks, all_frames=True)),
])
def test_code_is_tried(name, good, bad):
    assert judge(find(name), good).right and not judge(find(name), bad).right


def test_closed_forms():
    draws = np.random.default_rng(0).standard_normal(10**6) ** 2
    error = draws.std() / draws.mean() / np.sqrt(landscape_answers.probes_of_one_outlier())
    assert error == pytest.approx(0.02, rel=0.02)
    mask, picked = (np.random.default_rng(seed).random(10**6) < 0.3 for seed in (1, 2))
    blind = 100 * (mask & picked).sum() / (mask | picked).sum()
    assert landscape_answers.iou_of_a_blind_map() == pytest.approx(blind, abs=0.2)


def test_what_stands_in_the_rows_is_plausible():
    assert 0 < landscape_answers.motion_over_iframe() < 100 and 0 < landscape_answers.energy_of_the_student() < 100
