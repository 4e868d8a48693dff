"""Adaptation without labels: known values, no label read, and nothing moved but what is said to move."""

import copy
import math
from dataclasses import dataclass

import pytest
import torch
from torch import nn

from kdlab.clips.windows import Batch
from kdlab.distill.adaptation import AsItIs, EntropyMinimisation, Passes, ReEstimated
from kdlab.train.loop import Progress, fit
from kdlab.train.settings import Settings
from tests.distill.conftest import bits, same


class Tiny(nn.Module):
    """Clips ``(B, 1)`` → logits ``(B, 2)``."""

    def __init__(self):
        super().__init__()
        self.norm, self.fc = nn.BatchNorm1d(1), nn.Linear(1, 2)

    def forward(self, x):
        return self.fc(self.norm(x))


@dataclass
class Clips:
    """Batches of ``values``, whose labels nobody may read: there are none."""

    values: torch.Tensor

    @property
    def records(self):
        return self.values

    def training(self, indices, generator, part=slice(None)):
        return self.batch(self.values[list(indices)[part]])

    def evaluation(self):
        yield self.batch(self.values)

    @staticmethod
    def batch(values):
        return Batch(
            {"student": values, "teacher": values}, Unread(), tuple(map(str, range(len(values))))
        )


class Unread:
    def to(self, device):
        return self


def fitted(method, values, settings, past=False):
    """The network before and after, and the names of what moved."""
    torch.manual_seed(0)
    net = Tiny()
    if past:  # as a trained network has
        net.train()(torch.full((8, 1), 50.0) + torch.arange(8.0)[:, None])
    before = copy.deepcopy(net)
    after = fit(method, {"student": net}, Clips(values), settings, 0).nets["student"]
    old = before.state_dict()
    moved = {name for name, now in after.state_dict().items() if not torch.equal(now, old[name])}
    return before, after, moved - {"norm.num_batches_tracked"}


STATISTICS = {"norm.running_mean", "norm.running_var"}
VALUES = torch.tensor([[0.0], [2.0], [4.0], [10.0]])


def test_nothing_moves_though_weights_would_decay():
    before, after, _ = fitted(AsItIs(), VALUES, Settings(3, batch_size=2, weight_decay=0.5))
    assert same(after, bits(before))


def test_passes_move_the_averages_and_no_weight():
    _, after, moved = fitted(Passes(), VALUES, Settings(1, batch_size=4, weight_decay=0.5))
    assert moved == STATISTICS
    # a tenth of the way from 0 to the clips' mean
    assert float(after.norm.running_mean) == pytest.approx(0.1 * 4.0)
    assert float(after.norm.running_var) == pytest.approx(0.9 + 0.1 * float(VALUES.var()))


@pytest.mark.parametrize("epochs", [1, 7])
def test_re_estimated_statistics_are_the_clips_own_and_forget_what_was_there(epochs):
    settings = Settings(epochs, batch_size=4, weight_decay=0.5)
    _, after, moved = fitted(ReEstimated(), VALUES, settings, past=True)
    assert moved == STATISTICS
    assert float(after.norm.running_mean) == pytest.approx(4.0)
    assert float(after.norm.running_var) == pytest.approx(float(VALUES.var()))


def test_every_batch_counts_alike():
    """Of two batches of two clips the mean of their means is that of all, and of their variances it is not."""
    _, after, _ = fitted(ReEstimated(), VALUES, Settings(5, batch_size=2))
    assert float(after.norm.running_mean) == pytest.approx(4.0)
    pairs = {
        frozenset(pair): 0.5 * float(sum(VALUES[list(p)].var() for p in (pair, others)))
        for pair, others in (((0, 1), (2, 3)), ((0, 2), (1, 3)), ((0, 3), (1, 2)))
    }
    assert (
        min(pairs.values())
        <= float(after.norm.running_var)
        <= max(pairs.values())
        != float(VALUES.var())
    )


def loss_of(student):
    batch = Batch({"student": torch.zeros(len(student), 1)}, None, ())
    ((name, loss, terms),) = EntropyMinimisation().losses(
        {"student": lambda x: student}, batch, Progress(0, 1)
    )
    assert name == "net"
    return loss, terms


def test_entropy_of_an_even_and_of_a_sure_answer():
    even, terms = loss_of(torch.zeros(3, 4))
    assert float(even) == pytest.approx(math.log(4)) and terms["entropy"] is even
    p = torch.tensor([[0.5, 0.25, 0.25]])
    assert float(loss_of(p.log())[0]) == pytest.approx(1.5 * math.log(2))
    sure = torch.tensor([[1000.0, 0.0]], requires_grad=True)  # p rounds to 0
    loss, _ = loss_of(sure)
    loss.backward()
    assert loss.item() == 0 and torch.equal(sure.grad, torch.zeros(1, 2))


def test_entropy_is_minimised_by_the_norms_alone():
    settings = Settings(20, batch_size=4, lr=0.05)
    before, after, moved = fitted(EntropyMinimisation(), VALUES, settings)
    assert moved - STATISTICS == {"norm.weight", "norm.bias"}
    nats = [
        torch.special.entr(net.train()(VALUES).softmax(1)).sum(1).mean().item()
        for net in (before, after)
    ]
    assert nats[1] < nats[0]
