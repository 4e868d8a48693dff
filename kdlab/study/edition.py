"""The numbers of the first edition of the evidence (figures/edition-1), and the ten questions of the second with their
answers, from the rows in figures/edition-2 (studies/report.py)."""

import json

import pandas as pd

from kdlab.measure.paired import Effect
from kdlab.study.question import Answer, Question, read_together
from kdlab.system import paths


def written() -> dict[str, dict]:
    """The name of each question → what was written down of it before its worlds were drawn: the fields of
    :class:`.question.Question`, the ``study`` that trains its conditions, its ``worlds``, and more."""
    return json.loads((paths.figures_dir() / "edition-2" / "questions.json").read_text("utf-8"))


def values(name: str) -> pd.DataFrame:
    """What was measured for a question: a row for each world, a column for each condition of its study.

    Raises ``KeyError`` for an unknown question, and ``ValueError`` where a world is missing."""
    asked = written()[name]
    file = paths.figures_dir() / "edition-2" / f"{asked['study']}.csv"
    rows = pd.read_csv(file) if file.exists() else pd.DataFrame({"world": []})
    if missing := sorted(set(asked["worlds"]) - set(rows.world)):
        raise ValueError(f"world {missing[0]} is missing" + f", and {len(missing) - 1} more" * (len(missing) > 1))
    return rows.pivot(index="world", columns="condition", values="value").loc[asked["worlds"]]


def answers() -> dict[str, Answer]:
    """The name of each question → its answer; all are read together. An answer with a missing world is withheld."""
    fields = Question.__dataclass_fields__
    found = []
    for name, asked in written().items():
        if "method" in asked:  # question 4 is measured, and has no answer
            question = Question(**{k: tuple(v) if isinstance(v, list) else v for k, v in asked.items() if k in fields})
            try:
                found.append(Answer.of(question, values(name)))
            except ValueError as error:
                found.append(Answer(question, {}, withheld=str(error)))
    return {answer.question.name: answer for answer in read_together(found)}


def compared(name: str) -> pd.DataFrame:
    """The effects behind an answer: the method over its baseline and over each rival, and the teacher's lead. Columns:
    the effect with half of its 95 % interval, and the lowest and the highest of the worlds."""
    answer, measured = answers()[name], values(name).assign(zero=0.0)
    question = answer.question
    pairs = {f"{question.method} − {other}": (question.method, other) for other in answer.compared}
    if question.teacher:
        pairs[f"the lead: {question.teacher} − {question.baseline}"] = question.teacher, question.baseline
    differences = {text: measured[one] - measured[other] for text, (one, other) in pairs.items()}
    return pd.DataFrame({text: [str(Effect.of(each)), each.min(), each.max()] for text, each in differences.items()},
                        index=[question.unit, "lowest world", "highest world"]).T


# --- the first edition ----------------------------------------------------------------------------------------


def effects() -> pd.DataFrame:
    """The whole table. Each row has a claim, a reading and a rival, with the mean effect in points and the ends of its
    95 % interval."""
    return pd.read_csv(paths.figures_dir() / "edition-1" / "effects.csv")


def evidence(*claims: str) -> pd.DataFrame:
    """The registered results of ``claims`` such as ``"D1"``. For each rival the table has the effect in points, the
    numbers of seeds and test units, the teacher's lead over the student's start, and the verdict. Raises ``ValueError``
    for an unknown claim."""
    table = effects()
    if unknown := set(claims) - set(table.claim):
        raise ValueError(f"there is no claim {min(unknown)!r}; there are {', '.join(table.claim.unique())}")
    rows = table[table.claim.isin(claims) & (table.reading == "registered")]
    return rows[["claim", "method", "rival", "effect", "seeds", "units", "lead", "verdict"]].set_index("claim")
