"""The recipe of internal classifiers on frozen networks, and the features they learn from: docs/methods.md, 3.1."""

import copy
from dataclasses import dataclass

import torch
from torch import nn

from kdlab.clips.catalogue import Catalogue
from kdlab.clips.segments import SegmentBatches
from kdlab.papers.progressive.features import Features, FrozenView, extract
from kdlab.papers.progressive.nets import ORDER, ExitHeads
from kdlab.train.loop import one_thread, seeded
from kdlab.train.recipe import Prepared, Recipe

__all__ = ["ExitRecipe", "all_exits", "frozen_features"]


@dataclass(frozen=True)
class ExitRecipe(Recipe):
    """Internal classifiers after the first three stages of ``backbones``, which are in the order of ``ORDER``.

    ``net`` says their shapes and ``view`` how features are drawn; clips and ``window`` are the backbones'.
    """

    view: FrozenView = FrozenView()
    net: ExitHeads = ExitHeads()
    backbones: tuple[Recipe, ...] = ()

    def needs(self) -> dict[str, Recipe]:
        return dict(zip(ORDER, self.backbones, strict=True))

    def prepare(self, needed: dict, catalogue: Catalogue) -> Prepared:
        """Features of the frozen networks in ``needed``, and untrained heads on them, decided by the seed alone."""
        backbones = {name: run.net() for name, run in needed.items()}
        features = frozen_features(self, backbones, tuple(run.provenance["weights"] for run in needed.values()))

        def answers(student: nn.Module, split: str):
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
        frozen = {name: copy.deepcopy(net).requires_grad_(False).eval() for name, net in nets.items()}
        asked = {name: lambda x, net=net: net.net.features((x - net.mean) / net.std) for name, net in frozen.items()}
        views = {name: backbone.view for name, backbone in recipe.needs().items()}
        catalogue, found = recipe.data.catalogue(), {}
        with one_thread():
            for split in ("train", "val", "test"):
                clips = SegmentBatches(catalogue.split(split), views, recipe.window)
                draws = [seeded(recipe.seed, 4, n) for n in range(recipe.view.draws)] if split == "train" else []
                for net in frozen.values():
                    net.train(recipe.view.batch_statistics and split == "train")
                if clips.records:
                    found[split] = extract(asked, clips, draws, recipe.view.pooled)
        _last[key] = found
    return _last[key]


def all_exits(heads: nn.Module, features: Features) -> torch.Tensor:
    """Logits ``(N, 12, K)`` of the trained heads and, behind each modality's three, its own final classifier."""
    was_training = heads.training
    heads.eval()
    with torch.no_grad(), one_thread():
        some = [(heads(batch.views).unflatten(1, (-1, 3)), batch.views["finals"]) for batch in features.evaluation()]
    heads.train(was_training)
    return torch.cat([torch.cat([trained, finals[:, :, None]], 2).flatten(1, 2) for trained, finals in some])
