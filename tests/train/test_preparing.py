"""Clips are opened once before a training, under the views it will ask for; before several, by all cores at once."""

import pytest

from kdlab.clips.enhance import Gamma
from kdlab.clips.views import Enhanced, Raw, Window
from kdlab.nets.video import TinyR2Plus1D
from kdlab.train import many, preparing
from kdlab.train.recipe import Recipe, UserClips


class Opened(Exception):
    """What was to be opened."""


@pytest.fixture
def recipe(make_video, tmp_path, monkeypatch):
    for variable in ("KDLAB_RUNS", "KDLAB_CACHE"):
        monkeypatch.setenv(variable, str(tmp_path / variable))
    for number in range(6):
        split = ("train", "val", "test")[number % 3]
        make_video(f"set/{split}/{'ab'[number // 3]}/{number}.mp4", frames=8, size=(32, 24))
    bright = Recipe("ce_enhanced", UserClips(str(tmp_path / "set")), Enhanced(Gamma()), net=TinyR2Plus1D(widths=(4, 8)),
                    window=Window(4, 16, 16))
    return Recipe("dlkdd", bright.data, teacher=bright, net=bright.net, window=bright.window)


def opened(*arguments):
    raise Opened(*arguments)


def test_a_training_opens_what_it_and_its_test_look_at(recipe, monkeypatch):
    monkeypatch.setattr(preparing, "open_all", opened)
    with pytest.raises(Opened) as caught:
        preparing.prepared(recipe, {}, recipe.data.catalogue(), print)
    parts = caught.value.args[0]
    assert [len(part.records) for part in parts] == [2, 2, 2]
    assert [set(part.views.values()) for part in parts] == [{Raw(), Enhanced(Gamma())}] * 2 + [{Raw()}]


def test_several_trainings_are_opened_ahead_where_all_cores_are(recipe, monkeypatch):
    monkeypatch.setattr(many, "open_ahead", opened)
    with pytest.raises(Opened) as caught:
        many.obtain_all([recipe], pretrained=False, workers=2)
    assert caught.value.args[0] == [recipe.teacher, recipe]
