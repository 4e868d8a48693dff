"""What lies in a folder of clips, links followed: told without opening anything, and what is no plain file is named.

A file may be a link to anywhere: links are how a subset is made where the clips lie on another disk. A folder may be a
link, too, but is entered once, so that no link leads round in a circle and no clip is there under two names.
"""

import errno
import os
import stat
import unicodedata
from collections import Counter
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from kdlab.clips.splits import some

#: Container → how files of it are called by cameras, phones, recorders and the web. Of the last group FFmpeg has a
#: container each, most of them of streams without one.
SUFFIXES = {container: frozenset(f".{name}" for name in names.split()) for container, names in {
    "mp4": "mp4 m4v mov qt mp4v 3gp 3gpp 3g2 3gp2 f4v insv lrv",
    "mkv": "mkv webm mk3d",
    "avi": "avi divx xvid",
    "mpegts": "ts mts m2ts m2t tp trp tod",
    "mpeg": "mpg mpeg mpe m2p vob mod",
    "asf": "wmv asf",
    "flv": "flv",
    "ogg": "ogv ogm",
    "": "amv dav dv gif gxf h264 264 avc h265 265 hevc ivf m1v m2v mjpg mjpeg mxf nsv nut obu rm rmvb wtv y4m",
}.items()}
VIDEO_SUFFIXES = frozenset().union(*SUFFIXES.values())
#: What systems and disks keep in folders for themselves, in lower case; a leading dot says so, too.
_SYSTEM = frozenset({
    "$recycle.bin", "recycler", "#recycle", "@recycle", "system volume information", "found.000", "lost+found",
    "lost.dir", "@eadir", "@tmp", "#snapshot", "@recently-snapshot", "__macosx", "thumbs.db", "ehthumbs.db",
    "desktop.ini"})

_WORDS = {"train": "train training", "val": "val valid validation", "test": "test testing"}
SPLIT_WORDS = {word: split for split, words in _WORDS.items() for word in words.split()}
EXPECTED = ("a CSV table with columns path,label, a folder holding such a table as index.csv, or a folder with one "
            "subfolder of videos (.mp4 .avi .mkv .mov .webm .mpg .wmv …) per class, optionally below train/val/test")

_KINDS = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a named pipe", stat.S_IFSOCK: "a socket"}


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
    except (FileNotFoundError, NotADirectoryError):
        if path.is_symlink():
            return f"missing: a link to {os.readlink(path)}, which is not there"
        return "missing: there is no such file"
    except (OSError, ValueError) as error:  # a ValueError for a zero byte in the name
        if getattr(error, "errno", None) == errno.ELOOP:
            return "missing: a link that leads back to itself"
        return f"unreadable: {getattr(error, 'strerror', None) or error}"
    return "" if stat.S_ISREG(status.st_mode) else f"no file: this is {kind_of(status)}"


def kind_of(status: os.stat_result) -> str:
    """What that is which is no plain file."""
    return _KINDS.get(stat.S_IFMT(status.st_mode), "a device")


def refuse_odd(files: Iterable[tuple[str, Path]]) -> None:
    """Raise CatalogueError for the first (place, path) where something lies that is no file. Missing ones pass."""
    for where, path in dict((path, (where, path)) for where, path in files).values():
        if (why := why_no_file(path)).startswith("no file"):
            what = why.removeprefix("no file: this is ")
            raise CatalogueError(f"{where}: {path} is no file but {what}. Name a video there, or remove it.")


