import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from kdlab.measure.cost import macs
from kdlab.nets.compressed import CHANNELS, tiny
from kdlab.papers.progressive.anytime import cost_per_exit, walk
from kdlab.papers.progressive.nets import ORDER
from tests.papers.progressive.test_nets import a_trio

SHAPES = {m: (c, 2, 32, 40) for m, c in CHANNELS.items()}
SAMPLES = 7


@pytest.fixture(scope="module")
def trio():
    return a_trio({m: tiny(m) for m in CHANNELS}, 5).eval()


@pytest.fixture(scope="module")
def views():
    torch.manual_seed(1)
    return {m: torch.rand(SAMPLES, *shape) for m, shape in SHAPES.items()}


class Reader:
    """The views, and a note of who asked for what."""

    def __init__(self, views):
        self.views, self.asked = views, []

    def __call__(self, modality, indices):
        self.asked.append((modality, indices.tolist()))
        return self.views[modality][indices]


def stopping(at: list[int], whole: torch.Tensor):
    """A rule that stops each sample at its own place, and knows by their logits which samples it is shown."""
    places, alive = torch.tensor(at), torch.arange(len(at))

    def decide(k, logits):
        nonlocal alive
        assert torch.allclose(logits, whole[alive][:, :k], atol=1e-5)
        stop = places[alive] == k - 1
        alive = alive[~stop]
        return stop, logits.sum(1)

    return decide


@torch.no_grad()
@pytest.mark.parametrize("at", [[0, 3, 3, 5, 0, 11, 1], [2] * 7, [20] * 7, [7, 7, 7, 7, 0, 0, 0]])
def test_every_sample_gets_the_answer_of_its_exit_and_nothing_else_is_computed(trio, views, at):
    whole, read, costs = trio(views).exits, Reader(views), cost_per_exit(trio, SHAPES)
    with FlopCounterMode(display=False) as counter:
        walked = walk(trio, read, stopping(at, whole), SAMPLES, costs)
    last = [min(place, 11) for place in at]
    assert walked.exits.tolist() == last
    expected = torch.stack([whole[i, : place + 1].sum(0) for i, place in enumerate(last)])
    assert torch.allclose(walked.answers, expected, atol=1e-4)
    assert walked.macs.tolist() == [costs[place] for place in last]
    assert counter.get_total_flops() == 2 * walked.macs.sum()  # what was charged is what was really computed
    needed = [(m, [i for i, place in enumerate(last) if place >= 4 * n]) for n, m in enumerate(ORDER)]
    assert read.asked == [(m, who) for m, who in needed if who]


def test_the_networks_alone_cost_what_is_left_without_the_heads(trio):
    alone = sum(macs(trio.nets[m], (1, *SHAPES[m])) for m in ORDER)
    heads = 0
    for m in ORDER:
        maps, _ = trio.nets[m].net.features(torch.zeros(1, *SHAPES[m]))
        heads += sum(macs(head, tuple(stage.shape)) for head, stage in zip(trio.heads[m], maps, strict=True))
    assert cost_per_exit(trio, SHAPES)[-1] == alone + heads


def test_charged_by_the_layers_sizes(trio):
    """R1 by hand: two 3×3 convolutions and a shortcut to 16×20; the head, 3×3 on 7×9 of as many channels; linear."""
    costs = cost_per_exit(trio, SHAPES)
    assert costs[0] == 2 * (320 * 8 * (10 * 3 + 9 * 8) + 7 * 9 * 8 * 8 * 9 + 16 * 8 * 5)
    assert costs.shape == (12,) and costs.dtype == np.int64
