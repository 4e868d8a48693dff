"""Part ``videos``: files that are odd, damaged or not what they seem, read by kdlab and by an independent decode.

Each kind makes one :class:`Case` from the attack's random numbers; :func:`judge` compares.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from siege.attack import Attack
from siege.camp import write_table
from siege.films import Truth, decode, shrunk

SIZE = 300  # attacks of a whole siege


@dataclass(frozen=True)
class Case:
    """A file to be read. ``whole`` are the frames that it had before the attack damaged it; None for one that is not
    damaged. ``sound`` says that refusing it would be wrong. ``upright`` turns what is stored into what is shown."""

    path: Path
    whole: np.ndarray | None = None
    sound: bool = False
    upright: Callable[[np.ndarray], np.ndarray] = lambda frames: frames
    format: str | None = None
    names: tuple[str, ...] = ()


def judged(kind: Callable[[Attack], Case]) -> Callable[[Attack], None]:
    """The attack that makes a case and judges what kdlab says of it."""

    def attack(field: Attack) -> None:
        judge(field, kind(field))

    attack.__name__, attack.__doc__ = kind.__name__, kind.__doc__
    return attack


def judge(field: Attack, case: Case) -> None:
    """Whole, single frames, and small ones through the cache: each equal to the truth, or refused by name."""
    from kdlab.clips.cache import FrameCache
    from kdlab.clips.decode import read_frames

    truth, names = decode(case.path, case.format), case.names or (case.path,)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        answer = field.call(names, read_frames, case.path)
    if not answer:
        if case.sound:
            field.found("wrong", f"a sound file is refused: {answer.message}")
        return
    right, what = case.upright(truth.frames), f"{case.path.name!r}"
    if complaint := _unlike(answer.frames, right):
        field.found("wrong", f"{what}: {complaint}")
        return
    _judge_damage(field, case, answer.frames, truth, [str(entry.message) for entry in warned])

    some = field.rng.integers(0, len(right), min(5, len(right)))
    answer = field.call(names, read_frames, case.path, some)
    if not answer or (complaint := _unlike(answer.frames, right[some])):
        field.found("wrong", f"{what}: single frames: {answer.message if not answer else complaint}")
    side = int(field.rng.choice([16, 24, 40]))
    answer = field.call(names, lambda: [FrameCache(field.root / "cache").frames(case.path, some, side)])
    if not answer or (complaint := _unlike(answer[0], shrunk(right[some], side))):
        field.found("wrong", f"{what}: through the cache at {side}: {complaint if answer else answer.message}")


def _judge_damage(field: Attack, case: Case, frames: np.ndarray, truth: Truth, warned: list[str]) -> None:
    """An accepted damaged file: has it all its frames, and are they the right ones where FFmpeg saw trouble?"""
    if case.whole is None or told_by_check(field, case.path, warned):
        return
    if len(frames) < len(case.whole):
        field.found("wrong", f"{case.path.name}: {len(frames)} of {len(case.whole)} frames, without a word")
    elif truth.complaints and not np.array_equal(frames, case.upright(case.whole)[: len(frames)]):
        field.found("wrong", f"{case.path.name}: other frames than before the damage, although FFmpeg says "
                             f"{truth.complaints[0]!r}")


def told_by_check(field: Attack, path: Path, warned: list[str]) -> bool:
    """Whether a warning names the file, or ``kdlab data check`` has anything to say of it."""
    if any(path.name in text for text in warned):
        return True
    alone = field.root / "alone"
    alone.mkdir()
    (alone / path.name).write_bytes(path.read_bytes())
    write_table(alone / "index.csv", [("path", "label"), (path.name, "a")])
    return path.name in field.kdlab("data", "check", alone, "--min-frames", 1).out


def _unlike(found: np.ndarray, right: np.ndarray) -> str:
    if found.shape != right.shape:
        return f"frames {found.shape}, where an in-order decode gives {right.shape}"
    if not np.array_equal(found, right):
        far = np.flatnonzero((found != right).any((1, 2, 3)))
        return f"{len(far)} of {len(right)} frames differ from an in-order decode, the first at {far[0]}"
    return ""
