"""What kdlab asks of others its own parts have."""

from dataclasses import dataclass, replace

import numpy as np
import pytest

from kdlab.clips.enhance import Gamma
from kdlab.clips.views import Enhanced
from kdlab.papers.dual_light.recipes import dual_light
from kdlab.protocols import View
from kdlab.train.recipe import check
from kdlab.train.sizes import SMOKE


def ones(self, path, indices=None):
    return np.ones((1, 2, 2, 3), np.uint8)


@dataclass(frozen=True)
class OneByOne(View):
    name: str

    def each_frame(self, path, indices=None):
        yield np.zeros((2, 2, 3), np.uint8)


@dataclass(frozen=True)
class AtOnce(OneByOne):
    """What it inherits must not decide over what it defines."""

    read = ones


@dataclass(frozen=True)
class Nameless(View):
    read = ones


@dataclass(frozen=True)
class Blind(View):
    name = "blind"


@dataclass(frozen=True)
class Blindly:
    """It reads, and lacks the base."""

    name = "blindly"
    read = ones


def test_a_view_may_define_either_way_of_reading():
    for view, value in ((OneByOne("x"), 0), (AtOnce("x"), 1)):
        assert next(view.yield_frames("a.mp4")).max() == value


@pytest.mark.parametrize(
    ("part", "said"),
    [
        (dict(view=Nameless()), "Nameless cannot be a recipe's view: it has no 'name'"),
        (
            dict(view=Blind()),
            "Blind cannot be a recipe's view: it has neither 'read' nor 'each_frame'",
        ),
        (dict(method=Blind()), r"Blind cannot be a recipe's method: write class Blind\(Method\)"),
        (dict(net=Blind()), r"Blind cannot be a recipe's net: write class Blind\(Net\)"),
        (dict(net=Blind), "the recipe's net is the class Blind: give an object of it"),
        (
            dict(view=Enhanced(Gamma(), of=Blindly())),
            r"cannot be a recipe's of: write class Blindly\(View\)",
        ),
    ],
)
def test_a_part_that_cannot_be_used_is_said_in_a_sentence(part, said):
    with pytest.raises(ValueError, match=said):
        check(replace(dual_light(SMOKE)["ce_raw"], **part))
