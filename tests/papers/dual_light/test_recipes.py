"""What each condition differs in."""

import dataclasses

import pytest

from kdlab.clips.enhance import Gamma
from kdlab.clips.views import Enhanced
from kdlab.datasets.user_clips import UserClips
from kdlab.night.darkened import Darkened
from kdlab.papers.dual_light.networks import BothLights
from kdlab.papers.dual_light.recipes import dual_light
from kdlab.train.sizes import STUDY

MADE = dual_light(STUDY)


def differing(a, b) -> set[str]:
    """The fields of two recipes that differ, beside their names."""
    names = {f.name for f in dataclasses.fields(a) if getattr(a, f.name) != getattr(b, f.name)}
    return names - {"condition"}


@pytest.mark.parametrize(
    "condition, baseline, fields",
    [
        ("ce_enhanced", "ce_raw", {"view"}),
        ("ce_2x", "ce_raw", {"settings"}),
        ("same_light", "ce_raw", {"method", "teacher"}),
        ("dlkdd", "same_light", {"teacher"}),
        ("label_smoothing", "dlkdd", {"method"}),
    ],
)
def test_a_condition_differs_from_its_baseline_in_one_thing(condition, baseline, fields):
    assert differing(MADE[condition], MADE[baseline]) == fields
    assert MADE[condition].condition == condition


def test_darkened_clips_are_dark_for_everybody():
    made = dual_light(STUDY, data=UserClips("clips"), dark=Darkened())
    dark = Darkened()
    bright = Enhanced(Gamma(), of=Darkened())
    assert {c: r.view for c, r in made.items()} == {
        "ce_raw": dark,
        "ce_enhanced": bright,
        "same_light": dark,
        "dlkdd": dark,
        "label_smoothing": dark,
        "ce_2x": dark,
        "two_lights": BothLights(Gamma(), Darkened()),
    }
    assert (made["same_light"].teacher.view, made["dlkdd"].teacher.view) == (dark, bright)
