"""Batch norms inside convolutions: the same function of the same weights, to second order."""

import pytest
import torch
from torch import nn

from kdlab.measure.flatness import Hessian
from kdlab.measure.folding import foldable, folded_in
from kdlab.nets.compressed import TinyCompressed
from kdlab.nets.video import TinyR2Plus1D, build


def lively(net: nn.Module) -> nn.Module:
    """``net`` in eval mode, in fp64, with norms as a training leaves them."""
    generator = torch.Generator().manual_seed(0)
    for module in net.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            for values, low in ((module.running_mean, -0.2), (module.running_var, 0.5), (module.weight, 0.5)):
                values.data.copy_(low + torch.rand(values.shape, generator=generator))
    return net.double().eval()


@pytest.mark.parametrize(("spec", "count"), [(TinyR2Plus1D((4, 6, 8, 8)), 7), (TinyCompressed((4, 6, 8, 8)), 12)])
def test_products_are_those_of_the_network_as_it_is(monkeypatch, spec, count):
    net = lively(build(spec, 3, 0))
    x = torch.rand(6, 3, 4, 24, 24, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    data = [(x[:4], torch.tensor([0, 1, 2, 0])), (x[4:], torch.tensor([1, 1]))]
    monkeypatch.setattr("kdlab.measure.folding.WORTH", 0)
    folded = Hessian(net, data)
    monkeypatch.setattr("kdlab.measure.flatness.foldable", lambda *_: [])
    plain = Hessian(net, data)
    assert len(folded._pairs) == count and not plain._pairs
    rows = torch.randn(2, plain.size, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    assert torch.allclose(folded.product(rows), plain.product(rows), rtol=1e-9, atol=1e-12)
    assert torch.allclose(folded.gradient()[1], plain.gradient()[1], rtol=1e-9, atol=1e-12)
    assert not any("forward" in vars(m) or "_conv_forward" in vars(m) for m in net.modules()), "as they were"


class Twice(nn.Module):
    """A convolution that a second reader, or a second call, keeps from being scaled."""

    def __init__(self, way: str):
        super().__init__()
        self.conv, self.norm, self.way = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3), way

    def forward(self, x):
        made = self.conv(x)
        if self.way == "hidden":  # no graph shows this reader: the answer does
            return (self.norm(made) + made.detach()).mean((2, 3))
        return (self.norm(made) + (made if self.way == "reader" else self.conv(x + 1))).mean((2, 3))


@pytest.mark.parametrize("way", ["reader", "call", "hidden"])
def test_a_convolution_with_another_use_stays(way):
    net = lively(Twice(way))
    assert foldable(net, torch.rand(2, 3, 9, 9, dtype=torch.float64)) == []


def test_a_convolution_of_more_weights_than_features_stays():
    net = lively(nn.Sequential(nn.Conv2d(3, 50, 5), nn.BatchNorm2d(50), nn.AdaptiveAvgPool2d(1), nn.Flatten()))
    x = torch.rand(2, 3, 40, 40, dtype=torch.float64)
    assert len(foldable(net, x)) == 1 and not foldable(net, x[..., :8, :8])
    with folded_in(foldable(net, x)):
        answer = net(x)
    assert torch.allclose(answer, net(x))
