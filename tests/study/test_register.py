"""Claims are registered, and committed, before the runs that confirm them; else no verdict is told."""

import json
import subprocess
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from kdlab import paths, studies
from kdlab.cli.claims import claims as command
from kdlab.clips.later import Later
from kdlab.measure.bootstrap import ROWS, comparisons, strict_level
from kdlab.night import Night
from kdlab.night.streams import NightStream
from kdlab.papers.dual_light.recipes import dual_light
from kdlab.studies import map_cells
from kdlab.study import FIRST, Claim, Part, Plan, Reading, Scores, Study, by_condition, fresh
from kdlab.study.evidence import COLUMNS, Evidence
from kdlab.study.ledger import export, ledger
from kdlab.study.register import Register, described, digest, expected, load, planned, table
from kdlab.train.sizes import SMOKE

CLAIM = Claim("M1", "a teacher helps", "dlkdd", "ce_raw", ("ce_2x",),
              plan=Plan("night_fresh", "night", 200, seeds=10, smallest=5))


def study_of(*claims, first=FIRST, **changes) -> Study:
    def parts(size, seeds):
        made = by_condition(lambda seed: dual_light(size, seed), seeds, ("ce_raw", "ce_2x", "dlkdd"), first)
        return [Part("night", made), Part("night_fresh", made, on=fresh(size.night))]

    return replace(Study("mine", parts, size=SMOKE, seeds=10, claims=claims, committed=True), **changes)


STUDY = study_of(CLAIM)


def scores(gain: float, first=FIRST, seeds=10, clips=200) -> Scores:
    draw = np.random.default_rng(0).random((seeds, clips))
    predicted = {c: (draw > right).astype(int) for c, right in (("ce_raw", 0.5), ("ce_2x", 0.5), ("dlkdd", 0.5 + gain))}
    ids = np.array([f"c{n}" for n in range(clips)])
    return Scores(("a", "b"), tuple(range(first, first + seeds)), ids, ids, np.zeros(clips, int), predicted, {},
                  {c: [f"{c}-{s}" for s in range(seeds)] for c in predicted}, dict.fromkeys(predicted, "sources"))


@pytest.fixture
def figures(tmp_path, monkeypatch):
    """A git repository with committed evidence of the data that was read before."""
    monkeypatch.setenv("KDLAB_FIGURES", str(tmp_path / "figures"))
    monkeypatch.setenv("KDLAB_RUNS", str(tmp_path / "runs"))
    begin(tmp_path, monkeypatch)
    scores(0.1, first=0).save(tmp_path / "figures" / "predictions" / "mine-night.npz")
    commit(tmp_path)
    return tmp_path / "figures"


def begin(folder, monkeypatch) -> None:
    """A git repository in ``folder``, whatever git knows of whoever runs the tests."""
    for name in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{name}_NAME", "someone")
        monkeypatch.setenv(f"GIT_{name}_EMAIL", "someone@example.org")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(folder / "none"))
    git(folder, "init", "-q")


def git(folder, *arguments) -> None:
    subprocess.run(["git", "-C", str(folder), *arguments], check=True, capture_output=True)


def commit(folder) -> None:
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "as it is")


def confirm(figures, found: Scores, digests: dict[str, str]) -> None:
    """What a study leaves: predictions, and a table with the digest of each claim."""
    found.save(figures / "predictions" / "mine-night_fresh.npz")
    rows = [dict(study="mine", data="night_fresh", condition=claim, metric="registered", value=1, recipe=which)
            for claim, which in digests.items()]
    pd.DataFrame(rows, columns=COLUMNS).to_csv(figures / "mine.csv", index=False)


def stands(study=STUDY, claim=CLAIM):
    return Register().standing(study, claim)


def test_a_claim_that_was_registered_and_committed_before_its_runs_has_a_verdict(figures):
    assert stands().state == "not registered" and stands().verdict == "withheld: it is not registered"
    assert Register().add([STUDY]) == ["M1"] and Register().add([STUDY]) == [], "the same claim is registered once"
    (entry,) = json.loads((figures / "claims.json").read_text())
    assert entry["digest"] == digest(entry) and entry["m"] == ROWS and 0 < entry["power"] <= 1
    assert entry["seeds"] == {"number": 10, "first": 100} and entry["units"] == {"number": 200, "kind": "clips"}
    assert entry["recipes"]["dlkdd"].startswith("dlkdd-night-s100-") and len(entry["tested_on"]) == 1
    assert stands().withheld == "its registration is not committed"
    commit(figures)
    assert stands().state == "registered" and "not there yet" in stands().withheld
    confirm(figures, scores(0.2), Register().under(STUDY, {"night_fresh"}))
    assert stands().verdict == "supported", "evidence that is not committed yet comes after every commit"
    commit(figures)
    assert stands().state == "run with 10 seeds" and stands().verdict == "supported"


