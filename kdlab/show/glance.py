"""All claims at a glance: of each only the reading that counts most, in two columns that fit a screen.

It is the scoreboard (:mod:`kdlab.show.scoreboard`) without the sets on which a claim was read again.
"""

from collections.abc import Iterable
from textwrap import fill

from matplotlib.figure import Figure

from kdlab.measure.paired import ENOUGH_SEEDS
from kdlab.show.plots import PAGE
from kdlab.show.scoreboard import OTHERS, PAPERS, Board, counts
from kdlab.show.scoreboard_cells import Cell, draw, sheet
from kdlab.study import Claim

_LEGEND = "Each cell: verdict, effect with half of its 95 % interval, n seeds, and the gap, teacher − raw start, in " \
          f"points. Pale: fewer than {ENOUGH_SEEDS} seeds. Framed: registered runs; all others are second readings, " \
          "which decide nothing. Dashed: not read yet. Explained: supported, but a control is not seen to give less. " \
          "P1, P2: how many measures are against."
# Inches: of a cell's width, of a line, above and below the lines of a row, of a paper's heading, between the columns.
_CELL, _LINE, _ROOM, _HEADING, _BETWEEN = 2.1, 0.15, 0.11, 0.3, 0.14
_LETTERS = 33  # of a claim that fit beside its cell


def picture(found: Board, title: str = "") -> Figure:
    """``found`` as a figure, as wide as a notebook's page, a row for each claim."""
    says = {claim.claim: fill(f"{claim.claim}  {claim.says}", _LETTERS) for claim in found.claims}
    highs = {name: _ROOM + _LINE * max(2, text.count("\n") + 1) for name, text in says.items()}
    halves = _halves(found.claims, highs)
    foot = fill(_LEGEND, 140)
    head, below = 0.4, 0.2 + _LINE * (foot.count("\n") + 1)
    height = head + max(_high(half, highs) for half in halves) + below
    fig, ax = sheet(height, f"{title}: {counts(found)}")
    ax.text(0.05, 0.2, title, va="center", fontsize="large", fontweight="bold")
    ax.text(0.05, height - below / 2, foot, va="center", fontsize="small")
    wide = (PAGE - _BETWEEN) / 2
    for left, half in zip((0, wide + _BETWEEN), halves, strict=False):
        top, paper = head, None
        for claim in half:
            if _paper(claim) != paper:
                paper = _paper(claim)
                ax.text(left + 0.05, top + 0.17, paper, va="center", fontsize="small", fontweight="bold")
                top += _HEADING
            name, high = claim.claim, highs[claim.claim]
            cell = found.best_cell(name)
            ax.text(left + 0.05, top + high / 2, says[name], va="center", fontsize="small", linespacing=1.05)
            draw(ax, cell, _words(cell), (left + wide - _CELL, top, _CELL, high), framed=cell.said.registered)
            top += high
    return fig


def _paper(claim: Claim) -> str:
    return PAPERS.get(claim.claim[0], OTHERS)


def _high(claims: Iterable[Claim], highs: dict[str, float]) -> float:
    """Inches of a column of ``claims``, with the headings of their papers."""
    claims = list(claims)
    return sum(highs[claim.claim] for claim in claims) + _HEADING * len({_paper(claim) for claim in claims})


def _halves(claims: list[Claim], highs: dict[str, float]) -> tuple[list[Claim], list[Claim]]:
    """The claims in two columns about as high as each other, between two papers."""
    cuts = [k for k in range(1, len(claims) + 1) if k == len(claims) or _paper(claims[k]) != _paper(claims[k - 1])]
    cut = min(cuts, key=lambda k: max(_high(claims[:k], highs), _high(claims[k:], highs)))
    return claims[:cut], claims[cut:]


def _words(cell: Cell) -> str:
    """The verdict and the effect in one line, in the next seeds, gap, and the effect's unit where it is not points."""
    counted = [line for line in cell.lines if line.startswith(("n = ", "gap "))]
    said = ": ".join(line for line in cell.lines if line not in counted)
    unit = cell.said.unit if cell.said.reading and cell.said.reading.effects else "points"
    return "\n".join(filter(None, (said, ", ".join(counted + [unit] * (unit != "points")))))
