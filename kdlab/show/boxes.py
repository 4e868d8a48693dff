"""Boxes and arrows, the vocabulary of :mod:`kdlab.show.diagrams`: lengths are inches, and y grows downwards.

Four kinds of box, told apart in grey, too: what goes in (blue), a network that is trained (orange, a thick line), one
that is frozen (grey, a broken line), a loss or an answer (green, round). A plain arrow carries what it names; a broken
one carries a target, through which no gradient goes back.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import matplotlib.pyplot as plt
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from kdlab.show.plots import PALETTE

#: Kind of box → its word in the legend, its colour, the width and the style of its line, how round it is (inches).
KINDS = {
    "view": ("what goes in", PALETTE[0], 1.2, "-", 0.03),
    "trained": ("trained", PALETTE[1], 2.6, "-", 0.03),
    "frozen": ("frozen", "#5f5f5f", 1.4, (0, (4, 2)), 0.03),
    "loss": ("loss or answer", PALETTE[2], 1.2, "-", 0.2),
}
_PLAIN, _TARGET = "goes on", "target: no gradient"
_NAME, _SMALL = 10.5, 9.0  # points
_LEGEND, _TITLE = 0.42, 0.36  # inches below and above the boxes
_FROM_MIDDLE = {"left": (-1, 0), "right": (1, 0), "top": (0, -1), "bottom": (0, 1)}


@dataclass(frozen=True)
class Box:
    """``name`` in bold at (``x``, ``y``), with what it ``says`` below; ``of`` is the dotted name in kdlab of what it
    stands for. Where two have one name, ``shown`` is what stands in the picture."""

    name: str
    kind: str
    x: float
    y: float
    says: str = ""
    of: str = ""
    width: float = 1.75
    height: float = 0.66
    shown: str = ""

    def port(self, side: str, shift: float = 0.0) -> tuple[float, float]:
        """The middle of a side, ``shift`` to the right or downwards of it."""
        right, down = _FROM_MIDDLE[side]
        along = (0, shift) if right else (shift, 0)
        return self.x + right * self.width / 2 + along[0], self.y + down * self.height / 2 + along[1]


@dataclass(frozen=True)
class Arrow:
    """From the box ``start`` to the box ``end``, with what it ``passes`` beside it; ``target`` draws it broken.

    ``out`` and ``into`` are sides, ``left right top bottom``; where they are not given, the sides that face each other.
    ``shift`` moves the ends along those sides, and ``turn`` (0 to 1) is where on its way it bends. The words stand
    above or right of its longest stretch, or ``under`` and left of it.
    """

    start: str
    end: str
    passes: str = ""
    target: bool = False
    out: str = ""
    into: str = ""
    shift: tuple[float, float] = (0.0, 0.0)
    turn: float = 0.5
    under: bool = False


def draw(title: str, boxes: Sequence[Box], arrows: Iterable[Arrow], alt: str,
         headings: Iterable[tuple[float, float, str]] = ()) -> Figure:
    """The diagram, with a legend of what occurs in it. ``headings`` are (x, y, text), from x to the right; ``alt`` says
    in words what is seen. Raises ``ValueError`` for two boxes of one name, and an arrow from or to a box that is none.
    """
    by_name, arrows = {box.name: box for box in boxes}, list(arrows)
    if len(by_name) < len(boxes):
        raise ValueError(f"boxes {[box.name for box in boxes]}: give each its own name")
    if lost := {end for arrow in arrows for end in (arrow.start, arrow.end)} - by_name.keys():
        raise ValueError(f"arrows lead to {sorted(lost)}, but the boxes are {list(by_name)}")
    width = max(box.x + box.width / 2 for box in boxes) + 0.15
    height = max(box.y + box.height / 2 for box in boxes) + 0.12
    fig = plt.figure(figsize=(width, height + _TITLE + _LEGEND), layout="none")
    ax = fig.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(height + _LEGEND, -_TITLE), label=title)
    ax.set_axis_off()
    ax.text(0.15, -_TITLE / 2, title, fontsize=_NAME + 1.5, fontweight="bold", va="center")
    for x, y, text in headings:
        ax.text(x, y, text, fontsize=_NAME, fontweight="bold", color=PALETTE[0], va="center")
    for box in boxes:
        _box(ax, box)
    for arrow in arrows:
        _arrow(ax, arrow, by_name)
    _legend(ax, {box.kind for box in boxes}, {arrow.target for arrow in arrows}, height + _LEGEND / 2)
    fig.set_label(alt)
    return fig


def _box(ax: plt.Axes, box: Box) -> None:
    _, colour, line, style, rounding = KINDS[box.kind]
    corner = box.x - box.width / 2, box.y - box.height / 2
    face = [0.85 + 0.15 * part for part in to_rgb(colour)]
    shape = FancyBboxPatch(corner, box.width, box.height, f"round,pad=0,rounding_size={min(rounding, box.height / 2)}",
                           facecolor=face, edgecolor=colour, linewidth=line, linestyle=style, gid=box.name)
    ax.add_patch(shape)
    up = 0.078 * (1 + box.says.count("\n")) if box.says else 0
    ax.text(box.x, box.y - up, box.shown or box.name, fontsize=_NAME, fontweight="bold", ha="center", va="center")
    if box.says:
        ax.text(box.x, box.y + 0.095, box.says, fontsize=_SMALL, ha="center", va="center", linespacing=1.05)


def corners(arrow: Arrow, boxes: dict[str, Box]) -> list[tuple[float, float]]:
    """Where it starts, bends and ends: stretches along x or y only."""
    start, end = boxes[arrow.start], boxes[arrow.end]
    aside = abs(end.x - start.x) >= (start.width + end.width) / 2
    facing = ("right", "left") if end.x > start.x else ("left", "right")
    out, into = facing if aside else (("bottom", "top") if end.y > start.y else ("top", "bottom"))
    out, into = arrow.out or out, arrow.into or into
    (x, y), (to_x, to_y) = start.port(out, arrow.shift[0]), end.port(into, arrow.shift[1])
    level, level_in = out in ("left", "right"), into in ("left", "right")
    if level == level_in and arrow.shift == (0, 0):  # straight, where one box is as wide or as high as that
        wide = [abs(start.x - end.x) < box.width / 2 for box in (end, start)]
        high = [abs(start.y - end.y) < box.height / 2 for box in (end, start)]
        if not level:
            x, to_x = (x, x) if wide[0] else (to_x, to_x) if wide[1] else (x, to_x)
        else:
            y, to_y = (y, y) if high[0] else (to_y, to_y) if high[1] else (y, to_y)
    if level != level_in:
        between = [(to_x, y)] if level else [(x, to_y)]
    elif level:
        middle = x + arrow.turn * (to_x - x)
        between = [(middle, y), (middle, to_y)] if y != to_y else []
    else:
        middle = y + arrow.turn * (to_y - y)
        between = [(x, middle), (to_x, middle)] if x != to_x else []
    return [(x, y), *between, (to_x, to_y)]


def _arrow(ax: plt.Axes, arrow: Arrow, boxes: dict[str, Box]) -> None:
    points = corners(arrow, boxes)
    _line(ax, points, arrow.target)
    if not arrow.passes:
        return
    stretches = list(zip(points, points[1:], strict=False))
    (x, y), (to_x, to_y) = max(stretches, key=lambda ends: abs(ends[0][0] - ends[1][0]) + abs(ends[0][1] - ends[1][1]))
    middle, side = ((x + to_x) / 2, (y + to_y) / 2), 1 if arrow.under else -1
    if y == to_y:
        where = dict(x=middle[0], y=middle[1] + 0.05 * side, ha="center", va="top" if arrow.under else "bottom")
    else:
        where = dict(x=middle[0] - 0.06 * side, y=middle[1], ha="right" if arrow.under else "left", va="center")
    ax.text(s=arrow.passes, fontsize=_SMALL, style="italic", linespacing=1.05, **where)


def _line(ax: plt.Axes, points: Sequence[tuple[float, float]], target: bool) -> None:
    style = (0, (4, 2)) if target else "-"
    how = dict(color=PALETTE[3] if target else "black", linewidth=1.6 if target else 1.2)
    xs, ys = zip(*points[:-1], strict=True)
    ax.plot(xs, ys, linestyle=style, **how)
    ax.add_patch(FancyArrowPatch(points[-2], points[-1], arrowstyle="-|>", mutation_scale=11, shrinkA=0, shrinkB=0,
                                 linestyle=style, **how))


def _legend(ax: plt.Axes, kinds: set[str], targets: set[bool], y: float) -> None:
    x = 0.15
    for kind in (kind for kind in KINDS if kind in kinds):
        word, colour, line, style, _ = KINDS[kind]
        ax.add_patch(FancyBboxPatch((x, y - 0.08), 0.3, 0.16, "round,pad=0,rounding_size=0.02", linestyle=style,
                                    facecolor=[0.85 + 0.15 * part for part in to_rgb(colour)], edgecolor=colour,
                                    linewidth=line))
        x = _word(ax, x + 0.37, y, word)
    for target in sorted(targets):
        _line(ax, [(x, y), (x + 0.42, y)], target)
        x = _word(ax, x + 0.48, y, _TARGET if target else _PLAIN)


def _word(ax: plt.Axes, x: float, y: float, word: str) -> float:
    """Write it; return where the next may begin."""
    ax.text(x, y, word, fontsize=_SMALL, va="center")
    return x + 0.075 * len(word) + 0.28
