"""The sources that a training depends on: kdlab's own modules, and those in which somebody else's classes stand.

What decides a weight is hashed as syntax, without docstrings and comments. Of another's module, those modules that it
imports from its own package or folder are hashed with it; of a class written in a notebook's cell, it and whatever it
names of that notebook: classes, functions, values, and modules that lie beside it.
"""

import ast
import dataclasses
import dis
import hashlib
import io
import linecache
import pickle
import sys
import sysconfig
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache, cached_property
from importlib.machinery import SourceFileLoader
from importlib.util import resolve_name
from pathlib import Path
from types import (
    BuiltinFunctionType,
    CellType,
    CodeType,
    FunctionType,
    GetSetDescriptorType,
    MemberDescriptorType,
    ModuleType,
)

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
_CACHED = type(cache(len))  # what functools.cache makes of a function
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


def _installed(module: str) -> bool:
    """Whether it is part of an installed package, or of Python, wherever an environment takes those from."""
    path = _file(module)
    return path is None or _is_installed(path.resolve()) or bool({"site-packages", "dist-packages"} & {*path.parts})


_first: dict[str, tuple[object, bytes]] = {}


def _spec(module: str):
    """Another object for each time that a module was loaded or reloaded."""
    return getattr(loaded(module), "__spec__", None)


def _unchanged(module: str, path: Path) -> None:
    """Raise :class:`ChangedSource` where the file of a module has changed since this process first looked at it, or
    before that since it was imported, as far as its functions tell."""
    if loaded(module) is None:
        return
    now, spec = path.read_bytes(), _spec(module)
    if module not in _first or _first[module][0] is not spec:
        _first[module] = spec, now if _is_from(loaded(module), now) else b""
    if _first[module][1] != now:
        raise ChangedSource(f"{path} has changed since it was imported: restart the kernel, or call "
                            f"importlib.reload({module}) and make the recipe anew from it")


def _is_from(module: ModuleType, source: bytes) -> bool:
    """Whether the functions that ``source`` defines are in ``module`` as it defines them, or were made otherwise."""
    if type(getattr(module, "__loader__", None)) is not SourceFileLoader:  # others, such as pytest's, load other code
        return True
    try:
        code = compile(source, module.__file__, "exec", dont_inherit=True)
    except SyntaxError:
        return False
    defined = {*_codes(code)}
    for value in (vars(module)[name] for name in code.co_names if name in vars(module)):  # a reload leaves old names
        own = isinstance(value, type) and value.__module__ == module.__name__
        for member in map(_inner, vars(value).values()) if own else [value]:
            while member is not None:
                written = isinstance(member, FunctionType) and member.__code__.co_filename == module.__file__
                if written and next(_codes(member.__code__)) not in defined:
                    return False
                member = vars(member).get("__wrapped__") if isinstance(member, (FunctionType, _CACHED)) else None
    return True


def _codes(code: CodeType) -> Iterator[tuple]:
    """What ``code`` does, wherever its lines stand, and that of each code inside of it."""
    inner = [[*_codes(constant)] for constant in code.co_consts if isinstance(constant, CodeType)]
    plain = tuple((type(constant), constant) for constant in code.co_consts if not isinstance(constant, CodeType))
    yield (code.co_name, code.co_code, code.co_names, code.co_varnames, code.co_freevars, code.co_argcount,
           code.co_posonlyargcount, code.co_kwonlyargcount, plain, tuple(codes[0] for codes in inner))
    for codes in inner:
        yield from codes


def _inner(member):
    """The function in a member of a class."""
    if isinstance(member, (staticmethod, classmethod, property, cached_property)):
        return next(getattr(member, inner) for inner in ("__func__", "fget", "func") if hasattr(member, inner))
    return member


# --- cells of a notebook ---------------------------------------------------------------------------------------


def _cells(kind: type, found: dict[str, str]) -> None:
    """Put into ``found`` the syntax of ``kind``, a class of a cell, of the classes and functions that it names there,
    the values that these name, and the modules that are nobody's package. ValueError for what cannot be hashed."""
    todo, seen, lines, modules = [kind], [], [], set()
    while todo:
        one = todo.pop()
        if any(one is other for other in seen):
            continue
        seen.append(one)
        module = one.__name__ if isinstance(one, ModuleType) else getattr(one, "__module__", None) or ""
        if isinstance(one, ModuleType) and not _is_kdlab(module) and not (_file(module) and _installed(module)):
            modules |= {name for name in [*sys.modules] if f"{name}.".startswith(f"{module}.")}  # and its parts
        elif module == "__main__" and not isinstance(one, ModuleType):
            text, values = _of_cell(one)
            lines.append(f"{one.__qualname__} {text}")
            for name, value in values.items():
                lines.append(f"{name} = {_hashed(name, value, todo)}")
            todo += getattr(one, "__bases__", ())
        else:
            modules.add(module)
    found[f"__main__:{kind.__qualname__}"] = "\n".join(sorted(lines))
    found |= _gathered([name for name in sorted(modules) if _is_kdlab(name) or not _installed(name)], _decides)


