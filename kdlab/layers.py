"""What is done with any network from outside, by the names of its layers: tapped, beheaded, made anew at random."""

import copy
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
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
    seen = {}
    with _tapped(net, taps, seen.__setitem__):
        logits = net(x)
    return Outputs(logits, {name: out.to(logits.dtype) for name, out in seen.items()})


def features(net: nn.Module, x: torch.Tensor, taps: Sequence[str]) -> dict[str, torch.Tensor]:
    """The ``taps`` of :func:`outputs` alone, in their order: nothing is computed after the last that answers."""
    seen, wanted = {}, set(taps)

    def keep(name: str, out: torch.Tensor) -> None:
        seen[name] = out
        if seen.keys() == wanted:
            raise _Seen

    with suppress(_Seen), _tapped(net, wanted, keep):
        net(x)
    return {name: seen[name].to(x.dtype) for name in taps}


class _Seen(Exception):
    """All that was wanted of a forward pass."""


@contextmanager
def _tapped(net: nn.Module, taps: Iterable[str], keep: Callable[[str, torch.Tensor], None]) -> Iterator[None]:
    """Inside, ``keep(name, output)`` is called for each of the layers ``taps`` of ``net`` when it has answered."""
    layers, handles = dict(net.named_modules()), []
    try:
        for name in taps:
            found = [module for full, module in layers.items()
                     if full.endswith(name) and set(full.removesuffix(name).split(".")) <= WRAPPERS]
            if not found:
                raise ValueError(f"no layer {name!r} in {type(net).__name__}; it has {', '.join(filter(None, layers))}")
            handles.append(found[0].register_forward_hook(lambda _m, _i, out, name=name: keep(name, out)))
        yield
    finally:
        for handle in handles:
            handle.remove()


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
