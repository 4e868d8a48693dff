"""A study as one object: what it trains, on which data and seeds, its rows, predictions and verdicts."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from kdlab import paths
from kdlab.evidence import Evidence
from kdlab.many import obtain_all
from kdlab.measure.accuracy import expected_calibration_error
from kdlab.measure.paired import verdict
from kdlab.measure.transfer import mean_recall
from kdlab.profiles import current
from kdlab.recipe import Recipe
from kdlab.runs import Run, find
from kdlab.study.committed import stale_predictions
from kdlab.study.scores import Scores, collect, pooled, same_seeds, tested
from kdlab.study.table import lies, load_rows

__all__ = ["LEDGER", "Claim", "Outcome", "Part", "Study", "beside", "by_condition", "flat"]

#: Columns of a table of verdicts.
LEDGER = ["claim", "says", "comparison", "effect", "verdict"]


@dataclass(frozen=True)
class Outcome:
    """What a :class:`Part` found, or a whole data set: then its ``folds`` are those that were pooled to ``scores``.

    ``scores`` is ``None`` where nothing is trained; ``runs``: condition → one a seed (of a data set: the first fold's).
    """

    study: str
    size: object
    part: "Part"
    scores: Scores | None
    runs: dict[str, list[Run]]
    evidence: Evidence
    say: Callable[[str], None]
    folds: tuple["Outcome", ...] = ()

    def row(self, **cells) -> dict:
        """A tidy row of this study, data set and fold, with ``cells``."""
        return dict(study=self.study, data=self.part.data, seed="", fold=self.part.fold, recipe="") | cells

    def rows(self) -> list[dict]:
        """Tidy rows: test and validation accuracy and CPU seconds of every run, ECE of the first seed."""
        out, scores, runs = [], self.scores, {} if self.folds else self.runs
        for condition in scores.predicted:
            for s, (seed, name) in enumerate(zip(scores.seeds, scores.recipes[condition], strict=True)):
                numbers = [("accuracy", scores.accuracy(condition)[s], "%")]
                if s == 0:  # of the logits as they are committed, so that the row can be computed again from them
                    kept = scores.logits[condition].astype(np.float16).astype(float)
                    numbers.append(("ece", expected_calibration_error(kept, scores.labels), "%"))
                if condition in runs:
                    run = runs[condition][s]
                    numbers += [("val_accuracy", run.predictions("val").accuracy, "%"),
                                ("cpu_seconds", run.provenance["cpu_seconds"], "s")]
                about = self.row(condition=condition, seed=seed, recipe=name)
                out += [about | dict(metric=m, value=round(float(v), 4), unit=u) for m, v, u in numbers]
        return out

    def recall_rows(self) -> list[dict]:
        """Tidy rows: mean recall over classes of every condition, with its interval's ends."""
        table, where = [], f"{self.part.data} {self.part.fold}"
        for condition in self.scores.predicted:
            mean, low, high = mean_recall(self.scores.correct(condition), self.scores.labels)
            self.say(f"{where}, {condition}: mean recall {mean:.1f} % ({low:.1f} to {high:.1f})")
            ends = ("mean_recall", mean), ("mean_recall_low", low), ("mean_recall_high", high)
            table += [self.row(condition=condition, metric=m, value=round(v, 4), unit="%") for m, v in ends]
        return table


@dataclass(frozen=True)
class Part:
    """Trainings that are tested on the same clips: some rows of a study's table, and one file of predictions.

    ``data`` names the clips, and ``fold`` which of several folds, whose test clips are pooled in the end. ``recipes``:
    condition → one recipe per seed; none where rows are all there is. ``unit`` (``"clip"`` or ``"group"``) is what the
    bootstrap resamples. ``on``: other clips to test on. ``real``: the set of real clips that must be there.
    ``file`` names the predictions, by default as data and fold; ``""``: none are kept.

    ``gather`` obtains the runs as :func:`collect` does, ``answers`` may add conditions to their scores, ``rows`` makes
    the rows, and ``whole`` more of them once all folds are there. ``publish``: seed 0's runs become committed weights.
    ``to_the_end=False``: nothing is trained before ``rows`` asks for it.
    """

    data: str
    recipes: Mapping[str, Sequence[Recipe]] = field(default_factory=dict)
    fold: str = ""
    unit: str = "clip"
    on: object = None
    real: str = ""
    file: str | None = None
    gather: Callable[..., tuple[Scores, dict[str, list[Run]]]] = collect
    answers: Callable[[Scores, dict[str, list[Run]]], Scores] = lambda scores, runs: scores
    rows: Callable[[Outcome], list[dict]] = Outcome.rows
    whole: Callable[[Outcome], list[dict]] = lambda outcome: []
    publish: bool = False
    to_the_end: bool = True

    @property
    def seeds(self) -> int:
        return max(map(len, self.recipes.values()), default=0)

    def predictions(self, study: str) -> str:
        """The name of the file of predictions, without its ending; empty where there is none."""
        name = self.data + f"-fold{self.fold}" * bool(self.fold) if self.file is None else self.file
        return f"{study}-{name}" if name and self.recipes else ""


@dataclass(frozen=True)
class Claim:
    """``condition`` is better than ``baseline``: a row of the ledger. A control that is as good explains the effect."""

    claim: str
    says: str
    condition: str
    baseline: str
    controls: tuple[str, ...] = ()
    comparison: str = ""

    def judged(self, scores: Scores) -> dict[str, str]:
        """The row, computed from ``scores``, which know both conditions; controls that they do not know are left out.
        """
        effect = scores.effect(self.condition, self.baseline)
        controls = {name: scores.effect(self.condition, name) for name in self.controls if name in scores.predicted}
        said = self.comparison or f"{self.condition} − {self.baseline}"
        return dict(zip(LEDGER, (self.claim, self.says, said, str(effect), verdict(effect, controls)), strict=True))


@dataclass(frozen=True)
class Study:
    """A whole study; :mod:`kdlab.study` has one on a page.

    ``name`` names its table and files. ``parts(size, seeds)`` gives its :class:`Part` s at that size, ``size`` is the
    one it usually has (anything with a ``name`` and ``seeds``; default: the profile of ``$KDLAB_PROFILE``, else demo),
    ``seeds`` its usual number of seeds (default: the size's), ``sized(word)`` the size of another name.

    ``claims`` are judged on every data set that has their conditions; ``lines(found, rows)`` are more to tell, of data
    set → scores and the table. ``yours()`` is the part whose demo-size runs a user also makes, ``titles`` how its
    conditions read, and ``metric`` the rows that :meth:`compared` holds against ``number(runs, condition)``, percent.
    ``committed``: kdlab's own, whose outcome at ``size`` lies in ``figures/``.
    """

    name: str
    parts: Callable[[object, int], Sequence[Part]]
    size: object = None
    seeds: int | None = None
    sized: Callable[[str | None], object] = current
    claims: Sequence[Claim] = ()
    lines: Callable[[dict[str, Scores], pd.DataFrame], Sequence[str]] = lambda found, rows: ()
    yours: Callable[[], Part] | None = None
    titles: Mapping[str, str] = field(default_factory=dict)
    metric: str = "accuracy"
    number: Callable[[dict[str, list[Run]], str], float] = lambda runs, condition: _accuracy(runs[condition])
    committed: bool = False

    def __post_init__(self):
        if not self.name.isidentifier():
            raise ValueError(f"a study's name is part of file names: {self.name!r} may have letters, digits and _ only")

    def chosen(self, size=None, seeds: int | None = None, only: Sequence[str] = ()) -> list[Part]:
        """The parts on the data sets in ``only`` (none named: all). Raises ``ValueError`` before anything is trained
        where a data set is unknown, or conditions differ in their seeds, or a claim's condition is nowhere."""
        size = self._size(size)
        parts = list(self.parts(size, seeds or self.seeds or size.seeds))
        if wrong := [part for part in parts if not isinstance(part, Part)]:
            raise ValueError(f"parts() of the study {self.name} must give kdlab.study.Part s, not {wrong[0]!r}")
        sets = list(dict.fromkeys(part.data for part in parts))
        if unknown := sorted(set(only) - set(sets)):
            raise ValueError(f"{self.name} has no data set {unknown[0]!r}; it has {', '.join(sets)}")
        for part in (part for part in parts if part.gather is collect and part.recipes):
            same_seeds(part.recipes)
        known = {condition for part in parts for condition in part.recipes}
        if all(part.answers is Part.answers for part in parts):
            for claim in self.claims:
                if lacking := {claim.condition, claim.baseline, *claim.controls} - known:
                    raise ValueError(f"claim {claim.claim} of the study {self.name} names {min(lacking)!r}, which it "
                                     f"does not train; it trains {', '.join(sorted(known)) or 'nothing'}")
        return [part for part in parts if not only or part.data in only]

    def trainings(self, size=None, seeds: int | None = None, only: Sequence[str] = ()) -> list[Recipe]:
        """All that :meth:`run` trains, each once and seed after seed, so that an interrupted study has whole seeds."""
        return _seed_after_seed(self.chosen(size, seeds, only))

    def stale(self) -> dict[str, str]:
        """Committed predictions that today's sources would not give: file → reason."""
        return stale_predictions({file: part.recipes for part in self.chosen(self.size, 1)
                                  if (file := part.predictions(self.name))})

    def run(self, size=None, seeds: int | None = None, *, only: Sequence[str] = (), workers: int | None = None,
            say=print) -> dict[str, Scores]:
        """Run (or go on with) the study and write its evidence; data set → scores, its folds pooled.

        ``only`` names some of the data sets: nothing else is trained, and the rows of the others stay. Raises
        ``FileNotFoundError`` where real clips are needed and missing.
        """
        size, parts = self._size(size), self.chosen(size, seeds, only)
        for part in parts:
            if part.real:
                paths.real_set(part.real)
        counts = {data: max(part.seeds for part in parts if part.data == data) for data in {p.data for p in parts}}
        evidence = Evidence.of(self.name, size, counts, whole=self.committed and size == self.size, say=say)
        table = evidence.kept(only)
        obtain_all(_seed_after_seed([part for part in parts if part.to_the_end]), pretrained=False, stale="refuse",
                   workers=workers, say=say)
        sets: dict[str, dict[str, Outcome]] = {}
        for part in parts:
            outcome = self._outcome(part, size, evidence, workers, say)
            table += part.rows(outcome)
            sets.setdefault(part.data, {}).setdefault(part.fold, outcome)
        found = {}
        for data, folds in sets.items():
            first, *more = folds.values()
            if first.scores is None:
                continue
            found[data] = pooled([first.scores, *(o.scores for o in more)]) if more else first.scores
            together = replace(first, part=replace(first.part, fold=""), scores=found[data], folds=(first, *more))
            table += first.part.whole(together)
            if len(verdicts := self.verdicts(found[data])):
                say(f"{data}\n{verdicts.to_string(index=False)}")
        written = evidence.save_rows(table)
        for line in (*self.lines(found, pd.read_csv(written, keep_default_na=False)), str(written)):
            say(line)
        for outcome in (o for folds in sets.values() for o in folds.values() if o.part.publish):
            evidence.publish(column[0] for column in outcome.runs.values())
        return found

    def scores(self) -> dict[str, Scores]:
        """Data set → what the committed runs say, folds pooled; sets that are not all there are left out."""
        files: dict[str, list] = {}
        for part in self.chosen(self.size, 1):
            if name := part.predictions(self.name):
                files.setdefault(part.data, []).append(paths.figures_dir() / "predictions" / f"{name}.npz")
        return {data: pooled([Scores.load(file) for file in its]) for data, its in files.items()
                if all(file.is_file() for file in its)}

    def verdicts(self, scores: Scores) -> pd.DataFrame:
        """A row for each of the claims whose conditions ``scores`` knows."""
        known = [c for c in self.claims if {c.condition, c.baseline} <= scores.recipes.keys()]
        return pd.DataFrame([claim.judged(scores) for claim in known], columns=LEDGER)

    def compared(self) -> list[str]:
        """A line for each condition: where today's demo-size runs lie in the range that the committed ones cover."""
        if self.yours is None:
            return []
        part, table, lines = self.yours(), load_rows(self.name), []
        table = table[(table.data == part.data) & (table.metric == self.metric)]
        runs = {c: [find(recipe, pretrained=True) for recipe in column] for c, column in part.recipes.items()}
        for condition, column in table.groupby("condition", sort=False):
            if condition not in runs or len(column) < 3:  # of fewer runs there is no range
                continue
            title = f"{self.name}, {self.titles.get(condition, condition)}"
            if any(None in each for each in runs.values()):
                lines.append(f"{title}: not trained here yet")
                continue
            lines.append(f"{title}: your {lies(self.number(runs, condition), column.value, part.seeds)}")
        return lines

    def _size(self, size):
        return size or self.size or self.sized(None)

    def _outcome(self, part: Part, size, evidence: Evidence, workers: int | None, say) -> Outcome:
        scores, runs = None, {}
        if part.recipes and part.to_the_end:
            scores, runs = part.gather(part.recipes, unit=part.unit, workers=workers, say=lambda _: None)
            if part.on is not None:
                scores = replace(tested(runs, part.on, unit=part.unit), seeds=scores.seeds)
            scores = part.answers(scores, runs)
            if file := part.predictions(self.name):
                scores.save(evidence.file(file))
        return Outcome(self.name, size, part, scores, runs, evidence, say)


def _accuracy(runs: Sequence[Run]) -> float:
    return 100 * float(np.mean([run.predictions().correct.mean() for run in runs]))


# --- tables of recipes -----------------------------------------------------------------------------------------


def by_condition(make: Callable[[int], Mapping[str, Recipe]], seeds: int, names: Sequence[str] | None = None,
                 first: int = 0) -> dict[str, list[Recipe]]:
    """Condition → one recipe per seed, those of ``make(seed)``; ``names`` are some of its conditions."""
    made = [make(seed) for seed in range(first, first + seeds)]
    return {name: [recipes[name] for recipes in made] for name in names or made[0]}


def flat(*tables: Mapping[str, Sequence[Recipe]]) -> list[Recipe]:
    """All recipes of some tables of a study."""
    return [recipe for table in tables for column in table.values() for recipe in column]


def beside(size) -> str:
    """The name of the size of the runs that a study of ``size`` has beside its own, for ``kdlab reproduce`` and the
    committed weights: demo, and smoke beside smoke."""
    return "smoke" if size.name == "smoke" else "demo"


def _seed_after_seed(parts: Sequence[Part]) -> list[Recipe]:
    columns = [column for part in parts for column in part.recipes.values()]
    return list(dict.fromkeys(column[s] for s in range(max(map(len, columns), default=0)) for column in columns
                              if s < len(column)))
