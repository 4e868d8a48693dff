"""The reference: every public class and function of kdlab with its signature and the first words of its docstring.

Read from the sources, without importing them. What a name is for stands in its docstring; this only lays them out.
"""

import ast
import html
import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import kdlab

PACKAGE = Path(kdlab.__file__).parent


@dataclass(frozen=True)
class Entry:
    """A public ``name`` (of a method with its class), how it is called, the first paragraph of what is said of it, and
    its example, where the docstring has one; the last two may be empty."""

    name: str
    call: str
    said: str
    example: str = ""


def rooms() -> dict[str, list[Path]]:
    """The files of each part of kdlab (``clips``, ``train``, …, and ``kdlab`` for files of its own) in order."""
    found: dict[str, list[Path]] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        inside = path.relative_to(PACKAGE).parts
        found.setdefault(inside[0] if len(inside) > 1 else "kdlab", []).append(path)
    return found


def entries(source: str) -> list[Entry]:
    """What a module defines for others, in the order in which it stands there."""
    return list(_entries(ast.parse(source).body, ""))


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
            yield Entry(owner + node.name, owner + call, said, _example(text))


def _example(text: str) -> str:
    """The first indented or prompted piece of code of a docstring."""
    found = re.search(r"(?m)(?:^(?:>>> | {4,}).*\n?)+", inspect.cleandoc(text).partition("\n\n")[2])
    return inspect.cleandoc(found[0]) if found else ""


def page(room: str) -> str:
    """The reference of one of :func:`rooms` as HTML; headings have the modules' names as ids."""
    parts = [f"<h1>{room if room == 'kdlab' else f'kdlab.{room}'}</h1>"]
    for path in rooms()[room]:
        source = path.read_text("utf-8")
        module = ".".join(["kdlab", *path.relative_to(PACKAGE).with_suffix("").parts]).removesuffix(".__init__")
        said, found = ast.get_docstring(ast.parse(source)) or "", entries(source)
        if not found and not said:
            continue
        parts.append(f'<h2 id="{module}">{module}</h2><p>{prose(said.partition(chr(10) * 2)[0])}</p><dl>')
        for entry in found:
            example = f"<pre>{html.escape(entry.example)}</pre>" if entry.example else ""
            parts.append(f'<dt id="{module}.{entry.name}"><code>{html.escape(entry.call)}</code></dt>'
                         f"<dd>{prose(entry.said)}{example}</dd>")
        parts.append("</dl>")
    return "\n".join(parts)


def prose(text: str) -> str:
    """A docstring's paragraph as HTML: ``code`` and :role:`names` are told apart, nothing is linked."""
    text = html.escape(text, quote=False)
    text = re.sub(r"``(.+?)``", r"<code>\1</code>", text, flags=re.DOTALL)
    text = re.sub(r":\w+:`(?:.*?&lt;)?~?([\w.]+)(?:&gt;)?`", r"<code>\1</code>", text)
    return re.sub(r"(?<![\w`*])\*(\S(?:[^*\n]*\S)?)\*(?![\w*])", r"<em>\1</em>", text)
