"""The ten questions and their answers.

    python studies/report.py --register    # writes figures/edition-2/questions.json: commit it before the worlds
    kdlab study --all                      # tunes, then draws world after world: commit figures/edition-2/ as it goes
    python studies/report.py               # writes docs/results.md, its figures, and the table of the front page

`kdlab study --all` skips a world whose rows are there, so any machine goes on from what is committed. Finished worlds
need none of their trainings: between two worlds, runs/, data/ and .cache/ may be deleted.
"""

import json
import re
import subprocess
import sys
from dataclasses import asdict
from importlib import import_module
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd

sys.path.insert(0, str(Path(__file__).parent))

from worlds import FOLDER, TUNED_IN, WORLDS, chosen, label, tried

from kdlab.measure.paired import LEVEL, Effect, quantile
from kdlab.show import plots
from kdlab.study import Answer, Question
from kdlab.study.question import SENTENCES, read_together
from kdlab.system import paths
from kdlab.system.files import write_atomically

SCRIPTS = "from_nothing", "into_the_dark", "cost_in_use", "generative", "detection", "exits", "flatness"
#: Answers that are read together by Holm; question 4 is measured, and question 8 has two answers.
ANSWERS = 10


def script_of(question: Question):
    return next(script for script in map(import_module, SCRIPTS) if question in getattr(script, "QUESTIONS", ()))


def questions() -> list[Question]:
    """All questions in their order; raises ``ValueError`` unless they are ten answers."""
    found = [question for name in SCRIPTS for question in getattr(import_module(name), "QUESTIONS", ())]
    if len(found) != ANSWERS:
        raise ValueError(f"there are {len(found)} questions with an answer, where {ANSWERS} are read together")
    return found


def record(question: Question) -> dict:
    """What is written down beforehand: the question, its digest, what each outcome is called, what is tuned, and the
    power. ``sees`` is the smallest effect that ten worlds find with a probability of 80 %, at Holm's first level."""
    names = asdict(question) | {"rival": "[rival]"} | dict.fromkeys(("effect", "against", "needed"), "…")
    tails = quantile(len(WORLDS), 1 - (1 - LEVEL) / ANSWERS) + quantile(len(WORLDS), 0.6)  # two-sided 60 %: 80 % below
    return asdict(question) | {
        "digest": question.digest(), "worlds": WORLDS, "tuned_in": TUNED_IN,
        "outcomes": [text.format_map(names) for text in SENTENCES.values()],
        "candidates": getattr(script_of(question), "CANDIDATES", {}),
        "sees": round(tails * question.spread / len(WORLDS) ** 0.5, 2)}


def register() -> None:
    """Write the questions down. Raises ``ValueError`` where a world was drawn already."""
    if early := [name for name in SCRIPTS if (FOLDER / f"{name}.csv").exists()]:
        raise ValueError(f"{FOLDER / early[0]}.csv has results already: questions are written down before them")
    costs = import_module("cost_in_use")
    every = {question.name: record(question) for question in questions()}
    every["4"] = {"asks": costs.ASKS, "ways": costs.WAYS, "measured": costs.MEASURED, "outcomes": ["no verdict"]}
    text = json.dumps(every, indent=1, ensure_ascii=False) + "\n"
    write_atomically(FOLDER / "questions.json", lambda path: path.write_text(text, encoding="utf-8"))


