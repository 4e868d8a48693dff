"""What can be known about a notebook before a kernel starts: its file, its parameters, its fingerprint."""

import ast
import contextlib
import difflib
import json
import os
import re
import shutil
from pathlib import Path

import kdlab
from kdlab import paths
from kdlab.clips.catalogue import open_clips
from kdlab.clips.decoders import chosen
from kdlab.clips.tree import named
from kdlab.notebooks.own_clips import NEVER
from kdlab.system.contents import hashes
from kdlab.system.sources import digest, imports_hash

# The default of a parameter that is not a literal, such as `max_workers = os.cpu_count()`: any value fits it.
UNKNOWN = object()
# The sizes of kdlab.train.sizes, whose import takes seconds.
PROFILES = ("smoke", "demo", "study")
# Where the chapters lie, in a wheel inside of it.
PACKAGE = Path(kdlab.__file__).parent
# What `write_chapters` writes; tools/wheel.py puts the same into a wheel.
CHAPTERS = ("notebooks", "figures", "pretrained", "docs")
_CHAPTER = re.compile(r"\d\d[a-z]?_\w+")


class NotebookError(ValueError):
    """A notebook, or a parameter of one, that does not exist or does not fit."""


def all_notebooks() -> list[Path]:
    """The chapters, ``notebooks/NN_name.ipynb``, in order, each followed by its companions, ``NNb_name.ipynb``; no copy
    for students, nor JupyterLab's ``NN_name-Copy1.ipynb``. Raises :class:`NotebookError` where there are none."""
    folder = paths.project_root() / "notebooks"
    found = sorted([*folder.glob("[0-9][0-9]_*.ipynb"), *folder.glob("[0-9][0-9][a-z]_*.ipynb")])
    found = [path for path in found if _CHAPTER.fullmatch(path.stem) and not path.stem.endswith("_student")]
    if not found:
        mend = "`kdlab notebooks DIR` writes them into a folder of yours; run kdlab there"
        raise NotebookError(f"no notebooks in {folder}: {mend}")
    return found


def number_of(notebook: Path) -> str:
    """What comes before the name of ``notebook``: ``03``, or ``03b`` of a companion."""
    return notebook.stem.partition("_")[0]


def write_chapters(place: Path) -> list[Path]:
    """Copy the chapters, their figures, weights and docs into ``place``; the folders that were made there.

    Raises :class:`NotebookError` where one of them is there already, or ``place`` lies in the clone.
    """
    source = PACKAGE / "project" if (PACKAGE / "project").is_dir() else PACKAGE.parent
    if place.resolve().is_relative_to(source.resolve()):
        raise NotebookError(f"{place} lies in {source}, which has the chapters: name a folder elsewhere")
    made = [place / name for name in CHAPTERS]
    if there := [folder for folder in made if os.path.lexists(folder)]:
        mend = "name another folder, or move that one away"
        raise NotebookError(f"{there[0]} is there already, and nothing is written over: {mend}")
    for name, folder in zip(CHAPTERS, made, strict=True):
        shutil.copytree(source / name, folder, ignore=shutil.ignore_patterns(".*"))
    return made


def find_notebook(name: str) -> Path:
    """The notebook called ``3``, ``03`` or ``03_dual_light_distillation`` (also with ``.ipynb``); a companion is ``3b``
    or ``03b``. A folder may stand before it, seen from here or from the project. Raises :class:`NotebookError` for any
    that is no chapter, also for one of a chapter's name in another folder."""
    known = {path.stem: path for path in all_notebooks()}
    folder = paths.project_root() / "notebooks"
    if len(Path(name).parts) > 1 and folder.resolve() not in [
            (start / name).resolve().parent for start in (Path(), paths.project_root())]:
        raise NotebookError(f"{name} is none of the chapters, which lie in {folder}: execute it in JupyterLab, or name "
                            "a chapter without a folder")
    wanted = Path(name).name.removesuffix(".ipynb")
    number = re.fullmatch(r"0*(\d+)([a-z]?)", wanted)
    for stem, path in known.items():
        if wanted == stem or (number and f"{number[1]:0>2}{number[2]}" == number_of(path)):
            return path
    raise NotebookError(f"no notebook {name!r}{_nearest(wanted, known)}\nthere are: {', '.join(known)}")


