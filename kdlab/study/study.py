"""A study: conditions × seeds → predictions → paired differences → verdicts, and the two files that store them."""

import importlib
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from kdlab.measure.paired import verdict
from kdlab.study.scores import Scores, collect
from kdlab.system import paths
from kdlab.system.files import write_atomically
from kdlab.train.recipe import Recipe
from kdlab.train.sizes import current


@dataclass(frozen=True)
class Claim:
    """The claim that ``method`` is better than ``rival``. A control explains the difference if it is as good as
    ``method`` (see :func:`kdlab.measure.paired.verdict`)."""

    says: str
    method: str
    rival: str
    controls: Sequence[str] = ()


@dataclass(frozen=True)
class Study:
    """A study. ``conditions(size, seed)`` gives one recipe for each condition, all with that seed.

    ``size`` has a ``name`` and a number of ``seeds``; the default is the profile of ``$KDLAB_PROFILE``, or else demo.
    ``unit`` is the test unit of intervals: ``"clip"``, or ``"group"`` for all clips of one person or place. Raises
    ``ValueError`` for a ``name`` that is not an identifier.
    """

    name: str
    conditions: Callable[[object, int], dict[str, Recipe]]
    claims: Sequence[Claim] = ()
    size: object = None
    unit: str = "clip"

    def __post_init__(self):
        if not self.name.isidentifier():
            raise ValueError(f"a study's name is a file's name: {self.name!r} may have letters, digits and _ only")

    def recipes(self, size=None, seeds: int | None = None) -> dict[str, list[Recipe]]:
        """Condition → its recipes, one per seed. Raises ``ValueError`` for a claim about an unknown condition."""
        size = size or self.size or current()
        each = [self.conditions(size, seed) for seed in range(seeds or size.seeds)]
        for claim in self.claims:
            if unknown := {claim.method, claim.rival, *claim.controls} - each[0].keys():
                raise ValueError(f"a claim of the study {self.name} names {min(unknown)!r}; its conditions are "
                                 f"{', '.join(each[0])}")
        return {condition: [recipes[condition] for recipes in each] for condition in each[0]}

    def run(self, size=None, seeds: int | None = None, workers: int | None = None, say=print) -> Scores:
        """The scores of the study. Trains the missing runs, writes ``runs/studies/NAME.csv`` and ``.npz``, and passes
        the verdicts to ``say``.

        A stopped study continues where it stopped. Runs from other sources or clips are trained again.
        """
        scores, runs = collect(self.recipes(size, seeds), unit=self.unit, stale="retrain", workers=workers, say=say)
        rows = [dict(study=self.name, condition=condition, seed=run.recipe.seed, accuracy=run.predictions().accuracy,
                     run=run.folder.name) for condition, column in runs.items() for run in column]
        table = paths.runs_dir() / "studies" / f"{self.name}.csv"
        table.parent.mkdir(parents=True, exist_ok=True)
        scores.save(table.with_suffix(".npz"))
        write_atomically(table, lambda path: pd.DataFrame(rows).to_csv(path, index=False))
        if self.claims:
            say(self.verdicts(scores).to_string(index=False))
        say(str(table))
        return scores

    def verdicts(self, scores: Scores) -> pd.DataFrame:
        """A row for each claim: the paired difference in points with half of its 95 % interval, and the verdict."""
        rows = []
        for claim in self.claims:
            effect = scores.effect(claim.method, claim.rival)
            controls = {name: scores.effect(claim.method, name) for name in claim.controls}
            rows.append((claim.says, f"{claim.method} − {claim.rival}", str(effect), effect.seeds, effect.units,
                         verdict(effect, controls)))
        return pd.DataFrame(rows, columns=["claim", "comparison", "points", "seeds", "units", "verdict"])


def study_in(file: Path) -> Study:
    """The study in the Python ``file``. The file's folder is added to ``sys.path``, so that training processes find its
    classes; for a module of a package, the folder that holds the package is added. Raises ``ValueError`` for a missing
    or broken file, and for a file without exactly one study."""
    file = file.resolve()
    if not file.is_file():
        raise ValueError(f"{file}: there is no such file; name a Python file with a kdlab.study.Study in it")
    name, place = file.stem, file.parent
    if not name.isidentifier() or name in sys.stdlib_module_names:
        raise ValueError(f"{file} cannot be imported by the name {name!r}: give it another, of letters, digits and _")
    while (place / "__init__.py").is_file():
        name, place = f"{place.name}.{name}", place.parent
    sys.path.insert(0, str(place))
    try:
        module = importlib.import_module(name)
    except Exception as error:
        raise ValueError(f"{file} cannot be read as Python ({type(error).__name__}: {error}): mend it") from error
    if Path(module.__file__ or "").resolve() != file:
        raise ValueError(f"{file} has the name of another module, {module.__file__}: give it another name")
    studies = list({id(each): each for each in vars(module).values() if isinstance(each, Study)}.values())
    if len(studies) != 1:
        raise ValueError(f"{file} has {len(studies)} Study objects, where one is wanted")
    return studies[0]