def test_runs_that_precede_their_registration_decide_nothing(figures):
    confirm(figures, scores(0.2), {})
    commit(figures)
    Register().add([STUDY])
    commit(figures)
    assert stands().verdict == "withheld: its runs precede its registration"
    which = Register().under(STUDY, {"night_fresh"})
    rows = pd.read_csv(figures / "mine.csv")
    confirm(figures, scores(0.2), which)  # the digest is written beside the old predictions
    commit(figures)
    assert len(rows) == 0 and stands().state == "runs precede the registration"
    assert "predictions/mine-night_fresh.npz is of" in stands().withheld


def test_registration_and_runs_in_one_commit_do_not_tell_which_came_first(figures):
    Register().add([STUDY])
    confirm(figures, scores(0.2), {"M1": Register().entries[0]["digest"]})
    commit(figures)
    assert "its runs precede its registration: mine.csv is of" in stands().withheld


def test_where_git_fails_nothing_is_told(figures, monkeypatch):
    Register().add([STUDY])
    commit(figures)
    confirm(figures, scores(0.2), Register().under(STUDY, {"night_fresh"}))
    commit(figures)
    assert not stands().withheld
    asked = Register._git
    monkeypatch.setattr(Register, "_git", lambda self, *a: None if "-1" in a else asked(self, *a))
    assert stands().withheld == "git does not say since when mine.csv is as it is: try again"


def test_a_shallow_clone_cannot_tell_and_says_how_to_mend_it(figures, tmp_path, monkeypatch):
    Register().add([STUDY])
    commit(figures)
    confirm(figures, scores(0.2), Register().under(STUDY, {"night_fresh"}))
    commit(figures)
    git(tmp_path, "clone", "-q", "--depth", "1", f"file://{tmp_path}", "shallow")
    monkeypatch.setenv("KDLAB_FIGURES", str(tmp_path / "shallow" / "figures"))
    assert stands().withheld.endswith("the order in time cannot be checked: git fetch --unshallow")


def test_a_changed_claim_or_study_is_seen_and_stands_beside_the_old_one(figures):
    Register().add([STUDY])
    commit(figures)
    under = Register().under(STUDY, {"night_fresh"})
    confirm(figures, scores(0.2), under)
    commit(figures)
    other = replace(CLAIM, controls=(), rule="it beats the baseline")
    for changed in (study_of(other), study_of(CLAIM, size=replace(SMOKE, settings=replace(SMOKE.settings, epochs=3)))):
        assert stands(changed, changed.claims[0]).verdict == "withheld: it was changed since it was registered"
        with pytest.raises(ValueError, match="M1 of the study mine was changed since it was registered: `kdlab claims"):
            Register().under(changed, {"night_fresh"})
    assert Register().add([study_of(other)]) == ["M1"] and len(Register().of("M1")) == 2
    assert stands(study_of(other), other).withheld == "its registration is not committed"
    commit(figures)
    assert stands(study_of(other), other).withheld == "its runs are of another registration"
    shown = table(Register(), [study_of(other)])
    assert shown.state.tolist() == ["runs precede the registration", f"an older registration, {under['M1'][:7]}"]
    assert comparisons() == ROWS, "a changed claim is still one"


def test_a_study_refuses_what_is_not_registered_and_committed_before_it_trains(figures, monkeypatch):
    monkeypatch.setattr("kdlab.study.study.obtain_all", lambda *_, **__: pytest.fail("trained"))
    with pytest.raises(ValueError, match="M1 of the study mine is not registered: `kdlab claims --register`"):
        STUDY.run(say=str)
    with monkeypatch.context() as had, pytest.raises(ValueError, match="M1 of the study mine is not registered"):
        had.setattr("kdlab.study.evidence.replaces", lambda *_: False)  # a table with more seeds is there
        STUDY.run(seeds=2, say=str)
    Register().add([STUDY])
    with pytest.raises(ValueError, match="is registered, but not committed: commit"):
        STUDY.run(say=str)
    commit(figures)
    place = Evidence("mine", figures, True)
    (row,) = STUDY.registered(place, STUDY.chosen())
    assert row.keys() == set(COLUMNS) and row["recipe"] == Register().entries[0]["digest"]
    assert STUDY.registered(replace(place, committed=False), STUDY.chosen()) == []
    assert STUDY.registered(place, STUDY.chosen(only=("night",))) == []


