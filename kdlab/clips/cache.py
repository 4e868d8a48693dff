"""Decoded frames kept on disk at the size wanted, so that a clip is decoded once and not in every epoch.

One plain ``.npy`` file (T, h, w, C) of uint8 for each clip, size and view, mapped into memory for the moment of an
access: thousands of clips then cost no open files and no memory, and processes share the pages of the system.
"""

import hashlib
import inspect
import os
import time
import uuid
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from math import prod
from pathlib import Path

import cv2
import numpy as np

from kdlab import paths
from kdlab.clips.decode import read_frames

Read = Callable[..., np.ndarray]

_END_BYTES = 64 * 1024
_FORMAT = "1"  # raise it when frames of the same file and view would come out differently
_RECOUNT_SECONDS = 5.0
_ABANDONED_SECONDS = 3600.0


def file_key(path: Path | str) -> str:
    """32 hex digits naming a file's content: its size and a hash of its first and last 64 kB.

    The key does not depend on where the file lies, and reading the two ends keeps it fast for large videos.
    Raises FileNotFoundError when the file is missing.
    """
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            digest = hashlib.blake2b(str(size).encode(), digest_size=16)
            digest.update(file.read(_END_BYTES))
            file.seek(max(_END_BYTES, size - _END_BYTES))
            digest.update(file.read(_END_BYTES))
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: no such file. Restore it, or take the clip out of the catalogue.") from None
    return digest.hexdigest()


def read_raw(path: Path | str, indices: np.ndarray | None = None) -> np.ndarray:
    """The frames of a clip as they are: uint8 (T, H, W, 3), RGB."""
    return read_frames(path, indices).frames


def resize(frames: np.ndarray, side: int) -> np.ndarray:
    """uint8 (T, H, W, C) scaled so that the short side is ``side`` pixels, the aspect ratio kept to a pixel."""
    height, width = frames.shape[1:3]
    scale = side / min(height, width)
    size = round(width * scale), round(height * scale)
    if size == (width, height):
        return frames
    # the mean over the covered area does not alias when shrinking; it would make blocks when enlarging
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    small = np.empty((len(frames), size[1], size[0], frames.shape[3]), np.uint8)
    for old, new in zip(frames, small, strict=True):
        new[:] = cv2.resize(old, size, interpolation=how).reshape(new.shape)
    return small


@dataclass(frozen=True)
class _Entry:
    stamp: tuple[int, int]  # the clip's size and mtime_ns when it was decoded
    shape: tuple[int, ...]
    file: Path | None  # None: not on disk, to be decoded each time
    offset: int = 0


