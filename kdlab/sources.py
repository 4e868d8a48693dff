"""The sources that a training depends on: kdlab's own modules, and those in which somebody else's classes stand.

What decides a weight is hashed as syntax, without docstrings and comments. Of another's module, those modules that it
imports from its own package or folder are hashed with it; of a class written in a notebook's cell, it and whatever it
names of that notebook.
"""

import ast
import dataclasses
import dis
import hashlib
import linecache
import sys
import sysconfig
from collections.abc import Iterator
from functools import cache
from importlib.util import resolve_name
from pathlib import Path
from types import CodeType, FunctionType

import kdlab

__all__ = ["ChangedSource", "foreign", "home", "in_cell", "loaded", "parts", "source_hash", "syntax", "view_mark"]

#: Training imports from these only; a change elsewhere (measure, study, show, cli) cannot change a weight. Of a paper's
#: folder only those modules count that the classes of a recipe import, and none of them imports its study or pictures.
TRAINING_SOURCES = ("kdlab.clips", "kdlab.night", "kdlab.nets", "kdlab.distill", "kdlab.layers", "kdlab.train.loop",
                    "kdlab.train.feeding", "kdlab.train.preparing", "kdlab.papers")
#: What every training goes through.
ROOTS = ("kdlab.train.loop", "kdlab.train.feeding", "kdlab.train.preparing")
_MAIN = ("__main__", "__mp_main__")  # the latter is a worker's name for its owner's script
_INSTALLED = tuple(Path(sysconfig.get_path(name)).resolve() for name in ("purelib", "platlib", "stdlib"))


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
    """The name of the module of ``kind`` as a recipe writes it: of a script, which runs as ``__main__``, its file's;
    ``__main__`` for a class in a notebook's cell."""
    return _main(kind.__module__) if kind.__module__ in _MAIN else kind.__module__


def loaded(module: str):
    """The module that :func:`home` names, where this process has imported it; else None."""
    return next((sys.modules[name] for name in _MAIN if name in sys.modules and _main(name) == module),
                sys.modules.get(module))


def _main(name: str) -> str:
    main = sys.modules[name]
    if spec := getattr(main, "__spec__", None):  # python -m
        return spec.name.removesuffix(".__main__")
    return Path(main.__file__).stem if getattr(main, "__file__", None) else "__main__"


def foreign(value) -> list[type]:
    """The classes in a recipe that are not kdlab's."""
    return list(dict.fromkeys(type(part) for part in parts(value) if not _ours(home(type(part)))))


def in_cell(value) -> list[type]:
    """Those that were written in a notebook's cell, which no other process can import."""
    return [kind for kind in foreign(value) if home(kind) == "__main__"]


def _ours(module: str) -> bool:
    return module.split(".")[0] == "kdlab"


# --- their sources ---------------------------------------------------------------------------------------------


def source_hash(value) -> str:
    """SHA-256 over the modules that training the recipe ``value`` uses, docstrings and comments stripped.

    Of kdlab only :data:`TRAINING_SOURCES` count, and of those only what this recipe's own types and the loop import: a
    new method does not make old runs stale, a changed comment neither. Raises :class:`ChangedSource`.
    """
    names = dict.fromkeys(home(type(part)) for part in parts(value))
    found = _gathered([*ROOTS, *names])
    for kind in in_cell(value):
        _cells(kind, found)
    return _digest(found)


def view_mark(view) -> str:
    """What distinguishes frames cached under a ``view`` that is not kdlab's from those of its earlier sources."""
    if view in _marks and all(_spec(name) is spec for name, spec in _marks[view][1].items()):
        return _marks[view][0]
    kinds = foreign(view)
    found = {name: text for name, text in _gathered([home(kind) for kind in kinds]).items() if not _ours(name)}
    specs, cells = {name: _spec(name) for name in found}, in_cell(view)
    for kind in cells:
        _cells(kind, found)
    mark = f"-{_digest(found)[:8]}" if found else ""
    if not cells:  # whose every line can change while the class stays
        _marks[view] = mark, specs
    return mark


_marks: dict[object, tuple[str, dict]] = {}


def syntax(source: Path | ast.AST) -> str:
    """A module's (or node's) syntax tree without docstrings and comments, as text."""
    tree = ast.parse(source.read_text(encoding="utf-8")) if isinstance(source, Path) else source
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and isinstance(body[0], ast.Expr):
            if isinstance(getattr(body[0], "value", None), ast.Constant) and isinstance(body[0].value.value, str):
                body.pop(0)
    return ast.dump(tree)


def _digest(texts: dict[str, str]) -> str:
    return hashlib.sha256("\n".join(f"{name} {texts[name]}" for name in sorted(texts)).encode()).hexdigest()


