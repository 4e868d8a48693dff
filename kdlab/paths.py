"""Where kdlab reads and writes. Every place can be moved by one environment variable."""

import os
from pathlib import Path


def project_root() -> Path:
    """The folder that holds ``notebooks/`` and ``figures/`` (the clone), or the current folder outside one."""
    clone = Path(__file__).resolve().parent.parent
    return clone if (clone / "pyproject.toml").is_file() else Path.cwd()


def runs_dir() -> Path:
    """Trainings and executed notebooks: ``$KDLAB_RUNS``, else ``runs/`` in the project."""
    return Path(os.environ.get("KDLAB_RUNS") or project_root() / "runs")


def data_dir() -> Path:
    """Clips that kdlab makes itself: ``$KDLAB_DATA``, else ``data/`` in the project."""
    return Path(os.environ.get("KDLAB_DATA") or project_root() / "data")


def cache_dir() -> Path:
    """Decoded frames, safe to delete: ``$KDLAB_CACHE``, else ``.cache/`` in the project."""
    return Path(os.environ.get("KDLAB_CACHE") or project_root() / ".cache")


def pretrained_dir() -> Path:
    """The committed seed-0 weights."""
    return project_root() / "pretrained"


def figures_dir() -> Path:
    """The committed evidence (tidy tables, predictions, pictures): ``$KDLAB_FIGURES``, else ``figures/``."""
    return Path(os.environ.get("KDLAB_FIGURES") or project_root() / "figures")


def real_clips() -> Path | None:
    """The user's own clips, named only by ``$KDLAB_REAL_CLIPS``; ``None`` when it is unset or empty."""
    value = os.environ.get("KDLAB_REAL_CLIPS")
    return Path(value).expanduser() if value else None


def real_set(name: str) -> Path:
    """The folder ``name`` in :func:`real_clips`. Raises ``FileNotFoundError`` where there is none."""
    root = real_clips()
    if root is None or not (root / name).is_dir():
        place = f"{root} has no folder {name}" if root else "KDLAB_REAL_CLIPS is not set"
        raise FileNotFoundError(f"{place}: docs/real-clips.md says what this study needs, and where to put it")
    return root / name
