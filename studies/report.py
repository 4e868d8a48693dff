"""The page of the ten questions and their answers.

    python studies/register.py    # once: writes the questions down; commit them before the worlds are drawn
    kdlab study --all             # tunes, then draws world after world: commit figures/edition-2/ as it goes
    python studies/report.py      # writes docs/results.md, its figures, and the table of the front page

`kdlab study --all` skips a world whose rows are there, so any machine goes on from what is committed. Finished worlds
need none of their trainings: between two worlds, runs/, data/ and .cache/ may be deleted.
"""

import re
import sys
from importlib import import_module
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd

sys.path.insert(0, str(Path(__file__).parent))

from register import answers, older, script_of
from worlds import FOLDER, chosen, tried

from kdlab.measure.paired import Effect
from kdlab.show import plots
from kdlab.study import Answer, values
from kdlab.study.edition import missing
from kdlab.system import paths
from kdlab.system.files import write_atomically

HEAD = """# What was found

<!-- Written by `python studies/report.py`; do not change it by hand. -->

Ten questions, each answered in ten *worlds*. A world is one seed of everything: clips of `night`, networks, the order
of clips. It has its own test clips; chance is 9 %. ± is half of a 95 % interval over worlds (Student's t, paired in a
world). The questions, their rivals, the names of outcomes and the power of ten worlds were committed before the worlds
were drawn: [questions.json](../figures/edition-2/questions.json). Git shows this order; nobody else confirms it.
*Against it* is the method minus that rival. Methods and rivals were tuned on validation clips of three other worlds,
with two values each. *Tuned* counts them; chosen values follow where they are not the default. Zero-DCE, beside
question 2, was changed later, for its cost, before any result was read: 8 channels and only five worlds. *Helps* and
*is beaten* are each corrected over the ten questions (Holm); intervals are not. So an interval may exclude zero where
the sentence says *cannot tell*. *Failed* counts worlds where a baseline or rival stayed below twice the chance; none
is left out. An answer is about small networks, short trainings and `night`. Left out: real clips, too few for ten
worlds; networks at the papers' size; Grad-CAM (notebook 09). [ledger.md](ledger.md) says how to read the page,
[figures/edition-2](../figures/edition-2) has all rows and CPU seconds,
[figures/edition-1](../figures/edition-1/README.md) the first edition.
"""
#: Twice the chance of eleven classes, in percent: a training below it failed.
LEARNT = 18.2


def typeset(text: str) -> str:
    """``text`` with true minus signs."""
    return re.sub(r"-(?=\d)", "−", text)


def three_digits(value: float) -> str:
    """A number with three digits that count: 0.466, 12.7, 5,770."""
    return f"{float(f'{value:.3g}'):,g}"


def row(text: str, differences: pd.Series) -> str:
    """A row of a table: the effect, and its smallest and largest value in a world; the worlds where it was measured, if
    not all."""
    if len(measured := differences.dropna()) < len(differences):
        text, differences = f"{text} ({len(measured)} worlds)", measured
    ends = f"{differences.min():+.1f} to {differences.max():+.1f}"
    return f"| {text} | " + typeset(f"{Effect.of(differences)} | {ends} |")


def sentence(answer: Answer) -> str:
    """The answer with a capital and true minus signs."""
    text = typeset(str(answer))
    return text[0].upper() + text[1:]


def strongest(answer: Answer) -> str:
    """The strongest rival, and the method's difference to it; a dash where there is none."""
    rivals = (
        {} if answer.withheld else {name: answer.compared[name] for name in answer.question.rivals}
    )
    name = min(rivals, key=lambda rival: rivals[rival].mean, default="")
    return typeset(f"{name} ({rivals[name]})") if name else "–"


def tuned(script, names: tuple[str, ...]) -> str:
    """What was tuned, in one sentence."""
    candidates = getattr(script, "CANDIDATES", {})
    own, best, changed = tried(candidates), chosen(script.study.name, candidates), {}
    if not any(name in best for name in names):
        return "Nothing was tuned."
    shared = sum(name in best and name not in own for name in names)
    for name in names:
        for path, value in best.get(name, {}).items():
            changed.setdefault(f"{path.rpartition('.')[2]}={value:g}", []).append(name)
    return (
        f"Tuned: {sum(name in own for name in names)}"
        + f"; {shared} with the value of another" * bool(shared)
        + "".join(f"; `{value}`: {', '.join(users)}" for value, users in changed.items())
        + "."
    )


def means(question, measured: pd.DataFrame) -> str:
    """Mean values of the baseline, the method and the teacher."""
    names = [name for name in (question.baseline, question.method, question.teacher) if name]
    return f"Means: {'; '.join(f'{name} {measured[name].mean():.1f}' for name in names)}."


