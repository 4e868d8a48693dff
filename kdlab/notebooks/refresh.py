"""Committed outputs: notebooks executed at `demo` and put back, small enough to commit, marked with their sources."""

import ast
import base64
import hashlib
import io
from pathlib import Path

from kdlab import paths
from kdlab.files import write_atomically
from kdlab.notebooks.parameters import PACKAGE, all_notebooks, checked_parameters
from kdlab.notebooks.run import run_notebook
from kdlab.sources import syntax

__all__ = ["evidence_sources", "refresh", "stale_notebooks"]


def evidence_sources(notebook: Path) -> str:
    """SHA-256 over the modules of kdlab that ``notebook`` imports, and what these import in turn, docstrings and
    comments stripped: what starts, judges and describes runs is not among them."""
    import nbformat

    code = [cell.source for cell in nbformat.read(notebook, as_version=4).cells if cell.cell_type == "code"]
    todo, seen = set().union(*(_imported(ast.parse(source)) for source in code)), {}
    while todo:
        name = todo.pop()
        seen[name] = syntax(_file(name))
        todo |= _imported(ast.parse(_file(name).read_text(encoding="utf-8"))) - seen.keys()
    return hashlib.sha256("\n".join(f"{name} {seen[name]}" for name in sorted(seen)).encode()).hexdigest()


def _imported(tree: ast.AST) -> set[str]:
    """The modules of kdlab that are imported anywhere in ``tree``, and the packages that they lie in."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    parts = [name.split(".") for name in names if name.split(".")[0] == "kdlab"]
    return {name for part in parts for n in range(len(part)) if _file(name := ".".join(part[: n + 1]))}


def _file(module: str) -> Path | None:
    place = PACKAGE.joinpath(*module.split(".")[1:])
    return next((file for file in (place.with_suffix(".py"), place / "__init__.py") if file.is_file()), None)


def refresh(profile: str = "demo") -> None:
    """Execute every notebook and replace its committed outputs; raises ``ValueError`` at the first that fails, and
    where notebooks would show other evidence than the committed."""
    if not paths.figures_are_committed():
        raise ValueError("committed outputs show the committed evidence: unset KDLAB_FIGURES")
    for notebook in all_notebooks():
        checked_parameters(notebook, {"profile": profile})
    for notebook in all_notebooks():
        executed = run_notebook(notebook, {"profile": profile})
        if executed.failure:
            raise ValueError(f"{notebook.name}: {executed.failure}; its outputs are left as they were")
        _put_back(notebook, executed.output, profile)


def stale_notebooks() -> dict[str, str]:
    """Committed notebooks whose outputs were made by other sources than today's, with the reason."""
    import nbformat

    stale = {}
    for notebook in all_notebooks():
        mark = nbformat.read(notebook, as_version=4).metadata.get("kdlab", {})
        if mark.get("sources") != evidence_sources(notebook):
            stale[notebook.name] = "its outputs were made by other sources" if mark else "its outputs carry no mark"
    return stale


def _put_back(notebook: Path, executed: Path, profile: str) -> None:
    import nbformat

    ours, theirs = (nbformat.read(path, as_version=4) for path in (notebook, executed))
    cells = [c for c in theirs.cells if "injected-parameters" not in c.metadata.get("tags", [])]
    for count, (mine, run) in enumerate(zip(ours.cells, cells, strict=True), 1):
        if mine.cell_type == "code":
            mine.execution_count, mine.outputs = count, [_small(output) for output in run.outputs]
            for output in mine.outputs:
                if "execution_count" in output:
                    output.execution_count = count
    ours.metadata["kdlab"] = {"profile": profile, "sources": evidence_sources(notebook)}
    write_atomically(notebook, lambda path: nbformat.write(ours, path))


def _small(output):
    """A picture in 128 colours, which is a third of its bytes and looks the same."""
    from PIL import Image

    picture = output.get("data", {}).get("image/png")
    if picture:
        image = Image.open(io.BytesIO(base64.b64decode(picture))).convert("RGB").quantize(128)
        image.save(smaller := io.BytesIO(), "PNG", optimize=True)
        output["data"]["image/png"] = base64.b64encode(smaller.getvalue()).decode()
    return output
