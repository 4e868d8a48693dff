import dataclasses
import importlib
import math
import pkgutil
from typing import get_args, get_type_hints

import numpy as np
import pytest
import torch

import kdlab
from kdlab.clips.held_out import HeldOut
from kdlab.clips.views import Raw
from kdlab.clips.windows import AtRate
from kdlab.night import Night
from kdlab.papers.dual_light.enhancer import TrainedCurves
from kdlab.papers.progressive.exits import ExitRecipe
from kdlab.papers.progressive.nets import Exit
from kdlab.system.values import alike, finite, fraction, not_negative, one_of, positive, whole
from kdlab.train.recipe import Recipe, UserClips
from kdlab.train.sizes import _SIZES


@pytest.mark.parametrize(("check", "good", "bad"), [
    (finite, [-1, 0, 2.5], [math.nan, math.inf, "1", None, True, 1j]),
    (positive, [1e-9, 3, np.float32(2), np.int64(1)], [0, -1, -0.0]),
    (not_negative, [0, 0.0, 7], [-1e-9]),
    (fraction, [0, 1, 0.5, np.float64(0.1)], [-0.1, 1.0001]),
    (lambda **named: whole(2, **named), [2, np.int64(9)], [1, 2.0, 2.5, np.float64(3)]),
])
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


# --- every number that a user may give ------------------------------------------------------------------------

#: Dataclasses that kdlab makes itself, of what it found or drew: nobody gives it their numbers.
FOUND = {"Moves", "_Entry", "ClipRecord", "Facts", "Stream", "Modalities", "Survey", "VideoInfo", "Decoded", "Moment",
         "Look", "Part", "Camera", "_Job", "View", "Made", "Draw",
         "VideoWindow", "Launch", "Trace", "Evaluation", "Effect", "Step", "Executed", "Detections",
         "Scores", "Progress", "PaperSet", "Size"}
GIVEN = [Exit(8, 8), HeldOut(Night()), AtRate(Raw(), 7.5), TrainedCurves(Night()), Recipe("x", Night()),
         ExitRecipe("x", Night()), UserClips("x", own_folds=2)]


def configurations() -> list:
    """One of each frozen dataclass that has numbers and that a user makes."""
    kinds = {}
    for module in pkgutil.walk_packages(kdlab.__path__, "kdlab."):
        for kind in vars(importlib.import_module(module.name)).values():
            if isinstance(kind, type) and dataclasses.is_dataclass(kind) and kind.__module__ == module.name:
                if kind.__dataclass_params__.frozen and kind.__name__ not in FOUND:
                    kinds[kind] = None
    GIVEN.extend(size for size in _SIZES if size.name == "smoke")
    examples = {type(one): one for one in GIVEN}
    for kind in kinds:
        if not any(f.default is f.default_factory is dataclasses.MISSING for f in dataclasses.fields(kind)):
            examples[kind] = kind()
    return list(examples.values())


def numbers(one) -> list[tuple[str, type]]:
    """Names and kinds of its fields that are one number, or a tuple of numbers."""
    hints, found = get_type_hints(type(one)), []
    for field in dataclasses.fields(one):
        inner = {part for part in (hints[field.name], *get_args(hints[field.name])) if part in (int, float)}
        if inner:
            found.append((field.name, inner.pop()))
    return found


def test_every_number_of_every_configuration_is_checked():
    accepted, seen = [], 0
    for one in configurations():
        for name, kind in numbers(one):
            given = getattr(one, name)
            for wrong in (math.nan, math.inf, -math.inf, -1, "4") + ((2.5,) if kind is int else ()):
                seen += 1
                try:
                    dataclasses.replace(one, **{name: (wrong, *given[1:]) if isinstance(given, tuple) else wrong})
                    accepted.append(f"{type(one).__name__}({name}={wrong})")
                except ValueError as error:
                    if name not in str(error) or str(wrong).strip("-") not in str(error):
                        accepted.append(f"{type(one).__name__}({name}={wrong}) is refused by {error}")
                except Exception as error:
                    accepted.append(f"{type(one).__name__}({name}={wrong}) ends in {error!r}")
    assert seen > 300 and not accepted, "\n".join(accepted)
