import pytest
import torch
from torchvision.models import resnet18, resnet50

from kdlab.measure.cost import macs
from kdlab.nets.pretrained import Weights
from kdlab.nets.tsn import TSN
from kdlab.nets.video import WrongWeights, build


@pytest.mark.parametrize(("depth", "published"), [(18, resnet18), (50, resnet50)])
@torch.no_grad()
def test_logits_are_the_mean_of_torchvisions_over_frames(tmp_path, depth, published):
    theirs, path, clip = published(num_classes=5).eval(), tmp_path / "weights.pth", torch.rand(2, 3, 3, 40, 40)
    torch.save(theirs.state_dict(), path)
    net = TSN(depth, Weights.of(path)).make(5).eval()
    expected = torch.stack([theirs(clip[:, :, t]) for t in range(3)]).mean(0)
    assert torch.allclose(net(clip), expected, rtol=1e-4, atol=1e-5)
    assert torch.allclose(net(clip[:, :, [2, 0, 1]]), expected, rtol=1e-4, atol=1e-5)  # a consensus has no order
    with pytest.raises(WrongWeights, match="weights.pth holds the weights of another architecture"):
        TSN(68 - depth, Weights.of(path)).make(5)


@torch.no_grad()
def test_build_makes_it_channels_last():
    bare, net = TSN().make(4).eval(), build(TSN(), 4, 0).eval()
    assert net.net.layer1[0].conv1.weight.is_contiguous(memory_format=torch.channels_last)
    bare.load_state_dict(net.net.state_dict())
    clip = torch.rand(1, 3, 2, 40, 40)
    assert torch.allclose(bare(clip), net(clip), atol=1e-5)


def test_cost_by_hand():
    """A frame of 224²: the convolutions of the 18 layers one by one, and the linear layer."""
    stem, stages = 112**2 * 64 * 3 * 49, 0
    for side, inner, channels in ((56, 64, 64), (28, 64, 128), (14, 128, 256), (7, 256, 512)):
        stages += side**2 * channels * 9 * (inner + 3 * channels) + (side**2 * inner * channels) * (inner != channels)
    assert macs(TSN().make(101), (1, 3, 3, 224, 224)) == 3 * (stem + stages + 512 * 101)
    with pytest.raises(ValueError, match="18 or 50, got 34"):
        TSN(34)
