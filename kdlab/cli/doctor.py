"""``kdlab doctor``: explain this installation, and say what to do about what does not fit.

Nothing here may fail because something is missing: that is what people call it for.
"""

import importlib.metadata
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from kdlab import paths

MENDS = "run `make setup` (Windows: `py tools/setup_env.py`), which installs the versions of requirements.lock"
SHOWN = ("torch", "torchvision", "lightning-fabric", "numpy", "pandas", "av", "jupyterlab", "papermill")


@dataclass(frozen=True)
class Check:
    """What was found, whether it is ``ok``, and the ``advice`` where it is not."""

    name: str
    value: str
    ok: bool
    advice: str


def report() -> list[Check]:
    """All checks, in the order of the report."""
    looks = [
        ("python", lambda: f"{sys.version.split()[0]} ({sys.executable})", ""),
        *((name, lambda name=name: importlib.metadata.version(name), MENDS) for name in SHOWN),
        ("versions fit", _fit, MENDS),
        ("torchvision loads", _torchvision, f"missing, or built for another torch: {MENDS}"),
        ("device", _device, "unset KDLAB_DEVICE, or name a device that is here"),
        ("cores", _cores, MENDS),
        ("decoder", _decoder, "mend or unset KDLAB_DECODER"),
        *((place.__name__.removesuffix("_dir"), lambda place=place: _writable(place()), "mend its permissions, or name "
           "another folder with KDLAB_RUNS, KDLAB_DATA or KDLAB_CACHE")
          for place in (paths.runs_dir, paths.data_dir, paths.cache_dir)),
        *((name, lambda name=name: os.environ[name], "") for name in sorted(os.environ) if name.startswith("KDLAB_")),
    ]
    return [_tried(*look) for look in looks]


def broken(checks: list[Check]) -> bool:
    """Whether anything that kdlab needs does not work."""
    return not all(check.ok for check in checks)


def render(checks: list[Check]) -> str:
    """One line a check, with its advice below where it fails."""
    lines = [f"{'ok' if check.ok else '!!'}  {check.name:18} {check.value}"
             + f"\n    -> {check.advice}" * (not check.ok) for check in checks]
    return "\n".join([*lines, "", "something is to be mended, marked !!" if broken(checks) else "everything fits"])


def _tried(name: str, look: Callable[[], str], advice: str) -> Check:
    try:
        return Check(name, look(), True, advice)
    except Exception as error:  # a broken compiled package may raise anything
        return Check(name, f"no: {' '.join(str(error).split())[:160] or type(error).__name__}", False, advice)


def _fit() -> str:
    found = subprocess.run([sys.executable, "-m", "pip", "check"], capture_output=True, text=True)
    if found.returncode:
        raise ValueError(found.stdout or found.stderr)
    return "yes"


def _torchvision() -> str:
    import torch
    import torchvision

    # Metadata can fit while the compiled halves do not: an operator that is really called tells.
    torchvision.ops.nms(torch.tensor([[0.0, 0.0, 1.0, 1.0]]), torch.ones(1), 0.5)
    return "yes"


def _device() -> str:
    from kdlab.train import processes

    has, why = processes.bf16()
    return f"{processes.device()}; papers' sizes train in {'bf16' if has else 'fp32'} ({why}), all else in fp32"


def _cores() -> str:
    from kdlab.system.pool import available_cores

    return f"{available_cores()}, one training on each"


def _decoder() -> str:
    import av

    from kdlab.clips.decode import chosen

    return f"{chosen()} reads videos (PyAV {av.__version__})"


def _writable(place: Path) -> str:
    nearest = next(folder for folder in (place, *place.parents) if folder.exists())
    with tempfile.TemporaryFile(dir=nearest) as file:  # to write tells more than to ask for permissions
        file.write(b"kdlab")
    return f"{place} ({shutil.disk_usage(nearest).free / 1e9:.0f} GB free)"
