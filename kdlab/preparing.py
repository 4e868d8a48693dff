"""What a training needs before its first step: its networks, its batches, and how its outcome will be asked."""

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace

import torch
from torch import nn

from kdlab.clips.catalogue import Catalogue
from kdlab.clips.open_all import open_all, unusable
from kdlab.clips.segments import SegmentBatches, Segments
from kdlab.clips.views import ClipBatches
from kdlab.clips.windows import WindowBatches, Windows, windows
from kdlab.distill.check import check_distillation
from kdlab.exits import ExitRecipe, all_exits, fresh_heads, frozen_features
from kdlab.feeding import folded, in_bf16
from kdlab.nets.detector import begin_backbone
from kdlab.nets.gated_detector import read_cvaes
from kdlab.nets.generative import read_cvae
from kdlab.nets.video import begin_as, build
from kdlab.nets.wrappers import for_classes
from kdlab.recipe import Recipe
from kdlab.train import predict

__all__ = ["batches", "on_clips", "on_exits", "on_windows", "open_ahead"]


def batches(recipe: Recipe, split: str, views: dict | None = None) -> ClipBatches:
    """The clips of ``split`` as the recipe's network sees them (or under other ``views``); for a detector, whose
    recipe's ``window`` is :class:`kdlab.clips.windows.Windows`, the windows of its videos."""
    if isinstance(recipe.window, Windows):
        some = windows(recipe.data.catalogue(), split, recipe.window)
        return WindowBatches(some, views or recipe.views(), recipe.window)
    records = recipe.data.catalogue().split(split)
    made = SegmentBatches if isinstance(recipe.window, Segments) else ClipBatches
    return made(records, views or recipe.views(), recipe.window)


def _parts(recipe: Recipe) -> tuple[ClipBatches, ClipBatches, ClipBatches]:
    """What training, validation and the test look at; only the trained network is tested."""
    return batches(recipe, "train"), batches(recipe, "val"), batches(recipe, "test", {"student": recipe.view})


def open_ahead(recipes: Iterable[Recipe]) -> None:
    """Fill the cache, on all cores, with the clips of ``recipes`` before each is trained in a process of its own, which
    has one core. What is wrong with them is left to the trainings to say."""
    parts: dict[tuple, ClipBatches] = {}
    for recipe in recipes:
        if isinstance(recipe, ExitRecipe):  # learns from networks, whose recipes open the clips
            continue
        with suppress(ValueError, OSError):
            for split, part in zip(("train", "val", "test"), _parts(recipe), strict=True):
                known = parts.setdefault((recipe.data, recipe.window, split), part)
                known.views |= {view.name: view for view in part.views.values()}
    unusable(list(parts.values()))


def on_clips(recipe: Recipe, needed: dict, catalogue: Catalogue, say: Callable):
    """Networks by what they are; batches to train on, and to validate on in between; and a function of (student, split)
    that gives the records of a split and what the student says of them. ``needed`` are runs, by what they are to it."""
    train, validation, test = _parts(recipe)
    open_all([train, validation, test])
    nets = {"student": build(recipe.net, len(catalogue.classes), recipe.seed, *_statistics(recipe, train))}
    if start := needed.get("start"):
        begin_as(nets["student"], start.net(), catalogue.classes, start.provenance["classes"])
    if teacher := needed.get("teacher"):
        teacher_net = for_classes(teacher.net(), teacher.provenance["classes"], catalogue.classes)
        nets["teacher"] = teacher_net.eval().requires_grad_(False)
        some = replace(train, records=train.records[:: max(1, len(train.records) // 16)])  # of many classes
        for warning in check_distillation(nets["teacher"], nets["student"], next(some.evaluation())):
            say(f"{recipe.name}: {warning}")
        if recipe.settings.precision == "bf16":  # elsewhere the bits of what is committed would change
            taps = hasattr(recipe.method, "tap") or hasattr(recipe.method, "taps")
            nets["teacher"] = in_bf16(nets["teacher"] if taps else folded(nets["teacher"]))
    if teacher and getattr(recipe.method, "reads_teacher_cvae", False):  # generative distillation
        nets["teacher_cvae"] = read_cvae(teacher.folder)
    if hasattr(recipe.method, "extra_nets"):  # what a method trains beside the student, such as a regressor
        nets |= recipe.method.extra_nets(nets, train.evaluation(), recipe.seed)

    def answers(student: nn.Module, split: str):
        some = batches(recipe, split, {"student": recipe.view})
        return some.records, predict(student, some.evaluation(), "student")[0] if some.records else None

    return nets, train, validation, answers


def on_exits(recipe: ExitRecipe, needed: dict, catalogue: Catalogue, say: Callable):
    """As :func:`on_clips`, for heads on frozen networks; nothing is chosen on validation clips in between."""
    backbones = {name: run.net() for name, run in needed.items()}
    features = frozen_features(recipe, backbones, tuple(run.provenance["weights"] for run in needed.values()))

    def answers(student: nn.Module, split: str):
        some = features.get(split)
        return (some.records, all_exits(student.cpu(), some)) if some else ((), None)

    return {"student": fresh_heads(recipe, len(catalogue.classes))}, features["train"], None, answers


def on_windows(recipe: Recipe, needed: dict, catalogue: Catalogue, say: Callable):
    """As :func:`on_clips`, for a detector on the windows of untrimmed video. A ``start`` gives its backbone. Nothing is
    chosen on validation videos in between, and a teacher's answers are not compared with the student's: distillation
    goes through taps, whose shapes the method checks."""
    train, *others = _parts(recipe)
    open_all([train, *others], "opening videos")
    nets = {"student": build(recipe.net, len(catalogue.classes), recipe.seed, *_statistics(recipe, train))}
    if start := needed.get("start"):
        begin_backbone(nets["student"], start.net())
    if teacher := needed.get("teacher"):
        theirs, ours = ", ".join(teacher.provenance["classes"]), ", ".join(catalogue.classes)
        if theirs != ours:
            raise ValueError(f"{recipe.name}: the teacher detects {theirs}, the student {ours}; train both on the same "
                             "classes")
        nets["teacher"] = teacher.net().eval().requires_grad_(False)
        if recipe.settings.precision == "bf16":
            nets["teacher"] = in_bf16(nets["teacher"])
        if getattr(recipe.method, "reads_teacher_cvae", False):
            nets["teacher_cvae"] = read_cvaes(teacher.folder)
    if hasattr(recipe.method, "extra_nets"):
        nets |= recipe.method.extra_nets(nets, train.evaluation(), recipe.seed)

    def answers(student: nn.Module, split: str):
        some = batches(recipe, split, {"student": recipe.view})
        # Tables of labels are as long as the fullest window of their batch needs, so they do not stack.
        unlabelled = (replace(batch, labels=torch.zeros(len(batch.ids))) for batch in some.evaluation())
        return some.records, predict(student, unlabelled, "student")[0] if some.records else None

    return nets, train, None, answers


def _statistics(recipe: Recipe, train: ClipBatches) -> tuple[torch.Tensor, torch.Tensor]:
    """Those that the network was pre-trained with, where it says so, else those of the training clips' view."""
    if given := getattr(recipe.net, "statistics", None):
        return tuple(torch.tensor(values) for values in given)
    return train.statistics("student")
