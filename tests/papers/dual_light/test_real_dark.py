"""DL-KDD's conditions on real dark clips, the whole way on miniature ones."""

import dataclasses

import numpy as np
import pytest

from kdlab.night import Night
from kdlab.papers.dual_light import real_dark
from kdlab.papers.dual_light.recipes import dual_light
from kdlab.study import FIRST, Scores, load_rows
from kdlab.train.sizes import SMOKE, STUDY


def test_everything_is_fine_tuned_but_a_kept_teacher():
    made = real_dark.columns(STUDY, 1, "A")
    night = dual_light(STUDY, FIRST)
    for name in real_dark.CONDITIONS:
        (recipe,) = made[name]
        assert recipe.start == night[name] and recipe.method == night[name].method and recipe.view == night[name].view
        assert (recipe.teacher is None) == (night[name].teacher is None)
        if recipe.teacher:
            assert recipe.teacher.start == night[name].teacher and recipe.teacher.data == recipe.data
    assert made["dlkdd_kept"][0].teacher == night["dlkdd"].teacher
    assert made["dlkdd_kept"][0].start == night["dlkdd"]


def test_without_real_clips_it_says_what_is_missing(monkeypatch):
    monkeypatch.delenv("KDLAB_REAL_CLIPS", raising=False)
    with pytest.raises(FileNotFoundError, match="KDLAB_REAL_CLIPS is not set.*docs/real-clips.md"):
        real_dark.study.run(SMOKE)


@pytest.mark.slow
def test_the_whole_study_on_miniature_clips(miniature_arid6, reading):
    profile = dataclasses.replace(SMOKE, night=Night(("Jump", "Run", "Sit"), (2, 1, 1)))
    found = real_dark.study.run(profile, 2, final=True, workers=1, say=lambda line: None)
    assert set(found) == {"arid6", "arid6_finetuned"}
    for name, scores in (("zero_shot", found["arid6"]), ("finetuned", found["arid6_finetuned"])):
        assert len(scores.labels) == 12 and scores.classes == ("Run", "Sit") and scores.seeds == (100, 101)
        folder = reading("dual_light_arid6") / "predictions"
        halves = [Scores.load(folder / f"dual_light_arid6-{name}-{f}.npz") for f in "AB"]
        assert sum(len(half.labels) for half in halves) == 12
        assert all(half.logits["dlkdd"].shape[1] == 2 for half in halves), "three classes known, two asked for"
    table = load_rows("dual_light_arid6")
    assert set(table[table.data == "arid6_finetuned"].condition) == set(real_dark.columns(profile, 1, "A"))
    assert set(table[table.data == "arid6"].condition) == set(real_dark.CONDITIONS)
    nats = table[table.metric == "target_entropy"]
    assert set(nats.condition) == {"same_light", "dlkdd", "label_smoothing", "same_light_kept", "dlkdd_kept"}
    assert set(nats.data) == {"arid6_finetuned"} and set(nats.fold) == {"A", "B"}
    assert nats.value.astype(float).between(0, np.log(2)).all(), "kept teachers know three classes, asked are two"
    one = table[(table.metric == "accuracy") & (table.fold == "") & (table.data == "arid6")]
    assert one.value.astype(float).between(0, 100).all() and len(one) == 2 * len(real_dark.CONDITIONS)
