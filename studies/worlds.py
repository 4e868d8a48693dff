"""The worlds and the sizes of the ten questions, in one place, and how methods and rivals are tuned.

A world is one seed of everything: the clips of `night`, the networks, the order of clips. Sets are small, because the
interval of an answer is over worlds, not over clips.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import pandas as pd

from kdlab.clips.windows import Window
from kdlab.night import ACTIONS, Night
from kdlab.study import Study
from kdlab.system import paths
from kdlab.train.recipe import Recipe
from kdlab.train.settings import Settings
from kdlab.train.sizes import VARIETY, DetectionSize, ExitSize, GenerativeSize, Profile, RegimeSize

#: The worlds of the answers. Nothing is chosen in them, and none is drawn before the questions are committed.
WORLDS = tuple(range(200, 210))
#: The worlds in which the methods and their rivals are tuned, on validation clips, with two values each.
TUNED_IN = tuple(range(190, 193))
FOLDER = paths.figures_dir() / "edition-2"

_SMALL, _SEEDS = Window(12, 31, 28), len(WORLDS)
# Many clips in few epochs: small sets are learnt by heart. At equal steps, 60 clips per class instead of 20 were worth
# 17 points from nothing. Starts need more: in world 193 they failed with 50 per class (15 %) and not with 120 (72 %).
FROM_NOTHING = Profile(
    "world", Night(ACTIONS, (60, 1, 40), VARIETY), Settings(epochs=14), _SMALL, seeds=_SEEDS
)
INTO_THE_DARK = RegimeSize(
    "world",
    Night(ACTIONS, (60, 1, 40), VARIETY),
    bright=(120, 1, 1),
    few=10,
    epochs=11,
    adapted=7,
    tuned=40,
    seeds=_SEEDS,
    window=_SMALL,
)
GENERATIVE = GenerativeSize(
    "world", (60, 1, 40), epochs=12, real_epochs=80, seeds=_SEEDS, window=_SMALL
)
DETECTION = DetectionSize("world", (20, 5, 12), (20.0, 30.0), epochs=20, seeds=_SEEDS)
EXITS = ExitSize(
    "world",
    per_class=(40, 10, 30),
    epochs=20,
    iframe_epochs=8,
    plain_epochs=20,
    exit_epochs=8,
    real_epochs=250,
    real_exit_epochs=100,
    draws=4,
    seeds=_SEEDS,
)
FLATNESS = replace(EXITS, epochs=10, iframe_epochs=5)
#: Condition → the changes that are tried. A text names the condition whose choice it shares; () is nothing to tune.
Candidates = Mapping[str, Sequence[dict] | str]
#: Validation clips per class in the worlds in which something is tuned; they have one test clip per class.
TUNED_ON = 50


def seed_of(world: int) -> int:
    """The seed of the students in ``world``; teachers and members of ensembles have the next ones, so that no two
    worlds share one. Raises ``ValueError`` for a world of the answers before the questions are written down."""
    if world in WORLDS and not (FOLDER / "questions.json").exists():
        raise ValueError(
            f"world {world} is drawn once the questions are written down and committed: call "
            "python studies/register.py first"
        )
    return 1000 * world


def clips(night: Night, world: int) -> Night:
    """The clips of ``world``. Where something is tuned, validation clips stand in place of test clips."""
    train, val, test = night.per_class
    return replace(
        night,
        seed=world,
        per_class=(train, TUNED_ON, 1) if world in TUNED_IN else (train, val, test),
    )


def changed(part, change: Mapping[str, object]):
    """A recipe, or a ``part`` of one, with other values: ``{"method.temperature": 1.0}``."""
    for path, value in change.items():
        name, _, rest = path.partition(".")
        part = replace(
            part, **{name: changed(getattr(part, name), {rest: value}) if rest else value}
        )
    return part


def named(made: Mapping[str, Recipe], titles: Mapping[str, str]) -> dict[str, Recipe]:
    """The recipes of ``made`` that ``titles`` (recipe's name → title) names, by their titles."""
    return {title: made[name] for name, title in titles.items()}


def label(condition: str, change: Mapping[str, object]) -> str:
    """The name of a condition with a ``change`` in the table of a tuning."""
    return f"{condition} {json.dumps(change)}"


def on_validation(runs: Mapping) -> dict[str, float]:
    """Condition → accuracy on validation clips in percent."""
    return {condition: run.predictions("val").accuracy for condition, run in runs.items()}


def tried(candidates: Candidates) -> dict[str, Sequence[dict]]:
    """Those of the ``candidates`` that have changes of their own."""
    return {
        condition: changes
        for condition, changes in candidates.items()
        if changes and not isinstance(changes, str)
    }


def tuning(name: str, base: Callable, candidates: Candidates, size, measure=on_validation) -> Study:
    """The study that tunes the study ``name``: all ``candidates`` in the worlds :data:`TUNED_IN`."""

    def conditions(size, world: int) -> dict[str, Recipe]:
        made = base(size, world)
        return {
            label(condition, change): changed(made[condition], change)
            for condition, changes in tried(candidates).items()
            for change in changes
        }

    return Study(f"{name}_tuning", conditions, size=size, measure=measure, worlds=TUNED_IN)


def chosen(name: str, candidates: Candidates) -> dict[str, dict]:
    """Condition → the change with the best mean over the worlds in which it was tuned; the first before any was."""
    file = FOLDER / f"{name}_tuning.csv"
    means = pd.read_csv(file).groupby("condition").value.mean() if file.exists() else {}
    best = {
        condition: max(changes, key=lambda change: means.get(label(condition, change), 0.0))
        for condition, changes in tried(candidates).items()
    }
    return best | {
        condition: best[other] for condition, other in candidates.items() if isinstance(other, str)
    }


def with_choices(name: str, base: Callable, candidates: Candidates) -> Callable:
    """The conditions of ``base`` with the values that were chosen."""

    def conditions(size, world: int) -> dict[str, Recipe]:
        made = base(size, world)
        return made | {
            condition: changed(made[condition], change)
            for condition, change in chosen(name, candidates).items()
        }

    return conditions
