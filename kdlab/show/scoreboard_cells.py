"""A cell of the scoreboard: what one set says of a claim, as a kind of verdict, a colour, few words, and the gap."""

import re
from dataclasses import dataclass
from typing import Self

import matplotlib.pyplot as plt
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from kdlab.measure.paired import ENOUGH_SEEDS
from kdlab.papers.progressive.nets import FINALS, TRAINED
from kdlab.papers.progressive.wise_study import committed as committed_wise
from kdlab.show.claims import Told
from kdlab.show.plots import PAGE
from kdlab.show.said import minus
from kdlab.study import Claim, Scores, Study
from kdlab.study.register import load

#: Kind of verdict → how a verdict of that kind begins, the words in a cell, and its colour.
KINDS = {
    "withheld": ("withheld", "withheld", "#ffffff"),
    "explained": (r"supported.* explained by", "explained", "#8fcaf0"),
    "supported": ("supported", "supported", "#5fc3a2"),
    "contradicted": ("contradicted", "contradicted", "#e8935a"),
    "no effect": ("no effect", "no effect > 2", "#c4c9ce"),
    "not supported": ("not supported", "not supported", "#e3c5a3"),
    "not testable": ("not testable", "not testable", "#f4e79a"),
    "underpowered": ("underpowered", "underpowered", "#f4e79a"),
}
#: Claims → who knows more, and whom it may lift: teacher and raw start.
GAPS = {
    **dict.fromkeys(("D1", "D2", "D3"), ("ce_enhanced", "ce_raw")), "D1r": ("enhanced", "as_is"),
    **dict.fromkeys(("D2r", "D3r", "D5r"), ("enhanced_re", "re_estimated")),
    **dict.fromkeys(("G1", "G2", "G3"), ("teacher_fr", "student_ce")), "G4": ("det_teacher", "det_student"),
}
#: Sets without the teacher → the set of the same study, students, seeds and clips that has it.
TEACHER_IN = {"night_bright_ablations": "night_bright", "night_bright_ablations_fresh": "night_bright_fresh"}
#: Of words in a cell.
INK = "#1f2933"


@dataclass(frozen=True)
class Cell:
    """What one set says of a claim, and the ``gap`` there in points, None where it is not known or means nothing."""

    said: Told
    gap: float | None = None

    @classmethod
    def of(cls, said: Told) -> Self:
        """The cell of what was ``said``, with the gap by the committed evidence."""
        claim = said.claim
        known = claim.claim in GAPS or re.match("P[34]", claim.claim)
        return cls(said, known_gap(said.study, claim, said.data) if known else None)

    @property
    def kind(self) -> str:
        """Of its verdict, one of :data:`KINDS`; empty where nothing is read yet."""
        return next((kind for kind, (begins, _, _) in KINDS.items() if re.match(begins, self.said.verdict)), "")

    @property
    def word(self) -> str:
        """Of its verdict, in few words; empty where nothing is read yet."""
        small = f"{self.kind}, small"  # of either sign
        return small if self.said.verdict.startswith(small) else KINDS[self.kind][1] if self.kind else ""

    @property
    def provisional(self) -> bool:
        """Whether it is from fewer seeds than a verdict needs; a claim about times and sizes (D4) has one, and none
        that scatter."""
        reading, plan = self.said.reading, self.said.claim.plan
        return reading is not None and reading.seeds < ENOUGH_SEEDS and not (plan and plan.seeds == 1)

    @property
    def colour(self) -> str:
        """Of its kind; paler where it is provisional."""
        colour = KINDS[self.kind][2] if self.kind else "#ffffff"
        return _paler(colour) if self.provisional else colour

    @property
    def lines(self) -> list[str]:
        """What stands in it: the word, the effect with half of its interval, the seeds, and the gap."""
        reading, plan = self.said.reading, self.said.claim.plan
        if not self.kind:
            state = self.said.standing.state
            return [state if state.startswith("not") else "not there yet", *([f"n = {plan.seeds}"] if plan else [])]
        each = list(reading.effects.values())
        effect = str(each[0]) if len(each) == 1 else \
            f"{min(e.mean for e in each):+.1f} to {max(e.mean for e in each):+.1f}" if each else ""
        gap = f"gap {self.gap:+.1f}" if self.gap is not None else ""
        found = [minus(line) for line in (effect or reading.brief, f"n = {reading.seeds}", gap) if line]
        return [self.word, *found]


def sheet(height: float, label: str) -> tuple[Figure, plt.Axes]:
    """A figure as wide as a notebook's page, with ``label`` as its alternative text, and axes over all of it in inches
    from its upper left corner."""
    fig = plt.figure(figsize=(PAGE, height), layout="none", label=label)
    ax = fig.add_axes((0, 0, 1, 1))
    ax.set_axis_off()
    ax.set(xlim=(0, PAGE), ylim=(height, 0))
    return fig, ax


def draw(ax: plt.Axes, cell: Cell | None, words: str, place: tuple[float, float, float, float],
         framed: bool = False) -> None:
    """``cell`` and its ``words`` at ``place`` (left, top, width, height): dashed where nothing was read, or no cell is
    there; ``framed`` stands out."""
    left, top, wide, high = place
    read = cell is not None and bool(cell.kind)
    edge = dict(edgecolor=INK, linewidth=2) if framed else dict(edgecolor="#9aa5b1", linewidth=0.6)
    ax.add_patch(Rectangle((left + 0.03, top + 0.03), wide - 0.06, high - 0.06,
                           facecolor=cell.colour if cell else "#ffffff", linestyle="-" if read else "--", **edge))
    how = dict(ha="center", va="center", fontsize="small", linespacing=1.1)
    ax.text(left + wide / 2, top + high / 2, words, color=INK if read else "#52606d", **how)


def evidence_of(study: Study, claim: Claim, data: str):
    """What is committed of ``claim`` on ``data``, None where it is not there; of WISE on sets with folds what its study
    keeps of all folds together."""
    evidence = load(study, claim, data, False)
    if evidence is None and study.name == "wise":
        try:
            return committed_wise(data)[0]
        except FileNotFoundError:
            return None
    return evidence


def known_gap(study: Study, claim: Claim, data: str) -> float | None:
    """:func:`gap_of` the committed evidence, on ``data`` or where its teacher was tested (:data:`TEACHER_IN`)."""
    if data in TEACHER_IN and (known := study.scores([TEACHER_IN[data]]).get(TEACHER_IN[data])) is not None:
        return gap_of(claim, known)
    return gap_of(claim, evidence_of(study, claim, data))


def gap_of(claim: Claim, scores: Scores) -> float | None:
    """By how much the teacher beats the raw start, in points; of exits: their networks' last layers, the nine before
    them when labels teach those; None where one of them was not tested."""
    if claim.claim[0] == "P":
        right = scores.correct("ce_ic_unseen" if claim.condition.endswith("_unseen") else "ce_ic")
        return float(100 * (right[:, :, FINALS].mean() - right[:, :, TRAINED].mean()))
    pair = GAPS[claim.claim]
    return float(claim.effect(scores, *pair).mean) if {*pair} <= scores.recipes.keys() else None


def _paler(colour: str) -> str:
    """Half way to white."""
    parts = (int(colour[k : k + 2], 16) for k in (1, 3, 5))
    return "#" + "".join(f"{(part + 255) // 2:02x}" for part in parts)
