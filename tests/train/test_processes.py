"""Processes and devices; one training on two processes (gloo, CPU) is that of one: ranks.py says what is trained."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from kdlab.train import processes
from kdlab.train.loop import Settings, fit
from kdlab.train.processes import Launch, as_single_process, device, fabric_for, launched
from tests.train import ranks

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
    with pytest.raises(ValueError, match=f"WORLD_SIZE={given['WORLD_SIZE']} .*start with torchrun, or unset"):
        launched()


def test_the_device_is_named_or_refused(environment, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    environment()
    assert device() == "cpu"
    environment(KDLAB_DEVICE="gpu")
    with pytest.raises(ValueError, match="KDLAB_DEVICE='gpu': here is only cpu; unset"):
        device()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    environment()
    assert device() == "cuda"
    environment(**TORCHRUN)
    with pytest.raises(ValueError, match="LOCAL_RANK=1, but torch sees 1 GPU.*nproc-per-node=1"):
        device()


@pytest.mark.parametrize(("where", "cuda", "flags", "fast"), [
    ("cuda", (8, 0), {}, True), ("cuda", (7, 5), {"amx_bf16": True}, False), ("cpu", None, {"avx512_bf16": True}, True),
    ("cpu", None, {"avx512_f": True}, False), ("mps", None, {"avx512_bf16": True}, False)])
def test_bf16_follows_the_hardware_of_the_device(monkeypatch, where, cuda, flags, fast):
    monkeypatch.setattr(processes, "device", lambda: where)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: cuda)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: flags)
    found, why = processes.bf16()
    assert found is fast and why


def test_an_allocation_of_slurm_is_trained_in_by_one_process(environment):
    environment(SLURM_NTASKS="2", SLURM_JOB_NAME="mine", SLURM_PROCID="0", KDLAB_DEVICE="cpu")
    fabric = fabric_for("fp32")
    assert (fabric.world_size, fabric.global_rank, fabric.device.type) == (1, 0, "cpu")


def test_a_process_that_works_by_itself_is_alone(environment):
    environment(**TORCHRUN)
    with as_single_process():
        assert launched() == Launch() and processes.is_first() and processes.result_of_first(lambda: 3) == 3
    assert launched() == Launch(3, 4, 1, 2) and not processes.is_first()


# --- parts of a batch -----------------------------------------------------------------------------------------

EXACT = ("ce", "uneven", "accumulate", "alternating", "genkd")


def test_the_parts_of_all_processes_are_the_batch_in_order():
    for clips, wanted, world, accumulate in ((16, 16, 1, 1), (16, 16, 2, 2), (15, 16, 2, 1), (9, 12, 3, 2)):
        launches = [Launch(rank, world) for rank in range(world)]
        found = [cut for launch in launches for cut in processes.batch_slices(clips, wanted, accumulate, launch)]
        places = list(range(clips))
        assert [place for cut in found for place in places[cut]] == places and len(found) == world * accumulate
        sizes = [cut.stop - cut.start for cut in found]
        assert max(sizes) - min(sizes) <= 1 and (clips < wanted or len(set(sizes)) == 1)


@pytest.mark.parametrize(("clips", "wanted", "words"), [
    (40, 1, "a global batch of 1 does not divide among 2 processes: give another"),
    (3, 16, r"a batch of 3 clips has not one for each of 4 parts \(2 processes, accumulate=2\)"),
])
def test_a_batch_that_does_not_divide_is_refused_with_the_mend(clips, wanted, words):
    with pytest.raises(ValueError, match=words):
        processes.batch_slices(clips, wanted, 2, Launch(0, 2))


@pytest.fixture
def in_fp64(monkeypatch):
    monkeypatch.setitem(processes.PRECISIONS, "fp32", "64-true")
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("clips", [40, 15])
def test_accumulated_gradients_are_those_of_the_whole_batch(in_fp64, clips):
    """Of 15 clips in uneven parts, since a batch is of 16."""
    def weights(accumulate):
        torch.manual_seed(1)
        net = nn.Sequential(nn.Flatten(), nn.Linear(3 * 4 * 8 * 8, 8), nn.GroupNorm(2, 8), nn.ReLU(), nn.Linear(8, 2))
        fit(ranks.CrossEntropy(), {"student": net}, ranks.Clips(list(range(clips))),
            Settings(3, 16, accumulate=accumulate), 0)
        return torch.cat([weight.detach().flatten() for weight in net.parameters()])

    whole = weights(1)
    for parts in (2, 4):
        assert torch.allclose(weights(parts), whole, rtol=0, atol=1e-9)


# --- two processes ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What one process found, and each of two."""
    place, script = tmp_path_factory.mktemp("ranks"), str(Path(ranks.__file__))
    env = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", script]
    for command in ([sys.executable, script], torchrun):
        child = subprocess.run([*command, str(place)], capture_output=True, text=True, timeout=300,
                               env=env)
        assert child.returncode == 0, child.stderr[-3000:]
    return place, *(json.loads((place / f"{name}.json").read_text()) for name in ("0of1", "0of2", "1of2"))


@pytest.mark.slow
def test_two_processes_give_the_loss_curve_and_the_weights_of_one(found):
    """Two optimisers, in turn on a batch and in turn by epoch; frozen teachers; uneven parts; accumulation."""
    _, one, *two = found
    assert len(one["ce"]["losses"]) == 50 and one["ce"]["losses"][-1] < one["ce"]["losses"][0] / 2
    for name in EXACT:
        assert two[0][name] == two[1][name], "both hold the same weights, losses and validation"
        ours, theirs = (np.array(each[name]["losses"]) for each in (one, two[0]))
        assert np.abs(ours - theirs).max() < 1e-9, name
        for key, weight in one[name]["weights"].items():
            assert np.allclose(weight, two[0][name]["weights"][key], rtol=0, atol=1e-9), (name, key)
        assert [row.get("val_accuracy") for row in one[name]["rows"]] == [
            row.get("val_accuracy") for row in two[0][name]["rows"]]


@pytest.mark.slow
def test_batch_norms_statistics_are_the_first_processs_on_a_cpu(found):
    first, second = found[2:]
    assert first["batch_norm"] == second["batch_norm"]


@pytest.mark.slow
def test_two_processes_that_were_left_go_on_to_the_same_bits(found):
    _, _, *two = found
    for each in two:
        assert each["resumed"] == {**each["batch_norm"], "losses": each["resumed"]["losses"]}
        assert len(each["resumed"]["losses"]) == 4, "from its third epoch on"


@pytest.mark.slow
def test_what_the_first_says_holds_for_all_and_a_batch_that_cannot_be_shared_is_refused(found):
    assert [each["told"] for each in found[2:]] == [0, 0]
    assert all("a global batch of 15 does not divide among 2 processes" in each["refused"] for each in found[2:])
