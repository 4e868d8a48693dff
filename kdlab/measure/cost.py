"""The cost of a prediction: multiply–accumulates counted by torch, and measured CPU time; nothing is quoted."""

import copy
import time
from collections.abc import Callable
from timeit import timeit

import numpy as np
import torch
from torch import nn

from kdlab.nets.layers import one_thread
from kdlab.system.values import integer


def macs(net: nn.Module, shape: tuple[int, ...]) -> int:
    """Multiply–accumulates of one forward pass on an input of ``shape`` (torch's counter; 1 MAC = 2 FLOP).

    The meta device computes only shapes, so a network of any size is counted at once. ``net`` is unchanged.
    """
    from torch.utils.flop_counter import FlopCounterMode  # it imports triton

    integer(1, shape=shape)
    net = copy.deepcopy(net).to("meta").eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        net(torch.zeros(shape, device="meta"))
    return counter.get_total_flops() // 2


def parameters(net: nn.Module) -> int:
    """The number of parameters of ``net``."""
    return sum(p.numel() for p in net.parameters())


def cpu_times(ways: dict[str, Callable[[], object]], repeats: int = 20) -> dict[str, np.ndarray]:
    """CPU seconds ``(repeats,)`` of each function in ``ways``, interleaved in one process on one thread. Only their
    ratios are meaningful."""
    integer(1, repeats=repeats)
    times = {name: [] for name in ways}
    with one_thread(), torch.no_grad():
        for way in ways.values():
            way()  # warm-up
        for _ in range(repeats):
            for name, way in ways.items():
                times[name].append(timeit(way, timer=time.process_time, number=1))
    return {name: np.array(t) for name, t in times.items()}
