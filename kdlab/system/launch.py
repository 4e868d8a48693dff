"""How this process was started, alone or as one of several, and on what device it trains: what the environment says.

``torchrun`` starts several processes that train one network and sets :data:`TORCHRUN` for each; what ``srun`` and Open
MPI's ``mpirun`` set is translated into these. Of other launchers only the number of copies is read, which kdlab cannot
join. In an allocation where nothing has started several (SLURM's variables are there all the same) it trains alone.
"""

import contextlib
import os
import platform
import re
import threading
import zlib
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

TORCHRUN = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
#: Where other launchers tell how many copies they have started.
COPIES = {"SLURM_STEP_NUM_TASKS": "srun", "OMPI_COMM_WORLD_SIZE": "mpirun", "PMI_SIZE": "mpirun",
          "MV2_COMM_WORLD_SIZE": "mpirun"}
#: Of the launchers that are understood: the names for the first four of TORCHRUN, and what differs between two starts.
_NAMES = {"srun": ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID", "SLURM_STEP_TASKS_PER_NODE"),
          "mpirun": ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK",
                     "OMPI_COMM_WORLD_LOCAL_SIZE")}
_STARTS = ("SLURM_JOB_ID", "SLURM_STEP_ID", "PMIX_NAMESPACE")
_by_itself = ContextVar("by_itself", default=False)
MEND = "start it with torchrun, which sets them all, or unset"


class LaunchError(ValueError):
    """Variables of a launcher that do not fit together, or processes that did not come."""


@dataclass(frozen=True)
class Launch:
    """This process is the ``rank``-th of ``world``, and the ``local_rank``-th of ``local_world`` on this machine."""

    rank: int = 0
    world: int = 1
    local_rank: int = 0
    local_world: int = 1


def launched(environment: Mapping[str, str] | None = None) -> Launch:
    """What the ``environment`` (this process's) says. Raises :class:`LaunchError`, in one sentence with the mend."""
    if environment is None and _by_itself.get():
        return Launch()
    given = os.environ if environment is None else environment
    given = {**given, **translated(given)}
    values = {name: given[name] for name in TORCHRUN[:4] if name in given}
    usual = dict(zip(TORCHRUN, (0, 1, 0, None), strict=False))
    rank, world, local_rank, local_world = (usual | {n: _whole(n, value) for n, value in values.items()}).values()
    these = " and ".join(f"{name}={value}" for name, value in values.items())
    if world == 1 and rank == local_rank == 0 and local_world in (None, 1):
        for name, launcher in COPIES.items():
            if name in given and _whole(name, given[name]) > 1:
                mend = f"start one, or torchrun ({launcher} one of it on each machine)"
                raise LaunchError(f"{name}={given[name]}: {launcher} has started copies that kdlab cannot join: {mend}")
        return Launch()
    if lacking := [name for name in TORCHRUN if name not in given and name != "LOCAL_WORLD_SIZE"]:
        raise LaunchError(f"{these}, but not {', '.join(lacking)}: to train together {MEND} {', '.join(values)}")
    local_world = local_world or 1
    port = _whole("MASTER_PORT", given["MASTER_PORT"])
    if not (0 <= rank < world and 0 <= local_rank < local_world and world % local_world == 0 and 0 < port < 2**16):
        raise LaunchError(f"{these} and MASTER_PORT={port} contradict each other: {MEND} {', '.join(values)}")
    return Launch(rank, world, local_rank, local_world)


@contextlib.contextmanager
def by_itself() -> Iterator[None]:
    """Inside, this process is alone, whatever has started it: for what only some processes come to do."""
    token = _by_itself.set(True)
    try:
        yield
    finally:
        _by_itself.reset(token)


