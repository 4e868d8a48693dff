"""Whose errors DL-KDD's students give, and those of its controls: what accuracy does not tell apart."""

import pandas as pd

from kdlab.measure.paired import Effect
from kdlab.papers.dual_light.recipes import TITLES
from kdlab.papers.dual_light.study import inherited_table
from kdlab.study import Scores

#: Condition → what its networks are called as teachers.
TEACHERS = {"ce_enhanced": "the enhanced network", "ce_raw": "the raw network"}
#: Who was taught by whom.
TAUGHT = {("dlkdd", "ce_enhanced"), ("same_light", "ce_raw")}
AXIS = "own one's wrong answers given, minus a stranger's (points)\nthick 95 %, thin ledger's level"


def found(scores: Scores) -> pd.DataFrame:
    """How often students give the wrong answers of a network that teaches at their seed, by
    :func:`kdlab.papers.dual_light.study.inherited_table`: columns ``student``, ``teacher``, ``own``, ``other`` (another
    seed's, both in percent), ``gain`` (their difference, an :class:`Effect` in points) and ``ece``. Pairs of
    :data:`TAUGHT` come first; for all others ``own`` is what is found without teaching. Raises ``ValueError`` where
    fewer than two students have their teacher in ``scores``."""
    rows = inherited_table(scores)
    rows = rows[(rows.measure == "teacher's wrong answers given") & (rows.student != "untrained")]
    taught = [(student, teacher) in TAUGHT for student, teacher in zip(rows.student, rows.teacher, strict=True)]
    return rows.drop(columns="measure").assign(taught=taught).sort_values("taught", ascending=False, kind="stable")


def gains(rows: pd.DataFrame) -> dict[str, Effect]:
    """The differences of :func:`found` by name; an asterisk marks who was taught by that network."""
    return {f"{TITLES[row.student]}, of {TEACHERS[row.teacher]}{' *' * row.taught}": row.gain
            for row in rows.itertuples()}


def shown(rows: pd.DataFrame) -> pd.DataFrame:
    """:func:`found` for people."""
    return pd.DataFrame({"student": rows.student.map(TITLES), "whose errors": rows.teacher.map(TEACHERS),
                         "taught by it": rows.taught.map({True: "yes", False: "no"}), "own one's, %": rows.own,
                         "a stranger's, %": rows.other, "difference (points)": rows.gain.map(str),
                         "calibration error, %": rows.ece})


def sentence(rows: pd.DataFrame) -> str:
    """What :func:`found` says, in one or two sentences of Markdown."""
    taught = [f"{TITLES[row.student]} {row.gain} points" for row in rows[rows.taught].itertuples()]
    others = rows[~rows.taught]
    sure = [f"{TITLES[row.student]}, of {TEACHERS[row.teacher]} ({row.gain})" for row in others.itertuples()
            if row.gain.low > 0]
    rest = f"Of {len(others)} pairs without such teaching, {len(sure)} are surely above zero"
    return (f"**Errors.** Wrong answers of the own teacher given, minus a stranger's: {'; '.join(taught)}. "
            f"{': '.join([rest, '; '.join(sure)] if sure else [rest])}.")
