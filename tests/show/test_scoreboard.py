"""The scoreboard has a cell for each reading, and each cell leads to its evidence."""

import re
from dataclasses import replace

import pytest

from kdlab.show import displayed, scoreboard
from kdlab.show.claims import Told
from kdlab.show.scoreboard import AGAIN, BEFORE, CONFIRMED, Board
from kdlab.show.scoreboard_cells import KINDS, Cell
from kdlab.study import Claim, Plan, Reading
from kdlab.study.register import Standing
from tests.figures import legible
from tests.show.test_scoreboard_cells import CLAIM, STUDY, WAITING, cell


def made(before: str) -> Board:
    """A claim that is not confirmed yet, and what was read before."""
    waiting = Cell(Told(STUDY, CLAIM, "new", None, WAITING))
    return Board([CLAIM], [CONFIRMED, BEFORE], {("D9", CONFIRMED): waiting, ("D9", BEFORE): cell(before, gap=1.25)})


def test_the_reading_that_counts_most_is_the_confirming_one():
    board = made(before="supported")
    assert board.best("D9").data == "old" and board.count() == {"supported": 1}
    found = cell("contradicted").said
    done = replace(found, data="new", standing=Standing("run with 12 seeds", reading=found.reading))
    board.cells["D9", CONFIRMED] = Cell(done)
    assert board.best("D9").data == "new" and board.count() == {"contradicted": 1}


def test_one_evidence_is_not_told_as_two_readings(monkeypatch):
    """Costs, and some trainings, are measured once: what confirms is then the same as what was read before."""
    claim = Claim("D9", "it is cheaper", "dlkdd", "ce_raw", plan=Plan("night", "night", 60, "timings"),
                  statistic=lambda ratio: Reading(f"ratio {ratio}", "supported", 1, 60), evidence=lambda *_: 0.5)
    found = claim.read(0.5)
    said = Told(STUDY, claim, "night", found, Standing("run with 1 seeds", reading=found))
    monkeypatch.setattr(scoreboard, "told", lambda names: [said])
    monkeypatch.setattr(scoreboard, "AGAIN", {})
    assert list(scoreboard.board(["D9"]).of("D9")) == [CONFIRMED]
    other = replace(claim, evidence=lambda data, confirming: 0.5 if confirming else 0.6)
    monkeypatch.setattr(scoreboard, "told", lambda names: [replace(said, claim=other)])
    assert scoreboard.board(["D9"]).cells["D9", BEFORE].said.effect == "ratio 0.6"


def test_the_summary_names_the_claims_of_each_verdict():
    said = scoreboard.summary(made(before="supported, and explained by ce_2x")).data
    assert "Of 1 claims 0 are read on their registered runs" in said
    assert "- Supported, but a control is not seen to give less: **D9**." in said
    assert "no control" not in said
    assert KINDS.keys() | {""} == scoreboard.SUMMARY.keys()


def test_a_claim_of_no_paper_stands_last_and_has_a_chapter():
    names = ["M1", "P1", "D1r", "G4", "D4"]
    assert sorted(names, key=scoreboard._order) == ["D4", "D1r", "G4", "P1", "M1"]
    assert scoreboard._chapter("M1").startswith("10b_")
    assert scoreboard._chapter("D1r").startswith("10b_") and scoreboard._chapter("D1").startswith("03_")


def test_cells_lead_to_the_evidence_of_their_claim_on_the_same_page():
    board = made(before="supported")
    table, below = scoreboard.table(board).data, scoreboard.evidence(board).data
    targets = re.findall(r'href="#([^"]+)"', table)
    assert len(targets) == 2 and {*targets} <= {*re.findall(r'id="([^"]+)"', below)}
    assert "a teacher &lt;helps&gt;" in table and "gap +1.2" in table and KINDS["supported"][2] in table
    assert "<b>supported</b>" in below and "+3.0 ± 1.0 points" in below
    assert 'href="03_dual_light_distillation.ipynb"' in below


