"""Decoded frames kept on disk at the size wanted, so that a clip is decoded once and not in every epoch.

One plain ``.npy`` file (T, h, w, C) of uint8 for each clip, size and view, with a checksum behind the frames, mapped
into memory for the moment of an access. Frames are resized while they are read, and written one by one: neither many
clips nor a long one take more memory.
"""

import hashlib
import io
import json
import os
import re
import secrets
import time
import warnings
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from math import prod
from pathlib import Path

import cv2
import numpy as np

from kdlab import paths
from kdlab.clips.container import regular
from kdlab.clips.decode import each_frame, frame_numbers, gathered
from kdlab.clips.decoders import raw_name
from kdlab.system.files import sweep
from kdlab.system.values import not_negative, whole

#: Frames (H, W, C) in order, one by one or as an array: all, or those at ascending ``indices``.
Read = Callable[..., Iterable[np.ndarray]]

_END_BYTES = 64 * 1024
_LARGEST = 2**13  # no screen or network takes more, and OpenCV ends the process
_FORMAT = "3"  # raise it when frames of the same file and view would come out differently
_CHECKSUM_BYTES = 4
_RECOUNT_SECONDS = 5.0
_FILE = re.compile(r"[0-9a-f]{32}\.npy")  # the folder may hold others' files


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


@dataclass(frozen=True)
class _Entry:
    stamp: tuple[int, int]  # the clip's size and mtime_ns when it was decoded
    shape: tuple[int, ...]
    file: Path | None  # None: not on disk, to be decoded each time
    offset: int = 0
    state: tuple[int, int] = (0, 0)  # size and mtime_ns of the file when its checksum was compared


