"""What an exercise asks and how its answer is told from a wrong one: ``exercises.json``, beside this file.

Three kinds. *number*: :mod:`kdlab.teaching.answers` has a function of the name ``by``, which computes what is right
from the committed evidence or in closed form; an answer counts ``within`` that distance. *word*: the salted ``digest``
of the right one is kept, and ``choices`` say what the letters stand for. *code*: a function of the reader's is called
with the cases of ``by`` and compared with it. So no right answer stands in the file.
"""

import difflib
import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

FILE = Path(__file__).with_name("exercises.json")
KINDS = ("number", "word", "code")
#: From the first nudge to nearly the answer.
HINTS = 3


class ExerciseError(ValueError):
    """An exercise that does not exist, or an answer of a kind that it does not take."""


@dataclass(frozen=True)
class Exercise:
    """``name`` is ``NN.k``, the k-th exercise of notebook NN (``NNb.k`` of its companion); ``unit`` is of a number;
    ``guess``: a prediction is asked for before anything is run. The other fields stand in the module's text."""

    name: str
    ask: str
    kind: str
    hints: tuple[str, ...]
    by: str = ""
    within: float = 0.0
    unit: str = ""
    guess: bool = False
    digest: str = ""
    choices: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self):
        if self.kind not in KINDS:
            raise ExerciseError(f"exercise {self.name}: kind={self.kind!r}; give {', '.join(KINDS)}")
        if len(self.hints) != HINTS or not all(self.hints) or not self.ask:
            raise ExerciseError(f"exercise {self.name}: give a text and {HINTS} hints, got {len(self.hints)}")
        if isinstance(self.within, bool) or not 0 <= self.within < math.inf:
            raise ExerciseError(f"exercise {self.name}: within={self.within!r}; give a finite number of at least 0")
        if (self.kind == "word") != bool(self.digest) or (self.kind == "word") == bool(self.by):
            raise ExerciseError(f"exercise {self.name}: a word has a digest, a number and code have `by`")
        if self.guess and self.kind != "number":
            raise ExerciseError(f"exercise {self.name}: only a number is guessed")


@cache
def exercises() -> dict[str, Exercise]:
    """All, by name, in the order of the file. Raises :class:`ExerciseError` where an entry is not what it must be."""
    found = {}
    for name, entry in json.loads(FILE.read_text("utf-8")).items():
        try:
            found[name] = Exercise(name, **entry | {"hints": tuple(entry.get("hints", ()))})
        except TypeError as error:
            raise ExerciseError(f"{FILE.name}, {name}: {error}") from None
    return found


def find(name: str) -> Exercise:
    """The exercise ``name``. Raises :class:`ExerciseError` with the nearest names."""
    known = exercises()
    if name not in known:
        near = difflib.get_close_matches(str(name), known, n=3, cutoff=0.5)
        mend = f"did you mean {' or '.join(near)}?" if near else f"they run from {min(known)} to {max(known)}"
        raise ExerciseError(f"there is no exercise {name!r}; {mend}")
    return known[name]


def of_notebook(number: str) -> list[Exercise]:
    """Those of notebook ``number``, ``03`` or ``03b``, in order."""
    return [exercise for name, exercise in exercises().items() if name.partition(".")[0] == number]


def digest(name: str, word: str) -> str:
    """What is kept of the right ``word`` of the exercise ``name``; capitals and spaces do not count."""
    return hashlib.sha256(f"kdlab exercise {name}: {' '.join(word.lower().split())}".encode()).hexdigest()[:20]
