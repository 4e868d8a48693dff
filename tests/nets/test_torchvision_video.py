"""torchvision's video networks with weights from files of torchvision's own names; all weights here are random."""

import hashlib
import warnings
from functools import cache

import numpy as np
import pytest
import torch
from torch import nn
from torchvision.models import get_model, get_model_weights

from kdlab.clips.views import Window
from kdlab.layers import outputs
from kdlab.measure.attention import grad_cam
from kdlab.measure.cost import macs
from kdlab.nets.folding import folded
from kdlab.nets.pretrained import MissingWeights, Weights, untrained
from kdlab.nets.torchvision_video import TorchvisionVideo
from kdlab.nets.video import WrongWeights, build
from kdlab.night import Night
from kdlab.train.recipe import Recipe, from_json, to_json

ARCHS = ("r3d_18", "mc3_18", "r2plus1d_18", "s3d", "swin3d_t", "mvit_v2_s")
slow = pytest.mark.slow
#: Clips as small as each can see, and features at its last stage.
SMALL = {"r3d_18": (8, 32, 32), "mc3_18": (4, 32, 32), "r2plus1d_18": (8, 32, 32), "s3d": (14, 224, 224),
         "swin3d_t": (4, 64, 64), "mvit_v2_s": (16, 224, 224)}


@cache
def theirs(arch, classes=7):
    """torchvision's network at random, its head's bias a name of its own; one for all tests."""
    torch.manual_seed(0)
    return get_model(arch, weights=None, num_classes=classes)


def saved(folder, arch, content, name=None):
    """``content`` in a file whose name carries the digits of its own SHA-256, as torchvision's files do."""
    draft = folder / "draft.pth"
    torch.save(content, draft)
    digits = hashlib.sha256(draft.read_bytes()).hexdigest()[:8]
    return draft.rename(folder / (name or f"{arch}-{digits}.pth"))


