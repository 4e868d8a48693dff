"""Work on many files in shards, with a manifest: what stands in it is not done again, whichever engine did it.

The manifest is a file of JSON lines, one a file that was done: its name, what it was (size, time of its last change,
and what was asked for), what there was to say, and a check over all of that: a line that was cut off, that two
writers share because their file system forgets locks, or that is somebody else's counts as none.
"""

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from filelock import Timeout

from kdlab.system.engines import Engine, Pool
from kdlab.system.files import StorageFull
from kdlab.system.ours import begins_with, may_write
from kdlab.system.processes import available_cores, locked
from kdlab.system.stored import is_sealed, sealed

#: Files in a shard: what is lost where a driver is killed, and what a machine is given at a time.
SHARD = 32


_BEGINNING = '{"file": '


class Busy(ValueError):
    """A manifest that another call is at work on."""


def in_shards(work: Callable[[str], dict], files: Sequence[Path], manifest: Path, asked: str = "", *,
              engine: Engine | None = None, workers: int | None = None, size: int = SHARD,
              sound: Callable[[str, dict], bool] = lambda file, row: True) -> Iterator[tuple[str, dict, bool]]:
    """What ``work``, a function that other processes find, says of each of ``files``: ``(file, row, kept)``, those
    first that are ``kept`` from the ``manifest``, the others as they come.

    A row has plain values; one with a ``reason`` (why nothing came of the file) is not kept, nor one that is not
    ``sound`` any more. ``asked`` tells what else a row depends on. Raises :class:`Busy`, NotOurs for a manifest that is
    somebody else's, and what ``engine`` raises: what was done by then stands in the manifest.
    """
    marks = {str(file): f"{asked} {_mark(file)}".strip() for file in files}
    may_write(manifest, _is_own, "manifest")
    with _alone(manifest):
        known = {file: row for file, mark, row in _lines(manifest) if marks.get(file) == mark}
        known = {file: row for file, row in known.items() if sound(file, row)}
        yield from ((file, known[file], True) for file in marks if file in known)
        left = [file for file in marks if file not in known]
        shards = {first: left[first : first + size] for first in range(0, len(left), size)}
        if not shards:
            return
        workers = min(workers or (len(shards) if engine else available_cores()), len(shards))
        with (engine or Pool((__name__, ))).started(workers) as in_turn:
            calls = {first: partial(_shard, work, shard) for first, shard in shards.items()}
            for ended in in_turn(calls.get, {first: set() for first in shards}):
                for _, rows in ended:
                    _add(manifest, [{"file": file, "what": marks[file], "row": row} for file, row in rows.items()
                                    if not row.get("reason")])
                    yield from ((file, row, False) for file, row in rows.items())


def _shard(work: Callable[[str], dict], files: Sequence[str]) -> dict[str, dict]:
    return {file: work(file) for file in files}


def _mark(file: Path) -> str:
    about = file.stat()
    return f"{about.st_size} {about.st_mtime_ns}"


def _is_own(manifest: Path) -> bool:
    """Whether a line of a manifest begins there, or was cut off before it had come so far."""
    with open(manifest, "rb") as file:
        return _BEGINNING.encode().startswith(file.read(len(_BEGINNING))) or begins_with(manifest, _BEGINNING)


def _lines(manifest: Path) -> Iterator[tuple[str, str, Mapping]]:
    for line in manifest.read_bytes().splitlines() if manifest.is_file() else ():
        try:
            found = json.loads(line)
            if is_sealed(found):
                yield found["file"], found["what"], found["row"]
        except (ValueError, KeyError, RecursionError):
            continue


def _add(manifest: Path, rows: Sequence[dict]) -> None:
    """One line a row, on the disk; a line in which a process was killed ends before them."""
    try:
        with open(manifest, "ab+") as lines:
            lines.seek(max(0, lines.seek(0, os.SEEK_END) - 1))
            if lines.read(1) not in (b"", b"\n"):
                lines.write(b"\n")
            lines.write("".join(f"{json.dumps(sealed(row))}\n" for row in rows).encode())
            lines.flush()
            os.fsync(lines.fileno())
    except OSError as error:
        raise StorageFull(f"cannot write {manifest}: {error}. Free some space, and the same call goes on from what "
                          "stands there") from error


@contextmanager
def _alone(manifest: Path) -> Iterator[None]:
    try:
        with locked(f"{manifest}.lock", timeout=0):
            yield
    except Timeout as error:
        raise Busy(f"{manifest}: another call is at work on it; wait for that, or name another manifest") from error
