import pytest
import torch
from torch import nn
from torchvision.models import resnet18, resnet50

from kdlab.measure.cost import macs, parameters
from kdlab.nets.compressed import CHANNELS, CoViARNet, matched, tiny
from kdlab.nets.pretrained import Weights
from kdlab.nets.video import build
from kdlab.train.recipe import from_json, to_json
from kdlab.train.runs import untrained

DEPTHS = {"iframe": 50, "motion": 18, "residual": 18}


@pytest.mark.parametrize("modality", CHANNELS)
@torch.no_grad()
def test_logits_are_the_mean_over_segments_and_features_come_from_the_same_pass(modality):
    net = build(tiny(modality), 5, 0).eval()
    clip = torch.rand(2, CHANNELS[modality], 3, 64, 80)
    frames = torch.stack([net(clip[:, :, t : t + 1]) for t in range(3)])
    assert torch.allclose(net(clip), frames.mean(0), atol=1e-5)
    hooked = {}
    for k in range(3):
        net.net.stages[k].register_forward_hook(lambda _m, _i, out, k=k: hooked.update({k: out}))
    taps, logits = net.net.features(clip)
    widths = tiny(modality).widths
    assert [tuple(t.shape) for t in taps] == [
        (6, w, 32 >> k, 40 >> k) for k, w in enumerate(widths[:3])
    ]
    assert all(torch.equal(taps[k], hooked[k]) for k in range(3)) and torch.equal(logits, net(clip))


def test_sizes_of_the_tiny_networks_by_hand():
    """Stages of 32×40, 16×20, 8×10 and 4×5; a block is two 3×3 convolutions and a 1×1 shortcut."""
    assert {matched(m).widths for m in CHANNELS} == {tiny("iframe").widths}
    cost, before = 0, 3
    for k, width in enumerate((16, 32, 64, 64)):
        cost += (1280 >> 2 * k) * width * (10 * before + 9 * width)
        before = width
    net = build(tiny("iframe"), 10, 0).eval()
    assert macs(net, (1, 3, 3, 64, 80)) == 3 * (cost + 64 * 10)
    assert parameters(net) == 154_000


class Released(nn.Module):
    """The layout of CoViAR's released checkpoints, written from their names: ``base_model`` behind ``data_bn``."""

    def __init__(self, modality: str, classes: int):
        super().__init__()
        self.base_model = (resnet50 if modality == "iframe" else resnet18)(num_classes=classes)
        if modality == "motion":
            self.base_model.conv1 = nn.Conv2d(2, 64, 7, 2, 3, bias=False)
        if modality != "iframe":
            self.data_bn = nn.BatchNorm2d(CHANNELS[modality])
            nn.init.uniform_(self.data_bn.running_mean, -1, 1)
            nn.init.uniform_(self.data_bn.weight, 0.5, 2)
        self.modality = modality

    def forward(self, x):
        """Pixels ``(N, C, H, W)`` in [0, 1], BGR for residuals, as the released loader gives them."""
        std = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)
        if self.modality == "iframe":
            return self.base_model((x - torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)) / std)
        return self.base_model(
            self.data_bn(x - 0.5 if self.modality == "motion" else (x - 0.5) / std)
        )


@pytest.fixture(scope="module")
def released(tmp_path_factory):
    """A checkpoint file of each modality as CoViAR's trainer writes it, and the network it came from."""
    torch.manual_seed(0)
    found = {}
    for modality in CHANNELS:
        net = Released(modality, 5).eval()
        path = tmp_path_factory.mktemp("released") / f"{modality}.pth.tar"
        state = {f"module.{name}": value for name, value in net.state_dict().items()}
        torch.save({"epoch": 3, "arch": "resnet18", "state_dict": state, "best_prec1": 57.0}, path)
        found[modality] = net, path
    return found


@pytest.mark.parametrize("modality", CHANNELS)
@torch.no_grad()
def test_a_released_checkpoint_gives_the_released_logits(released, modality):
    torch.manual_seed(0)
    theirs, path = released[modality]
    spec = CoViARNet(modality, DEPTHS[modality], Weights.of(path))
    assert from_json(to_json(spec)) == spec and untrained(spec).statistics == spec.statistics
    statistics = [torch.tensor(s) for s in spec.statistics]
    net = build(spec, 5, 0, *statistics).eval()
    clip = torch.rand(2, CHANNELS[modality], 3, 64, 64)
    frames = clip.transpose(1, 2).flatten(0, 1)
    expected = (
        theirs(frames.flip(1) if modality == "residual" else frames).unflatten(0, (2, 3)).mean(1)
    )
    assert torch.allclose(net(clip), expected, atol=1e-4)
    by_the_same_convolutions = net.to(memory_format=torch.contiguous_format)(clip)
    assert torch.allclose(
        by_the_same_convolutions, expected, atol=1e-5 * float(expected.abs().max())
    )


def test_a_checkpoint_of_another_modality_or_depth_is_refused(released):
    paths = {modality: Weights.of(path) for modality, (_, path) in released.items()}
    for spec, why in (
        (CoViARNet("residual", 18, paths["motion"]), r"conv1.weight has shape \(64, 2, 7, 7\)"),
        (CoViARNet("motion", 18, paths["iframe"]), "missing .first data_bn.bias"),
        (CoViARNet("iframe", 18, paths["iframe"]), "unknown .first layer1.0.bn3.bias"),
    ):
        with pytest.raises(ValueError, match=f"(?s)pth.tar.*{why}.*file of the network"):
            spec.make(5)
    for wrong in (("audio", 18), ("motion", 34)):
        with pytest.raises(
            ValueError, match="one of iframe, motion, residual and depth 18, 50 or 152, got"
        ):
            CoViARNet(*wrong)


@pytest.mark.parametrize("width", [8, 9])
def test_the_shortcut_answers_as_a_plain_convolution_and_calls_none(width, monkeypatch):
    shortcut = tiny("iframe").make(2).stages[0][1].downsample[0]
    x = torch.rand(2, 3, 7, width).to(memory_format=torch.channels_last).requires_grad_()
    plain = torch.nn.functional.conv2d(x, shortcut.weight, stride=2)
    (wanted,) = torch.autograd.grad(plain.square().sum(), x)
    monkeypatch.setattr(
        torch.nn.functional, "conv2d", lambda *_: pytest.fail("oneDNN's may end the process")
    )
    (found,) = torch.autograd.grad(shortcut(x).square().sum(), x)
    assert torch.allclose(shortcut(x), plain, atol=1e-6)
    assert torch.allclose(found, wanted, atol=1e-6)
    # adding it to a gradient in another layout takes four times as long
    assert found.stride() == x.stride()
