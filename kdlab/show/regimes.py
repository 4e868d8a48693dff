"""Regimes × claims: what DL-KDD's claims come to in tiny networks from nothing, and in networks of bright video that
meet the dark with many, few or no labels.

A row is a regime, a column a question. It is a claim of DL-KDD's where there are labels, and where there are none the
one about bright networks that asks the same. All is computed from the committed evidence.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from textwrap import fill

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from kdlab import studies
from kdlab.measure.paired import ENOUGH_SEEDS
from kdlab.papers.dual_light.regimes import Regime
from kdlab.papers.dual_light.regimes_list import NORM_TITLES
from kdlab.papers.dual_light.regimes_starts import STUDY as BRIGHT
from kdlab.papers.dual_light.regimes_study import study as regimes_study
from kdlab.show.claims import Told, told
from kdlab.show.plots import PAGE
from kdlab.show.scoreboard_cells import KINDS, Cell, draw, gap_of
from kdlab.study import Scores, Study, load_rows
from kdlab.train.sizes import DEMO, STUDY

#: What is asked → the claim with labels (empty: not asked there), and the one without.
QUESTIONS: Mapping[str, tuple[str, str]] = {
    "an enhanced teacher helps": ("D1", "D1r"),
    "it is the dual light that helps": ("D2", "D2r"),
    "raw-only inference beats enhancing": ("D3", "D3r"),
    "it gives more than re-estimated statistics": ("", "D5r"),
}
CLAIMS = tuple(name for pair in QUESTIONS.values() for name in pair if name)
NOT_RUN = "not run"


@dataclass(frozen=True)
class Row:
    """A regime: its ``group``, its ``title`` in there, the ``study`` and ``data`` that tell of it, and whether dark
    clips have ``labels``."""

    group: str
    title: str
    study: str
    data: str
    labels: bool = True

    @property
    def claims(self) -> dict[str, str]:
        """Question → the claim that asks it here."""
        names = {question: pair[0] if self.labels else pair[1] for question, pair in QUESTIONS.items()}
        return {question: name for question, name in names.items() if name}


def _rows() -> tuple[Row, ...]:
    many, few = (BRIGHT.night.count("train"), BRIGHT.few)
    found = [
        Row("from nothing", f"{STUDY.night.count('train')} labels a class", "dual_light", "night_fresh"),
        Row("from nothing", f"{DEMO.night.count('train')} labels a class, few steps", "dual_light_controls",
            "night_demo"),
        Row("from nothing", "`night`, then real dark clips", "dual_light_arid6", "arid6_finetuned"),
    ]
    for norm, words in NORM_TITLES.items():
        group = f"from bright video, {words}"
        found += [Row(group, f"{count} labels a class", "regimes", Regime(norm, labels).name)
                  for labels, count in (("many", many), ("few", few))]
        none = {"no labels": Regime(norm), "no labels, Zero-DCE": Regime(norm, enhancer="zerodce"),
                "no labels, unbalanced": Regime(norm, unbalanced=True),
                "no labels, full variety": Regime(norm, variety=1.0)}
        found += [Row(group, title, "regimes", regime.name, False) for title, regime in none.items()]
        found.append(Row(group, "no labels, real dark clips", "regimes_arid6", f"arid6_{norm}", False))
    return tuple(found)


ROWS = _rows()


@dataclass(frozen=True)
class Board:
    """The ``rows``, and a cell for each (row, question) that was read."""

    rows: tuple[Row, ...]
    cells: Mapping[tuple[Row, str], Cell]


def board(best: Iterable[Told] | None = None) -> Board:
    """All regimes, from the committed evidence; ``best`` are the readings of :data:`CLAIMS` that count most (default:
    they are made, in seconds). A regime in which a claim is registered has that reading, or the one before it.

    Raises ``FileNotFoundError`` where the study of the regimes was not run.
    """
    load_rows(regimes_study.name)
    found = {said.claim.claim: said for said in (told(CLAIMS) if best is None else best)}
    known = studies.every()

    @cache  # opening takes longer than reading
    def opened(study: str, data: str) -> Scores | None:
        return known[study].scores([data]).get(data)

    read = {(row, question): _read(known[row.study], row.data, found[name], opened) for row in ROWS
            for question, name in row.claims.items()}
    return Board(ROWS, {place: cell for place, cell in read.items() if cell})


def _read(study: Study, data: str, best: Told, opened: Callable[[str, str], Scores | None]) -> Cell | None:
    """What ``data`` of ``study`` say of the claim that is ``best`` told; None where they are not there."""
    said = best
    if (study.name, data) != (best.study.name, best.claim.plan.data):
        # a study of real clips has no claims: it is asked the same
        claim = next((its for its in study.claims if its.claim == best.claim.claim), best.claim)
        scores = opened(study.name, data)
        reading = None if scores is None or claim.lacking(scores.recipes) else claim.read(scores)
        said = Told(study, claim, data, reading, replace(best.standing, reading=None))
    return Cell(said, gap_of(said.claim, opened(said.study.name, said.data))) if said.reading else None


# --- what is seen of it ----------------------------------------------------------------------------------------

_LEGEND = "Each cell: verdict, effect with half of its 95 % interval in points, n seeds, and the gap, teacher − raw " \
          f"start. Pale: fewer than {ENOUGH_SEEDS} seeds. Framed: registered runs; all others are second readings. " \
          "Explained: supported, but a control is not seen to give less. Empty: not asked there."
_FIRST = 1.95  # inches of the column of regimes
_LINE = 0.165


def picture(found: Board, title: str = "") -> Figure:
    """``found`` as a figure, as wide as a notebook's page; its alternative text counts each question's verdicts."""
    wide = (PAGE - _FIRST) / len(QUESTIONS)
    letters = int(wide / 0.069)  # that fit beside each other
    words = {(row, question): _words(found.cells.get((row, question)), letters)
             for row in found.rows for question in row.claims}
    heights = {row: 0.1 + _LINE * max(words[row, question].count("\n") + 1 for question in row.claims)
               for row in found.rows}
    groups = dict.fromkeys(row.group for row in found.rows)
    heads = [fill(f"{question} ({', '.join(filter(None, names))})", letters - 3, break_on_hyphens=False)
             for question, names in QUESTIONS.items()]
    foot = fill(_LEGEND, 140)
    head, below = 0.4 + _LINE * max(text.count("\n") + 1 for text in heads), 0.25 + _LINE * (foot.count("\n") + 1)
    height = head + sum(heights.values()) + 0.27 * len(groups) + below
    fig = plt.figure(figsize=(PAGE, height), layout="none", label=f"{title}: {_counts(found)}")
    ax = fig.add_axes((0, 0, 1, 1))
    ax.set_axis_off()
    ax.set(xlim=(0, PAGE), ylim=(height, 0))
    ax.text(0.05, 0.17, title, va="center", fontsize="large", fontweight="bold")
    ax.text(0.05, height - below / 2, foot, va="center", fontsize="small")
    for k, text in enumerate(heads):
        ax.text(_FIRST + wide * (k + 0.5), 0.15 + head / 2, text, ha="center", va="center", fontsize="small",
                fontweight="bold")
    top, group = head, None
    for row in found.rows:
        if row.group != group:
            group = row.group
            ax.text(0.05, top + 0.15, group, va="center", fontsize="small", fontweight="bold")
            top += 0.27
        ax.text(0.15, top + heights[row] / 2, row.title.replace("`", ""), va="center", fontsize="small")
        for k, question in enumerate(QUESTIONS):
            if question in row.claims:
                cell, place = found.cells.get((row, question)), (_FIRST + wide * k, top, wide, heights[row])
                draw(ax, cell, words[row, question], place, framed=bool(cell and cell.said.registered))
        top += heights[row]
    return fig


def _words(cell: Cell | None, letters: int) -> str:
    """What stands in a ``cell``: the verdict beside the effect, where so many ``letters`` hold both."""
    if cell is None:
        return NOT_RUN
    word, effect, *more = cell.lines
    first = [f"{word}: {effect}"] if len(word) + len(effect) + 2 <= letters else [word, effect]
    return "\n".join([*first, ", ".join(more)])


def _counts(found: Board) -> str:
    """Question by question how many regimes have which verdict."""
    said = []
    for question in QUESTIONS:
        cells = [found.cells.get((row, question)) for row in found.rows if question in row.claims]
        kinds = [KINDS[cell.kind][1] if cell else NOT_RUN for cell in cells]
        counted = ", ".join(f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(kinds))
        said.append(f"{question}: {counted} of {len(cells)} regimes")
    return "; ".join(said)
