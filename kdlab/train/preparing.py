"""Build what a training needs before its first step: networks, batches, and the function that predicts."""

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from itertools import islice

import torch
from torch import nn

from kdlab.clips.catalogue import Catalogue
from kdlab.clips.windows import ClipBatches, open_all
from kdlab.distill.check import check_distillation
from kdlab.nets.folding import folded
from kdlab.nets.video import begin_as, build, for_classes
from kdlab.train.loop import predict, seeded_generators
from kdlab.train.processes import precision
from kdlab.train.recipe import Prepared, Recipe


def batches(recipe: Recipe, split: str, views: dict | None = None) -> ClipBatches:
    """The clips of ``split`` in the views of the recipe's networks (or in other ``views``), cut by the recipe's
    ``window``."""
    return recipe.window.batches(recipe.data.catalogue(), split, views or recipe.views())


def opened(recipe: Recipe) -> tuple[ClipBatches, ClipBatches, ClipBatches]:
    """Training, validation and test clips, after a check that each can be read; raises as :func:`open_all`. Test clips
    have only the view of the trained network."""
    parts = batches(recipe, "train"), batches(recipe, "val"), batches(recipe, "test", {"student": recipe.view})
    open_all(parts)
    return parts


def open_ahead(recipes: Iterable[Recipe]) -> None:
    """Fill the cache with the clips of ``recipes``, on all cores, before each recipe is trained in a process with one
    core. Errors in the clips are ignored here; the trainings report them."""
    # a recipe with its own prepare() learns from networks, whose recipes open the clips
    alike = {(r.data, r.window, *r.views().values()): r for r in recipes if not hasattr(r, "prepare")}
    for recipe in alike.values():
        with suppress(ValueError, OSError):
            opened(recipe)


def prepared(recipe: Recipe, needed: dict, catalogue: Catalogue, say: Callable) -> Prepared:
    """The :class:`.recipe.Prepared` of ``recipe``; ``needed`` maps ``teacher`` and ``start`` to their runs.

    Records without a label, such as windows of untrimmed video, have no validation during training, and the preflight
    does not compare teacher and student: such a method distils features, whose shapes it checks itself.
    """
    with seeded_generators(recipe.seed, 6):  # for networks initialised from NumPy or Python
        return recipe.prepare(needed, catalogue) if hasattr(recipe, "prepare") else _prepared(
            recipe, needed, catalogue, say)


def _prepared(recipe: Recipe, needed: dict, catalogue: Catalogue, say: Callable) -> Prepared:
    train, validation, _ = opened(recipe)
    labelled = all(record.label >= 0 for record in train.records)
    net = build(recipe.net, len(catalogue.classes), recipe.seed, *_statistics(recipe, train))
    nets = {"student": net}
    if start := needed.get("start"):
        if hasattr(recipe.net, "begin"):
            recipe.net.begin(net, start.net())
        else:
            begin_as(net, start.net(), catalogue.classes, start.provenance["classes"],
                     getattr(recipe.net, "head", "fc"))
    if teacher := needed.get("teacher"):
        nets["teacher"] = _taught_by(teacher, catalogue, labelled).eval().requires_grad_(False)
        if labelled:
            sample = replace(train, records=train.records[:: max(1, len(train.records) // 16)])  # of many classes
            for warning in check_distillation(nets["teacher"], net, next(sample.evaluation())):
                say(f"{recipe.name}: {warning}")
    if hasattr(recipe.method, "extra_nets"):
        nets |= recipe.method.extra_nets(nets, train.evaluation(), recipe.seed, needed)
    if teacher:
        few = next(replace(train, records=train.records[:2]).evaluation())
        nets["teacher"] = folded(nets["teacher"], few.views["teacher"])  # after extra_nets, which may copy its norms
        if recipe.settings.precision == "bf16":
            nets["teacher"] = in_bf16(nets["teacher"])

    def answers(student: nn.Module, split: str, most: int | None = None):
        loaded = batches(recipe, split, {"student": recipe.view})
        if not loaded.records:
            return (), None
        # The length of a table of labels depends on the fullest window of the batch, so tables do not stack.
        shown = (b if labelled else replace(b, labels=torch.zeros(len(b.ids))) for b in loaded.evaluation())
        return loaded.records, predict(student, islice(shown, most), "student")[0]

    return Prepared(nets, train, validation if labelled else None, answers)


def in_bf16(net: nn.Module) -> nn.Module:
    """``net`` with a forward pass in bf16 mixed precision and an output in fp32. A frozen teacher needs this in a
    ``bf16`` training, whose loop applies mixed precision only to the networks that it trains. Returns ``net`` unchanged
    where the hardware has no bf16 (:func:`kdlab.train.processes.precision`)."""
    if precision("bf16") != "bf16":
        return net
    plain = net.forward

    def forward(x: torch.Tensor) -> torch.Tensor:
        with torch.autocast(x.device.type, torch.bfloat16):
            return plain(x).float()

    net.forward = forward  # the layers keep their names: methods tap them by name
    return net


def _taught_by(teacher, catalogue: Catalogue, labelled: bool) -> nn.Module:
    """The network of the run ``teacher``, for the catalogue's classes."""
    classes = teacher.provenance["classes"]
    if list(classes) == list(catalogue.classes):
        return teacher.net()
    if not labelled:
        raise ValueError(f"{teacher.folder.name}: the teacher detects {', '.join(classes)}, the student "
                         f"{', '.join(catalogue.classes)}; train both on the same classes")
    return for_classes(teacher.net(), classes, catalogue.classes)


def _statistics(recipe: Recipe, train: ClipBatches) -> tuple[torch.Tensor, torch.Tensor]:
    """The input statistics of the network's pre-training, where its spec has them, else those of the training clips'
    view."""
    if given := getattr(recipe.net, "statistics", None):
        return tuple(torch.tensor(values) for values in given)
    return train.statistics("student")
