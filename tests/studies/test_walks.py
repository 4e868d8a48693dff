"""Notebook 08's questions to single networks, on quadratics and small networks."""

import numpy as np
import pytest
import torch
from torch import nn

from kdlab.measure.flatness import Hessian
from kdlab.nets.compressed import Block
from kdlab.studies import walks
from kdlab.studies.walks import STEEPEST, directions, five, moved, relief, rescaled, rises
from kdlab.train.loop import one_thread


@pytest.fixture(autouse=True)
def single_thread():
    with one_thread():
        yield


@pytest.fixture
def clips():
    generator = torch.Generator().manual_seed(0)
    return [(torch.randn(12, 3, 4, 4, generator=generator), torch.arange(12) % 3)]


@pytest.fixture
def net(clips):
    torch.manual_seed(0)
    made = nn.Sequential(Block(3, 4), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))
    made.train()
    made(clips[0][0])  # statistics that are not 0 and 1
    return made.eval()


def test_the_steepest_direction_is_that_of_the_largest_eigenvalue_and_as_long_as_the_others():
    w = nn.Parameter(torch.full((3, 4), 0.5, dtype=torch.float64))
    scale = torch.ones(3, 4, dtype=torch.float64)
    scale[1, 2] = 50
    found = directions(Hessian.of(lambda: 0.5 * (scale * w * w).sum(), [w]))
    assert list(found) == ["random 1", "random 2", STEEPEST]
    steepest = found[STEEPEST].view(3, 4).abs()
    assert float(steepest[1, 2] / steepest.norm()) == pytest.approx(1)
    assert float(found[STEEPEST].norm()) == pytest.approx(float(found["random 1"].norm()))


def test_a_walk_begins_where_the_network_is_and_the_steepest_rises_most(net, clips):
    at = np.linspace(-0.2, 0.2, 5)
    found = walks.walks(net, clips, at)
    here = Hessian(net, clips).value()
    for walk in found.values():
        assert np.array_equal(walk.at, at) and walk.losses[2] == pytest.approx(here[0])
        assert walk.accuracies[2] == pytest.approx(100 * here[1])
    bend = {name: walk.losses[[0, -1]].mean() - walk.losses[2] for name, walk in found.items()}
    assert max(bend, key=bend.get) == STEEPEST


def test_reliefs_and_rises_are_those_of_the_same_directions(net, clips):
    around = np.linspace(-1, 1, 3)
    losses, hessian = relief(net, clips, around), Hessian(net, clips)
    above = rises(hessian, 2, around)
    assert losses.shape == (3, 3) and above.shape == (2, 3) and above[:, 1] == pytest.approx([0, 0], abs=1e-6)
    assert losses[:, 1] - losses[1, 1] == pytest.approx(above[0], abs=1e-6)
    assert losses[1] - losses[1, 1] == pytest.approx(above[1], abs=1e-6)


def test_a_rescaled_twin_answers_the_same_and_only_raw_measures_move(net, clips):
    twin = rescaled(net, 0.1)
    with torch.no_grad():
        assert torch.allclose(twin(clips[0][0]), net(clips[0][0]), atol=1e-4)
    before, after = five(net, clips), five(twin, clips)
    ratios = {name: after[name] / before[name] for name in before}
    assert [name for name, ratio in ratios.items() if moved([ratio])] == ["trace", "largest eigenvalue", "SAM 0.05"]
    with pytest.raises(ValueError, match="Linear has no residual block"):
        rescaled(nn.Linear(2, 2), 3)


def test_a_factor_counts_both_ways():
    assert moved([1, 2]) and moved([0.5]) and not moved([1.1, 0.9])
