"""``kdlab.check("04.2", answer)``: right or wrong, with one hint. ``exercises.json`` has all exercises.

There are three kinds of exercises. A ``number`` must be met to ``within``. Of several ``choices``, the file holds the
salted ``digest`` of the right one. A function of the reader's is called with ``cases`` (arguments, result).
"""

import copy
import json
import math
import warnings
from contextlib import suppress
from functools import cache
from pathlib import Path
from textwrap import shorten

import numpy as np

from kdlab.show.compare import fault_of, kind, numbers, short
from kdlab.show.writing import fault_of_function, functions
from kdlab.system import paths
from kdlab.system.files import read_json, text_hash, write_content


@cache
def exercises() -> dict[str, dict]:
    """All exercises by name: ``NN.k`` is the k-th of notebook NN."""
    return read_json(Path(__file__).with_suffix(".json"))


def check(name: str = "", answer: object = ...) -> None:
    """Print in one line whether ``answer`` is right for the exercise ``name``, with a hint if it is wrong.

    ``kdlab.check("04.2", -0.46)`` takes a number, ``kdlab.check("04.3", f)`` a function; other exercises take a letter.
    ``kdlab.check("05.pass_1", pass_1)`` marks a function of a chapter that a student wrote. Without an answer, the
    exercise is printed; without a name, what is done and what is left. It raises no error: an unknown name, an answer of
    another kind, and a function that fails are told in a sentence.
    """
    exercise, done = (exercises() | functions()).get(str(name)), _done()
    if not name:
        lists = {
            "done": done,
            "left": exercises().keys() - done,
            "to write": functions().keys() - done,
        }
        for what, names in lists.items():
            print(f"{what}: {', '.join(sorted(names)) or 'none'}")
    elif exercise is None:
        print(f"there is no exercise {short(name)}; there are {', '.join(exercises())}")
    elif answer is ...:
        choices = [f"{letter}: {text}" for letter, text in exercise.get("choices", {}).items()]
        print("\n  ".join([f"{name}: {exercise['ask']}", *choices]))
    elif (why := fault(str(name), answer)) is None:
        print(f"{name}: right.")
        with suppress(OSError, ValueError):  # a folder that cannot be written only forgets
            write_content(_file(), json.dumps(sorted({*done, str(name)})))
    else:
        hint = f" Hint: {exercise['hint']}" if "hint" in exercise else ""
        print(f"{name}: not yet{why}.{hint}")


def _file() -> Path:
    return paths.runs_dir() / "exercises.json"


def _done() -> list[str]:
    """The exercises that were answered right here, in order; none where there is no such file, or somebody else's."""
    try:
        right = read_json(_file())
        return [name for name in exercises() | functions() if name in right]
    except (OSError, ValueError, TypeError):
        return []


def fault(name: str, answer: object) -> str | None:
    """None for the right ``answer`` to the exercise ``name``, else a description of the fault. The description is empty
    where it would reveal the answer."""
    if name in functions():
        return fault_of_function(name, answer)
    exercise = exercises()[name]
    if "number" in exercise:
        try:
            number = numbers(answer).item()
        except ValueError:
            number = math.nan
        if isinstance(answer, bool | np.bool_) or not math.isfinite(number):
            return f": this exercise takes one number, such as 1.5, and got {short(answer)}"
        if abs(number - exercise["number"]) <= exercise["within"] + 1e-9:
            return None
        return kind(np.array(number), np.array(exercise["number"])).replace(";", ":")
    if "choices" in exercise:
        letter = answer.strip().lower() if isinstance(answer, str) else ""
        if letter not in exercise["choices"]:
            return (
                f": this exercise takes {' or '.join(exercise['choices'])}, and got {short(answer)}"
            )
        return None if digest(name, letter) == exercise["digest"] else ""
    if not callable(answer):
        return f": this exercise takes a function of yours, by its name, and got {short(answer)}"
    for arguments, wanted in exercise["cases"]:
        why = _fault_of(answer, exercise["within"], arguments, wanted)
        if why:
            return why
    return None


def digest(name: str, word: str) -> str:
    """The salted digest by which ``exercises.json`` stores the right ``word`` of the exercise ``name``."""
    return text_hash(f"kdlab exercise {name}: {word}", 20)


def _fault_of(function, within: float, arguments: list, wanted: object) -> str:
    """The fault of the reader's ``function`` in one case, empty if it is right with arrays, with tensors or with lists."""
    faults = []
    for made in (np.array, _tensor, copy.deepcopy):
        given = [made(value) if isinstance(value, list) else value for value in arguments]
        try:
            with warnings.catch_warnings(action="ignore"):  # one sentence is enough
                fault = fault_of(function(*given), wanted, within)
        except (Exception, SystemExit) as error:
            fault = f"raises {error!r:.200}"
        if not fault:
            return ""
        faults.append(fault)
    results = [fault for fault in faults if fault.startswith("gives")]
    told = results[0] if results else ", and with tensors it ".join(dict.fromkeys(faults[:2]))
    return f": for ({shorten(str(arguments)[1:-1], 100)}) it {told}"


def _tensor(values: list):
    """``values`` as a tensor; names, of which no tensor can be made, as an array."""
    import torch  # late: exercises with a number do not need it

    array = np.array(values)
    return torch.from_numpy(array) if array.dtype.kind in "biuf" else array
