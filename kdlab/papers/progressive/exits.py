"""Internal classifiers on frozen networks (docs/methods.md, 3.1): the recipe, and the networks' features.

On stored features, classifiers train in seconds. Half precision halves the memory of the features and changes each by
at most 5e-4 of its value. Features that exceed ``KDLAB_MEMORY_GB`` are kept on disk, with the same bits.
"""

import copy
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kdlab.clips.coviar import SegmentBatches
from kdlab.clips.records import Catalogue
from kdlab.clips.windows import Batch
from kdlab.nets.layers import evaluating, one_thread, seeded_weights
from kdlab.nets.video import Normalised
from kdlab.papers.progressive.networks import ORDER, ExitHeads, frozen_features, twelve
from kdlab.system import paths
from kdlab.system.values import integer
from kdlab.train.device import device, seeded
from kdlab.train.recipe import Inputs, Recipe


@dataclass(frozen=True)
class FrozenView:
    """The input of internal classifiers: features of frozen networks, of ``draws`` random draws of each training clip.

    ``pooled`` is the size to which the heads average larger maps first; the stored maps already have that size.
    """

    draws: int = 8
    pooled: tuple[int, int] | None = None

    name = "frozen"

    def __post_init__(self):
        integer(1, draws=self.draws, pooled=self.pooled or (1, 1))


@dataclass
class Features:
    """Features of N clips in V draws, with the interface of ``ClipBatches``: the tensors of
    :func:`.networks.frozen_features`, each ``(V, N, …)``, maps as float16."""

    records: Sequence
    tensors: dict[object, Tensor]

    def _batch(self, draws: Tensor, indices: Tensor) -> Batch:
        chosen = [self.records[i] for i in indices.tolist()]
        return Batch(
            {key: kept[draws, indices].float() for key, kept in self.tensors.items()},
            torch.tensor([r.label for r in chosen]),
            tuple(r.id for r in chosen),
        )

    def training(
        self, indices: Sequence[int], generator: torch.Generator, part: slice = slice(None)
    ) -> Batch:
        """A batch, or a ``part`` of it, with one draw of each clip; the generator alone determines which draw."""
        draws = torch.randint(len(self.tensors["finals"]), (len(indices),), generator=generator)
        return self._batch(draws[part], torch.tensor(indices)[part])

    def evaluation(self, batch_size: int = 64) -> Iterator[Batch]:
        """Batches of all records in order, with their first draw."""
        for some in torch.arange(len(self.records)).split(batch_size):
            yield self._batch(torch.zeros_like(some), some)


def extract(
    nets: Mapping[str, Normalised],
    clips: SegmentBatches,
    draws: Sequence[torch.Generator],
    pooled: tuple[int, int] | None = None,
) -> Features:
    """The :func:`.networks.frozen_features` of the clips, computed on the device of ``nets``.

    Each of the ``draws`` generators gives one random draw of every clip; without any, the centre draw is used. Maps are
    averaged to the size ``pooled``, if it is given.
    """
    where = next(iter(nets.values())).mean.device
    count, kept = len(clips.records), {}
    parts = torch.arange(count).split(32)
    for draw, generator in enumerate(draws or [None]):
        batches = clips.evaluation(32)
        if generator:
            batches = (clips.training(part.tolist(), generator) for part in parts)
        for part, batch in zip(parts, batches, strict=True):
            features = frozen_features(nets, {name: batch.views[name].to(where) for name in nets})
            features = {key: _averaged(key, its.cpu(), pooled) for key, its in features.items()}
            kept = kept or _storage(
                {key: (len(draws) or 1, count, *its.shape[1:]) for key, its in features.items()}
            )
            for key, its in features.items():
                kept[key][draw, part] = its.to(kept[key].dtype)
    return Features(clips.records, kept)


def _averaged(key: object, its: Tensor, size: tuple[int, int] | None) -> Tensor:
    if key == "finals" or not size:
        return its
    return F.adaptive_avg_pool2d(its.flatten(0, 1), size).unflatten(0, its.shape[:2])


