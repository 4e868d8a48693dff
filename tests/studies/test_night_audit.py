"""Is `night` fair? The audits in small: four actions, two dozen training clips each, at variety 0."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from kdlab.night import Night
from kdlab.papers.dual_light.recipes import dual_light
from kdlab.studies import night_audit
from kdlab.study import Scores
from kdlab.train.loop import Settings
from kdlab.train.runs import obtain
from kdlab.train.sizes import SMOKE, STUDY


@pytest.fixture(scope="module")
def accuracy(tmp_path_factory):
    """Test accuracy of the network that an audit trains, by the audit's name."""
    place = tmp_path_factory.mktemp("audit")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("RUNS", "DATA", "CACHE"):
            patch.setenv(f"KDLAB_{name}", str(place / name.lower()))
        clips = Night(("Jump", "Sit", "Stand", "Turn"), (24, 0, 16), variety=0.0)
        full = replace(dual_light(SMOKE)["ce_raw"], data=clips, settings=Settings(epochs=30))
        still = replace(full.window, frames=1)
        told = replace(clips, context=night_audit.CONTEXT)
        recipes = {
            "full": full, "one frame": replace(full, window=still),
            "background": replace(full, data=replace(clips, actor=False)),
            "full@context": replace(full, data=told), "one frame@context": replace(full, data=told, window=still),
        }  # fmt: skip
        return {name: obtain(recipe, pretrained=False, say=lambda line: None).predictions().accuracy
                for name, recipe in recipes.items()}


@pytest.mark.slow
def test_the_action_is_in_the_movement_and_nowhere_else(accuracy):
    assert accuracy["full"] - accuracy["one frame"] >= 15, accuracy
    assert abs(accuracy["background"] - 25) <= 12, accuracy  # 64 clips: two standard errors are 11 points
    assert accuracy["full"] > 50 > accuracy["background"]


@pytest.mark.slow
def test_where_the_place_tells_the_class_one_frame_is_enough(accuracy):
    assert accuracy["one frame@context"] >= 0.9 * accuracy["full@context"], accuracy
    assert accuracy["one frame@context"] > accuracy["one frame"] + 15


def scores(**share) -> Scores:
    """Two seeds of 200 clips of which a share is right."""
    labels = np.arange(200) % 4
    right = {name: np.tile(np.where(np.arange(200) % 100 < 100 * p, labels, (labels + 1) % 4), (2, 1))
             for name, p in share.items()}
    return Scores(tuple("abcd"), (0, 1), np.arange(200), np.arange(200), labels, right, {}, {})


@pytest.mark.parametrize("changed, audit", [
    ({"one_frame": 0.7}, "one frame is not enough"),
    ({"background": 0.35}, "the background alone is near chance"),
    ({"background": 0.15}, "the background alone is near chance"),
    ({"one_frame@context": 0.8}, "at high context one frame is enough"),
])
def test_an_audit_fails_where_its_mark_is_missed(changed, audit):
    fair = {"full": 0.8, "one_frame": 0.3, "background": 0.25, "full@context": 0.95, "one_frame@context": 0.9}
    light = pd.DataFrame({"median": [12.0], "low": [9.0], "high": [18.0], "inside": [88.0], "holds": [True]},
                         index=["median"])
    assert night_audit.verdicts(scores(**fair), light).holds.all()
    found = night_audit.verdicts(scores(**fair | changed), light).set_index("audit").holds
    assert not found[audit] and found.sum() == 3


def test_a_mark_that_only_the_mean_meets_is_not_sure():
    fair = {"full": 0.8, "one_frame": 0.3, "background": 0.25, "full@context": 0.95, "one_frame@context": 0.9}
    light = pd.DataFrame(columns=["median", "low", "high", "inside", "holds"])
    found = night_audit.verdicts(scores(**fair), light).set_index("audit")
    assert found.sure["one frame is not enough"] and not found.sure["the background alone is near chance"]
    assert [night_audit.word(*its) for its in found[["holds", "sure"]].itertuples(index=False)] == [
        "It holds.", "The mean meets the mark; the interval is too wide to be sure.", "It holds."]
    assert night_audit.word(False, False) == "It does **not** hold."


def test_every_condition_takes_the_same_number_of_steps_on_its_own_clips():
    recipes = {name: column[0] for name, column in night_audit.columns(STUDY, 1).items()}
    steps = {name: r.settings.epochs * r.data.per_class[0] for name, r in recipes.items()}
    assert set(steps.values()) == {2000} and len(recipes) == 11
    assert recipes["one_frame"].window.frames == 1 and not recipes["background"].data.actor
    assert recipes["full:variety0.5"].data.variety == 0.5 and recipes["full@context"].data.context == 0.9
