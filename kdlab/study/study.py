"""A study: its conditions are trained in several worlds, each a seed of everything, and its questions are answered."""

import importlib
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Any

import pandas as pd

from kdlab.study.question import COLUMNS, Answer, Question, read_together, rows_of
from kdlab.study.scores import collect
from kdlab.system import paths
from kdlab.system.files import write_csv
from kdlab.train.recipe import Recipe
from kdlab.train.runs import Run
from kdlab.train.sizes import current


def accuracies(runs: Mapping[str, Run], split: str = "test") -> dict[str, float]:
    """Condition → accuracy on the clips of ``split`` in percent; of a network with exits, their mean."""
    return {condition: run.predictions(split).accuracy for condition, run in runs.items()}


@dataclass(frozen=True)
class Study:
    """A study. ``conditions(size, world)`` gives one recipe for each condition; ``world`` is the seed of all that is
    random in them. ``measure(runs)`` gives the values of one world by condition, which ``questions`` compare.

    ``size`` has a ``name`` and a number of ``seeds``; the default is the profile of ``$KDLAB_PROFILE``, or else demo.
    ``worlds`` are by default 0 to ``size.seeds`` − 1. The interval of an answer is over the worlds. Where they have the
    same data, as your own clips are, the sentence says that it holds for these clips alone;
    :meth:`.scores.Scores.effect` has an interval for others, too. Other training clips make other data: there the same
    test clips go unseen.
    Raises ``ValueError`` for a ``name`` that is not an identifier, and for questions or worlds that are no sequence.
    """

    name: str
    conditions: Callable[[object, int], dict[str, Recipe]]
    questions: Sequence[Question] = ()
    size: Any = None
    measure: Callable[[Mapping[str, Run]], dict[str, float]] = accuracies
    worlds: Sequence[int] = ()

    def __post_init__(self):
        if not self.name.isidentifier():
            raise ValueError(
                f"a study's name is a file's name: {self.name!r} may have letters, digits and _ only"
            )
        for what in ("questions", "worlds"):
            if not isinstance(getattr(self, what), Sequence):
                raise ValueError(f"the {what} of the study {self.name} are a list, also of one")

    def digest(self) -> str:
        """The digests of the questions, by name, in one line."""
        return " ".join(f"{question.name}:{question.digest()}" for question in self.questions)

    def rows(self, folder: Path) -> pd.DataFrame:
        """The rows in ``folder``; none before the first world was drawn."""
        return rows_of(folder / f"{self.name}.csv")

    def recipes(self, world: int, size=None) -> dict[str, Recipe]:
        """Condition → recipe in one ``world``. Raises ``ValueError`` where ``conditions`` gives no dict, for a
        question about an unknown condition, and for a comparison of a recipe with itself."""
        recipes = self.conditions(size or self.size or current(), world)
        if not isinstance(recipes, Mapping):
            raise ValueError(
                f"conditions() of the study {self.name} gave a {type(recipes).__name__}: return a dict, name → recipe"
            )
        if "zero" in recipes:
            raise ValueError(
                f"a condition of the study {self.name} is called 'zero', which stands for no baseline: rename it"
            )
        for question in self.questions:
            method = recipes.get(question.method)
            others = question.baseline, *question.rivals
            for other in others:
                if method and recipes.get(other) == method:
                    raise ValueError(
                        f"the study {self.name} compares {question.method!r} with {other!r}, which is "
                        "the same recipe"
                    )
            unknown = {question.method, question.teacher, *others} - recipes.keys() - {"zero", ""}
            if self.measure is accuracies and unknown:
                raise ValueError(
                    f"a question of the study {self.name} names {min(unknown)!r}; its conditions are "
                    f"{', '.join(recipes)}"
                )
        return recipes

    def draw(
        self, world: int, folder: Path, size=None, workers: int | None = None, say=print
    ) -> None:
        """Train the missing runs of ``world``; write its rows into ``NAME.csv`` and the predictions on its test clips
        into ``NAME-WORLD.npz``, both in ``folder``. A stopped call continues where it stopped."""
        recipes = {condition: [recipe] for condition, recipe in self.recipes(world, size).items()}
        scores, columns = collect(recipes, workers=workers, say=say)
        runs = {condition: run for condition, (run,) in columns.items()}
        scores.save(folder / f"{self.name}-{world}.npz")
        rows = []
        for condition, value in self.measure(runs).items():
            note = runs.get(condition, next(iter(runs.values()))).provenance
            spent = note["cpu_seconds"] if condition in runs else 0.0
            made = note["data"], note["sources"], self.digest(), note["cpu"]
            rows.append((world, condition, value, spent, *made))
        table = self.rows(folder)  # read now, since a measurement may take hours
        rows += table[table.world != world].to_numpy().tolist()
        write_csv(folder / f"{self.name}.csv", pd.DataFrame(rows, columns=COLUMNS))

    def run(
        self, worlds: Sequence[int] = (), size=None, workers: int | None = None, say=print
    ) -> list[Answer]:
        """Draw the ``worlds`` into ``runs/studies/``; pass the answers to ``say``, a line each.

        Runs from other sources or clips are trained again, and rows are written anew. Raises ``ValueError`` where two
        worlds are the same.
        """
        size, folder = size or self.size or current(), paths.runs_dir() / "studies"
        drawn = set(worlds or self.worlds or range(size.seeds))
        first, *others = [self.recipes(world, size) for world in drawn]
        if first in others:
            raise ValueError(
                f"the study {self.name} has the same recipes in two worlds: give `world` to them as their seed"
            )
        for world in drawn:
            self.draw(world, folder, size, workers, say)
        table = folder / f"{self.name}.csv"
        answers = read_together(
            [Answer.read(question, table, drawn) for question in self.questions]
        )
        say("\n".join([*(f"{answer.question.asks} {answer}" for answer in answers), f"{table}"]))
        return answers