def declared_parameters(notebook: Path) -> dict[str, object]:
    """The names that the cell tagged ``parameters`` assigns, with their defaults.

    Literals and ``os.environ.get(name, literal)`` are evaluated; any other default is :data:`UNKNOWN`.
    """
    source = next((source for kind, source, tags in _cells(notebook) if kind == "code" and "parameters" in tags), "")
    try:
        body = ast.parse(source).body
    except SyntaxError as error:
        raise NotebookError(f"{notebook}: its parameters cell is not plain Python: {error}") from error
    assigned = [(target, node.value) for node in body if isinstance(node, ast.Assign) for target in node.targets]
    assigned += [(node.target, node.value) for node in body if isinstance(node, ast.AnnAssign) and node.value]
    return {target.id: _default(value) for target, value in assigned if isinstance(target, ast.Name)}


def checked_parameters(notebook: Path, given: dict[str, object]) -> dict[str, object]:
    """``given`` with texts read as the types of the defaults in the notebook's parameters cell.

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
        value = _typed(name, str(value) if name == "data" and isinstance(value, Path) else value, declared[name])
        checked[name] = value if name != "data" or value is None else _data_path(str(value))
    profile = (declared | checked).get("profile")
    if isinstance(profile, str) and profile not in PROFILES:
        raise NotebookError(f"no profile {profile!r}; there are {', '.join(PROFILES)}")
    return checked


def effective_parameters(notebook: Path, checked: dict[str, object]) -> dict[str, object]:
    """Every parameter the notebook runs with: its known defaults, then ``checked`` over them."""
    known = {name: value for name, value in declared_parameters(notebook).items() if value is not UNKNOWN}
    return known | checked


def evidence_sources(notebook: Path) -> str:
    """SHA-256 over the modules of kdlab that ``notebook`` imports, and what these import in turn, docstrings and
    comments stripped: what starts, judges and describes runs is not among them."""
    code = []
    for kind, source, _ in _cells(notebook):
        with contextlib.suppress(SyntaxError):  # such a cell imports nothing
            plain = re.sub(r"^([ \t]*)[%!].*", r"\1pass", source, flags=re.MULTILINE)  # IPython's commands
            code += [ast.unparse(ast.parse(plain))] if kind == "code" else []
    return imports_hash(code)


def evidence_there() -> str:
    """SHA-256 over the tables and records in :func:`kdlab.paths.figures_dir`: any chapter may show some of them.

    Shards are not among them: until a study is whole, a chapter tells only how many of its seeds are there. Nor is the
    ledger, which is made of the others.
    """
    files = {path for kind in ("*.csv", "*.json") for path in paths.figures_dir().glob(kind)}
    files.discard(paths.figures_dir() / paths.LEDGER)
    return digest(hashes(paths.figures_dir(), files))


def fingerprint(notebook: Path, effective: dict[str, object]) -> dict[str, object]:
    """What the outcome of a run depends on, as JSON: two equal fingerprints need no second run.

    Cells (not outputs), parameters, :func:`evidence_sources`, :func:`evidence_there`, and names, sizes and times of the
    files in ``data`` and of the clips that these name or link to.
    """
    data = effective.get("data")
    return {
        "notebook": notebook.stem,
        "parameters": json.loads(json.dumps(effective, default=repr)),
        "cells": digest({"cells": json.dumps(_cells(notebook))}),
        "kdlab": evidence_sources(notebook),
        "evidence": evidence_there(),
        "data": None if data is None else digest({"data": json.dumps(_files(Path(str(data))))}),
    }


def run_name(notebook: Path, effective: dict[str, object]) -> str:
    """A file name for people: notebook, profile, what is not at its default, as in ``03_x-smoke-seed=1``.

    It is one on every system: of 120 characters at most, and without any that Windows does not take. What had to be
    changed or cut for that is told apart by a few digits of its hash, and so are capitals of a text, which some systems
    do not tell apart.
    """
    declared = declared_parameters(notebook)
    usual = {name: value for name, value in declared.items() if type(value) is type(effective.get(name))}
    given = {name: value for name, value in effective.items() if (name, value) not in [*usual.items()]}
    given.pop("profile", None)
    first = [notebook.stem, str(effective["profile"])] if "profile" in effective else [notebook.stem]
    text = "-".join(first + [f"{name}={Path(str(value)).name}" for name, value in given.items()])
    plain = re.sub(r"[^\w.+=-]+", "_", text).encode()[:110].decode(errors="ignore")
    texts = [value for value in given.values() if isinstance(value, str)]
    same = plain == text and all(value == Path(value).name.lower() for value in texts)
    return plain if same else f"{plain}~{digest({'parameters': repr(given)})[:6]}"


def _cells(notebook: Path) -> list[tuple[str, str, list[str]]]:
    """Kind, source and tags of each."""
    try:
        cells = json.loads(notebook.read_text("utf-8"))["cells"]
        # nbformat stores a text or a list of lines
        return [(c["cell_type"], "".join(c["source"]), c.get("metadata", {}).get("tags", [])) for c in cells]
    except (ValueError, KeyError, TypeError) as error:
        raise NotebookError(f"{notebook} is not a notebook of format 4: {error}") from error


def _default(node: ast.expr) -> object:
    try:
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("os.environ.get", "os.getenv"):
            variable, *fallback = map(ast.literal_eval, node.args)
            return os.environ.get(variable, *fallback)
        return ast.literal_eval(node)
    except (ValueError, TypeError):
        return UNKNOWN


def _typed(name: str, value: object, default: object) -> object:
    """``value`` as a plain one of the type of ``default``: texts of the command line are read as Python's literals and
    YAML's words, but where the parameter is a text itself, as is the path in ``data``."""
    if name == "data":  # the path of clips, whose folder may be called 2024_11_23
        value = None if value == "None" and not Path(value).exists() else value
    elif isinstance(value, str) and not isinstance(default, str):
        words = {"true": True, "false": False, "null": None, "none": None, "~": None}
        # any other text; the last two errors of hundreds of brackets
        with contextlib.suppress(ValueError, SyntaxError, MemoryError, RecursionError):
            value = words[value.lower()] if value.lower() in words else ast.literal_eval(value)
    if isinstance(default, float) and type(value) is int:
        value = float(value)
    shown = "a whole number" if type(value) is int and abs(value) >= 2**64 else repr(value)[:60]  # thousands of digits
    if default not in (None, UNKNOWN) and type(value) is not type(default):
        raise NotebookError(f"parameter {name!r} takes a value of type {type(default).__name__}, such as {default!r}; "
                            f"got {shown}")
    nested = type(value) in (list, dict, tuple)
    if not _is_plain(value) or (nested and type(default) is not type(value)):
        raise NotebookError(f"parameter {name!r} takes a plain value, a text, a finite number, True, False or None"
                            f"{', in lists or in dicts by a text' if nested else ''}; got {shown}")
    return value


