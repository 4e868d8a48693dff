"""What can be known about a notebook before a kernel starts: its file, its parameters, its fingerprint."""

import ast
import difflib
import hashlib
import json
import math
import os
import re
import shutil
from pathlib import Path

import kdlab
from kdlab import paths
from kdlab.clips.decoders import chosen
from kdlab.clips.tree import named
from kdlab.notebooks.own_clips import NEVER

# The default of a parameter that is not a literal, such as `max_workers = os.cpu_count()`: any value fits it.
UNKNOWN = object()
# The sizes of kdlab.train.sizes, whose import takes seconds.
PROFILES = ("smoke", "demo", "study")
# The sources on which every notebook stands.
PACKAGE = Path(kdlab.__file__).parent
# What `write_chapters` writes; tools/wheel.py puts the same into a wheel.
CHAPTERS = ("notebooks", "figures", "pretrained", "docs")


class NotebookError(ValueError):
    """A notebook, or a parameter of one, that does not exist or does not fit."""


def all_notebooks() -> list[Path]:
    """``notebooks/NN_name.ipynb`` in order; raises :class:`NotebookError` where there are none."""
    folder = paths.project_root() / "notebooks"
    found = sorted(folder.glob("[0-9][0-9]_*.ipynb"))
    if not found:
        raise NotebookError(f"no notebooks in {folder}: `kdlab notebooks DIR` writes them into a folder of yours; run "
                            "kdlab there")
    return found


def write_chapters(place: Path) -> list[Path]:
    """Copy the chapters, their figures, weights and docs into ``place``; the folders that were made there.

    Raises :class:`NotebookError` where one of them is there already, or ``place`` lies in the clone.
    """
    source = PACKAGE / "project" if (PACKAGE / "project").is_dir() else PACKAGE.parent
    if place.resolve().is_relative_to(source.resolve()):
        raise NotebookError(f"{place} lies in {source}, which has the chapters: name a folder elsewhere")
    made = [place / name for name in CHAPTERS]
    if there := [folder for folder in made if os.path.lexists(folder)]:
        raise NotebookError(f"{there[0]} is there already, and nothing is written over: name another folder, or move "
                            "that one away")
    for name, folder in zip(CHAPTERS, made, strict=True):
        shutil.copytree(source / name, folder, ignore=shutil.ignore_patterns(".*"))
    return made


def find_notebook(name: str) -> Path:
    """The notebook called ``3``, ``03`` or ``03_dual_light_distillation`` (also with ``.ipynb``)."""
    known = {path.stem: path for path in all_notebooks()}
    wanted = Path(name).name.removesuffix(".ipynb")
    if wanted.isdecimal():
        for stem, path in known.items():
            if int(stem[:2]) == int(wanted):
                return path
    elif wanted in known:
        return known[wanted]
    raise NotebookError(f"no notebook {name!r}{_nearest(wanted, known)}\nthere are: {', '.join(known)}")


def declared_parameters(notebook: Path) -> dict[str, object]:
    """
    The names that the cell tagged ``parameters`` assigns, with their defaults.

    Literals and ``os.environ.get(name, literal)`` are evaluated; any other default is :data:`UNKNOWN`.
    """
    for cell in _cells(notebook):
        if cell["cell_type"] == "code" and "parameters" in cell["metadata"].get("tags", []):
            return _assignments(notebook, _source(cell))
    return {}