def _of_cell(one: type | FunctionType) -> tuple[str, dict[str, object]]:
    """The syntax of a class or function of a cell; and by name what it stands on: globals, attributes, defaults."""
    there, functions, values = vars(sys.modules["__main__"]), [], {}
    for name, member in vars(one).items() if isinstance(one, type) else [("", one)]:
        written = isinstance(member := _inner(member), FunctionType)
        own = written and (member is one or member.__qualname__.startswith(f"{one.__qualname__}."))
        if own:
            functions.append(member)
        elif written or not (name.startswith("_") and name.endswith("_") or name == "_abc_impl"  # Python's own
                  or isinstance(member, (MemberDescriptorType, GetSetDescriptorType))):
            values[f"{one.__qualname__}.{name}"] = member
    functions = [f for f in functions if f.__code__.co_filename != "<string>" or (  # a dataclass's own
        f is one and "<locals>" not in f.__qualname__)]
    for function in functions:
        at = function.__qualname__
        inside = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
        values |= {f"{at}: {name}": cell.cell_contents for name, cell in inside if cell != CellType()}
        values |= {f"{at}()": v for v in [(function.__defaults__, function.__kwdefaults__)] if v != (None, None)}
    codes = [function.__code__ for function in functions if function.__globals__ is there]  # others only wrap
    written = ["".join(linecache.getlines(file)) for file in sorted({code.co_filename for code in codes})]
    if not all(written):
        raise ValueError(f"the source of {one.__qualname__} cannot be read here: put it in a file, and import it")
    lines = {code.co_firstlineno for code in codes}
    nodes = [node for text in written for node in ast.walk(ast.parse(text))]
    nodes = [node for node in nodes if getattr(node, "name", None) == one.__name__ or (
        one.__name__ == "<lambda>" and isinstance(node, ast.Lambda) and node.lineno in lines)]
    names = sorted(set().union(*map(_names, codes)))
    return "".join(map(syntax, nodes)), values | {name: there[name] for name in names if name in there}


def _hashed(name: str, value, named: list) -> str:
    """``value`` as text, or a hash of it; the classes, functions and modules that it names are put into ``named``."""
    if isinstance(value, (int, float, str)):
        return repr(value)
    try:
        return _pickled(value, named)
    except Exception as error:  # anything can be wrong with a value that no process can give to another
        raise ValueError(f"{name} cannot be hashed: put it, and the class, into a file beside the notebook "
                         f"({type(error).__name__}: {error})") from error


def _pickled(value, named: list) -> str:
    pickler = _ByName(stream := io.BytesIO(), protocol=4)
    pickler.named = named
    pickler.dump(value)
    return hashlib.sha256(stream.getvalue()).hexdigest()


class _ByName(pickle.Pickler):
    """Classes, functions and modules stand in the pickle by name, and go to ``named``; and what is alike is alike."""

    named: list

    def persistent_id(self, value) -> str | None:
        builtin = isinstance(value, BuiltinFunctionType) and isinstance(value.__self__, (ModuleType, type(None)))
        if builtin or isinstance(value, (type, FunctionType, ModuleType)):
            self.named.append(value)
            return f"{getattr(value, '__module__', '')}:{getattr(value, '__qualname__', value.__name__)}"
        if isinstance(value, _CACHED):
            return self.persistent_id(value.__wrapped__)
        if type(value) in (set, frozenset):  # whose order is another in each process
            return f"{type(value).__name__} {sorted(_pickled(each, self.named) for each in value)}"
        torch = sys.modules.get("torch")
        if torch and isinstance(value, torch.Tensor):  # whose pickle tells where in memory it lay
            plain = value.detach().cpu().reshape(-1).contiguous().view(torch.uint8).numpy().tobytes()
            return f"{value.dtype} {tuple(value.shape)} {value.requires_grad} {hashlib.sha256(plain).hexdigest()}"
        return None


def _names(code: CodeType) -> set[str]:
    """The global names that are read, which attributes are not, though they stand in ``co_names``, too."""
    inner = [_names(constant) for constant in code.co_consts if isinstance(constant, CodeType)]
    return {step.argval for step in dis.get_instructions(code) if step.opname == "LOAD_GLOBAL"}.union(*inner)
