"""Before the first step of a training: its networks and its batches."""

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace

import torch
from torch import nn

from kdlab.clips.records import Catalogue
from kdlab.clips.windows import ClipBatches, open_all
from kdlab.nets.norms import folded
from kdlab.nets.video import begin_as, build, for_classes
from kdlab.train.device import seeded_generators
from kdlab.train.loop import predict
from kdlab.train.recipe import Inputs, Recipe, Snapshot
from kdlab.train.runs import Run


def batches(
    recipe: Recipe, split: str, views: dict | None = None, catalogue: Catalogue | None = None
) -> ClipBatches:
    """The clips of ``split`` in the views of the recipe's networks (or in other ``views``), cut by the recipe's
    ``window``; of the recipe's data, or of the ``catalogue`` that was made of them."""
    return recipe.window.batches(
        catalogue or recipe.data.catalogue(), split, views or recipe.views()
    )


def opened_splits(
    recipe: Recipe, catalogue: Catalogue
) -> tuple[ClipBatches, ClipBatches, ClipBatches]:
    """Training, validation and test clips, after a check that each can be read; raises as :func:`open_all`. Test clips
    have only the view of the trained network."""
    train = batches(recipe, "train", catalogue=catalogue)
    validation = batches(recipe, "val", catalogue=catalogue)
    test = batches(recipe, "test", {"student": recipe.view}, catalogue)
    open_all((train, validation, test))
    return train, validation, test


def cache_clips(recipes: Iterable[Recipe], snapshot: Snapshot) -> None:
    """Fill the cache with the clips of ``recipes``, on all cores, before each recipe is trained in a process with one
    core. Errors in the clips are ignored here; the trainings report them."""
    # a recipe with its own prepare() learns from networks, whose recipes open the clips
    alike = {(r.data, r.window, *r.views().values()): r for r in recipes if r.on_clips}
    for recipe in alike.values():
        with suppress(ValueError, OSError):
            opened_splits(recipe, snapshot.catalogue(recipe.data))


def inputs_of(recipe: Recipe, needed: dict, catalogue: Catalogue, say: Callable) -> Inputs:
    """The :class:`.recipe.Inputs` of ``recipe``; ``needed`` maps ``teacher`` and ``start`` to their runs.

    ``say`` is told of a teacher that is worse than its student. Records without a label, such as windows of untrimmed
    video, have no validation during training, and are not compared: such a method distils features, whose shapes it
    checks itself.
    """
    with seeded_generators(recipe.seed, 6):  # for networks initialised from NumPy or Python
        if recipe.inputs:
            return recipe.inputs(needed, catalogue)
        return _inputs_of_clips(recipe, needed, catalogue, say)


def _inputs_of_clips(recipe: Recipe, needed: dict, catalogue: Catalogue, say: Callable) -> Inputs:
    train, validation, _ = opened_splits(recipe, catalogue)
    for clips in (train, validation):
        clips.cache.hold()
    labelled = all(record.label >= 0 for record in train.records)
    nets = {"student": _student(recipe, needed.get("start"), train, catalogue)}
    teacher = needed.get("teacher")
    if teacher:
        nets["teacher"] = _teacher(teacher, catalogue, labelled)
        if labelled:
            _compare(nets, train, "start" in needed, say)
    nets |= recipe.method.extra_nets(nets, train.evaluation(), recipe.seed, needed)
    if teacher:
        few = next(replace(train, records=train.records[:2]).evaluation())
        nets["teacher"] = folded(
            nets["teacher"], few.views["teacher"]
        )  # after extra_nets, which may copy its norms

    def answers(student: nn.Module, split: str, batch_size: int = 64):
        loaded = batches(recipe, split, {"student": recipe.view}, catalogue)
        if not loaded.records:
            return (), None
        shown = loaded.evaluation(batch_size)
        if (
            not labelled
        ):  # the length of a table of labels depends on the fullest window of the batch
            shown = (replace(batch, labels=torch.zeros(len(batch.ids))) for batch in shown)
        return loaded.records, predict(student, shown, "student")[0]

    return Inputs(nets, train, validation if labelled else None, answers)


def _student(
    recipe: Recipe, start: Run | None, train: ClipBatches, catalogue: Catalogue
) -> nn.Module:
    """The network to train: its initial weights depend on the seed alone, or are those of ``start``."""
    given = recipe.net.statistics  # those of its pre-training; else those of the clips' view
    statistics = map(torch.tensor, given) if given else train.statistics("student")
    net = build(recipe.net, len(catalogue.classes), recipe.seed, *statistics)
    if start and recipe.net.begin(net, begun := start.net()) is NotImplemented:
        begin_as(net, begun, catalogue.classes, start.provenance["classes"], recipe.net.head)
    return net


def _teacher(teacher: Run, catalogue: Catalogue, labelled: bool) -> nn.Module:
    """The trained network of ``teacher``, frozen, with the student's classes in their order."""
    taught = teacher.provenance["classes"]
    if not labelled and list(taught) != list(catalogue.classes):
        raise ValueError(
            f"{teacher.folder.name}: the teacher detects {', '.join(taught)}, the student "
            f"{', '.join(catalogue.classes)}; train both on the same classes"
        )
    return for_classes(teacher.net(), taught, catalogue.classes).eval().requires_grad_(False)


def _compare(nets: dict[str, nn.Module], train: ClipBatches, started: bool, say: Callable) -> None:
    """Tell ``say`` of a teacher that is worse than its student is before the training."""
    sample = replace(
        train, records=train.records[:: max(1, len(train.records) // 16)]
    )  # of many classes
    batch, right = next(sample.evaluation()), {}
    for role in ("teacher", "student"):
        logits, labels, _ = predict(nets[role], [batch], role)
        right[role] = 100 * float((logits.argmax(1) == labels).float().mean())
    if right["teacher"] < right["student"]:
        student = (
            "the student at its start" if started else "the student before it has learnt anything"
        )
        say(
            f"The teacher recognises {right['teacher']:.1f} % of a batch of training clips, less than {student} "
            f"({right['student']:.1f} %): see that it has its own view and normalisation, or train it longer."
        )
