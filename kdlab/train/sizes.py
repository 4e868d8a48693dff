"""Three sizes for every experiment: ``smoke`` tests, ``demo`` shows, ``study`` is quoted.

The papers' own hyper-parameters on their data sets, for a GPU, stand in each paper's ``paper_size``.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass

from kdlab.clips.views import Window
from kdlab.nets.video import TinyR2Plus1D
from kdlab.night import ACTIONS, Night
from kdlab.train.loop import Settings
from kdlab.values import whole

__all__ = ["DEMO", "SMOKE", "STUDY", "VARIETY", "Profile", "among", "current"]


@dataclass(frozen=True)
class Profile:
    """The size of an experiment: clips of ``night``, optimiser settings, window, and how many ``seeds``."""

    name: str
    night: Night
    settings: Settings
    window: Window = Window()
    net: TinyR2Plus1D = TinyR2Plus1D()
    seeds: int = 3

    def __post_init__(self):
        whole(1, seeds=self.seeds)


#: The one ``variety`` at which demo and study stand: plain CE on raw clips is neither trivial nor hopeless there.
VARIETY = 0.25

SMOKE = Profile("smoke", Night(ACTIONS, (4, 2, 2), VARIETY), Settings(epochs=2), seeds=2)
DEMO = Profile("demo", Night(ACTIONS, (24, 4, 12), VARIETY), Settings(epochs=40), seeds=3)
STUDY = Profile("study", Night(ACTIONS, (40, 30, 100), VARIETY), Settings(epochs=100), seeds=15)


def current(name: str | None = None) -> Profile:
    """The profile called ``name``, or the one in ``$KDLAB_PROFILE``, or ``demo``."""
    name = name or os.environ.get("KDLAB_PROFILE") or "demo"
    known = {p.name: p for p in (SMOKE, DEMO, STUDY)}
    if name not in known:
        raise ValueError(f"no profile {name!r}; there are {', '.join(known)}")
    return known[name]


def among(*sizes) -> Callable:
    """The function that gives, of the ``sizes`` of another experiment, the one that goes with ``current(name)``."""
    return lambda name=None: {size.name: size for size in sizes}[current(name).name]
