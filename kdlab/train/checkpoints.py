"""Checkpoints of other trainings in a run's folder: set aside, for the loop would write over them, and taken back.

A training on four GPUs that one process begins anew loses nothing so: four go on from where they were.
"""

import os
from collections.abc import Callable
from pathlib import Path

from safetensors import SafetensorError, safe_open

from kdlab.system.files import StorageFull
from kdlab.system.launch import launched
from kdlab.train import loop

#: As :func:`kdlab.train.loop.fit` is told to call it.
NAME = "checkpoint.safetensors"


def make_room(folder: Path, recipe, nets: dict, identity: str, say: Callable[[str], object]) -> None:
    """Set the checkpoint in ``folder`` aside where it is not of the training that begins now (of ``recipe`` with
    ``nets``, ``identity`` and as many processes as run here), and take back one that is. ``say`` is told where it lies.

    One that cannot be read stays: the loop says so, and counts it as none. Raises
    :class:`kdlab.system.files.StorageFull` where a file cannot be renamed.
    """
    owned = [name for names in recipe.method.parts(nets).values() for name in names]
    # What the loop compares when it opens a checkpoint: another rule here would set aside what it would go on from.
    ours = loop._fingerprint(recipe.method, nets, owned, recipe.settings, recipe.seed, identity)
    checkpoint, now = folder / NAME, launched().world
    if (found := _about(checkpoint)) and found[0] != ours:
        whose, theirs = found
        kept = folder / f"checkpoint-{_counted(theirs)}-{whose[:8]}.safetensors"
        _rename(checkpoint, kept)
        why = "it is of another training, or was begun with other sources, clips or needed runs"
        if theirs != now:
            why = f"{_counted(theirs, ' ')} wrote it, and {now} would go on: start {theirs} to go on from it"
        say(f"the checkpoint counts as none: {why}. It is kept as {kept} until this training has ended")
    for kept in [] if checkpoint.exists() else _kept(folder):
        if (_about(kept) or ("",))[0] == ours:
            _rename(kept, checkpoint)
            say(f"goes on from {kept.name}, which was set aside")
            break


def forget(folder: Path) -> None:
    """Delete the checkpoint in ``folder`` and those set aside: its training has ended."""
    for file in (folder / NAME, *_kept(folder)):
        file.unlink(missing_ok=True)


def _kept(folder: Path) -> list[Path]:
    return sorted(folder.glob("checkpoint-*-process*-*.safetensors"))


def _about(checkpoint: Path) -> tuple[str, int] | None:
    """Whose a checkpoint is, and how many processes wrote it; None where there is none that says so."""
    try:
        with safe_open(checkpoint, "np") as file:
            about = file.metadata() or {}
        return about["whose"], int(about.get("processes", 1))
    except (OSError, SafetensorError, KeyError, ValueError):
        return None


def _counted(processes: int, blank: str = "-") -> str:
    return f"{processes}{blank}process{'es' * (processes > 1)}"


def _rename(one: Path, other: Path) -> None:
    try:
        os.replace(one, other)
    except OSError as error:
        raise StorageFull(f"cannot rename {one} to {other.name}: {error}; make its folder writable, or move the file "
                          "away") from error
