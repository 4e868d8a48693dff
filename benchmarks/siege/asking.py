"""How a recipe is asked for after an attack on its files, and how files are damaged."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from siege.attack import Attack
from siege.camp import answers


def ask(field: Attack, its, right: dict[str, str], names: tuple) -> None:
    """Obtain the run of a recipe and compare what it says with ``right``."""
    from kdlab.train.runs import obtain

    names = (*names, its.condition)
    run = field.call(names, obtain, its, pretrained=False, say=lambda _: None)
    said = run and field.call(names, answers, run)
    if said and (unlike := [what for what in right if said[what] != right[what]]):
        field.found("wrong", f"{names[0]}: other {', '.join(unlike)} than the undisturbed run's, without a word")


def aside(field: Attack, function: Callable[[], object], **environment: Path):
    """What ``function`` gives, as JSON, in a process of its own under other variables; None when it ends otherwise."""
    answer = field.root / "aside.json"
    pid = os.fork()
    if pid == 0:
        os.environ.update({name: str(value) for name, value in environment.items()})
        try:
            answer.write_text(json.dumps(function()))
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    found = json.loads(answer.read_text()) if answer.is_file() else None
    answer.unlink(missing_ok=True)
    return found


def spoil(field: Attack, path: Path) -> None:
    """Damage a file as disks and copies do."""
    data, kind = bytearray(path.read_bytes()), field.number(7)
    at = field.number(len(data))
    if kind == 0:
        data = b""
    elif kind == 1:
        data = data[:at]
    elif kind == 2:
        data = bytes(len(data))
    elif kind == 3:
        data[at] ^= 1 << field.number(8)
    elif kind == 4:
        data[at: at + 512] = bytes(len(data[at: at + 512]))
    elif kind == 5:
        data = bytes(field.rng.integers(0, 256, len(data), np.uint8))
    else:
        data += b"garbage"
    path.write_bytes(data)


class Marker:
    """Whose pickle makes a file when it is read."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def nothing_ran(field: Attack) -> None:
    if (field.root / "code-ran").exists():
        field.found("touched", "code that stood in a file was run")