def test_outside_git_a_sentence_and_no_verdict(figures):
    Register().add([STUDY])
    (figures.parent / ".git").rename(figures.parent / "gone")
    said = []
    assert Register().under(STUDY, {"night_fresh"}, said.append) == {}
    assert said == [f"claim M1 of the study mine: {figures} is not under git, so its verdict is withheld"]
    confirm(figures, scores(0.2), {})
    assert stands().verdict == "withheld: this is not under git, which tells what came first"


def test_outside_git_a_ledger_that_was_made_under_git_vouches_for_the_same_files(figures):
    Register().add([STUDY])
    commit(figures)
    which = Register().under(STUDY, {"night_fresh"})
    confirm(figures, scores(0.2), which)
    export([STUDY])
    (figures.parent / ".git").rename(figures.parent / "gone")
    assert stands().verdict == "supported" and stands().in_time
    kept = (figures / "ledger.json").read_text()
    (figures / "ledger.json").write_text(kept.replace(which["M1"], "0" * 64))
    assert stands().withheld == "this is not under git, which tells what came first", "it speaks of another one"
    (figures / "ledger.json").write_text(kept)
    confirm(figures, scores(0.3), which)
    assert stands().withheld == "this is not under git, which tells what came first", "these are other predictions"
    (figures / "ledger.json").write_text('{"mine": 1}')
    with pytest.raises(ValueError, match="is no ledger of kdlab's: restore the committed file, or delete it"):
        stands()


def test_a_ledger_does_not_vouch_for_runs_that_precede_their_registration(figures):
    Register().add([STUDY])
    digest_of = {"M1": Register().entries[0]["digest"]}
    confirm(figures, scores(0.2), digest_of)
    commit(figures)  # both in one commit: it does not tell which came first
    assert "does not come after" in stands().withheld
    export([STUDY])
    (figures.parent / ".git").rename(figures.parent / "gone")
    assert stands().withheld == "this is not under git, which tells what came first"


@pytest.mark.parametrize("claim, why", [
    (replace(CLAIM, controls=()), "M1 has no control"),
    (replace(CLAIM, plan=None), "M1 does not say on which data, seeds and test units"),
    (replace(CLAIM, plan=replace(CLAIM.plan, earlier="elsewhere")), "M1 has no power: nothing of 'elsewhere'"),
    (replace(CLAIM, plan=replace(CLAIM.plan, data="day")), "confirmed on 'day', which the study mine does not have"),
])
def test_a_claim_without_control_seeds_or_power_is_not_registered(figures, claim, why):
    with pytest.raises(ValueError, match=why):
        described(study_of(claim), claim) and Register().add([study_of(claim)])
    assert not (figures / "claims.json").exists()


@pytest.mark.parametrize("claim, why", [(replace(CLAIM, controls=()), "withheld: M1 has no control"),
                                        (replace(CLAIM, plan=None), "withheld: M1 does not say on which data")])
def test_the_verdict_of_a_claim_without_control_or_plan_is_withheld(figures, claim, why):
    assert stands(study_of(claim), claim).verdict.startswith(why)


@pytest.mark.parametrize("plan, why", [(dict(first=99), "first=99: give a whole number of at least 100; smaller seeds"),
                                       (dict(seeds=0), "seeds=0"), (dict(units=1.5), "units=1.5"),
                                       (dict(smallest=0), "smallest=0")])
def test_a_plan_has_new_seeds_and_possible_numbers(plan, why):
    with pytest.raises(ValueError, match=why):
        replace(CLAIM.plan, **plan)


def test_a_gate_that_fails_and_runs_that_are_fewer_or_were_seen_withhold_the_verdict(figures):
    gated = study_of(replace(CLAIM, gate=never))
    Register().add([gated])
    commit(figures)
    for found, why in ((scores(0.2), "its gate fails, 3 of 4 may not teach"),
                       (scores(0.2, seeds=6), "6 of 10 registered seeds are there"),
                       (scores(0.2, seeds=12), "12 seeds are there where 10 were registered: more, until it decides, "
                                               "are none"),
                       (scores(0.2, clips=150), "150 of 200 registered clips are there"),
                       (scores(0.2, first=95), "seed 95 was looked at before 100, the first")):
        confirm(figures, found, Register().under(gated, {"night_fresh"}))
        assert stands(gated, gated.claims[0]).withheld == why


