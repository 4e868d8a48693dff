"""The scoreboard: every claim of kdlab's on every set on which it was read, coloured by its verdict.

A cell says the verdict, the effect, how many seeds, and the gap: by how much the teacher beats the start of those whom
it teaches, without which there is little to gain. All is computed from the committed evidence, over sets that are named
here. In HTML a cell leads to its evidence (:func:`evidence`), in a notebook a widget goes from claim to claim.
"""

import html
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from textwrap import fill, shorten

import matplotlib.pyplot as plt
from IPython.display import HTML, Markdown
from matplotlib.figure import Figure

from kdlab import paths, studies
from kdlab.measure.paired import ENOUGH_SEEDS
from kdlab.notebooks.parameters import all_notebooks, number_of
from kdlab.show.claims import Told, sentence, told
from kdlab.show.plots import INTERVALS, PAGE, forest
from kdlab.show.scoreboard_cells import INK, KINDS, Cell, draw, evidence_of, sheet
from kdlab.show.widgets import explore
from kdlab.study import Claim, Study

#: Where claims are read: on the data that confirm them, on those read before; and, of each study named, on a set more.
CONFIRMED, BEFORE = "registered:\nnew seeds", "second reading:\nclips read before"
AGAIN: Mapping[str, Mapping[str, str]] = {
    "another `night`": {"dual_light_controls": "night_demo", "progressive": "night_bright", "wise": "night_bright",
                        "flatness": "night_bright"},
    "real motion,\nnine people": {"dual_light_weizmann": "weizmann_dark", "generative": "weizmann",
                                  "progressive": "weizmann", "wise": "weizmann"},
    "real dark clips,\nzero-shot": {"dual_light_arid6": "arid6"},
    "real dark clips,\nfine-tuned": {"dual_light_arid6": "arid6_finetuned"},
    "bright network,\nfew dark labels": {"regimes": "bn_few"},
    "bright network,\nmany dark labels": {"regimes": "bn_many"},
}
PAPERS = {"D": "DL-KDD", "G": "generative distillation", "P": "PKD and WISE"}
OTHERS = "across the papers"
#: Claims → the chapter in which they are read; the first that fits.
CHAPTERS = (("D.r", "10b"), ("D", "03"), ("G4", "05"), ("G", "04"), ("P[12]", "08"), ("P", "07"), ("M", "10b"),
            ("", "10"))
#: The kinds of verdicts in sentences.
SUMMARY = {
    "supported": "Supported", "explained": "Supported, but a control is not seen to give less",
    "no effect": "No effect larger than two points", "contradicted": "Contradicted",
    "not supported": "Not supported, since not all that the claim needs is shown",
    "underpowered": "Underpowered: these data cannot tell",
    "not testable": "Not testable: on these test clips no number of seeds could tell",
    "withheld": "Withheld: something speaks against a verdict", "": "Not read yet",
}
#: Claims that are read once, of all sets together.
ONCE = {"P2"}


@dataclass(frozen=True)
class Board:
    """The ``claims`` in order, the ``columns`` on which any of them is read, and a cell for each that is."""

    claims: list[Claim]
    columns: list[str]
    cells: dict[tuple[str, str], Cell]

    def of(self, claim: str) -> dict[str, Cell]:
        """Column → cell of one claim, in the order of the columns."""
        return {column: self.cells[claim, column] for column in self.columns if (claim, column) in self.cells}

    def best_cell(self, claim: str) -> Cell:
        """The cell that counts most: the confirming one, or else that of the second reading."""
        cells = self.of(claim)
        return cells[CONFIRMED] if cells[CONFIRMED].said.reading or BEFORE not in cells else cells[BEFORE]

    def best(self, claim: str) -> Told:
        """What :meth:`best_cell` says."""
        return self.best_cell(claim).said

    def count(self) -> dict[str, int]:
        """Kind of verdict → how many claims have it in the reading that counts most."""
        kinds = [self.best_cell(claim.claim).kind or "not read yet" for claim in self.claims]
        return {kind: kinds.count(kind) for kind in dict.fromkeys(kinds)}


