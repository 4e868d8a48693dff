"""What decides the bits of a training beside its recipe: device, precision, random generators and processor;
and how a process keeps its memory."""

import contextlib
import ctypes
import functools
import os
import platform
import random
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.utils._pytree import tree_map_only


def device() -> str:
    """``cpu``, ``cuda`` or ``mps``: ``$KDLAB_DEVICE``, else a CUDA GPU where there is one.

    Raises ``ValueError`` when this machine lacks that device.
    """
    gpu = torch.cuda.is_available() and torch.cuda.device_count() > 0
    here = ["cpu"]
    if gpu:
        here.append("cuda")
    if torch.backends.mps.is_available():
        here.append("mps")
    wanted = os.environ.get("KDLAB_DEVICE") or ("cuda" if gpu else "cpu")
    if wanted not in here:
        raise ValueError(
            f"KDLAB_DEVICE={wanted!r}: here is only {' and '.join(here)}; unset or mend it"
        )
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


class Mixed(nn.Module):
    """The network ``inside``, whose forward pass is computed in bf16 where torch's autocast allows it.

    Its outputs are float32, so losses are too. Any other attribute is that of ``inside``.
    """

    def __init__(self, inside: nn.Module):
        super().__init__()
        self.inside = inside

    def __getattr__(self, name: str):
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("inside"), name)

    def forward(self, *inputs, **options):
        with torch.autocast(device(), torch.bfloat16):
            outputs = self.inside(*inputs, **options)
        return tree_map_only(
            torch.Tensor, lambda out: out.float() if out.dtype == torch.bfloat16 else out, outputs
        )


def cpu_features() -> str:
    """The hardware properties that determine the bits of a CPU training: processor, vector instruction sets, oneDNN's
    limit."""
    model, flags = platform.processor() or platform.machine(), set()
    with contextlib.suppress(OSError):  # only Linux has this file
        about = dict(
            re.findall(
                r"^(model name|flags)\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE
            )
        )
        model, flags = about.get("model name", model), set(about.get("flags", "").split())
    wide = sorted(f for f in flags if f.startswith(("avx", "amx", "fma")))
    return " ".join(
        [
            model,
            torch.backends.cpu.get_cpu_capability(),
            *wide,
            os.environ.get("ONEDNN_MAX_CPU_ISA", ""),
        ]
    )


@functools.cache
def keep_freed_memory(room: int = 2**29) -> None:
    """Once, have memory that was freed stay with this process, ``room`` bytes of it in huge pages, where libc is glibc.

    A step of a training frees all that it made. By default that goes back to the system, which clears it page by page
    for the next step: a seventh of a step, and more while two train at once (docs/log.md). No result changes.
    """
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "mallopt"):
        return
    libc.malloc.restype = libc.sbrk.restype = ctypes.c_void_p
    libc.free.argtypes, libc.sbrk.argtypes = [ctypes.c_void_p], [ctypes.c_ssize_t]
    libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    trim_threshold, top_pad, mmap_threshold, huge = -1, -2, -3, 14
    libc.mallopt(trim_threshold, 2**30)
    libc.mallopt(mmap_threshold, 2**25)  # the most that every glibc takes
    libc.mallopt(top_pad, room)
    libc.free(
        libc.malloc(2**24)
    )  # the heap grows by the room; none of it is memory before it is used
    libc.mallopt(top_pad, 2**20)
    libc.madvise((libc.sbrk(0) - room) & -(2**21), room, huge)  # refused where the system has none


# --- random numbers that depend only on a seed and a step -------------------------------------------------------


def seeded(*parts: int) -> torch.Generator:
    """A generator that depends only on ``parts`` (splitmix-style mixing of small integers).

    The first part is a run's seed. The second tells what draws: 1 the order of clips, 2 windows and views, 3 dropout and
    methods, 4 features of exits, 5 a method's preparation, 6 networks.
    """
    state = 0x9E3779B97F4A7C15
    for part in parts:
        state = (
            (state ^ (part + 0x9E3779B97F4A7C15 + (state << 6) + (state >> 2)))
            * 0xBF58476D1CE4E5B9
            % 2**63
        )
    return torch.Generator().manual_seed(state)


def seed_all(*parts: int) -> int:
    """Seed the global generators of torch, NumPy and Python with a number that depends only on ``parts``; return it."""
    number = seeded(*parts).initial_seed()
    # torch.manual_seed would also format the Python stack, for devices that are not there: up to 0.4 ms a step
    torch.default_generator.manual_seed(number)
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed(number)
    if torch.backends.mps.is_available():
        torch.mps.manual_seed(number)
    np.random.seed(number % 2**32)
    random.seed(number)
    return number


@contextlib.contextmanager
def seeded_generators(*parts: int) -> Iterator[None]:
    """Call :func:`seed_all` with ``parts``; at the end, give the global generators the states that they had before."""
    numpys, pythons = np.random.get_state(), random.getstate()
    devices = [torch.cuda.current_device()] if torch.cuda.is_initialized() else []
    with torch.random.fork_rng(devices=devices):
        try:
            seed_all(*parts)
            yield
        finally:
            np.random.set_state(numpys)
            random.setstate(pythons)
