"""A disk cache of decoded, resized frames: each clip is decoded once and not in every epoch.

Each clip, size and view has one ``.npy`` file, uint8 (T, h, w, C), which is memory-mapped only during an access. Frames
are decoded, resized and written one by one, so memory does not grow with the number or the length of clips.
"""

import hashlib
import os
import warnings
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import cv2
import numpy as np

from kdlab.system import paths
from kdlab.system.files import StorageFull, delete_old_drafts, write_atomically
from kdlab.video.container import Frames, Read, cached_by_file, require_file, stamp
from kdlab.video.decode import each_frame, frame_numbers, gathered

_END_BYTES = 64 * 1024
_FORMAT = "4"  # raise it when the same file and view give different frames


def file_key(path: Path | str) -> str:
    """Hash of a file's size and its first and last 64 kB: 32 hex digits, independent of the file's path.

    Raises FileNotFoundError, and DamagedClip for a folder, pipe or device.
    """
    size = require_file(path).st_size
    digest = hashlib.blake2b(str(size).encode(), digest_size=16)
    with open(path, "rb") as file:
        for place in (0, max(_END_BYTES, size - _END_BYTES)):
            file.seek(place)
            digest.update(file.read(_END_BYTES))
    return digest.hexdigest()


def resize(frames: np.ndarray, side: int) -> np.ndarray:
    """Resize uint8 frames (T, H, W, C), T > 0, to the short side ``side``; the aspect ratio is kept to a pixel."""
    return np.stack([resize_one(frame, side) for frame in frames])


def resize_one(frame: np.ndarray, side: int) -> np.ndarray:
    """Resize one frame (H, W, C) as ``resize`` does."""
    height, width, channels = frame.shape
    scale = side / min(height, width)
    size = round(width * scale), round(height * scale)
    if size == (width, height):
        return frame
    # the area mean avoids aliasing when shrinking, but makes blocks when enlarging
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    # OpenCV 5 resizes at most four channels at once, and returns a single one without an axis for it
    parts = [
        cv2.resize(frame[..., first : first + 4], size, interpolation=how)
        for first in range(0, channels, 4)
    ]
    return np.dstack(parts)


#: Clips that a cache keeps open; Linux lets a process map about 65,000 files.
MOST_HELD = 16384


