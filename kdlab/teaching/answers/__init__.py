"""What is right: functions that compute it from the committed evidence, from a rendered clip or in closed form.

Numbers of the committed studies are computed when a reader asks, never typed: they follow the evidence. Each module has
the answers of a few chapters. A function of :data:`NUMBERS` returns one number; one of :data:`CODE` a reference and the
arguments to try it with (:data:`~kdlab.teaching.answers.shared.Trial`). Exercises name them.
"""

from collections.abc import Callable, Iterable
from itertools import chain

from kdlab.teaching.answers import codec, dark, features, landscape, scoreboard
from kdlab.teaching.answers.shared import Trial

_ROOMS = (dark, features, codec, landscape, scoreboard)


def by_name(groups: Iterable[Iterable[Callable]]) -> dict[str, Callable]:
    """The functions of all ``groups`` by their names; raises ``ValueError`` for a name that two of them have."""
    found: dict[str, Callable] = {}
    for function in chain.from_iterable(groups):
        name = function.__name__
        if found.setdefault(name, function) is not function:
            raise ValueError(f"{function.__module__} and {found[name].__module__} both have an answer {name!r}: "
                             "give one of them another name")
    return found


NUMBERS: dict[str, Callable[[], float]] = by_name(room.NUMBERS for room in _ROOMS)
CODE: dict[str, Callable[[], Trial]] = by_name(room.CODE for room in _ROOMS)
