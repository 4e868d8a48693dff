"""What a study is made of: parts that are tested on the same clips, what they found."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from kdlab import paths
from kdlab.measure.transfer import mean_recall
from kdlab.study.evidence import Evidence
from kdlab.study.scores import Scores, collect, tested
from kdlab.system.values import one_of
from kdlab.train.recipe import Recipe, UserClips, check
from kdlab.train.runs import Run
from kdlab.train.sizes import current


@dataclass(frozen=True)
class Outcome:
    """What a :class:`Part` found, or a whole data set: then its ``folds`` are those that were pooled to ``scores``.

    ``scores`` is ``None`` where nothing is trained; ``runs``: condition → one a seed (of a data set: the first fold's).
    ``shard``: which seed of the part this is, where a study is evaluated seed after seed; None where all of them.
    """

    study: str
    size: object
    part: "Part"
    scores: Scores | None
    runs: dict[str, list[Run]]
    evidence: Evidence
    say: Callable[[str], None]
    folds: tuple["Outcome", ...] = ()
    shard: int | None = None

    @property
    def first(self) -> bool:
        """Whether the first seed of the part is here: what is told once for all seeds is told of that."""
        return not self.shard

    def row(self, **cells) -> dict:
        """A tidy row of this study, data set and fold, with ``cells``."""
        return dict(study=self.study, data=self.part.data, seed="", fold=self.part.fold, recipe="") | cells

    def numbers(self, *numbers: tuple[str, float, str], **about) -> list[dict]:
        """A row for each (metric, value, unit), all of them ``about`` one thing."""
        return [self.row(metric=m, value=round(float(v), 4), unit=unit, **about) for m, v, unit in numbers]

    def rows(self) -> list[dict]:
        """Tidy rows: test and validation accuracy and CPU seconds of every run, ECE of the first seed."""
        out, scores, runs = [], self.scores, {} if self.folds else self.runs
        for condition in scores.predicted:
            for s, (seed, name) in enumerate(zip(scores.seeds, scores.recipes[condition], strict=True)):
                numbers = [("accuracy", scores.accuracy(condition)[s], "%")]
                if s == 0 and self.first:
                    numbers.append(("ece", scores.ece(condition), "%"))
                if condition in runs:
                    run = runs[condition][s]
                    numbers += [("val_accuracy", run.predictions("val").accuracy, "%"),
                                ("cpu_seconds", run.provenance["cpu_seconds"], "s")]
                out += self.numbers(*numbers, condition=condition, seed=seed, recipe=name)
        return out

    def test_rows(self) -> list[dict]:
        """:meth:`rows` about the test clips alone."""
        return replace(self, runs={}).rows()

    def recall_rows(self) -> list[dict]:
        """Tidy rows: mean recall over classes of every condition, with its interval's ends."""
        table, where = [], f"{self.part.data} {self.part.fold}"
        for condition in self.scores.predicted:
            mean, low, high = mean_recall(self.scores.correct(condition), self.scores.labels)
            self.say(f"{where}, {condition}: mean recall {mean:.1f} % ({low:.1f} to {high:.1f})")
            ends = ("mean_recall", mean), ("mean_recall_low", low), ("mean_recall_high", high)
            table += self.numbers(*((*end, "%") for end in ends), condition=condition)
        return table


@dataclass(frozen=True)
class Part:
    """Trainings that are tested on the same clips: some rows of a study's table, and one file of predictions.

    ``data`` names the clips, and ``fold`` which of several folds, whose test clips are pooled in the end. ``recipes``:
    condition → one recipe per seed; none where rows are all there is. ``unit`` (``"clip"`` or ``"group"``) is what
    intervals count as one. ``on``: other clips to test on, by ``asked`` (:func:`tested`). ``real``: the set of real
    clips that must be there. ``file`` names the predictions, by default as data and fold; ``""``: none are kept.

    ``gather`` obtains the runs as :func:`collect` does, ``answers`` may add conditions to their scores, ``rows`` makes
    the rows, and ``whole`` more of them once all folds are there. ``publish``: seed 0's runs become committed weights.
    ``to_the_end=False``: nothing is trained before ``rows`` asks for it. ``final``: its test clips are for finished
    recipes, so it is left out unless :meth:`Study.run` is told that this is the ``final`` reading.
    """

    data: str
    recipes: Mapping[str, Sequence[Recipe]] = field(default_factory=dict)
    fold: str = ""
    unit: str = "clip"
    on: object = None
    asked: Callable[..., Scores] = tested
    real: str = ""
    file: str | None = None
    gather: Callable[..., tuple[Scores, dict[str, list[Run]]]] = collect
    answers: Callable[[Scores, dict[str, list[Run]]], Scores] = lambda scores, runs: scores
    rows: Callable[[Outcome], list[dict]] = Outcome.rows
    whole: Callable[[Outcome], list[dict]] = lambda outcome: []
    publish: bool = False
    to_the_end: bool = True
    final: bool = False

    def __post_init__(self):
        one_of(("clip", "group"), unit=self.unit)

    @property
    def seeds(self) -> int:
        return max(map(len, self.recipes.values()), default=0)

    def predictions(self, study: str) -> str:
        """The name of the file of predictions, without its ending; empty where there is none."""
        name = self.data + f"-fold{self.fold}" * bool(self.fold) if self.file is None else self.file
        return f"{study}-{name}" if name and self.recipes else ""


def by_condition(make: Callable[[int], Mapping[str, Recipe]], seeds: int, names: Sequence[str] | None = None,
                 first: int = 0) -> dict[str, list[Recipe]]:
    """Condition → one recipe per seed, those of ``make(seed)``; ``names`` are some of its conditions."""
    made = [make(seed) for seed in range(first, first + seeds)]
    return {name: [recipes[name] for recipes in made] for name in names or made[0]}


def in_folds(name: str, folds: Sequence, recipes: Callable[[object], Mapping], **how) -> list[Part]:
    """A part for each of the ``folds`` of a data set, one for a set without; ``recipes(clips)`` gives its table."""
    words = [""] if len(folds) == 1 else [str(k + 1) for k in range(len(folds))]
    return [Part(name, recipes(data), fold, **how) for fold, data in zip(words, folds, strict=True)]


def real_folds(name: str, folds: int = 3) -> list[UserClips]:
    """The set ``name`` of real clips in folds of its groups; recipes can be made where the clips are not."""
    place = str((paths.real_clips() or Path()) / name)
    return [UserClips(place, str(k + 1), own_folds=folds) for k in range(folds)]


def flat(*tables: Mapping[str, Sequence[Recipe]]) -> list[Recipe]:
    """All recipes of some tables of a study."""
    return [recipe for table in tables for column in table.values() for recipe in column]


def beside(size):
    """The size of the runs that a study of ``size`` has beside its own, for ``kdlab reproduce`` and the committed
    weights: demo, and smoke beside smoke."""
    return current("smoke" if size.name == "smoke" else "demo", type(size))


def seed_after_seed(parts: Sequence[Part]) -> list[Recipe]:
    """Every recipe once, the first seed of all conditions before the second of any."""
    columns = [column for part in parts for column in part.recipes.values()]
    for recipe in (recipe for column in columns for recipe in column):
        check(recipe)  # what cannot be hashed is told in words
    return list(dict.fromkeys(column[s] for s in range(max(map(len, columns), default=0)) for column in columns
                              if s < len(column)))
