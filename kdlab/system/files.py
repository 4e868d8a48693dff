"""Files: atomic writing, hashes of contents, and protection of files that kdlab did not make."""

import contextlib
import errno
import hashlib
import io
import json
import os
import re
import secrets
import stat
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from kdlab.system import paths
from kdlab.system.pool import available_cores, track
from kdlab.system.values import some

#: Names of the drafts of :func:`write_atomically`.
_DRAFT = re.compile(r"\.kdlab-\d+-[0-9a-f]{8}\.tmp")
_OLD_SECONDS = 3600  # processes of other machines that share the folder are invisible here
#: Files that desktops leave in folders, and a lock; a folder with nothing else counts as empty.
_LITTER = {".DS_Store", "Thumbs.db", "desktop.ini", ".lock"}


class StorageFull(OSError):
    """A place that cannot be written."""


class NotOurs(ValueError):
    """A place that kdlab would overwrite, but that kdlab did not make."""


# --- writing ---------------------------------------------------------------------------------------------------


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Call ``write(temporary path)``, sync and rename, so that readers see the old file or the complete new file.

    This holds after a power cut too. The file gets the mode of the umask, whatever mode ``write`` gives it. Raises
    :class:`StorageFull`, with the path, if it cannot be written; then the old file is unchanged.
    """
    draft = path.with_name(f".kdlab-{os.getpid()}-{secrets.token_hex(4)}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft.touch()
        # reading the umask itself would change it for other threads
        mode = stat.S_IMODE(draft.stat().st_mode)
        write(draft)
        draft.chmod(mode)
        _to_disk(draft, os.O_RDWR)
        os.replace(draft, path)
        if os.name != "nt":  # Windows cannot open folders
            _to_disk(path.parent, os.O_RDONLY)
    except OSError as error:
        if path.is_dir():
            raise StorageFull(
                f"cannot write {path}: a folder stands in its place. Move it away."
            ) from None
        raise StorageFull(
            f"cannot write {path}: {error}. Free some space, or let KDLAB_RUNS, KDLAB_DATA or KDLAB_FIGURES name a "
            "folder that can be written; what was finished before is intact, and the same command resumes from it."
        ) from error
    finally:
        with contextlib.suppress(OSError):
            draft.unlink()


def write_content(path: Path, content: str | bytes) -> None:
    """Make ``content`` the whole file, by :func:`write_atomically`. Texts become UTF-8 and keep their line ends."""
    data = content.encode() if isinstance(content, str) else content
    write_atomically(path, lambda draft: draft.write_bytes(data))


def write_csv(path: Path, table, **how) -> None:
    """Write the data frame ``table`` without its index, by :func:`write_atomically`."""
    write_atomically(
        path, lambda draft: table.to_csv(draft, index=False, lineterminator="\n", **how)
    )


def read_json(file: Path):
    """The content of a JSON ``file``."""
    return json.loads(file.read_text("utf-8"))


def _to_disk(path: Path, flags: int) -> None:
    """Wait until ``path`` is on the disk (fsync). File systems without fsync are ignored."""
    handle = os.open(path, flags)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(handle)


def delete_old_drafts(folder: Path) -> None:
    """Delete the drafts of killed processes in ``folder``: drafts not modified for an hour."""
    for draft in folder.glob("*.tmp"):
        with contextlib.suppress(OSError):
            if _DRAFT.fullmatch(draft.name) and time.time() - draft.stat().st_mtime >= _OLD_SECONDS:
                draft.unlink()


def save_arrays(path: Path, arrays: dict) -> None:
    """Write NumPy ``arrays`` (name → array) to one compressed npz, atomically."""
    import numpy as np  # here, because most callers of this module need no NumPy

    # to a path, it would append .npz to a draft's name
    np.savez_compressed(content := io.BytesIO(), **arrays)
    write_content(path, content.getvalue())


# --- ownership -------------------------------------------------------------------------------------------------


def may_write(file: Path, is_own: Callable[[Path], bool], what: str) -> None:
    """Check that kdlab may write ``file``; ``what`` names the kind of file.

    Raises :class:`NotOurs` if ``file`` exists and ``is_own(file)`` is false, or if it is a link or a folder. Raises
    ``NotADirectoryError`` if its folder is missing or cannot be written.
    """
    if not os.access(folder := file.absolute().parent, os.W_OK) or not folder.is_dir():
        raise NotADirectoryError(
            f"{file}: there is no folder {folder} that can be written; name another file"
        )
    if os.path.lexists(file) and (file.is_symlink() or not file.is_file() or not is_own(file)):
        raise NotOurs(
            f"{file} is there already and is no {what} of kdlab's, so it stays as it is; name another file, "
            "or move that one away"
        )


def may_fill(folder: Path, is_own: Callable[[Path], bool], what: str) -> None:
    """Check that kdlab may fill ``folder``; ``what`` names the kind of folder.

    Raises :class:`NotOurs` if ``folder`` is a file, or if it is not empty and ``is_own(folder)`` is false.
    """
    if os.path.lexists(folder) and not folder.is_dir():
        raise NotOurs(f"{folder} is no folder; name another one")
    names = sorted(os.listdir(folder)) if folder.is_dir() else []
    there = [name for name in names if name not in _LITTER and not _DRAFT.fullmatch(name)]
    if there and not is_own(folder):
        raise NotOurs(
            f"{folder} holds {some(there)} and is no {what} of kdlab's: give an empty folder, or a new one"
        )


def begins_with(file: Path, text: str, within: int = 4096) -> bool:
    """Whether the first ``within`` bytes of ``file`` contain ``text``."""
    with open(file, "rb") as opened:
        return text.encode() in opened.read(within)


# --- contents --------------------------------------------------------------------------------------------------


def why_no_file(path: Path) -> str:
    """Why the path is no plain file, or an empty text for a plain file or a link to one.

    The text begins with the kind of fault and a colon: missing, no video or unreadable. The file is not opened, because
    opening a named pipe would wait for its writer.
    """
    try:
        mode = os.stat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return "missing: " + (
            "a link that leads nowhere" if path.is_symlink() else "there is no such file"
        )
    except OSError as error:
        return f"unreadable: {error.strerror or error}"
    if stat.S_ISREG(mode):
        return ""
    return (
        f"no video: this is {'a folder' if stat.S_ISDIR(mode) else 'a pipe, a socket or a device'}"
    )


def content_keys(files: Iterable[Path]) -> dict[Path, str]:
    """The first 32 hex digits of the SHA-256 of each file's content.

    Keys are kept in the cache; a file is read again if its size or one of its times has changed. Raises
    FileNotFoundError for a missing file, and ValueError if a path is no regular file.
    """
    stamps = {file: _stamp(file) for file in dict.fromkeys(files)}
    kept = paths.cache_dir() / "contents.json"
    try:
        known = dict(read_json(kept))
    except (OSError, ValueError, TypeError, RecursionError):
        known = {}
    new = [file for file in stamps if known.get(os.path.abspath(file), [None])[0] != stamps[file]]
    with ThreadPoolExecutor(available_cores()) as threads:
        for file, key in zip(
            new, track(threads.map(_key, new), "reading clips", len(new)), strict=True
        ):
            known[os.path.abspath(file)] = stamps[file], key
    if new:
        with contextlib.suppress(StorageFull):  # the next process reads them again
            write_content(kept, json.dumps(known))
    return {file: known[os.path.abspath(file)][1] for file in stamps}


def _stamp(file: Path) -> list[int]:
    """Size, modification time and change time of a file. Programs cannot set back the change time."""
    try:
        status = os.stat(file)
    except (FileNotFoundError, NotADirectoryError):
        raise FileNotFoundError(
            f"{file}: no such file. Restore it, or take the clip out of the catalogue."
        ) from None
    if not stat.S_ISREG(status.st_mode):
        raise ValueError(
            f"{file} is no regular file. Put a file there, or take the clip out of the catalogue."
        )
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns]


def _key(file: Path) -> str:
    with open(file, "rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()[:32]


def text_hash(text: str, digits: int = 16) -> str:
    """The first hex digits of the SHA-256 of a text."""
    return hashlib.sha256(text.encode()).hexdigest()[:digits]
