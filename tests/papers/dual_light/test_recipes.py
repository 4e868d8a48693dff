"""What each condition differs in, and that a control trains another network than what it is compared with."""

import dataclasses

import numpy as np
import pytest

from kdlab.clips.enhance import Gamma
from kdlab.clips.user_clips import UserClips
from kdlab.clips.views import Enhanced, Raw
from kdlab.night import Night
from kdlab.night.darkened import Darkened
from kdlab.papers.dual_light.networks import BothLights
from kdlab.papers.dual_light.recipes import controls, dual_light
from kdlab.train.obtain import obtain
from kdlab.train.sizes import SMOKE, STUDY

MADE = dual_light(STUDY) | controls(STUDY)


@pytest.mark.parametrize(("condition", "baseline", "fields"), [
    ("ce_enhanced", "ce_raw", {"view"}),
    ("ce_2x", "ce_raw", {"settings"}),
    ("same_light", "ce_raw", {"method", "teacher"}),
    ("dlkdd", "same_light", {"teacher"}),
    ("label_smoothing", "dlkdd", {"method"}),
    ("from_teacher", "ce_raw", {"start"}),
    ("random_gamma", "ce_raw", {"method"}),
    ("ce_standardised", "ce_raw", {"view"}),
    ("ce_imagenet", "ce_raw", {"net"}),
    ("stored", "dlkdd", {"method"}),
    ("shuffled_within", "stored", {"method"}),
    ("shuffled_between", "stored", {"method"}),
    ("reversed", "ce_enhanced", {"method", "teacher"}),
    ("dkd", "dlkdd", {"method"}),
    ("fitnet", "dlkdd", {"method"}),
    ("at", "dlkdd", {"method"}),
    ("dlkdd_small", "ce_small", {"method", "teacher"}),
])
def test_a_condition_differs_from_its_baseline_in_one_thing(condition, baseline, fields):
    a, b = MADE[condition], MADE[baseline]
    assert {f.name for f in dataclasses.fields(a) if getattr(a, f.name) != getattr(b, f.name)} - {"condition"} == fields
    assert a.condition == condition


def test_the_reversed_student_is_taught_what_it_does_not_see():
    student = MADE["reversed"]
    assert student.teacher.view == Raw() and student.view == Enhanced(Gamma())
    assert student.teacher.seed == student.seed + 1


def test_darkened_clips_are_dark_for_everybody():
    made = dual_light(STUDY, data=UserClips("clips"), dark=Darkened())
    dark, bright = Darkened(), Enhanced(Gamma(), of=Darkened())
    assert {c: r.view for c, r in made.items()} == {
        "ce_raw": dark, "ce_enhanced": bright, "same_light": dark, "dlkdd": dark, "label_smoothing": dark,
        "ce_2x": dark, "two_lights": BothLights(Gamma(), Darkened())}
    assert (made["same_light"].teacher.view, made["dlkdd"].teacher.view) == (dark, bright)


@pytest.mark.slow
def test_no_control_is_a_copy_of_another(own_places):
    profile = dataclasses.replace(SMOKE, night=Night(("Run", "Sit"), (4, 1, 3)))
    some = controls(profile) | {"dlkdd": dual_light(profile)["dlkdd"]}
    chosen = "stored", "shuffled_within", "dlkdd", "at", "dkd", "fitnet", "random_gamma"
    found = {c: obtain(some[c], pretrained=False, say=lambda line: None).predictions().logits for c in chosen}
    for a in found:
        assert all(a == b or not np.array_equal(found[a], found[b]) for b in found), a
