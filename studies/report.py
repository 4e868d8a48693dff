"""The page of the questions and their answers.

    python studies/register.py 1    # writes question 1 down; commit it before its worlds are drawn
    kdlab study --all               # tunes, then draws world after world: commit figures/evidence/ as it goes
    python studies/report.py        # writes docs/results.md, its figures, and the table of the front page

`kdlab study --all` skips a world whose rows are there, so any machine goes on from what is committed. Finished worlds
need none of their trainings: between two worlds, runs/, data/ and .cache/ may be deleted.
"""

import re
import sys
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

sys.path.insert(0, str(Path(__file__).parent))

import curves
from register import older, questions, script_of, tries_of, withheld
from worlds import AGREES, FITTED, FOLDER, LOSS, WORLDS, redrawn, unfitted

from kdlab.measure.fidelity import agreement, calibration_error, mistakes_shared, nll
from kdlab.measure.paired import LEVEL, Effect, quantile
from kdlab.show import plots
from kdlab.show.notebook import style
from kdlab.study import Answer, Scores, answers, values
from kdlab.study.evidence import missing
from kdlab.system import paths
from kdlab.system.files import write_content

HEAD = f"""# What was found

<!-- Written by `python studies/report.py`; do not change it by hand. -->

Ten questions are answered in {len(WORLDS)} *worlds* (question 4 in three). A world is one seed of everything: clips
of `night`, networks, the order of clips. The number of steps was chosen in other worlds: there, labels alone gained
less than a point from twice the steps, as is not always so in the worlds of the answers
([budgets](../studies/budgets.py)). Methods and rivals were tuned in two other worlds, with three or more rates and
values of their own weight; [ledger.md](ledger.md) has the exceptions to both. ± is half of a 95 % interval over worlds
(Student's t, paired). *Wins* counts worlds in which the method is ahead. Questions, rivals, rows and recipes were
committed before their worlds were drawn ([questions.json](../figures/evidence/questions.json)); the gains by steps of
questions 5 and 6 were drawn after their answers.
A world in which a network keeps a loss above {FITTED:g} nats on its training clips at its whole budget is drawn
again, and named. Students of random teachers are exempt since world 211. In
tables of agreement, the first row is compared with the second row's teacher, and brackets hold training clips. *Helps*
and *is beaten* are each corrected over the ten questions (Holm); intervals are not.
"""


def in_order(names: Iterable[str]) -> list[str]:
    """The names of questions in their order: 8a, 8b, 9, 10."""
    return sorted(names, key=lambda name: (int(name.strip("ab")), name))


def typeset(text: str) -> str:
    """``text`` with true minus signs."""
    return re.sub(r"-(?=\d)", "−", text)


def three_digits(value: float) -> str:
    """A number with three digits that count: 0.466, 12.7, 5,770."""
    return f"{float(f'{value:.3g}'):,g}"


def clips_of(study: str) -> float:
    """The number of test clips of a world of a study; infinite where no answers to clips are kept."""
    file = FOLDER / f"{study}-{WORLDS[0]}.npz"
    return len(Scores.load(file).ids) if file.exists() else np.inf


def effect_of(differences: pd.Series, clips: float) -> Effect:
    """The effect of ``differences`` between conditions; whole numbers of ``clips`` give it a floor."""
    counts = differences * clips / 100
    whole = np.isfinite(clips) and np.allclose(counts, counts.round())
    return Effect.of(differences, clips=clips if whole else np.inf)


def row(text: str, differences: pd.Series, clips: float) -> str:
    """A row of a table: the effect, the median, and the wins; the page's pictures have a dot a world."""
    wins = (differences > 0).sum()
    cells = f"{effect_of(differences, clips)} | {differences.median():+.1f} | {wins}"
    return f"| {text} | {typeset(cells)} |"


def sentence(answer: Answer) -> str:
    """The answer with a capital and true minus signs."""
    text = typeset(str(answer))
    return text[0].upper() + text[1:]


