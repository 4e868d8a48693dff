"""Regimes × claims: each cell has what the evidence of its regime says, a missing one says that it was not run. What
is made up is DL-KDD's; of the other papers nothing is there."""

import re
from dataclasses import replace

import numpy as np
import pytest

from kdlab import paths, studies
from kdlab.papers.dual_light import regimes_study
from kdlab.show import displayed, regimes
from kdlab.show.claims import Told, told
from kdlab.show.regimes import CLAIMS, QUESTIONS, ROWS
from kdlab.show.scoreboard_cells import KINDS
from kdlab.study import Scores
from kdlab.study.evidence import Evidence
from kdlab.study.register import Standing
from tests.figures import legible

CLIPS = 400
LIGHT = [*QUESTIONS["DL-KDD"]]
WAITING = Standing("registered", "its confirming runs are not there yet")
#: Percent of clips that are right, of the first in their order; so many more in every second seed.
WITHOUT = {"as_is": 20, "enhanced": 60, "enhanced_re": 73, "re_estimated": 70, "same_light_bright": 22, "passes": 40,
           "dlkdd_bright": 65, "same_light_re": 72, "dlkdd_re": 72, "pseudo_labels": 60}
WITH = {"as_is": 20, "re_estimated": 70, "ce_raw": 74, "ce_enhanced": 90, "same_light": 74, "label_smoothing": 70,
        "ce_2x": 70, "dlkdd": 84, "dlkdd:teacher": 95}


def scores(right: dict[str, int], seeds=10, real=False) -> Scores:
    predicted = {c: np.stack([np.arange(CLIPS) >= (share + s % 2) * CLIPS / 100 for s in range(seeds)]).astype(int)
                 for c, share in right.items()}
    ids = np.array([f"{'r' * real}{n}" for n in range(CLIPS)])
    return Scores(("a", "b"), tuple(range(100, 100 + seeds)), ids, ids, np.zeros(CLIPS, int), predicted, {},
                  {c: [c] * seeds for c in predicted}, dict.fromkeys(predicted, ""))


def keep(name: str, found: Scores) -> None:
    file = paths.figures_dir() / "predictions" / f"{name}.npz"
    file.parent.mkdir(parents=True, exist_ok=True)
    found.save(file)


@pytest.fixture
def figures(tmp_path, monkeypatch):
    """Made-up evidence: some regimes of bright video, two claims from nothing, and real dark clips of one norm."""
    monkeypatch.setenv("KDLAB_FIGURES", str(tmp_path / "figures"))
    keep("regimes-bn_none", scores(WITHOUT))
    keep("regimes-bn_few", scores(WITH))
    keep("regimes-gn_none", scores(WITHOUT | {"dlkdd_re": 60}, seeds=3))
    keep("dual_light-night_fresh", scores({"ce_raw": 80, "ce_enhanced": 81, "same_light": 80, "dlkdd": 80,
                                           "label_smoothing": 70, "ce_2x": 70}))
    Evidence("regimes", paths.figures_dir(), True).save_rows([])
    return tmp_path / "figures"


def best() -> list[Told]:
    """Each claim on the data that confirm it: D1 registered, all others not."""
    found = []
    for name in CLAIMS:
        word = {"G": "generative", "P": "progressive"}.get(name[0], "regimes" if name.endswith("r") else "dual_light")
        word = {"G4": "detection", "P5": "wise", "P7": "wise"}.get(name, word)
        study = studies.every()[word]
        claim = next(claim for claim in study.claims if claim.claim == name)
        if name[0] != "D":
            found.append(Told(study, claim, claim.plan.data, None, WAITING))
            continue
        reading = claim.read(study.scores([claim.plan.data])[claim.plan.data])
        standing = replace(WAITING, withheld="", reading=reading) if name == "D1" else WAITING
        found.append(Told(study, claim, claim.plan.data, reading, standing))
    return found


def row(data: str):
    return next(row for row in ROWS if row.data == data)


def drawn(fig) -> dict[tuple[int, int], str]:
    """(line, column) → the words in a cell, as they stand in the figure from the top and from the left."""
    ax, found = fig.axes[0], {}
    tops = sorted({round(patch.get_y(), 3) for patch in ax.patches})
    lefts = sorted({round(patch.get_x(), 3) for patch in ax.patches})
    for patch in ax.patches:
        inside = [text.get_text() for text in ax.texts if patch.contains_point(
            ax.transData.transform(text.get_position()))]
        found[tops.index(round(patch.get_y(), 3)), lefts.index(round(patch.get_x(), 3))] = " ".join(inside).replace(
            "\n", " ")
    return found


