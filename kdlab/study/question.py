"""Questions that are written down before their worlds are drawn, and answers from which sentences are made."""

import json
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from kdlab.measure.paired import LEVEL, Effect, holm, quantile
from kdlab.study.scores import Scores
from kdlab.system.files import text_hash

#: The answer to the question first, then what each outcome is called; :attr:`Answer.outcome` has the rules.
SENTENCES = {
    "beaten": "{difference}: {effect} {unit}{nearest}. It is beaten",
    "small": "{difference}: {effect} {unit}{nearest}. The difference is smaller than {small:.1f}",
    "helps": "{difference}: {effect} {unit}{nearest}. It {helps}, more than every rival",
    "no more": "{difference}: {effect} {unit}{nearest}. It {helps}, but is not shown to do more than that rival",
    "cannot tell": "{difference}: {effect} {unit}{nearest}. It takes {needed} worlds to tell whether it {helps}",
}
#: How the strongest rival is named in a sentence, unless it is the baseline.
NEAREST = "; against its strongest rival, {rival}: {against}"
#: What is added where worlds share their test clips.
SHARED = "worlds share their test clips, so this holds for these clips alone"

#: The columns of a study's table.
COLUMNS = ["world", "condition", "value", "cpu_seconds", "clips", "sources", "questions", "cpu"]


def rows_of(table: Path) -> pd.DataFrame:
    """The rows of a study's ``table``, with :data:`COLUMNS`; none where there is no such file."""
    texts: Any = dict.fromkeys(("condition", *COLUMNS[4:]), str)  # some look like numbers
    return pd.read_csv(table, dtype=texts) if table.exists() else pd.DataFrame(columns=COLUMNS)


@dataclass(frozen=True)
class Question:
    """A question about the differences between conditions of a study.

    ``asks`` is the question in plain words. ``method`` is compared with ``baseline`` (by default with zero), and with
    each of ``rivals``, which could give the same by simpler means. ``teacher`` minus ``baseline`` is the lead that
    could be passed on. Differences are in ``unit``; those below ``small`` do not matter. ``spread`` is the standard
    deviation over worlds that is expected of the difference. Where the method is above, it ``helps``.
    """

    name: str
    asks: str
    method: str
    baseline: str = "zero"
    rivals: tuple[str, ...] = ()
    teacher: str = ""
    metric: str = "accuracy on test clips, %"
    unit: str = "points"
    small: float = 1.0
    spread: float = 3.0
    helps: str = "helps"

    def __post_init__(self):
        if isinstance(self.rivals, str):
            raise ValueError(f"rivals are a tuple: of one, write ({self.rivals!r},)")

    def digest(self) -> str:
        """12 hex digits over all fields and the sentences."""
        return text_hash(json.dumps([asdict(self), SENTENCES, NEAREST]), 12)