def tuned(script, conditions: set[str]) -> str:
    """What was chosen for ``conditions``, in one sentence, where it is not the usual value; empty if nothing is tuned."""
    tables = tries_of(script)
    here = [name for name in tables if name in conditions]
    chosen = {}
    for name in here:
        table = tables[name]
        for line in table[table.best & ~table.usual].itertuples():
            setting = f"`{line.path.rpartition('.')[2]}={line.value:g}`"
            chosen.setdefault(setting, []).append(name)
    if not chosen:
        return "Tuning chose the usual values." if tables else ""
    each = "; ".join(
        f"{setting} for {'all' if names == here else ', '.join(names)}"
        for setting, names in chosen.items()
    )
    return f"Tuning chose {each}."


def failures(study: str) -> str:
    """Which worlds were drawn again, and why, in one sentence; empty where none was."""
    again = [
        f"{world} ({'; '.join(sorted(set(sum(attempts, []))))})"
        for world, attempts in redrawn(study).items()
    ]
    says = f"Drawn again: world {', '.join(again)}." if again else ""
    rows = pd.read_csv(FOLDER / f"{study}.csv")
    for world in sorted(set(unfitted(rows[rows.world.isin(WORLDS)]).world)):
        says += f" World {world} stands although a network had not learnt."
    return says


def steps(at: dict[str, pd.DataFrame], unit: str, clips: float) -> tuple[Figure, str]:
    """Accuracy against steps, a dot a world; and what the method, the second of ``at``, gains on the first."""
    fig, ax = plt.subplots(figsize=(6.6, 3.2))
    for k, (condition, drawn) in enumerate(at.items()):
        shares = drawn.columns.to_numpy(float)
        ax.plot(shares, drawn.mean(), color=f"C{k}", label=condition)
        ax.plot(shares * (1 + 0.03 * (k - 1)), drawn.T, "o", color=f"C{k}", alpha=0.5, markersize=4)
    plain, method, *_ = at.values()
    ax.set_xscale("log", base=2)
    ax.set_xticks(shares, [f"×{share}" for share in plain])
    ax.set(xlabel="steps, of the budget", ylabel=unit)
    ax.legend()
    gains = [f"×{share} {effect_of((method - plain)[share], clips)}" for share in plain]
    return fig, typeset(f"Gain by steps ({len(plain)} worlds): {', '.join(gains)}.")


def slope(leads: np.ndarray, gains: np.ndarray) -> tuple[float, float]:
    """The mean of the worlds' slopes of gain on lead ``(worlds, doses)``, and half of its 95 % interval."""
    centred = leads - leads.mean(1, keepdims=True)
    slopes = (centred * gains).sum(1) / (centred**2).sum(1)
    half = quantile(len(slopes), LEVEL) * slopes.std(ddof=1) / len(slopes) ** 0.5
    return float(slopes.mean()), float(half)


def dose(measured: pd.DataFrame, doses: dict[str, str], baseline: str) -> tuple[Figure, str]:
    """The students' gains against their teachers' leads, a line a world; and the slope in one sentence."""
    base = measured[[baseline]].to_numpy()
    gains, leads = (measured[list(n)].to_numpy() - base for n in (doses, doses.values()))
    fig, ax = plt.subplots(figsize=(6.6, 3.2))
    for k, name in enumerate(doses):
        ax.plot(leads[:, k], gains[:, k], "o", color=f"C{k}", alpha=0.7, label=name)
    for lead, gain in zip(leads, gains, strict=True):
        order = lead.argsort()
        ax.plot(lead[order], gain[order], color="grey")
    mean, half = slope(leads, gains)
    ax.axhline(0, color="grey", linewidth=0.8)
    ax.axvline(0, color="grey", linewidth=0.8)
    ax.set(
        xlabel=f"the teacher's lead over {baseline}, points", ylabel="its student's gain, points"
    )
    fig.legend(loc="outside right upper", fontsize="small")
    text = f"A point of the teacher's lead goes with {mean:+.2f} ± {half:.2f} points of its student's gain."
    return fig, typeset(text)


