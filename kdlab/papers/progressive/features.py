"""Frozen networks' features of clips, in memory: internal classifiers then train in seconds (docs/methods.md, 3.1).

Networks are only called here; what they are is not known. Half precision halves the memory and changes a feature by
5e-4 of its value at most.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch.nn import functional as F

from kdlab.clips.segments import SegmentBatches
from kdlab.clips.views import Batch
from kdlab.values import whole

__all__ = ["FeatureBatch", "Features", "FrozenView", "extract"]

#: Feature maps of some stages, each ``(B * T, C, h, w)``, and logits ``(B, K)``.
Asked = tuple[list[torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class FrozenView:
    """What internal classifiers see: features of frozen networks, of ``draws`` random draws of each training clip.

    ``pooled`` is the size to which the heads average larger maps anyway; what is kept is that small already.
    ``batch_statistics`` is the released code's mistake, for comparison: the frozen networks stay in training mode, so
    that a feature depends on the other clips of its batch, and their running statistics drift.
    """

    draws: int = 8
    pooled: tuple[int, int] | None = None
    batch_statistics: bool = False

    name = "frozen"

    def __post_init__(self):
        whole(1, draws=self.draws)
        if self.pooled is not None:
            whole(1, pooled=self.pooled)


@dataclass(frozen=True)
class FeatureBatch(Batch):
    """``views`` has, by modality, a list of feature maps ``(B, T, C, h, w)``, and under ``finals`` logits (B, 3, K)."""

    def to(self, device: torch.device) -> "FeatureBatch":
        moved = {k: v.to(device) if isinstance(v, torch.Tensor) else [f.to(device) for f in v]
                 for k, v in self.views.items()}
        return FeatureBatch(moved, self.labels.to(device), self.ids)


@dataclass
class Features:
    """Clips' features with the interface of ``ClipBatches``.

    ``maps``: modality → one tensor ``(V, N, T, C, h, w)`` of each stage, float16, V draws; ``finals (V, N, 3, K)``.
    """

    records: Sequence
    maps: dict[str, list[torch.Tensor]]
    finals: torch.Tensor

    def _batch(self, draws: torch.Tensor, indices: torch.Tensor) -> FeatureBatch:
        views = {name: [stage[draws, indices].float() for stage in stages] for name, stages in self.maps.items()}
        chosen = [self.records[i] for i in indices.tolist()]
        return FeatureBatch(views | {"finals": self.finals[draws, indices]}, torch.tensor([r.label for r in chosen]),
                            tuple(r.id for r in chosen))

    def training(self, indices: Sequence[int], generator: torch.Generator) -> FeatureBatch:
        """A batch, each clip under one of its draws; the generator alone decides which."""
        return self._batch(torch.randint(len(self.finals), (len(indices),), generator=generator), torch.tensor(indices))

    def evaluation(self, batch_size: int = 64) -> Iterator[FeatureBatch]:
        """All records in order, under their first draw."""
        for some in torch.arange(len(self.records)).split(batch_size):
            yield self._batch(torch.zeros_like(some), some)


def extract(asked: dict[str, Callable[[torch.Tensor], Asked]], clips: SegmentBatches,
            draws: Sequence[torch.Generator], pooled: tuple[int, int] | None = None) -> Features:
    """What ``asked`` (modality → network's features and logits) say of ``clips``, whose views have the same names.

    Each of ``draws`` generators decides one random draw of every clip; without any it is the centre one. Maps are
    averaged to the size ``pooled``, if it is given.
    """
    small = (lambda m: F.adaptive_avg_pool2d(m, pooled)) if pooled else (lambda m: m)
    maps, finals = {name: [] for name in asked}, []
    for generator in draws or [None]:
        stages, logits = {name: [] for name in asked}, []
        for some in torch.arange(len(clips.records)).split(32):
            batch = _centre(clips, some.tolist()) if generator is None else clips.training(some.tolist(), generator)
            with torch.no_grad():
                said = {name: net(batch.views[name]) for name, net in asked.items()}
            for name, (its, _) in said.items():
                stages[name].append([small(stage).unflatten(0, (len(some), -1)).half() for stage in its])
            logits.append(torch.stack([final for _, final in said.values()], 1))
        for name, parts in stages.items():
            maps[name].append([torch.cat(column) for column in zip(*parts, strict=True)])
        finals.append(torch.cat(logits))
    joined = {name: [torch.stack(column) for column in zip(*parts, strict=True)] for name, parts in maps.items()}
    return Features(clips.records, joined, torch.stack(finals))


def _centre(clips: SegmentBatches, indices: Sequence[int]) -> Batch:
    return clips.collate(indices, [clips.window.centre(clips.length(clips.records[i])) for i in indices])
