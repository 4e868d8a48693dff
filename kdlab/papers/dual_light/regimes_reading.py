"""What notebook 10b reads of the committed regimes: pictures of them, and sentences that are computed, never typed."""

from collections.abc import Mapping, Sequence
from contextlib import suppress

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from kdlab.measure.paired import Effect, verdict
from kdlab.papers.dual_light import regimes_real
from kdlab.papers.dual_light.regimes import LABELS, NORMS, Regime
from kdlab.papers.dual_light.regimes_list import COUNTS, NORM_TITLES, cells, level
from kdlab.papers.dual_light.regimes_study import TITLES
from kdlab.show.plots import drawn, key
from kdlab.show.said import minus
from kdlab.study import Scores, load_scores

#: First normalisations in few words: each clip's own is *clip norm*.
SHORT = {"bn": "batch norm", "gn": "clip norm"}
#: The two teachers' students whose statistics are those of dark clips, by their titles.
STUDENTS = {"dlkdd_re": "DL-KDD", "same_light_re": "same-light KD"}


def cell(norm: str, labels: str) -> Scores:
    """The committed predictions of one cell with gamma. Raises ``FileNotFoundError`` where it was not run."""
    return load_scores(f"regimes-{Regime(norm, labels).name}")


def second_light() -> dict[str, Effect]:
    """DL-KDD − same-light KD (claim D2) in every committed cell of `night`, by labels and norm: what the *second light*
    adds. Below them cells without labels of another enhancer, and of other clips."""
    found = {f"{COUNTS[labels] or 'no'} labels, {SHORT[norm]}": effect for labels in LABELS
             for norm, effect in _second_light(labels).items()}
    return found | {f"none, {title}, {SHORT[norm]} ({effect.seeds} seeds)": effect
                    for title, each in _special().items() for norm, effect in each.items()}


def _special() -> dict[str, dict[str, Effect]]:
    """What is special about a cell of `night` without labels → norm → :func:`second_light` there."""
    found: dict[str, dict[str, Effect]] = {}
    for norm in NORMS:
        for title, scores in cells(norm).items():
            if title not in ("gamma", "real dark clips"):
                found.setdefault(title, {})[norm] = scores.effect(*STUDENTS)
    return found


def levels(each: Mapping[str, Scores]) -> pd.DataFrame:
    """Accuracy of every way in some cells by their titles, in percent with half of a 95 % interval; at the end what
    statistics of the test clips themselves give, where that was asked."""
    titles = TITLES | {c: title for c, title in regimes_real.study.titles.items() if c not in TITLES}
    made = {words: {title: level(scores, c) for c, title in titles.items() if c in scores.predicted}
            for words, scores in each.items()}
    order = [title for title in titles.values() if any(title in column for column in made.values())]
    return pd.DataFrame(made, index=order).fillna("").rename_axis("way").reset_index()


def _second_light(labels: str) -> dict[str, Effect]:
    pair = tuple(STUDENTS) if labels == "none" else ("dlkdd", "same_light")
    return {norm: scores.effect(*pair) for norm, scores in _committed(labels).items()}


def _committed(labels: str) -> dict[str, Scores]:
    """Norm → its cell, of those that were run."""
    found = {}
    for norm in NORMS:
        with suppress(FileNotFoundError):
            found[norm] = cell(norm, labels)
    return found


def _labels(labels: str) -> str:
    return f"{COUNTS[labels] or 'no'} labels a class"


def by_seed(scores: Scores) -> pd.DataFrame:
    """A line for each seed of a cell without labels, in points above re-estimated statistics: the ``gap`` of the
    enhanced teacher, and what each of :data:`STUDENTS` gains."""
    start = scores.accuracy("re_estimated")
    found = {"gap": scores.accuracy("enhanced_re") - start} | {c: scores.accuracy(c) - start for c in STUDENTS}
    return pd.DataFrame(found, index=pd.Index(scores.seeds, name="seed"))


def by_seed_picture(cells: Sequence[tuple[str, Scores]], title: str = "") -> Figure:
    """:func:`by_seed` of cells by their titles, a panel each: students' gains over their teacher's gap. On the dotted
    line a student gains all that the teacher is ahead."""
    fig, axes = plt.subplots(1, len(cells), figsize=(4.4 * len(cells), 3.5), squeeze=False, sharex=True, sharey=True)
    for ax, (name, scores) in zip(axes[0], cells, strict=True):
        found = by_seed(scores)
        for k, (condition, words) in enumerate(STUDENTS.items()):
            ax.plot(found.gap, found[condition], label=words, **drawn(k, linestyle="none", markersize=7))
        ends = np.array([min(0.0, found.gap.min()), found.gap.max()])
        ax.plot(ends, ends, color="grey", linestyle=":", linewidth=1.4, label="all that the teacher is ahead")
        ax.set(title=f"{name}; {len(found)} seeds", xlabel="gap: enhanced teacher − start (points)")
    axes[0, 0].set_ylabel("gain: student − start (points)")
    fig.suptitle(title)
    key(fig)
    return fig


def sentences() -> list[str]:
    """What notebook 10b shows of the regimes, a sentence each, in Markdown."""
    said = []
    for labels in LABELS:
        its = [f"{minus(effect)} points with {NORM_TITLES[norm]}, {verdict(effect)}"
               for norm, effect in _second_light(labels).items()]
        if its:
            said.append(f"**{_labels(labels).capitalize()}.** What the second light adds to same-light KD: "
                        f"{'; '.join(its)}.")
    for title, each in _special().items():
        its = [f"{minus(effect)} points with {NORM_TITLES[norm]}, {verdict(effect)}" for norm, effect in each.items()]
        said.append(f"**No labels, {title}.** {'; '.join(its)}.")
    for norm, scores in _committed("none").items():
        found = by_seed(scores)
        dual, same = (minus(f"{np.corrcoef(found.gap, found[c])[0, 1]:.2f}") for c in STUDENTS)
        said.append(f"**Seed by seed**, {NORM_TITLES[norm]}, {len(found)} seeds: DL-KDD's gain correlates with its "
                    f"teacher's gap by {dual}; same-light KD's, which is counted from the same start, by {same}.")
    return said
