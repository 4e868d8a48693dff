"""Which cells of a chapter are its core path, and how much there is to read in it.

A section goes deeper where its heading stands in a markdown cell of its own that is folded (``FOLDED`` in the cell's
metadata, as JupyterLab writes it): that cell, and all cells down to the next heading of the same level or a higher one,
are not of the core path. A companion (``01b``) stands beside its chapter and is read by those who want more.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from kdlab.notebooks.parameters import number_of

#: What JupyterLab notes of a heading that is folded, with the cells below it.
FOLDED = "jp-MarkdownHeadingCollapsed"
_HEADING = re.compile(r"(?m)^(#{1,6}) ")
_FENCE = re.compile(r"(?ms)^```.*?^```")
_DETAILS = re.compile(r"<details>.*?</details>", re.DOTALL)


def folds(cells: Sequence) -> list[tuple[object, list]]:
    """A notebook's ``cells`` (nbformat's) in stretches, in order: a folded heading with the cells that fold below it,
    and ``None`` with cells that stand open."""
    found: list[tuple[object, list]] = [(None, [])]
    for cell in cells:
        level, heading = heading_level(cell), found[-1][0]
        if level and heading is not None and level <= heading_level(heading):
            found.append((None, []))
        if level and found[-1][0] is None and cell.metadata.get(FOLDED):
            found.append((cell, []))
        else:
            found[-1][1].append(cell)
    return [(heading, below) for heading, below in found if heading is not None or below]


def core(cells: Sequence) -> list:
    """Those of a notebook's ``cells`` (nbformat's) that a class goes through: all but folded headings and what is
    folded below them."""
    return [cell for heading, below in folds(cells) if heading is None for cell in below]


def heading_level(cell) -> int:
    """1 to 6 of the highest heading in a markdown cell, by which JupyterLab folds; 0 where there is none."""
    if cell.cell_type != "markdown":
        return 0
    return min((len(marks) for marks in _HEADING.findall(_FENCE.sub("", cell.source))), default=0)


def words(cells: Sequence) -> int:
    """Words in the markdown of ``cells``: what holds a letter or a digit, without answers in ``<details>``."""
    texts = [_DETAILS.sub("", cell.source).replace("|", " ") for cell in cells if cell.cell_type == "markdown"]
    return sum(bool(re.search(r"\w", word)) for text in texts for word in text.split())


def is_companion(notebook: Path) -> bool:
    """Whether ``notebook`` stands beside a chapter, as ``01b`` does."""
    return not number_of(notebook).isdecimal()