def fidelity(study: str, names: dict[str, str], baseline: str, measured: pd.DataFrame) -> list[str]:
    """A table of agreement, mistakes shared, NLL and ECE on test clips, means over worlds; ``names``: student →
    teacher. The baseline is compared with the first teacher. What was ``measured`` on training clips is in brackets."""
    every = {baseline: next(iter(names.values()))} | names
    sums = {name: [] for name in every}
    for world in WORLDS:
        scores = Scores.load(FOLDER / f"{study}-{world}.npz")
        for student, teacher in every.items():
            own_, other = (scores.logits[name][0].astype(float) for name in (student, teacher))
            sums[student].append(
                (
                    agreement(own_, other),
                    mistakes_shared(own_, other, scores.labels),
                    nll(own_, scores.labels),
                    calibration_error(own_, scores.labels),
                )
            )
    rows = [
        "| on test clips | agrees with its teacher, % | gives its wrong answers, % | NLL, nats | ECE, % |",
        "|---|---|---|---|---|",
    ]
    means = measured.mean()
    for name, each in sums.items():
        a, b, c, d = np.nanmean(each, 0)
        agrees, loss = (
            f" ({means[name + what]:.{digits}f})" if name + what in means else ""
            for what, digits in ((AGREES, 1), (LOSS, 2))
        )
        rows.append(f"| {name} | {a:.1f}{agrees} | {b:.1f} | {c:.2f}{loss} | {d:.1f} |")
    return rows


def save(figure: Figure, name: str) -> str:
    """Save a figure of the page; its line in Markdown."""
    figure.savefig(FOLDER / f"{name}.png", metadata={"Software": None})
    plt.close(figure)
    return f"![{name.replace('-', ' ')}](../figures/evidence/{name}.png)"


def section(answer: Answer) -> list[str]:
    """The heading, the sentence, a table, its figures, fidelity, and what was tuned."""
    question, script = answer.question, script_of(answer.question)
    lines = [f"## {question.name}. {question.asks}", f"**{sentence(answer)}.**"]
    if answer.withheld:
        return lines
    measured, clips = values(question.name).assign(zero=0.0), clips_of(script.study.name)
    rows = {(question.method, name): f"− {name}" for name in answer.compared}
    if question.teacher:
        lead = f"the teacher's lead: {question.teacher}"
        rows[question.teacher, question.baseline] = lead
    # each difference once, and none of a condition from itself
    for text, one, other in getattr(script, "ALSO", {}).get(question.name, ()):
        if one != other:
            rows.setdefault((one, other), text)
    table = [
        f"| {question.method}: {question.metric} | {question.unit} | median | wins of {len(measured)} |",
        "|---|---|---|---|",
    ]
    for (one, other), text in rows.items():
        table.append(row(text, measured[one] - measured[other], clips))
    differences = {
        f"− {other}": measured[question.method] - measured[other] for other in answer.compared
    }
    forest = plots.effects(
        {f"− {other}": effect for other, effect in answer.compared.items()},
        question.method,
        f"difference, {question.unit}",
        question.small,
        differences,
    )
    forest.axes[0].set_xlim(getattr(script, "AXIS", {}).get(question.name))
    pictures, says = [save(forest, f"question-{question.name}")], []
    if at := curves.budgets(question.name):
        figure, text = steps(at, question.metric, clips)
        pictures.append(save(figure, f"question-{question.name}-steps"))
        says.append(text)
    teaching = script if question.name in ("1", "2", "5") else None
    if doses := getattr(teaching, "DOSES", {}):
        figure, text = dose(measured, doses, question.baseline)
        pictures.append(save(figure, f"question-{question.name}-dose"))
        says.append(text)
    names = [name for name in (question.baseline, question.method, question.teacher) if name]
    if question.baseline != "zero":
        text = "; ".join(f"{name} {measured[name].mean():.1f}" for name in names)
        says.insert(0, typeset(f"Means: {text}."))
    if answer.share is not None and answer.effect.low > 0:
        says.append(f"The gain is {100 * answer.share:.0f} % of the teacher's lead.")
    says += [
        getattr(script, "NOTES", {}).get(question.name, ""),
        tuned(script, {question.method, question.baseline, *question.rivals}),
        failures(script.study.name) if question == script.QUESTIONS[0] else "",
    ]
    taught = getattr(teaching, "TAUGHT", {})
    lines += ["\n".join(table), " ".join(filter(None, says))]
    if taught:
        lines.append("\n".join(fidelity(script.study.name, taught, question.baseline, measured)))
    return [*lines, "\n".join(pictures)]


