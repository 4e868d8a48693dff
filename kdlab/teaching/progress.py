"""How far a reader has come: tries, guesses and what is solved, in one JSON file of theirs.

It is ``progress.json`` in the runs folder, or the file that ``$KDLAB_PROGRESS`` names. It says nothing of who they are
and is sent nowhere; deleting it begins anew. ``kdlab clean`` leaves it. Where nobody reads, as notebooks are tested or
executed by ``kdlab run`` (``$KDLAB_HEADLESS``), it lasts as long as the process and no file is touched.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path

from filelock import FileLock

from kdlab import paths
from kdlab.system.files import write_atomically

NAME = "progress.json"
_MARK = "kdlab progress"
#: What is known of one exercise, and of which types.
_TYPES = {"tries": int, "right": bool, "guess": (int, float)}
#: What there is instead of a file where nobody reads.
_unread: dict[str, dict] = {}


class ProgressError(ValueError):
    """A file that does not hold a reader's progress."""


def file() -> Path:
    """Where the progress is kept."""
    named = os.environ.get("KDLAB_PROGRESS")
    return Path(named).expanduser() if named else paths.runs_dir() / NAME


def read() -> dict[str, dict]:
    """What is known of each exercise, by its name: ``tries``, ``right`` and ``guess``, where there are any.

    Empty where there is no file. Raises :class:`ProgressError` for a damaged file, or somebody else's.
    """
    if _nobody_reads():
        return _unread
    place = file()
    if place.is_dir():
        raise ProgressError(f"{place} is a folder: let KDLAB_PROGRESS name a file")
    try:
        kept = json.loads(place.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except (ValueError, RecursionError):
        raise ProgressError(_damaged(place)) from None
    if not isinstance(kept, dict) or kept.get("what") != _MARK or not _is_whole(kept.get("exercises")):
        raise ProgressError(_damaged(place))
    return kept["exercises"]


def note(name: str, /, **known) -> dict:
    """Add what is ``known`` of the exercise ``name`` to the file, and return all that is known of it now.

    A number of ``tries`` is added to those before. Raises :class:`ProgressError`; what the file held then still stands.
    """
    if _nobody_reads():
        return _added(_unread, name, known)
    place = file()
    place.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{place}.lock"):
        kept = read()
        now = _added(kept, name, known)
        text = json.dumps({"what": _MARK, "exercises": kept}, indent=1)
        write_atomically(place.resolve(), lambda path: path.write_text(text, "utf-8"))  # a link stays one
    return now


def _nobody_reads() -> bool:
    return os.environ.get("KDLAB_HEADLESS") in ("1", "quiet")


def _added(kept: dict[str, dict], name: str, known: dict) -> dict:
    before = kept.get(name, {})
    kept[name] = before | known | ({"tries": before.get("tries", 0) + known["tries"]} if "tries" in known else {})
    return kept[name]


def _is_whole(kept: object) -> bool:
    return isinstance(kept, Mapping) and all(
        isinstance(entry, Mapping) and all(isinstance(entry[key], kind) for key, kind in _TYPES.items() if key in entry)
        for entry in kept.values())


def _damaged(place: Path) -> str:
    return (f"{place} does not hold a reader's progress as kdlab writes it, and stays as it is: move it away to begin "
            "anew, or let KDLAB_PROGRESS name another file")
