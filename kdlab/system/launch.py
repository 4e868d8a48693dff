"""How this process was started, alone or as one of several by ``torchrun``, and on what device it trains."""

import contextlib
import os
import platform
import re
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

#: What torchrun sets for each process.
TORCHRUN = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
_by_itself = ContextVar("by_itself", default=False)


class LaunchError(ValueError):
    """A device that is not here, variables of a launcher that do not fit together, processes that disagree."""


@dataclass(frozen=True)
class Launch:
    """This process is the ``rank``-th of ``world``, and the ``local_rank``-th of ``local_world`` on this machine."""

    rank: int = 0
    world: int = 1
    local_rank: int = 0
    local_world: int = 1


def launched() -> Launch:
    """What the environment says. Raises :class:`LaunchError` where a variable of torchrun is missing or no number."""
    if _by_itself.get() or os.environ.get("WORLD_SIZE", "1") == "1":
        return Launch()
    try:
        return Launch(*(int(os.environ[name]) for name in TORCHRUN[:4]))
    except (KeyError, ValueError) as error:
        raise LaunchError(f"WORLD_SIZE={os.environ['WORLD_SIZE']} says that several processes train together, and "
                          f"{error} does not fit: start with torchrun, or unset WORLD_SIZE") from error


@contextlib.contextmanager
def by_itself() -> Iterator[None]:
    """Inside, this process is alone, however it was started: for what each process does for itself."""
    token = _by_itself.set(True)
    try:
        yield
    finally:
        _by_itself.reset(token)


def device() -> str:
    """``cpu``, ``cuda`` or ``mps``: ``$KDLAB_DEVICE``, else a CUDA GPU where there is one.

    Raises :class:`LaunchError` when that device is not here, or not for this process of several.
    """
    import torch  # seconds of imports that only training needs

    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    here = ["cpu"] + ["cuda"] * bool(gpus) + ["mps"] * torch.backends.mps.is_available()
    wanted = os.environ.get("KDLAB_DEVICE") or ("cuda" if gpus else "cpu")
    if wanted not in here:
        raise LaunchError(f"KDLAB_DEVICE={wanted!r}: here is only {' and '.join(here)}; unset or mend it")
    if wanted == "cuda" and (place := launched().local_rank) >= gpus:
        raise LaunchError(f"LOCAL_RANK={place}, but torch sees {gpus} GPU(s) on this machine: give torchrun "
                          f"--nproc-per-node={gpus}, or set KDLAB_DEVICE=cpu")
    return wanted


def bf16() -> tuple[bool, str]:
    """Whether the device of this training computes in bf16 by its hardware, and why."""
    import torch

    cuda = torch.cuda.get_device_capability() if device() == "cuda" else None
    return has_bf16(device(), cuda, torch.cpu.get_capabilities())


def has_bf16(device: str, cuda: tuple[int, int] | None, cpu: Mapping[str, object]) -> tuple[bool, str]:
    """The rule: of a GPU the compute capability ``cuda`` tells, of a ``cpu`` its flags. Elsewhere bf16 is emulated,
    slower than fp32."""
    if device == "cuda":
        return cuda >= (8, 0), f"compute capability {cuda[0]}.{cuda[1]} against 8.0"
    flags = [flag for flag in ("amx_bf16", "avx512_bf16") if cpu.get(flag)]
    if device == "cpu" and flags:
        return True, f"the CPU has {flags[0]}"
    return False, "neither AMX nor AVX512-BF16 here"


def precision(wanted: str) -> str:
    """``bf16`` where that is ``wanted`` and the hardware of this training has it, else ``fp32``."""
    return "bf16" if wanted == "bf16" and bf16()[0] else "fp32"


def cpu_features() -> str:
    """What decides the bits of a CPU training besides the sources: the processor, its vector sets, oneDNN's limit."""
    import torch

    model, flags = platform.processor() or platform.machine(), set()
    with contextlib.suppress(OSError):  # Linux alone tells more
        about = dict(re.findall(r"^(model name|flags)\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE))
        model, flags = about.get("model name", model), set(about.get("flags", "").split())
    wide = sorted(f for f in flags if f.startswith(("avx", "amx", "fma")))
    return " ".join([model, torch.backends.cpu.get_cpu_capability(), *wide, os.environ.get("ONEDNN_MAX_CPU_ISA", "")])
