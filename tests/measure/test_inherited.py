"""What students have from their teachers, on answers made up for it."""

import numpy as np
import pytest

from kdlab.measure.inherited import MEASURES, agreement, consistency, inherited, share_inherited, sums
from tests.conftest import guesses

WRONG, CONSISTENT, ALIKE = MEASURES


def made_up(copied: float, seeds=5, clips=600, classes=8):
    """Teachers and students right on 70 % of the clips, by chance; of a teacher's errors its student copies a share."""
    rng = np.random.default_rng(2)
    labels = rng.integers(classes, size=clips)
    teacher, student = (guesses(rng, labels, seeds, 0.7, classes) for _ in range(2))
    copies = (teacher != labels) & (rng.random(teacher.shape) < copied)
    return np.where(copies, teacher, student), teacher, labels


def test_by_hand():
    labels = np.array([0, 0, 1, 1, 2, 2])
    teacher, student = np.array([[0, 1, 1, 0, 2, 0]]), np.array([[0, 1, 1, 2, 1, 2]])
    summed = sums(student, teacher, labels).sum(2)
    assert share_inherited(summed)[0] == pytest.approx(100 / 3)  # of 1, 0 and 0 it gives the first
    chance = (3 * 3 + 3 * 3) / 36  # each is right three times; alike they are four times
    assert consistency(summed)[0] == pytest.approx(100 * (4 / 6 - chance) / (1 - chance))
    assert agreement(summed)[0] == pytest.approx(50)  # both err on the second and the fourth, there as 1 and as 0 or 2


def test_who_copies_errors_is_found_and_who_does_not_is_not():
    for copied in (0.0, 0.3):
        own, other, gain = inherited(*made_up(copied))[WRONG]
        assert other == pytest.approx(0.3 / 7 * 100, abs=1.5)  # wrong, and by chance in the same way
        assert own - other == pytest.approx(gain.mean) and gain.mean == pytest.approx(96 * copied, abs=2.5)
        assert (gain.low > 0) == (copied > 0)
        _, _, consistent = inherited(*made_up(copied))[CONSISTENT]
        assert (consistent.low > 0) == (copied > 0)
        _, strangers, alike = inherited(*made_up(copied))[ALIKE]
        assert strangers == pytest.approx(100 / 7, abs=4) and (alike.low > 0) == (copied > 0)


def test_hard_clips_are_no_inheritance():
    """Everybody errs on the same third of the clips, and in the same way."""
    _, _, labels = made_up(0)
    answers = np.where(np.arange(600) % 3 == 0, (labels + 1) % 8, labels)
    rng = np.random.default_rng(0)
    teacher, student = (np.where(rng.random((5, 600)) < 0.05, 0, answers) for _ in range(2))
    own, other, gain = inherited(student, teacher, labels)[WRONG]
    assert own > 80 and other > 80 and gain.low < 0 < gain.high


def test_the_other_teacher_is_that_of_the_next_row_or_the_one_given():
    student, teacher, labels = made_up(0.3)
    usual, other = inherited(student, teacher, labels), np.roll(teacher, -1, 0)
    assert inherited(student, teacher, labels, other=other) == usual
    swapped = inherited(student, other, labels, other=teacher)
    assert all(swapped[title][:2] == usual[title][1::-1] for title in MEASURES)
    assert swapped[WRONG][2].mean == pytest.approx(-usual[WRONG][2].mean)


def test_copies_of_a_clip_are_one_unit():
    student, teacher, labels = made_up(0.3, clips=100)
    alone = inherited(student, teacher, labels)[WRONG][2]
    copied = inherited(*(np.repeat(its, 4, -1) for its in (student, teacher, labels)), np.repeat(np.arange(100), 4))
    assert copied[WRONG][2].half_width == pytest.approx(alone.half_width)


def test_what_cannot_be_compared_is_refused():
    student, teacher, labels = made_up(0)
    with pytest.raises(ValueError, match="give at least two"):
        inherited(student[:1], teacher[:1], labels)
    with pytest.raises(ValueError, match="makes no error"):
        inherited(student, np.broadcast_to(labels, teacher.shape), labels)
    with pytest.raises(ValueError, match="teacher"):
        inherited(student, teacher[:3], labels)
