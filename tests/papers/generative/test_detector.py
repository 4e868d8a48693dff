"""The detector: shapes on any backbone, answers that make sense, and what the second stage looks at."""

from dataclasses import dataclass, replace

import pytest
import torch
from torch import nn

from kdlab.nets.i3d import I3D, TOP
from kdlab.nets.video import TinyR2Plus1D, build
from kdlab.papers.generative.detector import Detector, largest
from kdlab.protocols import Net

TINY = Detector(TinyR2Plus1D((4, 4, 8, 8)), steps=32, width=16)


def clips(steps=32):
    return torch.rand(2, 3, steps, 16, 16, generator=torch.Generator().manual_seed(0))


@dataclass(frozen=True)
class OneLayer(Net):
    """A backbone of another kind: two channels in, no stride in space, time in thirds."""

    channels: int = 2

    def make(self, num_classes: int) -> nn.Module:
        net = nn.Sequential(nn.Conv3d(2, 6, 3, (3, 1, 1), 1))
        net.fc = nn.Linear(6, num_classes)
        return net


def test_the_default_has_four_levels_of_a_window_of_64():
    net = build(Detector(), 11, 0).net
    assert net.priors.tolist() == [2 * i + 1 for i in range(32)] + [
        4 * i + 2 for i in range(16)
    ] + [8 * i + 4 for i in range(8)] + [16 * i + 8 for i in range(4)]
    # making it leaves no trace
    assert net.training and not net.backbone.stages[0].temporal_norm.running_mean.any()
    # the classifier's layer is gone, everything else of the backbone is there
    backbone = sum(p.numel() for p in TinyR2Plus1D().make(1).parameters()) - 88 - 1
    assert sum(p.numel() for p in net.backbone.parameters()) == backbone


@pytest.mark.parametrize("refine", [False, True])
def test_answers_surround_their_priors(refine):
    net = build(replace(TINY, refine=refine), 3, 0).eval()
    out = net(clips())
    assert out.shape == (2, 1 + refine, 30, 3 + 3)
    start, end = out[:, 0, :, -3], out[:, 0, :, -2]
    assert (start < net.net.priors).all() and (net.net.priors < end).all()
    # all begin as background
    assert out[..., :3].sigmoid().mean() < 0.05


def test_every_parameter_learns():
    """Data-parallel training stops at a parameter without a gradient."""
    net = build(replace(TINY, refine=True), 3, 0)
    net(clips()).square().mean().backward()
    assert [name for name, p in net.named_parameters() if p.grad is None] == []


def test_any_backbone_with_a_tap_will_do():
    net = Detector(OneLayer(), taps=("0",), steps=30, levels=3, width=8).make(4)
    # of any size
    assert [m.shape for m in net.features(torch.rand(1, 2, 30, 7, 5))] == [(1, 6, 10, 7, 5)]
    assert net(torch.rand(1, 2, 30, 5, 5)).shape == (1, 1, 10 + 5 + 3, 4 + 3)
    assert net.priors[[0, 9, 10, 15]].tolist() == [1.5, 28.5, 3, 5]


def test_the_papers_detector_has_126_priors():
    """On Top-I3D: features of 64 and 32 steps from 256 frames, six levels (docs/methods.md, 2)."""
    net = Detector(
        I3D(temporal=TOP), ("Mixed_4f", "Mixed_5c"), 256, levels=6, width=512, refine=True
    ).make(20)
    assert len(net.priors) == 126
    assert net.laterals[0][0].in_channels == 832
    assert net.laterals[1][0].in_channels == 1024
    assert not any(name.startswith("backbone.logits") for name, _ in net.named_parameters())


def test_the_largest_near_an_end():
    """Against a loop: a place counts when its cell touches the region."""
    level, steps = torch.randn(2, 3, 8, generator=torch.Generator().manual_seed(1)), 16
    low = torch.tensor([[[-1.0, 3.9, 4.0, 15.0]], [[0.0, 7.0, 13.0, -1.6]]])
    high = torch.tensor([[[1.0, 4.1, 6.0, 17.6]], [[16.0, 7.5, 16.0, 1.0]]])
    found = largest(level, low, high, steps)
    for b in range(2):
        for p in range(4):
            cells = [i for i in range(8) if 2 * i < high[b, 0, p] and 2 * i + 2 > low[b, 0, p]]
            assert torch.equal(found[b, :, p], level[b][:, cells].amax(1)), (b, p, cells)


def test_the_second_stage_moves_in_halves_of_the_first_segment_and_sees_its_ends():
    net = replace(TINY, refine=True).make(2).eval()
    nn.init.zeros_(net.second_head.weight)
    net.second_head.bias.data[-3:-1] = torch.tensor([0.5, -1.0])
    first, second = net(clips()).detach().unbind(1)
    long = first[..., -2] - first[..., -3]
    assert torch.allclose(second[..., -3], first[..., -3] + 0.25 * long, atol=1e-4)
    assert torch.allclose(second[..., -2], first[..., -2] - 0.5 * long, atol=1e-4)
    far = net._refined(
        [torch.rand(1, 16, n) for n in (16, 8, 4, 2)],
        torch.tensor([[-90.0], [-50]]).expand(1, 2, 30),
    )
    # a segment outside the window has ends at its edge
    assert far.isfinite().all()


def test_mistakes_are_named():
    with pytest.raises(ValueError, match="windows of 32 frames, got 16"):
        TINY.make(3)(clips(steps=16))
    with pytest.raises(ValueError, match="no layer 'stages.9'"):
        Detector(taps=("stages.9",)).make(3)
    for wrong in ({"taps": ()}, {"levels": 1}, {"width": 20}):
        with pytest.raises(ValueError, match="a detector needs a tap, a level"):
            Detector(**wrong)
