"""Room for arrays that may not fit into memory: beyond a limit they lie in a file that has no name and leaves nothing
behind, also when the process is killed."""

import os
import tempfile
from collections.abc import Sequence
from math import prod

import numpy as np

from kdlab import paths
from kdlab.system.files import StorageFull


def room(shapes: Sequence[tuple[int, ...]], dtype: type) -> list[np.ndarray]:
    """Arrays of ``shapes`` to be filled: in memory up to ``kdlab.paths.memory_bytes()`` in all, else mapped from a file
    in ``kdlab.paths.cache_dir()``, of which the system keeps in memory what it has room for.

    Raises :class:`kdlab.system.files.StorageFull` where the disk has not the room, before anything is written.
    """
    ends = np.cumsum([0, *map(prod, shapes)])
    whole = int(ends[-1]) * np.dtype(dtype).itemsize
    if whole <= paths.memory_bytes():
        return [np.empty(shape, dtype) for shape in shapes]
    flat = _mapped(whole, int(ends[-1]), dtype)
    return [flat[a:b].reshape(shape) for a, b, shape in zip(ends, ends[1:], shapes, strict=False)]


def _mapped(whole: int, numbers: int, dtype: type) -> np.ndarray:
    folder = paths.cache_dir()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            if hasattr(os, "posix_fallocate"):  # a full disk is an error here, and would end the process later
                os.posix_fallocate(file.fileno(), 0, whole)
            return np.asarray(np.memmap(file, dtype, "w+", shape=(numbers,)))
    except OSError as error:
        raise StorageFull(
            f"{folder}: no room for {whole / 1e9:.3g} GB of features ({error.strerror or error}). Free some space, let "
            "KDLAB_CACHE name another folder, or KDLAB_MEMORY_GB allow more in memory") from error
