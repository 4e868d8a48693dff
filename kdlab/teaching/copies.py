"""Copies of a chapter for a class: one without answers and outputs for students, and slides for the lecturer.

Cells are told apart by their tags: ``answer`` and ``lecturer`` go from a student's copy and from slides, ``parameters``
from slides. Folds in a text (``<details><summary>…``) whose summary begins with *Answer* go from both.
"""

import os
import re
from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell

from kdlab.notebooks.parameters import NotebookError, find_notebook, number_of
from kdlab.notebooks.report import without_near_links
from kdlab.system.files import write_atomically
from kdlab.system.ours import begins_with, may_write
from kdlab.system.sources import digest
from kdlab.teaching import offline
from kdlab.teaching.chapters import core
from kdlab.teaching.exercises import Exercise, of_notebook

#: Tags of cells that only a lecturer's notebook has.
ANSWERS = {"answer", "lecturer"}
_FOLD = re.compile(r"<details>\s*<summary>\s*Answer.*?</summary>.*?</details>\s*", re.DOTALL)
_REVEAL = Path(__file__).with_name("reveal")
#: By this the slides of kdlab are known.
_SLIDES = '<meta name="generator" content="kdlab slides">'
#: Words on one slide; what has more goes on on the next. A picture takes the room of so many, a table of so many more.
_WORDS, _PICTURE, _TABLE = 160, 110, 60
#: What a heading takes at most, under which there is always room for one thing.
_HEADING = 14


# --- a student's copy ----------------------------------------------------------------------------------------------


def student(name: str, out: Path | None = None) -> Path:
    """Write notebook ``name`` (3, 03, 03b or its whole name) without answers and outputs to ``out``, by default
    ``NN_name_student.ipynb`` in this folder, with a cell of ``kdlab.guess`` where a prediction is asked for, and at the
    end one of ``kdlab.check`` for each exercise that can be checked.

    Raises :class:`kdlab.notebooks.parameters.NotebookError`, and :class:`kdlab.system.ours.NotOurs` for a file that is
    there and is no such copy, or one in which somebody has worked since.
    """
    notebook = find_notebook(name)
    out = may_write(out or Path(f"{notebook.stem}_student.ipynb"), is_untouched, "untouched copy for students")
    page = _read(notebook)
    page.cells = [cell for cell in page.cells if not ANSWERS & set(cell.metadata.get("tags", []))]
    for cell in page.cells:
        if cell.cell_type == "markdown":
            cell.source = _from(out.parent, notebook.parent, _FOLD.sub("", cell.source).rstrip())
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    page.cells = [cell for cell in page.cells if cell.source.strip()]
    if asked := of_notebook(number_of(notebook)):
        for exercise in (one for one in asked if one.guess):
            _guessed_where_asked(page.cells, exercise)
        page.cells += [new_markdown_cell(_INTRODUCTION), *(cell for one in asked for cell in _asked(one))]
    for number, cell in enumerate(page.cells):  # new ones would be random, and a copy differ from the next
        cell.id = f"cell-{number}"
    page.metadata = {"kernelspec": page.metadata.kernelspec, "language_info": {"name": "python"}}
    page.metadata["kdlab"] = {"student": _of_cells(page)}
    write_atomically(out, lambda path: nbformat.write(page, path))
    return out


_INTRODUCTION = """## Your answers

`kdlab.check("03.2", answer)` says whether an answer is right; after a wrong one it gives a hint, and the next hint goes
further. `kdlab.guess` keeps what you expect and shows it again beside what you found. What you tried is kept in a file
of yours (`KDLAB_PROGRESS`, by default `runs/progress.json`) and is sent nowhere."""


def _asked(exercise: Exercise) -> list:
    choices = "".join(f"\n- **{letter}**: {text}" for letter, text in exercise.choices.items())
    text = f"**{exercise.name}.** {exercise.ask}" + (f"\n{choices}" if choices else "")
    what = "the name of your function" if exercise.kind == "code" else "your answer"
    line = f'kdlab.check("{exercise.name}", ...)  # {what} in place of the dots'
    return [new_markdown_cell(text), new_code_cell(f"import kdlab\n\n{line}")]