class FrameCache:
    """All frames of clips, resized, under ``root`` (default: ``frames`` in ``kdlab.paths.cache_dir()``).

    A clip is read by ``read(path)``, which gives all frames as uint8 (T, H, W, C) at full size; a ``read`` that also
    takes ``indices`` serves clips that are not cached without decoding them whole. ``tag`` names what ``read`` does
    (view and parameters): another ``read`` needs another tag.

    Above ``limit_bytes``, and where the disk is full or read-only, nothing more is written: one RuntimeWarning says
    so, and frames are decoded each time. Several processes may use one folder; a damaged file in it is made again, and
    a clip whose size or modification time changes is read afresh.
    """

    def __init__(self, root: Path | str | None = None, limit_bytes: int = 8 * 2**30):
        self.root = Path(root) if root is not None else paths.cache_dir() / "frames"
        self.limit_bytes = limit_bytes
        self._entries: dict[tuple[str, int, str], _Entry] = {}
        self._stopped = False
        self._used = 0
        self._counted_at = -float("inf")

    def frames(self, path: Path | str, indices: Sequence[int] | np.ndarray, side: int,
               read: Read = read_raw, tag: str = "raw") -> np.ndarray:
        """The frames at ``indices`` (any order, repeats allowed): uint8 (len(indices), h, w, C), short side ``side``.

        Raises ValueError for an index outside the clip or a ``side`` below 1, FileNotFoundError for a missing clip,
        and whatever ``read`` raises for a damaged one.
        """
        indices = np.asarray(indices, dtype=np.intp)
        name = _name(path, side, tag)
        entry = self._find(name)
        uncached = self._stopped if entry is None else entry.file is None
        if uncached and _takes_indices(read):
            return resize(_checked(read(Path(path), indices=indices), path, tag), side)
        frames = None if entry is None else _mapped(entry)
        if frames is None:
            frames = self._fill(name, read)
        if indices.size and not 0 <= indices.min() <= indices.max() < len(frames):
            raise ValueError(f"{path}: frame indices {indices.min()} to {indices.max()} asked, but the clip has "
                             f"{len(frames)} frames. Use indices from 0 to {len(frames) - 1}.")
        return frames[indices]

    def length(self, path: Path | str, side: int, read: Read = read_raw, tag: str = "raw") -> int:
        """The number of frames of a clip, as decoded. A clip that is not known yet is read, and cached."""
        name = _name(path, side, tag)
        entry = self._find(name)
        return entry.shape[0] if entry else len(self._fill(name, read))

    def _find(self, name: tuple[str, int, str]) -> _Entry | None:
        """What is known of the clip in its present state, from memory or from the folder."""
        stamp = _stamp(name[0])
        entry = self._entries.get(name)
        if entry is None or entry.stamp != stamp:
            file = self._file(name, stamp)
            stored = _stored_shape(file)
            if stored is None:
                return None
            entry = self._entries[name] = _Entry(stamp, *stored)
        return entry

    def _file(self, name: tuple[str, int, str], stamp: tuple[int, int]) -> Path:
        path, side, tag = name
        what = (_FORMAT, os.path.abspath(path), *stamp, file_key(path), side, tag)
        return self.root / (hashlib.blake2b(repr(what).encode(), digest_size=16).hexdigest() + ".npy")

    def _fill(self, name: tuple[str, int, str], read: Read) -> np.ndarray:
        """Read the whole clip, keep it if there is room, and return its frames."""
        path, side, tag = name
        stamp = _stamp(path)  # before reading: a clip that changes meanwhile is then read again next time
        frames = resize(_checked(read(Path(path)), path, tag), side)
        file = self._file(name, stamp)
        stored = _stored_shape(file) if self._store(file, frames) else None
        self._entries[name] = _Entry(stamp, *stored) if stored else _Entry(stamp, frames.shape, None)
        return frames

    def _store(self, file: Path, frames: np.ndarray) -> bool:
        if self._stopped:
            return False
        draft = file.with_name(f".{file.stem}.{uuid.uuid4().hex}.tmp")
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            if self._bytes_used() + frames.nbytes > self.limit_bytes:
                self._stop(f"the frame cache has reached its limit of {self.limit_bytes / 1e9:.3g} GB. Raise "
                           "limit_bytes, ask for a smaller side, or delete the folder if its clips are no longer used")
                return False
            with open(draft, "wb") as out:
                np.lib.format.write_array(out, frames, allow_pickle=False)
            os.replace(draft, file)  # whole or not at all, also when two processes make the same file
        except OSError as error:
            with suppress(OSError):  # it may be the folder itself that is the trouble
                draft.unlink(missing_ok=True)
            if _stored_shape(file):  # another process has it open there already (Windows refuses to replace it)
                return True
            self._stop(f"frames cannot be cached there ({error.strerror or error}). Free some space, or let "
                       "KDLAB_CACHE name another folder")
            return False
        self._used += frames.nbytes
        return True

    def _stop(self, why: str) -> None:
        self._stopped = True
        warnings.warn(f"{self.root}: {why}; until then clips are decoded each time.", RuntimeWarning, stacklevel=2)

    def _bytes_used(self) -> int:
        """Bytes in the folder, other processes' included; counted again every few seconds."""
        if time.monotonic() - self._counted_at > _RECOUNT_SECONDS:
            self._used = 0
            with os.scandir(self.root) as files:
                for file in files:
                    try:
                        status = file.stat()
                        if file.name.endswith(".tmp") and time.time() - status.st_mtime > _ABANDONED_SECONDS:
                            os.unlink(file)  # its process was killed while writing
                        else:
                            self._used += status.st_size
                    except FileNotFoundError:
                        continue  # another process has finished it
            self._counted_at = time.monotonic()
        return self._used


def _name(path: Path | str, side: int, tag: str) -> tuple[str, int, str]:
    if side < 1:
        raise ValueError(f"side={side} is not a size in pixels: use 1 or more.")
    return os.fspath(path), int(side), tag


def _stamp(path: str) -> tuple[int, int]:
    try:
        status = os.stat(path)
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: no such file. Restore it, or take the clip out of the catalogue.") from None
    return status.st_size, status.st_mtime_ns


def _takes_indices(read: Read) -> bool:
    return "indices" in inspect.signature(read).parameters


def _checked(frames: np.ndarray, path: Path | str, tag: str) -> np.ndarray:
    if frames.dtype != np.uint8 or frames.ndim != 4:
        raise ValueError(f"{path}: reading as {tag!r} gave {frames.dtype} of shape {frames.shape}. "
                         "The read function must return uint8 frames (T, H, W, C).")
    return frames


def _stored_shape(file: Path) -> tuple[tuple[int, ...], Path, int] | None:
    """Shape, file and offset of stored frames; None when there is no such file or it is not whole."""
    try:
        with open(file, "rb") as stored:
            np.lib.format.read_magic(stored)
            shape, fortran, dtype = np.lib.format.read_array_header_1_0(stored)
            offset = stored.tell()
            size = os.fstat(stored.fileno()).st_size
    except (OSError, ValueError):
        return None
    whole = len(shape) == 4 and dtype == np.uint8 and not fortran and size == offset + prod(shape)
    return (shape, file, offset) if whole else None


def _mapped(entry: _Entry) -> np.ndarray | None:
    """The stored frames, mapped read-only; None when the file has gone or been cut since it was checked."""
    if entry.file is None:
        return None
    try:
        # as a str: numpy would resolve a Path, which takes longer than the access itself
        return np.asarray(np.memmap(str(entry.file), np.uint8, "r", entry.offset, entry.shape))
    except (OSError, ValueError):
        return None
