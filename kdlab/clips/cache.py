"""Decoded frames kept on disk at the size wanted, so that a clip is decoded once and not in every epoch.

One plain ``.npy`` file (T, h, w, C) of uint8 for each clip, size and view, mapped into memory for the moment of an
access. Frames are resized while they are read, and written one by one: neither many clips nor a long one take more
memory.
"""

import hashlib
import io
import os
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path

import cv2
import numpy as np

from kdlab import paths
from kdlab.clips.container import regular
from kdlab.clips.decode import each_frame, frame_numbers, gathered, raw_name
from kdlab.system.files import StorageFull, delete_old_drafts, write_atomically
from kdlab.system.values import integer, not_negative

#: Frames (H, W, C) in order, one by one or as an array: all, or those at ascending ``indices``.
Read = Callable[..., Iterable[np.ndarray]]

_END_BYTES = 64 * 1024
_LARGEST = 2**13  # no screen or network takes more, and OpenCV ends the process
_FORMAT = "3"  # raise it when frames of the same file and view would come out differently
_RECOUNT_SECONDS = 5.0


def file_key(path: Path | str) -> str:
    """32 hex digits naming a file's content, wherever it lies: its size and a hash of its first and last 64 kB.

    Raises FileNotFoundError, and DamagedClip for a folder, pipe or device.
    """
    regular(path)
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        digest = hashlib.blake2b(str(size).encode(), digest_size=16)
        digest.update(file.read(_END_BYTES))
        file.seek(max(_END_BYTES, size - _END_BYTES))
        digest.update(file.read(_END_BYTES))
    return digest.hexdigest()


def resize(frames: np.ndarray, side: int) -> np.ndarray:
    """uint8 (T, H, W, C), T > 0, scaled so that the short side is ``side``, the aspect ratio kept to a pixel."""
    return np.stack([resize_one(frame, side) for frame in frames])


def resize_one(frame: np.ndarray, side: int) -> np.ndarray:
    """As ``resize``, one frame (H, W, C)."""
    height, width, channels = frame.shape
    scale = side / min(height, width)
    size = round(width * scale), round(height * scale)
    if size == (width, height):
        return frame
    # the mean over the covered area does not alias when shrinking; it would make blocks when enlarging
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    fours = [frame[..., at : at + 4] for at in range(0, channels, 4)]  # OpenCV 5 resizes no more channels at once
    parts = [cv2.resize(part, size, interpolation=how).reshape(size[1], size[0], -1) for part in fours]
    return parts[0] if len(parts) == 1 else np.concatenate(parts, -1)


