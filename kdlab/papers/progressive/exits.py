"""Internal classifiers on frozen networks (docs/methods.md, 3.1): the recipe, and the networks' features.

On features classifiers train in seconds. Half precision halves their room and changes a feature by 5e-4 of its value at
most. What exceeds ``KDLAB_MEMORY_GB`` lies on the disk, with the same bits.
"""

import copy
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from math import prod

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from kdlab import paths
from kdlab.clips.catalogue import Catalogue
from kdlab.clips.coviar import SegmentBatches
from kdlab.clips.windows import Batch
from kdlab.papers.progressive.nets import ORDER, ExitHeads, frozen_maps
from kdlab.system.launch import device
from kdlab.system.values import whole
from kdlab.train.loop import one_thread, seeded
from kdlab.train.recipe import Prepared, Recipe


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
    """Clips' features with the interface of ``ClipBatches``. ``maps``: modality → one tensor ``(V, N, T, C, h, w)`` of
    each stage, float16, V draws; ``finals (V, N, 3, K)``."""

    records: Sequence
    maps: dict[str, list[torch.Tensor]]
    finals: torch.Tensor

    def _batch(self, draws: torch.Tensor, indices: torch.Tensor) -> FeatureBatch:
        views = {name: [stage[draws, indices].float() for stage in stages] for name, stages in self.maps.items()}
        chosen = [self.records[i] for i in indices.tolist()]
        return FeatureBatch(views | {"finals": self.finals[draws, indices]}, torch.tensor([r.label for r in chosen]),
                            tuple(r.id for r in chosen))

    def training(self, indices: Sequence[int], generator: torch.Generator, part: slice = slice(None)) -> FeatureBatch:
        """A batch, or a ``part`` of it, each clip under one of its draws; the generator alone decides which."""
        draws = torch.randint(len(self.finals), (len(indices),), generator=generator)
        return self._batch(draws[part], torch.tensor(indices)[part])

    def evaluation(self, batch_size: int = 64) -> Iterator[FeatureBatch]:
        """All records in order, under their first draw."""
        for some in torch.arange(len(self.records)).split(batch_size):
            yield self._batch(torch.zeros_like(some), some)


def extract(nets: dict[str, Callable[[torch.Tensor], tuple]], clips: SegmentBatches, draws: Sequence[torch.Generator],
            pooled: tuple[int, int] | None = None) -> Features:
    """The outputs of ``nets`` (modality → feature maps ``(B * T, C, h, w)`` of its stages, and logits ``(B, K)``) on
    ``clips``, whose views have the same names.

    Each of ``draws`` generators decides one random draw of every clip; without any it is the centre one. Maps are
    averaged to the size ``pooled``, if it is given.
    """
    small = (lambda m: F.adaptive_avg_pool2d(m, pooled)) if pooled else (lambda m: m)
    count, maps, finals = len(clips.records), {}, None
    for draw, generator in enumerate(draws or [None]):
        for some in torch.arange(count).split(32):
            chosen = some.tolist()
            if generator is None:
                centres = [clips.window.centre(clips.length(clips.records[i])) for i in chosen]
            batch = clips.training(chosen, generator) if generator else clips.collate(chosen, centres)
            with torch.no_grad():
                said = {name: net(batch.views[name]) for name, net in nets.items()}
            each = {name: [small(stage).unflatten(0, (len(some), -1)) for stage in stages]
                    for name, (stages, _) in said.items()}
            logits = torch.stack([final for _, final in said.values()], 1)
            if finals is None:
                first = len(draws) or 1, count
                maps, finals = _rooms(each, first), logits.new_empty(*first, *logits.shape[1:])
            for name, stages in each.items():
                for kept, stage in zip(maps[name], stages, strict=True):
                    kept[draw, chosen[0] : chosen[-1] + 1] = stage
            finals[draw, chosen] = logits
    return Features(clips.records, maps, finals)


