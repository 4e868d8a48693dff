"""kdlab: a notebook-first research kit for knowledge distillation in video action recognition."""

import ctypes
import importlib
import os
import re
import sys
from pathlib import Path

__version__ = "0.1.0"


def _steady_pictures() -> None:
    """Have OpenCV blur, resize and warp alike on every x86 processor with AVX2, before it does so for the first time.

    It picks its kernels by processor, they round differently, and clips of `night` then differ by single grey levels,
    and all weights with them. Elsewhere, and where ``$OPENCV_IPP`` says something, nothing is changed.
    """
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file() and re.search(r"^flags\s*:.*\bavx2\b", cpuinfo.read_text(errors="ignore"), re.MULTILINE):
        os.environ.setdefault("OPENCV_IPP", "avx2")


def _memory_kept(room: int = 2**29) -> None:
    """Have memory that was freed stay with this process, ``room`` bytes of it in huge pages, where libc is glibc.

    A step of a training frees all that it made. By default that goes back to the system, which clears it page by page
    for the next step: a seventh of a step, and more while two train at once (docs/log.md). No result changes.
    """
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None
    if not hasattr(libc, "mallopt"):
        return
    libc.malloc.restype = libc.sbrk.restype = ctypes.c_void_p
    libc.free.argtypes, libc.sbrk.argtypes = [ctypes.c_void_p], [ctypes.c_ssize_t]
    libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    trim_threshold, top_pad, mmap_threshold, huge = -1, -2, -3, 14
    libc.mallopt(trim_threshold, 2**30)
    libc.mallopt(mmap_threshold, 2**25)  # the most that every glibc takes
    libc.mallopt(top_pad, room)
    libc.free(libc.malloc(2**24))  # the heap grows by the room; none of it is memory before it is used
    libc.mallopt(top_pad, 2**20)
    libc.madvise((libc.sbrk(0) - room) & -(2**21), room, huge)  # refused where the system has none


def check(name: str, answer: object = ...) -> None:
    """Print whether ``answer`` is right for the exercise ``name``; without an answer the exercise
    (:func:`kdlab.show.exercises.check`)."""
    importlib.import_module("kdlab.show.exercises").check(name, answer)


_steady_pictures()
_memory_kept()
