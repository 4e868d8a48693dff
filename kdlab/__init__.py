"""kdlab: a notebook-first research kit for knowledge distillation in video action recognition."""

import os
import re
import sys
from pathlib import Path

__version__ = "0.1.0"


def _steady_products() -> None:
    """Have NumPy multiply matrices alike on every x86 processor with AVX2, before it is imported.

    OpenBLAS picks its kernels by processor, they round differently, and clips of `night` then differ by single grey
    levels, and all weights with them. Elsewhere, and where ``$OPENBLAS_CORETYPE`` says something, nothing is changed;
    neither in a process that has NumPy already, nor in its workers, which must make the same bits.
    """
    cpuinfo = Path("/proc/cpuinfo")
    if "numpy" in sys.modules:
        os.environ.setdefault("KDLAB_NUMPY_FIRST", "1")
    if "KDLAB_NUMPY_FIRST" in os.environ or not cpuinfo.is_file():
        return
    if re.search(r"^flags\s*:.*\bavx2\b", cpuinfo.read_text(errors="ignore"), re.MULTILINE):
        os.environ.setdefault("OPENBLAS_CORETYPE", "Haswell")


_steady_products()