def _guessed_where_asked(cells: list, exercise: Exercise) -> None:
    """Put the cell of a guess behind the cell that first names it: at the end of the page the result would be known. It
    takes the place of a chapter's own cell that only reads the exercise out; where no cell names it, it is the last."""
    call = f'kdlab.guess("{exercise.name}"'
    mine = f"import kdlab\n\n{call}, ...)  # your number in place of the dots, before you go on"
    named = [place for place, cell in enumerate(cells) if call in cell.source]
    for place in named:
        if cells[place].cell_type == "code" and cells[place].source.strip() == f"{call})":
            cells[place].source = mine
            return
    cells.insert(named[0] + 1 if named else len(cells), new_code_cell(mine))


def _from(place: Path, home: Path, text: str) -> str:
    """``text`` of a page in ``home`` with its links to files near it as a page in ``place`` has them."""
    def moved(link: re.Match) -> str:
        target = home / link[1]
        return f"]({Path(os.path.relpath(target, place)).as_posix()}" if target.exists() else link[0]

    return re.sub(r"\]\(([^)#:\s]+)", moved, text)


def is_untouched(file: Path) -> bool:
    """Whether ``file`` is a copy that :func:`student` wrote, in which nobody has changed a cell since."""
    try:
        page = nbformat.read(file, as_version=4)
        return page.metadata.kdlab.student == _of_cells(page)
    except Exception:  # of a damaged file nbformat raises anything
        return False


def _of_cells(page) -> str:
    return digest({str(number): f"{cell.cell_type} {cell.source}" for number, cell in enumerate(page.cells)})


def _read(notebook: Path):
    try:
        return nbformat.read(notebook, as_version=4)
    except Exception as error:
        raise NotebookError(f"{notebook} cannot be read as a notebook ({type(error).__name__})") from error


# --- slides --------------------------------------------------------------------------------------------------------


def slides(name: str, out: Path | None = None, *, code: bool = False, deeper: bool = False) -> Path:
    """Write notebook ``name`` with its committed outputs as slides (reveal.js) to ``out``, by default
    ``NN_name_slides.html`` in this folder: one file that fetches nothing. Code is shown where ``code`` is true, and
    what is folded in the notebook where ``deeper`` is: the slides are its core path.

    Each section begins a column, and each sub-section, picture or page of text a slide below it. Raises
    :class:`kdlab.notebooks.parameters.NotebookError`, also for a notebook without outputs, and
    :class:`kdlab.system.ours.NotOurs` for a file that is there and holds no slides of kdlab's.
    """
    notebook = find_notebook(name)
    out = may_write(out or Path(f"{notebook.stem}_slides.html"), is_slides, "slides")
    page = _read(notebook)
    if not any(cell.get("outputs") for cell in page.cells):
        raise NotebookError(f"{notebook.name} has no outputs to show: execute it first, in JupyterLab or by `kdlab "
                            "refresh`")
    page.cells = page.cells if deeper else core(page.cells)
    shown = [[without_near_links(offline.cells(slide, code=code)) for slide in column]
             for column in columns_of(page, code)]
    columns = "\n".join("<section>{}</section>".format("".join(f"<section>{html}</section>" for html in column))
                        for column in shown)
    script = (_REVEAL / "reveal.js").read_text("utf-8").replace("</script", "<\\/script")
    styles = "\n".join([(_REVEAL / "reveal.css").read_text("utf-8"), offline.STYLE, offline.code_style(), _LOOK])
    html = (f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">{_SLIDES}<title>{notebook.stem}</title>'
            f'<style>{styles}</style></head>\n<body><div class="reveal"><div class="slides">\n{columns}\n</div></div>\n'
            f"<script>{script}</script>\n<script>Reveal.initialize({_SETTINGS});</script></body></html>\n")
    write_atomically(out, lambda path: path.write_text(html, "utf-8"))
    return out


