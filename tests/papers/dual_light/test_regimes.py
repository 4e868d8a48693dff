"""The pre-trained regime: where networks begin, what each condition differs in, and that no dark label is read."""

import dataclasses
from dataclasses import replace

import pytest
import torch

from kdlab.distill.adaptation import AsItIs, EntropyMinimisation, Passes, PseudoLabels, ReEstimated
from kdlab.nets.norms import ClipNorm
from kdlab.nets.video import TinyR2Plus1D, build
from kdlab.night import ACTIONS, Night
from kdlab.papers.dual_light import regimes
from kdlab.papers.dual_light.method import DualLight
from kdlab.papers.dual_light.networks import BatchNormed, OwnStatistics, TwoNets
from kdlab.papers.dual_light.regimes import conditions, start
from kdlab.train.obtain import obtain
from kdlab.train.sizes import RegimeSize, current

STUDY, SMOKE = (current(name, RegimeSize) for name in ("study", "smoke"))
NONE, FEW, MANY = (conditions(STUDY, 100, labels=labels) for labels in regimes.LABELS)


def differing(a, b) -> set[str]:
    """The fields of two recipes that differ."""
    return {f.name for f in dataclasses.fields(a) if getattr(a, f.name) != getattr(b, f.name)} - {"condition"}


def began_as(recipe):
    """The network of bright clips at the beginning of ``recipe``."""
    while recipe.start:
        recipe = recipe.start
    return recipe


# --- recipes ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("condition", "other", "fields"), [
    ("dark_input", "as_is", {"net"}),
    ("enhanced", "as_is", {"view"}),
    ("re_estimated", "as_is", {"method", "settings"}),
    ("enhanced_re", "re_estimated", {"view"}),
    ("passes", "dlkdd_bright", {"method", "teacher"}),
    ("entropy", "pseudo_labels", {"method", "teacher"}),
    ("pseudo_labels", "same_light_re", {"method"}),
    ("dlkdd_bright", "same_light_bright", {"teacher"}),
    ("dlkdd_re", "same_light_re", {"teacher"}),
    ("dlkdd_re", "dlkdd_bright", {"start", "teacher"}),
    ("augmented", "as_is", {"start"}),
    ("augmented_re", "re_estimated", {"start"}),
])
def test_a_condition_without_labels_differs_from_another_in_this_alone(condition, other, fields):
    assert differing(NONE[condition], NONE[other]) == fields


def test_a_student_of_both_lights_differs_from_dlkdd_in_its_teacher_alone():
    for made in (FEW, MANY):
        assert differing(made["both_lights"], made["dlkdd"]) == {"teacher"}


def test_teachers_have_the_statistics_that_their_students_names_tell():
    for name, method in (("bright", AsItIs), ("re", ReEstimated)):
        for way, light in (("dlkdd", "enhanced-gamma1.8"), ("same_light", "raw")):
            recipe = NONE[f"{way}_{name}"]
            assert type(recipe.teacher.method) is method and recipe.teacher.view.name == light
            assert recipe.view.name == "raw" and recipe.method == DualLight(temperature=1.0, alpha=1.0)
    assert NONE["dlkdd_re"].teacher == NONE["enhanced_re"], "what teaches is also tested: one training, not two"


def test_every_network_begins_as_one_of_bright_clips_of_other_actors():
    for made in (NONE, FEW, MANY):
        for condition, recipe in made.items():
            began = began_as(recipe)
            assert began.condition.startswith("start") and began.seed == 100 and began.start is None
            assert began.data.stream == "bright" and began.data.night.seed != recipe.data.seed
            assert (began.condition == "start_augmented") == condition.startswith("augmented")
            if recipe.teacher:
                assert began_as(recipe.teacher) == began


def test_no_method_without_labels_gives_them_weight():
    unread = AsItIs, Passes, ReEstimated, EntropyMinimisation, PseudoLabels
    for recipe in NONE.values():
        assert type(recipe.method) in unread or recipe.method.alpha == 1
    assert {type(recipe.method) for recipe in NONE.values()} >= {*unread, DualLight}


def test_labels_and_enhancer_of_a_regime():
    assert [made["as_is"].data.per_class[0] for made in (NONE, FEW, MANY)] == [40, 10, 40]
    assert [made["dlkdd"].settings.epochs for made in (FEW, MANY)] == [60, 30]
    assert NONE["as_is"] == MANY["as_is"]
    learnt = conditions(STUDY, 100, enhancer="zerodce")["dlkdd_re"].teacher.view.by
    assert learnt.data == STUDY.night, "an enhancer is learnt on the clips without labels, not on those of the test"
    with pytest.raises(ValueError, match="norm='ln'"):
        conditions(STUDY, 100, norm="ln")


# --- networks --------------------------------------------------------------------------------------------------


TINY = TinyR2Plus1D((4, 8))
CLIPS = torch.rand(3, 3, 8, 16, 16, generator=torch.Generator().manual_seed(0))


