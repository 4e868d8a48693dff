"""What kdlab made, and what it may therefore write over or delete: nothing else.

A command that writes to a place which the user names asks here first, before it begins to work. What kdlab made carries
a mark that other software would not make, and each kind of file knows its own: a page its title, a table its columns, a
folder of clips its ``night.json``.
"""

import os
import re
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

__all__ = ["NotOurs", "begins_with", "drop_drafts", "is_draft", "may_fill", "may_write", "strangers"]

#: What ``kdlab.files.write_atomically`` writes to until it is whole: ``.name.process-digits.tmp``.
_DRAFT = re.compile(r"\.(.+?)\.\d+(-[0-9a-f]{8})?\.tmp")
#: What desktops leave in every folder that somebody looks into; such a folder is still empty.
_LITTER = {".DS_Store", "Thumbs.db", "desktop.ini"}
_ABANDONED_SECONDS = 3600.0


class NotOurs(ValueError):
    """A place where kdlab would write, and which holds what kdlab did not make."""


def may_write(file: Path, ours: Callable[[Path], bool], what: str) -> Path:
    """``file``, if it is free to be written, or a file for which ``ours`` holds: then it is replaced.

    ``what`` names the kind of file. Raises :class:`NotOurs` for somebody else's file, a link or a folder, and
    ``NotADirectoryError`` or ``PermissionError`` where the folder it is to lie in is missing or cannot be written.
    """
    folder = file.absolute().parent
    if not folder.is_dir():
        raise NotADirectoryError(f"{file}: there is no folder {folder}; make it first, or name another file")
    try:  # to write tells more than to ask for permissions, which root and network drives get wrong
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise PermissionError(f"{file}: {folder} cannot be written ({error.strerror}); name another file") from None
    if file.is_dir():
        raise NotOurs(f"{file} is a folder; name a file")
    if os.path.lexists(file) and (file.is_symlink() or not file.is_file() or not ours(file)):
        raise NotOurs(f"{file} is there already and is no {what} of kdlab's, so it stays as it is; name another file, "
                      "or move that one away")
    return file


def may_fill(folder: Path, ours: Callable[[Path], bool], what: str) -> None:
    """Raise :class:`NotOurs` where ``folder`` is a file, or holds anything and ``ours(folder)`` does not hold."""
    if os.path.lexists(folder) and not folder.is_dir():
        raise NotOurs(f"{folder} is no folder; name another one")
    if (there := strangers(folder)) and not ours(folder):
        raise NotOurs(f"{folder} holds {', '.join(there[:3])}{' …' * (len(there) > 3)} and is no {what} of kdlab's: "
                      "give an empty folder, or one that does not exist yet")


def strangers(folder: Path) -> list[str]:
    """Names in ``folder`` but for locks, drafts and what desktops leave; none where there is no folder."""
    names = sorted(os.listdir(folder)) if folder.is_dir() else []
    return [name for name in names if name != ".lock" and name not in _LITTER and not is_draft(name)]


def begins_with(file: Path, text: str, within: int = 4096) -> bool:
    """Whether ``text`` stands in the first ``within`` bytes of ``file``."""
    with open(file, "rb") as opened:
        return text.encode() in opened.read(within)


def is_draft(name: str) -> str:
    """The name of the file that the draft ``name`` was to become; empty where it is no draft."""
    found = _DRAFT.fullmatch(name)
    return found[1] if found else ""


def drop_drafts(folder: Path, of: Callable[[str], bool], age: float = _ABANDONED_SECONDS) -> None:
    """Delete drafts in ``folder`` that killed processes left: those of the names for which ``of`` holds, untouched for
    ``age`` seconds."""
    for draft in list(_drafts(folder, of)):
        if time.time() - draft.stat(follow_symlinks=False).st_mtime >= age:
            os.unlink(draft.path)


def _drafts(folder: Path, of: Callable[[str], bool]) -> Iterator[os.DirEntry]:
    entries: Iterable[os.DirEntry] = os.scandir(folder) if folder.is_dir() else ()
    for entry in entries:
        if (name := is_draft(entry.name)) and of(name) and entry.is_file(follow_symlinks=False):
            yield entry
