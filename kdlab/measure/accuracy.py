"""The accuracy of one network: its interval, and the test on ten crops."""

from dataclasses import replace

import numpy as np
import torch
from torch import nn

from kdlab.clips.windows import ClipBatches, Draw, Window
from kdlab.nets.layers import one_thread
from kdlab.system.values import fraction
from kdlab.train.device import device
from kdlab.train.preparing import batches
from kdlab.train.runs import Predictions, Run

#: Places (top, left) of crops as fractions of the room: the corners and the centre.
PLACES = ((0.0, 0.0), (0.0, 1.0), (1.0, 0.0), (1.0, 1.0), (0.5, 0.5))


def accuracy_interval(correct: np.ndarray, level: float = 0.95) -> tuple[float, float]:
    """Wilson's interval in percent for the accuracy of one network; it stays inside [0, 100].

    ``correct (N,)`` is bool. The interval treats clips as independent: for clips that share scenes it is too narrow
    (say so). Raises ``ValueError`` without clips.
    """
    if len(correct) == 0:
        raise ValueError("an accuracy needs at least one clip")
    fraction("0.95 is usual", level=level)
    from scipy import stats  # half a second of imports that only intervals need

    low, high = stats.binomtest(int(np.sum(correct)), len(correct)).proportion_ci(level, method="wilson")
    return 100 * low, 100 * high


def ten_draws(window: Window, length: int) -> list[Draw]:
    """Ten draws of a clip of ``length`` frames: the evaluation draw at the four corners and the centre, then the same
    five mirrored."""
    draw = window.centre(length)
    return [replace(draw, top=top, left=left, flip=flip) for flip in (False, True) for top, left in PLACES]


def ten_cropped(net: nn.Module, clips: ClipBatches) -> torch.Tensor:
    """Logits ``(N, K)`` of ``net`` in evaluation mode on ``clips``, the mean over ten crops of each clip."""
    def made(index: int) -> torch.Tensor:
        draws = ten_draws(clips.window, clips.length(clips.records[index]))
        return clips.collate([index] * len(draws), draws).views["student"]

    where = next(net.parameters()).device
    with torch.no_grad(), one_thread(where.type):
        crops = (made(number).to(where) for number in range(len(clips.records)))
        return torch.stack([net.eval()(x).float().mean(0).cpu() for x in crops])


def ten_crops(run: Run, split: str = "test") -> Predictions:
    """Predictions of the network of ``run`` on ten crops of each clip of ``split``, the test of CoViAR and DarkLight.
    It works for any run on clips, since nothing is trained."""
    recipe = run.recipe
    clips = batches(recipe, split, {"student": recipe.view})
    columns = (np.array([getattr(record, what) for record in clips.records]) for what in ("id", "group", "label"))
    return Predictions(*columns, ten_cropped(run.net().to(device()), clips).numpy())
