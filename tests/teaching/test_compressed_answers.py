"""Code of a few lines in notebooks 06, 07 and 07b is tried; the other answers follow the evidence."""

import cv2
import numpy as np
import pytest

from kdlab.teaching import answers, compressed_answers
from kdlab.teaching.check import judge
from kdlab.teaching.exercises import find


def carried(picture, motion):
    place = np.stack(np.meshgrid(np.arange(picture.shape[1]), np.arange(picture.shape[0])), -1) - motion
    return cv2.remap(picture.astype(np.float32), place.astype(np.float32), None, cv2.INTER_NEAREST)


def stop(probabilities, theta):
    sure = probabilities.max(1) > theta
    sure[-1] = True
    return sure.argmax()


def front(costs, accuracies):
    better = (costs[:, None] >= costs) & (accuracies[:, None] <= accuracies)
    return ~(better & ((costs[:, None] != costs) | (accuracies[:, None] != accuracies))).any(1)


@pytest.mark.parametrize(("name", "good", "bad"), [
    ("06.4", carried, lambda picture, motion: carried(picture, -motion)),
    ("06.4", carried, lambda picture, motion: carried(picture, motion[..., ::-1])),
    ("07.4", stop, lambda p, theta: (p.max(1) > theta).argmax()),
    ("07.4", stop, lambda p, theta: stop(p, theta - 1e-9)),
    ("07b.3", front, lambda costs, accuracies: costs == costs.min()),
    ("07b.3", front, lambda costs, accuracies: [not ((costs < c) & (accuracies > a)).any()
                                                for c, a in zip(costs, accuracies, strict=True)]),
])
def test_code_of_a_few_lines_is_tried(name, good, bad):
    assert judge(find(name), good).right and not judge(find(name), bad).right


def test_answers_of_these_notebooks_are_among_all():
    assert compressed_answers.NUMBERS.items() <= answers.NUMBERS.items()
    assert compressed_answers.CODE.items() <= answers.CODE.items()


def test_numbers_that_can_be_had_by_hand():
    assert compressed_answers.motion_in_eight_bits() == 128 - int(7 * 127.5 / 20)
    w = compressed_answers.weight_of_one_exit()
    assert 1 / (1 + np.exp(-w)) == pytest.approx(0.8)
    assert compressed_answers.published_cost_of_segments() == pytest.approx(2 * 2.90 + 2.94 + 2 * 7.35)
    assert 0 < compressed_answers.cost_of_stopping_early() < 100
    assert 100 / 12 < compressed_answers.bytes_of_i_frames() < 50
    assert compressed_answers.vectors_in_a_still_room() > 0
