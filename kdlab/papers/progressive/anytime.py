"""Anytime inference that does no more than it must: finished samples leave the batch, unread modalities stay unread."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

import numpy as np
import torch

from kdlab.papers.progressive.nets import ORDER, Trio


@dataclass(frozen=True)
class Walked:
    """``answers (N, K)``; ``exits (N,)``, the exits (from 0) that gave them; the ``macs (N,)`` spent."""

    answers: torch.Tensor
    exits: np.ndarray
    macs: np.ndarray


def cost_per_exit(trio: Trio, shapes: dict[str, tuple[int, int, int, int]]) -> np.ndarray:
    """MACs of one sample up to each of the twelve exits, int64, all exits on the way charged (torch's counter).

    ``shapes`` are those of the views, ``(C, T, H, W)``: all T segments count.
    """
    from torch.utils.flop_counter import FlopCounterMode  # it imports triton

    trio, costs = copy.deepcopy(trio).to("meta").eval(), []
    for modality in ORDER:
        maps = trio.begin(modality, torch.zeros(1, *shapes[modality], device="meta"))
        for stage in range(4):
            with torch.no_grad(), FlopCounterMode(display=False) as counter:
                maps = trio.advance(modality, stage, maps)
                trio.say(modality, stage, maps)
            costs.append(counter.get_total_flops() // 2)
    return np.cumsum(costs)


@torch.inference_mode()
def walk(trio: Trio, read: Callable, decide: Callable, samples: int, costs: np.ndarray) -> Walked:
    """Ask the exits about ``samples`` clips, one after the other, until each clip has its answer.

    ``read(modality, indices) -> (n, C, T, H, W)`` is called once a modality, for the samples that still need it.
    ``decide(k, logits (n, k, K)) -> (stop (n,) bool, answers (n, K))`` sees the logits of the first k exits; whoever it
    stops takes part in nothing that follows. After the last exit all stop. ``costs`` are :func:`cost_per_exit`'s.
    """
    device, said, answered = next(trio.parameters()).device, [], []
    alive, exits = torch.arange(samples, device=device), np.full(samples, -1)
    for place, (modality, stage) in enumerate(product(ORDER, range(4))):
        if stage == 0:
            maps = trio.begin(modality, read(modality, alive.cpu().numpy()).to(device))
        maps = trio.advance(modality, stage, maps)
        said.append(trio.say(modality, stage, maps))
        stop, answer = decide(place + 1, torch.stack(said, 1))
        stop = stop | (place == 11)
        if stop.any():
            exits[alive[stop].cpu()] = place
            answered.append((alive[stop], answer[stop]))
            alive, said, maps = alive[~stop], [logits[~stop] for logits in said], maps[~stop]
        if not len(alive):
            break
    who, what = (torch.cat(parts) for parts in zip(*answered, strict=True))
    return Walked(what[who.argsort()], exits, costs[exits])
