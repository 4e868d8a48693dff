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
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from importlib.util import resolve_name
from pathlib import Path
from types import CodeType, FunctionType

import kdlab

#: Training imports from these only; a change elsewhere (measure, study, show, cli) cannot change a weight. Of a paper's
#: folder only those modules count that the classes of a recipe import, and none of them imports its study or pictures.
TRAINING_SOURCES = ("kdlab.clips", "kdlab.night", "kdlab.nets", "kdlab.distill", "kdlab.layers", "kdlab.train.loop",
                    "kdlab.train.optimisers", "kdlab.train.parallel", "kdlab.train.feeding", "kdlab.train.preparing",
                    "kdlab.papers")
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
    return list(dict.fromkeys(type(part) for part in parts(value) if not _is_kdlab(home(type(part)))))


def in_cell(value) -> list[type]:
    """Those that were written in a notebook's cell, which no other process can import."""
    return [kind for kind in foreign(value) if home(kind) == "__main__"]


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
    for kind in in_cell(value):
        _cells(kind, found)
    return digest(found)


def imports_hash(code: Iterable[str]) -> str:
    """SHA-256 over the modules of kdlab that the pieces of ``code`` import, and those that these import in turn."""
    return digest(_gathered(sorted(set().union(*(_imports(ast.parse(text)) for text in code))), _is_kdlab))


def files_hash(files: Iterable[Path]) -> str:
    """SHA-256 over some modules, by their files' names."""
    return digest({file.name: syntax(file) for file in files})


def view_mark(view) -> str:
    """What distinguishes frames cached under a ``view`` that is not kdlab's from those of its earlier sources."""
    mark, specs = _marks.get(view, ("", None))
    if specs is not None and all(_spec(name) is spec for name, spec in specs.items()):
        return mark
    found = _gathered([home(kind) for kind in foreign(view)], lambda name: _decides(name) and not _is_kdlab(name))
    specs, cells = {name: _spec(name) for name in found}, in_cell(view)
    for kind in cells:
        _cells(kind, found)
    mark = f"-{digest(found)[:8]}" if found else ""
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
    installed, kept = any(root.is_relative_to(place) for place in _INSTALLED), {}
    for name in sorted(imported):
        if _is_kdlab(name):
            found = _file(name)
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
    members = vars(value).values() if isinstance(value, type) else [value]
    members = [getattr(member, "fget", None) or getattr(member, "__func__", member) for member in members]
    codes = [member.__code__ for member in members if isinstance(member, FunctionType)]
    files = {code.co_filename for code in codes} - {"<string>"}  # a dataclass's own
    written = ["".join(linecache.getlines(file)) for file in sorted(files)]
    if not all(written):
        raise ValueError(f"the source of {value.__qualname__} cannot be read here: put it in a file, and import it")
    nodes = [node for text in written for node in ast.parse(text).body]
    found[name] = "".join(syntax(node) for node in nodes if getattr(node, "name", None) == value.__qualname__)
    there, names = vars(sys.modules["__main__"]), sorted(set().union(*map(_names, codes)))
    found |= {f"__main__:{n}": repr(there[n]) for n in names if isinstance(there.get(n), (int, float, str, tuple))}
    for other in [*getattr(value, "__bases__", ()), *map(there.get, names)]:
        if isinstance(other, (type, FunctionType)) and other.__module__ == "__main__":
            _cells(other, found)


def _names(code: CodeType) -> set[str]:
    """The global names that are read, which attributes are not, though they stand in ``co_names``, too."""
    inner = [_names(constant) for constant in code.co_consts if isinstance(constant, CodeType)]
    return {step.argval for step in dis.get_instructions(code) if step.opname == "LOAD_GLOBAL"}.union(*inner)
