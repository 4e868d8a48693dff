"""Anytime inference that does no more than it must: finished samples leave the batch, unread modalities stay unread."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from kdlab.papers.progressive.nets import ORDER, Trio


@dataclass(frozen=True)
class Walked:
    """``answers (N, K)``; ``exits (N,)``, the places in the walk (from 0) that gave them; the ``macs (N,)`` spent."""

    answers: torch.Tensor
    exits: np.ndarray
    macs: np.ndarray


def _places(order: Sequence[int]) -> list[tuple[str, list[int]]]:
    """For each exit (0..11) its modality and the stages still to run for it, the last of which is the exit's."""
    done, places = dict.fromkeys(ORDER, 0), []
    for number in order:
        modality, stage = ORDER[number // 4], number % 4
        if stage < done[modality]:
            raise ValueError(f"exit {number} comes after a deeper one of {modality} in {list(order)}: put it before")
        places.append((modality, list(range(done[modality], stage + 1))))
        done[modality] = stage + 1
    return places


def cost_per_exit(trio: Trio, shapes: dict[str, tuple[int, int, int, int]], order: Sequence[int] = range(12)):
    """MACs of one sample up to each exit of ``order``, int64, all exits on the way charged (torch's counter).

    ``shapes`` are those of the views, ``(C, T, H, W)``: all T segments count. Default: the twelve in their order.
    """
    trio, maps, costs = copy.deepcopy(trio).to("meta").eval(), {}, []
    for modality, stages in _places(order):
        if modality not in maps:
            maps[modality] = trio.begin(modality, torch.zeros(1, *shapes[modality], device="meta"))
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            for stage in stages:
                maps[modality] = trio.advance(modality, stage, maps[modality])
            trio.say(modality, stages[-1], maps[modality])
        costs.append(counter.get_total_flops() // 2)
    return np.cumsum(costs)


@torch.inference_mode()
def walk(trio: Trio, read: Callable, decide: Callable, samples: int, costs: np.ndarray,
         order: Sequence[int] = range(12)) -> Walked:
    """Ask the exits (0..11) in ``order`` about ``samples`` clips until each has its answer.

    ``read(modality, indices) -> (n, C, T, H, W)`` is called once a modality, for the samples that still need it.
    ``decide(k, logits (n, k, K)) -> (stop (n,) bool, answers (n, K))`` sees the logits of the first k exits; whoever it
    stops takes part in nothing that follows. After the last exit all stop. ``costs`` are :func:`cost_per_exit`'s.
    """
    device, maps, logits, answered = next(trio.parameters()).device, {}, [], []
    alive, exits = torch.arange(samples, device=device), np.full(samples, -1)
    for place, (modality, stages) in enumerate(_places(order)):
        if modality not in maps:
            maps[modality] = trio.begin(modality, read(modality, alive.cpu().numpy()).to(device))
        for stage in stages:
            maps[modality] = trio.advance(modality, stage, maps[modality])
        logits.append(trio.say(modality, stages[-1], maps[modality]))
        if stages[-1] == 3:
            maps.pop(modality)  # nobody asks it again
        stop, answer = decide(place + 1, torch.stack(logits, 1))
        stop = stop | (place == len(order) - 1)
        if stop.any():
            exits[alive[stop].cpu()] = place
            answered.append((alive[stop], answer[stop]))
            alive, logits = alive[~stop], [some[~stop] for some in logits]
            maps = {name: kept[~stop] for name, kept in maps.items()}
        if not len(alive):
            break
    who, what = (torch.cat(parts) for parts in zip(*answered, strict=True))
    return Walked(what[who.argsort()], exits, costs[exits])
