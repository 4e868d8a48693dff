"""SimKD and feature norm: formulas, and what they move. All feature distillers between networks of two classes."""

from dataclasses import replace
from math import nan

import pytest
import torch

from kdlab.clips.windows import Window
from kdlab.datasets.user_clips import UserClips
from kdlab.distill.baselines import (
    AttentionTransfer,
    FeatureNorm,
    FitNet,
    ReviewKD,
    SimKD,
    feature_norm_loss,
    simkd_loss,
)
from kdlab.distill.distiller import ROLES, layers
from kdlab.distill.relations import RelationalKD
from kdlab.nets.i3d import Projected, TinyC3D
from kdlab.nets.video import TinyR2Plus1D, build, for_classes
from kdlab.papers.generative.networks import Gated
from kdlab.train.loop import Progress, fit
from kdlab.train.obtain import obtain
from kdlab.train.recipe import Recipe
from kdlab.train.settings import Settings
from tests.conftest import walks
from tests.distill.conftest import TwoSides, bits, kind, same
from tests.foreign.driftwood.kelp import Kelp

TEACHER = TinyC3D((3, 4, 6, 8))
STUDENT = TinyC3D((2, 2, 3, 4), projector=8)


def networks(student=STUDENT, teacher=TEACHER):
    return {
        "student": build(student, 2, 0).train(),
        "teacher": build(teacher, 2, 9).eval().requires_grad_(False),
    }


# --- formulas --------------------------------------------------------------------------------------------------


def test_simkd_is_the_mean_square_after_pooling_to_the_shorter_axis():
    fine = torch.rand(2, 3, 4, 6, 6)
    coarse = torch.nn.functional.avg_pool3d(fine, (2, 1, 2))[..., :, :]
    assert float(simkd_loss(fine, coarse + 2)) == pytest.approx(4, rel=1e-5)
    assert float(simkd_loss(coarse + 2, fine)) == pytest.approx(4, rel=1e-5)
    with pytest.raises(ValueError, match=r"\(2, 3, 4, 6, 6\).*\(2, 2, 4, 6, 6\).*projector"):
        simkd_loss(fine, fine[:, :2])


def test_feature_norm_worked_examples():
    """Along the class mean and as long as the teacher's: 0. Half as long: ½. Across: 1. Away: 2. Too long: no gain."""
    centres = torch.tensor([[0.0, 7.0], [5.0, 0.0]])
    teacher = torch.tensor([[3.0, 4.0]]).repeat(
        2, 1
    )  # its length, 5, counts; its direction does not
    for student, loss in (
        ((5.0, 0), 0),
        ((2.5, 0), 0.5),
        ((0.0, 5), 1),
        ((-5.0, 0), 2),
        ((50.0, 0), 0),
        ((0.0, 0), 1),
    ):
        batch = torch.tensor([student, (5, 0)])  # the other clip's loss is 0
        found = feature_norm_loss(batch, teacher, centres, torch.tensor([1, 1]))
        assert float(found) == pytest.approx(loss / 2)


# --- methods ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "tap, student, teacher",
    [
        ("net.stages", STUDENT, TEACHER),
        ("net.backbone", Gated(STUDENT, (4, 16, 16)), Gated(TEACHER, (4, 16, 16))),
    ],
    ids=["plain", "gated"],
)
def test_simkd_trains_features_and_predicts_with_the_teachers_head(tap, student, teacher):
    method = SimKD(tap)
    nets = networks(student, teacher)
    frozen = bits(nets["teacher"])
    own = bits(nets["student"])
    assert method.extra_nets(nets, TwoSides(16).evaluation(), 0) == {}
    trained = fit(method, nets, TwoSides(16), Settings(epochs=4, batch_size=8, lr=1e-2), seed=0)
    state = trained.nets["student"].state_dict()
    head = [k for k in state if k.startswith("net.") and not k.startswith(tap)]
    assert head and all(torch.equal(state[k], frozen[k]) for k in head)
    moved = [k for k in state if k.startswith(tap) and "weight" in k]
    assert moved and not any(torch.equal(state[k], own[k]) for k in moved)
    assert same(trained.nets["teacher"], frozen)
    assert trained.history[-1]["features"] < trained.history[0]["features"]
    # labels are not trained on
    assert trained.history[0]["loss_net"] == trained.history[0]["features"]


def test_simkd_keeps_the_students_own_normalisation():
    nets = networks()
    nets["student"].mean.fill_(0.25)
    SimKD().extra_nets(nets, TwoSides(16).evaluation(), 0)
    assert nets["student"].mean.unique().tolist() == [0.25]
    assert nets["teacher"].mean.unique().tolist() == [0]


@pytest.mark.parametrize(
    "student", [TinyC3D((2, 2, 3, 4)), Gated(STUDENT, (4, 16, 16))], ids=["narrow", "gated"]
)
def test_simkd_refuses_a_head_that_does_not_fit(student):
    with pytest.raises(ValueError, match="head .*fc.weight.* does not fit the student.*projector"):
        SimKD().extra_nets(networks(student), TwoSides(16).evaluation(), 0)


def test_simkd_refuses_the_head_of_classes_in_another_order():
    nets = networks()
    for_classes(nets["teacher"], "ab", "ba")
    with pytest.raises(
        ValueError, match="does not fit the student: .* the same classes in one order"
    ):
        SimKD().extra_nets(nets, TwoSides(16).evaluation(), 0)