def section(answer: Answer) -> list[str]:
    """The heading, the sentence, one table, what was tuned, and one figure."""
    question, script = answer.question, script_of(answer.question)
    lines = [f"## {question.name}. {question.asks}", f"**{sentence(answer)}.**"]
    if answer.withheld:
        return lines
    measured = values(question.name).assign(zero=0.0)
    failed = (measured < LEARNT).sum() if question.unit == "points" else dict.fromkeys(measured, 0)
    rows = [
        (
            f"over {name}" + (f" (failed: {failed[name]})" if failed[name] else ""),
            question.method,
            name,
        )
        for name in answer.compared
    ]
    if question.teacher:
        rows += [(f"the teacher's lead: {question.teacher}", question.teacher, question.baseline)]
    rows += getattr(script, "ALSO", {}).get(question.name, ())
    table = [
        f"| {question.method}: {question.metric} | {question.unit} | lowest to highest world |",
        "|---|---|---|",
    ]
    table += [row(text, measured[one] - measured[other]) for text, one, other in rows]
    if failed[question.baseline]:
        learnt = measured[measured[question.baseline] >= LEARNT]
        table += [
            row(
                f"over {question.baseline}, without the failed world (added later)",
                learnt[question.method] - learnt[question.baseline],
            )
        ]
    name = f"question-{question.name}.png"
    figure = plots.effects(
        {f"− {other}": effect for other, effect in answer.compared.items()},
        question.method,
        f"difference, {question.unit}",
        question.small,
    )
    figure.savefig(FOLDER / name, dpi=110, bbox_inches="tight", metadata={"Software": None})
    plt.close(figure)
    gain = answer.share if answer.effect.low > 0 else None
    says = [
        means(question, measured) if question.baseline != "zero" else "",
        f"The gain is {100 * gain:.0f} % of the teacher's lead." if gain else "",
        getattr(script, "NOTES", {}).get(question.name, ""),
        tuned(script, (question.method, question.baseline, *question.rivals)),
    ]
    return [
        *lines,
        "\n".join(table),
        " ".join(filter(None, says)),
        f"![Question {question.name}](../figures/edition-2/{name})",
    ]


def costs() -> tuple[list[str], str]:
    """The section of question 4, which has no verdict, and its row on the front page."""
    script = import_module("cost_in_use")
    if why := missing("4") or older(FOLDER / "cost_in_use.csv"):
        return [
            f"## 4. {script.ASKS}",
            f"**Withheld: {why}.**",
        ], f"{script.ASKS} | Withheld: {why} | –"
    mean = values("4").mean()
    table = [
        "| " + " | ".join(["way", *script.MEASURED.values()]) + " |",
        "|---" * (1 + len(script.MEASURED)) + "|",
    ]
    table += [
        "| "
        + " | ".join([way, *(three_digits(mean[f"{way}: {what}"]) for what in script.MEASURED)])
        + " |"
        for way in script.WAYS
    ]
    first, *others = script.WAYS
    times = [f"{way} {mean[f'{way}: ms'] / mean[f'{first}: ms']:.3g}" for way in others]
    text = f"CPU time of a clip over that of a {first}: {'; '.join(times)}"
    return [f"## 4. {script.ASKS}", f"**{text}.**", "\n".join(table), "Means over worlds."], (
        f"{script.ASKS} | {text} | –"
    )


def main() -> None:
    found, (section_4, row_4) = answers(), costs()
    sections = {answer.question.name: section(answer) for answer in found} | {"4": section_4}
    rows = {
        answer.question.name: f"{answer.question.asks} | {sentence(answer)} | {strongest(answer)}"
        for answer in found
    } | {"4": row_4}
    order = sorted(sections, key=lambda name: (int(name.strip("ab")), name))
    text = "\n\n".join([HEAD.strip(), *("\n\n".join(sections[name]) for name in order)]) + "\n"
    front = [
        "| question | answer | strongest rival |",
        "|---|---|---|",
        *(f"| {name}. {rows[name]} |" for name in order),
    ]
    write_atomically(
        paths.project_root() / "docs" / "results.md",
        lambda path: path.write_text(text, encoding="utf-8"),
    )
    write_atomically(
        FOLDER / "front.md", lambda path: path.write_text("\n".join(front) + "\n", encoding="utf-8")
    )
    size = sum(file.stat().st_size for file in FOLDER.iterdir()) / 1e6
    words = len(re.findall(r"\S*\w\S*", text))  # the bars of tables are none
    print(f"{words} words of at most 2,500; figures/edition-2 has {size:.1f} of at most 12 MB")


if __name__ == "__main__":
    main()