def _rooms(said: dict[str, list[torch.Tensor]], first: tuple[int, int]) -> dict[str, list[torch.Tensor]]:
    """Where maps like those ``said`` of a batch are kept, the dimensions ``first`` in the place of the batch's: in
    memory, or in a file without a name in the cache where they are larger than ``kdlab.paths.memory_bytes()``."""
    shapes = {name: [(*first, *stage.shape[1:]) for stage in stages] for name, stages in said.items()}
    fits = 2 * sum(prod(shape) for some in shapes.values() for shape in some) <= paths.memory_bytes()

    def room(shape: tuple[int, ...]) -> torch.Tensor:
        if fits:
            return torch.empty(shape, dtype=torch.float16)
        paths.cache_dir().mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=paths.cache_dir()) as file:
            return torch.from_numpy(np.memmap(file, np.float16, "w+", shape=shape))

    return {name: [room(shape) for shape in some] for name, some in shapes.items()}


@dataclass(frozen=True)
class ExitRecipe(Recipe):
    """Internal classifiers after the first three stages of ``backbones``, which are in the order of ``ORDER``. ``net``
    says their shapes and ``view`` how features are drawn; clips and ``window`` are the backbones'."""

    view: FrozenView = FrozenView()
    net: ExitHeads = ExitHeads()
    backbones: tuple[Recipe, ...] = ()

    def needs(self) -> dict[str, Recipe]:
        return dict(zip(ORDER, self.backbones, strict=True))

    def prepare(self, needed: dict, catalogue: Catalogue) -> Prepared:
        """Features of the frozen networks in ``needed``, and untrained heads on them, decided by the seed alone."""
        backbones = {name: run.net() for name, run in needed.items()}
        features = frozen_features(self, backbones, tuple(run.provenance["weights"] for run in needed.values()))

        def answers(student: nn.Module, split: str, most: int | None = None):
            some = features.get(split)
            return (some.records, all_exits(student.cpu(), some)) if some else ((), None)

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            heads = self.net.make(len(catalogue.classes))
        return Prepared({"student": heads}, features["train"], None, answers, ("train", "val", "test"))


#: Features of the last trio asked for: a study trains many conditions on each.
_last: dict[tuple, dict[str, Features]] = {}


def frozen_features(recipe: ExitRecipe, nets: dict[str, nn.Module], weights: tuple[str, ...]) -> dict[str, Features]:
    """Features of every split's clips under the frozen ``nets`` (modality → network, in ``ORDER``).

    ``weights`` identify the networks: the features of the same ones are kept for the next call. Training clips have
    the recipe's number of random draws, the others their centre one. The networks are left as they were.
    """
    key = (weights, recipe.view, recipe.window, recipe.seed, recipe.data, recipe.data.fingerprint())
    if key not in _last:
        _last.clear()
        where = device()
        frozen = {name: copy.deepcopy(net).requires_grad_(False).eval().to(where) for name, net in nets.items()}
        asked = {name: partial(_asked, net, where) for name, net in frozen.items()}
        views = {name: backbone.view for name, backbone in recipe.needs().items()}
        catalogue, found = recipe.data.catalogue(), {}
        with one_thread(where):
            for split in ("train", "val", "test"):
                clips = SegmentBatches(catalogue.split(split), views, recipe.window)
                draws = [seeded(recipe.seed, 4, n) for n in range(recipe.view.draws)] if split == "train" else []
                for net in frozen.values():
                    net.train(recipe.view.batch_statistics and split == "train")
                if clips.records:
                    found[split] = extract(asked, clips, draws, recipe.view.pooled)
        _last[key] = found
    return _last[key]


def _asked(net: nn.Module, where: str, x: torch.Tensor) -> tuple[list[torch.Tensor], torch.Tensor]:
    """As :func:`.nets.frozen_maps`, computed ``where`` the ``net`` is, and brought back."""
    maps, logits = frozen_maps(net, x.to(where))
    return [stage.cpu() for stage in maps], logits.cpu()


def all_exits(heads: nn.Module, features: Features) -> torch.Tensor:
    """Logits ``(N, 12, K)`` of the trained heads and, behind each modality's three, its own final classifier."""
    was_training = heads.training
    heads.eval()
    with torch.no_grad(), one_thread():
        some = [(heads(batch.views).unflatten(1, (-1, 3)), batch.views["finals"]) for batch in features.evaluation()]
    heads.train(was_training)
    return torch.cat([torch.cat([trained, finals[:, :, None]], 2).flatten(1, 2) for trained, finals in some])