def checked_parameters(notebook: Path, given: dict[str, object]) -> dict[str, object]:
    """
    ``given`` with texts read as the types of the defaults in the notebook's parameters cell.

    ``data`` becomes an absolute path, since a kernel works in the notebook's folder. Raises :class:`NotebookError` for
    a name that the cell does not assign, for a value of another type and for one that is not plain (a text, number,
    truth value or ``None``, and where the default is one a list or a dict of them: anything else would reach the kernel
    as another value, or as code), and for a profile that there is not, also one of ``$KDLAB_PROFILE``; ``ValueError``
    for a ``$KDLAB_DECODER`` that there is not; ``FileNotFoundError`` for data that is not there.
    """
    chosen()
    declared = declared_parameters(notebook)
    checked = {}
    for name, value in given.items():
        if name == "data" and name not in declared and notebook.stem[:2] in NEVER:
            raise NotebookError(f"{notebook.stem} takes no clips of yours: {NEVER[notebook.stem[:2]]}")
        if name not in declared:
            known = f"it has: {', '.join(declared)}" if declared else "it has no parameters"
            raise NotebookError(f"{notebook.stem} has no parameter {name!r}{_nearest(name, declared)}\n{known}")
        if name == "data" and isinstance(value, Path):
            value = str(value)
        value = _typed(name, value, declared[name])
        if wrong := _not_plain(value, type(declared[name]) in (list, dict)):
            raise NotebookError(f"parameter {name!r} takes a plain value, a text, number, True, False or None; {wrong}")
        if name == "data" and value is not None:
            value = _data_path(str(value))
        checked[name] = value
    profile = (declared | checked).get("profile")
    if isinstance(profile, str) and profile not in PROFILES:
        raise NotebookError(f"no profile {profile!r}; there are {', '.join(PROFILES)}")
    return checked


def effective_parameters(notebook: Path, checked: dict[str, object]) -> dict[str, object]:
    """Every parameter the notebook runs with: its known defaults, then ``checked`` over them."""
    known = {name: value for name, value in declared_parameters(notebook).items() if value is not UNKNOWN}
    return known | checked


def fingerprint(notebook: Path, effective: dict[str, object]) -> dict[str, object]:
    """
    What the outcome of a run depends on, as JSON: two equal fingerprints need no second run.

    Cells (not outputs), parameters, the sources of kdlab, and names, sizes and times of the files in ``data``.
    """
    cells = [(c["cell_type"], _source(c), c["metadata"].get("tags", [])) for c in _cells(notebook)]
    sources = [(file.relative_to(PACKAGE).as_posix(), file.read_text("utf-8")) for file in PACKAGE.rglob("*.py")]
    data = effective.get("data")
    return {
        "notebook": notebook.stem,
        "parameters": json.loads(json.dumps(effective, default=repr)),
        "cells": _digest(cells),
        "kdlab": _digest(sorted(sources)),
        "data": None if data is None else _digest(_files(Path(str(data)))),
    }


def run_name(notebook: Path, effective: dict[str, object]) -> str:
    """A file name for people: notebook, profile, what is not at its default, as in ``03_x-smoke-seed=1``.

    It is one on every system: of 120 characters at most, and without any that Windows does not take.
    """
    declared = declared_parameters(notebook)
    parts = [notebook.stem]
    if "profile" in effective:
        parts.append(_slug(effective["profile"]))
    for name, value in effective.items():
        if name != "profile" and (declared[name] is UNKNOWN or _differs(value, declared[name])):
            parts.append(f"{name}={_slug(value)}")
    name = "-".join(parts)
    return name if len(name.encode()) <= 120 else f"{_cut(name, 110)}~{_hash(name)}"


def _cells(notebook: Path) -> list[dict]:
    try:
        content = json.loads(notebook.read_text("utf-8"))
        return [{"metadata": {}, **cell} for cell in content["cells"]]
    except (ValueError, KeyError, TypeError) as error:
        raise NotebookError(f"{notebook} is not a notebook of format 4: {error}") from error


def _source(cell: dict) -> str:
    return "".join(cell["source"])  # nbformat stores a text or a list of lines


def _assignments(notebook: Path, source: str) -> dict[str, object]:
    try:
        body = ast.parse(source).body
    except SyntaxError as error:
        raise NotebookError(f"{notebook}: its parameters cell is not plain Python: {error}") from error
    defaults = {}
    for node in body:
        if isinstance(node, ast.Assign):
            targets = node.targets
        elif isinstance(node, ast.AnnAssign) and node.value is not None:
            targets = [node.target]
        else:
            continue
        defaults.update({target.id: _default(node.value) for target in targets if isinstance(target, ast.Name)})
    return defaults


