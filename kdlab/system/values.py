"""Checks that numbers are finite and in range and that shapes agree.

Each function takes values by name, ``positive(lr=lr, temperature=t)``; it checks tuples and lists element by element.
It raises ``ValueError`` with the name, the value and the permitted range; ``hint`` adds advice. A bool is no number; a
NumPy scalar is one. Tensor values are not read, so that no check waits for a GPU.
"""

import math
from collections.abc import Callable, Iterable
from functools import partial
from numbers import Integral, Real


def _check(wanted: str, fits: Callable[[Real], bool], kind: type, hint: str = "", /, **named):
    for name, given in named.items():
        for place, value in (
            enumerate(given) if isinstance(given, (tuple, list)) else [(None, given)]
        ):
            if (
                isinstance(value, bool)
                or not isinstance(value, kind)
                or not math.isfinite(value)
                or not fits(value)
            ):
                where = name if place is None else f"{name}[{place}]"
                raise ValueError(
                    f"{where}={value!r}: give {wanted}" + (f"; {hint}" if hint else "")
                )


finite = partial(_check, "a finite number", lambda value: True, Real)
positive = partial(_check, "a finite number above 0", lambda value: value > 0, Real)
not_negative = partial(_check, "a finite number of at least 0", lambda value: value >= 0, Real)
fraction = partial(_check, "a number from 0 to 1", lambda value: 0 <= value <= 1, Real)


def integer(least: int, hint: str = "", /, **named) -> None:
    """Check that values are integers of at least ``least``; 3.0 is no integer."""
    _check(
        f"a whole number of at least {least}", lambda value: value >= least, Integral, hint, **named
    )


def one_of(known, /, **named) -> None:
    """Check that values are among the words ``known``."""
    for name, value in named.items():
        if value not in known:
            raise ValueError(f"{name}={value!r}: give {' or '.join(map(repr, known))}")


def alike(**tensors) -> None:
    """Check that tensors or arrays have one shape, since broadcasting would give a meaningless number."""
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    if len(set(shapes.values())) > 1:
        raise ValueError(
            f"{' and '.join(f'{name} {shape}' for name, shape in shapes.items())} differ in shape: give "
            "both of one shape"
        )


def some(names: Iterable[str], limit: int = 3) -> str:
    """The first ``limit`` names and the number of the others, as text."""
    names = list(names)
    return ", ".join(names[:limit]) + (
        f" and {len(names) - limit} more" if len(names) > limit else ""
    )
