"""The ten questions, written down before their worlds are drawn, and why an answer may be withheld.

python studies/register.py    # writes figures/edition-2/questions.json: commit it before the worlds are drawn
"""

import json
import subprocess
import sys
from dataclasses import asdict
from importlib import import_module
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from worlds import FOLDER, TUNED_IN, WORLDS, label, tried

from kdlab.measure.paired import LEVEL, quantile
from kdlab.study import Answer, Question
from kdlab.study.edition import missing
from kdlab.study.question import SENTENCES, read_together
from kdlab.system.files import write_atomically

SCRIPTS = (
    "from_nothing",
    "into_the_dark",
    "cost_in_use",
    "generative",
    "detection",
    "exits",
    "flatness",
)
#: Answers that are read together by Holm; question 4 is measured, and question 8 has two answers.
ANSWERS = 10


def script_of(question: Question):
    return next(
        script
        for script in map(import_module, SCRIPTS)
        if question in getattr(script, "QUESTIONS", ())
    )


def questions() -> list[Question]:
    """All questions in their order; raises ``ValueError`` unless they are ten answers."""
    found = [
        question for name in SCRIPTS for question in getattr(import_module(name), "QUESTIONS", ())
    ]
    if len(found) != ANSWERS:
        raise ValueError(
            f"there are {len(found)} questions with an answer, where {ANSWERS} are read together"
        )
    return found


def record(question: Question) -> dict:
    """What is written down beforehand: the question, its digest, what each outcome is called, what is tuned, and the
    power. ``sees`` is the smallest effect that ten worlds find with a probability of 80 %, at Holm's first level."""
    names = (
        asdict(question)
        | {"rival": "[rival]"}
        | dict.fromkeys(("effect", "against", "needed"), "…")
    )
    tails = quantile(len(WORLDS), 1 - (1 - LEVEL) / ANSWERS) + quantile(
        len(WORLDS), 0.6
    )  # two-sided 60 %: 80 % below
    return asdict(question) | {
        "digest": question.digest(),
        "study": script_of(question).study.name,
        "worlds": WORLDS,
        "tuned_in": TUNED_IN,
        "outcomes": [text.format_map(names) for text in SENTENCES.values()],
        "candidates": getattr(script_of(question), "CANDIDATES", {}),
        "sees": round(tails * question.spread / len(WORLDS) ** 0.5, 2),
    }


def register() -> None:
    """Write the questions down. Raises ``ValueError`` where a world was drawn already."""
    if early := [name for name in SCRIPTS if (FOLDER / f"{name}.csv").exists()]:
        raise ValueError(
            f"{FOLDER / early[0]}.csv has results already: questions are written down before them"
        )
    costs = import_module("cost_in_use")
    every = {question.name: record(question) for question in questions()}
    every["4"] = {
        "asks": costs.ASKS,
        "study": costs.study.name,
        "worlds": WORLDS,
        "ways": costs.WAYS,
        "measured": costs.MEASURED,
        "outcomes": ["no verdict"],
    }
    text = json.dumps(every, indent=1, ensure_ascii=False) + "\n"
    write_atomically(
        FOLDER / "questions.json", lambda path: path.write_text(text, encoding="utf-8")
    )


def git(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        ["git", *arguments], cwd=FOLDER, capture_output=True, text=True, check=False
    )


def older(results: Path) -> str:
    """Why ``results`` may be older than the questions, by git; empty where the questions were committed first."""
    asked = git("log", "-1", "--format=%H", "--", "questions.json").stdout.strip()
    if not asked or git("status", "--porcelain", "--", "questions.json").stdout.strip():
        return "the questions are not committed"
    first = git(
        "log", "--diff-filter=A", "--reverse", "--format=%H", "--", results.name
    ).stdout.split()[:1]
    if first and (
        first[0] == asked or git("merge-base", "--is-ancestor", asked, first[0]).returncode
    ):
        return "the results are older than their question"
    return ""


def withheld(question: Question) -> str:
    """Why the question has no answer yet, in one sentence; empty where it has one."""
    script = script_of(question)
    study, rows = script.study, script.study.rows(FOLDER)
    known = (
        json.loads(file.read_text("utf-8")) if (file := FOLDER / "questions.json").exists() else {}
    )
    if known.get(question.name, {}).get("digest") != question.digest():
        return "the question was changed after it was written down, or was not written down"
    if lost := missing(question.name):
        return lost
    if set(rows[rows.world.isin(WORLDS)].questions) != {study.digest()}:
        return "a world was drawn for another question"
    names = question.method, question.baseline, *question.rivals
    candidates = getattr(script, "CANDIDATES", dict.fromkeys(names, ()))
    tuned = script.tuned.rows(FOLDER) if hasattr(script, "tuned") else None
    for name, shares in ((name, candidates.get(name)) for name in names):
        source = shares if isinstance(shares, str) else name
        labels = [label(source, change) for change in tried(candidates).get(source, ())]
        if shares is None or not all(
            set(TUNED_IN) <= set(tuned[tuned.condition == each].world) for each in labels
        ):
            return f"{name} was not tuned"
    return older(FOLDER / f"{study.name}.csv")


def answers() -> list[Answer]:
    """The answers to all questions, read together."""
    found = []
    for question in questions():
        why = withheld(question)
        table = FOLDER / f"{script_of(question).study.name}.csv"
        found.append(
            Answer(question, {}, withheld=why) if why else Answer.read(question, table, WORLDS)
        )
    return read_together(found)


if __name__ == "__main__":
    register()
