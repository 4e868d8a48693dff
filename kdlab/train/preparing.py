"""What a training needs before its first step: its networks, its batches, and how its outcome will be predicted."""

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace

import torch
from torch import nn

from kdlab.clips.catalogue import Catalogue
from kdlab.clips.open_all import open_all, unusable
from kdlab.clips.views import ClipBatches
from kdlab.distill.check import check_distillation
from kdlab.layers import one_thread
from kdlab.nets.video import begin_as, build
from kdlab.nets.wrappers import for_classes
from kdlab.system.sources import foreign
from kdlab.train.feeding import folded, in_bf16
from kdlab.train.loop import Progress, predict
from kdlab.train.recipe import Prepared, Recipe


def batches(recipe: Recipe, split: str, views: dict | None = None) -> ClipBatches:
    """The clips of ``split`` as the recipe's network sees them (or under other ``views``), made by its ``window``."""
    return recipe.window.batches(recipe.data.catalogue(), split, views or recipe.views())


def _parts(recipe: Recipe) -> tuple[ClipBatches, ClipBatches, ClipBatches]:
    """What training, validation and the test look at; only the trained network is tested."""
    return batches(recipe, "train"), batches(recipe, "val"), batches(recipe, "test", {"student": recipe.view})


def open_ahead(recipes: Iterable[Recipe]) -> None:
    """Fill the cache, on all cores, with the clips of ``recipes`` before each is trained in a process of its own, which
    has one core. What is wrong with them is left to the trainings to say."""
    parts: dict[tuple, ClipBatches] = {}
    for recipe in recipes:
        if hasattr(recipe, "prepare"):  # learns from networks, whose recipes open the clips
            continue
        with suppress(ValueError, OSError):
            for split, part in zip(("train", "val", "test"), _parts(recipe), strict=True):
                known = parts.setdefault((recipe.data, recipe.window, split), part)
                known.views |= {view.name: view for view in part.views.values()}
    unusable(list(parts.values()))