@dataclass(frozen=True)
class Answer:
    """The answer to a question: the method minus the baseline and minus each rival in ``compared``, and the teacher's
    ``lead`` over the baseline. ``p`` is the probability of the effect without a cause. ``lost`` is that of the distance
    to the rival that is farthest ahead, times the number of comparisons; 1 where none is ahead. :func:`read_together`
    adjusts both, and counts in ``undecided`` how many of its answers neither decides. ``shared``: worlds share their
    test clips. ``withheld`` says why no answer is given."""

    question: Question
    compared: dict[str, Effect]
    lead: Effect | None = None
    p: float = 1.0
    lost: float = 1.0
    withheld: str = ""
    shared: bool = False
    undecided: tuple[int, int] = (1, 1)

    @classmethod
    def of(
        cls, question: Question, values: pd.DataFrame, clips: float | Sequence[float] = np.inf
    ) -> "Answer":
        """The answer from ``values``, with a row for each world and a column for each condition. ``clips`` is the
        number of test clips, or one for each world. It gives intervals a floor (:meth:`.paired.Effect.of`) where
        values in points are whole numbers of clips; others, such as mAP, have none. Raises ``ValueError`` for a
        condition that was not measured."""
        others = question.baseline, *question.rivals
        if lost := {question.method, *others, question.teacher or "zero"} - {*values, "zero"}:
            raise ValueError(f"nothing was measured of {min(lost)!r}; there is {', '.join(values)}")
        values = values.assign(zero=0.0)
        counts = values[[question.method, *others]].mul(clips, axis=0) / 100
        whole = question.unit == "points" and np.allclose(counts, counts.round(), rtol=0)
        clips = clips if whole else np.inf
        compared = {
            other: Effect.of(values[question.method] - values[other], clips=clips)
            for other in others
        }
        lead = None
        if question.teacher:
            lead = Effect.of(values[question.teacher] - values[question.baseline], clips=clips)
        nearest = min(compared.values(), key=lambda e: e.mean)
        lost = min(1.0, len(compared) * nearest.p) if nearest.mean < 0 else 1.0
        return cls(question, compared, lead, compared[question.baseline].p, lost)

    @classmethod
    def read(cls, question: Question, table: Path, worlds: Collection[int]) -> "Answer":
        """The answer in these ``worlds`` from a study's ``table``, NAME.csv, and its predictions, NAME-WORLD.npz.
        Worlds share their test clips where the column ``clips`` of the method is the same. Without predictions,
        intervals have no floor. Raises ``KeyError`` for a world without rows."""
        rows = rows_of(table)
        values = rows.pivot(index="world", columns="condition", values="value").loc[list(worlds)]
        files = [table.with_name(f"{table.stem}-{world}.npz") for world in worlds]
        clips = [len(Scores.load(file).ids) if file.exists() else np.inf for file in files]
        data = rows[rows.world.isin(worlds) & (rows.condition == question.method)].clips
        return replace(cls.of(question, values, clips), shared=not data.is_unique)

    @property
    def effect(self) -> Effect:
        """The method minus the baseline."""
        return self.compared[self.question.baseline]

    @property
    def rival(self) -> str:
        """The rival, or the baseline, that comes nearest: the method is least ahead of it, or farthest behind. A rival
        that the method is shown to exceed comes after one that it is not."""
        return min(
            self.compared, key=lambda name: (self.compared[name].low > 0, self.compared[name].mean)
        )

    @property
    def share(self) -> float | None:
        """The share of the teacher's lead that was passed on; None where no lead is seen."""
        return self.effect.mean / self.lead.mean if self.lead and self.lead.low > 0 else None

    @property
    def outcome(self) -> str:
        """A key of :data:`SENTENCES`. ``beaten``: a rival is ahead of the method, and may be so by ``small``.
        ``small``: the interval lies within ± ``small``. ``helps``: the method is ahead of the baseline and of every
        rival; ``no more``: of the baseline, and not of every rival. Else ``cannot tell``."""
        small, against = self.question.small, self.compared[self.rival]
        if self.lost < 1 - LEVEL and against.low < -small:
            return "beaten"
        if -small < self.effect.low and self.effect.high < small:
            return "small"
        if self.p < 1 - LEVEL and self.effect.mean > 0:
            return "helps" if against.low > 0 else "no more"
        return "cannot tell"

    @property
    def worlds_needed(self) -> float:
        """The smallest number of worlds, more than today's, in which the sentence is decided with a probability of
        80 %, by its effect or by the rival that is farthest ahead. Means and spreads stay as measured, and so do the
        other answers: Holm multiplies by the number that is still undecided. Infinite above a thousand."""
        effect, against, small = self.effect, self.compared[self.rival], self.question.small
        if not np.isfinite(effect.half_width):
            return np.inf
        worlds, (helps, lost) = np.arange(effect.seeds + 1, 1001), self.undecided
        lost = lost * len(self.compared)

        def least(effect: Effect, count: int) -> np.ndarray:
            """The smallest mean that is seen among ``count`` questions."""
            return quantile(worlds, 1 - (1 - LEVEL) / count) * effect.error(worlds)

        inside = np.maximum(0, small - least(effect, 1))
        edges = [-least(effect, lost), -inside, inside, least(effect, helps)]
        behind, low, high, ahead = effect.below(np.stack(edges), worlds)
        decided = 1 - np.maximum(0, low - behind) - np.maximum(0, ahead - high)
        beaten = against.below(np.minimum(-least(against, lost), least(against, 1) - small), worlds)
        enough = worlds[np.maximum(decided, beaten) >= 0.8]
        return enough[0] if len(enough) else np.inf

    def __str__(self) -> str:
        if self.withheld:
            return f"withheld: {self.withheld}"
        question, needed, rival = self.question, self.worlds_needed, self.rival
        against, method, baseline = self.compared[rival], question.method, question.baseline
        sentence = SENTENCES[self.outcome].format(
            **asdict(question),
            difference=method if baseline == "zero" else f"{method} − {baseline}",
            effect=self.effect,
            nearest="" if rival == baseline else NEAREST.format(rival=rival, against=against),
            needed=f"{needed:.0f}" if np.isfinite(needed) else "more",
        )
        if not question.rivals:
            sentence = sentence.removesuffix(", more than every rival")
        return f"{sentence}; {SHARED}" if self.shared else sentence


def read_together(answers: Sequence[Answer]) -> list[Answer]:
    """The ``answers`` with probabilities adjusted by Holm: *helps* is wrong, anywhere in them, in at most 5 % of cases,
    and so is *is beaten*."""
    columns = [holm([answer.p for answer in answers]), holm([answer.lost for answer in answers])]
    undecided = tuple(max(1, int((column >= 1 - LEVEL).sum())) for column in columns)
    return [
        replace(answer, p=float(p), lost=float(lost), undecided=undecided)
        for answer, p, lost in zip(answers, *columns, strict=True)
    ]