def board(names: Iterable[str] = ()) -> Board:
    """The scoreboard of the claims ``names`` (none named: all of kdlab's own), from the committed evidence; all take
    about twenty seconds. Raises ``ValueError`` for a name that no claim has."""
    known, cells = studies.every(), {}
    best = sorted(told(names), key=lambda said: _order(said.claim.claim))
    for said in best:
        name, plan = said.claim.claim, said.claim.plan
        if said.registered:
            cells[name, CONFIRMED] = Cell.of(said)
            before = _again(said, said.study, said.claim, plan.earlier)
            before = None if before and before.reading == said.reading else before  # some have one evidence for both
        else:
            cells[name, CONFIRMED] = Cell(replace(said, data=plan.data if plan else "", reading=None))
            before = said if said.reading else None
        if before:
            cells[name, BEFORE] = Cell.of(before)
        for column, sets in AGAIN.items():
            for study, data in sets.items():
                claim = next((its for its in known[study].claims if its.claim == name), None)
                if claim and name not in ONCE and (more := _again(said, known[study], claim, data)):
                    cells[name, column] = Cell.of(more)
    columns = [column for column in (CONFIRMED, BEFORE, *AGAIN) if any(its == column for _, its in cells)]
    return Board([said.claim for said in best], columns, cells)


def _order(name: str) -> tuple:
    """Paper by paper, DL-KDD's claims about bright networks after its others; last what is no paper's."""
    return name[0] not in PAPERS, name[0], name.endswith("r"), name


def _again(said: Told, study: Study, claim: Claim, data: str) -> Told | None:
    """A second reading of what was ``said``, on ``data`` of ``study``; None where that knows too little of it."""
    evidence = evidence_of(study, claim, data)
    if evidence is None:
        return None
    titled = replace(study, titles=study.titles or said.study.titles)
    return Told(titled, claim, data, claim.read(evidence), replace(said.standing, reading=None))


# --- what is seen of it ----------------------------------------------------------------------------------------


def table(found: Board) -> HTML:
    """The scoreboard as a table whose cells lead to their claim in :func:`evidence`, on the same page."""
    head = "".join(f'<th style="{_CELL}">{html.escape(_flat(column))}</th>' for column in found.columns)
    rows, paper = [], ""
    for claim in found.claims:
        if (its := PAPERS.get(claim.claim[0], OTHERS)) != paper:
            paper = its
            rows.append(f'<tr><th colspan="{len(found.columns) + 1}" style="{_CELL}">{html.escape(paper)}</th></tr>')
        cells, row = found.of(claim.claim), [f'<td style="{_CELL}"><b>{claim.claim}</b> {html.escape(claim.says)}</td>']
        for column in found.columns:
            row.append(_td(claim, cells[column]) if column in cells else "<td></td>")
        rows.append(f"<tr>{''.join(row)}</tr>")
    caption = f"{html.escape(counts(found))} {_LEGEND} A cell leads to its evidence."
    return HTML('<table class="scoreboard" style="font-size:.85em">'
                f'<caption style="text-align:left">{caption}</caption>'
                f'<thead><tr><th style="{_CELL}">claim</th>{head}</tr></thead>'
                f"<tbody>{''.join(rows)}</tbody></table>")


def _td(claim: Claim, cell: Cell) -> str:
    word, *more = map(html.escape, cell.lines)
    link = f'<a href="#{_anchor(claim)}" style="color:inherit">{word}</a>'
    return f'<td style="{_CELL};color:{INK};background:{cell.colour}">{"<br>".join([link, *more])}</td>'


def counts(found: Board) -> str:
    """How many claims there are, and how many have which verdict, in a sentence."""
    words = [f"{number} {KINDS[kind][1] if kind in KINDS else kind}" for kind, number in found.count().items()]
    return f"{len(found.claims)} claims, by the reading that counts most: {', '.join(words)}."


