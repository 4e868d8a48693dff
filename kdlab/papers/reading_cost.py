"""What a paper's clips cost on the CPU before a network sees them: decoding, brightening, optical flow, in hours.

For a dry run, where the GPU's hours are not all: what the cache of frames does not hold is read and brightened again in
each epoch.
"""

from collections.abc import Mapping, Sequence
from math import ceil
from typing import NamedTuple

from kdlab import paths
from kdlab.clips.catalogue import Catalogue
from kdlab.clips.container import probe
from kdlab.clips.views import View
from kdlab.system.sources import parts
from kdlab.train.many import in_order
from kdlab.train.recipe import Recipe

MEASURED = 64 * 320 * 240  # pixels of a film
_LOOKED_AT = 24


class Prepared(NamedTuple):
    """CPU ``seconds`` of one thread for :data:`MEASURED` pixels, decoding included; the ``channels`` that are kept."""

    seconds: float
    channels: int = 3


#: Measured on one of two shared CPU cores (2026-11), on 64 frames of H.264 at 320 × 240, as all :class:`Prepared` are.
RAW = Prepared(0.04)


class Films(NamedTuple):
    """Means of clips: ``frames``, and their ``width`` and ``height`` in pixels; ``assumed`` where none are there."""

    frames: float
    width: float
    height: float
    assumed: bool = False


#: UCF-101's clips, 27 hours at 25 frames a second; those of other sets were not counted, and are taken to be alike.
ASSUMED = Films(27 * 3600 * 25 / 13320, 320, 240, True)


def films(there: Sequence[Catalogue]) -> Films:
    """The means of a sample spread over the first split's clips, by their containers."""
    records = there[0].records
    found = [probe(record.path) for record in records[:: ceil(len(records) / _LOOKED_AT)]]
    every = zip(*((one.frames or ASSUMED.frames, one.width, one.height) for one in found), strict=True)
    return Films(*(sum(values) / len(found) for values in every))


def prepared(view: View, costs: Mapping[type, Prepared]) -> Prepared:
    """What a view costs: the seconds of its dearest part, the channels of its outermost that is known."""
    known = [costs[type(part)] for part in parts(view) if type(part) in costs] or [RAW]
    return Prepared(max(one.seconds for one in known), known[0].channels)


class Reading(NamedTuple):
    """CPU ``hours`` of all epochs where nothing is kept, and of the first pass (``once``), which reads clips whole; the
    ``bytes`` of what it keeps."""

    hours: float
    once: float
    bytes: float


def reading(made: Mapping[tuple[str, ...], Recipe], trained_on: Mapping[str, int], clips: Mapping[str, int],
            films: Films, costs: Mapping[type, Prepared]) -> Reading:
    """Of the recipes ``made``, whose keys begin with a split: each has so many clips, ``trained_on`` some of them.

    A view that is the same in several splits is counted once, with the most clips: published splits share them.
    """
    pixels, hours, kept = films.width * films.height, 0.0, {}
    for split in clips:
        for recipe in in_order(recipe for key, recipe in made.items() if key[0] == split):
            window, views = recipe.window, recipe.views().values()
            each = sum(prepared(view, costs).seconds for view in views) * window.frames * pixels / MEASURED
            hours += each * recipe.settings.epochs * trained_on[split] / 3600
            for view in views:
                kept[view, window.side] = max(clips[split], kept.get((view, window.side), 0))
    once = size = 0.0
    for (view, side), count in kept.items():
        cost = prepared(view, costs)
        once += count * cost.seconds * films.frames * pixels / MEASURED / 3600
        shape = side * max(films.width, films.height) / min(films.width, films.height) * side
        size += count * films.frames * shape * cost.channels
    return Reading(hours, once, size)


def lines(found: Reading, films: Films) -> list[str]:
    """As a dry run says it: hours, and the gigabytes with which the second pass costs nothing."""
    known, kept = "assumed" if films.assumed else "of a sample", ceil(found.bytes / 1e9)
    return [
        f"  CPU time   about {found.once:,.0f} h a seed to read and prepare all clips once, about"
        f" {found.hours:,.0f} h in all epochs where the cache does not hold them (one core; four threads feed a GPU)",
        f"  cache      about KDLAB_CACHE_GB={kept} holds all, and then the second pass costs nothing (now"
        f" {paths.cache_bytes() / 1e9:.3g}): clips of {films.frames:.0f} frames of {films.width:.0f} ×"
        f" {films.height:.0f}, {known}"]
