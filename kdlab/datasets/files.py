"""Readers of folders, tables and lists of clips; every error names file, row and remedy.

A file may be a link to anywhere, so that links can make a subset of clips on another disk. A folder may be a link too.
Each folder may be reached once, which excludes cycles and clips with two names.
"""

import csv
import io
import math
import os
import re
import unicodedata
from collections.abc import Iterable
from functools import cache
from pathlib import Path, PurePosixPath

from kdlab.clips.records import CatalogueError
from kdlab.system.files import why_no_file

#: Suffixes of videos from cameras, phones, recorders and the web.
_VIDEOS = """.mp4 .m4v .mov .qt .mp4v .3gp .3gpp .3g2 .3gp2 .f4v .insv .lrv .mkv .webm .mk3d .avi .divx .xvid .ts .mts
    .m2ts .m2t .tp .trp .tod .mpg .mpeg .mpe .m2p .vob .mod .wmv .asf .flv .ogv .ogm .amv .dav .dv .gif .gxf
    .h264 .264 .avc .h265 .265 .hevc .ivf .m1v .m2v .mjpg .mjpeg .mxf .nsv .nut .obu .rm .rmvb .wtv .y4m"""
VIDEO_SUFFIXES = frozenset(_VIDEOS.split())
#: Prefixes, in lower case, of files and folders that belong to the operating system.
_PREFIXES = """.,$recycle,#recycle,#snapshot,@eadir,@recycle,@recently,@sharebin,@tmp,recycler,system volume information,\
found.000,lost+found,lost.dir,__macosx,thumbs.db,desktop.ini"""
_SYSTEM = tuple(_PREFIXES.split(","))
SPLIT_WORDS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}
EXPECTED = (
    "a CSV table with columns path,label, a folder holding such a table as index.csv, or a folder with one "
    "subfolder of videos (.mp4 .avi .mkv .mov .webm .mpg .wmv …) per class, optionally below train/val/test"
)


def user_path(path: Path | str) -> Path:
    """The path of a user's clips, with ``~`` expanded. Raises CatalogueError if it is empty."""
    if not str(path).strip():
        raise CatalogueError(
            "the path of the clips is empty. Name a CSV table or a folder of clips; a dot stands for "
            "the current folder."
        )
    return Path(os.path.expanduser(path))


# --- folders -------------------------------------------------------------------------------------------------------


def is_video(file: Path) -> bool:
    """Whether the file has a video's suffix; the content is not read."""
    return file.suffix.lower() in VIDEO_SUFFIXES and not is_hidden(file.name)


def is_hidden(name: str) -> bool:
    """Whether the name is that of a hidden file or folder, or of one that belongs to the operating system."""
    return name.lower().startswith(_SYSTEM)


def files_below(root: Path) -> tuple[list[Path], list[Path]]:
    """The videos and the other files below ``root``, in alphabetical order. Follows links; skips hidden names.

    Raises CatalogueError for a folder that cannot be read, or that is reached twice through links.
    """
    entered, videos, others = {}, [], []

    def refuse(error: OSError):
        raise CatalogueError(
            f"{error.filename}: the folder cannot be read ({error.strerror}). Make it readable, or "
            "move it away."
        )

    for folder, folders, files in os.walk(root, followlinks=True, onerror=refuse):
        real = os.path.realpath(folder)
        if (before := entered.setdefault(real, folder)) != folder:
            raise CatalogueError(
                f"{folder}: this link leads to {real}, which is {before} already: its clips would be "
                "there twice. Remove one of the two."
            )
        folders[:] = sorted(name for name in folders if not is_hidden(name))
        for name in sorted(name for name in files if not is_hidden(name)):
            (videos if is_video(Path(name)) else others).append(Path(folder, name))
    return videos, others


# --- tables and lists ----------------------------------------------------------------------------------------------


def read_text(path: Path) -> str:
    """The text of a plain UTF-8 file, with or without a byte order mark.

    Raises FileNotFoundError, and CatalogueError for another kind of file or another encoding.
    """
    if why := why_no_file(path):
        error = FileNotFoundError if why.startswith("missing") else CatalogueError
        raise error(f"{path}: {why}. Put a table there.")
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:  # UTF-16 has such bytes
        raise CatalogueError(
            f"{path}: not a UTF-8 text. Save it as UTF-8; a spreadsheet as CSV UTF-8."
        )
    return text


def read_table(
    path: Path, required: tuple[str, ...] = ("path", "label"), filled: tuple[str, ...] = ()
) -> list[tuple[str, dict[str, str]]]:
    """The non-blank rows of a CSV file: ("file, row n", cells by lower-case column name); row 1 is the header.

    ``filled`` names columns, besides the required ones, whose cells may not be empty. The file may have a byte order
    mark and any line ends. Raises FileNotFoundError or CatalogueError.
    """
    reader = csv.DictReader(io.StringIO(read_text(path), newline=""), strict=True)
    rows = []
    try:
        reader.fieldnames = _columns(reader.fieldnames or (), required, path)
        for row in reader:
            where = f"{path}, row {reader.line_num}"
            if None in row or None in row.values():
                raise CatalogueError(
                    f"{where}: {len(reader.fieldnames)} cells expected as in row 1. Add or remove cells; put a "
                    "cell that contains a comma in quotes."
                )
            for name, cell in row.items():
                row[name] = cell.strip() if name == "path" else composed(cell.strip())
            for name in (*required, *filled):
                if row.get(name) == "":
                    raise CatalogueError(f"{where}: the {name} is empty. Fill it in.")
            rows.append((where, row))
    except csv.Error as error:
        raise CatalogueError(
            f"{path}, row {reader.line_num + 1}: the quotes do not match ({error}). Write a quote "
            "inside a quoted cell twice."
        ) from None
    if not rows:
        raise CatalogueError(f"{path}: a header but no rows. Add one row per clip.")
    return rows


