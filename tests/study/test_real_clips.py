"""studies/real_clips.py: every real clip is tested once by each seed, and differences are of seeds and groups."""

from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from kdlab.measure.paired import effect
from kdlab.study import Scores


@pytest.fixture
def real(monkeypatch, real_clips):
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parents[2] / "studies"))
    return import_module("real_clips")


@pytest.mark.parametrize("name", ["weizmann", "ut_interaction", "arid6"])
def test_each_seed_tests_every_clip_once(real, name):
    folds = len(real.FOLDS[name])
    students = [real.alone(real.SIZE, name, world) for world in range(2 * folds)]
    assert [each.seed for each in students] == [0] * folds + [10] * folds
    tested = []
    for student in students[:folds]:
        listed = student.data.catalogue()
        groups = [{clip.group for clip in listed.split(part)} for part in ("train", "test")]
        assert groups[1] and not set.intersection(*groups)
        tested += [clip.id for clip in listed.split("test")]
    assert sorted(tested) == sorted(clip.id for clip in listed.records)


def test_an_effect_is_of_all_folds(real, tmp_path, monkeypatch):
    monkeypatch.setattr(real, "FOLDER", tmp_path)
    study, rng = real.study_of("starts", "weizmann"), np.random.default_rng(0)
    listed = [real.alone(real.SIZE, "weizmann", world).data.catalogue() for world in range(3)]
    right, ids = [], []
    for world in study.worlds:
        clips = listed[world % 3].split("test")
        labels = np.array([clip.label for clip in clips])
        names = np.array([clip.id for clip in clips])
        hits = rng.random((2, 1, len(clips))) < [[[0.4]], [[0.6]]]
        first, second = np.where(hits, labels, (labels + 1) % 10)
        predicted = {"first": first, "second": second}
        scores = Scores(listed[0].classes, (world,), names, names, labels, predicted)
        scores.save(tmp_path / f"{study.name}-{world}.npz")
        right.append(hits)
        ids += [clip.group for clip in clips] * (world < 3)
    other, one = np.concatenate(right, 2).reshape(2, 3, -1)
    wanted = effect(one, other, np.array(ids))
    table, gains, _ = real.effects("starts", "weizmann")
    assert gains["second − first"] == wanted and wanted.units == 9
    numbers = 100 * one.mean(), wanted.mean, wanted.low, wanted.high
    told = table[table.condition == "second"][["accuracy", "difference", "low", "high"]].max()
    assert told.tolist() == pytest.approx(numbers, abs=0.01)
