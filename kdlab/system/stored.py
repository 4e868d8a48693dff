"""Reading what a training left in its folder: each file is compared with the hash that was noted when it was written.

A damaged or exchanged file is never used: it ends in one sentence that names it, the cause and the mend.
"""

import hashlib
import json
from pathlib import Path

from kdlab import paths

#: What a note holds where it holds it; of other types the file is damaged.
_TYPES = {"recipe": dict, "digest": str, "sources": str, "data": str, "needed": dict, "classes": list, "weights": str,
          "files": dict, "cpu_seconds": (int, float), "versions": dict, "first_losses": list}


class DamagedRun(ValueError):
    """A file in a run's folder that cannot be read, or is not the one that the training wrote."""


class Note(dict):
    """The JSON of a training; an entry that is missing is named with its file."""

    file: Path

    def __missing__(self, key: str):
        raise damaged(self.file, f"it has no {key!r}")


def damaged(file: Path, cause: object) -> DamagedRun:
    """The error to raise for ``file`` in a run's folder, with the mend."""
    why, runs = str(cause).strip().partition("\n")[0] or type(cause).__name__, paths.runs_dir()
    if file.parent.parent == paths.pretrained_dir():
        mend = f"Restore the committed file: git checkout -- pretrained/{file.parent.name}"
    elif (file.parent / "README.md").is_file():  # of kdlab.export
        mend = f"Export or download {file.parent} again"
    elif file.parent.is_dir() and runs in (file.parent.parent, file.parent.parent.parent):  # a run's, or one on its way
        mend = f"Delete the folder {file.parent}, and the same call trains it again"
    elif (file.parent / "run.json").exists():
        mend = "Restore it from where it came"
    else:  # perhaps a folder of somebody's clips
        return DamagedRun(f"{file.parent} is no run of kdlab's: it has no run.json. Name the folder of a run, such as "
                          f"one in {runs}, or one that was exported")
    return DamagedRun(f"{file} is damaged or was exchanged: {why}. {mend}.")


def read_bytes(file: Path, sha256: str | None = None) -> bytes:
    """The content of ``file``. Raises :class:`DamagedRun` where there is none, or one of another hash."""
    try:
        content = file.read_bytes()
    except FileNotFoundError:
        raise damaged(file, "it is missing") from None
    except IsADirectoryError:
        raise damaged(file, "a folder stands in its place") from None
    except OSError as error:
        raise damaged(file, error) from error
    if sha256 is not None and hashlib.sha256(content).hexdigest() != sha256:
        raise damaged(file, "its content is not what the training wrote" if content else "it is empty")
    return content


def read_note(file: Path, **kinds: type) -> Note:
    """The JSON object in ``file``, whose entries have the usual types or those of ``kinds``. Raises
    :class:`DamagedRun`, also when an entry is missing that is asked for."""
    content = read_bytes(file)
    try:
        note = Note(json.loads(content.decode("utf-8")))
    except (ValueError, TypeError, RecursionError) as error:
        raise damaged(file, f"it is no JSON object ({error})" if content else "it is empty") from error
    if not note:
        raise damaged(file, "it is empty")
    note.file = file
    if "check" in note and not is_sealed(note):  # of before there was one, nothing can be said
        raise damaged(file, "its entries are not those that were written")
    for key, kind in (_TYPES | kinds).items():
        if key in note and not isinstance(note[key], kind):
            raise damaged(file, f"its {key!r} is {note[key]!r}")
    return note


def sealed(note: dict) -> dict:
    """``note``, plain JSON values by name, with a ``check`` over all of them."""
    return note | {"check": _digest(note)}


def is_sealed(note: object) -> bool:
    """Whether ``note`` is what :func:`sealed` once gave."""
    return isinstance(note, dict) and note.get("check") == _digest(note)


def _digest(note: dict) -> str:
    own = json.dumps({key: value for key, value in note.items() if key != "check"}, sort_keys=True)
    return hashlib.sha256(own.encode()).hexdigest()[:16]


def read_weights(file: Path, note: dict | None = None) -> dict:
    """The tensors in ``file``, whose :func:`weights_hash` must be the one in ``note`` (default: ``run.json`` beside it,
    where there is one). Raises :class:`DamagedRun`."""
    from safetensors.torch import load  # seconds of imports that only weights need

    content = read_bytes(file)
    try:
        state = load(content)
        found = weights_hash(state)
    except Exception as error:  # broken bytes make the reader raise anything, from KeyError to TypeError
        raise damaged(file, error if content else "it is empty") from error
    if note is None:
        beside = file.with_name("run.json")
        note = read_note(beside) if beside.exists() else None
    if note is not None and note["weights"] != found:
        raise damaged(file, f"the hash of its tensors is {found[:12]}…, where {note['weights'][:12]}… was noted")
    return state


def weights_hash(state: dict) -> str:
    """SHA-256 over names and bytes of the tensors: equal exactly when all bits are."""
    from torch import uint8  # NumPy has not all of torch's types, and bytes of all

    digest = hashlib.sha256()
    for key in sorted(state):
        digest.update(key.encode())
        digest.update(state[key].contiguous().reshape(-1).view(uint8).numpy().tobytes())
    return digest.hexdigest()


def plain(state: dict) -> dict:
    """The tensors of ``state`` as a file can hold them: on the CPU, and each with memory of its own, also where two
    names share a weight."""
    return {name: value.detach().cpu().contiguous().clone() for name, value in state.items()}