def summary(found: Board) -> Markdown:
    """How many claims are confirmed by registered runs, and, verdict by verdict, which they are."""
    kinds: dict[str, list[str]] = {}
    for claim in found.claims:
        kinds.setdefault(Cell(found.best(claim.claim)).kind, []).append(claim.claim)
    best = [found.best(claim.claim) for claim in found.claims]
    done = sum(said.registered and not said.standing.withheld for said in best)
    few = sum(Cell(said).provisional for said in best)
    lines = [f"Of {len(best)} claims {done} are read on their registered runs; of the others the best reading "
             f"is a second one, is withheld, or is not there. {few} verdicts are provisional."]
    lines += [f"{words}: **{', '.join(kinds[kind])}**." for kind, words in SUMMARY.items() if kind in kinds]
    return Markdown("\n".join(f"- {line}" for line in lines))


def evidence(found: Board) -> HTML:
    """Below each other all claims: the sentence of each, what every set says of it, the files, and its chapter."""
    parts = []
    for claim in found.claims:
        rows = "".join(f"<tr>{''.join(f'<td>{html.escape(text)}</td>' for text in _row(column, cell.said))}</tr>"
                       for column, cell in found.of(claim.claim).items() if cell.said.reading)
        read = f"<table><tr>{''.join(f'<th>{word}</th>' for word in _HEAD)}</tr>{rows}</table>" if rows else ""
        places = [f'<a href="../figures/{name}">{name.rpartition("/")[2]}</a>' for name in _files(found, claim.claim)]
        if chapter := _chapter(claim.claim):
            places.append(f'<a href="{chapter}">notebook {chapter.partition("_")[0]}</a>')
        parts.append(f'<div id="{_anchor(claim)}"><p>{_marked(sentence(found.best(claim.claim)))}</p>{read}'
                     f"<p>Evidence, in figures/: {', '.join(places)}</p></div>")
    return HTML("\n".join(parts))


_HEAD = "where", "data", "found", "from", "verdict"


def _row(column: str, said: Told) -> tuple[str, ...]:
    return _flat(column), said.data, said.effect, said.counted, said.verdict


def _files(found: Board, claim: str) -> list[str]:
    """The committed files behind the cells of a claim, as they lie in ``figures/``."""
    said = [cell.said for cell in found.of(claim).values() if cell.said.reading]
    files = dict.fromkeys(file for its in said for file in its.study.files(its.data) if file.is_file())
    return [file.relative_to(paths.figures_dir()).as_posix() for file in files]


def _chapter(claim: str) -> str:
    """The file of the chapter in which the claim is read; empty where there is none."""
    number = next(number for begins, number in CHAPTERS if re.match(begins, claim))
    return next((path.name for path in all_notebooks() if number_of(path) == number), "")


def picture(found: Board, title: str = "") -> Figure:
    """The scoreboard as a figure, as wide as a notebook's page."""
    first, line, between, letter = 1.55, 0.155, 0.14, 0.076
    wide = (PAGE - first) / len(found.columns)
    letters = int(wide / letter)  # that fit beside each other
    cells = {claim.claim: {column: _broken(cell, letters) for column, cell in found.of(claim.claim).items()}
             for claim in found.claims}
    says = [fill(f"{claim.claim}  {claim.says}", 23) for claim in found.claims]
    heights = [0.12 + line * max(1 + text.count("\n"), *(1 + its.count("\n") for its in cells[claim.claim].values()))
               for claim, text in zip(found.claims, says, strict=True)]
    papers = [claim.claim[0] for claim in found.claims]
    above = [between * (k > 0 and paper != papers[k - 1]) for k, paper in enumerate(papers)]
    heads = [fill(_flat(column), letters - 1) for column in found.columns]  # they are bold
    head, foot = 0.3 + line * max(text.count("\n") + 1 for text in heads), 0.5
    height = head + sum(heights) + sum(above) + foot
    fig, ax = sheet(height, f"{title}: {counts(found)}")
    ax.text(0.05, head / 2, title, va="center", fontsize="large", fontweight="bold")
    ax.text(0.05, height - foot / 2, fill(f"{_LEGEND} Empty: not asked there.", 125), va="center", fontsize="small")
    for k, text in enumerate(heads):
        how = dict(ha="center", va="center", fontsize="small", fontweight="bold")
        ax.text(first + wide * (k + 0.5), head / 2, text, **how)
    top = head
    for claim, text, high, more in zip(found.claims, says, heights, above, strict=True):
        top += more
        ax.text(0.05, top + high / 2, text, va="center", fontsize="small", linespacing=1.1)
        for column, words in cells[claim.claim].items():
            left = first + wide * found.columns.index(column)
            draw(ax, found.cells[claim.claim, column], words, (left, top, wide, high))
        top += high
    return fig