def test_every_cell_has_its_numbers_and_missing_ones_say_so(figures, styled):
    board = regimes.board(best())
    fig = regimes.picture(board, "Made up")
    text = legible(fig)
    found, line = drawn(fig), {row.data: k for k, row in enumerate(ROWS)}
    cells = {(data, column): words for data, k in line.items() for (at, column), words in found.items() if at == k}
    assert len(found) == sum(len(row.asked) for row in ROWS) == 3 * 3 + 2 * (2 * 3 + 5 * 4) + 6 + 3 * 4 + 3
    none, few = "bn_none", "bn_few"
    assert re.fullmatch(r"explained: \+45.0 ± \d\.\d n = 10, gap \+40.0", cells[none, 0]), "65 − 20, and 60 − 20"
    assert cells[none, 1] == "no effect > 2: +0.0 ± 0.0 n = 10, gap +3.0"
    assert "+2.0 ± " in cells[none, 3]
    assert cells[few, 0].startswith("supported: +10.0 ±")
    assert cells[few, 0].endswith("n = 10, gap +16.0"), "90 − 74, at equal labels"
    assert cells[few, 2].startswith("contradicted: −6.0 ± ")
    assert cells["gn_none", 1].startswith("contradicted: −12.0") and "n = 3, gap +3.0" in cells["gn_none", 1]
    assert cells["night_fresh", 0] == "no effect > 2: +0.0 ± 0.0 n = 10, gap +1.0"
    assert (few, 3) not in cells, "with labels nobody asks it"
    assert cells["gn_many", 0] == cells["arid6_bn", 3] == cells["bn_none_zerodce", 0] == regimes.NOT_RUN
    for title in ("40 labels a class", "10 labels a class", "from bright video, batch norm throughout", "n seeds"):
        assert title in text
    boxes = [its.get_window_extent() for its in fig.axes[0].texts]
    assert not [a for k, a in enumerate(boxes) for b in boxes[:k] if a.overlaps(b)], "texts run into each other"


def test_colours_are_verdicts_and_registered_cells_are_framed(figures):
    board = regimes.board(best())
    fig = regimes.picture(board)
    cell = board.cells[row("bn_none"), LIGHT[0]]
    assert cell.kind == "explained" and cell.colour == KINDS["explained"][2]
    few = board.cells[row("gn_none"), LIGHT[1]]
    assert few.provisional and few.colour != KINDS["contradicted"][2]
    (framed,) = [patch for patch in fig.axes[0].patches if patch.get_linewidth() > 1]
    assert framed.get_y() == min(patch.get_y() for patch in fig.axes[0].patches), "D1 from nothing"


def test_the_alternative_text_counts_verdicts(figures):
    text = displayed.alt(regimes.picture(regimes.board(best()), "Made up"))
    assert text.startswith("Made up: DL-KDD: 3 no effect > 2, ") and " not run, " in text
    assert text.endswith("generative distillation: 6 not run of 6 cells; PKD and WISE: 15 not run of 15 cells")
    assert len(text) <= displayed.LONGEST and not text.endswith("…")


def test_real_clips_are_asked_the_claims_about_bright_networks(figures):
    for fold in "AB":
        keep(f"regimes_arid6-arid6_bn-fold{fold}", replace(scores(WITHOUT), ids=np.array([f"{fold}{n}" for n in range(
            CLIPS)]), units=np.array([f"{fold}{n % 20}" for n in range(CLIPS)])))
    cell = regimes.board(best()).cells[row("arid6_bn"), LIGHT[3]]
    assert cell.said.reading.effects["re_estimated"].mean == pytest.approx(2) and cell.gap == pytest.approx(3)
    assert cell.said.reading.units == 40 and not cell.said.registered


def test_before_its_registered_runs_a_regime_shows_the_reading_before(figures):
    made = [replace(said, data=said.claim.plan.earlier, reading=None) if said.claim.claim == "D1r" else said
            for said in best()]
    assert (row("bn_none"), LIGHT[0]) not in regimes.board(made).cells
    keep("regimes-bn_none_earlier", scores(WITHOUT | {"dlkdd_bright": 50}, seeds=3))
    its = made[CLAIMS.index("D1r")]
    earlier = its.study.scores([its.data])[its.data]
    made[CLAIMS.index("D1r")] = replace(its, reading=its.claim.read(earlier))
    lines = regimes.board(made).cells[row("bn_none"), LIGHT[0]].lines
    assert lines[1].startswith("+30.0 ± ") and lines[2:] == ["n = 3", "gap +40.0"]


def test_without_the_study_of_regimes_there_is_no_board(tmp_path, monkeypatch):
    monkeypatch.setenv("KDLAB_FIGURES", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="run `kdlab study regimes`"):
        regimes.board([])


def test_every_regime_is_one_that_its_study_has():
    known = studies.every()
    reads = {where for its in ROWS for where in its.asked.values()}
    for name, study, data in reads:
        assert not data or data in {part.data for part in known[study].chosen(known[study].size, 1)}, (study, data)
        assert data or name in {claim.claim for claim in known[study].claims}, (study, name)
    assert {data for _, study, data in reads if study == "regimes"} == {
        part.data for part in regimes_study.study.chosen(None, 1)} - {"bn_none_earlier"}


def test_every_claim_of_a_paper_has_a_regime_and_a_sentence_counts_them(figures):
    asked = {name for its in ROWS for name, _, _ in its.asked.values()}
    assert asked == {*CLAIMS}
    light, features, exits = regimes.sentences(regimes.board(best()))
    assert light.startswith("**DL-KDD**, 14 cells. Supported 3: D1 (from bright video, batch norm throughout: 10")
    assert "registered" not in light and "provisional" in light  # these are second readings of few seeds
    assert features == "**generative distillation**, 0 cells. None is supported, and none contradicted."
    assert "**PKD and WISE**, 0 cells" in exits


def test_exits_are_read_on_data_that_do_not_confirm_a_claim():
    from kdlab.papers.progressive import study as exits

    (best,) = told(["P3"])
    cell = regimes._read(studies.every()["progressive"], "night_bright", best)
    wanted = exits.exit_effect(exits.study.scores_of("night_bright"), "pkd", "ce_ic")
    assert cell.said.reading.effects["ce_ic"].mean == pytest.approx(wanted.mean) and cell.said.data == "night_bright"
    assert not cell.said.registered and regimes._read(studies.every()["progressive"], "weizmann", best).gap
