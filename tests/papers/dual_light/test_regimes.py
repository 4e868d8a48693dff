"""The pre-trained regime: where networks begin, what each condition differs in, and that no dark label is read."""

from dataclasses import replace

import pytest
import torch

from kdlab.clips.enhance import Gamma
from kdlab.distill.adaptation import AsItIs, EntropyMinimisation, ReEstimated
from kdlab.nets.video import TinyR2Plus1D
from kdlab.night import ACTIONS, Night
from kdlab.papers.dual_light.method import DualLight
from kdlab.papers.dual_light.networks import BatchNormed
from kdlab.papers.dual_light.regimes import conditions, start, with_labels
from kdlab.train.obtain import obtain
from kdlab.train.sizes import RegimeSize, current
from tests.papers.dual_light.test_recipes import differing

STUDY, SMOKE = (current(name, RegimeSize) for name in ("study", "smoke"))
NONE = conditions(STUDY, 100)
FEW = with_labels(STUDY, start(STUDY, 100), STUDY.night, Gamma(), STUDY.tuned)


def began_as(recipe):
    """The network of bright clips at the beginning of ``recipe``."""
    while recipe.start:
        recipe = recipe.start
    return recipe


# --- recipes ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "condition, other, fields",
    [
        ("re_estimated", "as_is", {"method", "settings"}),
        ("enhanced_re", "re_estimated", {"view"}),
        ("entropy", "same_light_re", {"method", "teacher"}),
        ("dlkdd_re", "same_light_re", {"teacher"}),
        ("augmented_re", "re_estimated", {"start"}),
    ],
)
def test_a_condition_without_labels_differs_from_another_in_this_alone(condition, other, fields):
    assert differing(NONE[condition], NONE[other]) == fields


def test_students_learn_from_soft_targets_of_re_estimated_teachers_in_their_light():
    for way, light in (("dlkdd_re", "enhanced-gamma1.8"), ("same_light_re", "raw")):
        recipe = NONE[way]
        assert type(recipe.teacher.method) is ReEstimated and recipe.teacher.view.name == light
        assert recipe.view.name == "raw" and recipe.method == DualLight(temperature=1.0, alpha=1.0)
    # what teaches is also tested: one training, not two
    assert NONE["dlkdd_re"].teacher == NONE["enhanced_re"]


def test_every_network_begins_as_one_of_bright_clips_of_other_actors():
    for made in (NONE, FEW):
        for condition, recipe in made.items():
            began = began_as(recipe)
            assert began.condition.startswith("start") and began.seed == 100 and began.start is None
            assert began.data.stream == "bright" and began.data.night.seed != recipe.data.seed
            assert (began.condition == "start_augmented") == condition.startswith("augmented")
            if recipe.teacher:
                assert began_as(recipe.teacher) == began


def test_no_method_without_labels_gives_them_weight():
    for recipe in NONE.values():
        assert (
            type(recipe.method) in (AsItIs, ReEstimated, EntropyMinimisation)
            or recipe.method.alpha == 1
        )


def test_with_labels_networks_train_for_other_epochs_and_the_teacher_is_tested():
    assert FEW["dlkdd"].settings.epochs == STUDY.tuned
    assert FEW["dlkdd:teacher"] == FEW["dlkdd"].teacher
    assert NONE["dlkdd_re"].settings.epochs == STUDY.adapted


# --- networks --------------------------------------------------------------------------------------------------


TINY = TinyR2Plus1D((4, 8))
CLIPS = torch.rand(3, 3, 8, 16, 16, generator=torch.Generator().manual_seed(0))


def test_batch_norm_throughout_is_the_same_network_with_another_first_norm():
    plain = TINY.make(5)
    net = BatchNormed(TINY).make(5)
    assert {k: v.shape for k, v in plain.named_parameters()} == {
        k: v.shape for k, v in net.named_parameters()
    }
    assert BatchNormed(TINY).stages == TINY.stages
    x = CLIPS.clone(memory_format=torch.contiguous_format)
    first = net.stages[0].spatial_norm
    seen = net.train().stages[0].spatial(x)
    # over the batch
    assert torch.allclose(first(seen).mean((0, 2, 3, 4)), torch.zeros(4), atol=1e-5)
    # not over each clip
    assert not torch.allclose(first(seen).mean((2, 3, 4)), torch.zeros(3, 4), atol=1e-3)


# --- trainings -------------------------------------------------------------------------------------------------


def test_what_moves_in_a_real_training(own_places):
    few = Night(("Run", "Sit"), (4, 1, 1))
    size = replace(SMOKE, night=few, bright=(4, 1, 1), few=2, adapted=2, tuned=2)
    made = conditions(size, 0)
    began = obtain(began_as(made["as_is"])).net().state_dict()
    moved = {}
    for condition in ("as_is", "re_estimated", "entropy", "dlkdd_re"):
        now = obtain(made[condition]).net().state_dict()
        assert now.keys() == began.keys()
        moved[condition] = {key for key in now if not torch.equal(now[key], began[key])}
    statistics = {
        key for key in began if key.rpartition(".")[2].startswith(("running_", "num_batches"))
    }
    scales = {key for key in began if "norm." in key} - statistics
    assert moved["as_is"] == set() and moved["re_estimated"] == statistics
    assert statistics < moved["entropy"] <= statistics | scales
    assert moved["dlkdd_re"] > statistics
    assert "net.fc.weight" in moved["dlkdd_re"]
    assert "mean" not in moved["dlkdd_re"]
    assert "net.stages.0.spatial_norm.running_mean" in statistics


def test_a_start_reads_the_bright_stream():
    recipe = start(STUDY, 3)
    assert recipe.data.name == "night_bright" and recipe.data.night.classes == ACTIONS
    assert recipe.net == BatchNormed()
    darker = start(STUDY, 3, augmented=True).method.brightened(torch.full((200, 1, 1, 1, 1), 0.43))
    assert float(darker.min()) < 0.06 and float(darker.max()) == pytest.approx(0.43)