def never(rows) -> tuple[bool, str]:
    return False, "3 of 4 may not teach"


def test_a_register_that_was_written_by_hand_is_refused(figures):
    Register().add([STUDY])
    text = (figures / "claims.json").read_text()
    (figures / "claims.json").write_text(text.replace('"number": 10', '"number": 20'))
    with pytest.raises(ValueError, match="the entry of M1 is not what its digest says"):
        Register()
    (figures / "claims.json").write_text("{")
    for look in (Register, comparisons):
        with pytest.raises(ValueError, match="claims.json is no register of claims"):
            look()


def test_the_strict_level_is_that_of_all_registered_claims(figures):
    assert strict_level() == 1 - 0.05 / ROWS
    many = [replace(CLAIM, claim=f"M{n}") for n in range(20)]
    Register().add([study_of(*many)])
    assert strict_level() == 1 - 0.05 / 20 and Register().entries[0]["m"] == 20


def test_the_ledger_for_other_tables_has_both_readings_and_where_they_are_from(figures):
    (first, second) = ledger([STUDY])
    assert first["verdict"] == "withheld: it is not registered" and first["seeds"] == 0 and first["intervals"] == {}
    assert (second["reading"], second["data"], second["verdict"]) == ("second reading", "night", "supported")
    Register().add([STUDY])
    commit(figures)
    confirm(figures, scores(0.2), Register().under(STUDY, {"night_fresh"}))
    rows = json.loads(export([STUDY]).read_text())
    confirmed = rows[0]
    assert (confirmed["reading"], confirmed["data"], confirmed["seeds"], confirmed["units"], confirmed["verdict"]) == (
        "registered", "night_fresh", 10, 200, "supported")
    effect = scores(0.2).effect("dlkdd", "ce_raw")
    assert confirmed["intervals"]["ce_raw"]["strict_low"] == pytest.approx(effect.strict_low, abs=1e-4)
    assert set(confirmed["provenance"]["files"]) == {"mine.csv", "predictions/mine-night_fresh.npz"}
    assert confirmed["provenance"]["sources"]["dlkdd"] == "sources" and confirmed["power"] > 0
    assert set(confirmed["controls"]) == {"ce_2x"}
    export([STUDY])  # its own is written anew
    (figures / "ledger.json").write_text("my own")
    with pytest.raises(ValueError, match="is no ledger of kdlab's"):
        export([STUDY])


def test_a_claim_may_have_a_statistic_of_its_own(figures):
    own = replace(CLAIM, controls=(), rule="below one", statistic=lambda found: Reading(f"{found}", "supported", 1, 9),
                  expected=lambda found, plan, level: found * level, evidence=lambda data, confirming: 0.5)
    study = study_of(own)
    Register().add([study])
    assert Register().entries[0]["power"] == pytest.approx(0.5 * strict_level(), abs=1e-3)
    assert own.judged(0.5) == dict(claim="M1", says="a teacher helps", comparison="dlkdd − ce_raw", effect="0.5",
                                   seeds=1, verdict="supported")
    assert study.verdicts(scores(0.1)).empty, "scores are not its evidence"


def test_a_claim_about_what_was_never_read_has_the_power_of_one_like_it(figures):
    def parts(size, seeds):
        return [Part("night", by_condition(lambda seed: dual_light(size, seed), seeds, first=FIRST))]

    new = replace(CLAIM, claim="M2", condition="same_light", baseline="label_smoothing", controls=("ce_2x",))
    with pytest.raises(ValueError, match="M2 has no power: nothing of 'night' is committed in the study mine"):
        expected(study_of(CLAIM, new, parts=parts), new, 15)
    alike = replace(new, like=CLAIM)
    found = expected(study_of(CLAIM, alike, parts=parts), alike, 15)
    assert found == expected(STUDY, CLAIM, 15) > 0
    few = replace(alike, plan=replace(alike.plan, seeds=2))
    assert expected(study_of(CLAIM, few, parts=parts), few, 15) < found, "its own plan"
    assert load(study_of(alike, parts=parts), alike, "night", False) is None, "no second reading of other conditions"


