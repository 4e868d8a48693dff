"""Temporal action detection, scored by ActivityNet's public protocol, which THUMOS14's published scores also use.

Segments are tables: ``video`` (any name), ``label`` (class number), ``start`` and ``end`` in seconds; predictions also
have a positive ``score``. Predictions are matched by falling score. Each takes the free true segment of its video and
class with the highest tIoU, if that tIoU reaches the threshold. Otherwise it is a false positive, and so is a second
prediction of one action. AP is the area under the interpolated precision (VOC 2011). mAP is the mean over the classes
that have a true segment; predictions of other classes do not count. Equal scores keep the order of the rows, equal
tIoUs that of the truth (public evaluators leave both to their sort).
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.special import expit

from kdlab.clips.untrimmed import VideoWindow, windows
from kdlab.system.values import fraction, positive
from kdlab.train.runs import Run

#: The tIoU thresholds of published averages: the THUMOS14 challenge (and GenKD), AFSD and most later papers,
#: ActivityNet.
AVERAGES = {
    "0.1-0.5": (0.1, 0.2, 0.3, 0.4, 0.5),
    "0.3-0.7": (0.3, 0.4, 0.5, 0.6, 0.7),
    "0.5:0.05:0.95": (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95),
}
TIOUS = tuple(sorted({threshold for average in AVERAGES.values() for threshold in average}))
SPAN = ["start", "end"]
#: Segments with the same values here are those of one class in one video.
GROUP = ["video", "label"]
#: GenKD's own average on THUMOS14; fixed before any test video was looked at.
HEADLINE = "0.1-0.5"
#: The number of detections kept per video, those with the highest scores after soft-NMS.
KEPT = 40
#: The candidate widths of Gaussian soft-NMS.
WIDTHS = (0.1, 0.3, 0.5)


def tiou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Temporal intersection over union of segments ``(..., 2)``, broadcast; 0 where both have length zero."""
    (start, end), (other_start, other_end) = np.moveaxis(a, -1, 0), np.moveaxis(b, -1, 0)
    shared = (np.minimum(end, other_end) - np.maximum(start, other_start)).clip(0)
    union = (end - start) + (other_end - other_start) - shared
    return np.divide(shared, union, out=np.zeros_like(union), where=union > 0)


def soft_nms(found: pd.DataFrame, sigma: float = 0.5) -> pd.DataFrame:
    """Gaussian soft-NMS (Bodla et al., arXiv 1704.04503). In falling order of score, each segment multiplies the scores
    of the remaining segments of its video and class by ``exp(−tIoU² / sigma)``. The order of rows stays.

    All segments are kept. AFSD's code drops scores below 0.001, and loses the last remaining segment of a class: its
    loop ends a step early.
    """
    positive("0.5 is usual", sigma=sigma)
    # All groups (a class in a video) are processed at once, one row per group. Turn k selects the segment with the k-th
    # highest score in every group of more than k segments.
    groups = found.groupby(GROUP)
    group, column = groups.ngroup().to_numpy(), groups.cumcount().to_numpy()
    sizes = np.bincount(group)
    segments = np.zeros((len(sizes), max(sizes, default=0), 2))
    scores = np.zeros(segments.shape[:2])
    segments[group, column], scores[group, column] = found[SPAN], found["score"]
    selected = np.zeros(scores.shape, bool)
    for turn in range(scores.shape[1]):
        rows = np.flatnonzero(sizes > turn)
        best = np.where(selected[rows], -1, scores[rows]).argmax(1)
        selected[rows, best] = True
        overlap = tiou(segments[rows], segments[rows, best][:, None])
        scores[rows] *= np.where(selected[rows], 1, np.exp(-(overlap**2) / sigma))
    return found.assign(score=scores[group, column])


def annotated(windows: Sequence[VideoWindow]) -> pd.DataFrame:
    """The true segments of the videos of ``windows``."""
    videos = {window.video: window.segments for window in windows}
    rows = [
        (video, label, start, end)
        for video, segments in videos.items()
        for start, end, label in segments
    ]
    return pd.DataFrame(rows, columns=[*GROUP, *SPAN])