# Linear: one key leads through all slides, those below a section's first among them.
_SETTINGS = "{hash: true, slideNumber: 'c/t', width: 1280, height: 800, margin: 0, transition: 'none', " \
            "center: false, navigationMode: 'linear'}"
_LOOK = """
.reveal { font-size: 26px; line-height: 1.4; } .reveal .slides { text-align: left; } .reveal h1 { font-size: 2em; }
.reveal h2 { font-size: 1.5em; } .reveal h3 { font-size: 1.2em; }
.reveal pre { font-size: .72em; white-space: pre-wrap; }
.reveal .slides section section { height: 100%; overflow-y: auto; padding: 1em 1.6em; box-sizing: border-box; }
.reveal :is(.output_png, .output_jpeg) img { min-width: 80%; max-height: 500px; object-fit: contain;
  object-position: left; }
.reveal .output_html table { font-size: .6em; } .reveal .output_markdown { font-size: .62em; }
"""


def is_slides(file: Path) -> bool:
    """Whether :func:`slides` wrote ``file``."""
    return begins_with(file, _SLIDES)


def columns_of(page, code: bool = False) -> list[list[list]]:
    """The cells of a notebook as columns of slides, each a list of cells; a text is cut at headings and where it is
    long."""
    columns: list[list[list]] = []
    for cell in page.cells:
        tags = set(cell.metadata.get("tags", []))
        if tags & (ANSWERS | {"parameters"}) or (cell.cell_type == "code" and not code and not cell.outputs):
            continue
        for piece in _pieces(cell) if cell.cell_type == "markdown" else _outputs(cell) if not code else [cell]:
            level, asked = _level(piece), bool(columns) and _predicts(columns[-1][-1][-1])
            held = sum(map(_weight, columns[-1][-1])) if columns else 0
            if not columns or level in (1, 2):
                columns.append([[piece]])
            elif level or asked or held > _HEADING and held + _weight(piece) > _WORDS:
                columns[-1].append([piece])
            else:
                columns[-1][-1].append(piece)
    return columns


def _predicts(cell) -> bool:
    """Whether a text asks for a prediction: what follows it may be the answer."""
    return cell.cell_type == "markdown" and cell.source.lstrip().startswith("**Predict")


def _pieces(cell) -> list:
    """A text without answers, cut before headings and paragraphs; a fence of code or a table stays whole."""
    parts = re.split(r"\n\s*\n", re.sub(r"(?m)^(#{1,6} .*)$", r"\n\1\n", _FOLD.sub("", cell.source)).strip())
    texts: list[str] = []
    for part in parts:
        if texts and texts[-1].count("```") % 2:
            texts[-1] += f"\n\n{part}"
        elif part.strip():
            texts.append(part)
    return [new_markdown_cell(text) for text in texts]


def _outputs(cell) -> list:
    """A cell for each output, but one for streams that follow each other."""
    pieces = []
    for output in cell.outputs:
        if pieces and output.output_type == "stream" == pieces[-1].outputs[-1].output_type:
            pieces[-1].outputs.append(output)
        else:
            pieces.append(new_code_cell(cell.source, outputs=[output]))
    return pieces


def _level(cell) -> int:
    """Of a heading, its level; else 0."""
    found = re.match(r"\s*(#{1,6}) ", cell.source) if cell.cell_type == "markdown" else None
    return len(found[1]) if found else 0


def _weight(cell) -> int:
    """How much room it takes, in words."""
    if cell.cell_type == "markdown":
        return len(cell.source.split())
    shown = [output.get("data", {"text/plain": output.get("text", "")}) for output in cell.outputs]
    return sum(_PICTURE if any(kind.startswith("image/") for kind in data) else
               len(str(data.get("text/plain", "")).split()) + _TABLE * ("text/html" in data) for data in shown)
