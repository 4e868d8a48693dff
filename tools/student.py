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


def blanked(source: str, chapter: str) -> tuple[str, list[str], str]:
    """The code of a cell to the last function that students write, without the bodies of these; their names; and the
    code after it, which calls them."""
    lines, found = source.splitlines(), {}
    end = len(lines)
    for node in parsed(source):
        for part in node.body if isinstance(node, ast.ClassDef) else [node]:
            if isinstance(part, ast.FunctionDef):
                name = part.name if part is node else f"{node.name}.{part.name}"
                if f"{chapter}.{name}" in functions():
                    found[name], end = part, node.end_lineno
    lines, rest = lines[:end], lines[end:]
    for name, function in reversed(found.items()):
        indent = " " * function.body[0].col_offset
        text = f'"""{functions()[f"{chapter}.{name}"]["ask"]}"""'
        lines[function.body[0].lineno - 1 : function.end_lineno] = [
            *textwrap.wrap(text, 100, initial_indent=indent, subsequent_indent=indent),
            f'{indent}raise NotImplementedError("write {name} here; the next cell marks it")',
        ]
    return "\n".join(lines), [*found], "\n".join(rest).strip()


def student_copy(notebook: nbformat.NotebookNode, chapter: str) -> list[str]:
    """Take outputs, answers and the bodies of functions out of a ``notebook``; return the names of these. A cell that marks
    them follows each cell that had some, before the code that calls them."""
    gone, cells = [], []
    for cell in notebook.cells:
        cells.append(cell)
        if cell.cell_type == "markdown":
            cell.source = re.sub(r"<details>.*?</details>\n*", "", cell.source, flags=re.DOTALL)
            continue
        cell.outputs, cell.execution_count = [], None
        cell.source, names, rest = blanked(cell.source, chapter)
        gone += names
        marks = [f'kdlab.check("{chapter}.{name}", {name})' for name in names]
        cells += [nbformat.v4.new_code_cell(code) for code in ("\n".join(marks), rest) if code]
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
