"""R(2+1)D-18 is torchvision's; R(2+1)D-34 is the public IG-65M layout."""

import resource
import sys
import time

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torchvision.models.video import r2plus1d_18
from torchvision.models.video.resnet import BasicBlock, Conv2Plus1D, R2Plus1dStem, VideoResNet

from kdlab.layers import outputs
from kdlab.measure.cost import macs, parameters
from kdlab.nets.attention_head import Attended
from kdlab.nets.pretrained import KINETICS, Weights
from kdlab.nets.r2plus1d import R2Plus1D
from kdlab.nets.video import WrongWeights, build

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
    for layer, channels, middle in ((net.layer2, 128, 288), (net.layer3, 256, 576), (net.layer4, 512, 1152)):
        layer[0].conv2[0] = Conv2Plus1D(channels, channels, middle)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm3d):
            module.eps = 1e-3
    return net


@pytest.mark.parametrize("depth", [18, pytest.param(34, marks=pytest.mark.slow)])
@torch.no_grad()
def test_a_published_checkpoint_gives_the_published_logits(tmp_path, depth):
    torch.manual_seed(0)
    theirs, path = shuffled(r2plus1d_18(num_classes=7) if depth == 18 else released_34(7)), tmp_path / "weights.pth"
    torch.save(theirs.state_dict(), path)
    spec = R2Plus1D(depth, Weights.of(path))
    assert torch.allclose(spec.make(7).eval()(CLIP), theirs(CLIP), rtol=1e-4, atol=1e-5)
    net = build(spec, 3, 0, *map(torch.tensor, spec.statistics)).eval()
    features = outputs(net, CLIP, ["net.layer4"]).taps["net.layer4"]
    standard = (CLIP - torch.tensor(KINETICS[0]).view(3, 1, 1, 1)) / torch.tensor(KINETICS[1]).view(3, 1, 1, 1)
    expected = outputs(theirs, standard, ["layer4"]).taps["layer4"]
    assert torch.allclose(features, expected, rtol=1e-4, atol=1e-5 * float(expected.max()))
    wrong = R2Plus1D(52 - depth, spec.weights)
    with pytest.raises(WrongWeights, match="layer1.2" if depth == 34 else "missing"):
        wrong.make(7)


def test_the_layouts_differ_where_the_release_says():
    with torch.device("meta"):
        ours, released = R2Plus1D(34).make(400), released_34(400)
        plain = VideoResNet(BasicBlock, [Conv2Plus1D] * 4, [3, 4, 6, 3], R2Plus1dStem)
    a, b, c = ({name: tuple(t.shape) for name, t in net.state_dict().items()} for net in (ours, released, plain))
    assert a == b
    middle = {k: (a[k][0], c[k][0]) for k in a if a[k] != c[k] and k.endswith("conv2.0.0.weight")}
    assert list(middle.values()) == [(288, 230), (576, 460), (1152, 921)]  # layers 2, 3 and 4
    assert {(m.eps, m.momentum) for m in ours.modules() if isinstance(m, nn.BatchNorm3d)} == {(1e-3, 0.1)}
    assert R2Plus1D(momentum=0.9).make(2).layer3[4].conv1[1].momentum == 0.9
    with pytest.raises(ValueError, match="18 or 34, got 50"):
        R2Plus1D(50)


def count(blocks: list[int], t: int, side: int, classes: int, own: bool) -> int:
    """Multiply–accumulates, convolution by convolution; ``own``: middle channels by each convolution's own input."""
    middle = lambda a, b: 27 * a * b // (9 * a + 3 * b)  # noqa: E731
    side //= 2
    total, inner = t * side**2 * (45 * 3 * 49 + 64 * 45 * 3), 64
    for channels, repeats in zip((64, 128, 256, 512), blocks, strict=True):
        for block in range(repeats):
            halved = block == 0 and channels > 64
            frames, size = (t // 2, side // 2) if halved else (t, side)
            first = middle(inner, channels)
            second = middle(channels, channels) if own else first
            total += t * size**2 * first * inner * 9 + frames * size**2 * channels * first * 3
            total += frames * size**2 * (second * channels * 9 + channels * second * 3 + halved * inner * channels)
            t, side, inner = frames, size, channels
    return total + 512 * classes


def test_size_and_cost_by_hand():
    with torch.device("meta"):
        large, small = R2Plus1D(34).make(400), R2Plus1D(18).make(400)
    assert (parameters(large), parameters(small)) == (63_697_175, 31_505_325)
    assert macs(large, (1, 3, 64, 112, 112)) == count([3, 4, 6, 3], 64, 112, 400, own=True) == 304_711_225_344
    assert macs(small, (1, 3, 16, 112, 112)) == count([2, 2, 2, 2], 16, 112, 400, own=False)


def peak() -> float:
    """The most memory this process ever held, in GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e9


@pytest.mark.slow
def test_one_step_and_one_evaluation_at_the_papers_shape(capsys):
    """R(2+1)D-34 under temporal attention, one random clip of 64 × 112², fp32."""
    net, clip, before = build(Attended(), 11, seed=0), torch.rand(1, 3, 64, 112, 112), peak()
    optimiser, weight = torch.optim.AdamW(net.parameters(), 1e-5, weight_decay=1e-3), net.net.fc.weight.clone()
    start = time.perf_counter()
    loss = F.cross_entropy(net.train()(clip), torch.tensor([3]))
    loss.backward()
    optimiser.step()
    trained = time.perf_counter()
    with torch.no_grad():
        out = outputs(net.eval(), clip, ["net.features"])
    with capsys.disabled():
        print(f"\n  R(2+1)D-34 + attention, 64 × 112², batch 1, fp32, {torch.get_num_threads()} threads: peak memory "
              f"{peak():.2f} GB ({before:.2f} before), step {trained - start:.1f} s, evaluation "
              f"{time.perf_counter() - trained:.1f} s, {parameters(net) / 1e6:.2f} M parameters, "
              f"{macs(net, clip.shape) / 1e9:.1f} GMAC")
    assert out.taps["net.features"].shape == (1, 512, 8, 7, 7) and out.logits.shape == (1, 11)
    assert torch.isfinite(loss) and not torch.equal(weight, net.net.fc.weight)
    assert peak() < 16