def decode(
    outputs: np.ndarray,
    windows: Sequence[VideoWindow],
    rate: float,
    sigma=0.5,
    most: int | None = 1000,
) -> pd.DataFrame:
    """A detector's predictions on whole videos after soft-NMS, by falling score.

    ``outputs (W, S, P, K + 3)`` are those of a :mod:`kdlab.papers.generative.detector` on W ``windows`` at ``rate``
    steps a second. A score is the quality times the mean class probability over the S stages. Segments are the last
    stage's, cut to the video. For each video, the ``most`` highest scores above 0.01 (None: all) go to soft-NMS.
    """
    if len(outputs) != len(windows):
        raise ValueError(
            f"{len(outputs)} outputs of {len(windows)} windows: predict all windows, in order"
        )
    outputs = np.asarray(outputs, float)
    scores = expit(outputs[..., :-3]).mean(1) * expit(outputs[:, -1, :, -1:])
    w, prior, label = np.nonzero(scores > 0.01)
    videos = np.array([window.video for window in windows])[w]
    firsts = np.array([window.first for window in windows])[w, None]
    seconds = np.array([window.seconds for window in windows])[w, None]
    start, end = ((outputs[w, -1, prior, -3:-1] + firsts) / rate).clip(0, seconds).T
    score = scores[w, prior, label]
    table = pd.DataFrame(dict(video=videos, label=label, start=start, end=end, score=score))
    table = _falling(table[end > start])
    if most is not None:
        table = table.groupby("video").head(most)
    return _falling(soft_nms(table, sigma))


def _falling(predictions: pd.DataFrame) -> pd.DataFrame:
    return predictions.sort_values("score", ascending=False, kind="stable", ignore_index=True)


class Evaluation(NamedTuple):
    """N predictions ``found``, by falling score, matched to the ``truth``. ``true (N, thresholds)`` marks the correct
    ones at each of ``tious``."""

    truth: pd.DataFrame
    found: pd.DataFrame
    classes: int
    tious: tuple[float, ...]
    true: np.ndarray

    def average_precision(self) -> np.ndarray:
        """AP in [0, 1], ``(classes, thresholds)``; NaN for a class without a true segment."""
        result = np.full((self.classes, len(self.tious)), np.nan)
        for label, there in self.truth["label"].value_counts().items():
            hits = self.true[self.found["label"] == label]
            precision = hits.cumsum(0) / np.arange(1, len(hits) + 1)[:, None]
            best = np.maximum.accumulate(precision[::-1])[::-1]
            result[label] = (hits * best).sum(0) / there
        return result

    def mean_ap(self) -> dict[str, float]:
        """mAP in [0, 1] at each threshold (key ``"0.5"``), and each of :data:`AVERAGES` whose thresholds are all in
        ``tious``."""
        means = np.nanmean(self.average_precision(), 0)
        at = dict(zip(self.tious, means.tolist(), strict=True))
        scores = {f"{threshold:g}": value for threshold, value in at.items()}
        for name, thresholds in AVERAGES.items():
            if set(thresholds) <= set(at):
                scores[name] = float(np.mean([at[threshold] for threshold in thresholds]))
        return scores


def evaluate(
    truth: pd.DataFrame,
    found: pd.DataFrame,
    classes: int,
    tious: Sequence[float] = TIOUS,
    videos: Iterable = (),
) -> Evaluation:
    """Match predictions to the truth at each of ``tious``. Name in ``videos`` the tested videos without a true segment:
    all predictions there are false positives.

    True segments may overlap, even within a class (each counts), and may reach beyond their video. A prediction of
    length zero is a false positive. Raises ``ValueError`` that names the first impossible row: a segment that ends
    before it starts, a true segment of length zero, a time or score that is not finite, a label outside the
    ``classes``, or a score that is not positive. Raises it also for an empty truth, for a threshold outside
    (0, 1], and for predictions of a video that is neither in the truth nor in ``videos``.
    """
    fraction(tious=list(tious))
    positive(tious=list(tious))
    truth = _checked("true segment", truth, classes)
    ranked = _falling(_checked("prediction", found, classes))
    if not len(truth):
        raise ValueError("nothing to detect: the truth is empty")
    if unknown := set(found["video"]) - {*truth["video"], *videos}:
        raise ValueError(
            f"predictions name {len(unknown)} unknown video(s), such as {min(unknown, key=str)!r}, where the truth "
            f"names {truth['video'].tolist()[0]!r}: give both the same names, and name tested videos "
            "without a true segment in videos=…"
        )
    columns = [*GROUP, *SPAN]
    pairs = pd.merge(ranked[columns].reset_index(), truth[columns].reset_index(), on=GROUP)
    one, other = (pairs[[f"start_{side}", f"end_{side}"]].to_numpy() for side in "xy")
    pairs["tiou"] = tiou(one, other)
    # each prediction's best true segment first
    pairs = pairs.sort_values(["index_x", "tiou", "index_y"], ascending=[True, False, True])
    true = []
    for threshold in tious:
        near = pairs[pairs["tiou"] >= threshold]
        true.append(_matched(zip(near["index_x"], near["index_y"], strict=True), len(ranked)))
    return Evaluation(truth, ranked, classes, tuple(tious), np.stack(true, 1))


