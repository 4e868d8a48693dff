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

import psutil
from safetensors import SafetensorError

#: Drafts of :func:`write_atomically` (``.NAME.PID-RANDOM.tmp``) and, without a number, those of safetensors.
_DRAFT = re.compile(r"\.(?P<name>.+?)\.(?P<pid>\d+)(-[0-9a-f]{8})?\.tmp|\.tmp\w{6}", re.ASCII)
_DEAD_SECONDS, _OLD_SECONDS = 60, 3600


class StorageFull(OSError):
    """A place that cannot be written."""


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """``write(temporary path)``, then rename: a reader sees the old file or the new one, never a half, and after a
    power cut neither an empty one. The file gets the mode that the umask says, whatever mode ``write`` gives it.

    Raises :class:`StorageFull` naming the place when it cannot be written; what stood there before still stands.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
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


def is_draft(name: str) -> str:
    """The name of the file that the draft ``name`` was to become; empty where it is no draft of a named file."""
    found = _DRAFT.fullmatch(name)
    return found["name"] or "" if found else ""


def sweep(folder: Path, of: Callable[[str], bool] | None = None, old: float = _OLD_SECONDS) -> None:
    """Delete the drafts that killed processes left in ``folder``, which is one of kdlab's own.

    A draft is abandoned after ``old`` seconds without a write, or after a minute when no process here has its number:
    folders can be shared with machines whose processes are not seen. With ``of`` the folder may hold others' files:
    only drafts of the names for which it holds go, and only after ``old`` seconds.
    """
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            draft = _DRAFT.fullmatch(entry.name)
            if draft is None or not entry.is_file(follow_symlinks=False):
                continue
            if of is not None and not (draft["name"] and of(draft["name"])):
                continue
            age = time.time() - entry.stat(follow_symlinks=False).st_mtime
            dead = of is None and draft["pid"] is not None and not psutil.pid_exists(int(draft["pid"]))
            if age >= (_DEAD_SECONDS if dead else old):
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
