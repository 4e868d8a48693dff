"""Numbers that are not finite or out of range are refused by name; so are shapes that do not fit."""

import dataclasses
import math
from typing import get_args, get_type_hints

import numpy as np
import pytest
import torch

from kdlab.clips.windows import Window
from kdlab.datasets.splits import HeldOut
from kdlab.distill.method import KD
from kdlab.nets.video import TinyR2Plus1D
from kdlab.night import Night
from kdlab.papers.generative.method import GenerativeDistillation
from kdlab.papers.progressive.exits import ExitRecipe
from kdlab.system.values import alike, finite, fraction, integer, not_negative, one_of, positive
from kdlab.train.recipe import Recipe
from kdlab.train.settings import Rule, Settings


@pytest.mark.parametrize(
    "check, good, bad",
    [
        (finite, [-1, 0, 2.5], [math.nan, math.inf, "1", None, True, 1j]),
        (positive, [1e-9, 3, np.float32(2), np.int64(1)], [0, -1, -0.0]),
        (not_negative, [0, 0.0, 7], [-1e-9]),
        (fraction, [0, 1, 0.5, np.float64(0.1)], [-0.1, 1.0001]),
        (lambda **named: integer(2, **named), [2, np.int64(9)], [1, 2.0, 2.5, np.float64(3)]),
    ],
)
def test_ranges(check, good, bad):
    for value in good:
        check(x=value, y=(value, value))
    for value in bad:
        with pytest.raises(ValueError, match=r"^y\[1\]="):
            check(x=good[0], y=[good[0], value])


def test_hints_words_and_shapes():
    with pytest.raises(ValueError, match="^t=0: give a finite number above 0; 4 is usual$"):
        positive("4 is usual", t=0)
    one_of(("a", "b"), how="a")
    with pytest.raises(ValueError, match="^how='c': give 'a' or 'b'$"):
        one_of(("a", "b"), how="c")
    alike(a=torch.zeros(2, 3), b=np.zeros((2, 3)))
    with pytest.raises(ValueError, match=r"^a \(2, 3\) and b \(2, 1\) differ in shape"):
        alike(a=torch.zeros(2, 3), b=torch.zeros(2, 1))


@pytest.mark.parametrize(
    "one",
    [
        Settings(),
        Window(),
        Night(),
        KD(),
        TinyR2Plus1D(),
        GenerativeDistillation(),
        Rule(),
        HeldOut(Night()),
        Recipe("x", Night()),
        ExitRecipe("x", Night()),
    ],
    ids=lambda one: type(one).__name__,
)
def test_every_number_of_a_configuration_is_checked(one):
    hints = get_type_hints(type(one))
    for field in dataclasses.fields(one):
        kinds = {
            part
            for part in (hints[field.name], *get_args(hints[field.name]))
            if part in (int, float)
        }
        given = getattr(one, field.name)
        for wrong in (math.nan, math.inf, -1, "4") if kinds else ():
            with pytest.raises(ValueError, match=field.name):
                dataclasses.replace(
                    one, **{field.name: (wrong, *given[1:]) if isinstance(given, tuple) else wrong}
                )
