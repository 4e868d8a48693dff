"""Detection scores against worked cases and plain loops."""

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from kdlab.clips.untrimmed import VideoWindow
from kdlab.measure.detection import AVERAGES, TIOUS, annotated, decode, evaluate, soft_nms


def table(*columns):
    """video, label, start, end[, score]"""
    return pd.DataFrame(
        {
            name: np.asarray(column, int if name in ("video", "label") else float)
            for name, column in zip(
                ("video", "label", "start", "end", "score"), columns, strict=False
            )
        }
    )


def events(*rows):
    """(video, label, start, end[, score]) rows."""
    return table(*np.array(rows, float).reshape(len(rows), -1).T)


def tiou(one, other):
    """How much of the time of two rows is shared; less than nothing in two videos."""
    if one.video != other.video:
        return -1.0
    shared = max(0.0, min(one.end, other.end) - max(one.start, other.start))
    return shared / (one.end - one.start + other.end - other.start - shared)


def brute_force(truth, found, classes, tious):
    """AP ``(classes, thresholds)`` as the public protocol words it, one prediction at a time."""
    result = np.full((classes, len(tious)), np.nan)
    for label in range(classes):
        wanted = [*truth[truth.label == label].itertuples()]
        if not wanted:
            continue
        ranked = [*found[found.label == label].itertuples()]
        ranked.sort(key=lambda row: -row.score)
        for column, threshold in enumerate(tious):
            free, right = list(wanted), []
            for row in ranked:
                overlaps = [tiou(row, its) for its in free]
                best = max(overlaps, default=-1)
                right.append(best >= threshold)
                if right[-1]:
                    del free[overlaps.index(best)]
            precision = [sum(right[: k + 1]) / (k + 1) for k in range(len(right))]
            result[label, column] = sum(
                max(precision[k:]) for k in range(len(right)) if right[k]
            ) / len(wanted)
    return result


def random_case(rng):
    """A few videos; times and scores on coarse grids, so that ties, exact thresholds and empty classes occur."""
    classes = rng.integers(1, 4)
    videos = rng.integers(1, 4)
    t = rng.integers(1, 8)
    n = rng.integers(0, 16)
    start = rng.integers(0, 12, t)
    truth = table(
        rng.integers(0, videos, t),
        rng.integers(0, classes, t),
        start,
        start + rng.integers(1, 6, t),
    )
    start = rng.integers(0, 24, n) / 2
    end = start + rng.integers(0, 12, n) / 2  # some of length zero
    columns = np.stack([rng.integers(0, videos + 1, n), rng.integers(0, classes, n), start, end])
    copies = rng.random(n) < 0.4  # of a true segment, some of the same one
    of = truth.iloc[rng.integers(0, t, copies.sum())]
    columns[:, copies] = of.video, of.label, of.start, of.end
    # among equal scores the order decides in both
    found = table(*columns, rng.integers(1, 9, n) / 8)
    return truth, found, int(classes)


@pytest.mark.parametrize("cases", [100, pytest.param(1000, marks=pytest.mark.slow)])
def test_agrees_with_plain_loops_on_random_cases(cases):
    rng = np.random.default_rng(0)
    seen = np.zeros(2)
    for _ in range(cases):
        truth, found, classes = random_case(rng)
        got = evaluate(truth, found, classes, videos=range(4)).average_precision()
        np.testing.assert_allclose(got, brute_force(truth, found, classes, TIOUS), atol=1e-12)
        seen += [
            np.isnan(got).any(),
            found.duplicated(["video", "label", "start", "end"]).any(),
        ]
    # the cases do not cover what they are for
    assert (seen > cases / 20).all()


# --- worked cases ----------------------------------------------------------------------------------------------

TRUTH = events((0, 0, 0, 10), (0, 0, 20, 30), (1, 1, 5, 15))
PERFECT = TRUTH.assign(score=0.9)


def test_averages_are_those_of_their_thresholds():
    found = events((0, 0, 0, 10, 0.9), (0, 0, 22, 30, 0.8), (1, 1, 5, 11, 0.7))  # tIoU 1, 0.8, 0.6
    scores = evaluate(TRUTH, found, 2).mean_ap()
    assert [scores[f"{t:g}"] for t in (0.6, 0.65, 0.8, 0.85)] == [1, 0.5, 0.5, 0.25]
    assert scores["0.1-0.5"] == 1 and scores["0.3-0.7"] == pytest.approx((4 + 0.5) / 5)
    assert scores["0.5:0.05:0.95"] == pytest.approx((3 + 4 * 0.5 + 3 * 0.25) / 10)
    assert [len(its) for its in AVERAGES.values()] == [5, 5, 10]


# --- suppression -----------------------------------------------------------------------------------------------


def as_released(found, sigma):
    """AFSD's loop in other words, of one class in one video: row → score, without a least score and with its last
    one, which it loses."""
    waiting, kept = {row: row.score for row in found.itertuples()}, {}
    while waiting:
        best = max(waiting, key=waiting.get)
        kept[best.Index] = waiting.pop(best)
        for row in waiting:
            waiting[row] *= math.exp(-(tiou(row, best) ** 2) / sigma)
    return kept


