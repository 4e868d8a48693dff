"""torchvision's video networks with weights from files of torchvision's own names; all weights here are random."""

import hashlib
from functools import cache

import pytest
import torch
from torch import nn
from torchvision.models import get_model, get_model_weights

from kdlab.clips.windows import Window
from kdlab.nets.pretrained import Weights
from kdlab.nets.torchvision_video import TorchvisionVideo

ARCHS = ("r3d_18", "mc3_18", "r2plus1d_18", "s3d", "swin3d_t", "mvit_v2_s")
slow = pytest.mark.slow


@cache
def theirs(arch):
    """torchvision's network at random, its head's bias a name of its own; one for all tests."""
    torch.manual_seed(0)
    return get_model(arch, weights=None, num_classes=7)


def saved(folder, arch, content):
    """``content`` in a file whose name carries the digits of its own SHA-256, as torchvision's files do."""
    draft = folder / "draft.pth"
    torch.save(content, draft)
    digits = hashlib.sha256(draft.read_bytes()).hexdigest()[:8]
    return draft.rename(folder / f"{arch}-{digits}.pth")


@pytest.fixture(autouse=True)
def alone_and_quick(tmp_path, monkeypatch):
    """Nobody's files, and weights at random without the seconds that cutting off a normal's tails takes."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(
        nn.init, "trunc_normal_", lambda tensor, *_, std=1.0, **__: nn.init.normal_(tensor, 0, std)
    )
    monkeypatch.setattr(
        nn.init, "xavier_uniform_", lambda tensor, *_, **__: nn.init.normal_(tensor, 0, 0.02)
    )


def test_the_network_is_torchvisions_to_the_name_and_to_the_number():
    for arch in ARCHS:
        with torch.device("meta"):
            ours = TorchvisionVideo(arch).make(7)
            other = get_model(arch, weights=None, num_classes=7)
        assert {k: v.shape for k, v in ours.state_dict().items()} == {
            k: v.shape for k, v in other.state_dict().items()
        }
        assert ours.get_submodule(TorchvisionVideo(arch).head).weight.shape[0] == 7


@pytest.mark.parametrize("arch", ARCHS)
def test_statistics_and_size_are_of_torchvisions_metadata(arch):
    spec = TorchvisionVideo(arch, Weights("x.pth", "0"))
    preset = get_model_weights(arch).DEFAULT.transforms()
    assert spec.statistics == (tuple(preset.mean), tuple(preset.std))
    assert TorchvisionVideo(arch).statistics is None
    window = Window(*spec.clip)
    assert window.crop == preset.crop_size[0]
    assert window.side in (128, 256)
    assert window.frames in (16, 32, 128)


@pytest.mark.parametrize(
    "arch",
    ["mc3_18", "s3d", pytest.param("swin3d_t", marks=slow), pytest.param("mvit_v2_s", marks=slow)],
)
def test_a_head_of_other_classes_is_left_out_by_the_name_that_it_has(tmp_path, arch):
    other = theirs(arch)
    spec = TorchvisionVideo.of(saved(tmp_path, arch, other.state_dict()))
    state = spec.make(3).state_dict()
    for name, tensor in other.state_dict().items():
        assert name.startswith(spec.head) or torch.equal(tensor, state[name])
    assert state[f"{spec.head}.weight"].shape[0] == 3


def test_a_name_without_a_folder_is_looked_for_where_torch_keeps_its_files(tmp_path, monkeypatch):
    path = saved(tmp_path, "mc3_18", theirs("mc3_18").state_dict())
    with pytest.raises(match=rf"no checkpoint at {path.name}, nor in .*home.*put the file there"):
        TorchvisionVideo.of(path.name)
    hub = tmp_path / "home" / "hub" / "checkpoints"
    hub.mkdir(parents=True)
    moved = path.rename(hub / path.name)
    found = TorchvisionVideo.of(path.name)
    assert found.weights.path == str(moved)
    # where it lay has changed
    assert TorchvisionVideo("mc3_18", Weights(str(path), found.weights.sha256)).make(7)


def test_digits_that_are_not_the_files_own_are_one_sentence(tmp_path):
    path = saved(tmp_path, "mc3_18", theirs("mc3_18").state_dict())
    path.write_bytes(path.read_bytes()[:-100])
    sentence = rf"{path.name} has SHA-256 [0-9a-f]{{8}}…, its name says .*Copy it again"
    with pytest.raises(ValueError, match=sentence):
        TorchvisionVideo.of(path)


def test_an_unknown_architecture_and_anothers_weights_are_one_sentence(tmp_path):
    state = theirs("mc3_18").state_dict()
    unknown = saved(tmp_path, "x3d_m", state)
    other = saved(tmp_path, "r3d_18", state)
    with pytest.raises(ValueError, match=r"^no architecture 'x3d_m': use one of r3d_18, mc3_18, "):
        TorchvisionVideo.of(unknown)
    with pytest.raises(
        ValueError,
        match=r"r3d_18-\w+\.pth holds the weights of another architecture: .*layer2.*"
        r"Give the file of the network that the recipe names",
    ):
        TorchvisionVideo.of(other).make(7)
    assert TorchvisionVideo("mc3_18", Weights.of(unknown)).make(7)