def _checked(what: str, table: pd.DataFrame, classes: int) -> pd.DataFrame:
    """``table`` with its numbers as numbers, and rows from 0. Raises ``ValueError`` for its first impossible row."""
    predicted = what == "prediction"
    columns = ["label", *SPAN, "score"] if predicted else ["label", *SPAN]
    if missing := {"video", *columns} - set(table):
        raise ValueError(
            f"a {what} has no {min(missing)}: give the columns video, {', '.join(columns)}"
        )
    numbers = table[columns].apply(pd.to_numeric, errors="coerce").astype(float)
    start, end = numbers["start"], numbers["end"]
    ordered = (end >= start) & (numbers["score"] > 0) if predicted else end > start
    good = ordered & np.isfinite(numbers).all(axis=1) & numbers["label"].isin(range(classes))
    if not good.all():
        raise ValueError(
            f"impossible {what}: {table[~good].iloc[0].to_dict()}. Starts lie before ends, labels are "
            f"class numbers from 0 to {classes - 1}, scores lie above 0, and all are finite."
        )
    return table.assign(**numbers.astype({"label": int})).reset_index(drop=True)


def _matched(pairs: Iterable[tuple[int, int]], predictions: int) -> np.ndarray:
    """A bool mask ``(predictions,)`` of those that get a true segment. They take turns by falling score: each takes the
    best true segment that is left. ``pairs`` of a prediction and a true segment stand in this order."""
    mask, gone = np.zeros(predictions, bool), set()
    for prediction, segment in pairs:
        if not mask[prediction] and segment not in gone:
            mask[prediction] = True
            gone.add(segment)
    return mask


def of_split(run: Run, split: str = "test") -> tuple[VideoWindow, ...]:
    """The windows of ``split`` on which ``run`` was tested. Raises ``ValueError`` when the videos have changed since."""
    selected = windows(run.recipe.data.catalogue(), split, run.recipe.window)
    if [window.id for window in selected] != run.predictions(split).ids.tolist():
        raise ValueError(
            f"{run.folder} was tested on other videos than today's {split}: delete it to train it again"
        )
    return selected


def evaluated(run: Run, split: str = "test", *, sigma: float = 0.5) -> Evaluation:
    """The :class:`Evaluation` of ``run`` on its own videos: the :data:`KEPT` highest scores of each video, after
    soft-NMS of width ``sigma``."""
    tested = of_split(run, split)
    predictions = decode(run.predictions(split).logits, tested, run.recipe.window.rate, sigma)
    kept = predictions.groupby("video").head(KEPT)
    videos = [window.video for window in tested]
    return evaluate(annotated(tested), kept, len(run.provenance["classes"]), videos=videos)


def best_width(student: Run) -> float:
    """The one of :data:`WIDTHS` with the best :data:`HEADLINE` mAP on the ``student``'s validation videos."""
    return max(WIDTHS, key=lambda sigma: headline(student, "val", sigma))


def headline(run: Run, split: str, sigma: float) -> float:
    """The :data:`HEADLINE` mAP in percent of ``run`` on its own videos, after soft-NMS of width ``sigma``."""
    return 100 * evaluated(run, split, sigma=sigma).mean_ap()[HEADLINE]