def git(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(["git", *arguments], cwd=FOLDER, capture_output=True, text=True, check=False)


def older(results: Path) -> str:
    """Why ``results`` may be older than the questions, by git; empty where the questions were committed first."""
    asked = git("log", "-1", "--format=%H", "--", "questions.json").stdout.strip()
    if not asked or git("status", "--porcelain", "--", "questions.json").stdout.strip():
        return "the questions are not committed"
    first = git("log", "--diff-filter=A", "--reverse", "--format=%H", "--", results.name).stdout.split()[:1]
    if first and (first[0] == asked or git("merge-base", "--is-ancestor", asked, first[0]).returncode):
        return "the results are older than their question"
    return ""


def withheld(question: Question) -> str:
    """Why the question has no answer yet, in one sentence; empty where it has one."""
    script = script_of(question)
    study, rows = script.study, script.study.rows(FOLDER)
    known = json.loads(file.read_text("utf-8")) if (file := FOLDER / "questions.json").exists() else {}
    if known.get(question.name, {}).get("digest") != question.digest():
        return "the question was changed after it was written down, or was not written down"
    if missing := sorted(set(WORLDS) - set(rows.world)):
        return f"world {missing[0]} is missing" + f", and {len(missing) - 1} more" * (len(missing) > 1)
    if set(rows[rows.world.isin(WORLDS)].questions) != {study.digest()}:
        return "a world was drawn for another question"
    names = question.method, question.baseline, *question.rivals
    candidates = getattr(script, "CANDIDATES", dict.fromkeys(names, ()))
    tuned = script.tuned.rows(FOLDER) if hasattr(script, "tuned") else None
    for name, shares in ((name, candidates.get(name)) for name in names):
        source = shares if isinstance(shares, str) else name
        labels = [label(source, change) for change in tried(candidates).get(source, ())]
        if shares is None or not all(set(TUNED_IN) <= set(tuned[tuned.condition == each].world) for each in labels):
            return f"{name} was not tuned"
    return older(FOLDER / f"{study.name}.csv")


def values_of(study) -> pd.DataFrame:
    """The values in :data:`WORLDS`, a row for each world and a column for each condition."""
    return study.rows(FOLDER).pivot(index="world", columns="condition", values="value").loc[list(WORLDS)]


def answers() -> list[Answer]:
    """The answers to all questions, read together."""
    found = []
    for question in questions():
        why = withheld(question)
        found.append(Answer(question, {}, withheld=why) if why
                     else Answer.of(question, values_of(script_of(question).study)))
    return read_together(found)


# --- the page --------------------------------------------------------------------------------------------------

HEAD = """# What was found

<!-- Written by `python studies/report.py`; do not change it by hand. -->

Ten questions, each answered in ten *worlds*. A world is one seed of everything: clips of `night`, networks, the order
of clips. It has its own test clips. ± is half of a 95 % interval over worlds (Student's t, paired in a world).
The questions, their rivals, what each outcome would be called, and what ten worlds can see were committed before the
worlds were drawn: [questions.json](../figures/edition-2/questions.json). Methods and rivals were tuned on validation
clips of five other worlds, with two values each. All sentences hold together at 95 % (Holm). Beside an effect stand
its lowest and its highest world. An answer is about small networks on `night`, and about no other clips.
[ledger.md](ledger.md) says how to read it. The first edition is data:
[figures/edition-1](../figures/edition-1/README.md).
"""


def row(text: str, differences: pd.Series) -> str:
    """A row of a table: the effect, and its smallest and largest value in a world."""
    ends = f"{differences.min():+.1f} to {differences.max():+.1f}"
    return f"| {text} | " + f"{Effect.of(differences)} | {ends} |".replace("-", "−")


def sentence(answer: Answer) -> str:
    """The answer with a capital and true minus signs."""
    text = re.sub(r"-(?=\d)", "−", str(answer))
    return text[0].upper() + text[1:]


def nearest(answer: Answer) -> str:
    """The rival that comes nearest, and the method's difference to it; a dash where there is none."""
    rivals = {} if answer.withheld else {name: answer.compared[name] for name in answer.question.rivals}
    name = min(rivals, key=lambda rival: rivals[rival].mean, default="")
    return re.sub(r"-(?=\d)", "−", f"{name} ({rivals[name]})") if name else "–"


def tuned(script, names: tuple[str, ...]) -> str:
    """What was tuned, in one sentence."""
    values = chosen(script.study.name, getattr(script, "CANDIDATES", {}))
    values = {name: values[name] for name in names if name in values}
    parts = [f"{name} {json.dumps(change)}" for name, change in values.items() if change]
    return f"{len(values)} were tuned. Changed were: {'; '.join(parts) or 'none'}." if values else "Nothing to tune."


def section(answer: Answer) -> list[str]:
    """The heading, the sentence, one table, one figure, and what was tuned."""
    question, script = answer.question, script_of(answer.question)
    lines = [f"## {question.name}. {question.asks}", f"**{sentence(answer)}.**"]
    if answer.withheld:
        return lines
    values = values_of(script.study).assign(zero=0.0)
    rows = [(f"over {name}", question.method, name) for name in answer.compared]
    rows += [(f"the lead of {question.teacher}", question.teacher, question.baseline)] if question.teacher else []
    rows += getattr(script, "ALSO", {}).get(question.name, ())
    table = [f"| {question.method}: {question.metric} | {question.unit} | worlds |", "|---|---|---|"]
    table += [row(text, values[one] - values[other]) for text, one, other in rows]
    share = [f"Of the teacher's lead {100 * answer.share:.0f} % was passed on."] if answer.share is not None else []
    name = f"question-{question.name}.png"
    figure = plots.effects({f"− {other}": effect for other, effect in answer.compared.items()}, question.method,
                           f"difference, {question.unit}", question.small)
    figure.savefig(FOLDER / name, dpi=110, bbox_inches="tight", metadata={"Software": None})
    plt.close(figure)
    lines += [f"The rival that comes nearest: {nearest(answer)}."] if question.rivals else []
    return [*lines, "\n".join(table), *share, f"![{question.asks}](../figures/edition-2/{name})",
            tuned(script, (question.method, question.baseline, *question.rivals))]


def costs() -> list[str]:
    """Question 4, which has no verdict."""
    script, lines = import_module("cost_in_use"), []
    missing = set(WORLDS) - set(script.study.rows(FOLDER).world)
    if missing:
        return [f"## 4. {script.ASKS}", f"**Withheld: world {min(missing)} is missing.**"]
    values = values_of(script.study)
    lines = ["| " + " | ".join(["way", *script.MEASURED.values()]) + " |", "|---" * (1 + len(script.MEASURED)) + "|"]
    lines += ["| " + " | ".join([way, *(f"{values[f'{way}: {what}'].mean():.3g}" for what in script.MEASURED)]) + " |"
              for way in script.WAYS]
    return [f"## 4. {script.ASKS}", "\n".join(lines),
            "Means over worlds; milliseconds are those of the machines that drew them."]


def main() -> None:
    found = answers()
    sections = {answer.question.name: section(answer) for answer in found} | {"4": costs()}
    order = sorted(sections, key=lambda name: (int(name.strip("ab")), name))
    text = "\n\n".join([HEAD.strip(), *("\n\n".join(sections[name]) for name in order)]) + "\n"
    front = ["| question | answer, over ten worlds | nearest rival |", "|---|---|---|"]
    front += [f"| {answer.question.asks} | {sentence(answer)} | {nearest(answer)} |" for answer in found]
    write_atomically(paths.project_root() / "docs" / "results.md", lambda path: path.write_text(text, encoding="utf-8"))
    write_atomically(FOLDER / "front.md", lambda path: path.write_text("\n".join(front) + "\n", encoding="utf-8"))
    size = sum(file.stat().st_size for file in FOLDER.iterdir()) / 1e6
    print(f"{len(text.split())} words of at most 2,500; figures/edition-2 has {size:.1f} of at most 12 MB")


if __name__ == "__main__":
    register() if sys.argv[1:] == ["--register"] else main()