def run_all(scripts: Path, folder: Path, workers: int | None = None, say=print) -> None:
    """Draw all worlds of the studies in ``scripts/*.py`` that name their ``worlds`` into ``folder``. The outer loop is
    over the worlds in rising order, so that all questions have equally many. A world with rows is skipped. Raises
    ``ValueError`` where no study names its worlds; and, after all others, for those that cannot be drawn yet."""
    studies = [study for file in sorted(scripts.glob("*.py")) for study in studies_in(file)]
    draws = [(world, study) for study in studies for world in study.worlds]
    if not draws:
        raise ValueError(
            f"{scripts} holds no study that names its worlds: go to a clone of kdlab, or name a FILE.py"
        )
    left = {}
    for world, study in sorted(draws, key=itemgetter(0)):
        if world in set(study.rows(folder).world):
            continue
        say(f"{study.name}, world {world}")
        try:
            study.recipes(world)
        except ValueError as error:
            left[study.name] = f"{error}"
        else:
            study.draw(world, folder, workers=workers, say=say)
    if left:
        raise ValueError("; ".join(left.values()))


def studies_in(file: Path) -> list[Study]:
    """The studies in the Python ``file``. The file's folder is added to ``sys.path``, so that training processes find
    its classes; for a module of a package, the folder that holds the package is added. Raises ``ValueError`` for a
    broken file, and for two studies of one name."""
    file = file.resolve()
    name, place = file.stem, file.parent
    if not name.isidentifier() or name in sys.stdlib_module_names:
        raise ValueError(
            f"{file} cannot be imported by the name {name!r}: give it another, of letters, digits and _"
        )
    while (place / "__init__.py").is_file():
        name, place = f"{place.name}.{name}", place.parent
    sys.path.insert(0, str(place))
    try:
        module = importlib.import_module(name)
    except Exception as error:
        raise ValueError(
            f"{file} cannot be read as Python ({type(error).__name__}: {error}): mend it"
        ) from error
    if Path(module.__file__ or "").resolve() != file:
        raise ValueError(
            f"{file} has the name of another module, {module.__file__}: give it another name"
        )
    studies = {}
    for value in vars(module).values():
        if isinstance(value, Study) and studies.setdefault(value.name, value) is not value:
            raise ValueError(
                f"two studies in {file} are called {value.name}, and would share a table: rename one"
            )
    return list(studies.values())
