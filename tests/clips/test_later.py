"""Later test clips: those after the ones that were read, of the same data set."""

import pytest

from kdlab.clips.later import Later
from kdlab.night import Night


def test_the_first_so_many_test_clips_of_each_class_are_left_out():
    night = Night(("Run", "Sit"), (2, 1, 3))
    later = Later(night, 2)
    assert [r.id for r in later.catalogue().records] == ["dark/Run/test-0002", "dark/Sit/test-0002"]
    assert later.catalogue().classes == night.catalogue().classes and later.name == f"{night.name}-later2"
    assert later.fingerprint() != Later(night, 1).fingerprint() != night.fingerprint()


def test_where_none_are_left_it_is_said():
    with pytest.raises(ValueError, match="has 3 test clips of Run: leave out fewer than first=3"):
        Later(Night(("Run", "Sit"), (2, 1, 3)), 3).catalogue()
    with pytest.raises(ValueError, match="first=0"):
        Later(Night(("Run", "Sit"), (2, 1, 3)), 0)
