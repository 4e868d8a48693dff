"""The practitioner's list: in order of cost, with what each way needs, and the choice when it is gone down once."""

import numpy as np
import pytest

from kdlab import paths
from kdlab.papers.dual_light import regimes_list
from kdlab.papers.dual_light.regimes_study import TITLES, TUNED
from kdlab.studies import results
from kdlab.study import Scores
from kdlab.study.evidence import COLUMNS, Evidence

#: Percent right, and CPU seconds of adaptation.
NONE = {"as_is": (20, 3), "re_estimated": (70, 9), "entropy": (70, 30), "dlkdd_re": (71, 50), "enhanced": (60, 3),
        "enhanced_re": (75, 9), "augmented": (40, 3), "augmented_re": (50, 9)}
FEW = {"as_is": (20, 3), "re_estimated": (70, 9), "ce_raw": (80, 60), "dlkdd": (80, 90), "ce_enhanced": (90, 60)}


def keep(study: str, data: str, found: dict, seeds=10, clips=1000, fold="") -> list[dict]:
    predicted = {c: np.tile(np.arange(clips) >= right * clips / 100, (seeds, 1)).astype(int)
                 for c, (right, _) in found.items()}
    ids = np.array([f"{fold}{n}" for n in range(clips)])
    scores = Scores(("a", "b"), tuple(range(100, 100 + seeds)), ids, ids, np.zeros(clips, int), predicted, {},
                    {c: [c] * seeds for c in predicted}, dict.fromkeys(predicted, ""))
    file = paths.figures_dir() / "predictions" / f"{study}-{data}{f'-fold{fold}' if fold else ''}.npz"
    file.parent.mkdir(parents=True, exist_ok=True)
    scores.save(file)
    row = dict.fromkeys(COLUMNS, "") | dict(study=study, data=data, fold=fold, metric="adaptation_seconds", unit="s")
    return [row | dict(condition=c, seed=seed, value=seconds) for c, (_, seconds) in found.items()
            for seed in scores.seeds]


@pytest.fixture
def figures(tmp_path, monkeypatch):
    monkeypatch.setenv("KDLAB_FIGURES", str(tmp_path / "figures"))
    rows = keep("regimes", "bn_none", NONE) + keep("regimes", "bn_few", FEW) + keep("regimes", "gn_none", NONE, seeds=3)
    Evidence("regimes", paths.figures_dir(), True).save_rows(rows)
    return tmp_path / "figures"


def test_the_list_goes_down_by_cost_and_chooses_what_is_surely_better(figures):
    found = regimes_list.committed()
    assert list(found.way) == [TITLES[c] for c in ("as_is", "re_estimated", "entropy", "dlkdd_re", "augmented",
                                                   "augmented_re", "enhanced", "enhanced_re")] + [
        TUNED[c] for c in ("ce_raw", "dlkdd", "ce_enhanced")]
    chosen = [TITLES[c] for c in ("as_is", "re_estimated", "dlkdd_re", "enhanced_re")]
    assert list(found.way[found.chosen]) == [*chosen, TUNED["ce_raw"], TUNED["ce_enhanced"]]
    row = found.set_index("way").loc
    assert row[TITLES["re_estimated"]].gain.startswith("+50.0 ± ") and row[TITLES["as_is"]].gain == ""
    assert row[TITLES["dlkdd_re"]].more.startswith("+1.0 ± "), "over re-estimated statistics"
    assert row[TITLES["enhanced"]].more.startswith("-11.0 ± "), "over what is chosen before it"
    assert row[TUNED["ce_raw"]].more.startswith("+5.0 ± "), "over a way without labels"
    assert set(found.seeds) == {10} and row[TUNED["ce_raw"]].seconds == 60


def test_of_earlier_seeds_alone_there_is_no_list(figures):
    (figures / "predictions").rename(figures / "gone")
    Evidence("regimes", figures, True).save_rows(keep("regimes", "bn_none_earlier", NONE, seeds=3))
    found = regimes_list.committed()
    assert found.empty and regimes_list.advice(found).startswith("No cell of it is committed yet: `kdlab study regimes")
    assert regimes_list.shown(found).data.empty and results.practice_table() == ""


