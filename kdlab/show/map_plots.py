"""The map of gains as a picture, and as one through which a hand can move.

``cells`` has a line for each cell and seed: ``method``, ``teacher``, ``clips`` (training clips a class), ``steps`` (a
multiple), ``seed``, and in points ``gain`` (student − CE) and ``gap`` (teacher − CE), on test clips. ``methods`` and
``teachers`` say how their words read.
"""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from kdlab.measure.accuracy import half_width
from kdlab.show.plots import PAGE, drawn, numbers
from kdlab.show.said import minus
from kdlab.show.widgets import explore

_PLACE = ["method", "teacher", "clips", "steps"]
#: One time the steps, in words and as fractions.
_FRACTIONS = {0.25: "¼", 0.5: "½"}


def means(cells: pd.DataFrame) -> pd.DataFrame:
    """A line for each cell: the means of ``gain`` and ``gap`` over seeds, ``half``, half of the gain's 95 % interval
    over them (NaN of one seed), and ``seeds``."""
    each = cells.groupby(_PLACE, sort=False)
    found = each[["gain", "gap"]].mean()
    found["half"] = each.gain.apply(lambda gains: half_width(gains) if len(gains) > 1 else np.nan)
    found["seeds"] = each.seed.nunique()
    return found.reset_index()


def map_picture(cells: pd.DataFrame, methods: Mapping[str, str], teachers: Mapping[str, str],
                title: str = "") -> Figure:
    """Above, every cell's mean gain in points as a number and a colour, bold where the interval over seeds is
    off 0; below, the same gains against the teachers' gaps, a mark for each method."""
    found = means(cells)
    fig, (top, bottom) = plt.subplots(2, 1, figsize=(PAGE, 7.4), height_ratios=(1.15, 1))
    rows = found.assign(row=[f"{methods[m]}, {teachers[t]}" for m, t in zip(found.method, found.teacher, strict=True)])
    order = list(dict.fromkeys(rows.row))
    gains = rows.pivot(index="row", columns=["clips", "steps"], values="gain").reindex(order).sort_index(axis=1)
    sure = (abs(rows.gain) > rows.half.fillna(np.inf)).to_numpy()
    sure = rows.assign(sure=sure).pivot(index="row", columns=["clips", "steps"], values="sure")
    sure = sure.reindex(index=gains.index, columns=gains.columns)
    words = gains.map(lambda gain: "" if np.isnan(gain) else _signed(gain)).to_numpy()
    flat = gains.set_axis([f"×{_steps(steps)}" for _, steps in gains.columns], axis=1)
    numbers(top, flat, words)
    told = [mark for mark, word in zip(sure.to_numpy().ravel(), words.ravel(), strict=True) if word]
    for text, certain in zip(top.texts, told, strict=True):
        text.set(color="black" if certain else "#707070", fontweight="bold" if certain else "normal")
    counts = [clips for clips, _ in gains.columns]
    for clips in dict.fromkeys(counts):
        first, many = counts.index(clips), counts.count(clips)
        top.annotate(f"{clips} clips a class", (first + many / 2, 1.02), xycoords=("data", "axes fraction"),
                     ha="center", fontsize=9)
        if first:
            top.axvline(first, color="black", linewidth=1.2)
    seeds = _seeds(found.seeds)
    top.set(ylabel="", xlabel=f"steps; gain over CE in points, mean of {seeds}; bold: its 95 % interval is off 0")
    top.set_title(title, pad=22)
    for k, (method, its) in enumerate(found.groupby("method", sort=False)):
        bottom.errorbar(its.gap, its.gain, its.half, label=methods[method], elinewidth=0.6, alpha=0.85,
                        **drawn(k, linestyle="none", markersize=5))
    for line in (bottom.axhline, bottom.axvline):
        line(0, color="grey", linestyle=":", linewidth=1.2)
    bottom.set(xlabel="gap: teacher − CE (points of test accuracy)", ylabel="gain: student − CE (points)")
    bottom.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncol=len(methods), frameon=False)
    return fig


