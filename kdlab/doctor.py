"""``kdlab doctor``: explain this installation, and say what to do about what does not fit.

Nothing here may fail because something is missing: that is what people call it for. Every import of a package that
might be absent or broken therefore stands inside a ``try``.
"""

import difflib
import importlib
import importlib.metadata
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement

from kdlab import paths
from kdlab.launch import has_bf16

__all__ = ["Check", "broken", "device_and_precision", "render", "report", "unmet"]

MENDS = "run `make setup` (Windows: `py tools/setup_env.py`), which installs the versions of requirements.lock"
SHOWN = ("torch", "torchvision", "lightning-fabric", "numpy", "pandas", "av", "jupyterlab", "papermill")
VARIABLES = {
    "KDLAB_CACHE": "decoded frames",
    "KDLAB_CACHE_GB": "how much the decoded frames may take, 8 where it is unset",
    "KDLAB_DATA": "clips that kdlab makes",
    "KDLAB_DEBUG": "1 shows tracebacks",
    "KDLAB_DECODER": "pyav or decord: what reads videos",
    "KDLAB_DEVICE": "cpu, cuda or mps instead of the rule's choice",
    "KDLAB_FIGURES": "tables, predictions and pictures of studies",
    "KDLAB_HEADLESS": "1 prints progress as lines, quiet none",
    "KDLAB_NUMPY_FIRST": "set by kdlab: NumPy was there before it, so its kernels stay",
    "KDLAB_PROFILE": "smoke, demo or study",
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
    return [*_python(), *_packages(version, requires), *_hardware(), *_decoder(), *_places(), *_launch(), *_variables()]


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


def _python() -> Iterator[Check]:
    found = ".".join(map(str, sys.version_info[:3]))
    new_enough = sys.version_info >= (3, 11)
    yield Check("python", f"{found} ({sys.executable})", new_enough, "" if new_enough else "kdlab needs 3.11 or newer")


# Packages -------------------------------------------------------------------------------------------------------------


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


def _packages(version, requires) -> Iterator[Check]:
    for name in SHOWN:
        try:
            yield Check(name, version(name))
        except importlib.metadata.PackageNotFoundError:
            yield Check(name, "not installed", False, MENDS)
    try:
        problems = unmet("kdlab", version, requires)
        if problems:
            yield Check("versions fit", f"no: {'; '.join(problems[:5])}", False, MENDS)
        else:
            yield Check("versions fit", "yes", True)
    except importlib.metadata.PackageNotFoundError as error:
        yield Check("versions fit", f"unknown: {error.name} is not installed as a package", False, MENDS)
    yield _loads("torch loads", "torch", lambda torch: torch.ones(2).sum().item())
    # Metadata can fit while the compiled halves do not: an operator that is really called tells.
    yield _loads("torchvision loads", "torchvision", _call_compiled_operator)


def _call_compiled_operator(torchvision) -> None:
    import torch

    torchvision.ops.nms(torch.tensor([[0.0, 0.0, 1.0, 1.0]]), torch.ones(1), 0.5)


def _loads(title: str, module: str, use: Callable) -> Check:
    """Import ``module`` and use it once; whatever goes wrong there becomes the check's value."""
    try:
        use(importlib.import_module(module))
    except Exception as error:  # a broken compiled package may raise anything
        return Check(title, f"no: {_one_line(error)}", False, f"missing, or built for another torch: {MENDS}")
    return Check(title, "yes", True)


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 160 else text[:157] + "..."


# Hardware -------------------------------------------------------------------------------------------------------------


def device_and_precision(
    cuda: tuple[int, int] | None, mps: bool, cpu: Mapping[str, object], wanted: str | None = None
) -> tuple[str, str, str, str]:
    """The rule: (device, why, precision of the ``paper`` profile, why).

    ``cuda`` is the GPU's compute capability or ``None``; ``cpu`` maps flags such as ``avx512_bf16`` to truth values;
    ``wanted`` is ``$KDLAB_DEVICE``. Precision follows from flags, not from a stopwatch; every other profile is fp32.
    """
    if wanted:
        device, why = wanted, "KDLAB_DEVICE says so"
    elif cuda:
        device, why = "cuda", f"a CUDA GPU of compute capability {cuda[0]}.{cuda[1]} answers"
    else:
        device, why = "cpu", "torch sees no CUDA GPU"
        if mps:
            why += "; KDLAB_DEVICE=mps would use this Mac's GPU"
    fast, reason = has_bf16(device, cuda, cpu)
    return device, why, "bf16" if fast else "fp32", reason


def _hardware() -> Iterator[Check]:
    try:
        import torch

        from kdlab.processes import available_cores

        cuda = torch.cuda.get_device_capability() if torch.cuda.is_available() else None
        flags = torch.cpu.get_capabilities()
        wanted = os.environ.get("KDLAB_DEVICE")
        mps = torch.backends.mps.is_available()
        device, why, paper, reason = device_and_precision(cuda, mps, flags, wanted)
        here = ["cpu"] + ["cuda"] * bool(cuda) + ["mps"] * mps
        advice = "" if device in here else f"here is only {' and '.join(here)}: unset KDLAB_DEVICE or name one of these"
        yield Check("device", f"{device}: {why}", device in here, advice)
        yield Check("precision", "fp32 in smoke, demo and study: the same everywhere, so that results compare")
        yield Check("", f"{paper} in paper: {reason}")
        kernels = torch.backends.cpu.get_cpu_capability()
        yield Check("cpu", f"{flags.get('cpu_name') or 'unknown name'}; torch's own kernels use {kernels}")
        usual = torch.get_num_threads()
        threads = f"one for each run, on {available_cores()} usable cores (torch alone would use {usual})"
        yield Check("threads", threads)
    except Exception as error:  # torch missing, broken, or without one of these functions
        yield Check("device", f"unknown: {_one_line(error)}", None, "see what is said of torch above")


# Decoder -------------------------------------------------------------------------------------------------------------


def _decoder() -> Iterator[Check]:
    try:
        import av

        names = ("libavcodec", "libavformat", "libswscale")
        libraries = ", ".join(f"{name} {'.'.join(map(str, av.library_versions[name]))}" for name in names)
        yield Check("PyAV", f"{av.__version__} ({libraries})", True)
    except Exception as error:
        yield Check("PyAV", f"does not load: {_one_line(error)}", False, f"no video can be read without it: {MENDS}")
        return
    from kdlab.clips.decoders import chosen

    try:
        yield Check("decoder", f"{chosen()} reads videos", True)
    except ValueError as error:
        yield Check("decoder", str(error), False, "mend or unset KDLAB_DECODER")


# Places ---------------------------------------------------------------------------------------------------------------


def _places() -> Iterator[Check]:
    for name, variable, place in (
        ("runs", "KDLAB_RUNS", paths.runs_dir),
        ("data", "KDLAB_DATA", paths.data_dir),
        ("cache", "KDLAB_CACHE", paths.cache_dir),
        ("figures", "KDLAB_FIGURES", paths.figures_dir),
    ):
        try:
            yield _place(name, variable, place())
        except paths.PlaceError as error:
            yield Check(name, str(error), False, f"mend {variable}")


def _place(name: str, variable: str, place: Path) -> Check:
    """Is ``place``, or the nearest folder above it that exists, writable, and how much room is there?"""
    nearest = place.absolute()
    while not nearest.exists():
        nearest = nearest.parent
    advice = f"mend its permissions, or set {variable} to a folder that can be written"
    try:
        # Writing tells more than asking for permissions, which root and network drives get wrong.
        with tempfile.TemporaryFile(dir=nearest) as file:
            file.write(b"kdlab")
        free = shutil.disk_usage(nearest).free / 1e9
    except OSError as error:
        return Check(name, f"{place}: {_one_line(error)}", False, advice)
    low = f"under 1 GB free: set {variable} to a folder with more" if free < 1 else ""
    return Check(name, f"{place} ({free:.0f} GB free)", True, low)


def _launch() -> Iterator[Check]:
    """Told only where a launcher's variables are set."""
    from kdlab.launch import COPIES, TORCHRUN, LaunchError, launched

    if any(name in os.environ for name in (*TORCHRUN, *COPIES)):
        try:
            found = launched()
            several = f"process {found.rank} of {found.world} that train together"
            yield Check("launch", several if found.world > 1 else "one process", True)
        except LaunchError as error:
            yield Check("launch", str(error), False, "no training would begin")


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
