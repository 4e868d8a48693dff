"""Zero-DCE with the interface of the other enhancers: trained on dark clips at its first use, loaded afterwards."""

import hashlib
import json
from dataclasses import dataclass, replace
from functools import cache
from math import ceil

import numpy as np
import torch
from torch import Tensor

from kdlab.clips.records import Catalogue
from kdlab.clips.windows import Window, open_all
from kdlab.datasets.user_clips import UserClips
from kdlab.nets.layers import one_thread, seeded_weights
from kdlab.night import Night
from kdlab.papers.dual_light.zero_dce import CurveNet, Curves, ZeroDce, apply_curves
from kdlab.system.sources import source_hash
from kdlab.system.values import integer, positive
from kdlab.train.obtain import obtain
from kdlab.train.preparing import batches
from kdlab.train.recipe import Inputs, Recipe, portable, to_json
from kdlab.train.runs import Run
from kdlab.train.settings import Settings

_AT_ONCE = 2**16  # pixels of a picture per forward pass; each takes about 1.5 kB of memory


@dataclass(frozen=True)
class CurveRecipe(Recipe):
    """Zero-DCE's training on frames of at most ``clips`` training clips, spread evenly over the data."""

    clips: int = 96

    def __post_init__(self):
        super().__post_init__()
        integer(1, clips=self.clips)

    def chosen(self, catalogue: Catalogue) -> tuple:
        """The records on which it is trained."""
        records = catalogue.split("train")
        return records[:: ceil(len(records) / self.clips)]

    def inputs(self, needed: dict, catalogue: Catalogue) -> Inputs:
        """An untrained curve network, determined by the seed alone, and the chosen clips; it predicts no classes."""
        train = replace(batches(self, "train"), records=self.chosen(catalogue))
        open_all([train])
        with seeded_weights(self.seed):
            net = self.net.make(0).to(memory_format=torch.channels_last)
        return Inputs({"student": net}, train, None, None, ())


@dataclass(frozen=True)
class TrainedCurves:
    """Zero-DCE, trained without labels on the dark *training* clips of ``data`` (docs/methods.md, 1.1).

    It sees at most ``clips`` of them, spread evenly over the data, as single frames of ``side`` × ``side`` pixels in
    batches of ``batch``, for ``steps`` steps (rounded up to whole passes) at peak rate ``lr``. With ``steady``, the
    mean of a clip's curve maps brightens all its frames, with the same weights. The first call trains, where
    :meth:`run` finds no finished training. Raises the errors of reading ``data``.
    """

    data: Night | UserClips
    width: int = 16
    side: int = 64
    clips: int = 96
    batch: int = 8
    steps: int = 400
    lr: float = 1e-3
    seed: int = 0
    steady: bool = False

    def __post_init__(self):
        integer(16, "a patch of the loss has 16 pixels", side=self.side)
        integer(1, width=self.width, clips=self.clips, batch=self.batch, steps=self.steps)
        integer(0, seed=self.seed)
        positive(lr=self.lr)

    @property
    def name(self) -> str:
        """Unique for one training: its digits depend on today's sources and clips, because brightened frames are cached
        under this name. It is read for every clip, so it uses :meth:`UserClips.recent_fingerprint`."""
        return _name(self) + ("-steady" if self.steady else "")

    def recipe(self) -> CurveRecipe:
        """The recipe of its training; this opens the catalogue of the clips."""
        recipe = CurveRecipe(
            "zerodce",
            self.data,
            method=ZeroDce(),
            net=Curves(self.width),
            clips=self.clips,
            window=Window(1, self.side, self.side),
            seed=self.seed,
        )
        epochs = ceil(self.steps / max(1, len(recipe.chosen(self.data.catalogue())) // self.batch))
        return replace(recipe, settings=Settings(epochs, self.batch, self.lr, weight_decay=1e-4))

    def run(self) -> Run:
        """The training for today's sources and clips, found or made now. Its ``history`` has a row per epoch: the
        weighted loss ``loss_net`` and its four terms."""
        with torch.enable_grad():  # the first use may occur in an evaluation
            return obtain(self.recipe(), stale="retrain", say=lambda line: None)

    def __call__(self, frames: np.ndarray) -> np.ndarray:
        """``uint8 (T, H, W, 3)`` → the same, brightened. Each frame is brightened separately, because the curve maps of
        a whole clip can fill the memory; with ``steady``, by the mean of all curve maps."""
        net, means = _net(self, _name(self)), []  # one per strip
        if self.steady:
            every = (_maps(net, frame) for frame in frames)
            means = next(every)
            for maps in every:
                means = [mean + one for mean, one in zip(means, maps, strict=True)]
            means = [mean / len(frames) for mean in means]
        return np.stack([_brightened(frame, means or _maps(net, frame)) for frame in frames])


def _brightened(frame: np.ndarray, maps: list[Tensor]) -> np.ndarray:
    """A picture ``uint8 (H, W, 3)``, brightened by the curve maps of each of its strips."""
    strips = zip(_strips(frame), maps, strict=True)
    bright = torch.cat([apply_curves(_floats(frame[rows]), curves) for rows, curves in strips], 2)
    levels = bright[0].mul_(255).round_().clamp_(0, 255).byte()
    return np.ascontiguousarray(levels.permute(1, 2, 0).numpy())


def _strips(frame: np.ndarray) -> list[slice]:
    """The slices of rows of a picture ``(H, W, 3)`` for one forward pass each: one slice, unless the picture is
    large."""
    tall = max(_AT_ONCE // frame.shape[1], 32)
    return [slice(top, min(top + tall, len(frame))) for top in range(0, len(frame), tall)]


@torch.no_grad()
def _maps(net: CurveNet, frame: np.ndarray) -> list[Tensor]:
    """The curve maps of each strip of a picture: bit for bit those of the whole picture, because each strip is extended
    by the rows that its convolutions read."""
    strips, maps = _strips(frame), []
    around = len(net.convs) if len(strips) > 1 else 0
    with one_thread():
        for rows in strips:
            first = max(rows.start - around, 0)
            curves, _ = net(_floats(frame[first : rows.stop + around]))
            maps.append(curves[:, :, rows.start - first : rows.stop - first].clone())
    return maps


def _floats(frame: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(frame)).permute(2, 0, 1)[None].float().div_(255)


def _name(enhancer: TrainedCurves) -> str:
    data = enhancer.data
    contents = data.recent_fingerprint() if isinstance(data, UserClips) else data.fingerprint()
    return _named(enhancer, contents)


@cache
def _named(enhancer: TrainedCurves, contents: str) -> str:
    """``contents`` is the fingerprint of the data."""
    own = {
        name: to_json(value)
        for name, value in vars(enhancer).items()
        if name not in ("data", "steady")
    }
    parts = json.dumps([own, source_hash(enhancer), contents], sort_keys=True)
    data = "night" if isinstance(enhancer.data, Night) else enhancer.data.name
    return f"{portable(f'zerodce-{data}')}-s{enhancer.seed}-{hashlib.sha256(parts.encode()).hexdigest()[:8]}"


@cache
def _net(enhancer: TrainedCurves, name: str) -> CurveNet:
    """The network of the training ``name``, which is part of the cache key because clips can change while this process
    runs."""
    return enhancer.run().net().to(memory_format=torch.channels_last)