class FrameCache:
    """All frames of clips, resized, under ``root`` (default: ``frames`` in ``kdlab.paths.cache_dir()``).

    A clip is read by ``read(path)``, which gives all frames at full size, uint8 (H, W, C), one by one or as an array;
    ``read(path, indices=…)`` (ascending) gives those of a clip that is not cached, without decoding it whole.
    ``tag`` names what ``read`` does (view and parameters): another ``read`` needs another tag. Without one, frames are
    those of the decoder that is chosen, and kept under its name.

    Above ``limit_bytes`` (default: ``kdlab.paths.cache_bytes()``), and where the disk is full or read-only, no more
    frames are written: one RuntimeWarning says so, and those asked for are decoded each time. How many a clip has stays
    known, in a file of some bytes, so that no process decodes it whole for that again. Several processes may use one
    folder; a damaged file in it is made again, and a clip whose size or modification time changes is read afresh.
    """

    def __init__(self, root: Path | str | None = None, limit_bytes: int | None = None):
        not_negative("bytes on disk", limit_bytes=limit_bytes or 0)
        self.root = Path(root) if root is not None else paths.cache_dir() / "frames"
        self.limit_bytes = paths.cache_bytes() if limit_bytes is None else limit_bytes
        self._entries: dict[tuple[str, int, str], _Entry] = {}
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
        indices = frame_numbers(path, indices)
        name = _name(path, side, tag)
        entry = self._find(name)
        if (entry is None or entry.file is None) and not self._stopped:
            entry = self._fill(name, read)
        stored = entry and _mapped(entry)
        if entry and entry.file and stored is None:  # gone or changed meanwhile
            del self._entries[name]
            entry = self._find(name) or self._fill(name, read)
            stored = _mapped(entry)
        if entry and indices.size and not 0 <= indices.min() <= indices.max() < entry.shape[0]:
            raise ValueError(f"{path}: frame indices {indices.min()} to {indices.max()} asked, but the clip has "
                             f"{entry.shape[0]} frames. Use indices from 0 to {entry.shape[0] - 1}.")
        return _read_some(name, indices, read) if stored is None else stored[indices]

    def length(self, path: Path | str, side: int, read: Read = each_frame, tag: str = "") -> int:
        """The number of frames of a clip, as decoded. A clip that is not known yet is read, and cached."""
        name = _name(path, side, tag)
        return (self._find(name) or self._fill(name, read)).shape[0]

    def _find(self, name: tuple[str, int, str]) -> _Entry | None:
        """What is known of the clip in its present state, from memory or from the folder."""
        stamp = _stamp(name[0])
        entry = self._entries.get(name)
        if entry is None or entry.stamp != stamp:
            file = self._file(name, stamp)
            stored = _stored(file) or _counted(file)
            if stored is None:
                return None
            entry = self._entries[name] = _Entry(stamp, *stored)
        return entry

    def _file(self, name: tuple[str, int, str], stamp: tuple[int, int]) -> Path:
        path, side, tag = name
        what = (_FORMAT, os.path.abspath(path), *stamp, file_key(path), side, tag)
        return self.root / (hashlib.blake2b(repr(what).encode(), digest_size=16).hexdigest() + ".npy")

    def _fill(self, name: tuple[str, int, str], read: Read) -> _Entry:
        """Read the whole clip, and keep it if there is room."""
        stamp = _stamp(name[0])  # before reading: a clip that changes meanwhile is then read again next time
        draft, length, shape = _Draft(self._file(name, stamp)), 0, (name[1], name[1], 3)
        try:
            for frame in _small(read(Path(name[0])), name):
                length, shape = length + 1, frame.shape
                if not self._stopped:
                    self._write(lambda frame=frame: self._add(draft, frame))
            if length and not self._stopped:
                self._used += self._write(draft.finish) or 0
        finally:
            draft.discard()
        stored = _stored(draft.file)
        if not stored:
            stored = (length, *shape), None
            _note(draft.file, stored[0])
        entry = self._entries[name] = _Entry(stamp, *stored)
        return entry

    def _add(self, draft: "_Draft", frame: np.ndarray) -> None:
        if not draft.shape[0]:
            self.root.mkdir(parents=True, exist_ok=True)
            draft.free = self.limit_bytes - self._bytes_used()
        if draft.free < frame.nbytes:
            self._stop(f"the frame cache has reached its limit of {self.limit_bytes / 1e9:.3g} GB. Let KDLAB_CACHE_GB "
                       "allow more, ask for a smaller side, or delete the folder if its clips are no longer used")
        else:
            draft.add(frame)

    def _write(self, step: Callable):
        try:
            return step()
        except OSError as error:
            self._stop(f"frames cannot be cached there ({error.strerror or error}). Free some space, or let "
                       "KDLAB_CACHE name another folder")

    def _stop(self, why: str) -> None:
        self._stopped = True
        warnings.warn(f"{self.root}: {why}; until then clips are decoded each time.", RuntimeWarning, stacklevel=2)

    def _bytes_used(self) -> int:
        """Bytes in the folder, other processes' included; counted again every few seconds."""
        if time.monotonic() - self._counted_at > _RECOUNT_SECONDS:
            self._counted_at, self._used = time.monotonic(), 0
            sweep(self.root, _FILE.fullmatch)
            for file in os.scandir(self.root):
                with suppress(FileNotFoundError):  # a draft that another process has finished
                    self._used += file.stat().st_size
        return self._used


@cache
def _one_cache(root: Path, limit_bytes: int) -> FrameCache:
    """One for all tasks of a process: it counts the bytes in its folder."""
    return FrameCache(root, limit_bytes)


def _name(path: Path | str, side: int, tag: str) -> tuple[str, int, str]:
    whole(1, "the short side in pixels", side=side)
    if side > _LARGEST:
        raise ValueError(f"side={side}: frames are enlarged to at most {_LARGEST} pixels")
    return os.fspath(path), int(side), tag or raw_name()


def _stamp(path: str) -> tuple[int, int]:
    status = regular(path)
    return status.st_size, status.st_mtime_ns


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


def _read_some(name: tuple[str, int, str], indices: np.ndarray, read: Read) -> np.ndarray:
    """Frames that are not cached, resized."""
    return gathered(lambda path, wanted: _small(read(path, indices=wanted), name), Path(name[0]), indices)