def translated(given: Mapping[str, str]) -> dict[str, str]:
    """What torchrun would have set, where ``srun`` or Open MPI has started several copies; else nothing.

    They meet on the first machine of srun's list, or on this one where all are here; ``$MASTER_ADDR`` and
    ``$MASTER_PORT`` say otherwise. Raises :class:`LaunchError` where a variable is missing, or machines have more
    copies than others.
    """
    if any(name in given for name in TORCHRUN[:3]):
        return {}
    for names in _NAMES.values():
        if names[1] not in given or _whole(names[1], given[names[1]]) < 2:
            continue
        if lacking := [name for name in names if name not in given]:
            raise LaunchError(f"{names[1]}={given[names[1]]}, but not {', '.join(lacking)}: to train together start it "
                              f"with torchrun, or unset {names[1]}")
        each = re.fullmatch(r"(\d+)(\(x\d+\))?", given[names[3]])  # srun's 2(x3): two on each of three machines
        if not each:
            raise LaunchError(f"{names[3]}={given[names[3]]}: give every machine as many copies (--ntasks-per-node)")
        nodes = given.get("SLURM_STEP_NODELIST", "") if names[0].startswith("SLURM") else ""
        here = "127.0.0.1" if each[1] == given[names[1]] else ""
        # The first of a[07-09,11],b is a07.
        address = given.get("MASTER_ADDR") or re.sub(r"\[(\w+).*", r"\1", re.split(r",(?![^\[]*\])", nodes)[0]) or here
        if not address:
            raise LaunchError(f"{names[1]}={given[names[1]]}, on several machines: set MASTER_ADDR to the first one's")
        port = 20000 + zlib.crc32(" ".join(given.get(name, "") for name in _STARTS).encode()) % 10000
        found = [given[name] for name in names[:3]] + [each[1], address, given.get("MASTER_PORT") or str(port)]
        return dict(zip(TORCHRUN, found, strict=True))
    return {}


def device(environment: Mapping[str, str] | None = None) -> str:
    """``cpu``, ``cuda`` or ``mps``: ``$KDLAB_DEVICE``, else a CUDA GPU where there is one.

    Raises :class:`LaunchError` when that device is not here, or not for this process of several.
    """
    import torch  # seconds of imports that only training needs

    given = os.environ if environment is None else environment
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    here = ["cpu"] + ["cuda"] * bool(gpus) + ["mps"] * torch.backends.mps.is_available()
    wanted = given.get("KDLAB_DEVICE") or ("cuda" if gpus else "cpu")
    if wanted not in here:
        hidden = given.get("CUDA_VISIBLE_DEVICES") if wanted == "cuda" else None
        why = "" if hidden is None else f" (CUDA_VISIBLE_DEVICES={hidden!r} may hide GPUs)"
        raise LaunchError(f"KDLAB_DEVICE={wanted!r}: here is only {' and '.join(here)}{why}; unset or mend it")
    if wanted == "cuda" and (place := launched(given).local_rank) >= gpus:
        mend = f"give torchrun --nproc-per-node={gpus}, or set KDLAB_DEVICE=cpu"
        raise LaunchError(f"LOCAL_RANK={place}, but torch sees {gpus} GPU(s) on this machine: {mend}")
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


def meet(launch: Launch, seconds: float = 120, say_after: float = 5):
    """Wait for the other processes of ``launch``; the store in which they met, to be kept while they connect.

    Says after ``say_after`` seconds what it waits for. Raises :class:`LaunchError` after ``seconds``. Whatever started
    them, torchrun's variables are set from here on, which torch and Fabric read.
    """
    from torch.distributed import rendezvous

    os.environ |= translated(os.environ)
    place = f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
    waits = f"process {launch.rank} of {launch.world} (RANK, WORLD_SIZE) waits for the others at {place}"
    found, failed = [], []

    def wait():
        try:
            found.extend(next(rendezvous("env://", launch.rank, launch.world, timeout=timedelta(seconds=seconds))))
        except (RuntimeError, OSError, ValueError) as error:
            failed.append(error)

    waiting = threading.Thread(target=wait, daemon=True)  # torch's waiting itself does not hear Ctrl-C
    waiting.start()
    waiting.join(say_after)
    if waiting.is_alive():
        print(f"{waits}, for {seconds:g} s at most", flush=True)
        waiting.join()
    if failed:
        mend, why = f"or unset {', '.join(TORCHRUN)} to train in one process", " ".join(str(failed[0]).split())[:120]
        raise LaunchError(f"{waits}, in vain: start all with torchrun, {mend} ({why})")
    return found[0]


def _whole(name: str, value: str) -> int:
    try:
        return int(value)
    except ValueError:
        raise LaunchError(f"{name}={value!r} is no whole number: unset it, or start with torchrun") from None


def cpu_features() -> str:
    """What decides the bits of a CPU training besides the sources: the processor, its vector sets, oneDNN's limit."""
    import torch

    model, flags = platform.processor() or platform.machine(), set()
    with contextlib.suppress(OSError):  # Linux alone tells more
        about = dict(re.findall(r"^(model name|flags)\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE))
        model, flags = about.get("model name", model), set(about.get("flags", "").split())
    wide = sorted(f for f in flags if f.startswith(("avx", "amx", "fma")))
    return " ".join([model, torch.backends.cpu.get_cpu_capability(), *wide, os.environ.get("ONEDNN_MAX_CPU_ISA", "")])
