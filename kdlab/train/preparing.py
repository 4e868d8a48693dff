"""What a training needs before its first step: its networks, its batches, and how its outcome will be predicted."""

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
    """The clips of ``split`` as the recipe's network sees them (or under other ``views``), made by its ``window``."""
    return recipe.window.batches(recipe.data.catalogue(), split, views or recipe.views())


def opened(recipe: Recipe) -> tuple[ClipBatches, ClipBatches, ClipBatches]:
    """Training, validation and test clips, each of which can be read; raises as :func:`open_all`. Only the trained
    network is tested."""
    parts = batches(recipe, "train"), batches(recipe, "val"), batches(recipe, "test", {"student": recipe.view})
    open_all(parts)
    return parts


def open_ahead(recipes: Iterable[Recipe]) -> None:
    """Fill the cache, on all cores, with the clips of ``recipes`` before each is trained in a process of its own, which
    has one core. What is wrong with them is left to the trainings to say."""
    # one that has its own way to prepare learns from networks, whose recipes open the clips
    alike = {(r.data, r.window, *r.views().values()): r for r in recipes if not hasattr(r, "prepare")}
    for recipe in alike.values():
        with suppress(ValueError, OSError):
            opened(recipe)


def prepared(recipe: Recipe, needed: dict, catalogue: Catalogue, say: Callable) -> Prepared:
    """What training ``recipe`` needs; ``needed`` are runs, by what they are to it.

    Of records without a label, such as windows of untrimmed video, nothing is validated in between, and a teacher's
    answers are not compared with the student's: distillation goes through layers, whose shapes the method checks.
    """
    with seeded_generators(recipe.seed, 6):  # for parts that draw their beginning from NumPy or Python
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
        nets["teacher"] = folded(nets["teacher"], few.views["teacher"])  # only now: an untrained twin has its norms
        if recipe.settings.precision == "bf16":
            nets["teacher"] = in_bf16(nets["teacher"])

    def answers(student: nn.Module, split: str, most: int | None = None):
        loaded = batches(recipe, split, {"student": recipe.view})
        if not loaded.records:
            return (), None
        # Tables of labels are as long as the fullest window of their batch needs, so they do not stack.
        shown = (b if labelled else replace(b, labels=torch.zeros(len(b.ids))) for b in loaded.evaluation())
        return loaded.records, predict(student, islice(shown, most), "student")[0]

    return Prepared(nets, train, validation if labelled else None, answers)


def in_bf16(net: nn.Module) -> nn.Module:
    """``net`` with a forward pass in bf16 mixed precision, its output in fp32: for a frozen teacher in a ``bf16``
    training, whose loop puts only the networks that it trains into mixed precision. Itself where the hardware has no
    bf16 (:func:`kdlab.train.processes.precision`)."""
    if precision("bf16") != "bf16":
        return net
    plain = net.forward

    def forward(x: torch.Tensor) -> torch.Tensor:
        with torch.autocast(x.device.type, torch.bfloat16):
            return plain(x).float()

    net.forward = forward  # the layers keep their names, by which methods tap them
    return net


def _taught_by(teacher, catalogue: Catalogue, labelled: bool) -> nn.Module:
    """The network of the run ``teacher`` for the catalogue's classes."""
    classes = teacher.provenance["classes"]
    if list(classes) == list(catalogue.classes):
        return teacher.net()
    if not labelled:
        raise ValueError(f"{teacher.folder.name}: the teacher detects {', '.join(classes)}, the student "
                         f"{', '.join(catalogue.classes)}; train both on the same classes")
    return for_classes(teacher.net(), classes, catalogue.classes)


def _statistics(recipe: Recipe, train: ClipBatches) -> tuple[torch.Tensor, torch.Tensor]:
    """Those that the network was pre-trained with, where it says so, else those of the training clips' view."""
    if given := getattr(recipe.net, "statistics", None):
        return tuple(torch.tensor(values) for values in given)
    return train.statistics("student")