@pytest.mark.parametrize("sigma", [0.1, 0.5])
def test_soft_nms_agrees_with_the_released_loop(sigma):
    rng = np.random.default_rng(3)
    start = rng.uniform(0, 10, 90)
    found = table(
        rng.integers(0, 2, 90),
        rng.integers(0, 2, 90),
        start,
        start + rng.uniform(0.5, 6, 90),
        rng.uniform(0.01, 1, 90),
    )
    expected = {}
    for _, group in found.groupby(["video", "label"]):
        expected |= as_released(group, sigma)
    soft = soft_nms(found, sigma)["score"].to_dict()
    assert soft == pytest.approx(dict(sorted(expected.items())))


# --- from windows to videos ------------------------------------------------------------------------------------


def window(path, first, seconds=20.0):
    return VideoWindow(
        f"{path}@{first}",
        Path(path),
        -1,
        "test",
        path,
        video=path,
        seconds=seconds,
        first=first,
        segments=((1.0, 3.0, 0), (9.0, 12.0, 1)),
    )


def test_decoding_places_segments_in_their_video():
    windows = [window("a", 0), window("a", 32), window("b", 0, seconds=5.0)]
    outputs = np.full((3, 2, 2, 2 + 3), -20.0)  # two stages, two priors, two classes
    outputs[..., -3:-1] = [0, 40]
    outputs[1, 1, 0, -3:-1] = 8, 16  # the last stage's segment counts: 40 to 48 steps at 4 a second
    # probabilities 0.5 and 1, quality 0.75
    outputs[1, :, 0, 1], outputs[1, 1, 0, -1] = ([0, 20], math.log(3))
    outputs[2, :, 1, 0] = outputs[2, 1, 1, -1] = 20
    found = decode(outputs, windows, 4.0)
    assert found["video"].tolist() == ["b", "a"] and found["label"].tolist() == [0, 1]
    # the first is cut to its video
    assert found["start"].tolist() == [0, 10] and found["end"].tolist() == [5, 12]
    assert found["score"].tolist() == pytest.approx([1, 0.75 * 0.75], abs=1e-6)
    truth = annotated(windows)
    assert truth["video"].tolist() == ["a", "a", "b", "b"]
    assert truth["start"].tolist() == [1, 9, 1, 9]
    # one of four is found
    assert evaluate(truth, found, 2).mean_ap()["0.5"] == 0.25
    # nothing found
    assert set(evaluate(truth, decode(outputs - 99, windows, 4.0), 2).mean_ap().values()) == {0}


def test_decoding_suppresses_across_windows_and_keeps_the_surest():
    outputs = np.full((2, 1, 3, 1 + 3), 3.0)
    # one place in the video, seen by two windows
    outputs[0, 0, :, -3:-1], outputs[1, 0, :, -3:-1] = ([32, 40], [0, 8])
    outputs[0, 0, 0, -1] = 5
    windows = [window("a", 0), window("a", 32)]
    found = decode(outputs, windows, 4.0, sigma=0.5)
    assert len(found) == 6
    assert found["score"][1] == pytest.approx(found["score"][0] * math.exp(-2), rel=0.2)
    assert len(decode(outputs, windows, 4.0, most=2)) == 2
    with pytest.raises(ValueError, match="2 outputs of 1 windows"):
        decode(outputs, windows[:1], 4.0)


# --- bad input -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "row, what",
    [
        ((0, 0, 4, 4), "true segment"),
        ((0, 2, 0, 1), "true segment"),
        ((0, 0, math.nan, 1), "true segment"),
        ((0, 0, 5, 4, 1), "prediction"),
        ((0, 0, 0, 1, 0), "prediction"),
    ],
)
def test_impossible_rows_are_named(row, what):
    tables = {"true segment": TRUTH, "prediction": PERFECT}
    tables[what] = pd.concat([tables[what], events(row)])
    with pytest.raises(ValueError, match=f"impossible {what}: {{'video': 0.*'label': {row[1]}"):
        evaluate(*tables.values(), 2)


@pytest.mark.parametrize("video", [1000, "1"])
def test_predictions_of_other_videos_are_an_error_and_no_lower_score(video):
    found = PERFECT.astype({"video": object})
    found.loc[0, "video"] = video
    with pytest.raises(
        ValueError, match=f"1 unknown video.s., such as {video!r}, where the truth names 0"
    ):
        evaluate(TRUTH, found, 2)
    score = evaluate(TRUTH, found, 2, videos=[video]).mean_ap()["0.5"]
    # half of class 0, behind a false positive: 1/2 × 1/2
    assert score == pytest.approx((1 / 4 + 1) / 2)


@pytest.mark.parametrize("kind", [float, str, object, "category"])
def test_numbers_of_any_type_have_one_score(kind):
    columns = dict.fromkeys(("label", "start", "end"), kind)
    assert evaluate(TRUTH.astype(columns), PERFECT.astype(columns), 2).mean_ap()["0.5"] == 1
    assert evaluate(TRUTH.astype(columns), PERFECT[:0].astype(kind), 2).mean_ap()["0.5"] == 0
    with pytest.raises(
        ValueError, match="impossible prediction.*'label': 'Jump'.*class numbers from 0 to 1"
    ):
        evaluate(TRUTH, PERFECT.assign(label="Jump"), 2)
    with pytest.raises(
        ValueError, match="a prediction has no score: give the columns video, label"
    ):
        evaluate(TRUTH, TRUTH, 2)
