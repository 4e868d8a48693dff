"""From `night` to real clips, the whole way on miniature ones."""

import dataclasses

import numpy as np
import pytest

from kdlab.night import Night
from kdlab.studies import transfer
from kdlab.study import Scores, load_rows
from kdlab.train.sizes import SMOKE, STUDY


def test_the_finetuned_begin_as_the_pretrained_and_no_path_is_part_of_a_recipe(tmp_path):
    for place in ("a", "b"):
        (tmp_path / place / "arid6").mkdir(parents=True)
        for name in ("1", "2"):
            (tmp_path / place / "arid6" / f"{name}.mp4").write_text("which nobody decodes")
        (tmp_path / place / "arid6" / "index.csv").write_text("path,label,fold\n1.mp4,Run,A\n2.mp4,Run,B\n")
    here, there = (transfer.columns(STUDY, 2, "A", tmp_path / place / "arid6") for place in ("a", "b"))
    assert [r.start for r in here["finetuned"]] == [transfer.pretraining(STUDY, seed) for seed in range(2)]
    for tuned, kept in zip(here["finetuned"], here["finetuned_kept"], strict=True):
        assert kept.teacher == kept.start == tuned.start and kept.settings == tuned.settings
    assert {r.start for r in here["from_nothing"]} == {None} and {r.data.test_fold for r in here["finetuned"]} == {"A"}
    assert [r.name for r in here["finetuned"]] == [r.name for r in there["finetuned"]]


def test_without_real_clips_it_says_what_is_missing(monkeypatch, tmp_path):
    monkeypatch.delenv("KDLAB_REAL_CLIPS", raising=False)
    with pytest.raises(FileNotFoundError, match="KDLAB_REAL_CLIPS is not set.*docs/real-clips.md"):
        transfer.study.run(SMOKE)
    monkeypatch.setenv("KDLAB_REAL_CLIPS", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="no folder arid6"):
        transfer.study.run(SMOKE)


@pytest.mark.slow
def test_the_whole_study_on_miniature_clips(miniature_arid6, reading):
    profile = dataclasses.replace(SMOKE, night=Night(per_class=(2, 1, 1)))
    whole = transfer.study.run(profile, 2, final=True, workers=1, say=lambda line: None)["arid6"]
    place = reading("transfer")
    found = {fold: Scores.load(place / "predictions" / f"transfer-arid6-{fold}.npz") for fold in "AB"}
    assert len(whole.labels) == 12 and [len(scores.labels) for scores in found.values()] == [6, 6]
    table = load_rows("transfer")
    recall = table[table.metric == "mean_recall"].set_index(["fold", "condition"]).value
    for fold, scores in found.items():
        assert set(scores.predicted) == {"from_nothing", "finetuned", "finetuned_kept", "zero_shot", "zero_shot_adabn",
                                         "zero_shot:frozen", "zero_shot:shuffled", "zero_shot:reversed"}
        for condition, predicted in scores.predicted.items():
            assert np.array_equal(whole.predicted[condition][:, np.isin(whole.ids, scores.ids)], predicted)
            right = (predicted == scores.labels).mean(0)
            means = [100 * right[scores.labels == label].mean() for label in (0, 1)]
            assert recall[fold, condition] == pytest.approx(np.mean(means), abs=1e-3)
    unmasked = table[table.metric == "accuracy_unmasked"]
    assert len(unmasked) == 4 and (unmasked.value <= 100).all()
    assert not (miniature_arid6 / "pretrained").exists(), "only the committed size is published"
