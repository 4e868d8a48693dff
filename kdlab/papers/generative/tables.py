"""What is committed of generative distillation, as tables and sentences of notebooks 04 and 05: which reading it is,
whether the CVAEs generate, what teachers say, whose errors students give, what networks cost."""

import math
from collections.abc import Mapping, Sequence

import pandas as pd

from kdlab.measure.paired import Effect
from kdlab.papers.generative import study as recognition
from kdlab.papers.generative.generation import lacking, means
from kdlab.study import FIRST, UNREAD, Scores

#: What of :func:`kdlab.papers.generative.generation.means` is shown, and how it reads above a column.
_HEADS = {"rebuilt": "rebuilt, R² %", "generated": "generated, R² %",
          "rebuilt − exchanged": "another λ costs (rebuilt)",
          "generated − exchanged": "another λ costs (generated)"}


def reading(data: str, scores: Scores, units: str = "clips") -> str:
    """Which reading this is, in a sentence: registered seeds or earlier ones, and on what."""
    first, *_, last = (*scores.seeds, scores.seeds[-1])
    seeds = f"seed {first}" if first == last else f"seeds {first} to {last}"
    on = f"{len(scores.ids):,} test {units}"
    if data.endswith(UNREAD):
        return f"Registered reading: {seeds}, {on} that nobody had read."
    if first >= FIRST:
        return f"Second reading: registered {seeds}, on {on} that had been read before."
    return f"Second reading: {seeds}, {on}; no claim is to be confirmed by these seeds."


def enough_steps(found: tuple[float, float, str], student: str, what: str) -> str:
    """What :func:`kdlab.study.convergence` ``found`` of a ``student`` with twice the steps, in a sentence; ``what`` is
    the number that is compared."""
    gain, half, word = found
    if not math.isfinite(gain):
        return f"Whether twice the steps would change {student} is not measured in what is committed."
    return f"Twice the steps change {student} by {gain:+.1f} ± {half:.1f} points of {what}: {word}."


def generation_table(rows: pd.DataFrame, wanted: Sequence[tuple[str, str]], titles: Mapping[str, str]) -> pd.DataFrame:
    """Whether CVAEs generate, by the ``rows`` of a study: a line for each (data, condition) that is ``wanted``; empty
    where none of them was measured."""
    if not any(means(rows, data, condition) for data, condition in wanted):
        return pd.DataFrame()
    lines = []
    for data, condition in wanted:
        found = means(rows, data, condition)
        cells = {head: str(found[way]) if found else "–" for way, head in _HEADS.items()}
        word = (lacking(found) or "generates") if found else "not measured in what is committed"
        lines.append({"network": titles.get(condition, condition), **cells, "the gate says": word})
    return pd.DataFrame(lines)


def taught_table(rows: pd.DataFrame, scores: Scores) -> pd.DataFrame:
    """:func:`.study.beside_effects` for people; empty where no entropies are committed of these runs."""
    found = recognition.beside_effects(rows, scores)
    words = {"student": [recognition.recipes.TITLES.get(name, name) for name in found.condition],
             "gain over CE (points)": found.effect.map(str), "teacher's targets (nats)": found.entropy,
             "teacher − CE (points)": [str(gap) if isinstance(gap, Effect) else "–" for gap in found.gap]}
    return pd.DataFrame(words)


def inherited_table(scores: Scores) -> pd.DataFrame:
    """:func:`.study.inherited_table` for people: how often a student gives the wrong answer of its own teacher, of a
    teacher of another seed, and the difference with its interval; empty where there are fewer than two seeds, or
    networks err so seldom that nothing can be told."""
    try:
        found = recognition.inherited_table(scores)
    except ValueError:
        found = pd.DataFrame(columns=["student", "teacher", "measure", "own", "other", "gain"])
    found = found[found.measure == "teacher's wrong answers given"]
    return pd.DataFrame({"student": found.student.map(recognition.recipes.TITLES),
                         "its teacher": found.teacher.map(recognition.recipes.TITLES),
                         "own teacher's wrong answers given, %": found.own, "another teacher's, %": found.other,
                         "difference (points)": found.gain})


def inherited_line(found: pd.DataFrame) -> str:
    """What :func:`inherited_table` comes to, in a sentence."""
    if found.empty:
        return "Whose errors students give cannot be told here: there are too few seeds, or networks hardly err."
    sure = [row["student"] for _, row in found.iterrows() if row["difference (points)"].low > 0]
    if not sure:
        return "No student gives its own teacher's errors surely more often than another teacher's: every interval " \
               "reaches down to zero."
    return f"{len(sure)} of {len(found)} give their own teacher's errors surely more often than another teacher's: " \
           f"{', '.join(sure)}."


def cost_table(rows: pd.DataFrame) -> pd.DataFrame:
    """What networks cost at test time by the ``rows`` of the recognition study; the CVAEs are not needed there."""
    found = rows[rows.data == "cost"].pivot_table("value", "condition", "metric", aggfunc="first", sort=False)
    found = found.astype(float)
    share = 100 * found[["macs", "cpu_ms"]] / found.loc["teacher_fr", ["macs", "cpu_ms"]]
    return pd.DataFrame({"network": [recognition.recipes.TITLES[name] for name in found.index],
                         "parameters": found.parameters.astype(int).to_numpy(),
                         "MMAC a clip": found.macs.to_numpy() / 1e6, "CPU ms a clip": found.cpu_ms.to_numpy(),
                         "MACs, % of the teacher": share.macs.to_numpy(),
                         "time, % of the teacher": share.cpu_ms.to_numpy()})


def gradient_table(rows: pd.DataFrame) -> pd.DataFrame:
    """How much of pass 2's gradient in GenKD's backbone comes from each term, in percent of the class loss's: mean over
    seeds, the least and the most."""
    felt = rows[rows.metric.str.startswith("gradient:")].assign(value=lambda table: 100 * table.value.astype(float))
    each = felt.groupby("metric").value.agg(["mean", "min", "max"])
    each.index = [{"generated": "features generated from λ", "attention": "λ as the teacher's"}.get(
        name.partition(":")[2], name) for name in each.index]
    each.columns = ["% of the class loss's gradient", "least", "most"]
    return each.rename_axis("term").reset_index()