class Tree:
    """One look at the folders below a root. ``odd`` tells why what is named like a video is no file; ``left`` are the
    files that are not named like one."""

    def __init__(self):
        self.odd: dict[Path, str] = {}
        self.left: list[Path] = []
        self._entered: dict[str, Path] = {}

    def listed(self, folder: Path) -> tuple[list[Path], list[Path]]:
        """The folders and the videos in ``folder``, each in alphabetical order; those that are hidden or the
        system's (:func:`is_aside`) are left out.

        Raises CatalogueError naming a folder that cannot be read or was entered before, or a name that is not UTF-8.
        """
        real = os.path.realpath(folder)
        if (before := self._entered.setdefault(real, folder)) is not folder:
            raise CatalogueError(f"{folder}: this link leads to {real}, which is {before} already: its clips would be "
                                 "there twice. Remove one of the two.")
        try:
            with os.scandir(folder) as found:
                entries = sorted((entry for entry in found if not is_aside(entry.name)), key=lambda e: e.name)
        except OSError as error:
            raise CatalogueError(f"{folder}: the folder cannot be read ({error.strerror}). Make it readable, or move "
                                 "it away.") from None
        folders, videos = [], []
        for entry in entries:
            path = folder / entry.name
            if not entry.name.isprintable():
                _check_text(folder, entry.name)
            link = entry.is_symlink()
            if os.path.isdir(path) if link else entry.is_dir(follow_symlinks=False):
                folders.append(path)
            elif is_video(path) or (link and not path.suffix):  # which was a link to a folder, perhaps
                if not entry.is_file(follow_symlinks=False) and (why := why_no_file(path)):
                    self.odd[path] = why
                elif is_video(path):
                    videos.append(path)
            else:
                self.left.append(path)
        return folders, videos

    def videos(self, folder: Path) -> list[Path]:
        """All videos below ``folder``, at any depth. Raises as ``listed``."""
        todo, found = [folder], []
        while todo:
            inner, videos = self.listed(todo.pop())
            todo += reversed(inner)
            found += videos
        return found


def class_folders(root: Path) -> tuple[list[tuple[Path, str, str]], list[str], bool]:
    """(file, class, split) of each clip, notes on what is left out, and whether the folders tell splits."""
    tree = Tree()
    folders, loose = tree.listed(root)
    split_of = {folder: SPLIT_WORDS[folder.name.lower()] for folder in folders if folder.name.lower() in SPLIT_WORDS}
    found, notes, empty, stray, classes = [], [], [], loose[:], set()
    for folder in folders:
        if split_of and folder not in split_of:
            if tree.videos(folder):
                notes.append(f"The folder {folder.name} lies beside split folders and is left out.")
            continue
        inner, videos = tree.listed(folder)
        classes |= {*inner} if folder in split_of else {folder}
        if folder not in split_of:
            videos += [video for deeper in inner for video in tree.videos(deeper)]
            found += [(file, folder.name, "train") for file in videos]
            empty += [] if videos else [folder.name]
            continue
        stray += videos
        for class_folder in inner:
            videos = tree.videos(class_folder)
            found += [(file, class_folder.name, split_of[folder]) for file in videos]
            empty += [] if videos else [f"{folder.name}/{class_folder.name}"]
    for path, why in tree.odd.items():
        raise CatalogueError(f"{path}: {why}. Put a video there, or remove it.")
    left = [file for file in tree.left if not classes.isdisjoint(file.parents)]
    kinds = ", ".join(f"{number} {kind or 'without a type'}" for kind, number in
                      Counter(file.suffix.lower() for file in left).most_common())
    if not found and len(stray) > len(loose):
        word = stray[-1].parent.name
        raise CatalogueError(f"{root}: no video in a class folder: `{word}` means a split, and its videos lie in it "
                             f"without a class. If {word} is a class, give its folder another name, such as a_{word}, "
                             "or name the classes in an index.csv; if it is a split, put a folder per class into it.")
    if not found:
        what = f"{len(loose)} videos without a class" if loose else ""
        what = what or f"{len(folders)} folders but no video in a class folder" + (f" ({kinds})" if left else "")
        raise CatalogueError(f"{root}: found {what}, expected {EXPECTED}.")
    if stray:
        notes.append(f"Videos that lie in no class folder are left out: "
                     f"{some(str(file.relative_to(root)) for file in stray)}.")
    if empty:
        notes.append(f"Folders without a video are left out: {some(empty)}.")
    if left:
        notes.append(f"Left out of the class folders, as not named like videos: {len(left)} of "
                     f"{len(left) + len(found)} files ({kinds}), such as "
                     f"{some(str(file.relative_to(root)) for file in left)}.")
    return found, notes, bool(split_of)


def _check_text(folder: Path, name: str) -> None:
    try:
        name.encode()
    except UnicodeEncodeError:
        raise CatalogueError(f"{folder}: the name {ascii(name)} is not written in UTF-8. Rename the file.") from None
