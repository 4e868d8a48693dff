"""Two streams of a detector: what its three channels tell apart, and what fusing answers gives.

Nothing here is trained: a detector that has learnt from all channels of ``MotionMix`` is shown some of them alone,
which it never was in training. Streams with networks of their own, RGB and flow, are in the recipes of full size
(``kdlab.papers.generative.detection_paper_size``) and of recognition (:mod:`.streams`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from kdlab.clips.flow import Flow
from kdlab.clips.views import MotionMix, Raw
from kdlab.clips.windows import AtRate, Windows
from kdlab.measure.detection import annotated, decode, evaluate, fused
from kdlab.measure.detections import KEPT, mean_aps, of_split, surest
from kdlab.measure.transfer import logits_on
from kdlab.papers.generative.detection_study import HEADLINE
from kdlab.show.codec_plots import flow_colours
from kdlab.system.values import whole
from kdlab.train.runs import Run

#: The channels of ``MotionMix`` as two streams, by words for people.
STREAMS = {"the picture alone": (0,), "what moves alone": (1, 2)}


@dataclass(frozen=True)
class Only(MotionMix):
    """``MotionMix`` of which all but the ``kept`` of its channels 0, 1, 2 are 0, their mean."""

    kept: tuple[int, ...] = (0, 1, 2)

    def __post_init__(self):
        whole(0, kept=list(self.kept))
        if not {*self.kept} <= {0, 1, 2}:
            raise ValueError(f"kept={self.kept}: the channels are 0 (picture), 1 (unlike the background), 2 (moves)")

    def finish(self, pixels: torch.Tensor) -> torch.Tensor:
        """As of ``MotionMix``, ``(B, 3, T, H, W)``."""
        mixed = super().finish(pixels)
        mixed[:, [channel for channel in range(3) if channel not in self.kept]] = 0
        return mixed


def streams_of(run: Run, split: str = "test") -> dict[str, np.ndarray]:
    """What a detector answers to each of :data:`STREAMS`, ``(W, S, P, K + 3)`` as ``run.predictions(split).logits``.
    Raises ``ValueError`` for a run on another view."""
    if not isinstance(run.recipe.view, MotionMix):
        raise ValueError(f"{run.folder.name} sees {run.recipe.view.name}, not MotionMix: it has no such channels")
    return {name: logits_on(run, view=Only(run.recipe.view.of, kept), split=split) for name, kept in STREAMS.items()}


def fusion_table(run: Run, each: Mapping[str, np.ndarray], sigma: float, split: str = "test") -> pd.DataFrame:
    """A row for each of the answers ``each``, of networks that saw the windows of ``run``, and one for all of them
    fused two and two in their order, with ``mAP, %`` (tIoU 0.1 to 0.5) of the ``KEPT`` surest of each video, as
    everywhere. Raises ``ValueError`` unless there are two."""
    if len(each) != 2:
        raise ValueError(f"two streams are fused, got {len(each)}: {', '.join(each) or 'none'}")
    selected = of_split(run, split)
    truth, count = annotated(selected), len(run.provenance["classes"])
    told = [*each.items(), ("both, fused", fused(*each.values()))]
    decoded = [decode(logits, selected, run.recipe.window.rate, sigma=sigma) for _, logits in told]
    found = [evaluate(truth, surest(its, KEPT), count) for its in decoded]
    return pd.DataFrame({"answers of": [name for name, _ in told], "mAP, %": mean_aps(found, HEADLINE)})


def stream_frames(path: Path, window: Windows, first: int = 0, columns: int = 6) -> dict[str, np.ndarray]:
    """Moments of the ``window`` of a video that begins at step ``first``, as the streams have them, each ``uint8
    (columns, H, W, 3)``: RGB, the three channels of ``MotionMix`` in grey, and dense flow since the frame before (right
    orange, left blue; full colour at four pixels)."""
    steps = first + np.arange(window.frames)
    frames = np.stack(list(AtRate(Raw(), window.rate).each_frame(path, steps)))
    shown = np.linspace(0, len(frames) - 1, columns).round().astype(int)
    mixed = MotionMix().finish(torch.from_numpy(frames).permute(3, 0, 1, 2)[None].float() / 255)[0].numpy()
    grey = np.clip(128 + 50 * mixed[:, shown], 0, 255).astype(np.uint8)[..., None].repeat(3, -1)  # (3, T, H, W, 3)
    flow = Flow()
    moved = np.stack(list(AtRate(flow, window.rate).each_frame(path, steps[shown]))).astype(float) - 128
    coloured = np.stack([255 * flow_colours(field * flow.bound / 127, 4) for field in moved]).astype(np.uint8)
    return {"RGB": frames[shown], "picture": grey[0], "unlike\nbackground": grey[1], "moves": grey[2], "flow": coloured}
