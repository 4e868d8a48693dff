"""What trained detectors find in the videos of a split, and paired differences of their mAP with intervals.

mAP is no mean over videos, so a bootstrap over videos computes it anew for each sample: how often a video was drawn is
its weight in every precision and recall. Intervals are those of :mod:`kdlab.measure.paired`, and a claim about average
mAP is read in points.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from kdlab.clips.windows import VideoWindow, windows
from kdlab.measure.bootstrap import counts
from kdlab.measure.detection import AVERAGES, Evaluation, annotated, decode, evaluate
from kdlab.measure.paired import Effect
from kdlab.measure.transfer import logits_on
from kdlab.system.values import whole
from kdlab.train.runs import Run

#: Detections of a video that are kept, the surest, after soft-NMS.
KEPT = 40


def of_split(run: Run, split: str = "test") -> tuple[VideoWindow, ...]:
    """The windows of a split on which ``run`` was asked. Raises ``ValueError`` when its videos are others today."""
    selected = windows(run.recipe.data.catalogue(), split, run.recipe.window)
    if [window.id for window in selected] != run.predictions(split).ids.tolist():
        raise ValueError(f"{run.folder} was asked about other videos than today's {split}: delete it to train it again")
    return selected


def found_by(run: Run, split: str = "test", *, sigma: float = 0.5, kept: int = KEPT, data=None) -> pd.DataFrame:
    """What ``run`` finds, as ``kdlab.measure.detection.decode`` tells it: the ``kept`` surest of each video, of its own
    or of other ``data``."""
    whole(1, kept=kept)
    if data is None:
        logits, selected = run.predictions(split).logits, of_split(run, split)
    else:
        logits, selected = logits_on(run, data, split=split), windows(data.catalogue(), split, run.recipe.window)
    return surest(decode(logits, selected, run.recipe.window.rate, sigma=sigma), kept)


def surest(found: pd.DataFrame, kept: int = KEPT) -> pd.DataFrame:
    """The first ``kept`` detections of each video, of those that ``decode`` ``found``: the surest."""
    return found.groupby("video", sort=False).head(kept).reset_index(drop=True)


def seen_by(run: Run, split: str = "test", *, sigma: float = 0.5, kept: int = KEPT) -> Evaluation:
    """:func:`found_by` beside the truth."""
    truth = annotated(of_split(run, split))
    return evaluate(truth, found_by(run, split, sigma=sigma, kept=kept), len(run.provenance["classes"]))


def mean_aps(evaluations: Sequence[Evaluation], name: str) -> np.ndarray:
    """mAP in percent of each, ``(S,)``; ``name`` is a threshold (``"0.5"``) or one of ``AVERAGES``."""
    return 100 * np.array([evaluation.mean_ap()[name] for evaluation in evaluations])


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


def effect_of(a: np.ndarray, b: np.ndarray, videos: int) -> Effect:
    """Effect of ``a`` − ``b``, both :func:`resampled`."""
    return Effect.of_samples(a - b, videos)
