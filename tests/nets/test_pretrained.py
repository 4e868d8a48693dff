"""Checkpoints from local files: what loads, what is left out, and what is refused with a mend."""

from functools import partial

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from kdlab.nets.attention_head import Attended
from kdlab.nets.pretrained import Weights
from kdlab.nets.torchvision_video import R2Plus1D
from kdlab.nets.video import TinyR2Plus1D
from kdlab.night import Night
from kdlab.train.recipe import Recipe, from_json, to_json


def net() -> nn.Module:
    return TinyR2Plus1D((4, 6)).make(5)


@pytest.fixture
def checkpoint(tmp_path):
    path = tmp_path / "weights.pth"
    torch.save(net().state_dict(), path)
    return path


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_every_tensor_arrives_from_either_kind_of_file(tmp_path, suffix):
    theirs = net()
    ours = net()
    path = tmp_path / f"weights{suffix}"
    # as old files are
    state = {k: v for k, v in theirs.state_dict().items() if "num_batches" not in k}
    save_file(state, path) if suffix == ".safetensors" else torch.save(state, path)
    assert Weights.of(path).into(ours) is ours
    assert all(torch.equal(v, theirs.state_dict()[k]) for k, v in ours.state_dict().items())


@pytest.mark.parametrize(
    "write",
    [save_file, torch.save, partial(torch.save, _use_new_zipfile_serialization=False)],
    ids=["safetensors", "zip", "legacy"],
)
def test_a_file_cut_short_anywhere_is_named(tmp_path, write):
    path = tmp_path / ("weights.safetensors" if write is save_file else "weights.pth")
    write(net().state_dict(), path)
    Weights.of(path).into(net())
    whole = path.read_bytes()
    for end in range(0, len(whole), len(whole) // 50):
        path.write_bytes(whole[:end])
        with pytest.raises(
            ValueError, match=r"weights.\w+ cannot be read .*cut short.*Copy it again"
        ):
            Weights.of(path).into(net())


def test_what_is_no_state_dict_is_refused(tmp_path):
    """A pickled network too: unpickling it would run whatever code the file names."""
    path = tmp_path / "weights.pth"
    for content, why in (
        ({"epoch": 3}, "no state dict"),
        ([torch.zeros(2)], "no state dict"),
        (net(), "Weights only"),
    ):
        torch.save(content, path)
        with pytest.raises(ValueError, match=why):
            Weights.of(path).into(net())
    path.write_text("hello, I am a web page")
    with pytest.raises(ValueError, match="cannot be read"):
        Weights.of(path).into(net())


def test_the_content_is_in_a_recipes_identity_and_the_path_is_not(tmp_path, checkpoint):
    copy, other = tmp_path / "copy.pth", tmp_path / "other.pth"
    copy.write_bytes(checkpoint.read_bytes())
    torch.save(net().state_dict(), other)
    specs = [
        Attended(R2Plus1D(Weights.of(path) if path else None))
        for path in (checkpoint, copy, other, None)
    ]
    first, same, *rest = (Recipe("ce_raw", Night(), net=spec).digest() for spec in specs)
    assert first == same and len({first, *rest}) == 3
    assert from_json(to_json(specs[0])) == specs[0]


def test_a_changed_file_is_not_used(checkpoint):
    weights = Weights.of(checkpoint)
    torch.save(net().state_dict(), checkpoint)
    with pytest.raises(ValueError, match=f"the recipe was made for {weights.name}"):
        weights.into(net())


def test_a_prefix_is_a_wrappers_where_all_names_have_it_and_none_fits(tmp_path):
    def loaded(state, ours):
        torch.save(state, tmp_path / "some.pth")
        return Weights.of(tmp_path / "some.pth").into(ours).state_dict()

    class Scaled(nn.Module):
        """A layer that happens to be called as a wrapper is."""

        def __init__(self):
            super().__init__()
            self.module, self.scale = nn.Linear(2, 2), nn.Parameter(torch.rand(2))

    theirs = Scaled().state_dict()
    for prefix in ("", "module.", "model.module.", "_orig_mod."):
        state = {prefix + k: v for k, v in theirs.items()}
        got = loaded({"model": {"state_dict": state}}, Scaled())
        assert all(torch.equal(got[k], v) for k, v in theirs.items())
    # not its own weight, written over
    with pytest.raises(ValueError, match=r"unknown \(first module.weight\)"):
        loaded(
            {"weight": torch.ones(2, 2), "bias": torch.ones(2), "module.weight": torch.zeros(2, 2)},
            nn.Linear(2, 2),
        )
    with pytest.raises(ValueError, match=r"unknown \(first base_model.bias\)"):
        loaded(
            {
                f"{p}{k}": v
                for p in ("", "base_model.")
                for k, v in nn.Linear(2, 2).state_dict().items()
            },
            nn.Linear(2, 2),
        )


@pytest.mark.parametrize("weight", [torch.full((2, 2), 1j), torch.ones(2, 2, dtype=torch.int8)])
def test_weights_that_lose_something_on_the_way_are_refused(tmp_path, weight):
    torch.save({"weight": weight, "bias": torch.zeros(2)}, tmp_path / "some.pth")
    with pytest.raises(
        ValueError, match=r"some.pth .*weight is torch.*, expected torch.float32.*Give the file"
    ):
        Weights.of(tmp_path / "some.pth").into(nn.Linear(2, 2))


def test_an_expanded_buffer_is_loaded_and_torchscript_is_named(tmp_path):
    class Wide(nn.Linear):
        def __init__(self):
            super().__init__(2, 2)
            self.register_buffer("wide", torch.zeros(1).expand(3))

    torch.save(nn.Linear(2, 2).state_dict() | {"wide": torch.arange(3.0)}, tmp_path / "some.pth")
    assert Weights.of(tmp_path / "some.pth").into(Wide()).wide.tolist() == [0, 1, 2]
    torch.jit.script(nn.Linear(2, 2)).save(str(tmp_path / "script.pth"))
    with pytest.raises(ValueError, match=r"script.pth .*TorchScript.*save net.state_dict"):
        Weights.of(tmp_path / "script.pth").into(nn.Linear(2, 2))
