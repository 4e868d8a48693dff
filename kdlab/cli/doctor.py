"""``kdlab doctor``: explain this installation, and say what to do about what does not fit.

Nothing here may fail because something is missing: that is what people call it for. Every import of a package that
might be absent or broken therefore stands inside a ``try``.
"""

import difflib
import importlib.metadata
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from packaging.requirements import Requirement

from kdlab import paths
from kdlab.system import launch
from kdlab.system.launch import COPIES, TORCHRUN

MENDS = "run `make setup` (Windows: `py tools/setup_env.py`), which installs the versions of requirements.lock"
SHOWN = ("torch", "torchvision", "lightning-fabric", "numpy", "pandas", "av", "jupyterlab", "papermill")
VARIABLES = {
    "KDLAB_CACHE": "decoded frames",
    "KDLAB_CACHE_GB": "how much the decoded frames may take, 8 where it is unset",
    "KDLAB_CORES": "at most so many cores are used",
    "KDLAB_DATA": "clips that kdlab makes",
    "KDLAB_DEBUG": "1 shows tracebacks",
    "KDLAB_DECODER": "pyav or decord: what reads videos",
    "KDLAB_DEVICE": "cpu, cuda or mps instead of the rule's choice",
    "KDLAB_FIGURES": "tables, predictions and pictures of studies",
    "KDLAB_HEADLESS": "1 prints progress as lines, quiet none",
    "KDLAB_LOGGER": "tensorboard, or module:function: what also hears of every epoch",
    "KDLAB_MEMORY_GB": "how much features of frozen networks may take in memory, 8 where it is unset",
    "KDLAB_PROFILE": "smoke, demo or study",
    "KDLAB_PROGRESS": "a reader's answers to exercises",
    "KDLAB_REAL_CLIPS": "your own clips, for tests and notebooks",
    "KDLAB_RUNS": "trainings and executed notebooks",
    "KDLAB_TORCH_INDEX": "where set-up takes torch from",
    "KDLAB_WHEELS": "where set-up takes everything from",
}


@dataclass(frozen=True)
class Check:
    """One finding: ``ok`` is ``None`` for plain information, ``False`` where something needed is broken."""

    name: str
    value: str
    ok: bool | None = None
    advice: str = ""


def report(
    version: Callable[[str], str] = importlib.metadata.version,
    requires: Callable[[str], list[str] | None] = importlib.metadata.requires,
) -> list[Check]:
    """Look at everything; never raises. ``version`` and ``requires`` tell an installed distribution's metadata."""
    places = (("runs", paths.runs_dir), ("data", paths.data_dir), ("cache", paths.cache_dir),
              ("figures", paths.figures_dir))
    device = "unset KDLAB_DEVICE, or name a device that is here; torch has to load"
    looks = [
        ("python", lambda: f"{sys.version.split()[0]} ({sys.executable})", ""),  # of an older one pip says so
        *((name, partial(version, name), MENDS) for name in SHOWN),
        ("versions fit", partial(_fit, version, requires), MENDS),
        ("torch loads", _torch, f"missing, or broken: {MENDS}"),
        ("torchvision loads", _torchvision, f"missing, or built for another torch: {MENDS}"),
        ("device", _device, device),
        ("precision", _precision, device),
        ("cpu", _cpu, "torch has to load"),
        ("PyAV", _pyav, f"no video can be read without it: {MENDS}"),
        ("decoder", _decoder, "mend or unset KDLAB_DECODER"),
        *((name, partial(_place, place), f"mend its permissions, or let KDLAB_{name.upper()} name a folder that can be "
                                         "written") for name, place in places),
    ]
    if any(name in os.environ for name in (*TORCHRUN, *COPIES)):
        looks.append(("launch", _launch, "no training would begin"))
    return [*(_tried(*look) for look in looks), *_variables()]


def broken(checks: list[Check]) -> bool:
    """Does anything that kdlab needs not work? (The command's exit code.)"""
    return any(check.ok is False for check in checks)


def render(checks: list[Check]) -> str:
    """The checks as text: one line each, advice below the line that it belongs to, a verdict at the end."""
    marks = {True: "ok ", False: "!! ", None: "   "}
    width = max((len(check.name) for check in checks), default=0)
    lines = []
    for check in checks:
        lines.append(f"{marks[check.ok]}{check.name:<{width}}  {check.value}")
        if check.advice:
            lines.append(f"   {'':<{width}}  -> {check.advice}")
    wrong = sum(check.ok is False for check in checks)
    lines += ["", f"{wrong} thing(s) to mend, marked !!" if wrong else "Everything that kdlab needs is here and fits."]
    return "\n".join(lines)


