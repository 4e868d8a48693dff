"""SimKD and feature norm: formulas, and what they move."""


import pytest
import torch

from kdlab.distill.baselines import FeatureNorm, SimKD, feature_norm_loss, simkd_loss
from kdlab.nets.i3d import TinyC3D
from kdlab.nets.video import build
from kdlab.papers.generative.networks import Gated
from kdlab.train.loop import Progress, fit
from kdlab.train.settings import Settings
from tests.distill.conftest import TwoSides

TEACHER, STUDENT = TinyC3D((3, 4, 6, 8)), TinyC3D((2, 2, 3, 4), projector=8)


def networks(student=STUDENT, teacher=TEACHER):
    return {"student": build(student, 2, 0).train(), "teacher": build(teacher, 2, 9).eval().requires_grad_(False)}


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
    teacher = torch.tensor([[3.0, 4.0]])  # its own length, 5, counts; its own direction does not
    label = torch.tensor([1])
    for student, loss in (((5, 0), 0), ((2.5, 0), 0.5), ((0, 5), 1), ((-5, 0), 2), ((50, 0), 0), ((0, 0), 1)):
        assert float(feature_norm_loss(torch.tensor([student]).float(), teacher, centres, label)) == pytest.approx(loss)
    both = feature_norm_loss(torch.tensor([[5.0, 0], [0, 5]]), teacher.repeat(2, 1), centres, label.repeat(2))
    assert float(both) == pytest.approx(0.5)
    assert torch.allclose(feature_norm_loss(torch.tensor([[1.0, 2]]), teacher, 9 * centres, label),
                          feature_norm_loss(torch.tensor([[1.0, 2]]), teacher, centres, label))


# --- methods ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("tap", "student", "teacher"), [
    ("net.stages", STUDENT, TEACHER),
    ("net.backbone", Gated(STUDENT, (4, 16, 16)), Gated(TEACHER, (4, 16, 16))),
], ids=["plain", "gated"])
def test_simkd_trains_features_and_predicts_with_the_teachers_head(tap, student, teacher):
    method, nets = SimKD(tap), networks(student, teacher)
    frozen = {k: v.clone() for k, v in nets["teacher"].state_dict().items()}
    own = {k: v.clone() for k, v in nets["student"].state_dict().items()}
    assert method.extra_nets(nets, None, 0) == {}
    trained = fit(method, nets, TwoSides(16), Settings(epochs=4, batch_size=8, lr=1e-2), seed=0)
    state = trained.nets["student"].state_dict()
    head = [k for k in state if k.startswith("net.") and not k.startswith(tap)]
    assert head and all(torch.equal(state[k], frozen[k]) for k in head)
    moved = [k for k in state if k.startswith(tap) and "weight" in k]
    assert moved and not any(torch.equal(state[k], own[k]) for k in moved)
    assert all(torch.equal(v, frozen[k]) for k, v in trained.nets["teacher"].state_dict().items())
    assert trained.history[-1]["features"] < trained.history[0]["features"]
    assert trained.history[0]["loss_net"] == trained.history[0]["features"]  # labels are not trained on


def test_simkd_keeps_the_students_own_normalisation():
    nets = networks()
    nets["student"].mean.fill_(0.25)
    SimKD().extra_nets(nets, None, 0)
    assert nets["student"].mean.unique().tolist() == [0.25] and nets["teacher"].mean.unique().tolist() == [0]


def test_simkd_refuses_a_head_that_does_not_fit():
    for student in (TinyC3D((2, 2, 3, 4)), Gated(STUDENT, (4, 16, 16))):
        with pytest.raises(ValueError, match="head .*net.fc.weight.* does not fit the student.*projector"):
            SimKD().extra_nets(networks(student), None, 0)


def test_feature_norm_trains_with_the_teachers_class_means():
    method, nets = FeatureNorm(), networks()
    centres = method.prepare(nets, TwoSides(16).evaluation())
    (batch,) = TwoSides(16).evaluation()
    features = nets["teacher"].net.stages(batch.views["teacher"]).mean((2, 3, 4))
    for label in (0, 1):
        mean = features[batch.labels == label].mean(0)
        assert torch.allclose(torch.nn.functional.normalize(centres[label], dim=0), mean / mean.norm(), atol=1e-5)
    ((key, loss, terms),) = method.losses(nets, batch, Progress(0, 1, centres))
    assert key == "net" and torch.allclose(loss, terms["ce"] + terms["soft"] + terms["norm"])
    ((_, loss, terms),) = FeatureNorm(weight=3.0, soft=0.0).losses(nets, batch, Progress(0, 1, centres))
    assert torch.allclose(loss, terms["ce"] + 3 * terms["norm"])
    loss.backward()
    assert all(p.grad is None for p in nets["teacher"].parameters())
    rows = fit(method, networks(), TwoSides(16), Settings(epochs=4, batch_size=8, lr=1e-2), seed=0).history
    assert rows[-1]["norm"] < rows[0]["norm"] and rows[-1]["ce"] < rows[0]["ce"]
