"""The questions, written down before their worlds are drawn, and why an answer may be withheld.

    python studies/register.py 1 5    # writes questions 1 and 5 into figures/evidence/questions.json: commit it

A question is written down when everything in it was tuned, and before its first world is drawn. It has its rivals, the
rows beside them, its recipes and epochs, the rule for failed networks, and the power of the worlds.
"""

import json
import subprocess
import sys
from dataclasses import asdict
from importlib import import_module
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import pandas as pd
from worlds import (
    CURVES,
    EXEMPT,
    FITTED,
    FOLDER,
    SHARES,
    TUNED_IN,
    WORLDS,
    note,
    own,
    tried,
    write_note,
)

from kdlab.measure.paired import LEVEL, quantile
from kdlab.study import Question
from kdlab.study.evidence import missing
from kdlab.study.question import NEAREST, SENTENCES
from kdlab.system.files import text_hash
from kdlab.train.recipe import to_json

SCRIPTS = (
    "from_nothing",
    "into_the_dark",
    "cost_in_use",
    "generative",
    "detection",
    "exits",
    "anytime",
    "flatness",
)
#: Answers that are read together by Holm; question 4 is measured, and question 8 has two answers.
ANSWERS = 10
#: Values that have nothing beyond them: pure soft targets; and the largest rate of question 1, beyond which networks of
#: some seeds do not learn (docs/log.md).
ENDS = {("method.alpha", 1.0), ("settings.lr", 8e-3)}
#: A world of nothing: its recipes stand for those of all worlds, whose seeds differ.
NO_WORLD = 0


def script_of(question: Question):
    return next(
        script
        for script in map(import_module, SCRIPTS)
        if question in getattr(script, "QUESTIONS", ())
    )


def questions() -> list[Question]:
    """All questions in their order."""
    scripts = map(import_module, SCRIPTS)
    return [question for script in scripts for question in getattr(script, "QUESTIONS", ())]


def recipes_of(script) -> dict[str, dict]:
    """Condition → its epochs, and the digest of its recipe but for the world's seed."""
    recipes = script.study.recipes(NO_WORLD)
    return {
        name: {
            "epochs": recipe.settings.epochs,
            "digest": text_hash(json.dumps(to_json(recipe)), 12),
        }
        for name, recipe in recipes.items()
    }


def record(question: Question) -> dict:
    """What is written down beforehand: the question, its digest, what each outcome is called, the rows beside it, what
    is tuned, its recipes, the rule for failures, and the power. ``sees`` is the smallest effect that the worlds find
    with a probability of 80 %, at Holm's first level."""
    script = script_of(question)
    names = asdict(question) | {
        "difference": f"{question.method} − {question.baseline}",
        "nearest": NEAREST.format(rival="[rival]", against="…"),
        "effect": "…",
        "needed": "…",
    }
    tails = quantile(len(WORLDS), 1 - (1 - LEVEL) / ANSWERS) + quantile(
        len(WORLDS), 0.6
    )  # two-sided 60 %: 80 % below
    return asdict(question) | {
        "digest": question.digest(),
        "study": script.study.name,
        "worlds": WORLDS,
        "tuned_in": TUNED_IN,
        "outcomes": [text.format_map(names) for text in SENTENCES.values()],
        "beside": getattr(script, "ALSO", {}).get(question.name, []),
        "doses": getattr(script, "DOSES", {}),
        "taught": getattr(script, "TAUGHT", {}),
        "curves": {
            "conditions": getattr(script, "DRAWN", ()),
            "budgets": [str(share) for share in SHARES],
            "worlds": CURVES,
        },
        "candidates": getattr(script, "CANDIDATES", {}),
        "recipes": recipes_of(script),
        "failed": f"a loss on the labels of its training clips above {FITTED} nats at its whole budget or more, but for "
        f"students of {EXEMPT}: the world is drawn again with the next seed, for all conditions, twice at most",
        "sees": round(tails * question.spread / len(WORLDS) ** 0.5, 2),
    }


def register(*names: str) -> None:
    """Write the questions ``names`` down. Raises ``ValueError`` for an unknown name, for a question whose study has
    others that are not named, where a world was drawn already, and where something was not tuned."""
    every, asked = note("questions"), {question.name: question for question in questions()}
    if unknown := set(names) - {*asked, "4"}:
        raise ValueError(f"there is no question {min(unknown)}; there are {', '.join(asked)} and 4")
    for question in (asked[name] for name in names if name in asked):
        script = script_of(question)
        if left := {other.name for other in script.QUESTIONS} - {*names}:
            raise ValueError(
                f"question {min(left)} has the worlds of question {question.name}: name both"
            )
        if (file := FOLDER / f"{script.study.name}.csv").exists():
            raise ValueError(f"{file} has results already: questions are written down before them")
        if lacks := untuned(question):
            raise ValueError(f"question {question.name}: {lacks}")
        every[question.name] = record(question)
    if "4" in names:
        costs = import_module("cost_in_use")
        every["4"] = {
            "asks": costs.ASKS,
            "study": costs.study.name,
            "worlds": costs.study.worlds,
            "ways": costs.WAYS,
            "measured": costs.MEASURED,
            "outcomes": ["no verdict"],
        }
    write_note("questions", every)


def tries_of(script) -> dict[str, pd.DataFrame]:
    """Condition → what was tried for it; empty where nothing is tuned."""
    candidates = own(getattr(script, "CANDIDATES", {}))
    recipes = script.base(script.study.size, NO_WORLD) if candidates else {}
    return {
        name: tried(script.study.name, name, recipes[name], tries)
        for name, tries in candidates.items()
    }


def untuned(question: Question) -> str:
    """What of the question was not tuned, or has its best value at the edge of what was tried; empty if nothing."""
    for name, table in tries_of(script_of(question)).items():
        if table["mean"].isna().any():
            return f"{name} was not tuned"
        for row in table[table.edge].itertuples():
            if (row.path, row.value) not in ENDS:
                return f"{name} is best at {row.path}={row.value:g}, the last value tried: try one beyond"
    return ""


def git(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(["git", *arguments], cwd=FOLDER, capture_output=True, text=True)


def older(name: str, results: Path) -> str:
    """Why ``results`` may be older than question ``name``, by git; empty where it was committed first as it is now."""
    if git("rev-parse", "--is-shallow-repository").stdout.strip() == "true":
        return "git's history is cut off here: call git fetch --unshallow"
    asked = ""
    for commit in git("log", "--format=%H", "--", "questions.json").stdout.split():
        then = json.loads(git("show", f"{commit}:./questions.json").stdout or "{}")
        if then.get(name) != note("questions")[name]:
            break
        asked = commit
    if not asked:
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
    if note("questions").get(question.name, {}).get("digest") != question.digest():
        return "the question was changed after it was written down, or was not written down"
    if lost := missing(question.name):
        return lost
    if set(rows[rows.world.isin(WORLDS)].questions) != {study.digest()}:
        return "a world was drawn for another question"
    if note("questions")[question.name]["recipes"] != recipes_of(script):
        return "its recipes were changed after it was written down"
    if lacks := untuned(question):
        return lacks
    return older(question.name, FOLDER / f"{study.name}.csv")


if __name__ == "__main__":
    register(*sys.argv[1:])
