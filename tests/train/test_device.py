"""The device, its precision, and the parts of a batch."""

import pytest
import torch
from torch import nn

from kdlab.distill.method import CrossEntropy
from kdlab.train import device as module
from kdlab.train.device import device
from kdlab.train.feeding import parts_of_batch
from kdlab.train.loop import fit
from kdlab.train.settings import Settings
from tests.train.test_loop import Blobs


def test_the_device_is_named_or_refused(monkeypatch):
    monkeypatch.delenv("KDLAB_DEVICE", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert device() == "cpu"
    monkeypatch.setenv("KDLAB_DEVICE", "gpu")
    with pytest.raises(ValueError, match="KDLAB_DEVICE='gpu': here is only cpu; unset"):
        device()
    monkeypatch.delenv("KDLAB_DEVICE")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert device() == "cuda"


@pytest.mark.parametrize(
    "where, cuda, flags, fast",
    [
        ("cuda", (8, 0), {}, True),
        ("cuda", (7, 5), {"amx_bf16": True}, False),
        ("cpu", None, {"avx512_bf16": True}, True),
        ("cpu", None, {"avx512_f": True}, False),
        ("mps", None, {"avx512_bf16": True}, False),
    ],
)
def test_bf16_follows_the_hardware_of_the_device(monkeypatch, where, cuda, flags, fast):
    monkeypatch.setattr(module, "device", lambda: where)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: cuda)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: flags)
    found, why = module.bf16()
    assert found is fast and why


def test_the_parts_of_a_batch_are_the_batch_in_order_and_as_equal_as_can_be():
    for clips, accumulate in ((16, 1), (16, 4), (15, 2), (9, 6)):
        cuts = parts_of_batch(clips, accumulate)
        places = list(range(clips))
        assert [place for cut in cuts for place in places[cut]] == places
        assert len(cuts) == accumulate
        sizes = [cut.stop - cut.start for cut in cuts]
        assert max(sizes) - min(sizes) <= 1
    with pytest.raises(
        ValueError,
        match="a batch of 3 clips has not one for each of accumulate=4 parts: give fewer",
    ):
        parts_of_batch(3, 4)


@pytest.mark.parametrize("clips", [40, 15])
def test_accumulated_gradients_are_those_of_the_whole_batch(clips):
    """Of 15 clips in uneven parts, since a batch is of 16."""

    def weights(accumulate):
        torch.manual_seed(1)
        net = nn.Sequential(nn.Linear(4, 8), nn.GroupNorm(2, 8), nn.ReLU(), nn.Linear(8, 2))
        fit(
            CrossEntropy(),
            {"student": net.double()},
            Blobs(range(clips), dtype=torch.float64),
            Settings(3, 16, accumulate=accumulate),
            0,
            say=str,
        )
        return torch.cat([weight.detach().flatten() for weight in net.parameters()])

    whole = weights(1)
    for parts in (2, 4):
        assert torch.allclose(weights(parts), whole, rtol=0, atol=1e-9)
