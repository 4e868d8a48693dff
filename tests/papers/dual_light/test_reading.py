"""What notebooks 03 and 03b say is computed, and true of other evidence, too."""

import dataclasses
import json

import numpy as np
import pytest

from kdlab.measure.embedding import Embedding
from kdlab.measure.paired import Effect
from kdlab.papers.dual_light import controls, reading
from kdlab.papers.dual_light.study import HEADLINE
from kdlab.study import Scores
from tests.conftest import guesses

RNG = np.random.default_rng(0)
LABELS = RNG.integers(5, size=400)


def answers(share: float) -> np.ndarray:
    return guesses(RNG, LABELS, 6, share, 5)


def made_up(**shares: float) -> Scores:
    ids = np.array([f"c{k}" for k in range(400)])
    predicted = {c: answers(share) for c, share in shares.items()}
    names = {c: ["x"] for c in predicted}
    return Scores(tuple("abcde"), tuple(range(100, 106)), ids, ids, LABELS, predicted, {}, names)


@pytest.fixture
def figures(tmp_path, monkeypatch):
    (tmp_path / "predictions").mkdir()
    monkeypatch.setenv("KDLAB_FIGURES", str(tmp_path))
    return tmp_path / "predictions"


def test_the_fresh_clips_are_read_where_they_are_and_nothing_else_is(figures):
    with pytest.raises(FileNotFoundError):
        reading.committed()
    some = made_up(dlkdd=0.8, ce_raw=0.7)
    some.save(figures / "dual_light-night.npz")
    some.save(figures / "dual_light-night_demo.npz")
    assert list(reading.committed()) == ["night"]
    made_up(dlkdd=0.9, same_light=0.7).save(figures / "dual_light-night_fresh.npz")
    sets = reading.committed()
    assert list(sets) == ["night", "night_fresh"]
    gained = reading.gains(sets, {"CE raw": "ce_raw", "same light": "same_light"})
    assert list(gained) == ["DL-KDD − CE raw, study", "DL-KDD − same light, fresh clips"]
    assert gained["DL-KDD − CE raw, study"].mean == pytest.approx(some.effect("dlkdd", "ce_raw").mean)


def test_every_set_has_clips_that_differ_from_the_others():
    assert reading.clips_of("night").seed != reading.clips_of("night_fresh").seed
    assert reading.SETS.keys() == {"night", "night_fresh"}


@pytest.mark.parametrize(("bright", "word"), [(0.7, "nothing that is sure"), (0.74, "little"), (0.9, "much")])
def test_the_gap_is_told_as_it_is(bright, word):
    same = made_up(ce_raw=0.7)
    predicted = same.predicted | {"ce_enhanced": same.predicted["ce_raw"].copy()}
    change = RNG.random((6, 400)) < (bright - 0.7) / 0.3
    predicted["ce_enhanced"][change] = np.broadcast_to(LABELS, (6, 400))[change]
    assert f"has {word} to" in reading.gap(dataclasses.replace(same, predicted=predicted))


def test_the_table_of_spread_has_each_conditions_mean_and_deviation():
    some = made_up(ce_raw=0.7, dlkdd=0.8)
    table = reading.spread(some).set_index("condition")
    a = some.accuracy("ce_raw")
    assert table.iloc[:, 0]["CE, raw"] == f"{a.mean():.1f} ± {a.std(ddof=1):.1f}"
    assert table.loc["DL-KDD"].iloc[1] == "" and table.iloc[:, 1]["CE, raw"] == str(some.effect("dlkdd", "ce_raw"))
    assert reading.mean_and_deviation(np.array([5.0])) == "5.0"


def test_a_student_that_answers_as_enhanced_networks_do_mends_the_same_pairs():
    some = made_up(ce_raw=0.6, ce_enhanced=0.6)
    some.predicted["ce_enhanced"][:, LABELS == 2] = 2  # enhancement makes this one class easy
    predicted = some.predicted | {"dlkdd": np.roll(some.predicted["ce_enhanced"], 1, 0)}
    changes, agree = reading.mended(dataclasses.replace(some, predicted=predicted))
    _, none = reading.mended(dataclasses.replace(some, predicted=some.predicted | {"dlkdd": answers(0.6)}))
    assert len(changes) == 20 and agree > 0.5 > none
    assert changes.change.is_monotonic_increasing


