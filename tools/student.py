"""Copies of the chapters in which students write the methods themselves.

    python tools/student.py     # student/: bodies, answers and outputs are gone; solutions/: the chapters

A body that is gone leaves what the function takes and gives. The next cell marks it with made-up cases; those that compare
it with kdlab's stay.
"""

import ast
import re
import shutil
import textwrap
from pathlib import Path

import nbformat

from kdlab.show.writing import functions, parsed

ROOT = Path(__file__).resolve().parents[1]


def blanked(source: str, chapter: str) -> tuple[str, list[str]]:
    """The code of a cell in which the bodies of functions that students write are gone, and the names of these."""
    lines, gone, defined = source.splitlines(), [], []
    for node in parsed(source):
        prefix, inside = "", [node]
        if isinstance(node, ast.ClassDef):
            prefix, inside = f"{node.name}.", node.body
        defined += [(prefix + f.name, f) for f in inside if isinstance(f, ast.FunctionDef)]
    for name, function in reversed(defined):
        if exercise := functions().get(f"{chapter}.{name}"):
            indent = " " * function.body[0].col_offset
            text = f'"""{exercise["ask"]}"""'
            lines[function.body[0].lineno - 1 : function.end_lineno] = [
                *textwrap.wrap(text, 100, initial_indent=indent, subsequent_indent=indent),
                f'{indent}raise NotImplementedError("write {name} here; the next cell marks it")',
            ]
            gone.insert(0, name)
    return "\n".join(lines), gone


def student_copy(notebook: nbformat.NotebookNode, chapter: str) -> list[str]:
    """Take outputs, answers and the bodies of functions out of a ``notebook``; return the names of these. A cell that marks
    them follows each cell that had some."""
    gone, cells = [], []
    for cell in notebook.cells:
        cells.append(cell)
        if cell.cell_type == "markdown":
            cell.source = re.sub(r"<details>.*?</details>\n*", "", cell.source, flags=re.DOTALL)
            continue
        cell.outputs, cell.execution_count = [], None
        cell.source, names = blanked(cell.source, chapter)
        gone += names
        marks = [f'kdlab.check("{chapter}.{name}", {name})' for name in names]
        cells += [nbformat.v4.new_code_cell("\n".join(marks))] if marks else []
    notebook.cells = cells
    return gone


def main() -> None:
    for folder in ("student", "solutions"):
        if (ROOT / folder).exists():
            raise SystemExit(f"{folder}/ is there, perhaps with somebody's work: move it away")
    for folder, left_out in (("student", "*.ipynb"), ("solutions", "")):
        shutil.copytree(
            ROOT / "notebooks", ROOT / folder, ignore=shutil.ignore_patterns(".*", left_out)
        )
    for path in sorted((ROOT / "notebooks").glob("[!.]*.ipynb")):
        notebook = nbformat.read(path, nbformat.NO_CONVERT)
        gone = student_copy(notebook, path.name[:2])
        print(f"{path.stem}: {', '.join(gone) or 'nothing to write'}")
        nbformat.write(notebook, ROOT / "student" / path.name)


if __name__ == "__main__":
    main()
