"""The device of a process, and how several processes share one training.

torchrun starts the processes, and Lightning Fabric selects the device of each. Each process computes the gradient of
its parts of a batch. The gradients are summed once per step of an optimiser, weighted by clips: the sum is the gradient
of a mean over the whole batch, up to rounding. kdlab does not use Fabric's wrapper (torch's DistributedDataParallel):
its methods step several optimisers in turn, tap layers, call a network twice and leave weights without a gradient, and
each of these needs a different switch of the wrapper. Quantities that are not a mean over clips are computed per part:
batch norm's statistics on a CPU, and a detection loss's division by the number of its positives.

All processes have the same kdlab, packages, clips, arguments and runs folder, and exchange the same values in the same
order. An error ends its process, and torchrun then ends the others.
"""

import contextlib
import os
import platform
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from itertools import chain
from pathlib import Path

import torch
from torch import nn

#: How long the others wait for the first process, which may wait for another training to release a run.
PATIENCE = timedelta(days=2)
#: Fabric's names for the settings' precisions.
PRECISIONS = {"fp32": "32-true", "bf16": "bf16-mixed"}
_alone = ContextVar("alone", default=False)


@dataclass(frozen=True)
class Launch:
    """This process is number ``rank`` of ``world``, and number ``local_rank`` of ``local_world`` on this machine."""

    rank: int = 0
    world: int = 1
    local_rank: int = 0
    local_world: int = 1


