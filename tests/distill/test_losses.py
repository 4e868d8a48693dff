import math

import pytest
import torch

from kdlab.distill.method import (
    entropy,
    kd_loss,
    smoothed_targets,
    smoothing_of_entropy,
)
from kdlab.papers.dual_light.method import DualLight, MatchedSmoothing
from kdlab.train.loop import Progress


def test_kd_worked_value_and_gradient():
    """z_T = (2, 0), z_S = (0, 0), t = 2: the numbers of docs/methods.md, section 1."""
    student = torch.zeros(1, 2, dtype=torch.float64, requires_grad=True)
    loss = kd_loss(student, torch.tensor([[2.0, 0.0]], dtype=torch.float64), 2.0)
    loss.backward()
    assert loss.item() == pytest.approx(0.4437763, abs=1e-7)
    assert student.grad[0].tolist() == pytest.approx([-0.4621172, 0.4621172], abs=1e-7)


@pytest.mark.parametrize(
    "temperature, alpha, word",
    [
        (0, 0.5, "temperature"),
        (math.nan, 0, "temperature"),
        (4, 1.5, "alpha"),
        (4, -0.1, "alpha"),
    ],
)
def test_impossible_mixtures_are_named(temperature, alpha, word):
    with pytest.raises(ValueError, match=word):
        DualLight(temperature, alpha)


@pytest.mark.parametrize("k", [2, 11, 101])
def test_smoothing_has_the_entropy_asked_for(k):
    for fraction in (0.01, 0.3, 0.9):
        nats = fraction * math.log(k)
        p = smoothed_targets(torch.tensor([1]), k, smoothing_of_entropy(nats, k)).double()
        assert float(p.sum()) == pytest.approx(1, abs=1e-6)
        assert float(entropy(p)) == pytest.approx(nats, abs=1e-4)
        assert int(p.argmax()) == 1


class Constant(torch.nn.Module):
    """A network whose logits are a parameter, whatever it sees."""

    def __init__(self, logits):
        super().__init__()
        self.logits = torch.nn.Parameter(torch.tensor(logits))

    def forward(self, x):
        return self.logits.expand(len(x), -1)


class FakeBatch:
    views = {"student": torch.zeros(4, 1), "teacher": torch.zeros(4, 1)}
    labels = torch.zeros(4, dtype=torch.long)


def test_dual_light_mixes_its_two_terms_and_leaves_the_teacher_alone():
    nets = {"student": Constant([0.0, 0.0]), "teacher": Constant([2.0, 0.0])}
    ((name, loss, terms),) = DualLight(temperature=2.0, alpha=0.25).losses(
        nets, FakeBatch, Progress(0, 1)
    )
    loss.backward()
    assert name == "net"
    assert loss.item() == pytest.approx(0.75 * math.log(2) + 0.25 * 0.4437763, abs=1e-6)
    assert terms["soft"].item() == pytest.approx(0.4437763, abs=1e-6)
    assert nets["teacher"].logits.grad is None and nets["student"].logits.grad is not None


def test_matched_smoothing_equals_dual_light_for_a_teacher_that_is_itself_smoothed():
    """A teacher whose soft targets are already 'label, rest even' leaves nothing for dark knowledge to add."""
    nets = {"student": Constant([0.3, -0.2, 0.1]), "teacher": Constant([5.0, 1.0, 1.0])}
    control = MatchedSmoothing(temperature=4.0, alpha=0.5)
    prepared = control.prepare(nets, [FakeBatch])
    ((_, smooth, _),) = control.losses(nets, FakeBatch, Progress(0, 1, prepared))
    ((_, taught, _),) = DualLight(temperature=4.0, alpha=0.5).losses(
        nets, FakeBatch, Progress(0, 1)
    )
    assert smooth.item() == pytest.approx(taught.item(), abs=1e-5)