def _broken(cell: Cell, letters: int) -> str:
    return "\n".join(fill(line.replace("> ", ">\u00a0"), letters, break_long_words=False) for line in cell.lines)


def evidence_picture(found: Board, claim: str) -> Figure:
    """What each set says of one claim: effects with intervals, and in the reading that counts most the controls; words
    where a claim compares no scores. Raises ``ValueError`` for a claim that is not on the board."""
    if claim not in {its.claim for its in found.claims}:
        raise ValueError(f"the scoreboard has no claim {claim!r}; it has {', '.join(c.claim for c in found.claims)}")
    best, rows = found.best(claim), {}
    for column, cell in found.of(claim).items():
        said = cell.said
        for name, effect in said.reading.effects.items() if said.reading else ():
            against = f", − {said.title(name)}" if len(said.reading.effects) > 1 else ""
            rows[f"{_flat(column)}{against}"] = effect
    for name, effect in best.reading.controls.items() if best.reading else ():
        rows[f"control, − {best.title(name)}"] = effect
    fig, ax = plt.subplots(figsize=(PAGE, 0.34 * max(3, len(rows)) + 1.6))
    if rows:
        forest(ax, rows, xlabel=f"{best.claim.metric}: {best.unit}; {INTERVALS}")
    else:
        ax.set_axis_off()
        lines = [fill(f"{_flat(column)}: {cell.said.effect}", 105) for column, cell in found.of(claim).items()
                 if cell.said.reading]
        ax.text(0, 0.5, "\n\n".join(lines) or "Nothing was read of it yet.", va="center")
    word = shorten(best.verdict or best.standing.withheld, 200, placeholder=" …")
    fig.suptitle(f"{claim}: {best.claim.says}\n{fill(word, 95)}", x=0.01, ha="left")
    return fig


def evidence_widget(found: Board):
    """Go from claim to claim over :func:`evidence_picture`; ``None``, with a line that says so, when headless."""
    from ipywidgets import SelectionSlider

    # Not a list: JupyterLab takes the arrow keys of a list for its own, and goes to another cell.
    chosen = SelectionSlider(options=[claim.claim for claim in found.claims], description="claim")
    return explore(lambda claim: evidence_picture(found, claim), claim=chosen)


# --- small parts -----------------------------------------------------------------------------------------------

_LEGEND = f"n: seeds; pale: fewer than {ENOUGH_SEEDS}. Gap: teacher − raw start, in points. Explained: supported, " \
          "but a control is not seen to give less. P1, P2: how many measures are against."
_CELL = "border:1px solid #ddd;text-align:left;vertical-align:top"


def _anchor(claim: Claim) -> str:
    return f"evidence-{claim.claim.lower()}"


def _flat(column: str) -> str:
    return column.replace("\n", " ").replace("`", "")


def _marked(markdown: str) -> str:
    """The Markdown of a sentence as HTML: bold and code."""
    text = re.sub(r"\*\*(.+?)\*\*", r"<b>\1</b>", html.escape(markdown))
    return re.sub(r"`(.+?)`", r"<code>\1</code>", text)
