"""All claims at a glance: of each the reading that counts most, so that it can be read on one screen."""

from dataclasses import replace

import pytest

from kdlab.show import displayed, glance
from kdlab.show.claims import Told
from kdlab.show.scoreboard import BEFORE, CONFIRMED, Board
from kdlab.show.scoreboard_cells import Cell
from kdlab.study.register import Standing
from tests.figures import legible
from tests.show.test_scoreboard_cells import CLAIM, STUDY, WAITING, cell

NAMES = ["D1", "D2", "D3", "D1r", "G1", "G2", "P1", "P3u", "M1"]


def made() -> Board:
    """Nine claims: the first confirmed, one not read at all, of the others only a second reading."""
    claims = [replace(CLAIM, claim=name, says="a teacher of one view helps a student of another") for name in NAMES]
    cells = {}
    for claim in claims:
        read = cell("supported, small", means=(-12.5, 13.5), gap=-1.25)
        read = Cell(replace(read.said, claim=claim), read.gap)
        cells[claim.claim, CONFIRMED] = Cell(Told(STUDY, claim, "new", None, WAITING))
        if claim.claim == "D1":
            reading = cell("contradicted").said.reading
            said = Told(STUDY, claim, "new", reading, Standing("run with 12 seeds", reading=reading))
            cells[claim.claim, CONFIRMED] = Cell(said)
        if claim.claim != "P3u":
            cells[claim.claim, BEFORE] = read
    return Board(claims, [CONFIRMED, BEFORE], cells)


def test_each_claim_has_one_cell_that_is_framed_where_it_is_registered(styled):
    fig = glance.picture(made(), "mine")
    ax = fig.axes[0]
    legible(fig)
    said = [" ".join(text.get_text().split()) for text in ax.texts]
    assert len(ax.patches) == len(NAMES) and [patch.get_linewidth() for patch in ax.patches].count(2) == 1
    assert said.count("contradicted: +3.0 ± 1.0 n = 12") == 1 and said.count("not there yet n = 10") == 1
    assert said.count("supported, small: −12.5 to +13.5 n = 12, gap −1.2") == len(NAMES) - 2
    assert [patch.get_linestyle() for patch in ax.patches].count("--") == 1
    assert "1 contradicted" in displayed.alt(fig) and "1 not read yet" in displayed.alt(fig)


def test_words_fit_their_cells_and_nothing_overlaps(styled):
    fig = glance.picture(made(), "mine")
    fig.canvas.draw()
    ax = fig.axes[0]
    texts, cells = ([its.get_window_extent() for its in kind] for kind in (ax.texts, ax.patches))
    assert not [a for k, a in enumerate(texts) for b in texts[:k] if a.overlaps(b)]
    inside = [[c for c in cells if c.x0 <= t.x0 and t.x1 <= c.x1 and c.y0 <= t.y0 and t.y1 <= c.y1] for t in texts]
    assert sum(map(len, inside)) == len(NAMES), "the words of every cell, and no others"
    assert not [t for t, its in zip(texts, inside, strict=True) if not its and any(t.overlaps(c) for c in cells)]
    assert all(t.x0 >= 0 and t.x1 <= fig.bbox.x1 and t.y0 >= 0 and t.y1 <= fig.bbox.y1 for t in texts)


def test_the_columns_are_about_as_high_and_a_paper_stands_in_one():
    claims, highs = made().claims, dict.fromkeys(NAMES, 0.4)
    left, right = glance._halves(claims, highs)
    assert [claim.claim for claim in left] == NAMES[:4] and left + right == claims
    heights = [glance._high(half, highs) for half in (left, right)]
    assert heights == pytest.approx([4 * 0.4 + glance._HEADING, 5 * 0.4 + 3 * glance._HEADING])
    assert glance._halves(claims[:2], highs) == (claims[:2], [])


def test_an_effect_in_another_unit_than_points_names_it():
    squared = replace(CLAIM, plan=replace(CLAIM.plan, unit="points²"))
    assert glance._words(Cell(replace(cell("underpowered (± 1.0)").said, claim=squared))).endswith("n = 12, points²")
    assert "points" not in glance._words(cell("underpowered (± 1.0)"))
