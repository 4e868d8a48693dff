"""The worlds, sizes and budgets of the ten questions, in one place, and how every condition is tuned.

A world is one seed of everything: the clips of `night`, the networks, the order of clips. Every network trains until
labels alone gain less than a point from twice the steps (studies/budgets.py).
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from operator import attrgetter
from pathlib import Path

import numpy as np
import pandas as pd

from kdlab.clips.windows import Window
from kdlab.measure.fidelity import agreement, nll
from kdlab.night import ACTIONS, Night
from kdlab.study import Study
from kdlab.study.question import rows_of
from kdlab.study.study import accuracies
from kdlab.system import paths
from kdlab.system.files import read_json, write_content, write_csv
from kdlab.train.loop import predict
from kdlab.train.preparing import batches
from kdlab.train.recipe import Recipe
from kdlab.train.runs import Run
from kdlab.train.settings import Settings
from kdlab.train.sizes import VARIETY, DetectionSize, ExitSize, GenerativeSize, Profile, RegimeSize

#: The worlds of the answers. Nothing is chosen in them, and none is drawn before the questions are committed.
WORLDS = tuple(range(211, 217))
#: Those that also draw accuracy against steps, and the shares of the budget.
CURVES, SHARES = WORLDS[:5], (Fraction(1, 4), Fraction(1, 2), Fraction(2))
#: The worlds in which all is tuned on validation clips, for the whole budget.
TUNED_IN = (190, 191)
#: Worlds for tuning and budgets have so many validation clips per class, and one test clip.
TUNING, TUNED_ON = range(190, 200), 50
FOLDER = paths.figures_dir() / "evidence"
#: A network has failed if its loss on the labels of its training clips stays above this many nats at its whole budget.
FITTED = 0.25
#: Half of what they learn is a random network's answers, which are far from the labels: their loss says nothing of that.
EXEMPT = "a random teacher"

_SMALL, _SEEDS = Window(12, 31, 28), len(WORLDS)
FROM_NOTHING = Profile(
    "world",
    Night(ACTIONS, (60, 1, 40), VARIETY),
    Settings(epochs=56, lr=8e-3),
    _SMALL,
    seeds=_SEEDS,
)
INTO_THE_DARK = RegimeSize(
    "world",
    Night(ACTIONS, (30, 1, 40), VARIETY),
    bright=(60, 1, 1),
    few=10,
    epochs=56,
    adapted=14,
    tuned=80,
    seeds=_SEEDS,
    window=_SMALL,
)
# Batches of 16 are as accurate as of 8, in a fifth less CPU time.
GENERATIVE = GenerativeSize(
    "world",
    (30, 1, 40),
    epochs=96,
    real_epochs=80,
    seeds=_SEEDS,
    window=_SMALL,
    batch_size=16,
)
DETECTION = DetectionSize("world", (20, 5, 12), (20.0, 30.0), epochs=80, seeds=_SEEDS)
EXITS = ExitSize(
    "world",
    per_class=(40, 10, 30),
    epochs=80,
    iframe_epochs=20,
    plain_epochs=80,
    exit_epochs=16,
    real_epochs=250,
    real_exit_epochs=100,
    draws=4,
    seeds=_SEEDS,
    rate=8e-3,
)
FLATNESS = replace(EXITS, epochs=60, iframe_epochs=30)
#: Condition → setting → the values that are tried beside its own; or the condition whose choice it shares.
Candidates = Mapping[str, Mapping[str, tuple] | str]


def note(name: str) -> dict[str, dict]:
    """A JSON file of :data:`FOLDER`; empty where there is none. ``questions``: what was written down of each question.
    ``redrawn``: study → world (as text) → for each attempt that failed there, its networks that did not fit."""
    file = FOLDER / f"{name}.json"
    return read_json(file) if file.exists() else {}


def write_note(name: str, content: dict[str, dict]) -> None:
    """Write what :func:`note` reads."""
    text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
    write_content(FOLDER / f"{name}.json", text)


def redrawn(study: str) -> dict[str, list]:
    """World (as text) → for each attempt that failed there, its networks that did not fit their training clips."""
    return note("redrawn").get(study, {})


def seed_of(world: int, study: str) -> int:
    """The seed of the students in ``world``; teachers and members of ensembles have the next ones (in detection the
    hundredth after it), so that no two worlds share one. A world of ``study`` that failed has another seed at its
    next attempt. Raises ``ValueError`` for a world of the answers before the questions are written down.
    """
    if world in WORLDS and study not in {asked["study"] for asked in note("questions").values()}:
        raise ValueError(
            f"world {world} of {study} is drawn once its questions are written down and committed: call "
            "python studies/register.py first"
        )
    return 1000 * world + 100 * len(redrawn(study).get(str(world), ()))


@dataclass(frozen=True)
class Evidence(Study):
    """A study of the answers. In :data:`FOLDER`, a world in which a network did not fit its training clips is drawn
    again, all of it, with the next seed, twice at most; the rows of failed attempts are kept in ``failed.csv``."""

    worlds: Sequence[int] = WORLDS

    def draw(self, world: int, folder: Path, *options, **named) -> None:
        earlier = len(redrawn(self.name).get(str(world), ()))
        for attempt in range(earlier, 3):
            super().draw(world, folder, *options, **named)
            table = self.rows(folder)
            rows, others = table[table.world == world], table[table.world != world]
            failed = unfitted(rows)
            if failed.empty or attempt == 2 or folder != FOLDER:
                return
            # out of the table first: a stop during the next attempt must not leave them there
            write_csv(folder / f"{self.name}.csv", others)
            kept = folder / "failed.csv"
            rows = rows.assign(study=self.name, attempt=attempt)
            rows.to_csv(kept, mode="a", header=not kept.exists(), index=False)
            every = note("redrawn")
            attempts = every.setdefault(self.name, {}).setdefault(str(world), [])
            attempts.append(sorted(failed.condition.str.removesuffix(LOSS)))
            write_note("redrawn", every)


def unfitted(rows: pd.DataFrame) -> pd.DataFrame:
    """Those of ``rows`` that say that a network, at its whole budget or more, did not fit its training clips."""
    names = rows.condition.str
    whole = names.endswith(LOSS) & ~names.contains(f"^{EXEMPT}|, ×1/|labels' time")
    return rows[whole & (rows.value > FITTED)]


#: How the rows end that hold a network's loss on its training clips, and its agreement there with its teacher.
LOSS, AGREES = ": training loss", ": training agreement"


#: What a network answers to all its training clips, each seen once as in tests: logits and labels.
Answers = tuple[np.ndarray, np.ndarray]


def in_training(runs: Mapping[str, Run]) -> dict[str, Answers]:
    """What each network answers to its training clips."""
    answers = {}
    for name, run in runs.items():
        seen = batches(run.recipe, "train", {"student": run.recipe.view}).evaluation(64)
        logits, labels, _ = predict(run.net(), seen, "student")
        answers[name] = logits.numpy(), labels.numpy()
    return answers


def learnt(answers: Mapping[str, Answers]) -> dict[str, float]:
    """The loss of each network on its training clips, in nats."""
    return {name + LOSS: nll(*both) for name, both in answers.items()}


def agreed(answers: Mapping[str, Answers], taught: Mapping[str, str]) -> dict[str, float]:
    """In percent, how often each student gives its teacher's class on training clips; ``taught`` maps one to the
    other."""
    return {
        one + AGREES: agreement(answers[one][0], answers[other][0]) for one, other in taught.items()
    }


def for_share(recipe: Recipe, share: Fraction | float) -> Recipe:
    """The recipe with a ``share`` of its epochs; its teacher and its start keep theirs."""
    return changed(recipe, {"settings.epochs": round(share * recipe.settings.epochs)})


def at_shares(measured: pd.DataFrame, drawn: tuple[str, ...]) -> dict[str, pd.DataFrame]:
    """Condition → what was measured of it: a row for each world, a column for each share of the budget."""
    ends = {share: f", ×{share}" for share in SHARES} | {Fraction(1): ""}
    return {
        name: pd.DataFrame({share: measured[name + ends[share]] for share in sorted(ends)})
        for name in drawn
    }


def clips(night: Night, world: int) -> Night:
    """The clips of ``world``. Where something is tuned, validation clips stand in place of test clips."""
    counts = night.per_class
    if world in TUNING:
        counts = counts[0], TUNED_ON, 1
    return replace(night, seed=world, per_class=counts)


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


#: Condition → accuracy on validation clips in percent.
on_validation = partial(accuracies, split="val")


def own(candidates: Candidates) -> dict[str, Mapping[str, tuple]]:
    """The conditions that are tuned themselves, and what they try."""
    return {name: tries for name, tries in candidates.items() if not isinstance(tries, str)}


def label(condition: str, path: str, value: float) -> str:
    """The name of a condition with another value, in the table of a tuning."""
    return f"{condition}, {path.rpartition('.')[2]} {value:g}"


def tuning(name: str, base: Callable, candidates: Candidates, size, measure=on_validation) -> Study:
    """The study that tunes the study ``name``: each condition as it is, and with one setting changed at a time."""

    def conditions(size, world: int) -> dict[str, Recipe]:
        recipes, every = base(size, world), {}
        for condition, tries in own(candidates).items():
            recipe = recipes[condition]
            every[condition] = recipe
            for path, values in tries.items():
                for value in values:
                    every[label(condition, path, value)] = changed(recipe, {path: value})
        return every

    return Study(f"{name}_tuning", conditions, size=size, measure=measure, worlds=TUNED_IN)


def tried(name: str, condition: str, recipe: Recipe, tries: Mapping[str, tuple]) -> pd.DataFrame:
    """What was tried for a condition: a row for each setting and value, ``usual`` or not, with its mean in all worlds of
    the tuning, NaN while one is missing; ``edge`` where the best value of the setting is its lowest or its highest."""
    drawn = rows_of(FOLDER / f"{name}_tuning.csv").groupby("condition").value
    means = drawn.mean()[drawn.count() == len(TUNED_IN)]
    rows = []
    for path, values in tries.items():
        usual = attrgetter(path)(recipe)
        names = {usual: condition} | {v: label(condition, path, v) for v in values}
        rows += [
            (path, value, value == usual, means.get(names[value], np.nan))
            for value in sorted(names)
        ]
    table = pd.DataFrame(rows, columns=["path", "value", "usual", "mean"])
    ranked = table["mean"].fillna(-1) + 1e-6 * table.usual  # the usual value wins a tie
    best = ranked.groupby(table.path).transform("idxmax") == table.index
    ends = table.groupby("path").value
    inside = table.value.between(ends.transform("min"), ends.transform("max"), inclusive="neither")
    return table.assign(best=best & table["mean"].notna(), edge=best & ~inside)


def with_choices(
    name: str, base: Callable, candidates: Candidates, drawn: tuple[str, ...] = ()
) -> Callable:
    """The conditions of ``base``, each setting with its best value; as they are before anything was tuned. Those of
    ``drawn`` are also there at other budgets, in the worlds that draw accuracy against steps."""

    def conditions(size, world: int) -> dict[str, Recipe]:
        recipes = base(size, world)
        choices = {}
        for condition, tries in own(candidates).items():
            table = tried(name, condition, recipes[condition], tries)
            best = table[table.best]
            choices[condition] = dict(zip(best.path, best.value, strict=True))
        for condition, tries in candidates.items():
            shared = tries if isinstance(tries, str) else condition
            recipes[condition] = changed(recipes[condition], choices[shared])
        return recipes | {
            f"{condition}, ×{share}": for_share(recipes[condition], share)
            for condition in drawn
            for share in SHARES
            if world in CURVES
        }

    return conditions