def test_resemblance_counts_seeds_and_averages():
    shares = [{"teacher": 1.0, "DL-KDD": 0.9, "CE, raw": 0.7, "random weights": 0.01},
              {"teacher": 1.0, "DL-KDD": 0.6, "CE, raw": 0.7, "random weights": 0.03}]
    said = reading.resemblance([Embedding({}, np.zeros(2), each) for each in shares])
    assert "in 1 of 2 seeds: 75 against 70 % on average; random weights 2 %" in said


def exactly(mean: float, half: float, strict: float) -> Effect:
    return Effect(mean, mean - half, mean + half, mean - strict, mean + strict, 5, 100, np.inf, np.inf)


def test_rivals_are_counted_at_both_levels():
    found = {"one": {"a": exactly(3, 1, 2), "b": exactly(3, 2, 4)}, "two": {"c": exactly(0, 1, 2)}}
    said = reading.rivals(found)
    assert "Of 3 comparisons the 95 % interval of 2 excludes zero" in said and "level of 1 (a)." in said
    assert "5 seeds; the median half-width is 1.0" in said
    sure = reading.surely(found).set_index("what")["at the ledger's level"]
    assert sure.to_dict() == {"a": "above zero", "b": "undecided: -1.0 to +7.0"}
    assert reading.surely({"one": {"d": exactly(-3, 1, 2)}})["at the ledger's level"].tolist() == ["below zero"]


def test_lights_and_few_clips_and_the_grid_say_what_was_found():
    shares = {c: 0.8 for c in HEADLINE} | {f"{c}:on_{'raw' if c == 'ce_enhanced' else 'enhanced'}{end}": 0.5 + more
                                           for c in HEADLINE for end, more in (("", 0.0), (":adabn", 0.2))}
    some = made_up(**shares)
    table = reading.lights(some).set_index("network")
    assert table.loc["CE, enhanced (teacher)", "tested on enhanced"].endswith("(trained on it)")
    assert table.loc["CE, raw", "tested on enhanced"] == f"{some.accuracy('ce_raw:on_enhanced').mean():.1f}"
    said = reading.shift(some)
    worst = min(some.effect(c, c.partition(":")[0]).mean for c in shares if ":on_" in c and not c.endswith("adabn"))
    assert f"{worst:+.1f}".replace("+", "") in said
    few = made_up(**{"ce_raw": 0.6, "same_light": 0.6, "dlkdd": 0.6, "dlkdd:zerodce": 0.9})
    gained = reading.few_clips(few)
    assert list(gained)[2] == "teacher on Zero-DCE − CE raw" and gained["teacher on Zero-DCE − CE raw"].low > 20
    assert reading.best_cell({(1.0, 0.1): 70.0, (4.0, 0.5): 60.0}) == (
        "best cell t = 1, alpha = 0.1: 70.0 %; default t = 4, alpha = 0.5: 60.0 %; all cells 60.0 to 70.0 %")


def test_of_real_clips_each_way_has_its_column_and_kept_teachers_their_rows():
    zero = made_up(ce_raw=0.3, dlkdd=0.3, same_light=0.3)
    tuned = made_up(ce_raw=0.5, dlkdd=0.5, same_light=0.5, dlkdd_kept=0.5)
    table = reading.real_table({"zero_shot": zero, "finetuned": tuned}).set_index("condition")
    assert list(table.columns) == ["zero-shot", "fine-tuned"]
    assert table.loc["DL-KDD, kept teacher", "zero-shot"] == ""
    assert list(reading.real_effects(tuned)) == ["DL-KDD − CE, raw", "DL-KDD − same-light KD",
                                                 "DL-KDD: kept − fine-tuned teacher"]
    assert reading.widths(zero).count("seeds") == 2, "of six seeds 2 and 4 are told"


def test_every_question_of_the_controls_has_a_sentence_from_the_committed_evidence():
    lines = reading.control_sentences()
    assert [line.split("**")[1] for line in lines] == ["Rivals.", "Two lights.", "Few clips.", "Real clips, zero-shot.",
                                                       "Real clips, fine-tuned."]
    count = sum(map(len, controls.COMPARISONS.values()))
    assert f"Of {count} comparisons" in lines[0]
    assert json.dumps(lines).count("nan") == 0