def _is_plain(value: object) -> bool:
    """Whether JSON gives ``value`` back: papermill would hand over anything else as another value, or as code."""
    try:
        text = json.dumps(value, allow_nan=False, ensure_ascii=False).encode()
        return json.loads(text, parse_int=lambda digits: int(digits) if len(digits) <= 20 else None) == value
    except (TypeError, ValueError, RecursionError):
        return False


def _data_path(text: str) -> str:
    path = named(text).absolute()
    if not path.exists():
        raise FileNotFoundError(f"no such data: {path}\ngive a folder with one sub-folder per class, or a CSV index")
    return str(path)


def _files(data: Path) -> list[tuple[str, int, int]]:
    """Names, sizes and times: of the files in ``data``, and of the clips that it names or links to elsewhere."""
    found = {data} if data.is_file() else {*data.rglob("*")} if data.is_dir() else set()
    with contextlib.suppress(Exception):  # whatever is wrong with the clips, the notebook will tell
        found |= {record.path for record in open_clips(data).records}
    files = {path.relative_to(data).as_posix() if path.is_relative_to(data) else path.as_posix(): path.stat()
             for path in found if path.is_file()}
    return [(name, stat.st_size, stat.st_mtime_ns) for name, stat in sorted(files.items())]


def _nearest(name: str, known: dict[str, object]) -> str:
    close = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    return f"; did you mean {' or '.join(close)}?" if close else ""