class FrameCache:
    """All frames of clips, resized, under ``root`` (default: ``frames`` in ``kdlab.paths.cache_dir()``).

    A clip is read by ``read(path)``, which gives all frames at full size, uint8 (H, W, C), one by one or as an array;
    ``read(path, indices=…)`` (ascending) gives those of a clip that is not cached, without decoding it whole.
    ``tag`` names what ``read`` does (view and parameters): another ``read`` needs another tag. Without one, frames are
    those of the decoder that is chosen, and kept under its name.

    Above ``limit_bytes`` (default: ``kdlab.paths.cache_bytes()``), and where the disk is full or read-only, no more
    frames are written: one RuntimeWarning says so, and those asked for are decoded each time. Several processes may use
    one folder. A file in it that is not whole is made again, and a clip whose size or modification time changes is read
    afresh.
    """

    def __init__(self, root: Path | str | None = None, limit_bytes: int | None = None):
        not_negative("bytes on disk", limit_bytes=limit_bytes or 0)
        self.root = Path(root) if root is not None else paths.cache_dir() / "frames"
        self.limit_bytes = paths.cache_bytes() if limit_bytes is None else limit_bytes
        self._files: dict[tuple, Path] = {}  # by clip, side, tag and stamp
        self._stored: dict[Path, tuple[int, tuple[int, ...]]] = {}  # offset and shape
        self._counts: dict[Path, int] = {}
        self._stopped = False
        self._used = 0
        self._counted_at = -float("inf")

    def __reduce__(self):  # in another process: one at the same place, which need not know all that this one does
        return _one_cache, (self.root, self.limit_bytes)

    def frames(self, path: Path | str, indices: Sequence[int] | np.ndarray, side: int,
               read: Read = each_frame, tag: str = "") -> np.ndarray:
        """The frames at ``indices`` (any order, repeats allowed): uint8 (len(indices), h, w, C), short side ``side``.

        Raises ValueError for an index outside the clip or a ``side`` below 1, FileNotFoundError for a missing clip,
        and whatever ``read`` raises for a damaged one.
        """
        name, indices = _name(path, side, tag), frame_numbers(path, indices)
        file = self._file(name)
        stored = self._mapped(file)
        if stored is None and not self._stopped:
            self._keep(file, name, read)
            stored = self._mapped(file)
        if stored is None:
            return gathered(lambda path, wanted: _small(read(path, indices=wanted), name), Path(name[0]), indices)
        if indices.size and not 0 <= indices.min() <= indices.max() < len(stored):
            raise ValueError(f"{path}: frame indices {indices.min()} to {indices.max()} asked, but the clip has "
                             f"{len(stored)} frames. Use indices from 0 to {len(stored) - 1}.")
        return stored[indices]

    def length(self, path: Path | str, side: int, read: Read = each_frame, tag: str = "") -> int:
        """The number of frames of a clip, as decoded. A clip that is not known yet is read, and cached."""
        name = _name(path, side, tag)
        file = self._file(name)
        if file not in self._counts:
            if (stored := self._mapped(file)) is None:
                self._keep(file, name, read)
                stored = self._mapped(file)
            self._counts[file] = sum(1 for _ in _small(read(Path(name[0])), name)) if stored is None else len(stored)
        return self._counts[file]

    def _file(self, name: tuple[str, int, str]) -> Path:
        path, side, tag = name
        status = regular(path)
        stamp = status.st_size, status.st_mtime_ns
        if (*name, stamp) not in self._files:
            what = (_FORMAT, os.path.abspath(path), *stamp, file_key(path), side, tag)
            digest = hashlib.blake2b(repr(what).encode(), digest_size=16).hexdigest()
            self._files[*name, stamp] = self.root / f"{digest}.npy"
        return self._files[*name, stamp]

    def _mapped(self, file: Path) -> np.ndarray | None:
        """The stored frames, mapped read-only; None where there are none, or not all."""
        try:
            if file not in self._stored:
                found = np.load(str(file), mmap_mode="r")
                self._stored[file] = found.offset, found.shape
            # as a str: numpy would resolve a Path, which takes longer than the access itself
            return np.asarray(np.memmap(str(file), np.uint8, "r", *self._stored[file]))
        except (OSError, ValueError, EOFError):
            self._stored.pop(file, None)
            return None

    def _keep(self, file: Path, name: tuple[str, int, str], read: Read) -> None:
        """Read the whole clip, and write its frames if there is room."""
        if self._stopped:
            return
        try:
            room = self.limit_bytes - self._bytes_used()
            write_atomically(file, lambda draft: _write(draft, _small(read(Path(name[0])), name), room))
            self._used += file.stat().st_size
        except _NoRoom:
            self._stop(f"the frame cache has reached its limit of {self.limit_bytes / 1e9:.3g} GB. Let KDLAB_CACHE_GB "
                       "allow more, ask for a smaller side, or delete the folder if its clips are no longer used")
        except StorageFull as error:
            regular(name[0])
            if self._mapped(file) is None:  # else, on Windows, another process has it open already
                self._stop(f"frames cannot be cached there ({error.__cause__ or error}). Free some space, or let "
                           "KDLAB_CACHE name another folder")

    def _stop(self, why: str) -> None:
        self._stopped = True
        warnings.warn(f"{self.root}: {why}; until then clips are decoded each time.", RuntimeWarning, stacklevel=2)

    def _bytes_used(self) -> int:
        """Bytes in the folder, other processes' included; counted again every few seconds."""
        if time.monotonic() - self._counted_at > _RECOUNT_SECONDS:
            self._counted_at, self._used = time.monotonic(), 0
            delete_old_drafts(self.root)
            for file in self.root.glob("*"):
                with suppress(OSError):  # a draft that another process has finished
                    self._used += file.stat().st_size
        return self._used


class _NoRoom(Exception):
    """More bytes than there may be."""


@cache
def _one_cache(root: Path, limit_bytes: int) -> FrameCache:
    """One for all tasks of a process: it counts the bytes in its folder."""
    return FrameCache(root, limit_bytes)


def _name(path: Path | str, side: int, tag: str) -> tuple[str, int, str]:
    integer(1, "the short side in pixels", side=side)
    if side > _LARGEST:
        raise ValueError(f"side={side}: frames are enlarged to at most {_LARGEST} pixels")
    return os.fspath(path), int(side), tag or raw_name()


def _small(frames: Iterable[np.ndarray], name: tuple[str, int, str]) -> Iterator[np.ndarray]:
    """The frames of a clip resized, one by one."""
    path, side, tag = name
    shape = None
    for frame in frames:
        if frame.dtype != np.uint8 or frame.ndim != 3:
            raise ValueError(f"{path}: reading as {tag!r} gave {frame.dtype} of shape {frame.shape}. "
                             "The read function must give uint8 frames (H, W, C).")
        small = resize_one(frame, side)
        if small.shape != (shape := shape or small.shape):
            raise ValueError(f"{path}: reading as {tag!r} gave frames of several shapes, {shape} and {small.shape}.")
        yield small
    if shape is None:
        raise ValueError(f"{path}: reading as {tag!r} gave no frames.")


def _write(draft: Path, frames: Iterator[np.ndarray], room: int) -> None:
    """An ``.npy`` file of frames, at least one, whose number is known at the end only."""
    with open(draft, "wb") as out:
        for count, frame in enumerate(frames, 1):
            if (room := room - frame.nbytes) < 0:
                raise _NoRoom
            if count == 1:
                out.write(_header((0, *frame.shape)))
            out.write(np.ascontiguousarray(frame).data)
        out.seek(0)
        out.write(_header((count, *frame.shape)))


def _header(shape: tuple[int, ...]) -> bytes:
    """The head of an ``.npy`` file; numpy leaves room for any number of frames, so it is always as long."""
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(head, {"descr": "|u1", "fortran_order": False, "shape": shape})
    return head.getvalue()
