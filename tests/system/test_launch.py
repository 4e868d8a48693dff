import socket
import sys

import pytest
import torch

from kdlab.system.launch import Launch, LaunchError, device, has_bf16, launched, meet, translated
from kdlab.train.parallel import fabric_for

TORCHRUN = {"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "a",
            "MASTER_PORT": "29500"}
SRUN = {"SLURM_PROCID": "3", "SLURM_STEP_NUM_TASKS": "4", "SLURM_LOCALID": "1", "SLURM_STEP_TASKS_PER_NODE": "2(x2)",
        "SLURM_STEP_NODELIST": "gpu[07-08,11],other", "SLURM_JOB_ID": "812", "SLURM_STEP_ID": "0"}
MPIRUN = {"OMPI_COMM_WORLD_RANK": "3", "OMPI_COMM_WORLD_SIZE": "4", "OMPI_COMM_WORLD_LOCAL_RANK": "3",
          "OMPI_COMM_WORLD_LOCAL_SIZE": "4"}


@pytest.mark.parametrize("alone", [
    {},
    {"WORLD_SIZE": "1", "RANK": "0", "LOCAL_RANK": "0", "MASTER_ADDR": "a"},
    {"MASTER_ADDR": "a", "MASTER_PORT": "29500"},
    {"SLURM_JOB_ID": "7", "SLURM_NTASKS": "2", "SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "1"},
    {"OMPI_COMM_WORLD_SIZE": "1", "PMI_SIZE": "1"},
])
def test_one_process_is_alone_also_in_an_allocation_for_several(alone):
    assert launched(alone) == Launch(0, 1, 0, 1)


def test_what_torchrun_sets_is_understood_also_where_srun_has_started_it():
    assert launched(TORCHRUN) == launched(TORCHRUN | {"SLURM_STEP_NUM_TASKS": "2"}) == Launch(3, 4, 1, 2)
    without = {k: v for k, v in TORCHRUN.items() if k != "LOCAL_WORLD_SIZE"} | {"LOCAL_RANK": "0"}
    assert launched(without) == Launch(3, 4, 0, 1)


def test_what_srun_and_mpirun_set_is_understood():
    assert launched(SRUN) == Launch(3, 4, 1, 2) and launched(MPIRUN) == Launch(3, 4, 3, 4)
    met = translated(SRUN)
    assert met["MASTER_ADDR"] == "gpu07"
    assert met["MASTER_PORT"] == translated(SRUN | {"SLURM_PROCID": "0"})["MASTER_PORT"]
    assert met["MASTER_PORT"] != translated(SRUN | {"SLURM_STEP_ID": "1"})["MASTER_PORT"]
    assert translated(SRUN | {"SLURM_STEP_NODELIST": "node-3"})["MASTER_ADDR"] == "node-3"
    own = {"MASTER_ADDR": "a", "MASTER_PORT": "1"}
    assert own.items() <= translated(SRUN | own).items() and translated(MPIRUN)["MASTER_ADDR"] == "127.0.0.1"
    assert not translated(SRUN | TORCHRUN) and not translated(SRUN | {"SLURM_STEP_NUM_TASKS": "1"})


@pytest.mark.parametrize(("given", "words"), [
    ({"WORLD_SIZE": "2"}, ("WORLD_SIZE=2, but not RANK, LOCAL_RANK, MASTER_ADDR, MASTER_PORT", "torchrun", "unset")),
    ({"RANK": "1"}, ("RANK=1, but not WORLD_SIZE", "or unset RANK")),
    ({"LOCAL_RANK": "1"}, ("LOCAL_RANK=1, but not RANK",)),
    ({"WORLD_SIZE": "two"}, ("WORLD_SIZE='two'",)),
    (TORCHRUN | {"RANK": "4"}, ("RANK=4 and WORLD_SIZE=4", "contradict")),
    (TORCHRUN | {"LOCAL_WORLD_SIZE": "3"}, ("LOCAL_WORLD_SIZE=3", "contradict")),
    (TORCHRUN | {"MASTER_PORT": "70000"}, ("MASTER_PORT=70000", "contradict")),
    ({"RANK": "1", "WORLD_SIZE": "1"}, ("RANK=1 and WORLD_SIZE=1",)),
    ({"SLURM_STEP_NUM_TASKS": "2"}, ("SLURM_STEP_NUM_TASKS=2, but not SLURM_PROCID, SLURM_LOCALID", "torchrun")),
    (SRUN | {"SLURM_STEP_TASKS_PER_NODE": "2,1"}, ("SLURM_STEP_TASKS_PER_NODE=2,1", "--ntasks-per-node")),
    ({"OMPI_COMM_WORLD_SIZE": "8"}, ("OMPI_COMM_WORLD_SIZE=8, but not OMPI_COMM_WORLD_RANK",)),
    (MPIRUN | {"OMPI_COMM_WORLD_LOCAL_SIZE": "2"}, ("OMPI_COMM_WORLD_SIZE=4, on several machines", "MASTER_ADDR")),
    ({"PMI_SIZE": "8"}, ("PMI_SIZE=8",)),
])
def test_what_is_partial_or_contradicts_itself_is_refused_by_name(given, words):
    with pytest.raises(LaunchError) as caught:
        launched(given)
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_the_device_is_named_or_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert device({}) == device({"KDLAB_DEVICE": ""}) == device({"CUDA_VISIBLE_DEVICES": ""}) == "cpu"
    with pytest.raises(LaunchError, match="KDLAB_DEVICE='gpu': here is only cpu; unset"):
        device({"KDLAB_DEVICE": "gpu"})
    with pytest.raises(LaunchError, match="CUDA_VISIBLE_DEVICES='' may hide"):
        device({"KDLAB_DEVICE": "cuda", "CUDA_VISIBLE_DEVICES": ""})
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert device({}) == "cpu" and device({"KDLAB_DEVICE": "mps"}) == "mps"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert device({}) == "cuda" and device({"KDLAB_DEVICE": "cpu"}) == "cpu"
    with pytest.raises(LaunchError, match="LOCAL_RANK=1, but torch sees 1 GPU.*nproc-per-node=1"):
        device(TORCHRUN)


@pytest.mark.parametrize(("where", "cuda", "flags", "fast"), [
    ("cuda", (8, 0), {}, True), ("cuda", (7, 5), {"amx_bf16": True}, False), ("cpu", None, {"avx512_bf16": True}, True),
    ("cpu", None, {"amx_bf16": True}, True), ("cpu", None, {"avx512_f": True}, False),
    ("mps", None, {"avx512_bf16": True}, False), ("cpu", (9, 0), {}, False),
])
def test_bf16_follows_the_hardware_of_the_device(where, cuda, flags, fast):
    found, why = has_bf16(where, cuda, flags)
    assert found is fast and why


def test_an_allocation_of_slurm_is_trained_in_by_one_process(monkeypatch):
    for name, value in {"SLURM_NTASKS": "2", "SLURM_JOB_NAME": "mine", "SLURM_PROCID": "0"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("KDLAB_DEVICE", "cpu")
    fabric = fabric_for("fp32")
    assert (fabric.world_size, fabric.global_rank, fabric.device.type) == (1, 0, "cpu")


@pytest.mark.skipif(sys.platform == "win32", reason="torch's meeting place differs there")
@pytest.mark.parametrize("rank", [0, 1])
def test_the_others_are_not_waited_for_in_silence_nor_for_ever(monkeypatch, capfd, rank):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for name, value in (TORCHRUN | {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(LaunchError, match=f"process {rank} of 2 .* at 127.0.0.1:{port}, in vain: .*torchrun, or unset"):
        meet(Launch(rank, 2), seconds=1, say_after=0.1)
    assert f"waits for the others at 127.0.0.1:{port}, for 1 s at most" in capfd.readouterr().out