def test_batch_norm_throughout_is_the_same_network_with_another_first_norm():
    plain, net = TINY.make(5), BatchNormed(TINY).make(5)
    assert any(isinstance(layer, ClipNorm) for layer in plain.modules())
    assert not any(isinstance(layer, ClipNorm) for layer in net.modules())
    assert {k: v.shape for k, v in plain.named_parameters()} == {k: v.shape for k, v in net.named_parameters()}
    assert BatchNormed(TINY).stages == TINY.stages
    x = CLIPS.clone(memory_format=torch.contiguous_format)
    first = net.stages[0].spatial_norm
    seen = net.train().stages[0].spatial(x)
    assert torch.allclose(first(seen).mean((0, 2, 3, 4)), torch.zeros(4), atol=1e-5), "over the batch"
    assert not torch.allclose(first(seen).mean((2, 3, 4)), torch.zeros(3, 4), atol=1e-3), "not over each clip"


def test_own_input_statistics_and_all_else_the_starts():
    spec = BatchNormed(TINY)
    begun = build(spec, 5, 0, torch.full((3,), 0.4), torch.full((3,), 0.2))
    net = build(OwnStatistics(spec), 5, 1, torch.full((3,), 0.1), torch.full((3,), 0.05))
    OwnStatistics(spec).begin(net, begun)
    assert torch.equal(net.mean.flatten(), torch.full((3,), 0.1)) and float(net.std.max()) == pytest.approx(0.05)
    assert all(torch.equal(a, b) for a, b in zip(net.net.state_dict().values(), begun.net.state_dict().values(),
                                                 strict=True))
    with torch.no_grad():  # a clip as far from the one's mean as another from the other's, in deviations
        assert torch.allclose(net.eval()(0.1 + 0.05 * CLIPS), begun.eval()(0.4 + 0.2 * CLIPS), atol=1e-4)
    with pytest.raises(ValueError, match="another architecture"):
        OwnStatistics(spec).begin(build(OwnStatistics(spec), 6, 0), begun)


@torch.no_grad()
def test_two_networks_begin_as_one_and_give_the_mean_of_their_logits():
    one = build(TINY, 5, 0, torch.full((3,), 0.4), torch.full((3,), 0.2)).eval()
    two = TwoNets(TINY).begin(build(TwoNets(TINY), 5, 1, torch.zeros(6), torch.ones(6)), one).eval()
    bright = CLIPS.sqrt()
    logits = two(torch.cat([CLIPS, bright], 1))
    assert logits.shape == (3, 5) and torch.allclose(logits, (one(CLIPS) + one(bright)) / 2, atol=1e-5)
    assert TwoNets(TINY).stages == ("lights.0.stages.0", "lights.0.stages.1")
    two.net.lights[1].fc.bias += 2
    assert torch.allclose(two(torch.cat([CLIPS, bright], 1)), logits + 1, atol=1e-5), "each has its own weights"


# --- trainings -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def size():
    return replace(SMOKE, night=Night(("Run", "Sit"), (4, 1, 1)), bright=(4, 1, 1), few=2, adapted=2, tuned=2,
                   net=TINY)


def weights(run) -> dict[str, torch.Tensor]:
    """What is trained of its network, and what is counted."""
    return run.net().state_dict()


@pytest.fixture(scope="module")
def rendered(tmp_path_factory):
    """Where the clips of :func:`size` lie, made once for all trainings."""
    return tmp_path_factory.mktemp("rendered")


@pytest.mark.parametrize("norm", regimes.NORMS)
def test_what_moves_in_a_real_training(size, norm, own_places, rendered, monkeypatch):
    monkeypatch.setenv("KDLAB_DATA", str(rendered))
    made = conditions(size, 0, norm)
    how = dict(pretrained=False, say=lambda line: None)
    began = weights(obtain(began_as(made["as_is"]), **how))
    moved = {}
    for condition in ("as_is", "dark_input", "passes", "re_estimated", "entropy", "dlkdd_re"):
        now = weights(obtain(made[condition], **how))
        assert now.keys() == began.keys()
        moved[condition] = {key for key in now if not torch.equal(now[key], began[key])}
    statistics = {key for key in began if key.rpartition(".")[2].startswith(("running_", "num_batches"))}
    scales = {key for key in began if "norm." in key} - statistics
    assert moved["as_is"] == set() and moved["dark_input"] == {"mean", "std"}
    assert moved["passes"] == moved["re_estimated"] == statistics
    assert statistics < moved["entropy"] <= statistics | scales
    assert moved["dlkdd_re"] > statistics and "net.fc.weight" in moved["dlkdd_re"] and "mean" not in moved["dlkdd_re"]
    assert ("net.stages.0.spatial_norm.running_mean" in statistics) == (norm == "bn")


def test_a_start_at_the_documented_seed_reads_the_bright_stream():
    assert start(STUDY, "gn", 3).data.name == "night_bright" and start(STUDY, "gn", 3).data.night.classes == ACTIONS
    assert start(STUDY, "gn", 3).net == STUDY.net and start(STUDY, "bn", 3).net == BatchNormed(STUDY.net)
    darker = start(STUDY, "bn", 3, augmented=True).method.brightened(torch.full((200, 1, 1, 1, 1), 0.43))
    assert float(darker.min()) < 0.06 and float(darker.max()) == pytest.approx(0.43)
