"""kdlab: a notebook-first research kit for knowledge distillation in video action recognition."""

import os
import re
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


_steady_pictures()
