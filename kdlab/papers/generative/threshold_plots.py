"""Notebook 05: one video, and what becomes of a detector's answers as one drags the least score and soft-NMS."""

from collections.abc import Callable, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from kdlab.measure.detection import SPAN, annotated, decode, evaluate, tiou
from kdlab.measure.detections import of_split
from kdlab.show.plots import note
from kdlab.show.plots import rows as in_rows
from kdlab.show.widgets import explore
from kdlab.train.runs import Run

#: A width of soft-NMS at which nothing is lowered.
NEVER = 1e12
#: The tIoU from which on an answer is right.
ENOUGH = 0.5


def asked(run: Run, video: str, split: str = "test") -> tuple[pd.DataFrame, Callable[[float], pd.DataFrame]]:
    """The true segments of ``video``, and a function of soft-NMS's width that tells what ``run`` finds there, as
    ``kdlab.measure.detection.decode`` does. Raises ``ValueError`` for a video that is not in the split."""
    selected = of_split(run, split)
    mine = [place for place, window in enumerate(selected) if window.video == video]
    if not mine:
        known = ", ".join(dict.fromkeys(window.video for window in selected))
        raise ValueError(f"{run.folder.name} was not asked about {video!r}; it was about {known:.300}")
    its, logits = [selected[place] for place in mine], run.predictions(split).logits[mine]
    return annotated(its), lambda sigma: decode(logits, its, run.recipe.window.rate, sigma=sigma)


def answered(truth: pd.DataFrame, found: pd.DataFrame, least: float, classes: int) -> tuple[pd.DataFrame, int]:
    """Of what is ``found`` the answers with a score of at least ``least``, the surest first, with ``tiou``, the largest
    with a true segment of the class, and whether each is ``right``: at a tIoU of :data:`ENOUGH`, and the surest of its
    action; and how many of the true segments they find."""
    kept = found[found["score"] >= least].sort_values("score", ascending=False, kind="stable", ignore_index=True)
    right = evaluate(truth, kept, classes, (ENOUGH,)).true[:, 0] if len(kept) else np.zeros(0, bool)
    best = [tiou(row[SPAN].to_numpy(float), truth.loc[truth["label"] == row["label"], SPAN].to_numpy(float)).max(
        initial=0) for _, row in kept.iterrows()]
    return kept.assign(tiou=np.array(best, float), right=right), int(right.sum())


def threshold_picture(truth: pd.DataFrame, found: Callable[[float], pd.DataFrame], classes: Sequence[str],
                      seconds: float, least: float = 0.3, sigma: float = 0.1) -> Figure:
    """One video, a row for each class: true segments wide and pale, answers of at least the score ``least`` narrow,
    with their tIoU; after soft-NMS of width ``sigma``. ``truth`` and ``found`` as :func:`asked` gives them."""
    kept, right = answered(truth, found(sigma), least, len(classes))
    fig, ax = plt.subplots(figsize=(9, 0.42 * len(classes) + 1.7))
    for label, start, end in truth[["label", *SPAN]].itertuples(index=False):
        ax.barh(label, end - start, left=start, height=0.86, color="0.82", edgecolor="0.35", linewidth=1)
    for row in kept[::-1].itertuples():  # the surest on top
        how = dict(color="C0" if row.right else "C1", hatch="" if row.right else "///", edgecolor="white", height=0.4)
        ax.barh(row.label, row.end - row.start, left=row.start, alpha=0.45 + 0.55 * min(1.0, row.score), **how)
    for row in kept.itertuples():
        at = (row.start + row.end) / 2, row.label - 0.22
        note(ax, f"{row.tiou:.2f}", at, (0, 0))
    in_rows(ax, classes, xlim=(0, seconds), xlabel="time (s); numbers: tIoU with the nearest true segment of the class")
    ax.grid(axis="y", visible=False)
    lowered = f"soft-NMS, σ = {sigma:g}" if sigma < NEVER else "without soft-NMS"
    ax.set_title(f"score ≥ {least:.2f}, {lowered}: {right} of {len(truth)} actions found, "
                 f"answers too many: {len(kept) - right}")
    keys = [Patch(facecolor="0.82", edgecolor="0.35", label="true"),
            Patch(facecolor="C0", label=f"right (tIoU ≥ {ENOUGH:g})"),
            Patch(facecolor="C1", edgecolor="white", hatch="///", label="wrong, badly placed or a second time")]
    fig.legend(handles=keys, loc="outside lower center", ncols=3)
    return fig


def threshold_widget(truth: pd.DataFrame, found: Callable[[float], pd.DataFrame], classes: Sequence[str],
                     seconds: float):
    """Drag the least score and the width of soft-NMS, or leave it out, over :func:`threshold_picture`; ``None``, with a
    line that says so, when headless."""

    def picture(least: float, sigma: float, lowered: bool) -> None:
        threshold_picture(truth, found, classes, seconds, least, sigma if lowered else NEVER)

    return explore(picture, least=(0.3, 0.02, 0.9, 0.02, "least score"), sigma=(0.1, 0.05, 1, 0.05, "σ of soft-NMS"),
                   lowered="soft-NMS")
