"""A first step, taken before anything is trained, of a recipe with parts that are not kdlab's. It decides no weight."""

from dataclasses import replace

import torch
from torch import nn

from kdlab.layers import one_thread
from kdlab.nets.video import build
from kdlab.system.sources import foreign
from kdlab.train.loop import Progress
from kdlab.train.preparing import batches
from kdlab.train.recipe import Recipe


def rehearse(recipe: Recipe) -> None:
    """Take a first step of a ``recipe`` with parts that are not kdlab's, on two clips with untrained networks, so that
    what does not fit is told before anything is trained. Raises ``ValueError`` with the part and the mend."""
    teacher = recipe.teacher and (recipe.teacher.net, recipe.teacher.view)
    parts = recipe.net, recipe.view, recipe.method, recipe.window, recipe.data, teacher
    if hasattr(recipe, "prepare") or not foreign(parts[:3]) or parts in _fit:
        return
    _rehearse(recipe)
    _fit.add(parts)


#: What has been rehearsed here: a study has many recipes that differ in seed and settings alone.
_fit: set[tuple] = set()


def _rehearse(recipe: Recipe) -> None:
    classes, clips = len(recipe.data.catalogue().classes), batches(recipe, "train")
    clips = replace(clips, records=clips.records[:: max(1, len(clips.records) // 2)][:2])
    batch, nets, labelled = next(iter(clips.evaluation())), {}, all(record.label >= 0 for record in clips.records)
    with torch.random.fork_rng(devices=[]), one_thread():
        for name, part in (("student", recipe), ("teacher", recipe.teacher)):
            if part:
                nets[name] = _fitting(part.net, batch.views[name], classes, labelled)
        if recipe.teacher:
            nets["teacher"].eval().requires_grad_(False)
        try:
            if hasattr(recipe.method, "extra_nets"):
                nets |= recipe.method.extra_nets(nets, clips.evaluation(), recipe.seed, _Untrained())
            parts = recipe.method.parts(nets)
            trained = {name for names in parts.values() for name in names}
            ready = recipe.method.prepare(nets, clips.evaluation()) if hasattr(recipe.method, "prepare") else None
            for its in recipe.method.losses(nets, batch, Progress(0, 1, ready)):
                _check_losses(its, parts)
            if unknown := sorted(trained - nets.keys()):
                raise ValueError(f"parts() names a network {unknown[0]!r}; there are {', '.join(nets)}")
        except _Asked:
            return  # for what only the trained teacher can say
        except Exception as error:
            message = f"{error}" if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
            raise ValueError(f"{type(recipe.method).__qualname__} fails in the first step of {recipe.stem}, whose "
                             f"networks are {', '.join(nets)}: {message}") from error


def _check_losses(given, parts: dict) -> None:
    """Whether one of the triples that ``losses()`` yields can be trained on."""
    try:
        optimiser, loss, terms = given
    except (TypeError, ValueError) as error:
        raise ValueError("losses() must yield three values: an optimiser's name, its loss, terms to keep") from error
    if optimiser not in parts:
        raise ValueError(f"losses() yields for an optimiser {optimiser!r}, and parts() names {', '.join(parts)}")
    if not isinstance(loss, torch.Tensor) or loss.numel() != 1 or not loss.requires_grad:
        what = f"shape {tuple(loss.shape)}" if isinstance(loss, torch.Tensor) else type(loss).__name__
        cut = ", of which no gradient is known: was it detached?" if what == "shape ()" else ""
        raise ValueError(f"the loss of {optimiser!r} must be one number that the networks lead to; got {what}{cut}")
    if wrong := [name for name, term in terms.items() if not isinstance(term, torch.Tensor)]:
        raise ValueError(f"the term {wrong[0]!r} must be a tensor, not {type(terms[wrong[0]]).__name__}")


class _Asked(Exception):
    """A method wants to see a run that is needed."""


class _Untrained:
    """Stands for the runs that are needed and not there yet."""

    def __getattr__(self, name):
        raise _Asked(name)

    def __getitem__(self, key):
        raise _Asked(key)


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
    try:
        net = build(spec, classes, 0, *map(torch.tensor, given or (([0.0] * channels), ([1.0] * channels))))
    except Exception as error:
        raise ValueError(f"{kind}.make({classes}) fails: {type(error).__name__}: {error}") from error
    if not isinstance(net.net, nn.Module):
        raise ValueError(f"{kind}.make({classes}) gives {type(net.net).__name__}: give a torch.nn.Module")
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
