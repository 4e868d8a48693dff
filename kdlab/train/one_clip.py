"""One clip, as a network of a run sees it in a test."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from kdlab.clips.cache import FrameCache
from kdlab.clips.records import Catalogue, ClipRecord
from kdlab.clips.windows import ClipBatches
from kdlab.protocols import Data
from kdlab.train.preparing import batches
from kdlab.train.recipe import Recipe
from kdlab.train.runs import Run


@dataclass(frozen=True)
class _OneClip(Data):
    """The data of a recipe with one clip, in test; ``end`` (seconds) makes all of it one segment, for a detector."""

    path: Path
    end: float | None = None

    def catalogue(self) -> Catalogue:
        start = None if self.end is None else 0.0
        record = ClipRecord(self.path.stem, self.path, 0, "test", "", start, self.end)
        return Catalogue(self.path.stem, self.path.parent, ("?",), (record,))


@contextmanager
def batches_of(clip: Path, recipe: Recipe, end: float | None = None) -> Iterator[ClipBatches]:
    """The batches of one ``clip`` as in a test of ``recipe``; no training reads them, so they are not cached."""
    with tempfile.TemporaryDirectory() as folder:
        clips = batches(replace(recipe, data=_OneClip(clip, end)), "test", {"student": recipe.view})
        yield replace(clips, cache=FrameCache(folder))


def input_of(recipe: Recipe, clip: Path) -> Tensor:
    """The input ``(1, C, T, H, W)`` of the recipe's network for the clip, as in a test."""
    with batches_of(clip, recipe) as clips:
        return next(iter(clips.evaluation())).views["student"]


def logits_of(net: nn.Module, x: Tensor, run: Run) -> Tensor:
    """The logits ``(K,)`` that ``net`` of ``run`` gives one clip ``x (1, C, T, H, W)``. Raises ``ValueError`` where it
    gives none."""
    classes = len(run.provenance["classes"])
    try:
        with torch.no_grad():
            logits = net(x)
        return logits.view(1, classes)[0]
    except (AttributeError, LookupError, RuntimeError, TypeError) as error:
        why = str(error).partition("\n")[0]
        raise ValueError(
            f"the network of {run.folder.name} gives no logits (1, {classes}) for one clip: {why}"
        ) from error
