"""Index files and list files, read so that each complaint names file, row and mend."""

import csv
import io
import re
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath


class CatalogueError(ValueError):
    """The folder or table does not describe a usable set of clips; the message says where and how to mend it."""


def read_table(path: Path, required: tuple[str, ...] = ("path", "label"),
               filled: tuple[str, ...] = ()) -> list[tuple[int, dict[str, str]]]:
    """(row, cells by lower-case column name) of each row of a CSV file that is not blank; row 1 is the header.

    ``filled`` names columns, besides the required ones, whose cells may not be empty. A byte order mark and any line
    ends are read. Raises FileNotFoundError or CatalogueError.
    """
    text = _text(path, f"Give a CSV file with columns {','.join(required)}.")
    reader = csv.DictReader(text, strict=True)
    try:
        columns = [(name or "").strip().lower() for name in reader.fieldnames or ()]
        if missing := [name for name in required if name not in columns]:
            raise CatalogueError(f"{path}, row 1: no column {' and no column '.join(missing)} (found: "
                                 f"{', '.join(columns) or 'an empty file'}). The first row must name at least the "
                                 f"columns {','.join(required)}, separated by commas.")
        if twice := {name for name in columns if name and columns.count(name) > 1}:
            raise CatalogueError(f"{path}, row 1: two columns named {min(twice)}. Rename or remove one.")
        reader.fieldnames = columns
        rows = []
        for row in reader:
            if any(row[name] is None for name in columns) or None in row:
                raise CatalogueError(f"{path}, row {reader.line_num}: {len(columns)} cells expected as in row 1. "
                                     "Add or remove cells; put a cell that contains a comma in quotes.")
            row = {name: cell.strip() for name, cell in row.items()}
            if empty := [name for name in (*required, *filled) if row.get(name) == ""]:
                raise CatalogueError(f"{path}, row {reader.line_num}: the {empty[0]} is empty. Fill it in.")
            rows.append((reader.line_num, row))
    except csv.Error as error:
        raise CatalogueError(f"{path}, row {reader.line_num + 1}: the quotes do not match ({error}). Put a cell that "
                             'holds a quote into quotes and write the quote itself twice: "say ""hi"".mp4".') from None
    if not rows:
        raise CatalogueError(f"{path}: a header but no rows. Add one row per clip.")
    return rows


def read_list(path: Path, cells: int, name_first: bool = True) -> list[tuple[str, list[str]]]:
    """("file, row n", cells) of each line that is not blank of a list separated by blanks; rows count from 1.

    The file name, which may hold blanks itself, is the first of the ``cells``, or else the last.
    """
    rows = []
    for row, line in enumerate(_text(path, "It belongs to the released lists."), 1):
        found = line.strip().rsplit(maxsplit=cells - 1) if name_first else line.strip().split(maxsplit=cells - 1)
        if found and len(found) != cells:
            raise CatalogueError(f"{path}, row {row}: {line.strip()!r} has {len(found)} cells, expected {cells} "
                                 "separated by blanks. Take the list as it was released.")
        if found:
            rows.append((f"{path}, row {row}", found))
    if not rows:
        raise CatalogueError(f"{path}: an empty list. Take the list as it was released.")
    return rows


def check_name(name: str, where: str) -> str:
    """``name`` in posix style; CatalogueError when it is absolute or leads upwards, which ties a table to one place."""
    name = name.replace("\\", "/")
    if name.startswith("/") or re.match(r"[A-Za-z]:/", name) or ".." in PurePosixPath(name).parts:
        raise CatalogueError(f"{where}: {name} is an absolute path or leads upwards. Write paths from a folder that "
                             "holds all clips, and put the table there.")
    return name


def check_links(root: Path, files: Iterable[tuple[str, Path]]) -> None:
    """Raise CatalogueError for the first (place, file) that is, or lies behind, a symbolic link out of ``root``."""
    inside = root.resolve()
    folders: dict[Path, bool] = {}
    for where, file in files:
        if file.parent not in folders:
            folders[file.parent] = file.parent.resolve().is_relative_to(inside)
        if not folders[file.parent] or (file.is_symlink() and not file.resolve().is_relative_to(inside)):
            raise CatalogueError(f"{where}: {file} is a link to {file.resolve()}, outside of {root}. Move or copy the "
                                 "clip into the folder; the folder as a whole may be a link.")


def check_counts(where: str, found: Mapping[str, int], expected: Mapping[str, int] | None) -> None:
    """Raise CatalogueError when the lists at ``where`` name another number of something than was published."""
    if wrong := [what for what, number in (expected or {}).items() if found.get(what, 0) != number]:
        differ = ", ".join(f"{found.get(what, 0)} {what} clips, expected {expected[what]}" for what in wrong)
        raise CatalogueError(f"{where}: the lists name {differ}. Take the lists as they were released; for a choice of "
                             "your own write an index.csv with columns path,label,split,group there.")


def find_near(root: Path | str, pattern: str) -> Path | None:
    """The first file of that pattern in ``root``, in a folder of it, or beside it or its parent."""
    root = Path(root).expanduser()
    found = (root.glob(pattern), root.glob(f"*/{pattern}"), root.parent.glob(pattern), root.parent.parent.glob(pattern))
    return next((path for paths in found for path in sorted(paths)), None)


def near(root: Path | str, pattern: str) -> Path:
    """As ``find_near``; FileNotFoundError when there is none."""
    if (found := find_near(root, pattern)) is None:
        raise FileNotFoundError(f"{root}: no {pattern} in this folder or beside it. Put the released lists there; "
                                "`kdlab data list` shows the layout.")
    return found


def times(start: str | None, end: str | None, where: str) -> tuple[float | None, float | None]:
    """Two cells as times in seconds, None where there is none; CatalogueError unless 0 ≤ start < end."""
    first, last = _seconds(start, "start", where), _seconds(end, "end", where)
    if last is not None and last <= (first or 0.0):
        raise CatalogueError(f"{where}: end {last:g} s is not after start {first or 0.0:g} s. Correct the times.")
    return first, last


def _seconds(cell: str | None, column: str, where: str) -> float | None:
    if not cell:
        return None
    try:
        value = float(cell)
    except ValueError:
        value = -1.0
    if not 0.0 <= value < float("inf"):
        raise CatalogueError(f"{where}: {column} {cell!r} is not a time in seconds. Write a number such as 12.5.")
    return value


def _text(path: Path, mend: str) -> io.StringIO:
    try:
        return io.StringIO(path.read_bytes().decode("utf-8-sig"), newline="")
    except (FileNotFoundError, IsADirectoryError):
        raise FileNotFoundError(f"{path}: no such file. {mend}") from None
    except UnicodeDecodeError as error:
        raise CatalogueError(f"{path}: not a UTF-8 text ({error.reason} at byte {error.start}). "
                             "Save it as UTF-8; a spreadsheet as CSV UTF-8.") from None
