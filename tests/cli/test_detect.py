"""A detector asked about one film: the segments of its tests, as a table and a picture; nobody's file is replaced."""

import cv2
import numpy as np
import pandas as pd
import pytest

from kdlab.measure.detection import KEPT, decode, of_split
from kdlab.papers.generative import detection_recipes
from kdlab.train.obtain import obtain
from tests.conftest import places_in


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    with places_in(tmp_path_factory.mktemp("detect")):
        recipe = detection_recipes.conditions(detection_recipes.SMOKE, 0)["det_student"]
        yield obtain(recipe, say=str)


def test_a_film_of_the_test_gets_the_segments_of_the_test(run, tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    clips = of_split(run)
    film = clips[0].path
    code, out, error = command("predict", film, "--run", run.folder)
    assert code == 0, error
    found = pd.read_csv(f"{film.stem}.segments.csv")
    tested = decode(run.predictions().logits, clips, run.recipe.window.rate)
    tested = tested[tested["video"] == clips[0].video].head(KEPT)
    for column in ("start", "end", "score"):
        assert np.allclose(found[column], tested[column], atol=2e-3)
    assert found["label"].tolist() == [
        run.provenance["classes"][label] for label in tested["label"]
    ]
    assert f"{len(found)} segments" in out
    picture = cv2.imread(f"{film.stem}.segments.png")
    assert picture.shape[1] > 900 and len(np.unique(picture.reshape(-1, 3), axis=0)) > 50


def test_a_file_of_somebody_else_stays_and_nothing_is_begun(run, tmp_path, monkeypatch, refused):
    monkeypatch.chdir(tmp_path)
    film = of_split(run)[0].path
    (tmp_path / f"{film.stem}.segments.csv").write_text("video,label,start,end,score\n")
    assert "is no table of segments of kdlab's" in refused("predict", film, "--run", run.folder)
    assert not (tmp_path / f"{film.stem}.segments.png").exists()
    (table := tmp_path / f"{film.stem}.segments.csv").unlink()
    error = refused("predict", film, "--run", run.folder, "--out", table)
    assert "is the table of segments: name another picture" in error
