"""What is right in notebooks 06, 07 and 07b: compressed clips, exits, and what an answer costs."""

import math
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from kdlab.teaching.answers.shared import Trial, jump, scores

#: Of notebook 07's exercises about the committed study: the set on which the three networks stand as in the paper.
_SET = "night_context"


def _written(frames: np.ndarray, read: Callable):
    """What ``read`` says of ``frames`` written as MPEG-4 part 2."""
    from kdlab.night.codec import write_mpeg4

    with tempfile.TemporaryDirectory() as folder:
        write_mpeg4(path := Path(folder) / "clip.avi", frames)
        return read(path)


# --- numbers -------------------------------------------------------------------------------------------------------


def bytes_of_i_frames() -> float:
    """Percent of the bytes of the bright jump."""
    from kdlab.show.codec_plots import frame_table

    frames = _written(jump().bright, frame_table)
    return 100 * float(frames.bytes[frames.kind == "I"].sum() / frames.bytes.sum())


def motion_in_eight_bits() -> float:
    """The stored value of a motion of seven pixels to the left."""
    from kdlab.clips.coviar import quantise_motion

    return int(quantise_motion(np.array([-7]))[0])


def vectors_in_a_still_room() -> float:
    """Percent of the pixels of P-frames."""
    from kdlab.night import darken
    from kdlab.show.codec_plots import previous_motion

    clip = jump()
    still = np.repeat(clip.bright[:1], len(clip.bright), 0)
    _, motion = _written(darken(still, 1, np.random.default_rng(0), clip.camera), previous_motion)
    return 100 * float((motion != 0).any(-1).mean())


def pkd_over_labels() -> float:
    """Points of accuracy, mean of the nine trained exits and over seeds."""
    from kdlab.papers.progressive.nets import TRAINED

    study = scores(f"progressive-{_SET}")
    pkd, labels = (study.accuracy(name)[:, TRAINED].mean() for name in ("pkd", "ce_ic"))
    return float(pkd - labels)


def weight_of_one_exit() -> float:
    """The best weight of logits with a margin of 1 that are right in 8 of 10 clips."""
    return math.log(0.8 / 0.2)


def cost_of_stopping_early() -> float:
    """Percent of the MACs of all twelve exits, mean over clips, seeds and halves, at threshold 0.9."""
    from kdlab.papers.progressive.budgets import THETAS
    from kdlab.papers.progressive.wise_study import load_curves, newest

    curves = load_curves(newest(_SET))
    up_to, (place,) = curves["cost/macs"], np.flatnonzero(THETAS == 0.9)
    return 100 * float(up_to[curves["stops/pkd"][:, place]].mean() / up_to[-1])


def published_cost_of_segments() -> float:
    """GMACs a video of two segments of residual, one of motion and two of I-frames, if nothing stops early."""
    from kdlab.papers.progressive.wise import PUBLISHED_GMACS, cost

    return float(cost((2, 1, 2), PUBLISHED_GMACS)[-1])


NUMBERS = (bytes_of_i_frames, motion_in_eight_bits, vectors_in_a_still_room, pkd_over_labels, weight_of_one_exit,
           cost_of_stopping_early, published_cost_of_segments)


# --- code ----------------------------------------------------------------------------------------------------------


def picture_moved() -> Trial:
    """Each pixel from where its motion says that it came: ``picture (H, W)``, ``motion (H, W, 2)``, x and y."""
    def reference(picture, motion):
        y, x = np.indices(np.shape(picture))
        return np.asarray(picture)[y - motion[..., 1], x - motion[..., 0]]

    picture, cases = np.arange(12).reshape(3, 4), []
    y, x = np.indices(picture.shape)
    for rng in map(np.random.default_rng, range(2)):
        came = np.stack([rng.integers(0, 4, (3, 4)), rng.integers(0, 3, (3, 4))], -1)
        cases.append((picture, np.stack([x, y], -1) - came))
    return reference, [(picture, np.zeros((3, 4, 2), int)), *cases]


def first_sure() -> Trial:
    """The first exit, counted from 0, of ``probabilities (E, K)`` that is surer than a threshold, else the last."""
    def reference(probabilities, theta):
        sure = [max(row) > theta for row in probabilities]
        return sure.index(True) if any(sure) else len(sure) - 1

    said = np.array([[0.5, 0.3, 0.2], [0.1, 0.7, 0.2], [0.2, 0.2, 0.6], [0.05, 0.05, 0.9]])
    return reference, [(said, theta) for theta in (0.4, 0.5, 0.6, 0.7, 0.95)]


def not_beaten() -> Trial:
    """Which points no other beats: none is as accurate for less, nor more accurate for as much. ``(P,)`` each."""
    def reference(costs, accuracies):
        points = list(zip(costs, accuracies, strict=True))
        return [not any(c <= cost and a >= accuracy and (c, a) != (cost, accuracy) for c, a in points)
                for cost, accuracy in points]

    return reference, [(np.array([1.0, 2.0, 3.0]), np.array([60.0, 59.0, 70.0])),
                       (np.array([3.0, 1.0, 2.0, 2.0]), np.array([80.0, 50.0, 80.0, 70.0])),
                       (np.array([5.0, 4.0]), np.array([1.0, 1.0]))]


CODE = (picture_moved, first_sure, not_beaten)
