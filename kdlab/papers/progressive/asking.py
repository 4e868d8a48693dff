"""What finished exits say of other clips than their own: the frozen networks' features there, then the heads."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from kdlab.clips.segments import SegmentBatches
from kdlab.night.streams import NightStream
from kdlab.papers.progressive.exits import Features, all_exits, extract
from kdlab.papers.progressive.nets import frozen_maps
from kdlab.study import Scores, origin
from kdlab.study.scores import units_of
from kdlab.train.loop import one_thread
from kdlab.train.runs import Run, find

#: Features of the last trio asked for: many conditions stand on each.
_last: dict[tuple, Features] = {}


def said(run: Run, data: NightStream) -> np.ndarray:
    """Logits ``(N, 12, K)`` of the run's exits on the test clips of ``data``, the three finals among them."""
    recipe = run.recipe
    backbones = {name: find(needed, pretrained=True) for name, needed in recipe.needs().items()}
    weights = tuple(backbone.provenance["weights"] for backbone in backbones.values())
    key = weights, recipe.view.pooled, recipe.window, data, data.fingerprint()
    if key not in _last:
        _last.clear()
        views = {name: backbone.recipe.view for name, backbone in backbones.items()}
        clips = SegmentBatches(data.catalogue().split("test"), views, recipe.window)
        nets = {name: partial(frozen_maps, backbone.net().eval()) for name, backbone in backbones.items()}
        with one_thread():
            _last[key] = extract(nets, clips, [], recipe.view.pooled)
    return all_exits(run.net(), _last[key]).numpy()


def asked(runs: dict[str, Sequence[Run]], data: NightStream, *, unit: str = "clip") -> Scores:
    """:func:`kdlab.study.tested` of networks with twelve exits; logits are not kept."""
    catalogue = data.catalogue()
    records = catalogue.split("test")
    ids, labels = np.array([r.id for r in records]), np.array([r.label for r in records])
    units = units_of(unit, ids, [r.group for r in records])
    seeds, found = tuple(run.recipe.seed for run in next(iter(runs.values()))), {condition: [] for condition in runs}
    for s in range(len(seeds)):  # seed after seed, and trio after trio: features are extracted once
        for condition in sorted(runs, key=lambda c: runs[c][s].recipe.needs()["residual"].name):
            found[condition].append(said(runs[condition][s], data).argmax(-1))
    scores = Scores(tuple(catalogue.classes), seeds, ids, units, labels, **origin(runs))
    return replace(scores, predicted={condition: np.stack(column) for condition, column in found.items()})
