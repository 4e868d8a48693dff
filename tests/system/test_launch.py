"""How many processes train, as torchrun says; on what device; in which precision."""

import pytest
import torch

from kdlab.system.launch import Launch, LaunchError, device, has_bf16, launched
from kdlab.train.parallel import fabric_for

TORCHRUN = {"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "a",
            "MASTER_PORT": "29500"}


@pytest.fixture
def environment(monkeypatch):
    """Sets variables in place of a launcher's and kdlab's."""
    def given(**values):
        for name in (*TORCHRUN, "KDLAB_DEVICE"):
            monkeypatch.delenv(name, raising=False)
        for name, value in values.items():
            monkeypatch.setenv(name, value)

    return given


def test_what_torchrun_sets_is_understood(environment):
    environment()
    assert launched() == Launch(0, 1, 0, 1)
    environment(**TORCHRUN)
    assert launched() == Launch(3, 4, 1, 2)
    environment(WORLD_SIZE="1", RANK="0", SLURM_NTASKS="2")
    assert launched() == Launch()


@pytest.mark.parametrize("given", [{"WORLD_SIZE": "2"}, TORCHRUN | {"RANK": "first"}])
def test_variables_that_do_not_fit_are_refused_with_the_mend(environment, given):
    environment(**given)
    with pytest.raises(LaunchError, match=f"WORLD_SIZE={given['WORLD_SIZE']} .*start with torchrun, or unset"):
        launched()


def test_the_device_is_named_or_refused(environment, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    environment()
    assert device() == "cpu"
    environment(KDLAB_DEVICE="gpu")
    with pytest.raises(LaunchError, match="KDLAB_DEVICE='gpu': here is only cpu; unset"):
        device()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    environment()
    assert device() == "cuda"
    environment(**TORCHRUN)
    with pytest.raises(LaunchError, match="LOCAL_RANK=1, but torch sees 1 GPU.*nproc-per-node=1"):
        device()


@pytest.mark.parametrize(("where", "cuda", "flags", "fast"), [
    ("cuda", (8, 0), {}, True), ("cuda", (7, 5), {"amx_bf16": True}, False), ("cpu", None, {"avx512_bf16": True}, True),
    ("cpu", None, {"avx512_f": True}, False), ("mps", None, {"avx512_bf16": True}, False)])
def test_bf16_follows_the_hardware_of_the_device(where, cuda, flags, fast):
    found, why = has_bf16(where, cuda, flags)
    assert found is fast and why


def test_an_allocation_of_slurm_is_trained_in_by_one_process(environment):
    environment(SLURM_NTASKS="2", SLURM_JOB_NAME="mine", SLURM_PROCID="0", KDLAB_DEVICE="cpu")
    fabric = fabric_for("fp32")
    assert (fabric.world_size, fabric.global_rank, fabric.device.type) == (1, 0, "cpu")
