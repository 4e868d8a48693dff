"""Which starts count: networks of bright clips are tried in the order of their seeds until enough are good.

A start that knows little of bright clips has nothing to bring into the dark. It counts when its *bright validation*
accuracy reaches :data:`MARK`, which is known before any dark clip is looked at. Those that do not count are listed with
the others in the table, from which the study of the regime knows its seeds.
"""

from itertools import count, islice

import pandas as pd

from kdlab import paths
from kdlab.papers.dual_light.regimes import NORMS, start
from kdlab.study import FIRST, Outcome, Part, Study, load_rows
from kdlab.system.processes import available_cores
from kdlab.train.many import obtain_all
from kdlab.train.sizes import RegimeSize, current

#: Bright validation accuracy in percent from which a start counts; at smoke size every one does.
MARK = 80.0
#: The same at full variety, of which these small networks come to know 60 % (docs/log.md).
FULL_MARK = 50.0
#: So many times as many are tried as are wanted, at most.
TRIED = 3
#: How many are wanted for the provisional cells of the regime's study, and for its earlier evidence.
FEW_SEEDS = 3
STUDY = current("study", RegimeSize)


def mark(size: RegimeSize, variety: float = 0.25) -> float:
    """What a start of this size has to reach on bright clips of this variety."""
    if size.name == "smoke":
        return 0.0
    return FULL_MARK if variety == 1 else MARK


def counting(size: RegimeSize, norm: str, wanted: int, first: int = FIRST, variety: float = 0.25) -> list[int]:
    """The first ``wanted`` seeds from ``first`` on, without those whose start is known not to count."""
    poor = {int(row.seed) for row in _known(size).itertuples()
            if float(row.value) < mark(size, variety) and row.recipe == start(size, norm, int(row.seed), variety).name}
    return list(islice((seed for seed in count(first) if seed not in poor), wanted))


def _known(size: RegimeSize) -> pd.DataFrame:
    """The table of the starts of this size; empty where it is not made yet."""
    try:
        if size == STUDY:
            return load_rows(study.name)
        return pd.read_csv(paths.runs_dir() / "studies" / f"{study.name}-{size.name}" / f"{study.name}.csv")
    except FileNotFoundError:
        return pd.DataFrame(columns=["seed", "value", "recipe"])


def _rows(outcome: Outcome) -> list[dict]:
    """Try the part's recipes, as many at once as there are cores, until enough count; a row for each that was tried."""
    table, recipes, size = [], outcome.part.recipes["start"], outcome.size
    wanted, good, least = len(recipes) // TRIED, 0, mark(size, recipes[0].data.night.variety)
    stale, at_once = "refuse" if outcome.evidence.committed else "retrain", available_cores()
    for k in range(0, len(recipes), at_once):
        for run in obtain_all(recipes[k : k + at_once], pretrained=False, stale=stale, say=lambda _: None):
            found = run.predictions("val").accuracy
            good += found >= least
            about = dict(condition="start", seed=run.recipe.seed, recipe=run.folder.name)
            table += outcome.numbers(("val_accuracy", found, "%"), **about)
            outcome.say(f"{outcome.part.data}, seed {run.recipe.seed}: {found:.1f} % of bright validation clips"
                        f"{'' if found >= least else ', does not count'}")
        if good >= wanted:
            return table
    outcome.say(f"{outcome.part.data}: {good} of {len(recipes)} starts count, {wanted} are wanted")
    return table


def _parts(size: RegimeSize, seeds: int) -> list[Part]:
    few = min(seeds, FEW_SEEDS)
    asked = {norm: (norm, seeds, FIRST, 0.25) for norm in NORMS} | {"bn_earlier": ("bn", few, 0, 0.25)}
    asked |= {f"{norm}_full": (norm, few, FIRST, 1.0) for norm in NORMS}
    return [Part(data, {"start": [start(size, norm, first + k, variety) for k in range(TRIED * wanted)]}, file="",
                 rows=_rows, to_the_end=False) for data, (norm, wanted, first, variety) in asked.items()]


study = Study("regime_starts", _parts, size=STUDY, committed=True)
