"""Where trained networks look: everything that the study of attention asks of a run (docs/methods.md, 7)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from itertools import islice, repeat

import numpy as np
import torch

from kdlab.clips.segments import Segments
from kdlab.layers import at_random
from kdlab.measure.attention import (
    actor_masks,
    cascade,
    centre,
    centred,
    correlation,
    fidelity,
    fine_layer,
    frame_difference,
    grad_cam,
    scores,
    uniform,
    units_of,
)
from kdlab.nets.pretrained import untrained
from kdlab.nets.video import stages
from kdlab.system.processes import each
from kdlab.train.loop import one_thread
from kdlab.train.recipe import Recipe
from kdlab.train.runs import Run, batches, find


@dataclass(frozen=True)
class Clips:
    """N clips as one network sees them: pixels ``x (N, C, T, H, W)``, ``labels (N,)``, the actor's ``masks`` and a map
    of what ``moved``, both (N, T, H, W), and ``ids (N,)``."""

    x: torch.Tensor
    labels: torch.Tensor
    masks: np.ndarray
    moved: np.ndarray
    ids: np.ndarray

    def some(self, places: Sequence[int] | np.ndarray) -> "Clips":
        """Those at ``places``."""
        places = np.asarray(places)
        return Clips(*(getattr(self, field.name)[places] for field in fields(self)))


def clips_of(recipe: Recipe, data=None, split: str = "test") -> Clips:
    """The clips of ``data`` (default: the recipe's own), which are `night`'s, as the recipe's network sees them."""
    clips = batches(replace(recipe, data=data or recipe.data), split, {"student": recipe.view})
    loaded = [(batch.views["student"], batch.labels) for batch in clips.evaluation()]
    x, labels = (torch.cat(column) for column in zip(*loaded, strict=True))
    changes = isinstance(recipe.window, Segments) and recipe.view.modality != "iframe"
    moved = frame_difference(x, rest=128 / 255 if changes else None)
    return Clips(x, labels, actor_masks(clips), moved, np.array([record.id for record in clips.records]))


def stages_of(recipe: Recipe) -> tuple[str, ...]:
    """Names of the stages of a network, the last first; Grad-CAM's own layer is the first of them."""
    return tuple(f"net.{name}" for name in reversed(stages(recipe.net)))


def layers_of(run: Run, clips: Clips) -> dict[str, str]:
    """The two layers at which a run is asked, by the ending of a condition: its last stage, and ``@fine``, the last one
    of finer resolution (:func:`kdlab.measure.attention.fine_layer`)."""
    stages = stages_of(run.recipe)
    return {"": stages[0], "@fine": fine_layer(run.net(), clips.x, stages)}


def downwards(recipe: Recipe) -> tuple[str, ...]:
    """Everything with weights, from the logits downwards: the order of :func:`kdlab.measure.attention.cascade`."""
    with torch.random.fork_rng(devices=[]):
        children = list(untrained(recipe.net).make(2).named_children())
    found = []
    for name, child in reversed(children):
        inside = [stage for stage in stages_of(recipe) if stage.split(".")[1] == name]
        found += inside or ([f"net.{name}"] if list(child.parameters()) else [])
    return tuple(found)


def maps_of(run: Run, clips: Clips, layer: str | None = None) -> np.ndarray:
    """Where the run's network looks for the labels of ``clips`` (N, T, H, W): at its last stage, or another layer."""
    return grad_cam(run.net(), clips.x, clips.labels, layer or stages_of(run.recipe)[0]).maps


def blind_maps(run: Run, clips: Clips, layers: dict[str, str]) -> Iterator[tuple[str, str, np.ndarray]]:
    """Maps (N, T, H, W) that know nothing of the class: name, ending of the condition, map. First at the resolution of
    pixels; then, as ``<name>_units``, with no more units than each of the run's ``layers``, spread as its maps are. (Of
    the uniform one that is the same map.)"""
    shape = clips.masks.shape
    pixels = {make.__name__: np.broadcast_to(make(shape[1:]), shape) for make in (uniform, centred, centre)}
    pixels["frame_difference"] = clips.moved
    yield "random", "", np.random.default_rng(0).random(shape, np.float32)
    for name, made in pixels.items():
        yield name, "", made
    for suffix, layer in layers.items():
        units = units_of(run.net(), clips.x, layer)
        yield "random_units", suffix, units.drawn(len(clips.ids))
        for name in ("centred", "centre", "frame_difference"):
            yield f"{name}_units", suffix, units.pooled(pixels[name])


def area(curve: np.ndarray) -> np.ndarray:
    """Mean height of each curve ``(N, points)``, by trapezia."""
    return np.trapezoid(curve, axis=1) / (curve.shape[1] - 1)


def _scored(maps: np.ndarray, masks: np.ndarray) -> dict[str, np.ndarray]:
    return scores(maps, masks) | {f"{name}_clip": v for name, v in scores(maps, masks, "clip").items()}


@one_thread()
def _measured(run: Run, clips: Clips, every: int | None) -> tuple[dict[tuple[str, str], np.ndarray], np.ndarray]:
    """What there is to know of one run, by (metric, suffix of the condition), each (N,); and its maps."""
    net, found, maps = run.net(), {}, []
    blind = at_random(net, 1000 + run.recipe.seed)
    for suffix, layer in layers_of(run, clips).items():
        own, other = (grad_cam(network, clips.x, clips.labels, layer) for network in (net, blind))
        maps.append(own.maps)
        found |= {(name, suffix): v for name, v in _scored(own.maps, clips.masks).items()}
        found |= {(name, f"untrained:{suffix}"): v for name, v in _scored(other.maps, clips.masks).items()}
        found["constant", suffix] = own.constant
    if not every:
        return found, maps[0]
    places = np.arange(0, len(clips.ids), every)
    few, own = clips.some(places), maps[0][places]
    for suffix, which in (("", own), ("=other", np.roll(own, len(own) // 2 + 1, 0))):
        found |= {(name, suffix): area(curve) for name, curve in fidelity(net, few.x, few.labels, which).items()}
    for name, other in cascade(net, downwards(run.recipe), 2000 + run.recipe.seed):
        there = grad_cam(other, few.x, few.labels, stages_of(run.recipe)[0]).maps
        found["similarity", f"~{name.removeprefix('net.').removeprefix('backbone.')}"] = correlation(own, there)
    for key, values in found.items():
        if len(values) < len(clips.ids):  # of every so many clips
            found[key] = np.full(len(clips.ids), np.nan)
            found[key][places] = values
    return found, maps[0]


def _teachers(runs: dict[str, list[Run]], maps: dict[str, list], clips: dict[str, Clips]) -> dict[str, np.ndarray]:
    """Beside the students of both kinds, their own teachers, on the clips that *they* see. Their scores
    (``<student>=teacher``); and agreement, the correlation of each dark-clip network's map with that of DL-KDD's
    teacher of its seed, and of the same-light student's with its own teacher's (``=own``)."""
    found, taught = {}, {}
    for name, seen in (("dlkdd", clips["ce_enhanced"]), ("same_light", clips["ce_raw"])):
        taught[name] = [maps_of(find(run.recipe.teacher, pretrained=True), seen) for run in runs[name]]
        scored = [_scored(made, seen.masks) for made in taught[name]]
        found |= {f"{metric}/{name}=teacher": np.stack([values[metric] for values in scored]) for metric in scored[0]}

    def agree(name: str, others: list[np.ndarray]) -> np.ndarray:
        return np.stack([correlation(own, other) for own, other in zip(maps[name], others, strict=True)])

    found |= {f"agreement/{name}": agree(name, taught["dlkdd"]) for name in ("ce_raw", "same_light", "dlkdd")}
    return found | {"agreement/same_light=own": agree("same_light", taught["same_light"])}


def looked(runs: dict[str, list[Run]], data=None, every: int | None = 1, say=print) -> dict[str, np.ndarray]:
    """Where all ``runs`` (condition → one a seed) look in the test clips of ``data``: float16 by ``metric/condition``,
    (S, N), and of baselines by ``metric/baseline:condition``, (S, N) or (1, N); ``ids (N,)``.

    A condition may end in ``@fine`` (at the last stage of finer resolution), ``~layer`` (weights at random from the
    logits down to this layer), ``=other`` (another clip's map) or ``=teacher`` (that of the student's own teacher). The
    costly ones are asked of every so many clips, else ``nan``. ``every=None`` asks for scores at the two layers alone,
    a third of the work. Baselines: :func:`blind_maps`.
    """
    found, maps, seen, blind = {}, {}, {}, {}
    for condition, column in runs.items():
        twin = next((other for other, (view, _) in seen.items() if view == column[0].recipe.view), None)
        seen[condition] = column[0].recipe.view, seen[twin][1] if twin else clips_of(column[0].recipe, data)
    every_run = [(run, seen[condition][1]) for condition, column in runs.items() for run in column]
    answers = each(_measured, *zip(*every_run, strict=True), repeat(every))
    with one_thread():
        for condition, column in runs.items():
            clips, run = seen[condition][1], column[0]
            records, maps[condition] = zip(*islice(answers, len(column)), strict=True)
            for metric, suffix in records[0]:
                _, untaught, at = suffix.rpartition("untrained:")
                found[f"{metric}/{untaught}{condition}{at}"] = np.stack([each[metric, suffix] for each in records])
            same = run.recipe.view, run.recipe.net  # networks alike on the same clips have the same units
            if same not in blind:
                blind[same] = [(name, suffix, _scored(made, clips.masks)) for name, suffix, made
                               in blind_maps(run, clips, layers_of(run, clips))]
            for name, suffix, scored in blind[same]:
                found |= {f"{metric}/{name}:{condition}{suffix}": v[None] for metric, v in scored.items()}
            say(f"{condition}: energy inside {100 * np.nanmean(found[f'energy_inside/{condition}']):.1f} %")
        if every and "dlkdd" in runs:
            found |= _teachers(runs, maps, {name: clips for name, (_, clips) in seen.items()})
    return {name: v.astype(np.float16) for name, v in found.items()} | {"ids": clips.ids}