def _tried(name: str, look: Callable[[], str], advice: str) -> Check:
    """What ``look`` finds; whatever goes wrong there is a fault, with ``advice``."""
    try:
        return Check(name, look(), True)
    except Exception as error:  # a broken compiled package may raise anything
        text = " ".join(str(error).split()) or type(error).__name__
        return Check(name, f"no: {text[:160]}", False, advice)


def unmet(root: str, version: Callable[[str], str], requires: Callable[[str], list[str] | None]) -> list[str]:
    """Every requirement of ``root``, and of what it requires in turn, that the installed versions do not meet.

    One sentence each, such as "torchvision needs torch>=2.14, found 2.12.0". ``version`` and ``requires`` raise
    ``importlib.metadata.PackageNotFoundError`` for what is not installed.
    """
    problems, seen, open_ = [], set(), [(root, "")]
    while open_:
        name, extra = open_.pop()
        for text in requires(name) or ():
            need = Requirement(text)
            if need.marker and not need.marker.evaluate({"extra": extra}):
                continue
            try:
                found = version(need.name)
            except importlib.metadata.PackageNotFoundError:
                problems.append(f"{name} needs {need.name}{need.specifier}, which is not installed")
                continue
            if not need.specifier.contains(found, prereleases=True):
                problems.append(f"{name} needs {need.name}{need.specifier}, found {found}")
            for key in [(need.name, ""), *((need.name, extra) for extra in sorted(need.extras))]:
                if key not in seen:
                    seen.add(key)
                    open_.append(key)
    return sorted(set(problems))


def _fit(version, requires) -> str:
    if problems := unmet("kdlab", version, requires):
        raise ValueError("; ".join(problems[:5]))
    return "yes"


def _torch() -> str:
    import torch

    torch.ones(2).sum().item()
    return "yes"


def _torchvision() -> str:
    import torch
    import torchvision

    # Metadata can fit while the compiled halves do not: an operator that is really called tells.
    torchvision.ops.nms(torch.tensor([[0.0, 0.0, 1.0, 1.0]]), torch.ones(1), 0.5)
    return "yes"


def _device() -> str:
    import torch

    if (found := launch.device()) == "cuda":
        return f"cuda: {torch.cuda.get_device_name()}"
    mps = "; KDLAB_DEVICE=mps would use this Mac's GPU" if torch.backends.mps.is_available() and found == "cpu" else ""
    return f"{found}: {'KDLAB_DEVICE says so' if os.environ.get('KDLAB_DEVICE') else 'torch sees no CUDA GPU'}{mps}"


def _precision() -> str:
    fast, why = launch.bf16()
    return (f"fp32 in smoke, demo and study: the same everywhere, so that results compare; "
            f"{'bf16' if fast else 'fp32'} in paper: {why}")


def _cpu() -> str:
    import torch

    from kdlab.system.processes import available_cores

    name = torch.cpu.get_capabilities().get("cpu_name") or "unknown name"
    return (f"{name}; torch's own kernels use {torch.backends.cpu.get_cpu_capability()}; one thread for each run, on "
            f"{available_cores()} usable cores (torch alone would use {torch.get_num_threads()})")


def _pyav() -> str:
    import av

    return f"{av.__version__} (libavcodec {'.'.join(map(str, av.library_versions['libavcodec']))})"


def _decoder() -> str:
    from kdlab.clips.decoders import chosen

    return f"{chosen()} reads videos"


def _place(where: Callable[[], Path]) -> str:
    """Is the place, or the nearest folder above it that exists, writable, and how much room is there?"""
    place = where()
    nearest = next(folder for folder in (place, *place.parents) if folder.exists())
    # Writing tells more than asking for permissions, which root and network drives get wrong.
    with tempfile.TemporaryFile(dir=nearest) as file:
        file.write(b"kdlab")
    free = shutil.disk_usage(nearest).free / 1e9
    return f"{place} ({free:.0f} GB free{': take a folder with more' if free < 1 else ''})"


def _launch() -> str:
    found = launch.launched()
    return f"process {found.rank} of {found.world} that train together" if found.world > 1 else "one process"


def _variables() -> Iterator[Check]:
    for name in sorted(name for name in os.environ if name.startswith("KDLAB_")):
        value = re.sub(r"//[^/@\s]+@", "//...@", os.environ[name])  # an index URL may carry a password
        if name not in VARIABLES:
            near = difflib.get_close_matches(name, VARIABLES, 1)
            advice = "kdlab reads no such variable" + (f"; did you mean {near[0]}?" if near else "")
            yield Check(name, value, None, advice)
        elif name == "KDLAB_REAL_CLIPS" and value and not Path(value).expanduser().is_dir():
            yield Check(name, value, False, "there is no such folder: mend the path, or unset the variable")
        else:
            yield Check(name, f"{value or '(empty: as if unset)'} - {VARIABLES[name]}")
