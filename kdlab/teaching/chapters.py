"""Which cells of a chapter are its core path, and how much there is to read in it.

A section that is folded (:mod:`kdlab.notebooks.folding`) goes deeper: its cells are not of the core path. A companion
(``01b``) stands beside its chapter and is read by those who want more.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from kdlab.notebooks.folding import folds
from kdlab.notebooks.parameters import number_of

_DETAILS = re.compile(r"<details>.*?</details>", re.DOTALL)


def core(cells: Sequence) -> list:
    """Those of a notebook's ``cells`` (nbformat's) that a class goes through: all but folded headings and what is
    folded below them."""
    return [cell for heading, below in folds(cells) if heading is None for cell in below]


def words(cells: Sequence) -> int:
    """Words in the markdown of ``cells``: what holds a letter or a digit, without answers in ``<details>``."""
    texts = [_DETAILS.sub("", cell.source).replace("|", " ") for cell in cells if cell.cell_type == "markdown"]
    return sum(bool(re.search(r"\w", word)) for text in texts for word in text.split())


def is_companion(notebook: Path) -> bool:
    """Whether ``notebook`` stands beside a chapter, as ``01b`` does."""
    return not number_of(notebook).isdecimal()