@pytest.mark.parametrize("columns", [2, 6, 8])
def test_the_picture_has_a_cell_for_each_reading_and_can_be_read(styled, columns):
    board = made(before="contradicted")
    more = list(AGAIN)[: columns - 2]
    board.columns.extend(more)
    board.cells.update({("D9", column): cell("supported, and explained by x", gap=10.0) for column in more})
    fig = scoreboard.picture(board, "mine")
    assert "Empty: not asked there" in legible(fig).replace("\n", " ") and len(fig.axes[0].patches) == columns
    said = [" ".join(text.get_text().split()) for text in fig.axes[0].texts]
    assert "contradicted +3.0 ± 1.0 n = 12 gap +1.2" in said and "not there yet n = 10" in said
    boxes = [text.get_window_extent().transformed(fig.dpi_scale_trans.inverted()) for text in fig.axes[0].texts]
    assert not [a for k, a in enumerate(boxes) for b in boxes[:k] if a.overlaps(b)], "texts run into each other"
    assert all(box.x0 >= 0 and box.x1 <= fig.get_figwidth() for box in boxes)
    assert "1 contradicted" in displayed.alt(fig)


@pytest.mark.parametrize("word", ["underpowered (± 1.0)", "supported, small", "not testable on this set"])
def test_words_stand_within_their_cells(styled, word):
    board = made(before="contradicted")
    board.columns.extend(AGAIN)
    board.cells.update({("D9", column): cell(word, means=(-12.5, 13.5), gap=-10.0) for column in AGAIN})
    ax = scoreboard.picture(board, "mine").axes[0]
    ax.figure.canvas.draw()
    texts = [text.get_window_extent() for text in ax.texts if "gap −10.0" in text.get_text()]
    cells = [patch.get_window_extent() for patch in ax.patches]
    assert len(texts) == len(AGAIN)
    assert all(any(c.x0 <= t.x0 and t.x1 <= c.x1 and c.y0 <= t.y0 and t.y1 <= c.y1 for c in cells) for t in texts)


def test_the_evidence_of_a_claim_is_drawn_or_told(styled):
    board = made(before="supported")
    fig = scoreboard.evidence_picture(board, "D9")
    assert "D9: a teacher <helps>" in legible(fig)
    assert [label.get_text() for label in fig.axes[0].get_yticklabels()] == ["second reading: clips read before"]
    told = replace(board.cells["D9", BEFORE].said, reading=Reading("ratio 0.5", "supported", 1, 60))
    board.cells["D9", BEFORE] = Cell(told)
    assert "ratio 0.5" in scoreboard.evidence_picture(board, "D9").axes[0].texts[0].get_text()
    with pytest.raises(ValueError, match="the scoreboard has no claim 'X'; it has D9"):
        scoreboard.evidence_picture(board, "X")


def test_the_widget_goes_from_claim_to_claim(monkeypatch):
    monkeypatch.setattr("kdlab.show.widgets.headless", lambda: False)
    drawn = []
    monkeypatch.setattr(scoreboard, "evidence_picture", lambda board, claim: drawn.append(claim))
    widget = scoreboard.evidence_widget(made(before="supported"))
    assert list(widget.children[0].options) == ["D9"]
    widget.update()
    assert drawn[-1] == "D9"
    monkeypatch.setattr("kdlab.show.widgets.headless", lambda: True)
    assert scoreboard.evidence_widget(made(before="supported")) is None


def test_the_committed_evidence_makes_a_board_with_gaps():
    board = scoreboard.board(["D1", "D1r", "P3"])
    assert [claim.claim for claim in board.claims] == ["D1", "D1r", "P3"]
    assert {CONFIRMED, BEFORE, "real motion,\nnine people"} <= {*board.columns}
    scores = board.cells["D1", BEFORE].said.study.scores(["night"])["night"]
    assert board.cells["D1", BEFORE].gap == pytest.approx(scores.effect("ce_enhanced", "ce_raw").mean)
    assert board.cells["P3", BEFORE].gap > 0 and len(board.of("D1")) >= 5
    assert '"../figures/predictions/dual_light-night.npz">dual_light-night.npz<' in scoreboard.evidence(board).data
