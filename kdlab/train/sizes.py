"""Three sizes of every experiment: ``smoke`` tests, ``demo`` shows, ``study`` is quoted.

The papers' own hyper-parameters on their data sets, for a GPU, stand at the end of each paper's ``recipes``.
"""

import os
from dataclasses import dataclass

from kdlab.clips.windows import Window
from kdlab.nets.video import TinyR2Plus1D
from kdlab.night import ACTIONS, Night
from kdlab.train.loop import Settings

#: The one ``variety`` at which demo and study stand: plain CE on raw clips is neither trivial nor hopeless there.
VARIETY = 0.25


@dataclass(frozen=True)
class Size:
    """How large an experiment is; a tuple of numbers counts training, validation and test clips, or videos."""

    name: str


@dataclass(frozen=True)
class Profile(Size):
    """DL-KDD's: clips of ``night``, optimiser settings, window, and how many ``seeds``."""

    night: Night
    settings: Settings
    window: Window = Window()
    net: TinyR2Plus1D = TinyR2Plus1D()
    seeds: int = 3


@dataclass(frozen=True)
class GenerativeSize(Size):
    """GenKD's: clips of `night` a class; epochs there and on few real clips; seeds on both; the window."""

    per_class: tuple[int, int, int]
    epochs: int
    real_epochs: int
    seeds: int
    real_seeds: int = 1
    window: Window = Window(16, 36, 32)


@dataclass(frozen=True)
class DetectionSize(Size):
    """Of GenKD for detection: videos of untrimmed `night`, their shortest and longest ``seconds``; the students'
    epochs, of which the teacher has twice as many; seeds."""

    videos: tuple[int, int, int]
    seconds: tuple[float, float]
    epochs: int
    seeds: int


@dataclass(frozen=True)
class ExitSize(Size):
    """PKD's: clips of `night` a class; epochs of the three networks and of the internal classifiers, there and on few
    real clips; and how many random ``draws`` of a training clip the classifiers see. Where places tell the class
    (context above 0) the I-frame network learns them in ``iframe_epochs``; where they tell nothing, residual and motion
    networks need ``plain_epochs`` before they may teach."""

    per_class: tuple[int, int, int]
    epochs: int
    iframe_epochs: int
    plain_epochs: int
    exit_epochs: int
    real_epochs: int
    real_exit_epochs: int
    draws: int
    seeds: int


@dataclass(frozen=True)
class RegimeSize(Size):
    """DL-KDD's among networks that were pre-trained on bright clips: dark clips of ``night``; ``bright`` ones a class
    for the starts, which have so many ``epochs``. Dark clips without labels are seen in ``adapted`` epochs, with labels
    in ``tuned`` where ``few`` a class have them, in half as many where all do; ``tested`` test clips a class; seeds,
    window, network."""

    night: Night
    bright: tuple[int, int, int]
    few: int
    epochs: int
    adapted: int
    tuned: int
    tested: int
    seeds: int
    window: Window = Window(12, 38, 34)
    net: TinyR2Plus1D = TinyR2Plus1D()


#: Two thirds of the pixels of :class:`Window`'s own, and no less accurate with few clips (docs/log.md).
_SMALL = Window(12, 38, 34)
SMOKE = Profile("smoke", Night(ACTIONS, (3, 1, 2), VARIETY), Settings(epochs=2), _SMALL, seeds=2)
DEMO = Profile("demo", Night(ACTIONS, (24, 4, 12), VARIETY), Settings(epochs=40), _SMALL, seeds=3)
STUDY = Profile("study", Night(ACTIONS, (40, 30, 100), VARIETY), Settings(epochs=100), _SMALL, seeds=15)
_SIZES = (
    SMOKE, DEMO, STUDY,
    GenerativeSize("smoke", (3, 1, 2), 2, 2, 2, window=Window(12, 36, 32)),
    # of 550 validation clips the student, KD and GenKD know 51, 54 and 60 % in 12 frames, 51, 55 and 60 in 16
    GenerativeSize("demo", (24, 4, 12), 25, 80, 2, window=Window(12, 36, 32)),
    GenerativeSize("study", (40, 100, 100), 120, 80, 5, 5, window=Window(12, 36, 32)),
    DetectionSize("smoke", (3, 1, 2), (12.0, 14.0), 2, 1),
    DetectionSize("demo", (24, 6, 15), (20.0, 30.0), 20, 1),
    DetectionSize("study", (24, 20, 60), (20.0, 30.0), 160, 5),
    ExitSize("smoke", per_class=(3, 1, 2), epochs=2,
             iframe_epochs=2, plain_epochs=2, exit_epochs=2,
             real_epochs=2, real_exit_epochs=2, draws=2, seeds=2),
    # I-frames: 20 epochs 89.3 % of 550 validation clips, 80 epochs 89.2; the others gain 6 and 11 points from 40 to 80
    ExitSize("demo", per_class=(16, 6, 10), epochs=80,
             iframe_epochs=20, plain_epochs=80, exit_epochs=15,
             real_epochs=250, real_exit_epochs=100, draws=4, seeds=2),
    ExitSize("study", per_class=(40, 30, 100), epochs=130,
             iframe_epochs=130, plain_epochs=300, exit_epochs=15,
             real_epochs=250, real_exit_epochs=100, draws=8, seeds=5),
    RegimeSize("smoke", Night(ACTIONS, (3, 1, 1), VARIETY), (3, 1, 1), 2, 2, 1, 1, 2, 2),
    RegimeSize("demo", Night(ACTIONS, (30, 10, 10), VARIETY), (30, 10, 10), 10, 100, 40, 60, 100, 1),
    RegimeSize("study", Night(ACTIONS, (40, 10, 10), VARIETY), (40, 30, 10), 10, 100, 40, 60, 200, 10),
)


def current(name: str | None = None, kind: type = Profile):
    """The size of that ``kind`` called ``name``, or as ``$KDLAB_PROFILE`` says, or ``demo``. A ``kind`` of your own, of
    which nothing stands here, has a :class:`Profile`'s."""
    name = name or os.environ.get("KDLAB_PROFILE") or "demo"
    known = {size.name: size for size in _SIZES if type(size) is kind} or {s.name: s for s in (SMOKE, DEMO, STUDY)}
    if name not in known:
        raise ValueError(f"no profile {name!r}; there are {', '.join(known)}")
    return known[name]
