"""What is done with any network from outside, by the names of its layers: tapped, beheaded, made anew at random."""

import copy
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import nn

#: What Fabric, data-parallel training and torch.compile put before the names of a network's layers.
WRAPPERS = {"", "_forward_module", "_orig_mod", "module"}


@contextmanager
def one_thread(device: str = "cpu") -> Iterator[None]:
    """One torch thread inside, where the work is done on the CPU: weights depend on the number of threads, and
    parallelism is across runs."""
    before = torch.get_num_threads()
    if device == "cpu":
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class Grid(nn.Module):
    """Features ``(B, T, H, W, C)`` as ``(B, C, T, H, W)``, of a network of which every layer sees everything: a unit
    stands for its own place in a regular grid over the clip."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.permute(0, 4, 1, 2, 3)


@dataclass
class Outputs:
    """What a network gives: ``logits (B, K)``; the ``taps`` asked for, by layer name; per-exit ``exits (B, E, K)``."""

    logits: torch.Tensor
    taps: dict[str, torch.Tensor] = field(default_factory=dict)
    exits: torch.Tensor | None = None


def outputs(net: nn.Module, x: torch.Tensor, taps: Iterable[str] = ()) -> Outputs:
    """Run ``net`` on video ``(B, C, T, H, W)`` and keep what the layers ``taps`` give, in the precision of the logits.

    Hooks read the layers, so any network can be tapped without editing it; a wrapped one by the names of the bare one.
    Raises ``ValueError`` for a name that it has not.
    """
    seen, handles = {}, []
    try:
        for name in taps:
            found = [module for full, module in net.named_modules()
                     if full.endswith(name) and set(full.removesuffix(name).split(".")) <= WRAPPERS]
            if not found:
                raise ValueError(f"no layer {name!r} in {type(net).__name__}; it has "
                                 f"{', '.join(full for full, _ in net.named_modules() if full)}")
            handles.append(found[0].register_forward_hook(lambda _m, _i, out, name=name: seen.update({name: out})))
        logits = net(x)
    finally:
        for handle in handles:
            handle.remove()
    return Outputs(logits, {name: out.to(logits.dtype) for name, out in seen.items()})


def trunk(net: nn.Module, last: str) -> nn.Sequential:
    """The children of ``net`` up to the one in which the layer ``last`` lies, under their names: without the head,
    where that is the last stage. Video ``(B, C, T, H, W)`` → ``(B, C', T', H', W')``."""
    names = [name for name, _ in net.named_children()]
    if (child := last.split(".")[0]) not in names:
        raise ValueError(f"no layer {last!r} in {type(net).__name__}; its children are {', '.join(names)}")
    return nn.Sequential(OrderedDict(list(net.named_children())[: names.index(child) + 1]))


def reset(module: nn.Module, seed: int) -> None:
    """New weights, decided by ``seed`` alone, and batch statistics of new networks, for ``module`` and all below it."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for part in module.modules():
            if hasattr(part, "reset_parameters"):
                part.reset_parameters()


def at_random(net: nn.Module, seed: int = 0) -> nn.Module:
    """The untrained twin of ``net``: a frozen copy with other weights, behind the same normalisation of its clips."""
    twin = copy.deepcopy(net)
    reset(twin, seed)
    return twin.eval().requires_grad_(False)