def test_a_study_is_asked_once_for_its_shards_whatever_the_number_of_its_claims(figures, monkeypatch):
    study, asked = study_of(CLAIM, replace(CLAIM, claim="M2")), []
    Register().add([study])
    commit(figures)
    monkeypatch.setattr(Study, "shards", lambda self: asked.append(self.name))
    assert table(Register(), [study]).state.tolist() == ["registered", "registered"] and asked == ["mine"]


def test_scores_of_some_data_sets_are_read_alone(figures):
    confirm(figures, scores(0.2), {})
    assert list(STUDY.scores()) == ["night", "night_fresh"] and list(STUDY.scores(["night"])) == ["night"]
    assert STUDY.scores_of("night").seeds[0] == 0
    name, newest = STUDY.newest("night")
    assert name == "night_fresh" and newest.seeds[0] == FIRST
    (figures / "predictions" / "mine-night_fresh.npz").unlink()
    name, newest = STUDY.newest("night")
    assert name == "night" and newest.seeds[0] == 0
    (figures / "predictions" / "mine-night.npz").unlink()
    with pytest.raises(FileNotFoundError, match="the study mine has no committed predictions of 'night': run `kdlab"):
        STUDY.scores_of("night")


def test_what_a_claim_compares_is_found_by_its_trainings():
    claim = replace(CLAIM, condition="wise:pkd", baseline=("single:pkd", "ce_ic"), controls=())
    assert claim.trained(["ce_ic", "pkd", "own_final", "wise"]) == ["ce_ic", "pkd"]


def test_fresh_clips_are_test_clips_of_another_data_seed():
    night = Night(per_class=(4, 2, 3))
    assert fresh(night) == replace(night, seed=FIRST, per_class=(0, 0, 3)) and fresh(night, 7).per_class == (0, 0, 7)


def test_where_places_tell_the_class_fresh_clips_are_later_ones_of_the_same_places():
    night = Night(per_class=(4, 2, 3), context=0.9)
    assert fresh(night) == Later(replace(night, per_class=(0, 0, 6)), 3)
    stream = fresh(NightStream(night), 7, read=5)
    assert stream == Later(NightStream(replace(night, per_class=(0, 0, 12))), 5)
    assert len(fresh(replace(night, classes=("Run", "Sit"), per_class=(1, 1, 1)), 2).catalogue().records) == 4


def test_every_row_of_the_ledger_can_be_registered(monkeypatch, tmp_path):
    """Each has its data, new seeds, test units, a control or a rule, and a study that tests on what it names."""
    monkeypatch.setenv("KDLAB_REAL_CLIPS", str(tmp_path))
    found = planned(studies.every().values())
    assert sorted(claim.claim for _, claim in found) == sorted(
        ["D1", "D2", "D3", "D4", "D1r", "D2r", "D3r", "D5r", "G1", "G2", "G3", "G4", "P3a", "P3u", "P3w", "P4u", "M1",
         *(f"P{n}" for n in range(1, 8))])
    for study, claim in found:
        fields = described(study, claim)
        assert fields["recipes"] and all(f"-s{claim.plan.first}-" in name for name in fields["recipes"].values())
        parts = [part for part in study.chosen() if part.data == claim.plan.data and part.recipes]
        assert max(part.seeds for part in parts) >= claim.plan.seeds
        for on in (part.on for part in parts if part.on is not None):
            later = isinstance(on, Later)
            night = on.of.night if later else getattr(on, "night", on)
            own = map_cells.HELD_CLIPS if claim.claim == "M1" else FIRST  # those of 100 were read by then
            assert night.seed == (0 if later else own) and bool(getattr(night, "context", 0)) == later
            tested = night.videos[2] if hasattr(night, "videos") else night.per_class[2] * len(night.classes)
            assert claim.plan.units == tested - (on.first * len(night.classes) if later else 0)


def test_the_command_prints_every_claim(figures, monkeypatch):
    monkeypatch.setattr(studies, "every", lambda: {"mine": STUDY})
    run = CliRunner().invoke(command, ["--register", "--ledger"])
    assert run.exit_code == 0 and "registered: M1. Commit" in run.output
    assert "registered, not committed" in run.output and (figures / "ledger.json").is_file()
    assert "every claim is registered as it is" in CliRunner().invoke(command, ["--register"]).output
    assert paths.figures_dir() == figures