class _Draft:
    """A file of the cache while it is written: whole at its place after ``finish``, or not at all."""

    def __init__(self, file: Path):
        self.file, self.shape, self.free = file, (0,), 0  # free: bytes that it may still take
        self._place = file.with_name(f".{file.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
        self._out, self._checksum = None, 0

    def add(self, frame: np.ndarray) -> None:
        frame = np.ascontiguousarray(frame)
        if self._out is None:
            self._out = open(self._place, "wb")  # noqa: SIM115
            self._out.write(_header((0, *frame.shape)))
        self._out.write(frame.data)
        self._checksum = zlib.crc32(frame.data, self._checksum)
        self.shape = (self.shape[0] + 1, *frame.shape)
        self.free -= frame.nbytes

    def finish(self) -> int:
        """Put the file in its place; its size in bytes."""
        self._out.write(_checked(self._checksum, self.shape, self.file))
        size = self._out.tell()
        self._out.seek(0)
        self._out.write(_header(self.shape))
        self._out.close()
        try:
            os.replace(self._place, self.file)  # whole or not at all
        except PermissionError:  # on Windows another process may have the file open there already
            if _stored(self.file) is None:
                raise
        return size

    def discard(self) -> None:
        """Leave nothing behind of what is not finished."""
        with suppress(OSError):  # a full disk, or the folder itself is the trouble
            if self._out:
                self._out.close()
        with suppress(OSError):
            self._place.unlink(missing_ok=True)


def _header(shape: tuple[int, ...]) -> bytes:
    """The head of an ``.npy`` file; numpy leaves room for any number of frames, so it is always as long."""
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(head, {"descr": "|u1", "fortran_order": False, "shape": shape})
    return head.getvalue()


def _checked(checksum: int, shape: tuple[int, ...], file: Path) -> bytes:
    """The checksum of frames, with their shape and their clip, of which the file's name is a hash."""
    return zlib.crc32(_header(shape) + file.stem.encode(), checksum).to_bytes(_CHECKSUM_BYTES, "little")


_sound: dict[str, tuple[int, int]] = {}  # files whose checksums have been compared: size and mtime_ns then


def _stored(file: Path) -> tuple[tuple[int, ...], Path, int, tuple[int, int]] | None:
    """Shape, file, offset and state of stored frames; None when there is no such file, or it is not whole and sound."""
    try:
        with open(file, "rb") as stored:
            np.lib.format.read_magic(stored)
            shape, fortran, dtype = np.lib.format.read_array_header_1_0(stored)
            offset, status = stored.tell(), os.fstat(stored.fileno())
            whole = len(shape) == 4 and dtype == np.uint8 and not fortran
            if not whole or status.st_size != offset + prod(shape) + _CHECKSUM_BYTES:
                return None
            state = status.st_size, status.st_mtime_ns
            if _sound.get(str(file)) != state:  # once in each process
                checksum, left = 0, prod(shape)
                while part := stored.read(min(left, 2**20)):
                    checksum, left = zlib.crc32(part, checksum), left - len(part)
                if stored.read() != _checked(checksum, shape, file):
                    return None
                _sound[str(file)] = state
    except (OSError, ValueError):
        return None
    return shape, file, offset, state


def _note(file: Path, shape: tuple[int, ...]) -> None:
    """Tell other processes how many frames a clip has that are not kept in ``file``."""
    with suppress(OSError):  # then it is counted again
        file.parent.mkdir(parents=True, exist_ok=True)
        file.with_suffix(".shape").write_bytes(_checked(0, shape, file) + json.dumps(shape).encode())


def _counted(file: Path) -> tuple[tuple[int, ...], None] | None:
    """What :func:`_note` wrote; None where nothing did, or where it is not whole and sound."""
    with suppress(OSError, ValueError, TypeError):
        content = file.with_suffix(".shape").read_bytes()
        shape = tuple(json.loads(content[_CHECKSUM_BYTES:]))
        if content[:_CHECKSUM_BYTES] == _checked(0, shape, file):
            return shape, None
    return None


def _mapped(entry: _Entry) -> np.ndarray | None:
    """The stored frames, mapped read-only; None when the file has gone or changed since it was checked."""
    if entry.file is None:
        return None
    try:
        status = os.stat(entry.file)
        if (status.st_size, status.st_mtime_ns) != entry.state:
            return None
        # as a str: numpy would resolve a Path, which takes longer than the access itself
        return np.asarray(np.memmap(str(entry.file), np.uint8, "r", entry.offset, entry.shape))
    except (OSError, ValueError):
        return None
