"""What kdlab made, and what it may therefore write over or delete: nothing else.

A command that writes to a place which the user names asks here first, before it begins to work. What kdlab made carries
a mark that other software would not make, and each kind of file knows its own: a page its title, a table its columns, a
folder of clips its ``night.json``.
"""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from kdlab.system.files import is_draft

#: What desktops leave in every folder that somebody looks into; such a folder is still empty.
_LITTER = {".DS_Store", "Thumbs.db", "desktop.ini"}


class NotOurs(ValueError):
    """A place where kdlab would write, and which holds what kdlab did not make."""


def may_write(file: Path, is_own: Callable[[Path], bool], what: str) -> Path:
    """``file``, if it is free to be written, or a file for which ``is_own`` holds: then it is replaced.

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
    if os.path.lexists(file) and (file.is_symlink() or not file.is_file() or not is_own(file)):
        raise NotOurs(f"{file} is there already and is no {what} of kdlab's, so it stays as it is; name another file, "
                      "or move that one away")
    return file


def may_fill(folder: Path, is_own: Callable[[Path], bool], what: str) -> None:
    """Raise :class:`NotOurs` where ``folder`` is a file, or holds anything and ``is_own(folder)`` does not hold."""
    if os.path.lexists(folder) and not folder.is_dir():
        raise NotOurs(f"{folder} is no folder; name another one")
    if (there := strangers(folder)) and not is_own(folder):
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
