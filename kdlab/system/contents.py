"""What files hold, asked often and read once, and never answered from before a change.

A file is read again when its size or one of its times differs from when it was read. Times have ticks: a file that was
touched in the two seconds before it was read could be written once more without another time, so it is read anew each
time it is asked for, until it has been still for longer.
"""

import contextlib
import hashlib
import json
import os
import stat
import time
from collections.abc import Callable, Hashable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from pathlib import Path

from kdlab import paths
from kdlab.system.files import StorageFull, sweep, write_atomically
from kdlab.system.processes import available_cores
from kdlab.system.progress import track
from kdlab.system.stored import is_sealed, sealed

_TICK = 2 * 10**9  # ns; the coarsest file systems count in two seconds
_FEW_BYTES, _MANY_BYTES = 8 * 2**20, 2**30  # below: no threads; above: say how far it is

_NOTHING = (), ""
_looks: ContextVar[dict | None] = ContextVar("looks", default=None)


# --- one look for many questions -----------------------------------------------------------------------------------


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


# --- contents ------------------------------------------------------------------------------------------------------


def stamp(path: Path | str) -> tuple[int, ...]:
    """What changes when a file does: its size and times (ns), which is when it was written and, except on Windows,
    when anything was done to it: that one cannot be set back."""
    return _stamp(os.stat(path))


def _stamp(status: os.stat_result) -> tuple[int, ...]:
    return status.st_size, status.st_mtime_ns, *([] if os.name == "nt" else [status.st_ctime_ns])


def settled(stamp: tuple[int, ...], now: int) -> bool:
    """Whether a file of this stamp, looked at at ``now`` (ns), would have another one after any later change."""
    return abs(now - stamp[-1]) > _TICK


def hashes(root: Path, files: Iterable[Path]) -> dict[str, str]:
    """Name in the folder ``root`` → SHA-256 of what it holds, of each of ``files``, read anew."""
    return {file.relative_to(root).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def content_keys(files: Iterable[Path]) -> dict[Path, str]:
    """32 hex digits of the SHA-256 of each of ``files``, wherever it lies; equal exactly when all bytes are.

    What is new is read whole, by as many threads as there are cores (1 GB/s each). Keys are kept in the folder
    ``contents`` of the cache. Raises FileNotFoundError for a missing file, ValueError for what is none.
    """
    now, stamps = time.time_ns(), {file: _stamp_of_clip(file) for file in dict.fromkeys(files)}
    places = {file: os.path.split(os.path.abspath(file)) for file in stamps}
    stored = {folder: _stored(folder) for folder in {folder for folder, _ in places.values()}}
    known = {file: stored[folder].get(name, _NOTHING) for file, (folder, name) in places.items()}
    new = [file for file in stamps if known[file][0] != stamps[file]]
    fresh = dict(zip(new, _read(new, sum(stamps[file][0] for file in new)), strict=True))
    still = [file for file in new if settled(stamps[file], now) and _stamp_of_clip(file) == stamps[file]]
    for file in still:
        folder, name = places[file]
        stored[folder][name] = stamps[file], fresh[file]
    for folder in {places[file][0] for file in still}:
        _store(folder, stored[folder])
    return {file: fresh.get(file) or known[file][1] for file in stamps}


def _stamp_of_clip(file: Path) -> tuple[int, ...]:
    try:
        status = os.stat(file)
    except (FileNotFoundError, NotADirectoryError):
        raise FileNotFoundError(f"{file}: no such file. Restore it, or take the clip out of the catalogue.") from None
    if not stat.S_ISREG(status.st_mode):
        raise ValueError(f"{file} is no regular file. Put a file there, or take the clip out of the catalogue.")
    return _stamp(status)


def _read(files: list[Path], size: int) -> Iterable[str]:
    if size < _FEW_BYTES:
        return map(_key, files)
    with ThreadPoolExecutor(available_cores()) as threads:
        keys = threads.map(_key, files)
        return list(track(keys, "reading clips", len(files)) if size > _MANY_BYTES else keys)


def _key(file: Path) -> str:
    with open(file, "rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()[:32]


def _file_of(folder: str) -> Path:
    return paths.cache_dir() / "contents" / f"{hashlib.sha256(os.fsencode(folder)).hexdigest()[:32]}.json"


def _stored(folder: str) -> dict[str, tuple[tuple[int, ...], str]]:
    """Name → (stamp, key) of the files in ``folder``, as an earlier process left them; nothing of a damaged file."""
    try:
        note = json.loads(_file_of(folder).read_text(encoding="utf-8"))
        return {name: (tuple(found), key) for name, (found, key) in note["files"].items()} if is_sealed(note) else {}
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return {}


def _store(folder: str, entries: dict) -> None:
    """Keep ``entries``. Where nothing can be written, or two write at once, the next process reads some again."""
    place = _file_of(folder)
    files = {name: [list(found), key] for name, (found, key) in entries.items()
             if os.path.lexists(os.path.join(folder, name))}
    text = json.dumps(sealed({"folder": folder, "files": files}))
    with contextlib.suppress(StorageFull):
        write_atomically(place, lambda path: path.write_text(text, encoding="utf-8"))
        sweep(place.parent)
