"""One training of DL-KDD, from its recipe to the predictions of its run, can be read: lines and files are bounded."""

import ast
import sys
from dataclasses import replace
from pathlib import Path

import torch

import kdlab
from kdlab.night import Night
from kdlab.papers.dual_light.recipes import dual_light
from kdlab.train.obtain import obtain
from kdlab.train.sizes import SMOKE

PACKAGE = Path(kdlab.__file__).parent
#: The most lines of the functions that are called, without docstrings and blank lines, and the most files of theirs.
MOST_LINES, MOST_FILES = 2500, 28


def called(work):
    """File of kdlab → the first lines of its functions that ``work()`` calls. Imports do not count."""
    codes = set()

    def note(frame, *_):  # of calls alone, since it gives no trace of lines
        codes.add(frame.f_code)

    sys.settrace(note)
    try:
        work()
    finally:
        sys.settrace(None)
    starts: dict[Path, set[int]] = {}
    for code in codes:
        file = Path(code.co_filename)
        if file.is_relative_to(PACKAGE) and code.co_name != "<module>":
            starts.setdefault(file, set()).add(code.co_firstlineno)
    return starts


def lines(file, starts):
    """Lines of code of the functions of ``file`` that begin at ``starts``."""
    text, count = file.read_text("utf-8").splitlines(), 0
    for node in ast.walk(ast.parse("\n".join(text))):
        if isinstance(node, ast.FunctionDef):
            first = min(line.lineno for line in (node, *node.decorator_list))
            if first in starts:
                body = text[first - 1 : node.end_lineno]
                docstring = len((ast.get_docstring(node, clean=False) or "").splitlines())
                count += sum(bool(line.strip()) for line in body) - docstring
    return count


def test_a_training_is_read_in_few_lines_and_files(own_places):
    """A student and its teacher are trained and nothing is cached but the clips: they are rehearsed, and decoded."""
    student = dual_light(replace(SMOKE, night=Night(("Jump", "Sit"), (1, 1, 1), 0.25)), 0)["dlkdd"]
    student.data.catalogue()
    torch.optim.SGD([torch.zeros(1)])  # with the first one torch imports its compiler
    starts = called(lambda: obtain(student, say=str).predictions().accuracy)
    read = {file.relative_to(PACKAGE).as_posix(): lines(file, its) for file, its in starts.items()}
    table = "\n".join(
        f"{count:5} {name}" for name, count in sorted(read.items(), key=lambda row: -row[1])
    )
    assert sum(read.values()) <= MOST_LINES and len(read) <= MOST_FILES, table
