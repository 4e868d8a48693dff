"""``kdlab.check("03.2", answer)``: right or wrong, with hints that grow; ``kdlab.guess``, before anything is run, and
``kdlab.guessed``, when it was.

Nothing here prints an answer. Everything works without a network, and the same in a notebook, in nbval and in a script.
"""

import contextlib
import copy
import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from numbers import Real

import numpy as np

from kdlab.teaching import answers, progress
from kdlab.teaching.exercises import HINTS, Exercise, ExerciseError, digest, find


@dataclass(frozen=True)
class Judged:
    """Whether an answer is ``right``, and what speaks against it: empty where that would tell too much, or nothing."""

    right: bool
    why: str = ""


def check(name: str, answer: object = ..., *, hint: int | None = None) -> None:
    """Say whether ``answer`` is right for the exercise ``name``, and after each wrong one give the next of three hints.

    ``kdlab.check("03.2", -0.46)`` for a number, ``kdlab.check("03.3", "b")`` for one of several sentences,
    ``kdlab.check("03.5", my_function)`` for code. Without an answer the exercise is read out; ``hint`` 1 to 3 gives
    that hint alone. A guess that was kept before (:func:`guess`) is shown again beside a right answer, as
    :func:`guessed` shows it beside what was found. Raises
    :class:`~kdlab.teaching.exercises.ExerciseError` for an exercise that there is not and an answer of another kind,
    and :class:`~kdlab.teaching.progress.ProgressError`; neither counts as a try.
    """
    exercise = find(name)
    if hint is not None:
        if isinstance(hint, bool) or hint not in range(1, HINTS + 1):
            raise ExerciseError(f"hint={hint!r}: give 1 to {HINTS}")
        print(f"{name}, hint {hint} of {HINTS}: {exercise.hints[hint - 1]}")
    elif answer is ...:
        print(_read_out(exercise))
    else:
        judged = judge(exercise, answer)
        known = progress.note(name, tries=1, **({"right": True} if judged.right else {}))
        print(_told(exercise, answer, judged, known))


def guess(name: str, value: float = ...) -> None:
    """Keep ``value`` as what you expect of the exercise ``name``, before you run anything; the last one counts.
    Without a value the exercise is read out.

    Once the exercise is solved it would be no guess, and is not kept. Raises
    :class:`~kdlab.teaching.exercises.ExerciseError` for an exercise that asks for no prediction, and for what is no
    number.
    """
    exercise = _predicted(name)
    if value is ...:  # as in a student's copy
        return print(_read_out(exercise))
    value = _number(exercise, value)
    if progress.read().get(name, {}).get("right"):
        return print(f"{name} is solved already, so this would be no guess: it is not kept.")
    progress.note(name, guess=value)
    kept = _with_unit(value, exercise)
    print(f"{name}: kept your guess of {kept}. Run it, then kdlab.check({name!r}, what you found).")


def guessed(name: str) -> None:
    """Show again what :func:`guess` kept for the exercise ``name``, beside what was found (alone where the evidence is
    not here); nothing where nothing was kept, so a chapter prints no answer to somebody who has not guessed.

    Chapters call it where *What it shows* begins. Raises :class:`~kdlab.teaching.exercises.ExerciseError` for an
    exercise that asks for no prediction.
    """
    exercise = _predicted(name)
    if "guess" in (known := progress.read().get(name, {})):
        found = ""
        with contextlib.suppress(ExerciseError):  # a chapter must not stop where it only looks back
            found = f", and {_with_unit(float(f'{_right(exercise):.4g}'), exercise)} was found"
        print(f"Your guess for {name} was {_with_unit(known['guess'], exercise)}{found}. It was asked: {exercise.ask}")


def judge(exercise: Exercise, answer: object) -> Judged:
    """Whether ``answer`` is right; nothing is noted and nothing printed. Raises as :func:`check`."""
    if exercise.kind == "number":
        return Judged(abs(_number(exercise, answer) - _right(exercise)) <= exercise.within + 1e-9)
    if exercise.kind == "word":
        return Judged(digest(exercise.name, _word(exercise, answer)) == exercise.digest)
    return _tried(exercise, answer)


def _predicted(name: str) -> Exercise:
    exercise = find(name)
    if not exercise.guess:
        raise ExerciseError(f"exercise {name} asks for no prediction: answer it with kdlab.check({name!r}, answer)")
    return exercise


def _right(exercise: Exercise) -> float:
    compute = answers.NUMBERS[exercise.by]
    try:
        return compute()
    except (FileNotFoundError, KeyError) as error:
        raise ExerciseError(f"exercise {exercise.name} is answered from committed evidence that is not here ({error}): "
                            "unset KDLAB_FIGURES, or restore figures/") from None