def costs() -> tuple[list[str], str]:
    """The section of question 4, which has no verdict, and its answer on the front page."""
    script = import_module("cost_in_use")
    if why := missing("4") or older("4", FOLDER / "cost_in_use.csv"):
        return [f"## 4. {script.ASKS}", f"**Withheld: {why}.**"], f"withheld: {why}"
    mean = values("4").mean()
    first, *others = script.WAYS
    times = [f"{way} {mean[f'{way}: ms'] / mean[f'{first}: ms']:.3g}" for way in others]
    text = f"CPU time of a clip over that of a {first}: {'; '.join(times)}"
    cells = [["way", *script.MEASURED.values()]]
    cells += [
        [way, *(three_digits(mean[f"{way}: {what}"]) for what in script.MEASURED)]
        for way in script.WAYS
    ]
    lines = [f"| {' | '.join(line)} |" for line in cells]
    lines.insert(1, "|---" * len(cells[0]) + "|")
    return [f"## 4. {script.ASKS}", f"**{text}.**", "\n".join(lines)], text


def front(read: dict[str, Answer], row_4: str) -> list[str]:
    """The table of the front page, and its figure: all answers, a dot a world."""
    rows = {name: f"{a.question.asks} | {sentence(a)}" for name, a in read.items()}
    rows["4"] = f"{import_module('cost_in_use').ASKS} | {row_4}"
    order, effects, dots = in_order(rows), {}, {}
    for name in in_order(read):
        answer, question = read[name], read[name].question
        if answer.withheld or question.unit != "points":
            continue
        measured = values(name).assign(zero=0.0)
        unit = " (mAP)" if "mAP" in question.metric else ""
        difference = f"{name}{unit}. {question.method} − {question.baseline}"
        effects[difference] = answer.effect
        dots[difference] = measured[question.method] - measured[question.baseline]
    if effects:
        save(plots.effects(effects, "", "difference, points", 1.0, dots), "answers")
    return ["| question | answer |", "|---|---|", *(f"| {name}. {rows[name]} |" for name in order)]


def main() -> None:
    style()
    page, read = paths.project_root() / "docs" / "results.md", answers()
    section_4, row_4 = costs()
    sections = {"4": section_4}
    for question in questions():
        why = withheld(question)
        answer = Answer(question, {}, withheld=why) if why else read[question.name]
        sections[question.name] = section(answer)
    each = ("\n\n".join(sections[name]) for name in in_order(sections))
    text = "\n\n".join([HEAD.strip(), *each]) + "\n"
    table = "\n".join(front(read, row_4)) + "\n"
    write_content(page, text)
    write_content(FOLDER / "front.md", table)
    size = sum(file.stat().st_size for file in FOLDER.glob("*.npz")) / 1e6
    words = len(re.findall(r"\S*\w\S*", text))  # the bars of tables are none
    print(f"{words} words of at most 2,500; answers to clips have {size:.1f} of at most 15 MB")


if __name__ == "__main__":
    main()
