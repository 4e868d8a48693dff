"""The sources that a training depends on: kdlab's own modules, and those in which somebody else's classes stand.

What decides a weight is hashed as syntax, without docstrings and comments. With another's module those modules are
hashed that it imports from its own package or folder.
"""

import ast
import dataclasses
import hashlib
import sys
import sysconfig
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from importlib.util import resolve_name
from pathlib import Path

import kdlab

#: Training imports from these only; a change elsewhere (measure, study, show, cli) cannot change a weight. Of a paper's
#: folder only those modules count that the classes of a recipe import, and none of them imports its study or pictures.
TRAINING_SOURCES = ("kdlab.clips", "kdlab.night", "kdlab.nets", "kdlab.distill", "kdlab.layers", "kdlab.train.loop",
                    "kdlab.train.optimisers", "kdlab.train.parallel", "kdlab.train.feeding", "kdlab.train.preparing",
                    "kdlab.papers")
#: What every training goes through.
ROOTS = ("kdlab.train.loop", "kdlab.train.feeding", "kdlab.train.preparing")
_INSTALLED = tuple(Path(sysconfig.get_path(name)).resolve() for name in ("purelib", "platlib", "stdlib"))
#: From Python 3.13 on empty lists are left out unless they are asked for.
_WHOLE = {"show_empty": True} if sys.version_info >= (3, 13) else {}


class ChangedSource(ValueError):
    """A file that is no longer what this process has imported."""


# --- the classes of a recipe -----------------------------------------------------------------------------------


def parts(value) -> Iterator:
    """All dataclasses in a tree of dataclasses, tuples and lists, itself among them, outermost first."""
    if isinstance(value, (tuple, list)):
        inner = value
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        yield value
        inner = [getattr(value, f.name) for f in dataclasses.fields(value)]
    else:
        return
    for part in inner:
        yield from parts(part)


def home(kind: type) -> str:
    """The name of the module of ``kind``, as a recipe writes it."""
    return kind.__module__


def loaded(module: str):
    """The module of that name, where this process has imported it; else None."""
    return sys.modules.get(module)


def foreign(value) -> list[type]:
    """The classes in a recipe that are not kdlab's."""
    return list(dict.fromkeys(type(part) for part in parts(value) if not _is_kdlab(home(type(part)))))


def _is_kdlab(module: str) -> bool:
    return module.split(".")[0] == "kdlab"


# --- their sources ---------------------------------------------------------------------------------------------


def source_hash(value) -> str:
    """SHA-256 over the modules that training the recipe ``value`` uses, docstrings and comments stripped.

    Of kdlab only :data:`TRAINING_SOURCES` count, and of those only what this recipe's own types and the loop import: a
    new method does not make old runs stale, a changed comment neither. Raises :class:`ChangedSource`.
    """
    names = dict.fromkeys(home(type(part)) for part in parts(value))
    found = _gathered([*ROOTS, *names], _decides)
    return digest(found)


def files_hash(files: Iterable[Path]) -> str:
    """SHA-256 over some modules, by their files' names."""
    return digest({file.name: syntax(file) for file in files})


@cache
def view_mark(view) -> str:
    """What distinguishes frames cached under a ``view`` that is not kdlab's from those of its earlier sources."""
    found = _gathered([home(kind) for kind in foreign(view)], lambda name: _decides(name) and not _is_kdlab(name))
    return f"-{digest(found)[:8]}" if found else ""


def syntax(source: Path | ast.AST) -> str:
    """A module's (or node's) syntax tree without docstrings and comments, as text: the same in every Python."""
    tree = ast.parse(source.read_text(encoding="utf-8")) if isinstance(source, Path) else source
    for node in ast.walk(tree):
        if getattr(node, "type_params", None) == []:  # which Python 3.11 does not know
            del node.type_params
        if isinstance(node, ast.JoinedStr):  # into which early Pythons 3.12 put an empty text after a {width}
            node.values = [part for part in node.values if getattr(part, "value", None) != ""]
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and isinstance(body[0], ast.Expr):
            if isinstance(getattr(body[0], "value", None), ast.Constant) and isinstance(body[0].value.value, str):
                body.pop(0)
    return ast.dump(tree, **_WHOLE)


def digest(texts: Mapping[str, str]) -> str:
    """SHA-256 over texts by their names."""
    return hashlib.sha256("\n".join(f"{name} {texts[name]}" for name in sorted(texts)).encode()).hexdigest()


def _gathered(names: Iterable[str], counts: Callable[[str], bool]) -> dict[str, str]:
    """Syntax by module: of those with a file among ``names`` that count, and of what they import."""
    todo, seen = {name: path for name in names if counts(name) and (path := _file(name))}, {}
    while todo:
        name, path = todo.popitem()
        if name not in seen:
            if not _is_kdlab(name):
                _unchanged(name, path)
            seen[name], imported = _read(name, path, 0 if _is_kdlab(name) else path.stat().st_mtime_ns)
            todo |= {other: file for other, file in imported.items() if counts(other)}
    return seen


def _decides(module: str) -> bool:
    """Whether a module can decide weights."""
    return module.startswith(TRAINING_SOURCES) if _is_kdlab(module) else module != "__main__"


def _file(module: str) -> Path | None:
    """Where a module's source lies: kdlab's without importing it, another's where it was imported from."""
    if _is_kdlab(module):
        return _under(Path(kdlab.__file__).parent.parent, module)
    file = getattr(loaded(module), "__file__", None)
    return Path(file) if file and file.endswith(".py") else None


@cache
def _under(root: Path, module: str) -> Path | None:
    base = root.joinpath(*module.split("."))
    return next((path for path in (base.with_suffix(".py"), base / "__init__.py") if path.is_file()), None)


def _imports(tree: ast.AST, package: str = "") -> set[str]:
    """What is imported anywhere in ``tree``, which lies in ``package``: modules, and names that may be modules."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            origin = resolve_name("." * node.level + (node.module or ""), package)
            found |= {origin} | {f"{origin}.{alias.name}" for alias in node.names}
    return found


@cache
def _read(module: str, path: Path, stamp: int) -> tuple[str, dict[str, Path]]:
    """The syntax of a module, and those it imports, by name: kdlab's, and for a foreign one those of its own place."""
    is_package = path.name == "__init__.py"
    tree, package = ast.parse(path.read_text(encoding="utf-8")), module if is_package else module.rpartition(".")[0]
    imported = _imports(tree, package)
    root = (path.parent if is_package else path).resolve().parents[module.count(".")]
    installed, kept = _is_installed(root), {}
    for name in sorted(imported):
        if _is_kdlab(name):
            found = _file(name)
        else:  # beside an installed package lie all others
            found = None if installed and name.split(".")[0] != module.split(".")[0] else _under(root, name)
        if found:
            kept[name] = found
    return syntax(path), kept


def _is_installed(path: Path) -> bool:
    return any(path.is_relative_to(place) for place in _INSTALLED)


_first: dict[str, tuple[object, bytes]] = {}


def _unchanged(module: str, path: Path) -> None:
    """Raise :class:`ChangedSource` where the file of a module has changed since this process first looked at it."""
    now, spec = path.read_bytes(), getattr(loaded(module), "__spec__", None)
    if module not in _first or _first[module][0] is not spec:  # imported for the first time, or reloaded
        _first[module] = spec, now
    if _first[module][1] != now:
        raise ChangedSource(f"{path} has changed since it was imported: restart the kernel, or call "
                            f"importlib.reload({module}) and make the recipe anew from it")
