"""Writing a file whole or not at all, and clearing away what killed processes left half written."""

import contextlib
import errno
import os
import re
import secrets
import stat
import time
from collections.abc import Callable
from pathlib import Path

from safetensors import SafetensorError

#: Drafts of :func:`write_atomically` (``.NAME.PID-RANDOM.tmp``) and, without a number, those of safetensors.
_DRAFT = re.compile(r"\.(?P<name>.+?)\.\d+(-[0-9a-f]{8})?\.tmp|\.tmp\w{6}", re.ASCII)
_NAME_BYTES = 255 - len(f"..{2**32}-01234567.tmp")  # of 255 that a file system takes
_OLD_SECONDS = 3600  # folders can be shared with machines whose processes are not seen


class StorageFull(OSError):
    """A place that cannot be written."""


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """``write(temporary path)``, then rename: a reader sees the old file or the new one, never a half, and after a
    power cut neither an empty one. The file gets the mode that the umask says, whatever mode ``write`` gives it.

    Raises :class:`StorageFull` naming the place when it cannot be written; what stood there before still stands.
    """
    draft = path.with_name(f".{in_draft(path.name)}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft.touch()
        mode = stat.S_IMODE(draft.stat().st_mode)  # asking for the umask itself would change it for other threads
        write(draft)
        draft.chmod(mode)
        _to_disk(draft, os.O_RDWR)
        os.replace(draft, path)
        if os.name != "nt":  # where folders cannot be opened
            _to_disk(path.parent, os.O_RDONLY)
    except (OSError, SafetensorError) as error:
        if path.is_dir():
            raise StorageFull(f"cannot write {path}: a folder stands in its place. Move it away.") from None
        raise StorageFull(
            f"cannot write {path}: {error}. Free some space, or let KDLAB_RUNS, KDLAB_DATA or KDLAB_FIGURES name a "
            "folder that can be written; what was finished before is intact, and the same command resumes from it."
        ) from error
    finally:
        with contextlib.suppress(OSError):
            draft.unlink()


def in_draft(name: str) -> str:
    """The ``name`` of a file as it stands in that of its draft: its beginning, where the whole leaves no room."""
    return os.fsencode(name)[:_NAME_BYTES].decode(errors="ignore") if len(os.fsencode(name)) > _NAME_BYTES else name


def is_draft(name: str) -> str:
    """The name of the file that the draft ``name`` was to become, as :func:`in_draft` gives it; empty where it is no
    draft of a named file."""
    found = _DRAFT.fullmatch(name)
    return found["name"] or "" if found else ""


def sweep(folder: Path, of: Callable[[str], bool] = lambda name: True) -> None:
    """Delete the drafts that killed processes left in ``folder``: those without a write for an hour. Where ``folder``
    may hold others' files, only drafts ``of`` names for which this holds go."""
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            draft = _DRAFT.fullmatch(entry.name)
            if draft and of(draft["name"] or "") and entry.is_file(follow_symlinks=False):
                if time.time() - entry.stat(follow_symlinks=False).st_mtime >= _OLD_SECONDS:
                    with contextlib.suppress(OSError):
                        os.unlink(entry.path)


def _to_disk(path: Path, flags: int) -> None:
    """Wait until what was written is on the disk; some file systems refuse to say."""
    handle = os.open(path, flags | getattr(os, "O_BINARY", 0))
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(handle)


def save_arrays(path: Path, arrays: dict) -> None:
    """One compressed npz of NumPy's ``arrays`` without pickles, whole or not at all."""
    import numpy as np  # most who write files have none

    def write(temporary: Path) -> None:
        with open(temporary, "wb") as file:  # np.savez would append .npz to the temporary name
            np.savez_compressed(file, **arrays)

    write_atomically(path, write)