def _storage(shapes: dict[object, tuple[int, ...]]) -> dict[object, Tensor]:
    """Empty tensors of ``shapes``, float16 but for the logits. They lie in memory, or in unnamed files in the cache if
    they need more than ``kdlab.system.paths.memory_bytes()``."""
    fits = 2 * sum(map(prod, shapes.values())) <= paths.memory_bytes()

    def empty(key: object, shape: tuple[int, ...]) -> Tensor:
        if key == "finals":
            return torch.empty(shape)
        if fits:
            return torch.empty(shape, dtype=torch.float16)
        paths.cache_dir().mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=paths.cache_dir()) as file:
            return torch.from_numpy(np.memmap(file, np.float16, "w+", shape=shape))

    return {key: empty(key, shape) for key, shape in shapes.items()}


@dataclass(frozen=True)
class ExitRecipe(Recipe):
    """The recipe of internal classifiers after the first three stages of ``backbones``, which stand in the order of
    ``ORDER``. ``net`` gives the shapes of the classifiers, ``view`` the draws of features. Clips and ``window`` are the
    backbones'."""

    view: FrozenView = FrozenView()
    net: ExitHeads = ExitHeads()
    backbones: tuple[Recipe, ...] = ()

    def needs(self) -> dict[str, Recipe]:
        return dict(zip(ORDER, self.backbones, strict=True))

    def inputs(self, needed: dict, catalogue: Catalogue) -> Inputs:
        """Features of the frozen networks in ``needed``, and untrained heads, whose weights the seed alone determines."""
        backbones = {name: run.net() for name, run in needed.items()}
        weights = tuple(run.provenance["weights"] for run in needed.values())
        features = features_of(self, catalogue, backbones, weights)

        def answers(student: nn.Module, split: str, batch_size: int = 64):
            if split not in features:
                return (), None
            some = features[split]
            return some.records, all_exits(student.cpu(), some, batch_size)

        with seeded_weights(self.seed):
            heads = self.net.make(len(catalogue.classes))
        return Inputs(
            {"student": heads}, features["train"], None, answers, ("train", "val", "test")
        )


#: The features of the last three networks, since a study trains many conditions on the same networks.
_last: dict[tuple, dict[str, Features]] = {}


def features_of(
    recipe: ExitRecipe, catalogue: Catalogue, nets: dict[str, nn.Module], weights: tuple[str, ...]
) -> dict[str, Features]:
    """Split → features of its clips in ``catalogue`` under the frozen ``nets`` (modality → network, in ``ORDER``).

    ``weights`` identify the networks: a second call with the same networks returns the kept features. Training clips
    have the recipe's number of random draws, all others the centre draw. ``nets`` are not changed.
    """
    key = (weights, recipe.view, recipe.window, recipe.seed, recipe.data, recipe.data.fingerprint())
    if key not in _last:
        _last.clear()
        where, features = device(), {}
        frozen = nn.ModuleDict(copy.deepcopy(nets)).requires_grad_(False).eval().to(where)
        views = {name: backbone.view for name, backbone in recipe.needs().items()}
        draws = [seeded(recipe.seed, 4, n) for n in range(recipe.view.draws)]
        with one_thread(where):
            for split in ("train", "val", "test"):
                clips = SegmentBatches(catalogue.split(split), views, recipe.window)
                if clips.records:
                    random = draws if split == "train" else []
                    features[split] = extract(frozen, clips, random, recipe.view.pooled)
        _last[key] = features
    return _last[key]


def all_exits(heads: nn.Module, features: Features, batch_size: int = 64) -> Tensor:
    """Logits ``(N, 12, K)`` of :func:`.networks.twelve` for all clips, in evaluation mode."""
    with evaluating(heads), torch.no_grad(), one_thread():
        logits = [twelve(heads, batch.views) for batch in features.evaluation(batch_size)]
    return torch.cat(logits)
