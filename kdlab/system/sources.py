"""A hash of the sources that a training depends on: kdlab's modules that affect weights, and the user's own modules.

The hash covers the syntax, without docstrings and comments.
"""

import ast
import dataclasses
import hashlib
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import kdlab

#: Files and folders of kdlab that affect the weights of every training. What reads lists of clips (``datasets``)
#: affects none beyond the clips, which a run knows by their contents.
CORE = (
    "protocols.py",
    "video",
    "clips",
    "nets",
    "distill",
    *(f"train/{name}.py" for name in ("loop", "settings", "feeding", "device", "preparing")),
)
#: From Python 3.13 on, ``ast.dump`` omits empty lists by default.
_WHOLE = {"show_empty": True} if sys.version_info >= (3, 13) else {}


def dataclasses_in(value) -> Iterator:
    """Yield all dataclasses in a tree of dataclasses, tuples and lists, including ``value``, outermost first."""
    inner = value if isinstance(value, (tuple, list)) else ()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        yield value
        inner = [getattr(value, f.name) for f in dataclasses.fields(value)]
    for part in inner:
        yield from dataclasses_in(part)


def foreign_modules(value) -> set[str]:
    """The modules of a recipe's dataclasses that are not kdlab's."""
    modules = {type(part).__module__ for part in dataclasses_in(value)}
    return {module for module in modules if not is_kdlab(module)}


def is_kdlab(module: str) -> bool:
    """Whether ``module`` belongs to kdlab."""
    return module.split(".")[0] == "kdlab"


def source_hash(value) -> str:
    """SHA-256 over :data:`CORE`, the folders of night and of papers that hold classes in the recipe ``value``, and the
    modules of classes that are not kdlab's.

    Raises ``ValueError`` if one of the latter was edited after its import.
    """
    modules = {type(part).__module__ for part in dataclasses_in(value)}
    folders = {
        "/".join(name.split(".")[1:3]) for name in modules if name.startswith("kdlab.papers.")
    }
    if any(name.startswith("kdlab.night") for name in modules):
        folders.add("night")
    return _digest(
        [*(_package_hash(place) for place in (*CORE, *sorted(folders))), _foreign_hash(value)]
    )


def files_hash(files: Iterable[Path]) -> str:
    """SHA-256 over the names and syntax of modules, in the order of their paths."""
    return _digest(f"{file.name} {syntax(file.read_text('utf-8'))}" for file in sorted(files))


@cache
def view_mark(view) -> str:
    """A hash of the sources of a ``view`` that is not kdlab's, for its cache tag; empty for kdlab's views."""
    return f"-{_foreign_hash(view)[:8]}" if foreign_modules(view) else ""


def syntax(text: str) -> str:
    """The syntax tree of Python source ``text`` without docstrings and comments; equal in all Python versions."""
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if getattr(node, "type_params", None) == []:  # absent in Python 3.11
            del node.type_params
        if isinstance(node, ast.JoinedStr):
            # early versions of Python 3.12 add an empty text after a {width}
            node.values = [part for part in node.values if getattr(part, "value", None) != ""]
        match getattr(node, "body", None):
            case [ast.Expr(ast.Constant(str())), *_]:
                node.body.pop(0)
    return ast.dump(tree, **_WHOLE)


def _digest(texts: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()


@cache
def _package_hash(place: str) -> str:
    """Hash of a file or a folder of kdlab."""
    path = Path(kdlab.__file__).parent / place
    path = path if path.exists() else path.with_suffix(".py")
    return files_hash(path.rglob("*.py") if path.is_dir() else [path])


def _foreign_hash(value) -> str:
    """Hash of the modules of foreign classes in ``value``, and of all modules that these import, as for a base, and that
    are the user's."""
    texts = {}
    for module in foreign_modules(value):
        files = [Path(getattr(sys.modules.get(module), "__file__", None) or "")]
        while files:
            file = files.pop()
            if file.suffix == ".py" and file not in texts:
                texts[file] = _text_as_imported(file, module)
                files += _imported(file, texts[file], module.split(".")[0])
    names = sorted(texts, key=lambda file: (file.name, file))
    return _digest(f"{file.name} {syntax(texts[file])}" for file in names)


def _users(module: str) -> Path | None:
    """The file of an imported module that is neither Python's, kdlab's nor an installed package's."""
    file = Path(getattr(sys.modules.get(module), "__file__", None) or "")
    installed = {"site-packages", "dist-packages"} & {*file.parts}
    standard = module.split(".")[0] in sys.stdlib_module_names
    return None if installed or standard or is_kdlab(module) or file.suffix != ".py" else file


def _imported(file: Path, text: str, package: str) -> Iterator[Path]:
    """Yield the user's files that the ``text`` of ``file`` imports: from ``package``, from beside it, or from anywhere if
    the module was imported; with any import statement at any place."""
    above = [folder for folder in file.parents if folder.name == package]
    for node in ast.walk(ast.parse(text)):
        names, folder = [], file.parent
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or "", *(f"{node.module or ''}.{a.name}" for a in node.names)]
            folder = file.parents[max(0, node.level - 1)]
        for name in names:
            absolute = not getattr(node, "level", 0)
            if absolute and (found := _users(name)):
                yield found
            parts = name.strip(".").split(".")
            if parts[0] == package and above:
                folder, parts = above[0], parts[1:]
            path = folder.joinpath(*parts)
            yield from (f for f in (path.with_suffix(".py"), path / "__init__.py") if f.is_file())


#: File and the id of the module that was imported → that module's spec, which keeps the id, and the file's text.
_first_read: dict[tuple[Path, int], tuple[object, str]] = {}


def _text_as_imported(file: Path, module: str) -> str:
    """The text of ``file``. Raises ``ValueError`` if it has changed since this process first read it for ``module``."""
    text, spec = file.read_text("utf-8"), sys.modules[module].__spec__  # each import has its own
    _, first = _first_read.setdefault((file, id(spec)), (spec, text))
    if first != text:
        raise ValueError(
            f"{file} has changed since it was imported: restart the kernel, or call "
            f"importlib.reload({module}) and make the recipe anew from it"
        )
    return text
