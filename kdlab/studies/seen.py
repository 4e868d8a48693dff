"""Networks asked side by side where they look in one clip, and what they take it for: the pictures of notebook 09."""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import nn

from kdlab.layers import at_random
from kdlab.measure.attention import grad_cam, units_of
from kdlab.show.attention_plots import Look
from kdlab.studies.looks import Clips, stages_of
from kdlab.train.runs import Run

#: The two that show what a map looks like behind which there is nothing.
RANDOM, MOVES = "weights at random", "what moves"


class Asked(NamedTuple):
    """A network, the clips as it sees them, the names of its classes and of its stages, the last first."""

    net: nn.Module
    clips: Clips
    classes: tuple[str, ...]
    stages: tuple[str, ...]


def asked(run: Run, clips: Clips) -> Asked:
    """The network of a ``run``, to be asked about ``clips``."""
    return Asked(run.net(), clips, tuple(run.provenance["classes"]), stages_of(run.recipe))


def controls(one: Asked, seed: int = 0) -> dict[str, Asked]:
    """Beside ``one``, the same network with weights drawn at random: what its maps show without any training."""
    return {RANDOM: one._replace(net=at_random(one.net, seed))}


def looks(networks: Mapping[str, Asked], clip: int, layer: str | None = None) -> dict[str, Look]:
    """Where each of ``networks`` looks for the *right* class of the ``clip``-th clip, at ``layer`` (default: each one's
    last stage), and what it takes the clip for. Last, what moves, with no more units than the first network's map."""
    found = {}
    for name, one in networks.items():
        its = one.clips.some([clip])
        with torch.no_grad():
            says = int(one.net(its.x).argmax(1))
        heat = grad_cam(one.net, its.x, its.labels, layer or one.stages[0]).maps[0]
        found[name] = Look(heat, one.classes[says], says == int(its.labels[0]))
    first = next(iter(networks.values()))
    its = first.clips.some([clip])
    return found | {MOVES: Look(units_of(first.net, its.x, layer or first.stages[0]).pooled(its.moved)[0])}
