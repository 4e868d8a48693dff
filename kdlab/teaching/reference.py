"""The reference: every public class and function of kdlab with its signature, the first words of its docstring, and an
example: that of the docstring, else a use in a notebook, a test or kdlab itself (:mod:`kdlab.teaching.uses`).

Read from the sources, without importing them. What a name is for stands in its docstring; this only lays them out.
"""

import ast
import html
import inspect
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from kdlab.teaching.uses import PACKAGE, Use, uses


@dataclass(frozen=True)
class Entry:
    """A public ``name`` (of a method with its class), how it is called, the first paragraph of what is said of it, and
    its example, where the docstring has one; ``plain``: how it is called where that needs no argument, or on the
    command line. The last three may be empty."""

    name: str
    call: str
    said: str
    example: str = ""
    plain: str = ""


def rooms() -> dict[str, list[Path]]:
    """The files of each part of kdlab (``clips``, ``train``, …, and ``kdlab`` for files of its own) in order."""
    found: dict[str, list[Path]] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        inside = path.relative_to(PACKAGE).parts
        found.setdefault(inside[0] if len(inside) > 1 else "kdlab", []).append(path)
    return found


def entries(source: str) -> list[Entry]:
    """What a module defines for others, in the order in which it stands there."""
    return list(_read(source)[1])


@cache
def _read(source: str) -> tuple[str, tuple[Entry, ...]]:
    """A module's docstring, and what it defines for others."""
    tree = ast.parse(source)
    return ast.get_docstring(tree) or "", tuple(_entries(tree.body, ""))


def _entries(body: list[ast.stmt], owner: str) -> Iterator[Entry]:
    for node in body:
        if not isinstance(node, (ast.FunctionDef, ast.ClassDef)) or node.name.startswith("_"):
            continue
        text = ast.get_docstring(node) or ""
        said = text.partition("\n\n")[0]
        if isinstance(node, ast.ClassDef):
            fields = [s.target.id for s in node.body if isinstance(s, ast.AnnAssign) and isinstance(s.target, ast.Name)]
            bases = [ast.unparse(base) for base in node.bases]
            call = f"class {node.name}({', '.join(fields or bases)})" if fields or bases else f"class {node.name}"
            yield Entry(owner + node.name, call, said, _example(text))
            yield from _entries(node.body, f"{owner}{node.name}.")
        else:
            drawn = [ast.unparse(decorator) for decorator in node.decorator_list]
            returns = f" → {ast.unparse(node.returns)}" if node.returns else ""
            call = node.name + ("" if "property" in drawn else f"({ast.unparse(node.args)})") + returns
            yield Entry(owner + node.name, owner + call, said, _example(text), _plain(node))


def _plain(node: ast.FunctionDef) -> str:
    """A command's call for its help; a function's that needs no argument."""
    for drawn in (d for d in node.decorator_list if isinstance(d, ast.Call) and isinstance(d.func, ast.Attribute)):
        if drawn.func.attr in ("command", "group"):
            group = drawn.func.value.id if drawn.func.value.id not in ("cli", "click") else ""
            name = drawn.args[0].value if drawn.args else node.name
            return " ".join(filter(None, ["kdlab", group, name, "--help"]))
    needed = [*node.args.posonlyargs, *node.args.args][: len(node.args.args) - len(node.args.defaults)]
    needed += [a for a, d in zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True) if d is None]
    return "" if needed else f"{node.name}()"


def _example(text: str) -> str:
    """The first indented or prompted piece of code of a docstring."""
    found = re.search(r"(?m)(?:^(?:>>> | {4,}).*\n?)+", inspect.cleandoc(text).partition("\n\n")[2])
    return inspect.cleandoc(found[0]) if found else ""


def example(module: str, entry: Entry, known: Mapping[str, Use]) -> tuple[str, str]:
    """Code for a public name of ``module``, and where it is from (empty: from here); both empty where there is none.
    For a method of which no use is known one of the same name on another class stands in, as all that are called alike
    mean alike; for ``forward``, and where there is none either, a use of its class."""
    if entry.example:
        return entry.example, ""
    if use := known.get(f"{module}.{entry.name}"):
        return use.code, use.place
    if entry.plain.startswith("kdlab "):
        return entry.plain, ""
    owner, _, name = entry.name.rpartition(".")
    if owner:
        use = (name != "forward" and _alike(known, name)) or known.get(f"{module}.{owner}")
        return (use.code, use.place) if use else ("", "")
    return (f"from {module} import {entry.name}\n{entry.plain}", "") if entry.plain else ("", "")


def _alike(known: Mapping[str, Use], method: str) -> Use | None:
    """The shortest use of a method of that name on any class."""
    found = [use for name, use in known.items() if name.endswith(f".{method}") and name.split(".")[-2][0].isupper()]
    return min(found, key=lambda use: (len(use.code), use.place), default=None)


def module_of(path: Path) -> str:
    """The dotted name of a file of kdlab's."""
    return ".".join(["kdlab", *path.relative_to(PACKAGE).with_suffix("").parts]).removesuffix(".__init__")


def page(room: str, known: Mapping[str, Use] | None = None) -> str:
    """The reference of one of :func:`rooms` as HTML, with examples ``known`` (default: all uses); headings have the
    modules' names as ids."""
    known = uses() if known is None else known
    parts = [f"<h1>{room if room == 'kdlab' else f'kdlab.{room}'}</h1>"]
    for path in rooms()[room]:
        module = module_of(path)
        said, found = _read(path.read_text("utf-8"))
        if not found and not said:
            continue
        parts.append(f'<h2 id="{module}">{module}</h2><p>{prose(said.partition(chr(10) * 2)[0])}</p><dl>')
        for entry in found:
            code, place = example(module, entry, known)
            shown = f"<pre>{html.escape(code)}</pre>" if code else ""
            shown += f"<small>as in {html.escape(place)}</small>" if place else ""
            parts.append(f'<dt id="{module}.{entry.name}"><code>{html.escape(entry.call)}</code></dt>'
                         f"<dd>{prose(entry.said)}{shown}</dd>")
        parts.append("</dl>")
    return "\n".join(parts)


def prose(text: str) -> str:
    """A docstring's paragraph as HTML: ``code`` and :role:`names` are told apart, nothing is linked."""
    text = html.escape(text, quote=False)
    text = re.sub(r"``(.+?)``", r"<code>\1</code>", text, flags=re.DOTALL)
    text = re.sub(r":\w+:`(?:.*?&lt;)?~?([\w.]+)(?:&gt;)?`", r"<code>\1</code>", text)
    return re.sub(r"(?<![\w`*])\*(\S(?:[^*\n]*\S)?)\*(?![\w*])", r"<em>\1</em>", text)
