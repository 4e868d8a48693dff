"""Stopping early: the cost of each exit, the rule that stops a clip, and inference that computes only what is needed."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from kdlab.datasets.splits import halves
from kdlab.papers.progressive.networks import EXITS, ORDER, Trio
from kdlab.papers.progressive.wise import (
    combine,
    fit_wise,
    max_probability,
    stop_at,
    temperatures,
    threshold_for_budget,
)
from kdlab.train.runs import Run, find_run


def trio_of(run: Run) -> Trio:
    """The three networks and the trained exits of ``run``, in evaluation mode. Raises ``FileNotFoundError`` where one
    of the networks is in neither ``runs/`` nor ``pretrained/``."""
    nets = {}
    for modality, recipe in run.recipe.needs().items():
        backbone = find_run(recipe, pretrained=True)
        if backbone is None:
            raise FileNotFoundError(
                f"{run.folder.name} has internal classifiers of {recipe.name}, which is not in runs/: put "
                "that run there, or train it again"
            )
        nets[modality] = backbone.net()
    return Trio(nets, run.net()).eval()


@dataclass(frozen=True)
class Fitted:
    """WISE on the exits of one run. ``weights (12, 12)`` and ``temperatures (12,)`` of the sums are fitted on one half
    of the held-out clips. ``validate`` holds the calibrated sums ``(N, 12, K)`` and labels of the other half, ``test``
    those of the test clips. Choose thresholds and single exits on ``validate``, and report results on ``test``."""

    weights: np.ndarray
    temperatures: np.ndarray
    validate: tuple[np.ndarray, np.ndarray]
    test: tuple[np.ndarray, np.ndarray]

    def rule(self, theta: float) -> Callable:
        """The rule ``decide`` for :func:`walk`: a clip stops where the largest probability of its calibrated sum
        exceeds ``theta``."""
        rows = torch.from_numpy(self.weights)

        def decide(k: int, logits: Tensor) -> tuple[Tensor, Tensor]:
            z = torch.einsum("j,njc->nc", rows[k - 1, :k], logits.double())
            z = z / self.temperatures[k - 1]
            return z.softmax(1).amax(1) > theta, z

        return decide


def fit_run(run: Run) -> Fitted:
    """:class:`Fitted` of ``run``. Whole groups of held-out clips go to one half."""
    held, test = run.predictions("val"), run.predictions("test")
    half = halves(held.groups)
    logits, labels = held.logits[half].astype(float), held.labels[half]
    weights = fit_wise(logits, labels)
    heat = temperatures(combine(logits, weights), labels)
    validate = calibrated(held.logits[~half], weights, heat), held.labels[~half]
    return Fitted(weights, heat, validate, (calibrated(test.logits, weights, heat), test.labels))


def calibrated(logits: np.ndarray, weights: np.ndarray, temperatures: np.ndarray) -> np.ndarray:
    """WISE's sums ``(N, 12, K)`` of the exits' ``logits (N, 12, K)``, each divided by its temperature."""
    return combine(logits.astype(float), weights) / temperatures[:, None]


@torch.no_grad()
def exit_table(
    run: Run, views: dict[str, Tensor], theta: float | None = None
) -> tuple[pd.DataFrame, float]:
    """What ``run`` predicts after each of its twelve exits for one clip, seen as ``views[modality] (1, C, T, H, W)``.

    The table has a row per exit: its name; ``label`` and ``probability`` of WISE's calibrated sum there; the ``macs``
    of all exits so far; ``stops``, True where that probability first exceeds the threshold ``theta``, else at the last
    exit. The threshold comes back, too. By default it is the most accurate one on held-out clips whose mean cost is at
    most half of all exits'.
    """
    trio, fitted = trio_of(run), fit_run(run)
    costs = cost_per_exit(trio, {name: tuple(x.shape[1:]) for name, x in views.items()})
    if theta is None:
        theta = threshold_for_budget(*fitted.validate, costs, costs[-1] / 2)
    sums = calibrated(trio(views).exits.numpy(), fitted.weights, fitted.temperatures)
    labels = [run.provenance["classes"][k] for k in sums[0].argmax(1)]
    table = pd.DataFrame({"exit": EXITS, "label": labels})
    table["probability"] = max_probability(sums)[0]
    table["macs"], table["stops"] = costs, table.index == stop_at(sums, theta)[0]
    return table, theta


@dataclass(frozen=True)
class Walked:
    """Predictions ``answers (N, K)``, the ``exits (N,)`` that gave them (counted from 0), and the ``macs (N,)`` spent."""

    answers: Tensor
    exits: np.ndarray
    macs: np.ndarray


def cost_per_exit(trio: Trio, shapes: dict[str, tuple[int, int, int, int]]) -> np.ndarray:
    """MACs of one sample up to each of the twelve exits, ``(12,)`` int64, by torch's counter. The cost of an exit
    includes all exits before it.

    ``shapes`` are those of the views by modality, ``(C, T, H, W)``: all T segments count.
    """
    from torch.utils.flop_counter import FlopCounterMode  # it imports triton

    trio, costs = copy.deepcopy(trio).to("meta").eval(), []
    for modality in ORDER:
        maps = trio.begin(modality, torch.zeros(1, *shapes[modality], device="meta"))
        for stage in range(4):
            with torch.no_grad(), FlopCounterMode(display=False) as counter:
                maps = trio.advance(modality, stage, maps)
                trio.logits_at(modality, stage, maps)
            costs.append(counter.get_total_flops() // 2)
    return np.cumsum(costs)


@torch.inference_mode()
def walk(trio: Trio, read: Callable, decide: Callable, samples: int, costs: np.ndarray) -> Walked:
    """Predict ``samples`` clips with one exit after the other; each clip stops at the exit that ``decide`` chooses.

    ``read(modality, indices) -> (n, C, T, H, W)`` is called once per modality, for the clips that have not stopped.
    ``decide(k, logits (n, k, K)) -> (stop (n,) bool, answers (n, K))`` gets the logits of the first k exits. A stopped
    clip is not read or computed any further. All clips stop at the last exit. ``costs`` are those of
    :func:`cost_per_exit`.
    """
    device, logits, answered = next(trio.parameters()).device, [], []
    alive, exits = torch.arange(samples, device=device), np.full(samples, -1)
    for place, (modality, stage) in enumerate(product(ORDER, range(4))):
        if stage == 0:
            maps = trio.begin(modality, read(modality, alive.cpu().numpy()).to(device))
        maps = trio.advance(modality, stage, maps)
        logits.append(trio.logits_at(modality, stage, maps))
        stop, answer = decide(place + 1, torch.stack(logits, 1))
        stop = stop | (place == 11)
        if stop.any():
            exits[alive[stop].cpu()] = place
            answered.append((alive[stop], answer[stop]))
            alive, maps = alive[~stop], maps[~stop]
            logits = [z[~stop] for z in logits]
        if not len(alive):
            break
    who, what = (torch.cat(parts) for parts in zip(*answered, strict=True))
    return Walked(what[who.argsort()], exits, costs[exits])