def _columns(header: Iterable[str], required: tuple[str, ...], path: Path) -> list[str]:
    """The column names of a ``header``, in lower case."""
    columns = [name.strip().lower() for name in header]
    faults = [f"no column {name}" for name in required if name not in columns]
    if not faults and len(set(columns)) < len(columns):
        faults = ["two columns of one name"]
    if faults:
        raise CatalogueError(
            f"{path}, row 1: {' and '.join(faults)} (found: {', '.join(columns) or 'an empty file'}). The first "
            f"row must name at least the columns {','.join(required)}, separated by commas."
        )
    return columns


def read_list(path: Path, cells: int, name_first: bool = True) -> list[tuple[str, list[str]]]:
    """The non-blank lines of a list whose cells are separated by blanks: ("file, row n", cells); rows count from 1.

    The file name may contain blanks. It is the first of the ``cells`` if ``name_first``, else the last. Raises
    FileNotFoundError or CatalogueError.
    """
    rows, split = [], str.rsplit if name_first else str.split
    for number, line in enumerate(io.StringIO(read_text(path)), 1):
        row = split(line.strip(), maxsplit=cells - 1)
        if len(row) not in (0, cells):
            raise CatalogueError(
                f"{path}, row {number}: {line.strip()!r} has {len(row)} cells, expected {cells} "
                "separated by blanks. Take the list as it was released."
            )
        if row:
            rows.append((f"{path}, row {number}", row))
    if not rows:
        raise CatalogueError(f"{path}: an empty list. Take the list as it was released.")
    return rows


# --- cells ---------------------------------------------------------------------------------------------------------


def relative_name(name: str, where: str) -> str:
    """``name`` in posix style.

    Raises CatalogueError if ``name`` is a web address, an absolute path, a path that leads upwards, or no file name.
    """
    name = name.replace("\\", "/")
    if "://" in name:
        raise CatalogueError(
            f"{where}: {name} is a web address. Download the file first, and write its path."
        )
    if name.startswith("/") or re.match(r"[A-Za-z]:/", name) or ".." in PurePosixPath(name).parts:
        raise CatalogueError(
            f"{where}: {name} is an absolute path or leads upwards, which ties the table to one "
            "place. Put a link to the clips beside the table, and write a path through that link."
        )
    if not PurePosixPath(name).name:
        raise CatalogueError(f"{where}: {name!r} names no file. Write the path of a clip.")
    return name


def composed(name: str) -> str:
    """``name`` in Unicode's composed form (NFC): each accented letter is one character. Some systems write two."""
    return unicodedata.normalize("NFC", name)


def on_disk(folder: Path, name: str) -> Path:
    """The path ``name`` in ``folder``, in the Unicode form that exists on disk; unchanged if nothing exists there."""
    path = folder
    for part in PurePosixPath(name).parts:
        forms = (part, composed(part), unicodedata.normalize("NFD", part))
        path /= next((form for form in forms if os.path.lexists(path / form)), part)
    return path


def one_spelling(column: str, names: Iterable[tuple[str, str]]) -> list[str]:
    """The distinct ``names`` of a ``column``, sorted: numbers first, in numerical order, then other names.

    ``names`` are pairs of a name and its place, such as file and row. Raises CatalogueError for a cell that means *no
    value*, and for two spellings of one name, such as Run and run, or 7 and 007.
    """
    spelled = {}
    for name, where in names:
        plain = _plain(name)
        if plain in ("nan", "null", "none", "n/a") or not re.search(r"\w", plain):
            raise CatalogueError(
                f"{where}: the {column} {name!r} is no name but what stands in an empty cell. Write a "
                "name; that of clips without an action could be called no_action."
            )
        known = spelled.setdefault(plain, name)
        if known != name:
            show = str if (name + known).isascii() else ascii  # the two may look alike
            raise CatalogueError(
                f"{where}: the {column} {show(name)} is spelled {show(known)} elsewhere. Choose one."
            )
    numbers = sorted(filter(str.isdecimal, spelled.values()), key=lambda name: (int(name), name))
    return numbers + sorted({*spelled.values()} - {*numbers})


@cache  # a table names few labels in many rows
def _plain(name: str) -> str:
    """What the spellings of one name share: letters without case, width and invisible signs, numbers without zeros."""
    seen = [
        sign for sign in unicodedata.normalize("NFKC", name) if unicodedata.category(sign) != "Cf"
    ]
    words = " ".join("".join(seen).casefold().split())
    return re.sub(r"^0*(\d+?)(\.0*)?$", r"\1", words)


def seconds(start: str | None, end: str | None, where: str) -> tuple[float | None, float | None]:
    """Two cells as times in seconds, None for an empty cell. Raises CatalogueError unless 0 ≤ start < end."""
    try:
        first, last = (float(cell) if cell else None for cell in (start, end))
        fits = 0 <= (first or 0.0) < (math.inf if last is None else last) and last != math.inf
    except ValueError:
        fits = False
    if not fits:
        raise CatalogueError(
            f"{where}: start {start!r} and end {end!r} are no times in seconds with 0 <= start < end. "
            "Correct them; an empty cell stands for the video's own end."
        )
    return first, last
