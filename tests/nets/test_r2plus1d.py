"""R(2+1)D-18 is torchvision's; R(2+1)D-34 is the public IG-65M layout."""

from dataclasses import replace

import pytest
import torch
from torch import nn
from torchvision.models.video import r2plus1d_18
from torchvision.models.video.resnet import BasicBlock, Conv2Plus1D, R2Plus1dStem, VideoResNet

from kdlab.measure.cost import macs, parameters
from kdlab.nets.layers import outputs
from kdlab.nets.pretrained import Weights
from kdlab.nets.torchvision_video import KINETICS, R2Plus1D, TorchvisionVideo
from kdlab.nets.video import build

SMALL, LARGE = TorchvisionVideo("r2plus1d_18"), R2Plus1D()
CLIP = torch.rand(1, 3, 5, 24, 24, generator=torch.Generator().manual_seed(0))


def shuffled(net: nn.Module) -> nn.Module:
    """``net`` in eval mode with statistics as a training leaves them, not 0 and 1."""
    for module in net.modules():
        if isinstance(module, nn.BatchNorm3d):
            module.running_mean.uniform_(-0.1, 0.1)
            module.running_var.uniform_(0.5, 1)
    return net.eval()


def released_34(classes: int) -> nn.Module:
    """torchvision's parts, put together as the release of the IG-65M weights says."""
    net = VideoResNet(BasicBlock, [Conv2Plus1D] * 4, [3, 4, 6, 3], R2Plus1dStem, classes)
    for layer, channels, middle in (
        (net.layer2, 128, 288),
        (net.layer3, 256, 576),
        (net.layer4, 512, 1152),
    ):
        layer[0].conv2[0] = Conv2Plus1D(channels, channels, middle)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm3d):
            module.eps = 1e-3
    return net


@pytest.mark.parametrize("spec", [SMALL, pytest.param(LARGE, marks=pytest.mark.slow)])
@torch.no_grad()
def test_a_published_checkpoint_gives_the_published_logits(tmp_path, spec):
    torch.manual_seed(0)
    theirs = shuffled(r2plus1d_18(num_classes=7) if spec == SMALL else released_34(7))
    path = tmp_path / "weights.pth"
    torch.save(theirs.state_dict(), path)
    spec = replace(spec, weights=Weights.of(path))
    assert torch.allclose(spec.make(7).eval()(CLIP), theirs(CLIP), rtol=1e-4, atol=1e-5)
    net = build(spec, 3, 0, *map(torch.tensor, spec.statistics)).eval()
    features = outputs(net, CLIP, ["net.layer4"]).taps["net.layer4"]
    standard = (CLIP - torch.tensor(KINETICS[0]).view(3, 1, 1, 1)) / torch.tensor(KINETICS[1]).view(
        3, 1, 1, 1
    )
    expected = outputs(theirs, standard, ["layer4"]).taps["layer4"]
    assert torch.allclose(features, expected, rtol=1e-4, atol=1e-5 * float(expected.max()))


def test_the_layout_is_that_of_the_release():
    with torch.device("meta"):
        ours = LARGE.make(400)
        released = released_34(400)
    a, b = (
        {name: tensor.shape for name, tensor in net.state_dict().items()}
        for net in (ours, released)
    )
    assert a == b
    assert {(m.eps, m.momentum) for m in ours.modules() if isinstance(m, nn.BatchNorm3d)} == {
        (1e-3, 0.1)
    }


def test_size_and_cost_are_the_published_ones():
    with torch.device("meta"):
        large, small = LARGE.make(400), SMALL.make(400)
    assert (parameters(large), parameters(small)) == (63_697_175, 31_505_325)
    assert macs(large, (1, 3, 64, 112, 112)) == 304_711_225_344
