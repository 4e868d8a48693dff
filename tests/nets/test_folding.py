"""Batch norms inside convolutions: the same answers, or no folding."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from kdlab.nets.attention_head import Attended
from kdlab.nets.layers import outputs
from kdlab.nets.norms import folded
from kdlab.nets.torchvision_video import TorchvisionVideo
from kdlab.nets.video import TinyR2Plus1D, build


def pairs(net):
    """The norms that lie in a convolution."""
    return [
        name
        for name, layer in net.named_modules()
        if isinstance(layer, nn.modules.batchnorm._BatchNorm) and hasattr(layer, "pair")
    ]


@pytest.mark.parametrize("spec, shape", [
    (TinyR2Plus1D((4, 8)), (2, 3, 4, 16, 16)),
    (Attended(TorchvisionVideo("r2plus1d_18")), (1, 3, 8, 32, 32)),  # its attention cannot be traced, its convolutions can
])  # fmt: skip
@torch.no_grad()
def test_folding_changes_nothing_but_the_time(spec, shape):
    net = build(spec, 5, 0).eval()
    x = torch.rand(shape)
    norms = [m for m in net.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    for norm in norms:
        norm.running_mean.normal_(std=0.1)
        norm.running_var.uniform_(0.5, 2)
    said = net(x)
    lean = folded(net, x)
    assert len(pairs(lean)) == len(norms)
    taps = [f"net.{stage}" for stage in spec.stages]
    named = outputs(lean, x, taps)
    wanted = outputs(net, x, taps)
    torch.testing.assert_close(named.logits, said, atol=1e-4, rtol=1e-5)
    for tap in taps:
        torch.testing.assert_close(named.taps[tap], wanted.taps[tap], atol=1e-4, rtol=1e-5)
    # the network itself is left as it was
    assert not pairs(net) and torch.equal(net(x), said)


class Strangers(nn.Module):
    """Two convolutions with a norm each; the second of them has another use, in the ``way`` named."""

    def __init__(self, way: str):
        super().__init__()
        self.way, self.first, self.conv = (
            way,
            nn.Conv3d(3, 4, 3, padding=1),
            nn.Conv3d(4, 4, 3, padding=1),
        )
        self.before, self.norm, self.other = nn.BatchNorm3d(4), nn.BatchNorm3d(4), nn.BatchNorm3d(4)

    def forward(self, x):
        x = torch.relu(self.before(self.first(x)))
        made = self.conv(x)
        made = F.relu_(made) if self.way == "in place" else made
        y = self.other(made) if self.way == "asks" and made.mean() > 0 else self.norm(made)
        if self.way == "reader":
            y = y + made
        if self.way == "no gradient":
            y = y + made.detach().sign()
        if self.way == "called twice":
            y = self.other(self.conv(y))
        if self.way == "norm twice":
            y = self.norm(self.conv(y))
        if self.way == "weight":
            y = F.conv3d(y, self.conv.weight)
        return y.mean((2, 3, 4))


def lively(net):
    """``net`` with norms as a training leaves them."""
    torch.manual_seed(0)
    for norm in net.modules():
        if isinstance(norm, nn.BatchNorm3d):
            norm.running_mean.normal_()
            norm.running_var.uniform_(0.5, 3)
    return net.eval()


@pytest.mark.parametrize(
    "way", ["in place", "asks", "reader", "no gradient", "called twice", "norm twice", "weight"]
)
@torch.no_grad()
def test_a_layer_with_another_use_answers_as_before(way):
    net = lively(Strangers(way))
    x = torch.rand(2, 3, 4, 8, 8)
    lean = folded(net, x)
    # code that asks what it sees: nothing
    wanted = {"weight": ["before", "norm"], "asks": []}.get(way, ["before"])
    assert pairs(lean) == wanted
    for clips in (x, x - 1):
        torch.testing.assert_close(lean(clips), net(clips), atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_a_tap_of_a_folded_convolution_or_norm_is_its_own():
    net = lively(nn.Sequential(Strangers("")))
    x = torch.rand(2, 3, 4, 8, 8)
    lean = folded(net, x)
    assert len(pairs(lean)) == 2
    for names in (["0.conv"], ["0.norm"], ["0.conv", "0.norm"]):
        found = outputs(lean, x, names)
        wanted = outputs(net, x, names)
        torch.testing.assert_close(found.taps, wanted.taps, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(found.logits, wanted.logits, atol=1e-4, rtol=1e-4)
