"""``kdlab doctor``: describe this installation, and give advice on its faults.

A missing package must not stop it, because users call it when packages are missing.
"""

import importlib.metadata
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from kdlab.system import paths

MENDS = "run `make setup` (Windows: `py tools/setup_env.py`), which installs the versions of requirements.lock"
SHOWN = ("torch", "torchvision", "numpy", "pandas", "av", "jupyterlab", "papermill")


def report() -> tuple[str, bool]:
    """All checks as text, one line each with advice below each fault; and whether all succeed."""
    rows = checks()
    lines = [
        f"{'!!' if fault else 'ok'}  {name:18} {fault or value}"
        + f"\n    -> {advice}" * bool(fault)
        for name, value, fault, advice in rows
    ]
    good = not any(fault for _, _, fault, _ in rows)
    return "\n".join([*lines, "", "everything fits" if good else "mend what is marked !!"]), good


def checks() -> list[tuple[str, str, str, str]]:
    """(name, value, fault, advice) of each check; the fault is empty if the check succeeds."""
    places = (paths.runs_dir, paths.data_dir, paths.cache_dir)
    asked = [
        ("python", lambda: f"{sys.version.split()[0]} ({sys.executable})", ""),
        *((name, lambda name=name: importlib.metadata.version(name), MENDS) for name in SHOWN),
        ("versions fit", _fit, MENDS),
        ("torchvision loads", _torchvision, f"missing, or built for another torch: {MENDS}"),
        ("device", _device, "unset KDLAB_DEVICE, or name a device that is here"),
        ("decoder", _decoder, MENDS),
        *(
            (
                place.__name__.removesuffix("_dir"),
                lambda place=place: _writable(place()),
                "mend its permissions, or name "
                "another folder with KDLAB_RUNS, KDLAB_DATA or KDLAB_CACHE",
            )
            for place in places
        ),
        *(
            (name, lambda name=name: os.environ[name], "")
            for name in sorted(os.environ)
            if name.startswith("KDLAB_")
        ),
    ]
    found = []
    for name, ask, advice in asked:
        try:
            found.append((name, ask(), "", advice))
        except Exception as error:  # a broken compiled package may raise anything
            fault = " ".join(str(error).split())[:160] or type(error).__name__
            found.append((name, "", f"no: {fault}", advice))
    return found


def _fit() -> str:
    found = subprocess.run([sys.executable, "-m", "pip", "check"], capture_output=True, text=True)
    if found.returncode:
        raise ValueError(found.stdout or found.stderr)
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


def _decoder() -> str:
    import av

    return f"PyAV {av.__version__} reads videos"


def _writable(place: Path) -> str:
    nearest = next(folder for folder in (place, *place.parents) if folder.exists())
    with tempfile.TemporaryFile(
        dir=nearest
    ) as file:  # writing is a stricter test than reading permissions
        file.write(b"kdlab")
    return f"{place} ({shutil.disk_usage(nearest).free / 1e9:.0f} GB free)"