def _gathered(names: list[str]) -> dict[str, str]:
    """Syntax by module: of those with a file among ``names`` that decide weights, and of what they import."""
    todo, seen = {name: path for name in names if _counts(name) and (path := _file(name))}, {}
    while todo:
        name, path = todo.popitem()
        if name not in seen:
            if not _ours(name):
                _unchanged(name, path)
            seen[name], imported = _read(name, path, 0 if _ours(name) else path.stat().st_mtime_ns)
            todo |= imported
    return seen


def _counts(module: str) -> bool:
    return module.startswith(TRAINING_SOURCES) if _ours(module) else module != "__main__"


def _file(module: str) -> Path | None:
    """Where a module's source lies: kdlab's without importing it, another's where it was imported from."""
    if _ours(module):
        return _under(Path(kdlab.__file__).parent.parent, module)
    file = getattr(loaded(module), "__file__", None)
    return Path(file) if file and file.endswith(".py") else None


@cache
def _under(root: Path, module: str) -> Path | None:
    base = root.joinpath(*module.split("."))
    return next((path for path in (base.with_suffix(".py"), base / "__init__.py") if path.is_file()), None)


@cache
def _read(module: str, path: Path, stamp: int) -> tuple[str, dict[str, Path]]:
    """The syntax of a module, and the modules that training can depend on among those it imports, by name."""
    is_package, imported = path.name == "__init__.py", set()
    package = module if is_package else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            imported |= {a.name for a in node.names}
        elif isinstance(node, ast.ImportFrom):
            origin = resolve_name("." * node.level + (node.module or ""), package)
            imported |= {origin} | {f"{origin}.{a.name}" for a in node.names}
    root = (path.parent if is_package else path).resolve().parents[module.count(".")]
    installed, kept = any(root.is_relative_to(place) for place in _INSTALLED), {}
    for name in sorted(imported):
        if _ours(name):
            found = _file(name) if _counts(name) else None
        else:  # beside an installed package lie all others
            found = None if installed and name.split(".")[0] != module.split(".")[0] else _under(root, name)
        if found:
            kept[name] = found
    return syntax(path), kept


_first: dict[str, tuple[object, bytes]] = {}


def _spec(module: str):
    """Another object for each time that a module was loaded or reloaded."""
    return getattr(loaded(module), "__spec__", None)


def _unchanged(module: str, path: Path) -> None:
    """Raise :class:`ChangedSource` where the file of a module has changed since this process first looked at it."""
    if loaded(module) is None:
        return
    now, spec = path.read_bytes(), _spec(module)
    if module not in _first or _first[module][0] is not spec:
        _first[module] = spec, now
    if _first[module][1] != now:
        raise ChangedSource(f"{path} has changed since it was imported: restart the kernel, or call "
                            f"importlib.reload({module}) and make the recipe anew from it")


# --- cells of a notebook ---------------------------------------------------------------------------------------


def _cells(value, found: dict[str, str]) -> None:
    """Put into ``found`` the syntax of ``value``, a class or function of a cell, and of what it names there."""
    name = f"__main__:{value.__qualname__}"
    if name in found:
        return
    functions = list(_functions(value)) if isinstance(value, type) else [value]
    files = dict.fromkeys(f.__code__.co_filename for f in functions)
    written = {file: "".join(linecache.getlines(file)) for file in files if file != "<string>"}  # a dataclass's own
    if not all(written.values()):
        raise ValueError(f"the source of {value.__qualname__} cannot be read here: put it in a file, and import it")
    trees = [ast.parse(text) for text in written.values()]
    found[name] = "".join(syntax(node) for tree in trees for node in tree.body
                          if getattr(node, "name", None) == value.__qualname__)
    there = vars(sys.modules["__main__"])
    for other in [*getattr(value, "__bases__", ()), *(there.get(n) for f in functions for n in _names(f.__code__))]:
        if isinstance(other, (type, FunctionType)):
            if other.__module__ == "__main__":
                _cells(other, found)
    for constant in sorted({n for f in functions for n in _names(f.__code__)}):
        if isinstance(there.get(constant), (int, float, str, tuple)):
            found[f"__main__:{constant}"] = repr(there[constant])


def _functions(kind: type) -> Iterator[FunctionType]:
    for value in vars(kind).values():
        value = getattr(value, "fget", None) or getattr(value, "__func__", value)
        if isinstance(value, FunctionType):
            yield value


def _names(code: CodeType) -> set[str]:
    """The global names that are read, which attributes are not, though they stand in ``co_names``, too."""
    inner = [_names(constant) for constant in code.co_consts if isinstance(constant, CodeType)]
    return {step.argval for step in dis.get_instructions(code) if step.opname == "LOAD_GLOBAL"}.union(*inner)