def _number(exercise: Exercise, given: object) -> float:
    with contextlib.suppress(AttributeError, ValueError, RuntimeError):  # no array; one of several numbers
        given = given.item()
    if isinstance(given, bool) or not isinstance(given, Real) or not math.isfinite(given):
        unit = f" of {exercise.unit}" if exercise.unit else ""
        raise ExerciseError(f"exercise {exercise.name} takes one number{unit}, such as 1.5; got {given!r:.60}")
    return float(given)


def _word(exercise: Exercise, given: object) -> str:
    known = ", ".join(exercise.choices) or "one word"
    if not isinstance(given, str) or exercise.choices and given.strip().lower() not in exercise.choices:
        raise ExerciseError(f"exercise {exercise.name} takes a text ({known}); got {given!r:.60}")
    return given


def _tried(exercise: Exercise, function: object) -> Judged:
    """Call the reader's ``function`` with each case; the first that it gets wrong is named, not what is right. Code for
    tensors is as good as code for arrays, so arrays are given as tensors, too, where it is wrong of them."""
    def tensors(argument):
        import torch  # late: whose code is right for arrays need not wait for it

        known = isinstance(argument, np.ndarray) and argument.dtype.kind in "biuf"
        return torch.from_numpy(argument.copy()) if known else argument

    if not callable(function):
        raise ExerciseError(f"exercise {exercise.name} takes a function of yours, by its name; got {function!r:.60}")
    reference, cases = answers.CODE[exercise.by]()

    def attempt(given_as: Callable) -> tuple[int, bool, str]:
        for count, arguments in enumerate(cases):
            ran, why = _against(reference, arguments, function, [given_as(a) for a in arguments], exercise.within)
            if why:
                return count, ran, why
        return len(cases), True, ""

    found = attempt(copy.deepcopy)
    if found[2]:
        with warnings.catch_warnings(action="ignore"):  # of NumPy, which is given tensors
            found = max(found, attempt(tensors), key=lambda one: one[:2])  # the one that got further
    return Judged(not found[2], found[2])


def _against(reference: Callable, arguments: Sequence, function: Callable, given: list,
             within: float) -> tuple[bool, str]:
    """Whether ``function`` of the ``given`` runs, and what is wrong with it beside ``reference`` of the same."""
    case = ", ".join(np.array2string(array, separator=", ") if array.size <= 12 else f"an array of shape {array.shape}"
                     for array in map(np.asarray, arguments))
    tensor = any(hasattr(argument, "detach") for argument in given)
    try:
        found = function(*given)  # which it may change
        if found is None:
            return True, f"for ({case}) it returns nothing"
        if tensor and isinstance(found, np.ndarray):
            return True, "for a tensor it returns a NumPy array"
        found = np.asarray(found.detach() if hasattr(found, "detach") else found, float)
    except Exception as error:
        return False, f"for ({case}) it raises {type(error).__name__}: {error}"
    wanted = np.asarray(reference(*arguments), float)
    if found.shape != wanted.shape:
        return True, f"for ({case}) the shape is {found.shape}, not {wanted.shape}"
    return True, "" if np.allclose(found, wanted, atol=max(within, 1e-9)) else f"not right for ({case})"


def _read_out(exercise: Exercise) -> str:
    known = progress.read().get(exercise.name, {})
    state = "solved" if known.get("right") else f"{known.get('tries', 0)} tries so far"
    lines = [f"{exercise.name} ({state}): {exercise.ask}"]
    lines += [f"  {letter}: {text}" for letter, text in exercise.choices.items()]
    if exercise.guess and "guess" not in known and not known.get("right"):
        lines.append(f"Guess first: kdlab.guess({exercise.name!r}, your number).")
    return "\n".join(lines)


def _told(exercise: Exercise, answer: object, judged: Judged, known: dict) -> str:
    if judged.right:
        beside = f" You had guessed {_with_unit(known['guess'], exercise)}." if "guess" in known else ""
        said = f" ({_with_unit(_number(exercise, answer), exercise)})" if exercise.kind == "number" else ""
        return f"{exercise.name}: right{said}.{beside}"
    number = min(known["tries"], HINTS)
    why = f" {judged.why[0].upper()}{judged.why[1:]}." if judged.why else ""
    return f"{exercise.name}: not yet.{why}\nHint {number} of {HINTS}: {exercise.hints[number - 1]}"


def _with_unit(value: float, exercise: Exercise) -> str:
    return f"{value:g} {exercise.unit}".strip()