def test_feature_norm_is_along_the_teachers_class_means():
    nets = networks()
    centres = FeatureNorm().prepare(nets, TwoSides(16).evaluation())
    (batch,) = TwoSides(16).evaluation()
    features = nets["teacher"].net.stages(batch.views["teacher"]).mean((2, 3, 4))
    for label in (0, 1):
        mean = features[batch.labels == label].mean(0)
        centre = centres[label]
        assert torch.allclose(centre / centre.norm(), mean / mean.norm())
    method = FeatureNorm(weight=3.0, soft=2.0)
    ((_, loss, terms),) = method.losses(nets, batch, Progress(0, 1, centres))
    assert torch.allclose(loss, terms["ce"] + 2 * terms["soft"] + 3 * terms["norm"])
    loss.backward()
    assert all(p.grad is None for p in nets["teacher"].parameters())


# --- networks of two classes -----------------------------------------------------------------------------------

TINY = TinyR2Plus1D((2, 3, 4, 6))
METHODS = [
    FitNet(),
    AttentionTransfer(),
    ReviewKD(warmup=0.0),
    SimKD(),
    FeatureNorm(soft=0.0),
    RelationalKD(),
]


def test_stages_of_four_and_of_three_are_counted_from_the_last():
    nets = networks(TINY, Kelp())
    names = {
        type(method): [layers(nets, role, method.taps) for role in ROLES] for method in METHODS
    }
    assert (
        names[SimKD]
        == names[FeatureNorm]
        == names[RelationalKD]
        == [["net.stages.3"], ["net.blades.1"]]
    )
    assert names[FitNet] == [["net.stages.2"], ["net.blades.0"]]
    assert (
        names[AttentionTransfer]
        == names[ReviewKD]
        == [
            ["net.stages.1", "net.stages.2", "net.stages.3"],
            ["net.holdfast.patch", "net.blades.0", "net.blades.1"],
        ]
    )
    assert [layers(nets, role, ((0, "net.blades"), "net")) for role in ROLES] == [
        ["net.stages.0", "net"],
        ["net.blades", "net"],
    ]


@pytest.mark.parametrize(
    "method, fields, word",
    [
        (FitNet, {"weight": -1.0}, "weight"),
        (FeatureNorm, {"temperature": 0.0}, "temperature"),
        (ReviewKD, {"warmup": 1.5}, "warmup"),
        (ReviewKD, {"width": 0}, "width"),
        (RelationalKD, {"angle": nan}, "angle"),
    ],
)
def test_a_number_that_cannot_be_is_named(method, fields, word):
    with pytest.raises(ValueError, match=word):
        method(**fields)


def unlike(method, reverse: bool) -> dict:
    """A student and a teacher of two classes, and the networks beside the student."""
    student, teacher = (Kelp(), TINY) if reverse else (TINY, Kelp())
    if isinstance(method, SimKD):
        student = Projected(student, TINY.widths[-1] if reverse else Kelp().width)
    nets = networks(student, teacher)
    return nets | method.extra_nets(nets, TwoSides(16).evaluation(), 0)


def loss_of(method, nets) -> tuple[torch.Tensor, torch.Tensor]:
    """The loss, and the distiller's part of it."""
    (batch,) = TwoSides(16).evaluation()
    prepared = method.prepare(nets, [batch])
    ((_, loss, terms),) = method.losses(nets, batch, Progress(0, 1, prepared))
    return loss, loss - method.labels * terms["ce"]


@pytest.mark.parametrize(
    "reverse", [False, True], ids=["under a transformer", "transformer as student"]
)
@pytest.mark.parametrize("method", METHODS, ids=kind)
def test_a_foreign_transformer_teaches_and_learns(method, reverse):
    nets = unlike(method, reverse)
    optimiser = torch.optim.AdamW(
        [w for name in nets if name != "teacher" for w in nets[name].parameters()], lr=1e-3
    )
    first, part = loss_of(method, nets)
    part.backward()
    moved = [w.grad for w in nets["student"].parameters() if w.grad is not None]
    assert len(moved) > 3 and all(g.isfinite().all() for g in moved) and any(g.any() for g in moved)
    assert all(w.grad is None for w in nets["teacher"].parameters())
    for _ in range(5):
        optimiser.zero_grad()
        loss_of(method, nets)[0].backward()
        optimiser.step()
    assert loss_of(method, nets)[0] < first


@pytest.mark.parametrize(
    "tap, words",
    [
        (3, "the teacher has 3 stages .* and the method reads 3: give it"),
        ((0, -4), "the teacher has 3 stages .* reads -4"),
        (
            (0, "net.blades.0.space"),
            r"'net.blades.0.space' of the teacher gives \(4, 16, 8\): name a layer",
        ),
        ("net.stages", "the teacher: no layer 'net.stages' in Normalised"),
    ],
)
def test_a_layer_that_is_not_there_or_gives_no_map_is_refused_before_training(tap, words):
    with pytest.raises(ValueError, match=words):
        unlike(RelationalKD(tap), reverse=False)


def test_networks_of_two_classes_teach_each_other_from_files_to_predictions(own_places):
    walks(own_places / "clips", train=1, val=1, test=1)
    kelp = Recipe(
        "kelp",
        UserClips(str(own_places / "clips")),
        net=Kelp(),
        window=Window(4, 16, 16),
        settings=Settings(epochs=1, batch_size=2),
    )
    tiny = replace(kelp, condition="tiny", net=TINY, method=ReviewKD(), teacher=kelp)
    again = replace(
        kelp,
        condition="again",
        net=Projected(Kelp(), TINY.widths[-1]),
        method=SimKD(),
        teacher=tiny,
    )
    for run in (obtain(recipe) for recipe in (tiny, again)):
        assert run.history.notna().all(axis=None) and run.predictions("test").logits.shape == (2, 2)