@pytest.fixture(autouse=True)
def alone_and_quick(tmp_path, monkeypatch):
    """Nobody's files, and weights at random without the seconds that cutting off a normal's tails takes."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(nn.init, "trunc_normal_", lambda tensor, *_, std=1.0, **__: nn.init.normal_(tensor, 0, std))
    monkeypatch.setattr(nn.init, "xavier_uniform_", lambda tensor, *_, **__: nn.init.normal_(tensor, 0, 0.02))


def test_the_network_is_torchvisions_to_the_name_and_to_the_number():
    for arch in ARCHS:
        with torch.device("meta"):
            ours, other = TorchvisionVideo(arch).make(7), get_model(arch, weights=None, num_classes=7)
        assert {k: v.shape for k, v in ours.state_dict().items()} == {k: v.shape for k, v in other.state_dict().items()}
        assert ours.get_submodule(TorchvisionVideo(arch).head).weight.shape[0] == 7


@pytest.mark.parametrize("arch", ["mc3_18", *(pytest.param(arch, marks=slow) for arch in ARCHS[3:])])
def test_it_answers_as_torchvisions_does(arch):
    """Also where layers are set in another order (Swin), or a block is entered otherwise (MViT)."""
    other, ours = theirs(arch).eval(), TorchvisionVideo(arch).make(7).eval()
    ours.load_state_dict(other.state_dict())
    x = torch.randn(1, 3, *SMALL[arch], generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        assert torch.allclose(ours(x), other(x), atol=1e-5)


@pytest.mark.parametrize("arch", ARCHS)
def test_statistics_and_size_are_of_torchvisions_metadata(arch):
    spec = TorchvisionVideo(arch, Weights("x.pth", "0"))
    preset = get_model_weights(arch).DEFAULT.transforms()
    assert spec.statistics == (tuple(preset.mean), tuple(preset.std)) and TorchvisionVideo(arch).statistics is None
    window = Window(*spec.clip)
    assert window.crop == preset.crop_size[0] and window.side in (128, 256) and window.frames in (16, 32, 128)


WRAPPED = {
    "bare": lambda state: state,
    "state_dict": lambda state: {"epoch": 3, "state_dict": state},
    "model_state": lambda state: {"model_state": state, "optimizer_state": {}},
    "model": lambda state: {"model": state, "args": None},
    "module": lambda state: {"module": state},
    "nested": lambda state: {"model": {"state_dict": state}},
    "prefixed": lambda state: {"model": {f"module.{k}": v for k, v in state.items()}},
    "twice prefixed": lambda state: {f"model.module.{k}": v for k, v in state.items()},
}


@pytest.mark.parametrize("how", WRAPPED)
def test_weights_arrive_however_they_are_wrapped(tmp_path, how):
    other = theirs("mc3_18")
    spec = TorchvisionVideo.of(saved(tmp_path, "mc3_18", WRAPPED[how](other.state_dict())))
    assert spec.arch == "mc3_18"
    state = spec.make(7).state_dict()
    assert all(torch.equal(tensor, state[name]) for name, tensor in other.state_dict().items())


@pytest.mark.parametrize("arch", ["mc3_18", "s3d", pytest.param("swin3d_t", marks=slow),
                                  pytest.param("mvit_v2_s", marks=slow)])
def test_a_head_of_other_classes_is_left_out_by_the_name_that_it_has(tmp_path, arch):
    other = theirs(arch)
    spec = TorchvisionVideo.of(saved(tmp_path, arch, other.state_dict()))
    state = spec.make(3).state_dict()
    for name, tensor in other.state_dict().items():
        assert name.startswith(spec.head) or torch.equal(tensor, state[name])
    assert state[f"{spec.head}.weight"].shape[0] == 3


def test_a_name_without_a_folder_is_looked_for_where_torch_keeps_its_files(tmp_path, monkeypatch):
    path = saved(tmp_path, "mc3_18", theirs("mc3_18").state_dict())
    with pytest.raises(MissingWeights, match=rf"no checkpoint at {path.name}, nor in .*home.*put the file there"):
        TorchvisionVideo.of(path.name)
    hub = tmp_path / "home" / "hub" / "checkpoints"
    hub.mkdir(parents=True)
    moved = path.rename(hub / path.name)
    found = TorchvisionVideo.of(path.name)
    assert found.weights.path == str(moved)
    assert TorchvisionVideo("mc3_18", Weights(str(path), found.weights.sha256)).make(7), "where it lay has changed"
    moved.rename(tmp_path / "home" / path.name)
    assert TorchvisionVideo.of(path.name).weights.sha256 == found.weights.sha256


def test_digits_that_are_not_the_files_own_are_one_sentence(tmp_path):
    state = theirs("mc3_18").state_dict()
    right = saved(tmp_path, "mc3_18", state)
    for spoil in (lambda path: path.rename(tmp_path / "mc3_18-0123abcd.pth"),
                  lambda path: (path.write_bytes(path.read_bytes()[:-100]), path)[1]):
        path = spoil(right)
        sentence = rf"{path.name} has SHA-256 [0-9a-f]{{8}}…, its name says .*Copy it again"
        with pytest.raises(WrongWeights, match=sentence):
            TorchvisionVideo.of(path)
        right = saved(tmp_path, "mc3_18", state)


def test_an_unknown_architecture_and_anothers_weights_are_one_sentence(tmp_path):
    state = theirs("mc3_18").state_dict()
    unknown, other = saved(tmp_path, "x3d_m", state), saved(tmp_path, "r3d_18", state)
    with pytest.raises(ValueError, match=r"x3d_m-\w+\.pth: its name begins with none of r3d_18, .*Give the arch"):
        TorchvisionVideo.of(unknown)
    with pytest.raises(ValueError, match=r"^no architecture 'r3d_19': use one of r3d_18, mc3_18, "):
        TorchvisionVideo("r3d_19")
    with pytest.raises(WrongWeights, match=r"r3d_18-\w+\.pth holds the weights of another architecture: .*layer2.*"
                                           r"Give the file of the network that the recipe names"):
        TorchvisionVideo.of(other).make(7)
    assert TorchvisionVideo("mc3_18", Weights.of(unknown)).make(7)


def test_a_wrong_head_is_one_sentence(tmp_path):
    state = theirs("mc3_18").state_dict()
    weights = Weights.of(saved(tmp_path, "mc3_18", state))
    with pytest.raises(WrongWeights, match=r"^VideoResNet has no layer 'head' with a row a class: name its last layer"):
        weights.into(get_model("mc3_18", weights=None, num_classes=3), "head")
    renamed = {k.replace("fc.", "head."): v for k, v in state.items()}
    with pytest.raises(WrongWeights, match=r"missing \(first fc.bias\).*unknown \(first head.bias\)"):
        TorchvisionVideo.of(saved(tmp_path, "mc3_18", renamed)).make(3)


def test_code_in_a_file_is_not_run(tmp_path):
    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    path = saved(tmp_path, "mc3_18", {"state_dict": theirs("mc3_18").state_dict(), "hook": Evil()})
    with pytest.raises(WrongWeights, match="cannot be read"):
        TorchvisionVideo.of(path).make(7)
    assert not (tmp_path / "ran").exists()


def test_a_clip_that_is_too_small_is_one_sentence_with_the_window():
    with torch.device("meta"):
        net = build(TorchvisionVideo("s3d"), 3, 0, torch.zeros(3), torch.ones(3))
        with pytest.raises(ValueError, match=r"s3d needs clips of at least 14 frames of 224x224 pixels, got 16 of 36x36"
                                             r": use Window\(128, 256, 224\)"):
            net(torch.zeros(1, 3, 16, 36, 36))
    net = TorchvisionVideo("mvit_v2_s").make(3).to("meta")
    with pytest.raises(ValueError, match=r"mvit_v2_s needs clips of exactly 16 frames of 224x224 pixels, got 32"):
        net(torch.zeros(1, 3, 32, 224, 224, device="meta"))


def test_a_recipe_has_the_weights_in_its_identity(tmp_path):
    spec = TorchvisionVideo.of(saved(tmp_path, "mc3_18", theirs("mc3_18").state_dict()))
    with_weights, without = (Recipe("ce_raw", Night(), net=net) for net in (spec, TorchvisionVideo("mc3_18")))
    assert with_weights.name != without.name
    assert from_json(to_json(with_weights)) == with_weights
    assert untrained(spec) == TorchvisionVideo("mc3_18")


@pytest.mark.parametrize("arch", ["mc3_18", *(pytest.param(arch, marks=slow) for arch in ARCHS if arch != "mc3_18")])
def test_grad_cam_looks_at_the_last_stage_of_each(arch):
    spec = TorchvisionVideo(arch)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        net = build(spec, 3, 0).eval()
        layer = f"net.{spec.stages[-1]}"
        x = torch.rand(1, 3, *SMALL[arch], generator=torch.Generator().manual_seed(0))
        for module in net.modules():  # else features of s3d fade away
            if isinstance(module, torch.nn.BatchNorm3d):
                module.momentum = None
        with torch.no_grad():
            net.train()(x)
        net.eval()
        taps = outputs(net, x, [layer]).taps[layer]
        assert taps.dim() == 5
        found = grad_cam(net, x, 1, layer)
    assert found.maps.shape == (1, *SMALL[arch]) and (found.maps >= 0).all() and np.isfinite(found.maps).all()
    assert not found.constant.any()


def test_units_of_a_grid_stand_at_their_places():
    """Swin's last features of a clip of 128² are 4 × 4: a unit's map is largest where the unit stands."""
    net = build(TorchvisionVideo("swin3d_t"), 2, 0).eval()
    net.net.avgpool.register_forward_pre_hook(lambda _m, inputs: (inputs[0][..., 1:2, 3:4].abs(),))
    with torch.no_grad():
        net.net.head.weight.fill_(1)
    x = torch.rand(1, 3, 2, 128, 128, generator=torch.Generator().manual_seed(0))
    found = grad_cam(net, x, 0, "net.maps").maps
    row, column = np.unravel_index(found[0, 0].argmax(), found.shape[2:])
    assert 32 <= row < 64 and 96 <= column < 128, "the second of four rows, the last of four columns"


def test_costs_are_counted_for_all():
    counted = {arch: macs(build(TorchvisionVideo(arch), 400, 0), (1, 3, 16, 224, 224)) / 1e9
               for arch in ("mc3_18", "swin3d_t", "mvit_v2_s")}
    assert counted["mc3_18"] == pytest.approx(43.3 * 4, rel=0.02), "torchvision's table, at 112 squared"
    assert counted["mvit_v2_s"] == pytest.approx(64.2, rel=0.02)
    assert counted["swin3d_t"] == pytest.approx(43.9, rel=0.02)


@pytest.mark.parametrize("arch", ["mc3_18", pytest.param("swin3d_t", marks=slow)])
def test_a_frozen_teacher_can_be_folded(arch):
    net, x = build(TorchvisionVideo(arch), 3, 0).eval(), torch.rand(1, 3, *SMALL[arch])
    with torch.no_grad():
        assert torch.allclose(folded(net, x)(x), net(x), atol=1e-4)
