import dataclasses

import numpy as np
import pandas as pd
import pytest

from kdlab import paths
from kdlab.clips.enhance import Gamma
from kdlab.clips.views import Window
from kdlab.night import Night
from kdlab.papers.dual_light import enhancers as study
from kdlab.papers.dual_light.enhancer import TrainedCurves
from kdlab.papers.dual_light.recipes import dual_light
from kdlab.study import Scores
from kdlab.study.evidence import COLUMNS
from kdlab.train.loop import Settings
from kdlab.train.sizes import SMOKE


def test_every_enhancer_has_its_teacher_and_shares_those_of_the_main_study():
    columns = study.columns(SMOKE, 2)
    assert list(columns) == ["identity", "gamma1.4", "gamma1.8", "gamma2.2", "he", "he-steady", "clahe2x4",
                             "clahe2x4-steady", "zerodce", "zerodce-steady"]
    main = dual_light(SMOKE, 1)
    assert columns["identity"][1] == main["ce_raw"] and columns["gamma1.8"][1] == main["ce_enhanced"]
    assert len({recipe.name for column in columns.values() for recipe in column}) == 20


@pytest.mark.slow
def test_the_study_leaves_rows_predictions_and_the_training_curve(tmp_path, monkeypatch, reading):
    for place in ("RUNS", "CACHE", "DATA", "FIGURES"):
        monkeypatch.setenv(f"KDLAB_{place}", str(tmp_path / place.lower()))
    profile = dataclasses.replace(SMOKE, night=Night(("Walk", "Wave"), (2, 1, 2)), settings=Settings(epochs=1),
                                  window=Window(4, 16, 16))
    curves = TrainedCurves(profile.night, width=2, side=16, steps=4)
    ways = {"identity": Gamma(1), "gamma1.8": Gamma(1.8), "zerodce": curves}
    monkeypatch.setattr(study, "enhancers", lambda profile: ways)
    said = []
    scores = study.study.run(profile, 2, workers=1, say=said.append)["night"]
    reading("enhancers")
    table = pd.read_csv(paths.figures_dir() / "enhancers.csv", keep_default_na=False)
    assert list(table.columns) == COLUMNS and set(table.condition) == set(ways)
    wide = study.summary(table)
    assert wide.psnr["gamma1.8"] > wide.psnr["identity"] and wide.flicker["gamma1.8"] == 0
    assert wide.accuracy["identity"] == pytest.approx(scores.accuracy("identity").mean())
    kept = Scores.load(paths.figures_dir() / "predictions" / "enhancers-night.npz")
    assert np.array_equal(kept.predicted["zerodce"], scores.predicted["zerodce"])
    assert len(pd.read_csv(paths.figures_dir() / "enhancers_zerodce.csv")) == len(curves.training()) > 0
    assert any("gamma1.8 − identity" in line for line in said)