def _default(node: ast.expr) -> object:
    try:
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("os.environ.get", "os.getenv"):
            variable, *fallback = map(ast.literal_eval, node.args)
            return os.environ.get(variable, *fallback)
        return ast.literal_eval(node)
    except (ValueError, TypeError):
        return UNKNOWN


def _typed(name: str, value: object, default: object) -> object:
    """``value`` as one of the type of ``default``: texts of the command line are read as Python's literals, but where
    the parameter is a text itself."""
    if isinstance(value, str) and not isinstance(default, str):
        value = _scalar(value)
    if default is None or default is UNKNOWN:
        return value
    if isinstance(default, float) and type(value) is int:
        return float(value)
    if type(value) is not type(default):
        raise NotebookError(f"parameter {name!r} takes a value of type {type(default).__name__}, such as {default!r}; "
                            f"got {_short(value)}")
    return value


def _not_plain(value: object, nested: bool) -> str:
    """Why ``value`` cannot be handed to a notebook as it is; empty where it can. ``nested``: lists and dicts, too."""
    if value is None or type(value) in (bool, int) and abs(value) < 2**64:
        return ""
    if type(value) is float:
        return "" if math.isfinite(value) else f"{value!r} is not finite"
    if type(value) is str:
        return "" if value.encode("utf-8", "replace").decode() == value else f"{value!r} is not valid Unicode"
    if nested and type(value) is list:
        return next(filter(None, (_not_plain(one, True) for one in value)), "")
    if nested and type(value) is dict:
        wrong = next((f"its key {_short(key)} is no text" for key in value if type(key) is not str), "")
        return wrong or _not_plain(list(value.values()), True)
    return f"got {_short(value)}" + (", of a size that no notebook needs" if type(value) is int else
                                     f", which is of type {type(value).__name__}")


def _short(value: object) -> str:
    """``repr``, cut; whole numbers of thousands of digits have none."""
    return "a whole number" if type(value) is int and abs(value) >= 2**64 else repr(value)[:60]


def _scalar(text: str) -> object:
    """Python's literals and YAML's ``true``, ``false``, ``null`` and ``~``; anything else is a text."""
    words = {"true": True, "false": False, "null": None, "none": None, "~": None}
    if text.lower() in words:
        return words[text.lower()]
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):  # the last two of hundreds of brackets
        return text


def _data_path(text: str) -> str:
    path = named(text).absolute()
    if not path.exists():
        raise FileNotFoundError(f"no such data: {path}\ngive a folder with one sub-folder per class, or a CSV index")
    return str(path)


def _files(data: Path) -> list[tuple[str, int, int]]:
    found = [data] if data.is_file() else data.rglob("*") if data.is_dir() else []
    files = ((path.relative_to(data).as_posix(), path.stat()) for path in sorted(found) if path.is_file())
    return [(name, stat.st_size, stat.st_mtime_ns) for name, stat in files]


def _digest(content: object) -> str:
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def _differs(value: object, default: object) -> bool:
    return type(value) is not type(default) or value != default


def _slug(value: object) -> str:
    """``value`` as a part of a file name; what had to be changed or cut is told apart by a few digits of its hash, and
    so are capitals of a text, which some systems do not tell apart."""
    text = str(value)
    plain = _cut(re.sub(r"[^\w.+-]+", "_", Path(text).name), 40)
    same = plain == text and (not isinstance(value, str) or text == text.lower())
    return plain if same else f"{plain}~{_hash(text)}"


def _cut(text: str, length: int) -> str:
    """The first characters that take at most ``length`` bytes."""
    return text.encode()[:length].decode(errors="ignore")


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:6]


def _nearest(name: str, known: dict[str, object]) -> str:
    close = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    return f"; did you mean {' or '.join(close)}?" if close else ""
