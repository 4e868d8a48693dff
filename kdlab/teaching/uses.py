"""Where each public name of kdlab's is used: an example for the reference that runs whenever notebooks and tests do.

Read from the sources, without importing them: first notebooks, then tests, then kdlab itself; of several uses in the
first of these the shortest. Whose method is called is told by how its object was made or annotated in the same file,
else by a name that no other class has.
"""

import ast
import json
import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

import kdlab
from kdlab import paths

PACKAGE = Path(kdlab.__file__).parent
#: Lines and letters of an example at most.
LINES, LETTERS = 5, 480


@dataclass(frozen=True)
class Use:
    """``code`` of a statement or a call, and the file in which it stands, from the project's root."""

    code: str
    place: str


def uses() -> dict[str, Use]:
    """Dotted name of a module's own function or class → where it is used; names without any use are left out."""
    root = paths.project_root()
    notebooks, tests = sorted((root / "notebooks").glob("*.ipynb")), sorted(root.glob("tests/**/*.py"))
    return _package() | _shortest(tests, root) | _shortest(notebooks, root)


@cache
def _package() -> dict[str, Use]:
    return _shortest(sorted(PACKAGE.rglob("*.py")), PACKAGE.parent)


def _shortest(files: Iterable[Path], root: Path) -> dict[str, Use]:
    """Of all uses of a name in ``files`` the shortest."""
    found: dict[str, Use] = {}
    for path in files:
        place = path.relative_to(root)
        module = ".".join(place.with_suffix("").parts) if path.is_relative_to(PACKAGE) else ""
        for name, code in _used(_source(path), module, _homes(), methods()):
            if name not in found or len(code) < len(found[name].code):
                found[name] = Use(code, place.as_posix())
    return found


def _source(path: Path) -> str:
    """A module's text, or all code of a notebook."""
    text = path.read_text("utf-8")
    if path.suffix == ".py":
        return text
    return "\n".join("".join(cell["source"]) for cell in json.loads(text)["cells"] if cell["cell_type"] == "code")


@cache
def _homes() -> dict[str, str]:
    """What a package's ``__init__`` gives on: ``kdlab.study.Claim`` → ``kdlab.study.claims.Claim``."""
    found = {f"kdlab.{name}": f"kdlab.teaching.check.{name}" for name in kdlab.EXERCISES}
    for path in PACKAGE.rglob("__init__.py"):
        package = ".".join(path.relative_to(PACKAGE.parent).parent.parts)
        names = _imported(ast.parse(path.read_text("utf-8")), package)
        found |= {f"{package}.{name}": target for name, target in names.items()}
    return found


def _imported(tree: ast.AST, package: str = "") -> dict[str, str]:
    """Names that a module of ``package`` imports from kdlab → what they stand for."""
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            parts = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            origin = ".".join([*parts, *([node.module] if node.module else [])])
            if origin.split(".")[0] == "kdlab":
                found |= {alias.asname or alias.name: f"{origin}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.asname or "kdlab": alias.name if alias.asname else "kdlab" for alias in node.names
                      if alias.name.split(".")[0] == "kdlab"}
    return found


def _used(source: str, module: str, homes: dict[str, str], methods: "Methods | None" = None) -> Iterator[
        tuple[str, str]]:
    """(Dotted name, code) of each use in a ``source``; a ``module`` of kdlab's uses its own names, too. ``methods``:
    those of kdlab's classes, whose uses are found, too."""
    tree = ast.parse(source)
    known = _imported(tree, module.rpartition(".")[0])
    known |= {node.name: f"{module}.{node.name}" for node in tree.body
              if isinstance(node, (ast.FunctionDef, ast.ClassDef))} if module else {}
    lines, owners = source.splitlines(), _owners(tree, known, homes) if methods else {}
    for statement in _statements(tree):
        for node in ast.walk(statement):
            if isinstance(node, (ast.Name, ast.Attribute)) and isinstance(node.ctx, ast.Load):
                names = [homes.get(dotted, dotted)] if (dotted := _dotted(node, known)) else []
                if methods and isinstance(node, ast.Attribute):
                    names += methods.called(node.attr, _owner(node.value, known, homes, owners))
                if names and (code := _code(statement, node, lines)):
                    yield from ((name, code) for name in names)


