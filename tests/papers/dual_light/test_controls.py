"""DL-KDD's controls: what each condition differs in, and the whole study at smoke size."""

import dataclasses

import numpy as np
import pytest

from kdlab import paths
from kdlab.night import Night
from kdlab.papers.dual_light import controls
from kdlab.study import Scores, load_rows
from kdlab.train.sizes import DEMO, SMOKE, STUDY


def differing(a, b) -> set[str]:
    """The fields of two recipes that differ."""
    return {f.name for f in dataclasses.fields(a) if getattr(a, f.name) != getattr(b, f.name)}


@pytest.mark.parametrize(("condition", "baseline", "fields"), [
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
])  # fmt: skip
def test_a_control_differs_from_its_baseline_in_one_thing(condition, baseline, fields):
    made = controls.columns(STUDY, 2)
    for a, b in zip(made[condition], made[baseline], strict=True):
        assert differing(a, b) - {"condition"} == fields and a.condition == condition


def test_the_reversed_student_is_taught_what_it_does_not_see():
    student = controls.columns(STUDY, 1)["reversed"][0]
    assert student.teacher.view.name == "raw" and student.view.name.startswith("enhanced")
    assert student.teacher.seed == student.seed + 1


def test_few_clips_share_the_students_recipe_but_for_the_teachers_light():
    made = controls.few_columns(DEMO, 1)
    for condition, (recipe,) in made.items():
        if condition.startswith("dlkdd:"):
            assert differing(recipe, made["dlkdd"][0]) == {"teacher"}
            assert recipe.teacher.view.by.name.startswith(condition.split(":")[1].split("-")[0])


def test_every_comparison_is_of_conditions_that_exist():
    made = set(controls.columns(STUDY, 1)) | {"with_teacher", "two_ce", "two_lights"}
    pairs = [pair for asked in controls.COMPARISONS.values() for pair in asked.values()]
    for a, b in pairs:
        assert {name.split(":")[0] for name in (a, b)} <= made and a != b
    assert set(controls.TITLES) <= made & {name for pair in pairs for name in pair}


@pytest.mark.slow
def test_the_whole_study_at_smoke_size(own_places, monkeypatch, reading):
    profile = dataclasses.replace(SMOKE, night=Night(("Run", "Sit"), (4, 1, 3)))
    few = dataclasses.replace(profile, name="few", night=Night(("Run", "Sit"), (2, 1, 1)))
    said = []
    monkeypatch.setattr(controls, "beside", lambda size: few)
    scores = controls.study.run(profile, 2, workers=1, say=said.append)["night"]
    kept = Scores.load(reading("dual_light_controls") / "predictions" / "dual_light_controls-night.npz")
    assert kept.predicted.keys() == scores.predicted.keys() >= set(controls.TITLES)
    # "no shuffling" and "within" must give other students, and so must each light of the matrix: nothing is a copy
    found = {c: scores.logits[c] for c in ("stored", "shuffled_within", "dlkdd", "at", "dkd", "fitnet", "random_gamma")}
    for a in found:
        assert all(a == b or not np.array_equal(found[a], found[b]) for b in found)
    table = load_rows("dual_light_controls")
    small = table[(table.data == "night_demo") & (table.metric == "accuracy")]
    assert set(small.condition) == set(controls.few_columns(few, 1))
    taught = table[(table.metric == "target_entropy") & (table.data == "night")]
    assert set(taught.condition) == {"same_light", "dlkdd", "stored", "shuffled_within", "shuffled_between", "reversed",
                                     "dkd", "dlkdd_small"}, "of features there is no entropy"
    nats = taught[taught.seed == 100].set_index("condition").value.astype(float)
    assert nats["dlkdd"] == nats["stored"] == nats["dkd"] and nats["same_light"] == nats["reversed"], "one teacher"
    assert set(table[(table.metric == "target_entropy") & (table.data == "night_demo")].condition) == {
        c for c in controls.few_columns(few, 1) if not c.startswith("ce")}
    tests = Scores.load(paths.figures_dir() / "predictions" / "dual_light_controls-night_demo.npz").labels
    assert len(tests) == 6, "the students of few clips are tested on the larger profile's test clips"
    assert sum("stored targets − another clip's, same class: " in line for line in said) == 1
