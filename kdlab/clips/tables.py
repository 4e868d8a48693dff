"""Index files and list files, read so that each complaint names file, row and mend."""

import csv
import io
import re
import unicodedata
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath

from kdlab.clips.tree import CatalogueError, why_no_file

#: How tables and programs write that a cell is empty.
_EMPTY = frozenset({"nan", "null", "none", "na", "n/a", "#n/a", "<na>", "nat"})


def read_table(path: Path, required: tuple[str, ...] = ("path", "label"),
               filled: tuple[str, ...] = ()) -> list[tuple[int, dict[str, str]]]:
    """(row, cells by lower-case column name) of each row of a CSV file that is not blank; row 1 is the header.

    ``filled`` names columns, besides the required ones, whose cells may not be empty. A byte order mark and any line
    ends are read. Raises FileNotFoundError or CatalogueError.
    """
    reader = csv.DictReader(io.StringIO(read_text(path), newline=""), strict=True)
    rows = []
    try:
        reader.fieldnames = columns = [name.strip().lower() for name in reader.fieldnames or ()]
        if missing := [name for name in required if name not in columns]:
            raise CatalogueError(f"{path}, row 1: no column {' and no column '.join(missing)} (found: "
                                 f"{', '.join(columns) or 'an empty file'}). The first row must name at least the "
                                 f"columns {','.join(required)}, separated by commas.")
        if twice := {name for name in columns if columns.count(name) > 1}:
            raise CatalogueError(f"{path}, row 1: two columns named {min(twice)}. Rename or remove one.")
        for row in reader:
            if None in row or None in row.values():
                raise CatalogueError(f"{path}, row {reader.line_num}: {len(columns)} cells expected as in row 1. "
                                     "Add or remove cells; put a cell that contains a comma in quotes.")
            row = {name: cell.strip() for name, cell in row.items()}
            if empty := [name for name in (*required, *filled) if row.get(name) == ""]:
                raise CatalogueError(f"{path}, row {reader.line_num}: the {empty[0]} is empty. Fill it in.")
            rows.append((reader.line_num, row))
    except csv.Error as error:
        raise CatalogueError(f"{path}, row {reader.line_num + 1}: the quotes do not match ({error}). Write a quote "
                             "inside a quoted cell twice.") from None
    if not rows:
        raise CatalogueError(f"{path}: a header but no rows. Add one row per clip.")
    return rows


def read_list(path: Path, cells: int, name_first: bool = True) -> list[tuple[str, list[str]]]:
    """("file, row n", cells) of each line that is not blank of a list separated by blanks; rows count from 1.

    The file name, which may hold blanks itself, is the first of the ``cells``, or else the last.
    """
    rows = []
    for row, line in enumerate(io.StringIO(read_text(path), newline=""), 1):
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
    """``name`` in posix style; CatalogueError when it names no file, a web address, or a place outside the folder (when
    it is absolute or leads upwards), which ties a table to one place."""
    name = name.replace("\\", "/")
    if "://" in name:
        raise CatalogueError(f"{where}: {name} is a web address. Download the file first, and write its path.")
    if name.startswith("/") or re.match(r"[A-Za-z]:/", name) or ".." in PurePosixPath(name).parts:
        raise CatalogueError(f"{where}: {name} is an absolute path or leads upwards, which ties the table to one "
                             "place. Put a link to the clips beside the table, and write a path through that link.")
    if not PurePosixPath(name).name or "\0" in name:
        raise CatalogueError(f"{where}: {name!r} names no file. Write the path of a clip.")
    return name


def check_label(label: str, where: str) -> None:
    """CatalogueError when ``label`` is no name of a class."""
    if label.casefold() in _EMPTY or not any(unicodedata.category(sign)[0] in "LNS" for sign in label):
        raise CatalogueError(f"{where}: the label {label!r} is no name of a class but what stands in an empty cell. "
                             "Name the class; that of clips without an action could be called no_action.")


def plain(name: str) -> str:
    """The form in which two spellings of one ``name`` are equal, which people and programs take for the same: with
    capitals or not, accents in one sign or two, full width, invisible signs, blanks; 7, 007 and 7.0."""
    seen = "".join(sign for sign in unicodedata.normalize("NFKC", name) if unicodedata.category(sign) != "Cf")
    words = " ".join(unicodedata.normalize("NFKC", seen.casefold()).split())
    number = re.fullmatch(r"0*(\d+?)(\.0*)?", words)
    return number[1] if number else words


def one_spelling(column: str, names: Iterable[tuple[str, str]]) -> None:
    """CatalogueError where two of the ``names`` in a ``column``, each with where it stands, are one name
    (:func:`plain`) in two spellings."""
    spelled: dict[str, str] = {}
    for name, where in dict((name, (name, where)) for name, where in names).values():
        if (known := spelled.setdefault(plain(name), name)) != name:
            these = (name, known) if (name + known).isascii() else (ascii(name), ascii(known))  # they may look the same
            raise CatalogueError(f"{where}: the {column} {these[0]} is spelled {these[1]} elsewhere. Choose one.")


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


def read_text(path: Path) -> str:
    """A plain file in UTF-8, with or without a byte order mark."""
    if why := why_no_file(path):
        error = FileNotFoundError if why.startswith("missing") else CatalogueError
        raise error(f"{path}: {why}. Put a table there.")
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:  # as in UTF-16
        raise CatalogueError(f"{path}: not a UTF-8 text. Save it as UTF-8; a spreadsheet as CSV UTF-8.")
    return text
