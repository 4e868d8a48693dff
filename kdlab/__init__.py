"""kdlab: a notebook-first research kit for knowledge distillation in video action recognition."""

import importlib
import os
import re
from pathlib import Path

__version__ = "0.1.0"

#: What most scripts need, and where it stands; ``__init__.pyi`` tells type checkers.
_PUBLIC = {
    "Data": "kdlab.protocols",
    "View": "kdlab.protocols",
    "Net": "kdlab.protocols",
    "Method": "kdlab.protocols",
    "Night": "kdlab.night",
    "UserClips": "kdlab.datasets.user_clips",
    "Window": "kdlab.clips.windows",
    "Raw": "kdlab.clips.views",
    "Enhanced": "kdlab.clips.views",
    "Gamma": "kdlab.clips.enhance",
    "TinyR2Plus1D": "kdlab.nets.video",
    "CrossEntropy": "kdlab.distill.method",
    "KD": "kdlab.distill.method",
    "Settings": "kdlab.train.settings",
    "Recipe": "kdlab.train.recipe",
    "obtain": "kdlab.train.obtain",
    "obtain_all": "kdlab.train.many",
    "Question": "kdlab.study",
    "Study": "kdlab.study",
}
__all__ = ["__version__", "check", *_PUBLIC]


def _steady_pictures() -> None:
    """Have OpenCV blur, resize and warp alike on every x86 processor with AVX2, before it does so for the first time.

    It picks its kernels by processor, they round differently, and clips of `night` then differ by single grey levels,
    and all weights with them. Elsewhere, and where ``$OPENCV_IPP`` says something, nothing is changed.
    """
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file() and re.search(
        r"^flags\s*:.*\bavx2\b", cpuinfo.read_text(errors="ignore"), re.MULTILINE
    ):
        os.environ.setdefault("OPENCV_IPP", "avx2")


def check(name: str = "", answer: object = ...) -> None:
    """Print whether ``answer`` is right for the exercise ``name``; without an answer the exercise, without a name what is
    done (:func:`kdlab.show.exercises.check`)."""
    importlib.import_module("kdlab.show.exercises").check(name, answer)


def __getattr__(name: str):
    """The public names, imported where they are first asked for: ``import kdlab`` alone loads nothing."""
    if name not in _PUBLIC:
        raise AttributeError(f"module 'kdlab' has no attribute {name!r}")
    return getattr(importlib.import_module(_PUBLIC[name]), name)


_steady_pictures()
