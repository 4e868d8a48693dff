"""What lies in a folder of clips, links followed: told without opening anything, and what is no plain file is named.

A file may be a link to anywhere: links are how a subset is made where the clips lie on another disk. A folder may be a
link, too, but is entered once, so that no link leads round in a circle and no clip is there under two names.
"""

import errno
import os
import stat
import unicodedata
from pathlib import Path, PurePosixPath

from kdlab.clips.splits import some

#: How videos are called by cameras, phones, recorders and the web.
_VIDEOS = """mp4 m4v mov qt mp4v 3gp 3gpp 3g2 3gp2 f4v insv lrv mkv webm mk3d avi divx xvid ts mts m2ts m2t tp trp tod
    mpg mpeg mpe m2p vob mod wmv asf flv ogv ogm amv dav dv gif gxf h264 264 avc h265 265 hevc ivf m1v m2v mjpg mjpeg
    mxf nsv nut obu rm rmvb wtv y4m"""
VIDEO_SUFFIXES = frozenset(f".{name}" for name in _VIDEOS.split())
#: What systems and disks keep in folders for themselves, in lower case; a leading dot says so, too.
_SYSTEM = frozenset({
    "$recycle.bin", "recycler", "#recycle", "@recycle", "system volume information", "found.000", "lost+found",
    "lost.dir", "@eadir", "@tmp", "#snapshot", "@recently-snapshot", "__macosx", "thumbs.db", "ehthumbs.db",
    "desktop.ini"})

_WORDS = {"train": "train training", "val": "val valid validation", "test": "test testing"}
SPLIT_WORDS = {word: split for split, words in _WORDS.items() for word in words.split()}
EXPECTED = ("a CSV table with columns path,label, a folder holding such a table as index.csv, or a folder with one "
            "subfolder of videos (.mp4 .avi .mkv .mov .webm .mpg .wmv …) per class, optionally below train/val/test")

class CatalogueError(ValueError):
    """The folder or table does not describe a usable set of clips; the message says where and how to mend it."""


def named(path: Path | str) -> Path:
    """The path of somebody's clips. CatalogueError for an empty one, which would mean the current folder."""
    if not str(path).strip():
        raise CatalogueError("the path of the clips is empty. Name a CSV table or a folder of clips; a dot stands for "
                             "the current folder.")
    return Path(path).expanduser()


def is_video(file: Path) -> bool:
    """Whether it is named like a video, whatever it is."""
    return file.suffix.lower() in VIDEO_SUFFIXES and not is_aside(file.name)


def is_aside(name: str) -> bool:
    """Whether a file or folder of that name is hidden, or the system's own: nobody's clip and no class."""
    # macOS leaves "._name.mp4" beside copied files: no videos, though named like some
    return name.startswith(".") or name.casefold() in _SYSTEM


def composed(name: str) -> str:
    """``name`` with each accented letter as one sign. Some systems and programs write two: the same name to people."""
    return unicodedata.normalize("NFC", name)


def on_disk(folder: Path, name: str) -> Path:
    """The path ``name`` in ``folder``, with its accents coded as they are there; as it is where nothing is there."""
    path = folder
    for part in PurePosixPath(name).parts:
        forms = [part] if part.isascii() else [part, composed(part), unicodedata.normalize("NFD", part)]
        path = next((path / form for form in forms if os.path.lexists(path / form)), path / part)
    return path


def why_no_file(path: Path) -> str:
    """Why nothing can be read there, or an empty text for a plain file or a link to one. Nothing is opened, since the
    opening of a named pipe waits for whoever writes into it.

    Begins with the kind of fault and a colon: missing, no file or unreadable.
    """
    try:
        status = os.stat(path)
    except (OSError, ValueError) as error:  # a ValueError for a zero byte in the name
        if isinstance(error, (FileNotFoundError, NotADirectoryError)) or getattr(error, "errno", None) == errno.ELOOP:
            return "missing: " + ("a link that leads nowhere" if path.is_symlink() else "there is no such file")
        return f"unreadable: {getattr(error, 'strerror', None) or error}"
    return "" if stat.S_ISREG(status.st_mode) else f"no file: this is {kind_of(status)}"


def kind_of(status: os.stat_result) -> str:
    """What that is which is no plain file."""
    return "a folder" if stat.S_ISDIR(status.st_mode) else "a pipe, a socket or a device"


def videos(root: Path) -> tuple[list[Path], list[Path], dict[Path, str]]:
    """What lies below ``root``, links followed, in alphabetical order: the videos, the files that are not named like
    one, and why what is named like one is no file. What :func:`is_aside` is left out.

    Raises CatalogueError naming a folder that cannot be read, or that links lead to twice.
    """
    entered, found, others, odd = {}, [], [], {}

    def refuse(error: OSError):
        raise CatalogueError(f"{error.filename}: the folder cannot be read ({error.strerror}). Make it readable, or "
                             "move it away.")

    for folder, folders, files in os.walk(root, followlinks=True, onerror=refuse):
        real = os.path.realpath(folder)
        if (before := entered.setdefault(real, folder)) != folder:
            raise CatalogueError(f"{folder}: this link leads to {real}, which is {before} already: its clips would be "
                                 "there twice. Remove one of the two.")
        folders[:] = sorted(name for name in folders if not is_aside(name))
        for path in (Path(folder) / name for name in sorted(files) if not is_aside(name)):
            if not is_video(path) and not path.is_symlink():
                others.append(path)
            elif why := why_no_file(path):
                odd[path] = why
            elif is_video(path):
                found.append(path)
    return found, others, odd


def class_folders(root: Path) -> tuple[list[tuple[Path, str, str]], list[str], bool]:
    """(file, class, split) of each clip, notes on what is left out, and whether the folders tell splits."""
    files, others, odd = videos(root)
    for path, why in odd.items():
        raise CatalogueError(f"{path}: {why}. Put a video there, or remove it.")
    by_split = any(path.name.lower() in SPLIT_WORDS and path.is_dir() for path in root.iterdir())
    found, stray = [], []
    for file in files:
        *folders, _ = file.relative_to(root).parts
        split = SPLIT_WORDS.get(folders[0].lower(), "") if by_split and folders else "train"
        folders = folders[by_split:]
        if folders and split:
            found.append((file, folders[0], split))
        else:
            stray.append(file.relative_to(root).as_posix())
    if not found:
        raise CatalogueError(f"{root}: no video in a class folder; found {len(stray)} videos elsewhere"
                             f"{' (' + some(stray) + ')' if stray else ''}, expected {EXPECTED}. Folders named "
                             f"{', '.join(SPLIT_WORDS)} mean splits, and hold a folder per class.")
    others = [file.relative_to(root).as_posix() for file in others if file.parent != root]
    notes = [f"Videos that lie in no class folder are left out: {some(stray)}."] * bool(stray)
    notes += [f"Files that are not named like videos are left out, {len(others)} of {len(others) + len(files)}: "
              f"{some(others)}."] * bool(others)
    return found, notes, by_split