@dataclass(frozen=True)
class Methods:
    """The public methods of kdlab's classes: class → those that it defines, and class → its bases."""

    own: dict[str, frozenset[str]]
    bases: dict[str, tuple[str, ...]]

    def called(self, name: str, owners: Iterable[str]) -> list[str]:
        """Whose ``name`` it is on an object of one of the classes ``owners``: theirs or that of the nearest base; of
        one class alone where they are not known and only this one has it."""
        found = [f"{home}.{name}" for owner in owners if (home := self._home(owner, name))]
        alone = self._alone.get(name, ())
        return found or ([f"{alone[0]}.{name}"] if len(alone) == 1 and name not in _anybodys() else [])

    def _home(self, owner: str, name: str) -> str:
        if name in self.own.get(owner, ()):
            return owner
        return next(filter(None, (self._home(base, name) for base in self.bases.get(owner, ()))), "")

    @cached_property
    def _alone(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for owner, names in self.own.items():
            for name in names:
                found.setdefault(name, []).append(owner)
        return found


@cache
def _anybodys() -> frozenset[str]:
    """Names of methods that objects of Python, NumPy, pandas and torch have, too."""
    import numpy as np
    import pandas as pd
    import torch

    kinds = str, dict, list, Path, np.ndarray, pd.DataFrame, torch.Tensor, torch.nn.Module
    return frozenset(name for kind in kinds for name in dir(kind))


@cache
def methods() -> Methods:
    """Of all classes of kdlab."""
    own, bases, homes = {}, {}, _homes()
    for path in PACKAGE.rglob("*.py"):
        module = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")
        tree = ast.parse(path.read_text("utf-8"))
        classes = [node for node in tree.body if isinstance(node, ast.ClassDef)]
        known = _imported(tree, module.rpartition(".")[0]) | {c.name: f"{module}.{c.name}" for c in classes}
        for node in classes:
            name = f"{module}.{node.name}"
            own[name] = frozenset(f.name for f in node.body if isinstance(f, ast.FunctionDef))
            bases[name] = tuple(homes.get(d, d) for base in node.bases if (d := _dotted(base, known)))
    return Methods(own, bases)


def _owners(tree: ast.AST, known: dict[str, str], homes: dict[str, str]) -> dict[str, set[str]]:
    """Names that stand for objects of kdlab's classes anywhere in a file, by how they are made or annotated."""
    found: dict[str, set[str]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and len(node.targets) == 1:
            pairs = [(node.targets[0], node.value)]
            if isinstance(node.targets[0], ast.Tuple) and isinstance(node.value, ast.Tuple):
                pairs = list(zip(node.targets[0].elts, node.value.elts, strict=False))
            for target, value in pairs:
                if isinstance(target, ast.Name):
                    found.setdefault(target.id, set()).update(_owner(value, known, homes, {}))
        elif isinstance(node, ast.arg) and node.annotation:
            names = [_dotted(part, known) for part in ast.walk(node.annotation)]
            found.setdefault(node.arg, set()).update(homes.get(name, name) for name in names if name)
        elif isinstance(node, ast.ClassDef) and node.name in known:
            found.setdefault("self", set()).add(known[node.name])
    return found


def _owner(node: ast.AST, known: dict[str, str], homes: dict[str, str], owners: dict[str, set[str]]) -> set[str]:
    """The classes of which the object ``node`` may be: it is made there, or is a name known from elsewhere."""
    if isinstance(node, ast.Call):
        made = _dotted(node.func, known)
        return {homes.get(made, made)} if made else set()
    return owners.get(node.id, set()) if isinstance(node, ast.Name) else set()


def _statements(tree: ast.AST) -> Iterator[ast.AST]:
    """Simple statements, and what stands at the head of compound ones."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.Expr, ast.Assign, ast.AnnAssign, ast.Return, ast.Assert, ast.AugAssign, ast.Raise)):
            yield node
        elif isinstance(node, (ast.For, ast.If, ast.With, ast.While)):
            yield from [node.iter] if isinstance(node, ast.For) else [node.test] if hasattr(node, "test") else [
                item.context_expr for item in node.items]
        elif isinstance(node, ast.ClassDef):
            yield from [*node.decorator_list, *node.bases]
        elif isinstance(node, ast.FunctionDef):
            yield from [*node.decorator_list, *([node.returns] if node.returns else [])]
            arguments = (each for each in ast.walk(node.args) if isinstance(each, ast.arg))
            yield from (each.annotation for each in arguments if each.annotation)


def _dotted(node: ast.AST, known: dict[str, str]) -> str:
    """What a name, or a chain of attributes, stands for; empty where that is nothing of kdlab's."""
    rest = []
    while isinstance(node, ast.Attribute):
        rest.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name) or node.id not in known:
        return ""
    return ".".join([known[node.id], *reversed(rest)])


def _code(statement: ast.AST, node: ast.AST, lines: list[str]) -> str:
    """The whole statement where it is short, else the smallest call around the name that is."""
    around = [each for each in ast.walk(statement) if isinstance(each, ast.Call)
              and each.lineno <= node.lineno and each.end_lineno >= node.end_lineno and node in ast.walk(each)]
    for each in (statement, *around):
        code = _segment(each, lines)
        if len(code) <= LETTERS and code.count("\n") < LINES:
            return code
    return ""


def _segment(node: ast.AST, lines: list[str]) -> str:
    part = [line.encode() for line in lines[node.lineno - 1 : node.end_lineno]]
    part[-1] = part[-1][: node.end_col_offset]
    part[0] = b" " * node.col_offset + part[0][node.col_offset :]
    return textwrap.dedent("\n".join(line.decode() for line in part))
