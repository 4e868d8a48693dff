"""A teacher whose batch statistics drifted says in use what it did not say in training."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from kdlab.measure import teaching
from kdlab.measure.teaching import teaching_losses


class Clips:
    """Four training clips of two numbers; drawn, they are as they are."""

    records = range(4)
    values = torch.tensor([[1.0, 0.0], [1.0, 0.0], [-1.0, 0.0], [-1.0, 0.0]])

    def training(self, indices, generator):
        return SimpleNamespace(views={"student": self.values[indices]}, labels=torch.tensor([0, 0, 1, 1])[indices])


def test_losses_of_a_teacher_as_it_is_used_and_with_batch_statistics(monkeypatch):
    norm = nn.BatchNorm1d(2, eps=1e-12, affine=False)
    linear = nn.Linear(2, 2, bias=False)
    linear.weight.data = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
    net = nn.Sequential(norm, nn.Dropout(0.9), linear).eval()
    run = SimpleNamespace(recipe=SimpleNamespace(seed=0, settings=SimpleNamespace(batch_size=4)), net=lambda: net)
    monkeypatch.setattr(teaching, "batches", lambda recipe, split: Clips())
    right = np.log(1 + np.exp(-2))  # ±1 stays ±1 in a batch of all four, so every margin is 2
    assert teaching_losses(run) == pytest.approx((right, right))
    norm.running_mean[0] = -3  # drifted: 4 and 2 in place of 1 and -1, so the second class is wrong by 4
    evaluated, trained = teaching_losses(run)
    assert trained == pytest.approx(right)
    assert evaluated == pytest.approx((np.log(1 + np.exp(-8)) + np.log(1 + np.exp(4))) / 2)
    assert norm.running_mean[0] == -3 and not net.training, "the network is left as it was"
