"""What trained detectors find in the videos of a split, and paired differences of their mAP with intervals.

mAP is no mean over videos, so a bootstrap over videos computes it anew for each sample: how often a video was drawn is
its weight in every precision and recall. As in :mod:`kdlab.measure.paired`, seeds are resampled too, and a claim about
average mAP is read in points.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from kdlab.clips.windows import VideoWindow, windows
from kdlab.measure.detection import AVERAGES, Evaluation, annotated, decode, evaluate
from kdlab.measure.paired import LEVEL, STRICT, Effect, _needed, _resamples
from kdlab.runs import Run

__all__ = ["KEPT", "found_by", "map_effect", "mean_aps", "of_split", "seen_by"]

#: Detections of a video that are kept, the surest, after soft-NMS.
KEPT = 40


def of_split(run: Run, split: str = "test") -> tuple[VideoWindow, ...]:
    """The windows of a split on which ``run`` was asked. Raises ``ValueError`` when its videos are others today."""
    some = windows(run.recipe.data.catalogue(), split, run.recipe.window)
    if [window.id for window in some] != run.predictions(split).ids.tolist():
        raise ValueError(f"{run.folder} was asked about other videos than today's {split}: delete it to train it again")
    return some


def found_by(run: Run, split: str = "test", *, sigma: float = 0.5, kept: int = KEPT) -> pd.DataFrame:
    """What ``run`` finds, as ``kdlab.measure.detection.decode`` tells it: the ``kept`` surest of each video."""
    found = decode(run.predictions(split).logits, of_split(run, split), run.recipe.window.rate, sigma=sigma)
    return found.groupby("video", sort=False).head(kept).reset_index(drop=True)


def seen_by(run: Run, split: str = "test", *, sigma: float = 0.5, kept: int = KEPT) -> Evaluation:
    """:func:`found_by` beside the truth."""
    truth = annotated(of_split(run, split))
    return evaluate(truth, found_by(run, split, sigma=sigma, kept=kept), len(run.provenance["classes"]))


def mean_aps(evaluations: Sequence[Evaluation], name: str) -> np.ndarray:
    """mAP in percent of each, ``(S,)``; ``name`` is a threshold (``"0.5"``) or one of ``AVERAGES``."""
    return 100 * np.array([its.mean_ap()[name] for its in evaluations])


def map_effect(a: Sequence[Evaluation], b: Sequence[Evaluation], name: str, replicates: int = 4000) -> Effect:
    """Effect of ``a`` − ``b`` in points of mAP ``name``, as of :func:`mean_aps`; row s of both is the same seed.

    All evaluations have the same truth. Raises ``ValueError`` when they have not, or seeds differ in number.
    """
    first = a[0]
    if len(a) != len(b) or not all(its.truth.equals(first.truth) for its in (*a, *b)):
        raise ValueError("paired detections need the same number of seeds and the same true segments")
    videos = sorted({video for its in (*a, *b) for table in (its.truth, its.found) for video in table["video"]})
    columns = [first.tious.index(t) for t in (AVERAGES[name] if name in AVERAGES else [float(name)])]
    seeds, n = len(a), len(videos)
    drawn_seeds, drawn_videos = _resamples(seeds, n, replicates)
    # The sample itself, then leaving out each video, then the bootstrap.
    weights = np.concatenate([np.ones((1, n)), 1 - np.eye(n), drawn_videos.astype(float)])
    gaps = np.stack([100 * (_averaged(one, videos, weights, columns) - _averaged(other, videos, weights, columns))
                     for one, other in zip(a, b, strict=True)])  # (S, 1 + V + R)
    means = (drawn_seeds * gaps[:, 1 + n :].T).sum(1) / seeds
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    strict = np.quantile(means, [(1 - STRICT) / 2, (1 + STRICT) / 2])
    mean = float(gaps[:, 0].mean())
    pseudo = n * gaps[:, :1] - (n - 1) * gaps[:, 1 : 1 + n]  # a video's share, by the jackknife
    ratio = (strict[1] - strict[0]) / (high - low) if high > low else 1.0
    needed = _needed(pseudo, target=max(abs(mean) / ratio, 2 - abs(mean)))
    return Effect(mean, float(low), float(high), *map(float, strict), seeds, n, *needed)


def _averaged(its: Evaluation, videos: Sequence[str], weights: np.ndarray, columns: list[int]) -> np.ndarray:
    """``(R,)``: the mean over some thresholds, a few samples at a time for memory's sake."""
    some = Evaluation(its.truth, its.found, its.classes, tuple(its.tious[c] for c in columns), its.true[:, columns],
                      its.ambiguous[:, columns])
    return np.concatenate([some.weighted_mean_ap(videos, weights[i : i + 500]).mean(1)
                           for i in range(0, len(weights), 500)])
