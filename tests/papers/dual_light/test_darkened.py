"""DL-KDD on darkened real clips: the recipes, the pooling of folds, the whole way on miniature clips."""

import dataclasses

import numpy as np
import pytest

from kdlab import paths
from kdlab.clips.enhance import Gamma
from kdlab.clips.views import Enhanced, Raw
from kdlab.night.darkened import Darkened
from kdlab.papers.dual_light import darkened
from kdlab.papers.dual_light.both_lights import BothLights
from kdlab.study import Scores, load_rows, pooled
from kdlab.train.sizes import SMOKE, STUDY

PREDICTIONS = [paths.figures_dir() / "predictions" / f"dual_light_weizmann-fold{fold}.npz" for fold in darkened.FOLDS]


def test_conditions_see_what_their_names_say(monkeypatch, tmp_path):
    for place in ("here", "there"):
        for label in ("bend", "jump"):
            (tmp_path / place / "weizmann" / label).mkdir(parents=True)
            for n in range(6):
                (tmp_path / place / "weizmann" / label / f"{n}.avi").write_text(f"{label} {n}, which nobody decodes")
    monkeypatch.setenv("KDLAB_REAL_CLIPS", str(tmp_path / "here"))
    of = {condition: column[0] for condition, column in darkened.columns(STUDY, 2, "2").items()}
    dark, bright = Darkened(), Enhanced(Gamma(), of=Darkened())
    assert {c: r.view for c, r in of.items()} == {
        "ce_raw": dark, "ce_enhanced": bright, "same_light": dark, "dlkdd": dark, "label_smoothing": dark,
        "ce_2x": dark, "ce_bright": Raw(), "two_lights": BothLights(Gamma(), Darkened())}
    assert (of["same_light"].teacher.view, of["dlkdd"].teacher.view) == (dark, bright)
    assert of["ce_2x"].settings.epochs == 2 * of["ce_raw"].settings.epochs
    assert {r.data.test_fold for r in of.values()} == {"2"}
    name = of["dlkdd"].name
    monkeypatch.setenv("KDLAB_REAL_CLIPS", str(tmp_path / "there"))
    assert darkened.columns(STUDY, 2, "2")["dlkdd"][0].name == name, "a path became part of the recipe"


def test_without_real_clips_it_says_what_is_missing(monkeypatch, tmp_path):
    monkeypatch.delenv("KDLAB_REAL_CLIPS", raising=False)
    with pytest.raises(FileNotFoundError, match="KDLAB_REAL_CLIPS is not set.*docs/real-clips.md"):
        darkened.study.run(SMOKE)
    monkeypatch.setenv("KDLAB_REAL_CLIPS", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="no folder weizmann"):
        darkened.study.run(SMOKE)


def fold_scores(fold: int, right: float, clips: int = 10) -> Scores:
    """People ``a``, ``b`` of one fold; seed 0 gets a share ``right`` of the clips, seed 1 none."""
    labels = np.arange(clips) % 2
    hit = np.stack([np.arange(clips) < right * clips, np.zeros(clips, bool)])
    ids = np.array([f"{fold}/{i}" for i in range(clips)])
    units = np.array([f"{fold}{'ab'[i % 2]}" for i in range(clips)])
    predicted = {"ce_raw": np.where(hit, labels, 1 - labels)}
    return Scores(("x", "y"), (0, 1), ids, units, labels, predicted, {"ce_raw": np.zeros((clips, 2))},
                  {"ce_raw": [f"f{fold}s0", f"f{fold}s1"]})


def test_folds_are_pooled_seed_by_seed():
    scores = pooled([fold_scores(1, 1.0), fold_scores(2, 0.5), fold_scores(3, 0.0)])
    assert scores.accuracy("ce_raw").tolist() == [50.0, 0.0]
    assert len(scores.ids) == 30 and len(np.unique(scores.units)) == 6 and scores.logits["ce_raw"].shape == (30, 2)
    assert scores.recipes["ce_raw"] == ["f1s0+f2s0+f3s0", "f1s1+f2s1+f3s1"]
    with pytest.raises(ValueError, match=" was tested in two of the folds to pool"):
        pooled([fold_scores(1, 1.0), fold_scores(1, 1.0)])
    with pytest.raises(ValueError, match=r"other seeds, \(0, 1\) and \(0, 2\): run"):
        pooled([fold_scores(1, 1.0), dataclasses.replace(fold_scores(2, 1.0), seeds=(0, 2))])


@pytest.mark.slow
def test_the_whole_study_on_miniature_clips(make_video, monkeypatch, tmp_path, capsys, reading):
    for name in ("RUNS", "CACHE", "FIGURES"):
        monkeypatch.setenv(f"KDLAB_{name}", str(tmp_path / name))
    monkeypatch.setenv("KDLAB_REAL_CLIPS", str(tmp_path))
    rows = ["path,label,group"]
    for k, person in enumerate("abcdefghi"):
        for c, action in enumerate(("jump", "wave")):
            make_video(f"weizmann/{action}/{person}.avi", frames=16 + k, size=(50 + 4 * c, 40), codec="mpeg4")
            rows.append(f"{action}/{person}.avi,{action},{person}")
    (tmp_path / "weizmann" / "index.csv").write_text("\n".join(rows))
    scores = darkened.study.run(SMOKE, 2, workers=1, say=print)["weizmann_dark"]
    assert len(scores.labels) == 18 and len(np.unique(scores.units)) == 9 and len(scores.predicted) == 8
    assert "D1" in capsys.readouterr().out
    reading("dual_light_weizmann")
    table = load_rows("dual_light_weizmann")
    whole, single = (table[(table.metric == "accuracy") & (table.fold.astype(str) == fold)] for fold in ("", "1"))
    assert len(whole) == len(single) == 8 * 2
    nats = table[table.metric == "target_entropy"]
    assert set(nats.condition) == {"same_light", "dlkdd", "label_smoothing"} and len(nats) == 3 * 3 * 2
    assert "" not in set(nats.fold.astype(str)), "a teacher of each fold speaks of its own training clips"
    means = table[(table.metric == "accuracy") & (table.fold != "")].groupby(["condition", "seed"]).value.mean()
    for row in whole.itertuples():
        assert row.value == pytest.approx(means[row.condition, row.seed], abs=1e-3), "folds of one size: the mean"


@pytest.mark.skipif(not all(map(lambda f: f.is_file(), PREDICTIONS)), reason="this study is not committed yet")
def test_committed_rows_follow_from_the_committed_predictions():
    folds = [Scores.load(file) for file in PREDICTIONS]
    table = load_rows("dual_light_weizmann")
    table = table[table.metric == "accuracy"]
    scores = dict(zip(("", *darkened.FOLDS), (pooled(folds), *folds), strict=True))
    assert len(table) == sum(len(s.predicted) * len(s.seeds) for s in scores.values())
    for row in table.itertuples():
        of = scores[str(row.fold)]
        again = of.accuracy(row.condition)[of.seeds.index(int(row.seed))]
        assert again == pytest.approx(float(row.value), abs=1e-3)