class FrameCache:
    """A cache of resized frames in the folder ``root`` (default: ``frames`` in ``kdlab.system.paths.cache_dir()``).

    ``read(path)`` gives all frames of a clip at full size, uint8 (H, W, C), as an iterator or an array.
    ``read(path, indices=…)`` (ascending) gives some frames of a clip that is not cached, without decoding all of it.
    ``tag`` names the view and parameters of ``read`` (default: ``raw``): two different ``read`` need two tags.

    The cache stops writing above ``limit_bytes`` (default: ``kdlab.system.paths.cache_bytes()``), and when the disk is
    full or read-only. Then it gives one RuntimeWarning, and decodes frames at each access. Several processes may share
    one folder. Incomplete files are made again. A clip is read again if its size or one of its times has changed.
    """

    def __init__(self, root: Path | str | None = None, limit_bytes: int | None = None):
        self.root = Path(root) if root is not None else paths.cache_dir() / "frames"
        self.limit_bytes = paths.cache_bytes() if limit_bytes is None else limit_bytes
        self._counts: dict[Path, int] = {}
        self._held, self._most_held = {}, 0
        self._full = False
        self._used: int | None = None

    # in another process: a cache of the same folder, which counts the bytes there itself
    def __reduce__(self):
        return _one_cache, (self.root, self.limit_bytes)

    def hold(self) -> None:
        """Keep clips open from now on, at most :data:`MOST_HELD`, and ask the disk no more whether they changed: for
        one training, whose clips are compared before and after it."""
        self._held, self._most_held = {}, MOST_HELD

    def frames(
        self,
        path: Path,
        indices: Sequence[int] | np.ndarray,
        side: int,
        read: Read = each_frame,
        tag: str = "raw",
    ) -> np.ndarray:
        """The frames at ``indices`` (any order, repeats allowed): uint8 (len(indices), h, w, C), short side ``side``.

        Raises ValueError for an index outside the clip, FileNotFoundError for a missing clip, and whatever ``read``
        raises for a damaged clip.
        """
        indices, kept = frame_numbers(path, indices), self._opened(path, side, read, tag)
        if kept is None:
            return gathered(
                lambda path, wanted: _small(path, side, read(path, indices=wanted)),
                path,
                indices,
            )
        if indices.size and not 0 <= indices.min() <= indices.max() < len(kept):
            raise ValueError(
                f"{path}: frame indices {indices.min()} to {indices.max()} requested, but the clip has "
                f"{len(kept)} frames. Use indices from 0 to {len(kept) - 1}."
            )
        return kept[indices]

    def length(self, path: Path, side: int, read: Read = each_frame, tag: str = "raw") -> int:
        """The number of decoded frames of a clip. A clip that is not in the cache is decoded and cached."""
        kept = self._opened(path, side, read, tag)
        if kept is not None:
            return len(kept)
        file = self._file(path, side, tag)
        if file not in self._counts:
            self._counts[file] = sum(1 for _ in _small(path, side, read(path)))
        return self._counts[file]

    def _opened(self, path: Path, side: int, read: Read, tag: str) -> np.ndarray | None:
        clip = path, side, tag
        if clip in self._held:
            return self._held[clip]
        kept = self._kept(self._file(*clip), path, side, read)
        if kept is not None and len(self._held) < self._most_held:
            self._held[clip] = kept
        return kept

    def _file(self, path: Path, side: int, tag: str) -> Path:
        what = _FORMAT, os.path.abspath(path), *stamp(path), side, tag
        return self.root / f"{hashlib.blake2b(repr(what).encode(), digest_size=16).hexdigest()}.npy"

    def _kept(self, file: Path, path: Path, side: int, read: Read) -> np.ndarray | None:
        """The clip's frames, memory-mapped read-only; writes their file if necessary. None if there is no room."""
        kept = _mapped(file)
        if kept is not None or self._full:
            return kept
        if self._used is None:
            delete_old_drafts(self.root)
            self._used = sum(other.stat().st_size for other in self.root.glob("*.npy"))
        room = self.limit_bytes - self._used
        try:
            write_atomically(
                file, lambda draft: _write(draft, _small(path, side, read(path)), room)
            )
            self._used += file.stat().st_size
        except StorageFull as error:
            require_file(path)
            self._full = True
            warnings.warn(
                f"{self.root}: frames are no longer cached there ({error.__cause__ or error}), so clips are "
                "decoded each time. Free some space, ask for a smaller side, let KDLAB_CACHE_GB allow more, "
                "or let KDLAB_CACHE name another folder.",
                RuntimeWarning,
                stacklevel=2,
            )
        return _mapped(file)


@cache
def _one_cache(root: Path, limit_bytes: int) -> FrameCache:
    """One cache for all tasks of a process, since a cache counts the bytes in its folder."""
    return FrameCache(root, limit_bytes)


def _mapped(file: Path) -> np.ndarray | None:
    """The frames in ``file``, memory-mapped read-only; None if the file is missing or incomplete."""
    try:
        # as a str: NumPy resolves a Path, which takes longer than the access
        return np.asarray(np.memmap(str(file), np.uint8, "r", *_layout(file)))
    except (OSError, ValueError, EOFError):
        return None


@cached_by_file(2**16)
def _layout(file: Path) -> tuple[int, tuple[int, ...]]:
    """Offset and shape of the frames in ``file``; reading its header takes five times as long as the access."""
    frames = np.load(file, mmap_mode="r")
    return frames.offset, frames.shape


def _small(path: Path, side: int, frames: Frames) -> Frames:
    """Resize the frames of a clip, one by one."""
    shape = None
    for frame in frames:
        shape = shape or frame.shape
        if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape != shape:
            raise ValueError(
                f"{path}: its view gave a frame of {frame.dtype} and shape {frame.shape}. The view must "
                "give uint8 frames (H, W, C), all of one shape."
            )
        yield resize_one(frame, side)
    if shape is None:
        raise ValueError(f"{path}: its view gave no frames.")


def _write(draft: Path, frames: Frames, room: int) -> None:
    """Write at least one frame to an ``.npy`` file. The number of frames is known only at the end; NumPy pads the
    header for any number, so its length is constant."""
    with open(draft, "wb") as out:
        for count, frame in enumerate(frames, 1):
            if (room := room - frame.nbytes) < 0:
                raise OSError("it has reached the limit of KDLAB_CACHE_GB")
            layout = {"descr": "|u1", "fortran_order": False, "shape": (count, *frame.shape)}
            if count == 1:
                np.lib.format.write_array_header_1_0(out, layout)
            out.write(np.ascontiguousarray(frame).data)
        out.seek(0)
        np.lib.format.write_array_header_1_0(out, layout)