def test_ways_of_other_seeds_are_not_compared(figures):
    rows = keep("regimes", "bn_few", FEW, seeds=3)
    Evidence("regimes", paths.figures_dir(), True).save_rows(keep("regimes", "bn_none", NONE) + rows)
    found = regimes_list.committed().set_index("way")
    assert found.more[TUNED["ce_raw"]] == "" and not found.chosen[TUNED["ce_enhanced"]]


def test_a_reader_sees_what_each_way_needs_and_gives(figures):
    shown = regimes_list.shown(regimes_list.committed()).data.set_index("way")
    assert shown["it needs"][TITLES["as_is"]] == shown["it needs"]["as it is"] == "nothing"
    assert shown["it needs"][TITLES["re_estimated"]] == "unlabelled dark clips"
    assert shown["it needs"][TITLES["enhanced"]] == "an enhancer at inference"
    assert shown["it needs"][TITLES["enhanced_re"]] == "unlabelled dark clips, an enhancer at inference"
    assert shown["it needs"]["brightness augmentation in pre-training"] == "another pre-training"
    assert shown["it needs"]["brightness augmentation in pre-training and re-estimated statistics"] == \
        "unlabelled dark clips, another pre-training"
    assert shown["it needs"][TUNED["ce_enhanced"]] == "10 labels a class, an enhancer at inference"
    line = shown.loc[TITLES["enhanced"]]
    assert line["accuracy (%)"].startswith("60.0 ± ") and line["− as it is"].startswith("+40.0 ± ")
    assert line["− the choice so far"].startswith("−11.0") and line["chosen"] == "" and line["CPU seconds, once"] == "3"


def test_the_advice_names_the_choices_in_their_order(figures):
    said = regimes_list.advice(regimes_list.committed())
    assert said.startswith("In order of cost: *as it is* knows 20.0 % of test clips (10 seeds); "
                           "**re-estimated statistics** (unlabelled dark clips) gives +50.0 ± ")
    assert "None of the other 5 ways is better than the choice before it at the strict level" in said
    assert said.count("**") == 10
    alone = regimes_list.committed("gn")
    assert set(alone.seeds) == {3}


def test_real_dark_clips_have_a_list_of_their_own(figures):
    rows = [row for fold in "AB" for row in keep("regimes_arid6", "arid6_gn", NONE, fold=fold)]
    Evidence("regimes_arid6", paths.figures_dir(), True).save_rows(rows)
    found = regimes_list.committed("gn", real=True)
    assert set(found.labels) == {"none"} and len(found) == len(NONE) and found.seconds[1] == 9


def test_without_evidence_it_says_what_to_run(tmp_path, monkeypatch):
    monkeypatch.setenv("KDLAB_FIGURES", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="run `kdlab study regimes`"):
        regimes_list.committed()
    with pytest.raises(ValueError, match="norm='xn'"):
        regimes_list.committed("xn")


def test_cells_stand_side_by_side_with_the_claims_effects_and_their_gaps(figures):
    keep("regimes", "bn_none_zerodce", {"as_is": (20, 0), "enhanced": (50, 0)}, seeds=3)
    for fold in "AB":
        keep("regimes_arid6", "arid6_bn", {"as_is": (40, 0), "transductive": (50, 0)}, seeds=3, fold=fold)
    found = regimes_list.side_by_side("bn").set_index("")
    assert list(found) == ["gamma, 10 seeds", "Zero-DCE, 3 seeds", "real dark clips, 3 seeds"]
    gamma = found["gamma, 10 seeds"]
    assert gamma["re-estimated statistics"].startswith("70.0 ± ")
    assert gamma["gap: enhanced − as it is"].startswith("+40.0")
    assert gamma["gap: enhanced − raw, both re-estimated"].startswith("+5.0 ± ")
    assert gamma["D5r: DL-KDD − re-estimated statistics"].startswith("+1.0 ± ")
    assert found.loc["gap: enhanced − as it is", "Zero-DCE, 3 seeds"].startswith("+30.0"), "of its own cell"
    assert [words for words in found.index if words.startswith("statistics of the test clips")], "and said to be no way"
    assert not [words for words in found.index if words.startswith("D1r")], "what no cell has is left out"
    tuned = regimes_list.side_by_side("bn", labelled=True).set_index("")
    assert list(tuned) == ["10 labels a class, 10 seeds"]
    assert tuned.loc["gap: CE enhanced − CE raw"].item().startswith("+10.0"), "over the network with the same labels"
    assert "real dark clips" not in regimes_list.cells("gn")
