"""``kdlab doctor``: describe this installation, and give advice on its faults.

A missing package must not stop it, because users call it when packages are missing.
"""

import importlib.metadata
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from kdlab.system import paths

MENDS = "run `make setup` (Windows: `py tools/setup_env.py`), which installs the versions of requirements.lock"
PLACES = "mend its permissions, or name another folder with KDLAB_RUNS, KDLAB_DATA or KDLAB_CACHE"
SHOWN = ("torch", "torchvision", "numpy", "pandas", "av", "jupyterlab", "papermill")


def report() -> tuple[str, bool]:
    """All checks as text, one line each with advice below each fault; and whether all succeed."""
    lines, good = [], True
    for name, ask, advice in checks():
        try:
            lines.append(f"ok  {name:18} {ask()}")
        except Exception as error:  # a broken compiled package may raise anything
            good = False
            fault = " ".join(str(error).split())[:160] or type(error).__name__
            lines.append(f"!!  {name:18} no: {fault}\n    -> {advice}")
    return "\n".join([*lines, "", "everything fits" if good else "mend what is marked !!"]), good


def checks() -> Iterator[tuple[str, Callable[[], str], str]]:
    """(name, ask, advice) of each check: ``ask`` gives its value, and raises where it fails."""
    yield "python", lambda: f"{sys.version.split()[0]} ({sys.executable})", ""
    for name in SHOWN:
        yield name, partial(importlib.metadata.version, name), MENDS
    yield "versions fit", _fit, MENDS
    yield "torchvision loads", _torchvision, f"missing, or built for another torch: {MENDS}"
    yield "device", _device, "unset KDLAB_DEVICE, or name a device that is here"
    yield "decoder", lambda: f"PyAV {importlib.import_module('av').__version__} reads videos", MENDS
    for name in ("runs", "data", "cache"):
        yield name, partial(_writable, getattr(paths, f"{name}_dir")), PLACES
    for name in sorted(os.environ):
        if name.startswith("KDLAB_"):
            yield name, partial(os.getenv, name), ""


def _fit() -> str:
    pip = subprocess.run([sys.executable, "-m", "pip", "check"], capture_output=True, text=True)
    if pip.returncode:
        raise ValueError(pip.stdout or pip.stderr)
    return "yes"


def _torchvision() -> str:
    import torch
    import torchvision

    # metadata may fit while the compiled libraries do not, so call a compiled operator
    torchvision.ops.nms(torch.tensor([[0.0, 0.0, 1.0, 1.0]]), torch.ones(1), 0.5)
    return "yes"


def _device() -> str:
    from kdlab.system.pool import available_cores
    from kdlab.train.device import bf16, device

    has, why = bf16()
    sizes = f"papers' sizes train in {'bf16' if has else 'fp32'} ({why}), all else in fp32"
    return f"{device()}; {sizes}; {available_cores()} cores, one training on each"


def _writable(folder: Callable[[], Path]) -> str:
    place = folder()
    nearest = next(parent for parent in (place, *place.parents) if parent.exists())
    with tempfile.TemporaryFile(dir=nearest) as file:
        file.write(b"kdlab")  # a stricter test than reading permissions
    return f"{place} ({shutil.disk_usage(nearest).free / 1e9:.0f} GB free)"
