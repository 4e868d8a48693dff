"""Weights and notes of finished trainings, as files hold them. Weights are loaded as data, never as code."""

import hashlib
import json
from pathlib import Path

from kdlab import paths


class DamagedRun(ValueError):
    """A file in a run's folder that is missing, cannot be read, or is not the one that the training wrote."""


def damaged(file: Path, cause: object) -> DamagedRun:
    """The error to raise for ``file`` in a run's folder, with the mend."""
    why = str(cause).strip().partition("\n")[0] or type(cause).__name__
    mend = f"delete the folder {file.parent}, and the same call trains it again"
    if file.parent.parent == paths.pretrained_dir():
        mend = f"restore the committed file: git checkout -- pretrained/{file.parent.name}"
    elif not (file.parent / "run.json").exists():
        mend = "name the folder of a run, which has a run.json"
    return DamagedRun(f"{file} is damaged: {why}; {mend}")


def read_note(file: Path) -> dict:
    """The JSON object in ``file``. Raises :class:`DamagedRun`."""
    try:
        return dict(json.loads(file.read_text("utf-8")))
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise damaged(file, getattr(error, "strerror", None) or error) from error


def read_weights(file: Path, noted: str | None = None) -> dict:
    """The tensors in ``file``, whose :func:`weights_hash` was ``noted``, in the ``run.json`` beside it (if any)
    where nothing else is said. Raises :class:`DamagedRun`."""
    from safetensors.torch import load  # seconds of imports that only weights need

    if noted is None and (note := file.with_name("run.json")).exists():
        noted = str(read_note(note).get("weights"))
    try:
        state = load(file.read_bytes())
    except Exception as error:  # broken bytes make the reader raise anything, from KeyError to TypeError
        raise damaged(file, getattr(error, "strerror", None) or error) from error
    if noted is not None and noted != (found := weights_hash(state)):
        raise damaged(file, f"the hash of its tensors is {found[:12]}…, and {noted[:12]}… was noted")
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
