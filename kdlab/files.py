"""Writing a file whole or not at all."""

import contextlib
import os
from collections.abc import Callable
from pathlib import Path

from safetensors import SafetensorError

__all__ = ["StorageFull", "write_atomically"]


class StorageFull(OSError):
    """A place that cannot be written."""


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """``write(temporary path)``, then rename: a reader sees the old file or the new one, never a half.

    Raises :class:`StorageFull` naming the place when it cannot be written; what stood there before still stands.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(temporary)
        os.replace(temporary, path)
    except (OSError, SafetensorError) as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise StorageFull(
            f"cannot write {path}: {error}. Free some space, or let KDLAB_RUNS, KDLAB_DATA or KDLAB_FIGURES name a "
            "folder that can be written; what was finished before is intact, and the same command resumes from it."
        ) from error
