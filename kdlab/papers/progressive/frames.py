"""Accuracy of a trained network against the number of frames that it is shown: evaluation alone, nothing is trained."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from kdlab.system.values import whole
from kdlab.train.loop import predict
from kdlab.train.runs import Run, batches


def right_by_frames(runs: Sequence[Run], counts: Sequence[int], split: str = "test") -> np.ndarray:
    """Whether each of ``runs`` (seeds of one recipe) is right about each clip of ``split`` from so many segments, one
    frame of each: bool ``(S, len(counts), N)``. Raises ``ValueError`` for a count below 1."""
    whole(1, "segments of a clip", counts=list(counts))
    found = []
    for run in runs:
        net, row = run.net(), []
        for count in counts:
            recipe = replace(run.recipe, window=replace(run.recipe.window, frames=count))
            clips = batches(recipe, split, {"student": recipe.view})
            logits, labels, _ = predict(net, clips.evaluation(), "student")
            row.append((logits.argmax(1) == labels).numpy())
        found.append(row)
    return np.array(found)
