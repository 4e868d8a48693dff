"""What files hold: their hashes, read once while a file stays as it is, and one look for many questions."""

import contextlib
import hashlib
import json
import os
import stat
from collections.abc import Callable, Hashable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from pathlib import Path

from kdlab import paths
from kdlab.system.files import StorageFull, write_atomically
from kdlab.system.pool import available_cores
from kdlab.system.progress import track

_looks: ContextVar[dict | None] = ContextVar("looks", default=None)


@contextlib.contextmanager
def one_look(again: bool = False) -> Iterator[None]:
    """Inside, :func:`once` answers from its first look: an operation that asks a hundred times sees one state of the
    files, and pays for one look. ``again`` begins a new one inside another."""
    if _looks.get() is not None and not again:
        yield
        return
    token = _looks.set({})
    try:
        yield
    finally:
        _looks.reset(token)


def once(question: Hashable, look: Callable):
    """``look()``; inside :func:`one_look` what it gave the first time."""
    if (answers := _looks.get()) is None:
        return look()
    if question not in answers:
        answers[question] = look()
    return answers[question]


def content_keys(files: Iterable[Path]) -> dict[Path, str]:
    """32 hex digits of the SHA-256 of each of ``files``; equal exactly when all bytes are.

    A file is read again when its size or one of its times has changed. Keys are kept in the cache. Raises
    FileNotFoundError for a missing file, ValueError for what is no file.
    """
    stamps = {file: _stamp(file) for file in dict.fromkeys(files)}
    kept = paths.cache_dir() / "contents.json"
    try:
        known = dict(json.loads(kept.read_text("utf-8")))
    except (OSError, ValueError, TypeError):
        known = {}
    new = [file for file in stamps if known.get(os.path.abspath(file), [None])[0] != stamps[file]]
    with ThreadPoolExecutor(available_cores()) as threads:
        for file, key in zip(new, track(threads.map(_key, new), "reading clips", len(new)), strict=True):
            known[os.path.abspath(file)] = stamps[file], key
    if new:
        with contextlib.suppress(StorageFull):  # the next process reads them again
            write_atomically(kept, lambda path: path.write_text(json.dumps(known), "utf-8"))
    return {file: known[os.path.abspath(file)][1] for file in stamps}


def _stamp(file: Path) -> list[int]:
    """What changes when a file does. The last time, of any change to the file, cannot be set back."""
    try:
        status = os.stat(file)
    except (FileNotFoundError, NotADirectoryError):
        raise FileNotFoundError(f"{file}: no such file. Restore it, or take the clip out of the catalogue.") from None
    if not stat.S_ISREG(status.st_mode):
        raise ValueError(f"{file} is no regular file. Put a file there, or take the clip out of the catalogue.")
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns]


def _key(file: Path) -> str:
    with open(file, "rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()[:32]
