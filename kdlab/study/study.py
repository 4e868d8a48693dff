"""A study as one object: what it trains, on which data and seeds, its rows, predictions and verdicts."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from kdlab import paths
from kdlab.study.claims import LEDGER, UNREAD, Claim
from kdlab.study.committed import stale_predictions
from kdlab.study.evidence import Evidence, read_rows, replaces
from kdlab.study.parts import Outcome, Part, seed_after_seed
from kdlab.study.register import Register, described
from kdlab.study.scores import Scores, collect, pooled, same_seeds
from kdlab.study.shards import Shards
from kdlab.study.table import lies, load_rows, scatter, three_seed_range
from kdlab.system import ranks
from kdlab.system.engines import Engine
from kdlab.system.launch import by_itself
from kdlab.system.processes import available_cores
from kdlab.train.many import chains_first, in_order, obtain_all
from kdlab.train.recipe import Recipe
from kdlab.train.runs import Run, find
from kdlab.train.sizes import current

#: Columns of ``pretrained/demo.csv``: the numbers of the demo runs that ``tools/publish.py`` made the committed ones.
NUMBERS = ["study", "condition", "value", "weights"]


@dataclass(frozen=True)
class Study:
    """A whole study; :mod:`kdlab.study` has one on a page.

    ``name`` names its table and files. ``parts(size, seeds)`` gives its :class:`Part` s at that size, ``size`` is the
    one it usually has (anything with a ``name`` and ``seeds``; default: the profile of ``$KDLAB_PROFILE``, else demo),
    ``seeds`` its usual number of seeds at that size (default: the size's).

    ``claims`` are judged on every data set that has their conditions; those with a plan are confirmed on data of their
    own, once they are registered (:mod:`kdlab.study.register`). ``opened(file)`` reads predictions. ``lines(found,
    rows)`` are more to tell, of data set → scores and the table. ``yours()`` is the part whose demo-size runs a user
    also makes, ``titles`` how its conditions read, and ``metric`` the rows that :meth:`compared` holds against
    ``number(runs, condition)``, percent. ``committed``: its outcome at ``size`` lies in ``figures/`` (of yours: in
    ``$KDLAB_FIGURES``), where claims can be registered. ``seedwise``: every part can be evaluated of each seed alone,
    so that this outcome is made shard after shard (:mod:`kdlab.study.shards`).
    """

    name: str
    parts: Callable[[object, int], Sequence[Part]]
    size: object = None
    seeds: int | None = None
    claims: Sequence[Claim] = ()
    opened: Callable[[Path], Scores] = Scores.load
    lines: Callable[[dict[str, Scores], pd.DataFrame], Sequence[str]] = lambda found, rows: ()
    yours: Callable[[], Part] | None = None
    titles: Mapping[str, str] = field(default_factory=dict)
    metric: str = "accuracy"
    number: Callable[[dict[str, list[Run]], str], float] = lambda runs, condition: 100 * float(
        np.mean([run.predictions().correct.mean() for run in runs[condition]]))
    committed: bool = False
    seedwise: bool = False

    def __post_init__(self):
        if not self.name.isidentifier():
            raise ValueError(f"a study's name is part of file names: {self.name!r} may have letters, digits and _ only")

    def sized(self, word: str):
        """The size called ``word``, of the kind that it usually has."""
        return current(word, type(self.size))

    def chosen(self, size=None, seeds: int | None = None, only: Sequence[str] = ()) -> list[Part]:
        """The parts on the data sets in ``only`` (none named: all). Raises ``ValueError`` before anything is trained
        where a data set is unknown, conditions differ in their seeds, a claim's condition is nowhere, or two parts have
        one file."""
        size = self._size(size)
        if lacking := [name for name in ("name", "seeds") if not hasattr(size, name)]:
            raise ValueError(f"the size of the study {self.name}, {size!r}, has no {lacking[0]}: give it one, or take "
                             "a profile of kdlab.train.sizes")
        if not callable(self.parts):
            raise ValueError(f"parts of the study {self.name} must be a function of size and seeds, not {self.parts!r}")
        parts = list(self.parts(size, self._seeds(size, seeds)))
        if not parts:
            raise ValueError(f"parts() of the study {self.name} gives nothing: return at least one kdlab.study.Part")
        if wrong := [part for part in parts if not isinstance(part, Part)]:
            raise ValueError(f"parts() of the study {self.name} must give kdlab.study.Part s, not {wrong[0]!r}")
        sets = list(dict.fromkeys(part.data for part in parts))
        if unknown := sorted(set(only) - set(sets)):
            raise ValueError(f"{self.name} has no data set {unknown[0]!r}; it has {', '.join(sets)}")
        for part in (part for part in parts if part.gather is collect and part.recipes):
            same_seeds(part.recipes)
        files = [file for part in parts if (file := part.predictions(self.name))]
        if twice := {file for file in files if files.count(file) > 1}:
            raise ValueError(f"two parts of the study {self.name} keep their predictions as {min(twice)}: give one "
                             "another file=")
        sets = [(part.data, part.fold) for part in parts if part.predictions(self.name)]
        if twice := {place for place in sets if sets.count(place) > 1}:
            data, fold = min(twice)
            where = f"{data}, fold {fold}" if fold else data
            raise ValueError(f"two parts of the study {self.name} keep predictions of {where}, and one alone would be "
                             "read: give one another data=")
        known = {condition for part in parts for condition in part.recipes}
        if all(part.answers is Part.answers and part.whole is Part.whole for part in parts):
            for claim in (claim for claim in self.claims if not claim.statistic):
                if lacking := claim.lacking(known) | ({*claim.controls} - known):
                    raise ValueError(f"claim {claim.claim} of the study {self.name} names {min(lacking)!r}, which it "
                                     f"does not train; it trains {', '.join(sorted(known)) or 'nothing'}")
        return [part for part in parts if not only or part.data in only]

    def trainings(self, size=None, seeds: int | None = None, only: Sequence[str] = (),
                  final: bool = False) -> list[Recipe]:
        """All that :meth:`run` trains, each once and seed after seed, so that an interrupted study has whole seeds."""
        return seed_after_seed([part for part in self.chosen(size, seeds, only) if final or not part.final])

    def stale(self) -> dict[str, str]:
        """Committed predictions, and shards, that today's sources would not give: file → reason."""
        found = stale_predictions({file: part.recipes for part in self.chosen(self.size, 1)
                                   if (file := part.predictions(self.name))})
        shards = self.shards()
        there = [k for k in range(shards.count) if shards.place(k).is_dir()] if shards else []
        return found | {str(shards.place(k)): why for k in there if (why := shards.lacking(k))}

    def shards(self, size=None, seeds: int | None = None, only: Sequence[str] = ()) -> Shards | None:
        """The shards by which it is run; None where it is run whole: at another size than the committed one, with fewer
        seeds than are committed, or of some data sets only."""
        if not (self.seedwise and self.committed) or only or self._size(size) != self.size:
            return None
        parts = tuple(self.chosen(size, seeds))
        if not replaces(self.name, _counts(parts)):
            return None
        sets, register = {part.data for part in parts}, Register()
        planned = [claim for claim in self.claims if claim.plan and claim.plan.data in sets and not claim.unplanned()]
        entries = {claim.claim: register.find(described(self, claim)) for claim in planned}
        return Shards(self.name, parts, {name: entry["digest"] for name, entry in entries.items() if entry})

    def run(self, size=None, seeds: int | None = None, *, only: Sequence[str] = (), final: bool = False,
            shards: Sequence[int] | None = None, workers: int | None = None, engine: Engine | None = None,
            say=print) -> dict[str, Scores]:
        """Run (or go on with) the study and write its evidence; data set → scores, its folds pooled.

        ``only`` names some of the data sets: nothing else is trained, and the rows of the others stay. Stale runs are
        trained again, but those of kdlab's own studies, which take hours, are refused (``runs.StaleRun``). An
        ``engine`` trains on other machines (:func:`kdlab.train.many.obtain_all`). Raises ``FileNotFoundError`` where
        real clips are needed and missing.

        Parts that are ``final`` are left out unless this is the ``final`` reading of their clips. Without them the
        evidence is not whole, so it is not the committed one.

        A ``seedwise`` study writes its committed evidence shard after shard, and trains nothing for those that are
        there; ``shards`` are some to make (default: all). Until the last is there it returns nothing.
        """
        size, every = self._size(size), self.chosen(size, seeds, only)
        parts = [part for part in every if final or not part.final]
        whole = len(parts) == len(every)
        say = say if ranks.first() else lambda line: None
        if not whole:
            left = dict.fromkeys(f"fold {p.fold} of {p.data}" if p.fold else p.data for p in every if p not in parts)
            say(f"{self.name}: {', '.join(left)} left out, which finished recipes alone may read (--final)")
        if not parts:
            raise ValueError(f"all that was asked of the study {self.name} is for finished recipes: give --final")
        for part in parts:
            if part.real:
                paths.real_set(part.real)
        evidence = Evidence.of(self.name, size, _counts(parts), whole=whole and self.committed and size == self.size,
                               say=say)
        kept, by_seed = evidence.kept(only), self.shards(size, seeds, only) if whole else None
        how = dict(pretrained=False, stale="refuse" if self.committed else "retrain", workers=workers, engine=engine)
        if shards is not None and (not by_seed or not {*shards} <= {*range(by_seed.count)}):
            raise ValueError(f"the study {self.name} has no shards {', '.join(map(str, shards))}: " + (
                f"they are 0 to {by_seed.count - 1}" if by_seed else "so asked for it is run whole"))
        if by_seed:
            return self._shard_after_shard(by_seed, shards, evidence, how, say)
        if self.committed and size == self.size and not evidence.committed:  # fewer seeds, or sets, are a look as well
            Register().under(self, {part.data for part in parts}, say)
        table = [*kept, *self.registered(evidence, parts, say)]
        obtain_all(seed_after_seed([part for part in parts if part.to_the_end]), **how, say=say)
        if not ranks.first():  # of several processes that have trained together
            return {}
        with by_itself():
            if evidence.committed:
                Shards(self.name, tuple(parts), {}).forget()
            found = self._evaluated(size, parts, evidence, table, workers, say)
            self._told(found, evidence, say)
        return found

    def _shard_after_shard(self, shards: Shards, some: Sequence[int] | None, evidence: Evidence, how: dict,
                           say) -> dict[str, Scores]:
        """Make those of ``some`` ``shards`` that are not there, and the ``evidence`` of all once they are."""
        if shards.merged():
            shards.clear()
            say(f"{self.name}: all of its evidence is there, of today's sources; nothing is trained")
            return self.scores()
        why = {k: shards.lacking(k) for k in range(shards.count)}
        todo = [k for k in (why if some is None else dict.fromkeys(some)) if why[k]]
        if done := [k for k in why if not why[k]]:
            say(f"{self.name}: {len(done)} of {shards.count} shards are there: {', '.join(map(str, done))}")
        for k in todo:
            if shards.place(k).is_dir():
                say(f"{shards.place(k)} is made again: {why[k]}")
        self.registered(evidence, shards.parts, say)  # refuses before anything is trained
        for group in shards.together(todo, how["workers"] or available_cores()):
            parts = [part for k in group for part in shards.cut(k) if part.to_the_end]
            if recipes := in_order(seed_after_seed(parts)):
                obtain_all(chains_first(recipes, (), {}), **how, say=say)
            if ranks.first():
                with by_itself():
                    for k in group:
                        say(f"{self.make_shard(shards, k, how['workers'], say)} is there: shard {k} of "
                            f"{shards.count} of {self.name}; commit it")
        if not ranks.first():
            return {}
        if left := [k for k in range(shards.count) if shards.lacking(k)]:
            say(f"{self.name}: {len(left)} of {shards.count} shards are left: {', '.join(map(str, left))}")
            return {}
        with by_itself():
            shards.merge(evidence, self.opened)
            shards.clear()
            found = self.scores()
            self._told(found, evidence, say)
        return found

    def make_shard(self, shards: Shards, k: int, workers: int | None = None, say=print) -> Path:
        """Evaluate the ``k``-th seed, whose trainings are there, and keep what it says as a shard; its folder."""
        parts, evidence = shards.cut(k), shards.begin(k)
        table = self.registered(evidence, shards.parts, say)
        self._evaluated(self._size(None), parts, evidence, table, workers, say, k)
        shards.end(k, evidence)
        return shards.place(k)

    def _evaluated(self, size, parts, evidence: Evidence, table: list, workers, say,
                   shard: int | None = None) -> dict[str, Scores]:
        """Write the evidence of ``parts``, whose rows are added to ``table``; data set → scores."""
        sets: dict[str, dict[str, Outcome]] = {}
        outcomes = []
        for part in parts:
            outcome = self._outcome(part, size, evidence, workers, say, shard)
            table += part.rows(outcome)
            outcomes.append(outcome)
            sets.setdefault(part.data, {}).setdefault(part.fold, outcome)
        found = {}
        for data, folds in sets.items():
            first, *more = folds.values()
            if first.scores is None:
                continue
            found[data] = pooled([first.scores, *(o.scores for o in more)]) if more else first.scores
            together = replace(first, part=replace(first.part, fold=""), scores=found[data], folds=(first, *more))
            table += first.part.whole(together)
        evidence.save_rows(table)
        for outcome in (o for o in outcomes if o.part.publish and o.first):
            evidence.publish(column[0] for column in outcome.runs.values())
        return found

    def _told(self, found: dict[str, Scores], evidence: Evidence, say) -> None:
        """Say the verdicts, the study's own lines, and where its table is."""
        for data, scores in found.items():
            if len(verdicts := self.verdicts(scores)):
                say(f"{data}\n{verdicts.to_string(index=False)}")
        if planned := [c.claim for c in self.claims if c.plan and c.plan.data in found and not evidence.committed]:
            say(f"{', '.join(planned)}: not registered before these runs, which decide nothing (docs/using.md)")
        table = evidence.folder / f"{self.name}.csv"
        for line in (*self.lines(found, read_rows(table)), str(table)):
            say(line)

    def scores(self, only: Sequence[str] = ()) -> dict[str, Scores]:
        """Data set → what the committed runs say, folds pooled, of the sets in ``only`` (default: all) that are all
        there."""
        return {data: pooled([self.opened(file) for file in folds]) for data, folds in self._predictions().items()
                if (not only or data in only) and all(file.is_file() for file in folds)}

    def scores_of(self, data: str) -> Scores:
        """:meth:`scores` of the one set ``data``. Raises ``FileNotFoundError`` where it is not all there."""
        if (found := self.scores([data]).get(data)) is None:
            raise FileNotFoundError(f"the study {self.name} has no committed predictions of {data!r}: run `kdlab study "
                                    f"{self.name}` to make them")
        return found

    def newest(self, data: str) -> tuple[str, Scores]:
        """The name and the scores of ``data`` on test clips that nobody had read (``…_fresh``) where they are all
        there, else on its own. Raises ``FileNotFoundError`` where neither is."""
        fresh = data + UNREAD
        found = self.scores([fresh]).get(fresh)
        return (fresh, found) if found else (data, self.scores_of(data))

    def files(self, data: str) -> list[Path]:
        """The committed files with what is known of the set ``data``: the study's table, and those of predictions."""
        return [paths.figures_dir() / f"{self.name}.csv", *self._predictions().get(data, [])]

    def _predictions(self) -> dict[str, list[Path]]:
        folder = paths.figures_dir() / "predictions"
        return {data: [folder / f"{name}.npz" for name in names] for data, names in self._kept_as.items()}

    @cached_property
    def _kept_as(self) -> dict[str, list[str]]:
        """Data set → names of its files of predictions. Recipes are made for it, which a board of claims would wait
        for a hundred times."""
        names: dict[str, list[str]] = {}
        for part in self.chosen(self.size, 1):
            if name := part.predictions(self.name):
                names.setdefault(part.data, []).append(name)
        return names

    def verdicts(self, scores: Scores) -> pd.DataFrame:
        """A row for each of the claims whose conditions ``scores`` knows."""
        return pd.DataFrame([claim.judged(scores) for claim in self.claims
                             if not claim.statistic and not claim.lacking(scores.recipes)],
                            columns=LEDGER)

    def demo(self) -> pd.DataFrame:
        """A row for each condition of ``yours`` whose demo-size runs are all there: ``condition``, its number
        (``value``), and a hash of its ``weights``."""
        part = self.yours()
        runs = {c: [find(recipe, pretrained=False) for recipe in column] for c, column in part.recipes.items()}
        if any(None in each for each in runs.values()):
            return pd.DataFrame(columns=NUMBERS)
        return pd.DataFrame([(self.name, c, self.number(runs, c), _weights(runs[c])) for c in runs], columns=NUMBERS)

    def compared(self) -> list[str]:
        """A line for each condition: today's demo-size number is the committed one where its runs have the committed
        bits, and lies in the range of the committed runs, or outside, where they have others."""
        if self.yours is None:
            return []
        part, table, lines = self.yours(), load_rows(self.name), []
        table = table[(table.data == part.data) & (table.metric == self.metric) & table.condition.isin(part.recipes)]
        columns = {c: rows.value.to_numpy(float) for c, rows in table.groupby("condition", sort=False)}
        columns = {c: column for c, column in columns.items() if len(column) > 2}  # of fewer runs there is no range
        today, spread = self.demo().set_index("condition"), scatter(columns.values())
        file = paths.pretrained_dir() / "demo.csv"
        known = pd.read_csv(file) if file.is_file() else pd.DataFrame(columns=NUMBERS)
        known = known[known.study == self.name].set_index("condition")
        for condition, column in columns.items():
            title = f"{self.name}, {self.titles.get(condition, condition)}"
            if condition not in today.index:
                lines.append(f"{title}: not trained here yet")
                continue
            value = today.value[condition]
            if condition in known.index and known.weights[condition] == today.weights[condition]:
                right = abs(value - known.value[condition]) < 0.05
                lines.append(f"{title}: your {value:.1f} is {'' if right else 'NOT '}the committed "
                             f"{known.value[condition]:.1f}, of the same bits")
            else:
                lines.append(f"{title}: your {lies(value, *three_seed_range(column, part.seeds, spread))}")
        return lines

    def _size(self, size):
        return size or self.size or current()

    def _seeds(self, size, seeds: int | None) -> int:
        return seeds or (self.seeds if size == self._size(None) else None) or size.seeds

    def registered(self, evidence: Evidence, parts: Sequence[Part], say=print) -> list[dict]:
        """A row for each claim that ``parts`` confirm, with the digest of its entry in the register; none where the
        evidence is not the committed one. Raises as :meth:`Register.under`."""
        sets = {part.data for part in parts}
        if not evidence.committed or not any(claim.plan and claim.plan.data in sets for claim in self.claims):
            return []
        found, data = Register().under(self, sets, say), {claim.claim: claim.plan for claim in self.claims}
        return [dict(study=self.name, data=data[name].data, condition=name, seed="", fold="", metric="registered",
                     value=1, unit="1", recipe=digest) for name, digest in found.items()]

    def _outcome(self, part: Part, size, evidence: Evidence, workers: int | None, say, shard: int | None) -> Outcome:
        scores, runs = None, {}
        if part.recipes and part.to_the_end:
            scores, runs = part.gather(part.recipes, unit=part.unit, workers=workers, say=lambda _: None)
            if part.on is not None:
                scores = replace(part.asked(runs, part.on, unit=part.unit), seeds=scores.seeds)
            scores = part.answers(scores, runs)
            scores = replace(scores, logits={}) if shard else scores  # only the first seed's are kept
            if file := part.predictions(self.name):
                scores.save(evidence.file(file))
        return Outcome(self.name, size, part, scores, runs, evidence, say, shard=shard)


def _counts(parts: Sequence[Part]) -> dict[str, int]:
    """How many seeds each data set has."""
    return {data: max(part.seeds for part in parts if part.data == data) for data in {p.data for p in parts}}


def _weights(runs: Sequence[Run]) -> str:
    """One hash of the weights of all ``runs``."""
    return hashlib.sha256(" ".join(run.provenance["weights"] for run in runs).encode()).hexdigest()[:16]
