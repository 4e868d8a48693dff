"""The bench of distillers (studies/bench.py) at its smallest: tuned, killed, resumed, written."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from kdlab.clips.windows import Window
from kdlab.datasets.user_clips import UserClips
from kdlab.study import Scores
from kdlab.study.study import studies_in
from kdlab.train.settings import Settings
from tests.train.test_runs import clips, places  # noqa: F401

ROOT = Path(__file__).parents[2]


@pytest.fixture
def bench(monkeypatch, clips, places):  # noqa: F811
    """The study's module, of two values a condition, and its study on tiny clips."""
    monkeypatch.setattr("sys.path", [*sys.path])  # studies_in adds the study's folder
    for module in ("many", "obtain"):
        # it takes longer than the trainings
        monkeypatch.setattr(f"kdlab.train.{module}.rehearse", lambda *_: None)
    (study,) = studies_in(ROOT / "studies" / "bench.py")
    import bench as module

    monkeypatch.setattr(
        module, "TRIED", {name: dict([*of.items()][:2]) for name, of in module.TRIED.items()}
    )
    size = replace(
        study.size,
        night=UserClips(str(clips)),
        window=Window(4, 16, 16),
        settings=Settings(1, 8),
        seeds=2,
    )
    return module, replace(
        study,
        size=size,
        methods=("ce", "smoothing", "genkd"),
        teachers=("family",),
        page=places / "bench.md",
    )


def test_it_tunes_once_goes_on_after_a_kill_and_writes_what_is_complete(bench, places):  # noqa: F811
    module, study = bench
    said = []

    def killed(line):
        said.append(line)
        if "complete: smoothing-family" in line:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        study.run(workers=1, say=killed)
    assert len(module.tuning()["validation"]) == 4
    assert sum(line.startswith("tuned") for line in said) == 5
    assert "Still to train: genkd-family." in study.page.read_text("utf-8")
    said.clear()
    scores = study.run(workers=1, say=said.append)
    assert [line.split()[1] for line in said] == ["ce", "smoothing-family", "genkd-family"]
    rows, effects = (pd.read_csv(module.place() / f"{name}.csv") for name in ("rows", "effects"))
    assert set(rows.seed) == {0, 1} and module.TUNING_SEED not in set(rows.seed)
    kept = Scores.load(module.place() / "predictions.npz")
    for row in effects.itertuples():
        name = f"{row.method}-{row.teacher}" if isinstance(row.teacher, str) else row.method
        gaps = 100 * (kept.predicted[name] == kept.labels).mean(1) - 100 * (
            kept.predicted["ce"] == kept.labels
        ).mean(1)
        assert row.points == pytest.approx(gaps.mean(), abs=0.01)
        # t of one degree of freedom; two equal gaps are no certainty
        half = 12.706 * abs(gaps[0] - gaps[1]) / 2 or np.inf
        assert row.half == pytest.approx(half, abs=0.02)
    text = study.page.read_text("utf-8")
    assert "Not complete" not in text
    assert "2 seeds are too few for a verdict" in text
    assert "| GenKD |" in text
    assert len(text.split()) <= 700 and np.array_equal(scores.labels, kept.labels)
    taught = [study.recipes(seed)["genkd-family"].teacher for seed in (0, 1)]
    assert [teacher.seed for teacher in taught] == [1000, 1001]  # a seed draws student and teacher
