"""Finished detectors on the videos of a split, and paired differences of their mAP with intervals.

mAP is no mean over videos, so a bootstrap over videos computes it anew for each sample: how often a video was drawn is
its weight in every precision and recall. Intervals are those of :mod:`kdlab.measure.paired`.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from kdlab.clips.untrimmed import VideoWindow, windows
from kdlab.measure.detection import AVERAGES, Evaluation, annotated, decode, evaluate
from kdlab.measure.paired import Effect, counts
from kdlab.train.runs import Run

#: GenKD's own average on THUMOS14; fixed before any test video was looked at.
HEADLINE = "0.1-0.5"
#: Detections of a video that are kept, the surest, after soft-NMS.
KEPT = 40
#: Widths of Gaussian soft-NMS to choose from.
WIDTHS = (0.1, 0.3, 0.5)


def of_split(run: Run, split: str = "test") -> tuple[VideoWindow, ...]:
    """The windows of a split on which ``run`` was tested. Raises ``ValueError`` when its videos are others today."""
    selected = windows(run.recipe.data.catalogue(), split, run.recipe.window)
    if [window.id for window in selected] != run.predictions(split).ids.tolist():
        raise ValueError(f"{run.folder} was tested on other videos than today's {split}: delete it to train it again")
    return selected


def evaluated(run: Run, split: str = "test", *, sigma: float = 0.5) -> Evaluation:
    """What ``run`` finds in its own videos, beside the truth: the :data:`KEPT` surest of each video, after soft-NMS of
    width ``sigma``."""
    selected = of_split(run, split)
    found = decode(run.predictions(split).logits, selected, run.recipe.window.rate, sigma=sigma)
    found = found.groupby("video", sort=False).head(KEPT).reset_index(drop=True)
    return evaluate(annotated(selected), found, len(run.provenance["classes"]))


def best_width(student: Run) -> float:
    """Of :data:`WIDTHS` the one with the best :data:`HEADLINE` on the ``student``'s validation videos."""
    return max(WIDTHS, key=lambda sigma: mean_aps([evaluated(student, "val", sigma=sigma)])[0])


def mean_aps(evaluations: Sequence[Evaluation], name: str = HEADLINE) -> np.ndarray:
    """mAP in percent of each, ``(S,)``; ``name`` is a threshold (``"0.5"``) or one of ``AVERAGES``."""
    return 100 * np.array([evaluation.mean_ap()[name] for evaluation in evaluations])


def difference(one: Sequence[Evaluation], other: Sequence[Evaluation], name: str = HEADLINE) -> Effect:
    """mAP of ``one`` method minus that of the ``other`` in points, with its interval over seeds and videos. Each has an
    evaluation a seed, all on the same videos; one in which nothing is annotated and nothing was found does not count.
    Raises ``ValueError`` for another number of seeds."""
    if len(one) != len(other):
        raise ValueError(f"{len(one)} seeds of one method and {len(other)} of the other: give the same seeds of both")
    tables = [table for each in (*one, *other) for table in (each.truth, each.found)]
    videos = pd.concat([table["video"] for table in tables]).unique()
    return Effect.of_samples(resampled(one, videos, name) - resampled(other, videos, name), len(videos))


def resampled(each: Sequence[Evaluation], videos: Sequence[str], name: str, replicates: int = 4000) -> np.ndarray:
    """mAP ``name`` in percent, ``(S, 1 + R)``: of all ``videos``, and of R bootstrap samples, always the same."""
    n = len(videos)
    weights = np.concatenate([np.ones((1, n), np.int32), counts(n, replicates).astype(np.int32)])
    columns = [each[0].tious.index(t) for t in (AVERAGES[name] if name in AVERAGES else [float(name)])]
    found = []
    for one in each:
        selected = replace(one, tious=tuple(one.tious[c] for c in columns), true=one.true[:, columns])
        few = np.array_split(weights, -(-len(weights) // 1000))  # at a time, for memory's sake
        found.append(np.concatenate([np.nanmean(selected.average_precision(videos, part), 1).mean(1) for part in few]))
    return 100 * np.stack(found)
