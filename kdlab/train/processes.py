"""On what device a process trains, and how several share one training.

torchrun starts them and Lightning Fabric brings each to its device. Each computes the gradient of its parts of a batch,
and the gradients are added once for each step of an optimiser, weighted by clips: the gradient of a mean over the whole
batch, up to rounding. Fabric's wrapper (torch's DistributedDataParallel) is left out: methods here take several
optimisers in turn, tap layers, ask a network twice and leave weights without a gradient, and each of these needs
another of its switches. What is not a mean over clips stays a part's own: batch norm's statistics on a CPU, a detection
loss's division by the number of its positives.

All processes have the same kdlab, packages, clips, arguments and runs folder, and ask each other the same questions in
the same order. An error ends its process, and torchrun then ends the others.
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

#: How long the others wait for the first process, which may wait for another training to let a run go.
PATIENCE = timedelta(days=2)
#: Fabric's words for the settings' precisions.
PRECISIONS = {"fp32": "32-true", "bf16": "bf16-mixed"}
_alone = ContextVar("alone", default=False)


@dataclass(frozen=True)
class Launch:
    """This process is the ``rank``-th of ``world``, and the ``local_rank``-th of ``local_world`` on this machine."""

    rank: int = 0
    world: int = 1
    local_rank: int = 0
    local_world: int = 1


def launched() -> Launch:
    """What the environment says. Raises ``ValueError`` where a variable of torchrun is missing or no number."""
    if _alone.get() or os.environ.get("WORLD_SIZE", "1") == "1":
        return Launch()
    try:
        return Launch(*(int(os.environ[name]) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")))
    except (KeyError, ValueError) as error:
        raise ValueError(f"WORLD_SIZE={os.environ['WORLD_SIZE']} says that several processes train together, and "
                         f"{error} does not fit: start with torchrun, or unset WORLD_SIZE") from error


@contextlib.contextmanager
def by_itself() -> Iterator[None]:
    """Inside, this process is alone, however it was started: for what each process does for itself."""
    token = _alone.set(True)
    try:
        yield
    finally:
        _alone.reset(token)


# --- the hardware ----------------------------------------------------------------------------------------------


def device() -> str:
    """``cpu``, ``cuda`` or ``mps``: ``$KDLAB_DEVICE``, else a CUDA GPU where there is one.

    Raises ``ValueError`` when that device is not here, or not for this process of several.
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
    """Whether the device of this training computes in bf16 by its hardware, and why: of a GPU the compute capability
    tells, of a CPU its flags. Elsewhere bf16 is emulated, slower than fp32."""
    if device() == "cuda":
        major, minor = torch.cuda.get_device_capability()
        return major >= 8, f"compute capability {major}.{minor} against 8.0"
    flags = [flag for flag in ("amx_bf16", "avx512_bf16") if torch.cpu.get_capabilities().get(flag)]
    if device() == "cpu" and flags:
        return True, f"the CPU has {flags[0]}"
    return False, "neither AMX nor AVX512-BF16 here"


def precision(wanted: str) -> str:
    """``bf16`` where that is ``wanted`` and the hardware of this training has it, else ``fp32``."""
    return "bf16" if wanted == "bf16" and bf16()[0] else "fp32"


def cpu_features() -> str:
    """What decides the bits of a CPU training besides the sources: the processor, its vector sets, oneDNN's limit."""
    model, flags = platform.processor() or platform.machine(), set()
    with contextlib.suppress(OSError):  # Linux alone tells more
        about = dict(re.findall(r"^(model name|flags)\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE))
        model, flags = about.get("model name", model), set(about.get("flags", "").split())
    wide = sorted(f for f in flags if f.startswith(("avx", "amx", "fma")))
    return " ".join([model, torch.backends.cpu.get_cpu_capability(), *wide, os.environ.get("ONEDNN_MAX_CPU_ISA", "")])


def fabric_for(precision: str):
    """Lightning Fabric for the hardware at hand and the processes that were started.

    The environment is named, because Fabric's own guess takes any allocation of SLURM for a start by ``srun``.
    """
    from lightning_fabric import Fabric  # seconds of imports that only training needs
    from lightning_fabric.plugins.environments import LightningEnvironment, TorchElasticEnvironment
    from lightning_fabric.strategies import DDPStrategy

    class Together(DDPStrategy):
        def setup_module(self, module: nn.Module) -> nn.Module:
            return module  # add_up does what its wrapper would

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
    """Whether this is the process that writes and speaks for all."""
    return launched().rank == 0


@cache
def _connect() -> None:
    """Meet the other processes. From here on the first alone shows how far all are."""
    if not is_first():
        os.environ["KDLAB_HEADLESS"] = "quiet"
    if device() == "cuda":
        torch.cuda.set_device(launched().local_rank)
    torch.distributed.init_process_group("nccl" if device() == "cuda" else "gloo", timeout=PATIENCE)


def from_first(decide: Callable[[], object]):
    """What ``decide()`` gives on the first process, on all of them."""
    if launched().world == 1:
        return decide()
    _connect()
    found = [decide() if is_first() else None]
    torch.distributed.broadcast_object_list(found)
    return found[0]


def cuts(batch: int, wanted: int, accumulate: int, launch: Launch) -> list[slice]:
    """Places in a batch of so many clips of the parts that this process takes, one after the other.

    Parts are equal, but for a ``batch`` of fewer clips than ``wanted``: all that there are. Raises ``ValueError`` for a
    ``wanted`` batch that does not divide among the processes, and for fewer clips than parts.
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


def add_up(weights: Sequence[nn.Parameter], loss: torch.Tensor) -> torch.Tensor:
    """Make the gradients of ``weights`` the sums of those of all processes; the sum of their losses. A weight without a
    gradient in any keeps none: an optimiser leaves it alone, and would let it decay for a gradient of 0."""
    if launched().world == 1:
        return loss
    there = [weight.grad is not None for weight in weights]
    gradients = [weight.grad if has else torch.zeros_like(weight) for weight, has in zip(weights, there, strict=True)]
    flat = torch.cat([each.flatten() for each in (loss, torch.tensor(there, device=loss.device), *gradients)])
    torch.distributed.all_reduce(flat)
    loss, has, *sums = flat.split([1, len(there), *(each.numel() for each in gradients)])
    somewhere = there if all(there) else has.tolist()  # only asked where needed: a GPU would be waited for
    for weight, gradient, total, any_has in zip(weights, gradients, sums, somewhere, strict=True):
        if any_has:
            weight.grad = gradient.copy_(total.view(gradient.shape))
    return loss[0]


def total(value: float | torch.Tensor) -> float:
    """The sum of ``value`` over the processes."""
    if launched().world == 1:
        return float(value)
    kept = torch.as_tensor(value, device=device()).double()
    torch.distributed.all_reduce(kept)
    return float(kept)


def synchronised(net: nn.Module) -> nn.Module:
    """``net`` with batch norms that see the whole batch, where several processes have a GPU each; else itself."""
    return nn.SyncBatchNorm.convert_sync_batchnorm(net) if launched().world > 1 and device() == "cuda" else net


def copy_from_first(nets: Iterable[nn.Module]) -> None:
    """Give all processes the weights and buffers of the first: another processor may round statistics otherwise, and
    on a CPU each process has batch norm's statistics of its own clips."""
    if launched().world > 1:
        with torch.no_grad():
            for tensor in chain.from_iterable(net.state_dict().values() for net in nets):
                sent = tensor.contiguous()
                torch.distributed.broadcast(sent, 0)
                tensor.copy_(sent)
