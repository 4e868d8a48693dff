"""The folders that kdlab reads and writes, most of them set by an environment variable each."""

import math
import os
from pathlib import Path

#: Folders of the clone with committed files: no environment variable may name them.
_COMMITTED = (
    ".git",
    "benchmarks",
    "docs",
    "figures",
    "kdlab",
    "notebooks",
    "pretrained",
    "studies",
    "tests",
    "tools",
)

#: This file marks a folder that ``kdlab notebooks`` has written.
CHAPTERS = Path("notebooks", "00_start_here.ipynb")


def project_root() -> Path:
    """The folder of ``notebooks/`` and ``figures/``.

    In a clone it is the clone. For an installed package it is the nearest folder, from the current one upwards, that
    ``kdlab notebooks`` has written; else the current folder.
    """
    clone = Path(__file__).resolve().parents[2]
    if (clone / "pyproject.toml").is_file():
        return clone
    here = Path.cwd()
    return next((folder for folder in (here, *here.parents) if (folder / CHAPTERS).is_file()), here)


def runs_dir() -> Path:
    """Folder of trainings and executed notebooks: ``$KDLAB_RUNS``, else ``runs/`` in the project."""
    return _place("KDLAB_RUNS", "runs")


def data_dir() -> Path:
    """Folder of the clips that kdlab makes: ``$KDLAB_DATA``, else ``data/`` in the project."""
    return _place("KDLAB_DATA", "data")


def cache_dir() -> Path:
    """Folder of decoded frames, safe to delete: ``$KDLAB_CACHE``, else ``.cache/`` in the project."""
    return _place("KDLAB_CACHE", ".cache")


def cache_bytes() -> int:
    """The most bytes of decoded frames on disk: ``$KDLAB_CACHE_GB`` (10⁹ bytes), else 8 GiB.

    Raises ``ValueError`` unless the variable is a size.
    """
    return _gigabytes("KDLAB_CACHE_GB")


def memory_bytes() -> int:
    """The most bytes of frozen networks' features of a split in memory; larger ones go to the disk.

    It is ``$KDLAB_MEMORY_GB`` (10⁹ bytes), else 8 GiB. Raises ``ValueError`` unless the variable is a size.
    """
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
        raise ValueError(
            f"{variable}={value!r} is no size: write a number of gigabytes, such as 40, or unset it"
        )
    return round(size * 1e9)


def pretrained_dir() -> Path:
    """Folder of the committed seed-0 weights."""
    return project_root() / "pretrained"


def figures_dir() -> Path:
    """Folder of the committed evidence (tidy tables, predictions, pictures): ``$KDLAB_FIGURES``, else ``figures/``."""
    return _place("KDLAB_FIGURES", "figures")


def real_clips() -> Path | None:
    """Folder of the user's own clips: ``$KDLAB_REAL_CLIPS``, or ``None`` if it is unset or empty."""
    value = os.environ.get("KDLAB_REAL_CLIPS")
    return Path(os.path.expanduser(value)) if value else None


def _place(variable: str, name: str) -> Path:
    """The folder that ``variable`` names (relative to the current folder), else ``name`` in the project.

    Raises ``ValueError`` if the variable names a file, a link that leads nowhere, the root of the disk, the home
    folder, the clone or one of the clone's folders with committed files: kdlab's output stays apart from other files.
    """
    value, root = os.environ.get(variable), project_root()
    if not value:
        return root / name
    place = Path(os.path.expanduser(value)).absolute()
    real = Path(os.path.realpath(place))  # resolve() raises for a link to itself
    apart, committed = [Path(real.anchor), Path.home().resolve()], []
    if (root / "notebooks").is_dir():
        apart.append(root.resolve())
        committed = [(root / folder).resolve() for folder in _COMMITTED if folder != name]
    no_folder = os.path.lexists(place) and not os.path.isdir(place)
    if no_folder or real in apart or any(map(real.is_relative_to, committed)):
        raise ValueError(
            f"{variable} names {value}, which is a file, a link that leads nowhere, the root of the disk, "
            "your home folder, or where the clone's own files lie: let it name a folder of its own, or "
            "unset it"
        )
    return place
