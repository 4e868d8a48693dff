"""Where kdlab reads and writes. Every place can be moved by one environment variable."""

import math
import os
from functools import lru_cache
from pathlib import Path

#: Folders of the clone that hold what is committed: no variable may lead a command there.
_COMMITTED = (".git", "benchmarks", "docs", "figures", "kdlab", "notebooks", "pretrained", "tests", "tools")

#: By this file a folder is known that ``kdlab notebooks`` has written into.
CHAPTERS = Path("notebooks", "00_start_here.ipynb")


def project_root() -> Path:
    """The folder that holds ``notebooks/`` and ``figures/``: the clone; for an installed package the nearest one, at or
    above the current folder, into which ``kdlab notebooks`` has written, or the current folder itself."""
    clone = Path(__file__).resolve().parents[2]
    if (clone / "pyproject.toml").is_file():
        return clone
    here = Path.cwd()
    return next((folder for folder in (here, *here.parents) if (folder / CHAPTERS).is_file()), here)


def runs_dir() -> Path:
    """Trainings and executed notebooks: ``$KDLAB_RUNS``, else ``runs/`` in the project."""
    return _place("KDLAB_RUNS", "runs")


def data_dir() -> Path:
    """Clips that kdlab makes itself: ``$KDLAB_DATA``, else ``data/`` in the project."""
    return _place("KDLAB_DATA", "data")


def cache_dir() -> Path:
    """Decoded frames, safe to delete: ``$KDLAB_CACHE``, else ``.cache/`` in the project."""
    return _place("KDLAB_CACHE", ".cache")


def cache_bytes() -> int:
    """How much decoded frames may take on the disk: ``$KDLAB_CACHE_GB`` (10⁹ bytes), else 8 GiB.

    Raises ``ValueError`` for what is no size.
    """
    return _gigabytes("KDLAB_CACHE_GB")


def memory_bytes() -> int:
    """How much features of frozen networks may take in memory before they lie on the disk: ``$KDLAB_MEMORY_GB`` (10⁹
    bytes), else 8 GiB. Raises ``ValueError`` for what is no size."""
    return _gigabytes("KDLAB_MEMORY_GB")


def _gigabytes(variable: str) -> int:
    value = os.environ.get(variable)
    if not value:
        return 8 * 2**30
    try:
        size = float(value)
    except ValueError:
        size = -1.0
    if not 0 <= size < math.inf:
        raise ValueError(f"{variable}={value!r} is no size: write a number of gigabytes, such as 40, or unset it")
    return round(size * 1e9)


def pretrained_dir() -> Path:
    """The committed seed-0 weights."""
    return project_root() / "pretrained"


def figures_dir() -> Path:
    """The committed evidence (tidy tables, predictions, pictures): ``$KDLAB_FIGURES``, else ``figures/``."""
    return _place("KDLAB_FIGURES", "figures")


def real_clips() -> Path | None:
    """The user's own clips, named only by ``$KDLAB_REAL_CLIPS``; ``None`` when it is unset or empty."""
    value = os.environ.get("KDLAB_REAL_CLIPS")
    return Path(os.path.expanduser(value)) if value else None


def _place(variable: str, name: str) -> Path:
    """The folder that ``variable`` names (a relative path begins in the current folder), else ``name`` in the project.

    Raises ``ValueError`` where the variable names a file, the root of the disk, the home folder, the clone or a folder
    of it with committed files: what kdlab makes would lie among what it did not make.
    """
    value, root = os.environ.get(variable), project_root()
    if not value:
        return root / name
    place = Path(os.path.expanduser(value)).absolute()
    if fault := _fault(place, name, root, Path(os.path.expanduser("~"))):
        raise ValueError(f"{variable} names {value}, which is {fault}: let it name a folder of its own, or unset it")
    return place


@lru_cache(maxsize=64)  # asked for every training, and links take time to follow
def _fault(place: Path, name: str, root: Path, home: Path) -> str:
    """What speaks against ``place`` where ``name`` lies by default; empty where nothing does."""
    try:
        real = place.resolve()
        if place.exists() and not place.is_dir():
            return "no folder"
    except (OSError, RuntimeError) as error:  # a name that is too long, a link that leads to itself
        return f"no place for a folder ({getattr(error, 'strerror', None) or error})"
    others = {Path(real.anchor): "the root of the disk", home.resolve(): "your home folder"}
    if (root / "notebooks").is_dir():
        others[root.resolve()] = "the clone itself"
        if inside := [folder for folder in _COMMITTED if folder != name
                      and real.is_relative_to((root / folder).resolve())]:
            return f"inside {root / inside[0]}, where committed files lie"
    return others.get(real, "")
