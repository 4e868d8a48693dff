"""Three sizes of every experiment: ``smoke`` for tests, ``demo`` for notebooks, ``study`` for reported results.

Each paper's ``recipes`` module ends with the paper's own hyper-parameters on its data sets, for a GPU.
"""

import os
from dataclasses import dataclass

from kdlab.clips.windows import Window
from kdlab.nets.video import TinyR2Plus1D
from kdlab.night import ACTIONS, Night
from kdlab.train.settings import Settings

#: Two thirds of the pixels of the default :class:`Window`, and no less accurate with few clips (docs/log.md).
_SMALL = Window(12, 38, 34)
#: The ``variety`` of demo and study: here plain CE on raw clips is neither trivial nor hopeless.
VARIETY = 0.25


@dataclass(frozen=True)
class Size:
    """The size of an experiment; a tuple of three numbers counts training, validation and test clips, or videos."""

    name: str


@dataclass(frozen=True)
class Profile(Size):
    """The size of DL-KDD: clips of ``night``, optimiser settings, window, network, and the number of ``seeds``."""

    night: Night
    settings: Settings
    window: Window = Window()
    net: TinyR2Plus1D = TinyR2Plus1D()
    seeds: int = 3


@dataclass(frozen=True)
class GenerativeSize(Size):
    """The size of GenKD: clips of `night` per class; epochs on them and on few real clips; seeds; window. Its
    ``batch_size`` and ``classes`` are those of `night`."""

    per_class: tuple[int, int, int]
    epochs: int
    real_epochs: int = 80
    seeds: int = 1
    # accuracy on 550 validation clips of student, KD, GenKD: 51, 54 and 60 % with 12 frames, 51, 55 and 60 % with 16
    window: Window = Window(12, 36, 32)
    batch_size: int = 8
    classes: tuple[str, ...] = ACTIONS


@dataclass(frozen=True)
class DetectionSize(Size):
    """The size of GenKD for detection: videos of untrimmed `night` with their shortest and longest length in
    ``seconds``; the students' epochs (the teacher has twice as many); seeds."""

    videos: tuple[int, int, int]
    seconds: tuple[float, float]
    epochs: int
    seeds: int = 1


@dataclass(frozen=True)
class ExitSize(Size):
    """The size of PKD: clips of `night` per class; epochs of the three networks and of the internal classifiers, on
    them and on few real clips; and the number of random ``draws`` of a training clip for the classifiers. Where the
    place predicts the class (context above 0), the I-frame network trains for ``iframe_epochs``. Where the place
    predicts nothing, residual and motion networks train for ``plain_epochs`` before they teach. The three networks
    train at this ``rate`` on `night`."""

    per_class: tuple[int, int, int]
    epochs: int
    iframe_epochs: int
    plain_epochs: int
    exit_epochs: int
    draws: int
    real_epochs: int = 250
    real_exit_epochs: int = 100
    seeds: int = 1
    rate: float = 4e-3


@dataclass(frozen=True)
class RegimeSize(Size):
    """The size of DL-KDD with networks that were pre-trained on bright clips. ``night`` gives the dark clips;
    ``bright`` is the number of bright clips per class for the starts, which train for ``epochs``. Training on dark
    clips without labels takes ``adapted`` epochs, training with ``few`` labelled clips per class ``tuned`` epochs. Then
    seeds and window."""

    night: Night
    bright: tuple[int, int, int]
    few: int
    epochs: int
    adapted: int
    tuned: int
    seeds: int = 1
    window: Window = _SMALL


SMOKE = Profile("smoke", Night(ACTIONS, (3, 1, 2), VARIETY), Settings(epochs=2), _SMALL, seeds=2)
DEMO = Profile("demo", Night(ACTIONS, (24, 4, 12), VARIETY), Settings(epochs=40), _SMALL, seeds=1)
STUDY = Profile(
    "study", Night(ACTIONS, (40, 30, 100), VARIETY), Settings(epochs=100), _SMALL, seeds=15
)
_SIZES = (
    SMOKE,
    DEMO,
    STUDY,
    GenerativeSize("smoke", per_class=(3, 1, 2), epochs=2, real_epochs=2),
    # 300 validation clips in each of two worlds, gated labels alone: 73.0 % in 94 epochs, 69.7 in 188
    GenerativeSize(
        "demo",
        per_class=(24, 4, 24),
        epochs=94,
        batch_size=16,
        classes=("Jump", "Run", "Sit", "Stand", "Turn", "Walk"),
    ),
    GenerativeSize("study", per_class=(40, 100, 100), epochs=120, seeds=5),
    DetectionSize("smoke", videos=(3, 1, 2), seconds=(12.0, 14.0), epochs=2),
    # worlds 190 and 191, gated labels alone: mAP 75.2 % in 40 epochs, 91.1 in 80, 90.4 in 160
    DetectionSize("demo", videos=(24, 6, 15), seconds=(20.0, 30.0), epochs=80),
    DetectionSize("study", videos=(24, 20, 60), seconds=(20.0, 30.0), epochs=160, seeds=5),
    ExitSize(
        "smoke",
        per_class=(3, 1, 2),
        epochs=2,
        iframe_epochs=2,
        plain_epochs=2,
        exit_epochs=2,
        draws=2,
        real_epochs=2,
        real_exit_epochs=2,
    ),
    # 550 validation clips at context 0.5: residual 49.1 % in 80 epochs at 4e-3, 55.3 in 120 at 8e-3; I-frames 50.2,
    # motion 51.6
    ExitSize(
        "demo",
        per_class=(16, 20, 10),
        epochs=120,
        iframe_epochs=30,
        plain_epochs=80,
        exit_epochs=15,
        draws=4,
        rate=8e-3,
    ),
    ExitSize(
        "study",
        per_class=(40, 30, 100),
        epochs=130,
        iframe_epochs=130,
        plain_epochs=300,
        exit_epochs=15,
        draws=8,
        seeds=5,
    ),
    RegimeSize("smoke", night=SMOKE.night, bright=(3, 1, 1), few=2, epochs=2, adapted=1, tuned=1),
    RegimeSize(
        "demo",
        night=DEMO.night,
        bright=(24, 4, 12),
        few=10,
        epochs=100,
        adapted=20,
        tuned=60,
    ),
    RegimeSize(
        "study",
        night=Night(ACTIONS, (40, 10, 10), VARIETY),
        bright=(40, 30, 10),
        few=10,
        epochs=100,
        adapted=40,
        tuned=60,
        seeds=10,
    ),
)


def current(name: str | None = None, kind: type = Profile):
    """The size of this ``kind`` named ``name``, else named by ``$KDLAB_PROFILE``, else ``demo``. A ``kind`` of your
    own, without sizes in this module, has those of :class:`Profile`. Raises ``ValueError`` for an unknown name."""
    name = name or os.environ.get("KDLAB_PROFILE") or "demo"
    known = {size.name: size for size in _SIZES if type(size) is kind} or {
        s.name: s for s in (SMOKE, DEMO, STUDY)
    }
    if name not in known:
        raise ValueError(f"no profile {name!r}; there are {', '.join(known)}")
    return known[name]
