"""A reader's result beside the right one: what differs, and what the difference looks like."""

import math
import reprlib
from functools import partial

import numpy as np

#: Units that are mixed up, and their ratio.
UNITS = {"percent and shares": 100, "thousandths and wholes": 1000, "bits and nats": math.log(2)}


def short(value: object) -> str:
    """``value`` as Python writes it, cut to one short line."""
    return " ".join(reprlib.repr(value).split())


def numbers(value: object) -> np.ndarray:
    """``value`` as an array of floats: a number, an array, a tensor of any device and precision, or a list of them.

    Raises ``ValueError`` for anything else, such as None, texts, complex numbers, and lists of unequal lengths.
    """
    array = np.array(None)
    try:
        if hasattr(value, "detach"):
            tensor = value.detach().cpu()
            # NumPy has no bfloat16
            array = np.asarray(tensor.double() if tensor.is_floating_point() else tensor)
        else:
            parts = [numbers(part) for part in value] if isinstance(value, list | tuple) else value
            array = np.asarray(parts)
    except Exception:  # a class of the reader's may raise anything
        pass
    if array.dtype.kind not in "biuf":
        raise ValueError(f"{short(value)}, which is no number and no array of numbers")
    return array.astype(float)


def fault_of(result: object, right: object, within: float, factors: dict | None = None) -> str:
    """How a ``result`` differs from the ``right`` numbers by more than ``within`` of its largest absolute value (of 1 if
    that is smaller); empty if it does not. ``factors``: names of numbers that may have been forgotten."""
    try:
        yours = numbers(result)
    except ValueError as error:
        return f"gives {error}"
    right = numbers(right)
    if yours.shape != right.shape:
        return f"gives the shape {yours.shape} where {right.shape} is right"
    if not np.isfinite(yours).all():
        return f"gives {short(yours)}, not all of which are finite numbers"
    apart = np.abs(yours - right)
    if (apart <= within * max(1.0, np.abs(right).max(initial=0))).all():
        return ""
    at = np.unravel_index(apart.argmax(), apart.shape)
    place = f" at {tuple(map(int, at))}" if at else ""
    return (
        f"gives {yours[at]:.7g}{place} where {right[at]:.7g} is right{kind(yours, right, factors)}"
    )


def kind(yours: np.ndarray, right: np.ndarray, factors: dict | None = None) -> str:
    """What the difference of two arrays looks like, after a semicolon: the sign, a unit, or a factor that is the same
    everywhere; ``factors``: their names and numbers. Empty where it looks like nothing. Of a single number, no other factor
    is told: it would reveal the answer of an exercise."""
    told = right != 0
    if not told.any() or yours[~told].any():
        return ""
    ratio = float((yours[told] / right[told]).flat[0])
    if not ratio or not np.allclose(yours, ratio * right, rtol=1e-3, atol=1e-9):
        return ""
    near = partial(math.isclose, ratio, rel_tol=1e-3)
    if near(-1):
        return "; the sign is the opposite one"
    for name, factor in (factors or {}).items():
        if near(1 / factor):
            return f"; the factor {name} is missing"
        if near(factor):
            return f"; the factor {name} is one too many"
    for units, factor in UNITS.items():
        if near(factor) or near(1 / factor):
            return f"; are {units} mixed up?"
    return f"; it is {ratio:.4g} times the right one" if yours.size > 1 else ""
