"""Fidelity and calibration: closed forms, and a student that is right where its teacher is not."""

import numpy as np
import pytest

from kdlab.measure.fidelity import agreement, calibration_error, mistakes_shared, nll

LABELS = np.array([0, 1, 2, 0])
TEACHER = np.log(np.array([[8, 1, 1], [8, 1, 1], [1, 8, 1], [1, 1, 8]]) / 10)  # right once


def test_a_student_may_agree_give_other_mistakes_or_be_right():
    assert agreement(TEACHER, TEACHER) == mistakes_shared(TEACHER, TEACHER, LABELS) == 100
    right = np.eye(3)[LABELS]
    assert agreement(right, TEACHER) == 25 and mistakes_shared(right, TEACHER, LABELS) == 0
    assert np.isnan(mistakes_shared(TEACHER, right, LABELS))
    with pytest.raises(ValueError, match="differ in shape"):
        agreement(TEACHER, TEACHER[:2])


def test_likelihood_and_calibration_of_known_probabilities():
    assert nll(TEACHER, LABELS) == pytest.approx(-np.log([0.8, 0.1, 0.1, 0.1]).mean())
    assert nll(TEACHER + 7, LABELS) == pytest.approx(nll(TEACHER, LABELS))
    with pytest.raises(ValueError, match="differ in shape"):
        nll(TEACHER, LABELS[:, None])
    # sure by 80 %, right in 25 %
    assert calibration_error(TEACHER, LABELS) == pytest.approx(55)
    # one bin that is too sure and one that is too unsure do not cancel
    two = np.log(np.array([[0.9, 0.1], [0.6, 0.4]]))
    assert calibration_error(two, np.array([1, 0])) == pytest.approx((90 + 40) / 2)


def test_calibrated_answers_have_no_error():
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.ones(4), 200_000)
    labels = (rng.random((len(p), 1)) > p.cumsum(1)).sum(1)
    assert calibration_error(np.log(p), labels) < 0.5
