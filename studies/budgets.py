"""How long must a network train before methods are compared? Labels alone, at 1, 2, 4, 8 and 16 times a start of epochs.

    kdlab study studies/budgets.py --world 190 --world 191 --world 192    # writes runs/studies/budget_*.csv
    python studies/budgets.py        # prints, from the copies in studies/budgets/, the budget of each question

A question's budget is the smallest number of epochs at which doubling gains labels alone less than a point: the mean of
three worlds, which no question is asked in, with 50 validation clips a class. All networks of the question have it.
"""

import exits
import from_nothing
import generative
import pandas as pd
from worlds import EXITS, FROM_NOTHING, GENERATIVE, changed, on_validation

from kdlab.study import Study
from kdlab.system import paths
from kdlab.train.recipe import Recipe

FACTORS = (1, 2, 4, 8, 16)
#: A gain below this many points is none.
SMALL = 1.0
PLAIN, GATED = ("labels alone",), "gated labels alone"
FOLDER = paths.project_root() / "studies" / "budgets"


def longer(recipe: Recipe, factor: int) -> Recipe:
    """The recipe with ``factor`` times its epochs."""
    return changed(recipe, {"settings.epochs": factor * recipe.settings.epochs})


def ladder(base, names):
    """The conditions of ``base`` in ``names`` at each of :data:`FACTORS`."""

    def conditions(size, world: int) -> dict[str, Recipe]:
        recipes = base(size, world)
        return {
            f"{name}, {factor * recipes[name].settings.epochs} epochs": longer(
                recipes[name], factor
            )
            for name in names
            for factor in FACTORS
        }

    return conditions


def trio(size, world: int) -> dict[str, Recipe]:
    """The three networks on compressed video at each of :data:`FACTORS`."""
    exit_recipe = exits.base(size, world)["labels"]
    return {
        f"{name}, {factor * recipe.settings.epochs} epochs": longer(recipe, factor)
        for name, recipe in exit_recipe.needs().items()
        for factor in FACTORS
    }


def study(name: str, conditions, size) -> Study:
    return Study(f"budget_{name}", conditions, size=size, measure=on_validation)


# without worlds of their own, so that `kdlab study --all` does not draw them
of_from_nothing = study("from_nothing", ladder(from_nothing.base, PLAIN), FROM_NOTHING)
of_generative = study("generative", ladder(generative.base, (*PLAIN, GATED)), GENERATIVE)
of_exits = study("exits", trio, EXITS)


def budget(means: pd.Series) -> int | None:
    """The epochs (the index) at which the next entry gains less than :data:`SMALL`; None where there are none."""
    for epochs, gain in zip(means.index, means.diff().shift(-1), strict=True):
        if gain < SMALL:
            return epochs
    return None


def main() -> None:
    for file in sorted(FOLDER.glob("budget_*.csv")):
        rows = pd.read_csv(file)
        parts = rows.condition.str.extract(r"(?P<name>.*), (?P<epochs>\d+) epochs")
        rows = rows.assign(name=parts.name, epochs=parts.epochs.astype(int))
        for name, its in rows.groupby("name"):
            means = its.groupby("epochs").value.mean()
            curve = ", ".join(f"{epochs}: {value:.1f}" for epochs, value in means.items())
            print(f"{file.stem.removeprefix('budget_')}, {name}: {budget(means)} epochs of {curve}")


if __name__ == "__main__":
    main()