def launched() -> Launch:
    """The process's place, from torchrun's environment variables. Raises ``ValueError`` where a variable is missing or
    not a number."""
    if _alone.get() or os.environ.get("WORLD_SIZE", "1") == "1":
        return Launch()
    try:
        return Launch(*(int(os.environ[name]) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")))
    except (KeyError, ValueError) as error:
        raise ValueError(f"WORLD_SIZE={os.environ['WORLD_SIZE']} says that several processes train together, and "
                         f"{error} does not fit: start with torchrun, or unset WORLD_SIZE") from error


@contextlib.contextmanager
def as_single_process() -> Iterator[None]:
    """Inside, this process counts as alone, however it was started: for work that each process does for itself."""
    token = _alone.set(True)
    try:
        yield
    finally:
        _alone.reset(token)


# --- the hardware ----------------------------------------------------------------------------------------------


def device() -> str:
    """``cpu``, ``cuda`` or ``mps``: ``$KDLAB_DEVICE``, else a CUDA GPU where there is one.

    Raises ``ValueError`` when this machine lacks that device, or has too few GPUs for this process.
    """
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    here = ["cpu"] + ["cuda"] * bool(gpus) + ["mps"] * torch.backends.mps.is_available()
    wanted = os.environ.get("KDLAB_DEVICE") or ("cuda" if gpus else "cpu")
    if wanted not in here:
        raise ValueError(f"KDLAB_DEVICE={wanted!r}: here is only {' and '.join(here)}; unset or mend it")
    if wanted == "cuda" and (place := launched().local_rank) >= gpus:
        raise ValueError(f"LOCAL_RANK={place}, but torch sees {gpus} GPU(s) on this machine: give torchrun "
                         f"--nproc-per-node={gpus}, or set KDLAB_DEVICE=cpu")
    return wanted


def bf16() -> tuple[bool, str]:
    """Whether the hardware of this training's device computes in bf16, and the reason: a GPU's compute capability or a
    CPU's flags. Other hardware emulates bf16, which is slower than fp32."""
    if device() == "cuda":
        major, minor = torch.cuda.get_device_capability()
        return major >= 8, f"compute capability {major}.{minor} against 8.0"
    flags = [flag for flag in ("amx_bf16", "avx512_bf16") if torch.cpu.get_capabilities().get(flag)]
    if device() == "cpu" and flags:
        return True, f"the CPU has {flags[0]}"
    return False, "neither AMX nor AVX512-BF16 here"


def precision(wanted: str) -> str:
    """``bf16`` where it is ``wanted`` and the hardware of this training supports it, else ``fp32``."""
    return "bf16" if wanted == "bf16" and bf16()[0] else "fp32"


def cpu_features() -> str:
    """The hardware properties that determine the bits of a CPU training: processor, vector instruction sets, oneDNN's
    limit."""
    model, flags = platform.processor() or platform.machine(), set()
    with contextlib.suppress(OSError):  # only Linux has this file
        about = dict(re.findall(r"^(model name|flags)\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE))
        model, flags = about.get("model name", model), set(about.get("flags", "").split())
    wide = sorted(f for f in flags if f.startswith(("avx", "amx", "fma")))
    return " ".join([model, torch.backends.cpu.get_cpu_capability(), *wide, os.environ.get("ONEDNN_MAX_CPU_ISA", "")])


def fabric_for(precision: str):
    """Lightning Fabric for this hardware and the processes that were started.

    The environment is passed explicitly, because Fabric's own detection treats any SLURM allocation as a start by
    ``srun``.
    """
    from lightning_fabric import Fabric  # a slow import that only training needs
    from lightning_fabric.plugins.environments import LightningEnvironment, TorchElasticEnvironment
    from lightning_fabric.strategies import DDPStrategy

    class Together(DDPStrategy):
        def setup_module(self, module: nn.Module) -> nn.Module:
            return module  # sum_gradients replaces its wrapper

    launch, several = launched(), launched().world > 1
    where = dict(accelerator=device(), devices=launch.local_world, num_nodes=launch.world // launch.local_world)
    if several:
        _connect()
    environment = TorchElasticEnvironment() if several else LightningEnvironment()
    fabric = Fabric(**where, strategy=Together() if several else "auto", precision=PRECISIONS[precision],
                    plugins=[environment])
    fabric.launch()
    return fabric


# --- what several processes have in common ---------------------------------------------------------------------


def is_first() -> bool:
    """Whether this process writes files and prints for all processes."""
    return launched().rank == 0


@cache
def _connect() -> None:
    """Connect to the other processes. From here on only the first shows progress."""
    if not is_first():
        os.environ["KDLAB_HEADLESS"] = "quiet"
    if device() == "cuda":
        torch.cuda.set_device(launched().local_rank)
    torch.distributed.init_process_group("nccl" if device() == "cuda" else "gloo", timeout=PATIENCE)


def result_of_first(decide: Callable[[], object]):
    """The result of ``decide()`` on the first process, returned on all processes."""
    if launched().world == 1:
        return decide()
    _connect()
    found = [decide() if is_first() else None]
    torch.distributed.broadcast_object_list(found)
    return found[0]


def batch_slices(batch: int, wanted: int, accumulate: int, launch: Launch) -> list[slice]:
    """The slices of a ``batch`` of clips that are this process's parts, in order.

    Parts are equal, unless there are fewer clips (``batch``) than the ``wanted`` batch size. Raises ``ValueError`` for
    a ``wanted`` batch size that does not divide among the processes, and for fewer clips than parts.
    """
    if wanted % launch.world:
        raise ValueError(f"a global batch of {wanted} does not divide among {launch.world} processes: give another "
                         "batch_size, or start another number of them")
    if (parts := launch.world * accumulate) > batch:
        raise ValueError(f"a batch of {batch} clips has not one for each of {parts} parts ({launch.world} processes, "
                         f"accumulate={accumulate}): give fewer of either, or more clips")
    edges = [batch * part // parts for part in range(parts + 1)]
    own = range(launch.rank * accumulate, (launch.rank + 1) * accumulate)
    return [slice(edges[part], edges[part + 1]) for part in own]


def sum_gradients(weights: Sequence[nn.Parameter], loss: torch.Tensor) -> torch.Tensor:
    """Sum the gradients of ``weights`` over all processes, in place; return the summed ``loss``. A weight with a
    gradient in no process keeps none: an optimiser skips it, but would let it decay under a gradient of 0."""
    if launched().world == 1:
        return loss
    there = [weight.grad is not None for weight in weights]
    gradients = [weight.grad if has else torch.zeros_like(weight) for weight, has in zip(weights, there, strict=True)]
    flat = torch.cat([each.flatten() for each in (loss, torch.tensor(there, device=loss.device), *gradients)])
    torch.distributed.all_reduce(flat)
    loss, has, *sums = flat.split([1, len(there), *(each.numel() for each in gradients)])
    somewhere = there if all(there) else has.tolist()  # read only where needed: reading waits for a GPU
    for weight, gradient, total, any_has in zip(weights, gradients, sums, somewhere, strict=True):
        if any_has:
            weight.grad = gradient.copy_(total.view(gradient.shape))
    return loss[0]


def sum_over_processes(value: float | torch.Tensor) -> float:
    """The sum of ``value`` over the processes."""
    if launched().world == 1:
        return float(value)
    kept = torch.as_tensor(value, device=device()).double()
    torch.distributed.all_reduce(kept)
    return float(kept)


def with_shared_batch_norm(net: nn.Module) -> nn.Module:
    """``net`` with batch norms that see the whole batch, where several processes have a GPU each; else ``net``
    unchanged."""
    return nn.SyncBatchNorm.convert_sync_batchnorm(net) if launched().world > 1 and device() == "cuda" else net


def copy_weights_of_first(nets: Iterable[nn.Module]) -> None:
    """Copy the weights and buffers of the first process to all others: another processor may round statistics
    differently, and on a CPU each process has batch norm's statistics of its own clips."""
    if launched().world > 1:
        with torch.no_grad():
            for tensor in chain.from_iterable(net.state_dict().values() for net in nets):
                sent = tensor.contiguous()
                torch.distributed.broadcast(sent, 0)
                tensor.copy_(sent)
