"""How long must a network train before methods are compared? Labels alone, at 1, 2, 4 and 8 times a start of epochs.

    kdlab study studies/budgets.py --world 190 --world 191 --world 192    # writes runs/studies/budget_*.csv
    python studies/budgets.py        # prints, from the copies in studies/budgets/, the budget of each question

A question's budget is the smallest number of epochs at which doubling gains labels alone less than a point: the mean of
three worlds, which no question is asked in, with 50 validation clips a class. All networks of the question have it.
"""

import anytime
import bench
import detection
import exits
import from_nothing
import generative
import into_the_dark
import pandas as pd
from worlds import (
    DETECTION,
    EXITS,
    FROM_NOTHING,
    GENERATIVE,
    INTO_THE_DARK,
    changed,
    on_validation,
)

from kdlab.study import Study
from kdlab.system import paths
from kdlab.train.recipe import Recipe

FACTORS = 1, 2, 4, 8
#: A gain below this many points is none.
SMALL = 1.0
PLAIN = "labels alone"
FOLDER = paths.project_root() / "studies" / "budgets"


def ladder(base, first: int):
    """The conditions of ``base`` at each of :data:`FACTORS` times the ``first`` epochs."""

    def conditions(size, world: int) -> dict[str, Recipe]:
        return {
            f"{name}, {factor * first} epochs": changed(recipe, {"settings.epochs": factor * first})
            for name, recipe in base(size, world).items()
            for factor in FACTORS
        }

    return conditions


def only(base, name: str):
    """The condition ``name`` of ``base``."""
    return lambda *at: {name: base(*at)[name]}


def study(name: str, base, first: int, size, measure=on_validation) -> Study:
    """A study without worlds of its own, so that `kdlab study --all` does not draw it."""
    return Study(f"budget_{name}", ladder(base, first), size=size, measure=measure)


of_from_nothing = study("from_nothing", only(from_nothing.base, PLAIN), 28, FROM_NOTHING)
of_generative = study("generative", only(generative.base, f"gated {PLAIN}"), 48, GENERATIVE)
of_detection = study(
    "detection", only(detection.base, f"gated {PLAIN}"), 40, DETECTION, detection.on_validation
)
of_starts = study(
    "starts",
    lambda *at: {"bright start": into_the_dark.base(*at)["the bright network as it is"].start},
    14,
    INTO_THE_DARK,
)
of_ten = study("ten", only(into_the_dark.base, "ten labels alone"), 20, INTO_THE_DARK)
of_adapted = study("adapted", only(into_the_dark.base, "a second light"), 7, INTO_THE_DARK)
of_networks = study("networks", lambda *at: exits.base(*at)["labels"].needs(), 40, EXITS)
of_anytime = study(
    "anytime", only(lambda *at: anytime.conditions(*at)["PKD"].needs(), "iframe"), 40, EXITS
)
of_bench = study("bench", only(bench.base, PLAIN), 40, bench.SIZE)
of_exits = study("exits", only(exits.base, "labels"), 8, EXITS, exits.on_validation)


def budget(means: pd.Series) -> int | None:
    """The epochs (the index) at which the next entry gains less than :data:`SMALL`; None where there are none."""
    gains = means.diff().shift(-1)
    return next((epochs for epochs, gain in gains.items() if gain < SMALL), None)


def main() -> None:
    for file in sorted(FOLDER.glob("budget_*.csv")):
        rows = pd.read_csv(file)
        parts = rows.condition.str.extract(r"(?P<name>.*), (?P<epochs>\d+) epochs")
        rows = rows.assign(name=parts.name, epochs=parts.epochs.astype(int))
        for name, its in rows.groupby("name"):
            means = its.groupby("epochs").value.mean()
            curve = ", ".join(f"{epochs}: {value:.1f}" for epochs, value in means.items())
            print(
                f"{file.stem.removeprefix('budget_')}, {name}: {budget(means) or 'no'} epochs of {curve}"
            )


if __name__ == "__main__":
    main()