def cell_picture(cells: pd.DataFrame, methods: Mapping[str, str], teachers: Mapping[str, str], method: str,
                 teacher: str, clips: int, steps: float) -> Figure:
    """One cell among its neighbours: its method's gains over steps, a line for each clip count with its interval over
    seeds, and a ring around the cell. Raises ``ValueError`` for a method, teacher or clip count that is not there, in
    whose place another is named; where only the steps are not, the title says so."""
    some = means(cells)
    for name, value in (("method", method), ("teacher", teacher), ("clips", clips)):
        there = list(dict.fromkeys(some[name]))
        if value not in there:
            raise ValueError(f"the map has no {name} {value!r}; it has {', '.join(map(str, there))}")
        if name != "clips":
            some = some[some[name] == value]
    fig, ax = plt.subplots(figsize=(6.6, 3.6))
    for k, (count, line) in enumerate(some.groupby("clips")):
        mine = count == clips
        how = drawn(k, linewidth=2.4 if mine else 1.0, alpha=1.0 if mine else 0.45)
        ax.errorbar(np.log2(line.steps), line.gain, line.half, label=f"{count} clips a class", capsize=3, **how)
    ax.axhline(0, color="grey", linestyle=":", linewidth=1.2)
    every = sorted(cells.steps.unique())
    ax.set(xticks=np.log2(every), xticklabels=[f"×{_steps(its)}" for its in every], xlabel="steps",
           ylabel="gain over CE (points)", xlim=(np.log2(every[0]) - 0.2, np.log2(every[-1]) + 0.2))
    ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    words = f"{methods[method]}, teacher {teachers[teacher]}, {clips} clips a class, ×{_steps(steps)} steps"
    at = some[(some.clips == clips) & (some.steps == steps)]
    if at.empty:
        ax.set_title(f"{words}:\nnot on the map", fontsize=9)
        return fig
    (cell,) = at.itertuples()
    ax.plot(np.log2(steps), cell.gain, "o", markersize=15, markerfacecolor="none", markeredgecolor="black")
    ax.set_title(f"{words}:\n{_told(cell)}", fontsize=9)
    return fig


def map_sentences(cells: pd.DataFrame, methods: Mapping[str, str], teachers: Mapping[str, str]) -> list[str]:
    """What the map shows, a sentence each (Markdown): in how many cells a gain is off 0, where it is largest, each
    method's mean gain over its cells, and whether gains follow gaps."""
    found = means(cells)
    above, below = ((sign * found.gain > found.half).sum() for sign in (1, -1))
    best = found.loc[found.gain.idxmax()]
    each = []
    for method in dict.fromkeys(found.method):
        of_seeds = cells[cells.method == method].groupby("seed").gain.mean()
        half = f" ± {half_width(of_seeds):.1f}" if len(of_seeds) > 1 else ""
        each.append(f"{methods[method]} {_signed(of_seeds.mean())}{half}")
    return [f"**The map** has {len(found)} cells, {_seeds(found.seeds)} each. By its 95 % interval over seeds the gain "
            f"is above zero in {above} and below it in {below}; 2.5 % of the cells would be on each side by luck.",
            f"**The largest gain** is that of {methods[best.method]}, teacher {teachers[best.teacher]}, {best.clips} "
            f"clips a class, ×{_steps(best.steps)} steps: {_told(best)}.",
            f"**Mean over all cells of a method**, points: {', '.join(each)}.",
            f"**Gap and gain**: over the means of cells they correlate by {_signed(found.gap.corr(found.gain), 2)}."]


def map_widget(cells: pd.DataFrame, methods: Mapping[str, str], teachers: Mapping[str, str]):
    """Choose method and teacher, move clips and steps over :func:`cell_picture`; ``None``, with a line that says so,
    when headless."""
    from ipywidgets import SelectionSlider

    def picture(method: str, teacher: str, clips: int, steps: float) -> None:
        cell_picture(cells, methods, teachers, method, teacher, clips, steps)

    def chosen(titles: Mapping[str, str], known) -> list:
        return [(title, word) for word, title in titles.items() if word in set(known)]

    clips, steps = sorted(cells.clips.unique()), sorted(cells.steps.unique())
    counts = SelectionSlider(options=clips, description="clips a class")
    multiples = SelectionSlider(options=[(f"×{_steps(its)}", its) for its in steps], description="steps")
    return explore(picture, method=chosen(methods, cells.method), teacher=chosen(teachers, cells.teacher), clips=counts,
                   steps=multiples)


def _told(cell) -> str:
    half = f" ± {cell.half:.1f}" if np.isfinite(cell.half) else ""
    return f"gain {_signed(cell.gain)}{half} points, where the teacher is {_signed(cell.gap)} better"


def _signed(number: float, digits: int = 1) -> str:
    return minus(f"{round(number, digits) + 0.0:+.{digits}f}")


def _steps(multiple: float) -> str:
    return _FRACTIONS.get(multiple, f"{multiple:g}")


def _seeds(counts: pd.Series) -> str:
    least, most = int(counts.min()), int(counts.max())
    return f"{f'{least} to ' if least < most else ''}{most} seed{'s' * (most > 1)}"
