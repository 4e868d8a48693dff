"""Evaluation on ten crops: the corners and the centre, each as it is and mirrored, as CoViAR and DarkLight test.

It trains nothing, so it is no part of a run: any run on clips can be asked.
"""

from dataclasses import replace

import numpy as np
import torch
from torch import nn

from kdlab.clips.windows import ClipBatches, Draw, Window
from kdlab.layers import one_thread
from kdlab.system.launch import device
from kdlab.train.preparing import batches
from kdlab.train.runs import Predictions, Run

PLACES = ((0.0, 0.0), (0.0, 1.0), (1.0, 0.0), (1.0, 1.0), (0.5, 0.5))


def ten(window: Window, length: int) -> list[Draw]:
    """The evaluation draw of a clip of ``length`` frames at the four corners and the centre, then all mirrored."""
    draw = window.centre(length)
    return [replace(draw, top=top, left=left, flip=flip) for flip in (False, True) for top, left in PLACES]


def ten_cropped(net: nn.Module, clips: ClipBatches) -> torch.Tensor:
    """Logits ``(N, K)`` of ``net`` in evaluation mode on ``clips``, the mean over ten crops of each."""
    def made(index: int) -> torch.Tensor:
        draws = ten(clips.window, clips.length(clips.records[index]))
        return clips.collate([index] * len(draws), draws).views["student"]

    where = next(net.parameters()).device
    with torch.no_grad(), one_thread(where.type):
        crops = (made(number).to(where) for number in range(len(clips.records)))
        return torch.stack([net.eval()(x).float().mean(0).cpu() for x in crops])


def ten_crops(run: Run, split: str = "test") -> Predictions:
    """What ``run``'s network says of ``split`` on ten crops."""
    recipe = run.recipe
    clips = batches(recipe, split, {"student": recipe.view})
    columns = (np.array([getattr(record, what) for record in clips.records]) for what in ("id", "group", "label"))
    return Predictions(*columns, ten_cropped(run.net().to(device()), clips).numpy())