def rehearse(recipe: Recipe) -> None:
    """Take a first step of a ``recipe`` with parts that are not kdlab's, on two clips with untrained networks, so that
    what does not fit is told before anything is trained. Raises ``ValueError`` with the part and the mend."""
    if hasattr(recipe, "prepare") or not foreign((recipe.net, recipe.view, recipe.method)):
        return
    classes, clips = len(recipe.data.catalogue().classes), batches(recipe, "train")
    clips = replace(clips, records=clips.records[:: max(1, len(clips.records) // 2)][:2])
    batch, nets, labelled = next(iter(clips.evaluation())), {}, all(record.label >= 0 for record in clips.records)
    with torch.random.fork_rng(devices=[]), one_thread():
        for name, part in (("student", recipe), ("teacher", recipe.teacher)):
            if part:
                nets[name] = _fitting(part.net, batch.views[name], classes, labelled)
        if recipe.teacher:
            nets["teacher"].eval().requires_grad_(False)
        needed = _Untrained()
        try:
            if hasattr(recipe.method, "extra_nets"):
                nets |= recipe.method.extra_nets(nets, clips.evaluation(), recipe.seed, needed)
            parts = recipe.method.parts(nets)
            trained = {name for names in parts.values() for name in names}
            ready = recipe.method.prepare(nets, clips.evaluation()) if hasattr(recipe.method, "prepare") else None
            for optimiser, *_ in recipe.method.losses(nets, batch, Progress(0, 1, ready)):
                if optimiser not in parts:
                    raise ValueError(f"losses() yields for an optimiser {optimiser!r}, and parts() names "
                                     f"{', '.join(parts)}")
            if unknown := sorted(trained - nets.keys()):
                raise ValueError(f"parts() names a network {unknown[0]!r}; there are {', '.join(nets)}")
        except _Untrained.Asked:
            return  # for what only the trained teacher can say
        except Exception as error:
            message = f"{error}" if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
            raise ValueError(f"{type(recipe.method).__qualname__} fails in the first step of {recipe.stem}, whose "
                             f"networks are {', '.join(nets)}: {message}") from error


class _Untrained(dict):
    """Stands for the runs that are needed and not there yet."""

    class Asked(Exception):
        """A method wants to see one of them."""

    def __missing__(self, key):
        raise self.Asked(key)


def _fitting(spec, x: torch.Tensor, classes: int, labelled: bool) -> nn.Module:
    """The untrained network of ``spec``: it has what it names and, where clips are ``labelled``, answers to the video
    ``x`` with a row a clip."""
    kind, channels = type(spec).__qualname__, getattr(spec, "channels", 3)
    if x.shape[1] != channels:
        raise ValueError(f"{kind} sees video of {channels} channels and the view has {x.shape[1]}: give the network "
                         f"channels = {x.shape[1]}, or another view")
    given = getattr(spec, "statistics", None)
    if given and {len(values) for values in given} != {channels}:
        raise ValueError(f"{kind}.statistics must have a mean and a deviation for each of {channels} channels")
    net = build(spec, classes, 0, *map(torch.tensor, given or (([0.0] * channels), ([1.0] * channels))))
    layers = dict(net.net.named_modules())
    named = [*getattr(spec, "stages", ())] + ([spec.head] if hasattr(type(spec), "head") else [])
    if lost := [name for name in named if name not in layers]:
        raise ValueError(f"{kind} names a layer {lost[0]!r}, and its network has {', '.join(filter(None, layers))}")
    try:
        with torch.no_grad():
            logits = net(x)
    except Exception as error:
        raise ValueError(f"{kind} fails on video {tuple(x.shape)}: {type(error).__name__}: {error}") from error
    shape = tuple(getattr(logits, "shape", ()))
    if labelled and shape != (len(x), classes):
        raise ValueError(f"{kind} gives {shape or type(logits).__name__} for {len(x)} clips, where {(len(x), classes)} "
                         "is wanted: a row a clip, a column a class")
    return net


def prepared(recipe: Recipe, needed: dict, catalogue: Catalogue, say: Callable) -> Prepared:
    """What training ``recipe`` needs; ``needed`` are runs, by what they are to it.

    Of records without a label, such as windows of untrimmed video, nothing is validated in between, and a teacher's
    answers are not compared with the student's: distillation goes through layers, whose shapes the method checks.
    """
    if hasattr(recipe, "prepare"):
        return recipe.prepare(needed, catalogue)
    train, validation, test = _parts(recipe)
    open_all([train, validation, test])
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
        if recipe.settings.precision == "bf16":  # elsewhere the bits of what is committed would change
            nets["teacher"] = in_bf16(nets["teacher"] if hasattr(recipe.method, "taps") else folded(nets["teacher"]))
    if hasattr(recipe.method, "extra_nets"):
        nets |= recipe.method.extra_nets(nets, train.evaluation(), recipe.seed, needed)

    def answers(student: nn.Module, split: str):
        loaded = batches(recipe, split, {"student": recipe.view})
        if not loaded.records:
            return (), None
        # Tables of labels are as long as the fullest window of their batch needs, so they do not stack.
        shown = (b if labelled else replace(b, labels=torch.zeros(len(b.ids))) for b in loaded.evaluation())
        return loaded.records, predict(student, shown, "student")[0]

    return Prepared(nets, train, validation if labelled else None, answers)


def _taught_by(teacher, catalogue: Catalogue, labelled: bool) -> nn.Module:
    """The network of the run ``teacher`` for the catalogue's classes."""
    classes = teacher.provenance["classes"]
    if not labelled and list(classes) != list(catalogue.classes):
        raise ValueError(f"{teacher.folder.name}: the teacher detects {', '.join(classes)}, the student "
                         f"{', '.join(catalogue.classes)}; train both on the same classes")
    return for_classes(teacher.net(), classes, catalogue.classes)


def _statistics(recipe: Recipe, train: ClipBatches) -> tuple[torch.Tensor, torch.Tensor]:
    """Those that the network was pre-trained with, where it says so, else those of the training clips' view."""
    if given := getattr(recipe.net, "statistics", None):
        return tuple(torch.tensor(values) for values in given)
    return train.statistics("student")
