"""``kdlab.check("03.2", answer)``: right or wrong, with one hint. ``exercises.json`` has all exercises.

There are three kinds of exercises. A ``number`` must be met to ``within``. Of several ``choices``, the file holds the
salted ``digest`` of the right one. A function of the reader's is called with ``cases`` (arguments, result).
"""

import copy
import hashlib
import json
import math
from functools import cache
from numbers import Real
from pathlib import Path

import numpy as np


@cache
def exercises() -> dict[str, dict]:
    """All exercises by name: ``NN.k`` is the k-th of notebook NN."""
    return json.loads(Path(__file__).with_suffix(".json").read_text("utf-8"))


def check(name: str, answer: object = ...) -> None:
    """Print whether ``answer`` is right for the exercise ``name``, with a hint if it is wrong.

    ``kdlab.check("03.2", -0.46)`` takes a number, ``kdlab.check("03.3", f)`` a function; other exercises take a letter.
    Without an answer, the exercise is printed. Raises ``ValueError`` for an unknown exercise, and for an
    answer of the wrong kind.
    """
    if name not in exercises():
        raise ValueError(f"there is no exercise {name!r}; there are {', '.join(exercises())}")
    exercise = exercises()[name]
    if answer is ...:
        choices = [f"{letter}: {text}" for letter, text in exercise.get("choices", {}).items()]
        print("\n  ".join([f"{name}: {exercise['ask']}", *choices]))
    elif (why := fault(name, answer)) is None:
        print(f"{name}: right.")
    else:
        print(f"{name}: not yet{why}. Hint: {exercise['hint']}")


def fault(name: str, answer: object) -> str | None:
    """None for the right ``answer`` to the exercise ``name``, else a description of the fault. The description is empty
    where it would reveal the answer. Raises ``ValueError`` for an answer of the wrong kind."""
    exercise = exercises()[name]
    if "number" in exercise:
        answer = answer.item() if hasattr(answer, "item") else answer
        if isinstance(answer, bool) or not isinstance(answer, Real) or not math.isfinite(answer):
            raise ValueError(f"exercise {name} takes one number, such as 1.5; got {answer!r:.60}")
        return None if abs(answer - exercise["number"]) <= exercise["within"] + 1e-9 else ""
    if "choices" in exercise:
        if answer not in exercise["choices"]:
            raise ValueError(f"exercise {name} takes {', '.join(exercise['choices'])}; got {answer!r:.60}")
        return None if digest(name, answer) == exercise["digest"] else ""
    if not callable(answer):
        raise ValueError(f"exercise {name} takes a function of yours, by its name; got {answer!r:.60}")
    return next(filter(None, (_fault_of(answer, exercise["within"], *case) for case in exercise["cases"])), None)


def digest(name: str, word: str) -> str:
    """The salted digest by which ``exercises.json`` stores the right ``word`` of the exercise ``name``."""
    return hashlib.sha256(f"kdlab exercise {name}: {word}".encode()).hexdigest()[:20]


def _fault_of(function, within: float, arguments: list, wanted: object) -> str:
    """The fault of the reader's ``function`` in one case, empty if it is right with arrays or with tensors."""
    arrays = [np.asarray(each) if isinstance(each, list) else each for each in arguments]
    shown = (str(each) if np.size(each) <= 12 else f"an array of shape {np.shape(each)}" for each in arguments)
    case = f"for ({', '.join(shown)}) it"
    fault = ""
    for given in (copy.deepcopy(arrays), _tensors(arrays)):
        try:
            found = function(*given)
            found = np.asarray(found.detach() if hasattr(found, "detach") else found, float)
        except Exception as error:
            fault = fault or f": {case} raises {type(error).__name__}: {error}"
            continue
        if found.shape != np.shape(wanted):
            fault = f": {case} gives the shape {found.shape} where {np.shape(wanted)} is right"
        elif not np.allclose(found, wanted, atol=within):
            fault = f": {case} gives another result"
        else:
            return ""
    return fault


def _tensors(arrays: list) -> list:
    import torch  # late: exercises with a number do not need it

    numbers = [isinstance(each, np.ndarray) and each.dtype.kind in "biuf" for each in arrays]
    return [torch.from_numpy(each.copy()) if n else each for n, each in zip(numbers, arrays, strict=True)]
