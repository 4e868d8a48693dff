"""Regimes × claims: what the claims of the three papers come to where networks begin otherwise, have fewer labels, or
see other clips; of DL-KDD above all, whose bright teacher has a gap to close only where networks come from bright
video.

A row is a regime, a column a question, which in several regimes is another claim. All is computed from the committed
evidence.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from textwrap import fill

from matplotlib.figure import Figure

from kdlab import studies
from kdlab.measure.paired import ENOUGH_SEEDS
from kdlab.papers.dual_light.regimes import Regime
from kdlab.papers.dual_light.regimes_list import NORM_TITLES
from kdlab.papers.dual_light.regimes_starts import STUDY as BRIGHT
from kdlab.papers.dual_light.regimes_study import study as regimes_study
from kdlab.show.claims import Told, told
from kdlab.show.plots import PAGE
from kdlab.show.scoreboard_cells import KINDS, Cell, draw, evidence_of, sheet
from kdlab.study import Study, load_rows
from kdlab.train.sizes import DEMO, STUDY

NOT_RUN = "not run"


@dataclass(frozen=True)
class Row:
    """A regime of a ``paper``: its ``group``, its ``title`` in there, and question → (claim, study, data) for what is
    asked in it; empty ``data`` are those on which the claim is confirmed, or what was read before."""

    paper: str
    group: str
    title: str
    asked: Mapping[str, tuple[str, str, str]]

    @property
    def data(self) -> str:
        """Of what is asked first."""
        return next(iter(self.asked.values()))[2]

    def __hash__(self) -> int:
        return hash((self.paper, self.group, self.title))


#: DL-KDD's questions → the claim with labels (empty: not asked there), and the one without.
_LIGHT = {
    "an enhanced teacher helps": ("D1", "D1r"),
    "it is the dual light that helps": ("D2", "D2r"),
    "raw-only inference beats enhancing": ("D3", "D3r"),
    "it gives more than re-estimated statistics": ("", "D5r"),
}
#: GenKD's and PKD's → their claims, the first where nothing else is said.
_FEATURES = {
    "phase 1 helps by itself": ("G1",),
    "GenKD beats CE and the usual methods": ("G2",),
    "each of its parts adds": ("G3",),
    "it helps detection": ("G4",),
}
_EXITS = {
    "PKD beats labels": ("P3", "P3u", "P3w"),
    "the order of the teachers matters": ("P4", "P4u"),
    "WISE beats single exits": ("P5",),
    "PKD + WISE: more accuracy over time": ("P7",),
}
#: Paper → its questions, in the order of the columns.
QUESTIONS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "DL-KDD": _LIGHT, "generative distillation": _FEATURES, "PKD and WISE": _EXITS}
CLAIMS = tuple(name for asked in QUESTIONS.values() for names in asked.values() for name in names if name)


def _light(group: str, title: str, study: str, data: str, labels: bool = True) -> Row:
    names = {question: pair[0] if labels else pair[1] for question, pair in _LIGHT.items()}
    return Row("DL-KDD", group, title, {question: (name, study, data) for question, name in names.items() if name})


def _of(paper: str, group: str, title: str, **asked: tuple[str, str]) -> Row:
    """A row in which the claims ``asked`` are read: claim → (study, data)."""
    questions = {name: question for question, names in QUESTIONS[paper].items() for name in names}
    return Row(paper, group, title, {questions[name]: (name, *where) for name, where in asked.items()})


def _rows() -> tuple[Row, ...]:
    many, few = (BRIGHT.night.count("train"), BRIGHT.few)
    found = [
        _light("from nothing", f"{STUDY.night.count('train')} labels a class", "dual_light", "night_fresh"),
        _light("from nothing", f"{DEMO.night.count('train')} labels a class, few steps", "dual_light_controls",
               "night_demo"),
        _light("from nothing", "`night`, then real dark clips", "dual_light_arid6", "arid6_finetuned"),
    ]
    for norm, words in NORM_TITLES.items():
        group = f"from bright video, {words}"
        found += [_light(group, f"{count} labels a class", "regimes", Regime(norm, labels).name)
                  for labels, count in (("many", many), ("few", few))]
        none = {"no labels": Regime(norm), "no labels, Zero-DCE": Regime(norm, enhancer="zerodce"),
                "no labels, unbalanced": Regime(norm, unbalanced=True),
                "no labels, full variety": Regime(norm, variety=1.0)}
        found += [_light(group, title, "regimes", regime.name, False) for title, regime in none.items()]
        found.append(_light(group, "no labels, real dark clips", "regimes_arid6", f"arid6_{norm}", False))
    gen, ours, wise = "generative", "progressive", "wise"
    paper, nothing = "generative distillation", "from nothing"
    found += [_of(paper, nothing, "`night`, trimmed clips", G1=(gen, ""), G2=(gen, ""), G3=(gen, "")),
              _of(paper, nothing, "real motion, nine people", G1=(gen, "weizmann"), G2=(gen, "weizmann")),
              _of(paper, nothing, "`night`, untrimmed", G4=("detection", ""))]
    paper, seen, unseen = "PKD and WISE", "teachers have seen the clips", "teachers have not seen the clips"
    found += [_of(paper, seen, "`night`, places tell", P3=(ours, ""), P4=(ours, ""), P5=(wise, ""), P7=(wise, ""))]
    found += [_of(paper, seen, title, P3=(ours, data), P4=(ours, data), P5=(wise, data), P7=(wise, data))
              for title, data in (("`night`, places tell nothing", "night_bright"),
                                  ("real motion, nine people", "weizmann"))]
    found += [_of(paper, unseen, "T = 1", P3u=(ours, ""), P4u=(ours, "")), _of(paper, unseen, "T = 4", P3w=(ours, ""))]
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
    read = {(row, question): _read(known[study], data, found[name]) for row in ROWS
            for question, (name, study, data) in row.asked.items()}
    return Board(ROWS, {place: cell for place, cell in read.items() if cell})


def _read(study: Study, data: str, best: Told) -> Cell | None:
    """What ``data`` of ``study`` say of the claim that is ``best`` told; None where they are not there."""
    said = best
    if data and (study.name, data) != (best.study.name, best.claim.plan.data):
        # a study of real clips has no claims: it is asked the same
        claim = next((its for its in study.claims if its.claim == best.claim.claim), best.claim)
        evidence = evidence_of(study, claim, data)
        lacking = evidence is None or not claim.statistic and bool(claim.lacking(evidence.recipes))
        titled = replace(study, titles=study.titles or best.study.titles)
        reading = None if lacking else claim.read(evidence)
        said = Told(titled, claim, data, reading, replace(best.standing, reading=None))
    return Cell.of(said) if said.reading else None


# --- what is seen of it ----------------------------------------------------------------------------------------

_LEGEND = "Each cell: verdict, effect with half of its 95 % interval in points, n seeds, and the gap, teacher − raw " \
          f"start. Pale: fewer than {ENOUGH_SEEDS} seeds. Framed: registered runs; all others are second readings. " \
          "Explained: supported, but a control is not seen to give less. Empty: not asked there."
_FIRST = 1.95  # inches of the column of regimes
_TITLE, _BETWEEN = 0.35, 0.15  # and of the line above all, and between papers
_LINE = 0.165


def picture(found: Board, title: str = "") -> Figure:
    """``found`` as a figure, as wide as a notebook's page; its alternative text counts each question's verdicts."""
    wide = (PAGE - _FIRST) / max(map(len, QUESTIONS.values()))
    letters = int(wide / 0.069)  # that fit beside each other
    words = {(row, question): _words(found.cells.get((row, question)), letters)
             for row in found.rows for question in row.asked}
    heights = {row: 0.1 + _LINE * max(words[row, question].count("\n") + 1 for question in row.asked)
               for row in found.rows}
    groups = dict.fromkeys((row.paper, row.group) for row in found.rows)
    heads = {paper: [fill(f"{question} ({', '.join(filter(None, names))})", letters - 3, break_on_hyphens=False)
                     for question, names in asked.items()] for paper, asked in QUESTIONS.items()}
    high = {paper: 0.2 + _LINE * max(text.count("\n") + 1 for text in texts) for paper, texts in heads.items()}
    foot = fill(_LEGEND, 140)
    below = 0.25 + _LINE * (foot.count("\n") + 1)
    height = _TITLE + sum(high.values()) + _BETWEEN * (len({row.paper for row in found.rows}) - 1)
    height += sum(heights.values()) + 0.27 * len(groups) + below
    fig, ax = sheet(height, f"{title}: {_counts(found)}")
    ax.text(0.05, 0.17, title, va="center", fontsize="large", fontweight="bold")
    ax.text(0.05, height - below / 2, foot, va="center", fontsize="small")
    top, paper, group = _TITLE, None, None
    for row in found.rows:
        if row.paper != paper:
            top += _BETWEEN * (paper is not None)
            paper, group = row.paper, None
            ax.text(0.05, top + high[paper] / 2, paper, va="center", fontweight="bold")
            for k, text in enumerate(heads[paper]):
                ax.text(_FIRST + wide * (k + 0.5), top + high[paper] / 2, text, ha="center", va="center",
                        fontsize="small", fontweight="bold")
            top += high[paper]
        if row.group != group:
            group = row.group
            ax.text(0.05, top + 0.15, group, va="center", fontsize="small", fontweight="bold")
            top += 0.27
        ax.text(0.15, top + heights[row] / 2, row.title.replace("`", ""), va="center", fontsize="small")
        for k, question in enumerate(QUESTIONS[paper]):
            if question in row.asked:
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
    """Paper by paper, of which verdicts there are how many."""
    said = []
    for paper in QUESTIONS:
        cells = [found.cells.get((row, question)) for row in found.rows if row.paper == paper for question in row.asked]
        kinds = [KINDS[cell.kind][1] if cell else NOT_RUN for cell in cells]
        counted = ", ".join(f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(kinds))
        said.append(f"{paper}: {counted} of {len(cells)} cells")
    return "; ".join(said)


def sentences(found: Board) -> list[str]:
    """What each paper's block of ``found`` comes to, in a sentence (Markdown). What is not called registered is a
    second reading."""
    said = []
    for paper in QUESTIONS:
        cells = [(row, cell) for (row, _), cell in found.cells.items() if row.paper == paper]
        words = {kind: [] for kind in ("supported", "explained", "contradicted")}
        for row, cell in cells:
            if cell.kind in words:
                marks = ["registered"] * cell.said.registered
                marks += [mark for mark in ("small", "provisional") if mark in cell.said.verdict]
                where = "; ".join([f"{row.group}: {row.title.replace('`', '')}", *marks])
                words[cell.kind].append(f"{cell.said.claim.claim} ({where})")
        text = "; ".join(f"{kind} {len(its)}: {', '.join(its)}" for kind, its in words.items() if its)
        text = text[:1].upper() + text[1:] or "None is supported, and none contradicted"
        said.append(f"**{paper}**, {len(cells)} cells. {text}.")
    return said
