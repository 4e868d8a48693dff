"""Which cells of a chapter are its core path, and how much there is to read in it.

A section that is folded (:mod:`kdlab.notebooks.folding`) goes deeper: its cells are not of the core path. A companion
(``01b``) stands beside its chapter and is read by those who want more.
"""

import re
from collections.abc import Sequence
from pathlib import Path

import nbformat
import pandas as pd

from kdlab.notebooks.folding import folds
from kdlab.notebooks.parameters import all_notebooks, number_of
from kdlab.teaching.exercises import KINDS, of_notebook

_DETAILS = re.compile(r"<details>.*?</details>", re.DOTALL)


def core(cells: Sequence) -> list:
    """Those of a notebook's ``cells`` (nbformat's) that a class goes through: all but folded headings and what is
    folded below them."""
    return [cell for heading, below in folds(cells) if heading is None for cell in below]


def words(cells: Sequence) -> int:
    """Words in the markdown of ``cells``: what holds a letter or a digit, without answers in ``<details>``."""
    texts = [_DETAILS.sub("", cell.source).replace("|", " ") for cell in cells if cell.cell_type == "markdown"]
    return sum(bool(re.search(r"\w", word)) for text in texts for word in text.split())


def overview() -> pd.DataFrame:
    """A line for each notebook: cells and words of its core path and of all, pictures in its committed outputs,
    exercises of each kind and those that ask for a prediction; and a last one for all chapters without companions."""
    rows = []
    for path in all_notebooks():
        cells = nbformat.read(path, as_version=nbformat.NO_CONVERT).cells
        outputs = [output for cell in cells for output in cell.get("outputs", ())]
        pictures = sum(any(kind.startswith("image/") for kind in output.get("data", ())) for output in outputs)
        asked = of_notebook(number_of(path))
        inside = core(cells)
        kinds = [sum(its.kind == kind for its in asked) for kind in KINDS]
        rows.append([number_of(path), is_companion(path), len(inside), len(cells), words(inside), words(cells),
                     pictures, *kinds, sum(its.guess for its in asked)])
    names = ["notebook", "companion", "core cells", "cells", "core words", "words", "pictures", *KINDS, "guesses"]
    found = pd.DataFrame(rows, columns=names)
    whole = found[~found.companion].drop(columns=["notebook", "companion"]).sum()
    return pd.concat([found, pd.DataFrame([{"notebook": "chapters", "companion": False, **whole}])], ignore_index=True)


def is_companion(notebook: Path) -> bool:
    """Whether ``notebook`` stands beside a chapter, as ``01b`` does."""
    return not number_of(notebook).isdecimal()
