"""What is folded in a notebook: a heading in a cell of its own, with all cells below it.

A section is folded where the markdown cell of its heading says so (``FOLDED`` in the cell's metadata, as JupyterLab
writes it): with it fold all cells down to the next heading of the same level or a higher one.
"""

import re
from collections.abc import Sequence

#: What JupyterLab notes of a heading that is folded, with the cells below it.
FOLDED = "jp-MarkdownHeadingCollapsed"
#: Of a page with folds: by itself a browser opens what is folded around a link's target in newer versions only, and
#: never for the heading.
UNFOLD = """<script>
function unfold() {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  for (let fold = target?.closest("details"); fold; fold = fold.parentElement.closest("details")) fold.open = true;
  target?.scrollIntoView();
}
addEventListener("DOMContentLoaded", unfold);
addEventListener("hashchange", unfold);
</script>"""
_HEADING = re.compile(r"(?m)^(#{1,6}) ")
_FENCE = re.compile(r"(?ms)^```.*?^```")


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


def heading_level(cell) -> int:
    """1 to 6 of the highest heading in a markdown cell, by which JupyterLab folds; 0 where there is none."""
    if cell.cell_type != "markdown":
        return 0
    return min((len(marks) for marks in _HEADING.findall(_FENCE.sub("", cell.source))), default=0)
