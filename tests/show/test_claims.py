"""What is said of a claim follows from its evidence, and says whether that was registered."""

import time
from dataclasses import replace

import numpy as np
import pytest

from kdlab import studies
from kdlab.measure.paired import Effect
from kdlab.show.claims import Told, sentence, shown, shown_of, told
from kdlab.study import Claim, Plan, Reading, Scores, Study
from kdlab.study.register import Standing

CLAIM = Claim("M1", "a teacher helps", "dlkdd", "ce_raw", ("ce_2x",), comparison="DL-KDD − CE",
              plan=Plan("new", "old", 2200, seeds=15))
STUDY = Study("mine", lambda size, seeds: [], claims=(CLAIM,), titles={"ce_2x": "CE, twice the steps", "kd": "KD"})
WAITING = Standing("registered", "its confirming runs are not there yet")


def effect(mean: float, half: float = 1.0) -> Effect:
    return Effect(mean, mean - half, mean + half, mean - 2 * half, mean + 2 * half, 12, 1100, 3, 300)


def reading(verdict: str = "supported, and explained by ce_2x", **effects: float) -> Reading:
    found = {name: effect(mean) for name, mean in (effects or {"ce_raw": 3.0}).items()}
    return Reading("", verdict, 12, 1100, found, {"ce_2x": effect(0.4)})


def test_a_second_reading_is_told_with_what_is_to_confirm_it():
    assert sentence(Told(STUDY, CLAIM, "old", reading(), WAITING)) == (
        "**M1** says that a teacher helps. DL-KDD − CE: +3.0 ± 1.0 points (`old`, 12 seeds, 1,100 clips). Verdict: "
        "**supported, and explained by CE twice the steps**. This is a second reading, which decides nothing. It is to "
        "be confirmed by 15 seeds on 2,200 clips of `new`; its confirming runs are not there yet.")


def test_the_confirming_runs_are_told_as_such():
    found = reading("underpowered (± 1.0; about 3 seeds would decide)")
    said = sentence(Told(STUDY, CLAIM, "new", found, Standing("run with 12 seeds", reading=found)))
    assert "(`new`, 12 seeds, 1,100 clips). Verdict: **underpowered** (± 1.0; about 3 seeds would decide)." in said
    assert said.endswith("This is the registered confirmation.") and "second" not in said


def test_a_verdict_that_the_register_withholds_is_not_told():
    found = reading("supported")
    standing = Standing("run with 12 seeds", "12 of 15 registered seeds are there", reading=found)
    said = sentence(Told(STUDY, CLAIM, "new", found, standing))
    assert "Verdict: **withheld**: 12 of 15 registered seeds are there." in said and "supported" not in said
    assert said.endswith("This is what was to confirm it.")


def test_what_nobody_has_read_has_no_effect():
    said = sentence(Told(STUDY, CLAIM, "old", None, WAITING))
    assert said == ("**M1** says that a teacher helps. Nothing was read of it yet. It is to be confirmed by 15 "
                    "seeds on 2,200 clips of `new`; its confirming runs are not there yet.")


def test_each_of_several_comparisons_has_its_name():
    several = reading("not supported: no effect larger than 2 points: kd", kd=-0.5, ce_raw=1.0)
    said = Told(STUDY, CLAIM, "old", several, WAITING)
    assert said.effect == "KD −0.5 ± 1.0; ce_raw +1.0 ± 1.0 points"
    squared = replace(said, claim=replace(said.claim, plan=replace(said.claim.plan, unit="points²")))
    assert squared.effect == "KD −0.5 ± 1.0; ce_raw +1.0 ± 1.0 points²"
    assert said.verdict == "not supported: no effect larger than 2 points: KD"
    other = Told(STUDY, CLAIM, "old", Reading("rho -0.10 (-0.34 to +0.12)", "supported", 4, 66), WAITING)
    assert other.effect == "rho −0.10 (−0.34 to +0.12)"


def test_a_claim_is_told_from_its_confirming_runs_where_they_are_there(monkeypatch):
    one = reading("supported")
    both = {"old": Standing("registered", "not yet"), "new": Standing("run with 12 seeds", reading=one)}
    monkeypatch.setattr("kdlab.show.claims.planned", lambda of: [(STUDY, CLAIM)])
    monkeypatch.setattr("kdlab.show.claims.load", lambda study, claim, data, confirming: None)
    for there, registered in (("new", True), ("old", False)):
        monkeypatch.setattr("kdlab.show.claims.Register.standing", lambda *_, there=there: both[there])
        (said,) = told(["M1"], [STUDY])
        assert (said.data, said.registered) == (there, registered)
    with pytest.raises(ValueError, match="no study has a claim 'M9'; they are M1"):
        told(["M9"], [STUDY])


def test_the_committed_evidence_tells_every_claim_of_a_chapter_fast(capsys):
    studies.every()
    began = time.process_time()
    shown("D1", "D2", "D3", "D4")
    assert time.process_time() - began < 2
    for said in told(["D1", "G1", "P3", "P3u"]):
        text = sentence(said)
        assert text.startswith(f"**{said.claim.claim}** says that {said.claim.says}.")
        assert ("registered confirmation" in text) == (said.registered and not said.standing.withheld)
        assert said.registered or said.standing.withheld in text
        if said.reading:
            assert f"(`{said.data}`, {said.counted})" in text and said.effect in text


def test_a_notebook_gets_markdown(monkeypatch):
    sent = []
    monkeypatch.setattr("kdlab.show.claims.display", sent.append)
    shown("D1", "D3")
    lines = sent[0].data.splitlines()
    assert [line[:6] for line in lines[:2]] == ["- **D1", "- **D3"] and "docs/ledger.md" in lines[-1]


def test_a_claim_of_ones_own_study_is_told_too(monkeypatch):
    sent = []
    monkeypatch.setattr("kdlab.show.claims.display", sent.append)
    right = np.random.default_rng(0).random((3, 40)) > 0.5
    ids = np.arange(40).astype(str)
    scores = Scores(("a", "b"), (0, 1, 2), ids, ids, np.zeros(40, int), {"mine": 1 - right, "plain": right},
                    recipes={"mine": [], "plain": []})
    own = Claim("M1", "mine is better", "mine", "plain")
    shown_of(Study("own", lambda size, seeds: [], claims=(own, CLAIM)), "here", scores)
    first, *more = sent[0].data.splitlines()
    assert first.startswith("- **M1** says that mine is better. Mine − plain: ") and "`here`, 3 seeds, 40 test" in first
    assert first.endswith("It was not registered before its runs, so this decides nothing.") and len(more) == 2
