"""The ten questions of kdlab and their answers, from committed rows (studies/report.py)."""

from pathlib import Path

import numpy as np
import pandas as pd

from kdlab.measure.paired import Effect
from kdlab.study.question import Answer, Question, read_together, rows_of
from kdlab.system import paths
from kdlab.system.files import read_json


def written() -> dict[str, dict]:
    """The name of each question → what was written down of it before its worlds were drawn: the fields of
    :class:`.question.Question`, the ``study`` that trains its conditions, its ``worlds``, and more; none without
    ``figures/evidence/``."""
    file = paths.figures_dir() / "evidence" / "questions.json"
    return read_json(file) if file.exists() else {}


def _table(name: str) -> Path:
    return paths.figures_dir() / "evidence" / f"{written()[name]['study']}.csv"


def missing(name: str) -> str:
    """Which worlds of a question have no rows, in a few words; empty where all have. ``KeyError``: unknown question."""
    lost = sorted(set(written()[name]["worlds"]) - set(rows_of(_table(name)).world))
    return f"no rows of worlds {lost}" if lost else ""


def values(name: str) -> pd.DataFrame:
    """What was measured for a question: a row for each world, a column for each condition of its study.

    Raises ``KeyError`` for an unknown question, and ``ValueError`` where a world is missing."""
    if lost := missing(name):
        raise ValueError(lost)
    rows = rows_of(_table(name)).pivot(index="world", columns="condition", values="value")
    return rows.loc[written()[name]["worlds"]]


def answers() -> dict[str, Answer]:
    """The name of each question → its answer; all are read together. An answer with a missing world is withheld."""
    read = []
    for name, asked in written().items():
        if "method" in asked:  # question 4 is measured, and has no answer
            fields = {field: asked[field] for field in Question.__dataclass_fields__}
            fields["rivals"] = tuple(fields["rivals"])
            question = Question(**fields)
            try:
                values(name)
                answer = Answer.read(question, _table(name), asked["worlds"])
            except ValueError as error:  # a world is missing, or a number
                answer = Answer(question, {}, withheld=str(error))
            read.append(answer)
    return {answer.question.name: answer for answer in read_together(read)}


def compared(name: str) -> tuple[dict[str, Effect], dict[str, np.ndarray]]:
    """The differences behind an answer by name, as :func:`kdlab.show.plots.effects` draws them: the method minus its
    baseline and each rival, and the teacher's lead. First the effects, then each one's differences, one a world."""
    answer, measured = answers()[name], values(name).assign(zero=0.0)
    question = answer.question
    effects, worlds = {}, {}
    for other, effect in answer.compared.items():
        effects[f"− {other}"] = effect
        worlds[f"− {other}"] = (measured[question.method] - measured[other]).to_numpy()
    if answer.lead:
        lead = f"{question.teacher} − {question.baseline}"
        effects[lead] = answer.lead
        worlds[lead] = (measured[question.teacher] - measured[question.baseline]).to_numpy()
    return effects, worlds
