"""A cell says what a reading says, in words and colours."""

from dataclasses import replace

import pytest

from kdlab import studies
from kdlab.measure.paired import Effect
from kdlab.show.claims import Told
from kdlab.show.scoreboard_cells import KINDS, TEACHER_IN, Cell, known_gap
from kdlab.study import Claim, Part, Plan, Reading, Study
from kdlab.study.register import Standing

CLAIM = Claim("D9", "a teacher <helps>", "dlkdd", "ce_raw", ("ce_2x",), plan=Plan("new", "old", 2200))
STUDY = Study("mine", lambda size, seeds: [Part("old", {})])
WAITING = Standing("registered", "its confirming runs are not there yet")


def cell(verdict: str, seeds: int = 12, means=(3.0,), standing=WAITING, gap=None) -> Cell:
    effects = {f"other{k}": Effect(m, m - 1, m + 1, m - 2, m + 2, seeds, 1100, 3, 300) for k, m in enumerate(means)}
    return Cell(Told(STUDY, CLAIM, "old", Reading("", verdict, seeds, 1100, effects), standing), gap)


@pytest.mark.parametrize(("verdict", "kind"), [
    ("supported", "supported"), ("supported, small", "supported"), ("contradicted (3 seeds)", "contradicted"),
    ("contradicted, small", "contradicted"),
    ("supported, and explained by ce_2x", "explained"), ("supported, small, and explained by a and b", "explained"),
    ("no effect larger than 2 points", "no effect"), ("not supported: underpowered: kd", "not supported"),
    ("underpowered (± 1.0; more would decide)", "underpowered"), ("not testable on this set (± 3.0)", "not testable"),
])
def test_each_verdict_of_the_ledger_has_its_kind(verdict, kind):
    small = verdict.endswith(", small")
    assert cell(verdict).kind == kind and cell(verdict).lines[0] == (verdict if small else KINDS[kind][1])
    assert cell(verdict).colour == KINDS[kind][2] or cell(verdict).provisional


def test_a_cell_has_the_word_the_effect_the_seeds_and_the_gap():
    assert cell("supported", means=(-0.5,), gap=-1.25).lines == ["supported", "−0.5 ± 1.0", "n = 12", "gap −1.2"]
    assert cell("not supported: a", means=(1.0, -2.0)).lines[1:] == ["−2.0 to +1.0", "n = 12"]
    assert Cell(Told(STUDY, CLAIM, "new", None, WAITING)).lines == ["not there yet", "n = 10"]
    unknown = Told(STUDY, CLAIM, "new", None, Standing("not registered", "it is not registered"))
    assert Cell(unknown).lines[0] == "not registered" and not Cell(unknown).kind


def test_what_compares_no_scores_has_its_few_words_where_an_effect_would_stand():
    told = Reading("ratio 0.5", "contradicted", 12, 60, brief="4 of 4 against")
    assert Cell(replace(cell("supported").said, reading=told)).lines == ["contradicted", "4 of 4 against", "n = 12"]


def test_every_claim_with_a_teacher_has_its_gap_where_a_teacher_was_tested():
    """Of detections, which hold no class of a clip, and of ablations, whose teacher was tested beside them."""
    known = studies.every()
    for study, data, name, pair, teacher_in in (
            ("detection", "night_untrimmed", "G4", ("det_teacher", "det_student"), "night_untrimmed"),
            ("generative", "night_bright_ablations", "G3", ("teacher_fr", "student_ce"), "night_bright")):
        claim = next(claim for claim in known[study].claims if claim.claim == name)
        expected = claim.effect(known[study].scores_of(teacher_in), *pair).mean
        assert known_gap(known[study], claim, data) == pytest.approx(expected) and expected > 1


def test_ablations_and_the_set_that_has_their_teacher_are_of_the_same_students_and_clips():
    study = studies.every()["generative"]
    for ablations, whole in TEACHER_IN.items():
        found = study.scores([ablations, whole])
        if ablations in found and whole in found:
            its, beside = found[ablations], found[whole]
            assert its.recipes["genkd"] == beside.recipes["genkd"] and its.ids.tolist() == beside.ids.tolist()
    assert {"night_bright", "night_bright_ablations"} <= study.scores().keys()


def test_few_seeds_are_pale_and_kinds_differ_in_colour():
    assert cell("supported").colour == KINDS["supported"][2] != cell("supported", seeds=9).colour
    assert len({colour for kind, (_, _, colour) in KINDS.items() if kind != "not testable"}) == len(KINDS) - 1
    for planned, pale in ((8, True), (1, False)):  # as M1's, whose word says so, and as D4's of times and sizes
        claim = replace(CLAIM, plan=replace(CLAIM.plan, seeds=planned))
        assert Cell(replace(cell("supported", seeds=planned).said, claim=claim)).provisional == pale


def test_a_withheld_verdict_is_not_shown_as_one():
    reading = cell("supported").said.reading
    standing = Standing("run with 12 seeds", "its gate fails, too short", reading=reading)
    held = Cell(Told(STUDY, CLAIM, "new", reading, standing))
    assert held.kind == "withheld" and "supported" not in " ".join(held.lines)
