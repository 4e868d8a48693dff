"""What is done with any network from outside, by the names of its layers: tapped, beheaded, made anew at random."""

import copy
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import torch
from torch import nn

#: Where the wrappers of other libraries keep their network. Types by name: to import their modules takes seconds.
_INSIDE = {
    "torch.nn.parallel.distributed.DistributedDataParallel": "module",
    "torch.nn.parallel.data_parallel.DataParallel": "module",
    "torch._dynamo.eval_frame.OptimizedModule": "_orig_mod",
    "lightning_fabric.wrappers._FabricModule": "_forward_module",
}


def bare(net: nn.Module) -> nn.Module:
    """The network inside the wrappers of data-parallel training, Fabric and torch.compile. They are known by their
    types: a network's own layer may have any name."""
    while inner := next(filter(None, (_INSIDE.get(f"{t.__module__}.{t.__qualname__}") for t in type(net).__mro__)), ""):
        net = getattr(net, inner)
    return net


def channels_last(net: nn.Module) -> nn.Module:
    """``net`` with the weights of its 3-D convolutions channels-last, as pixels lie; all other tensors as they are."""
    convolutions = (layer for layer in net.modules() if isinstance(layer, nn.modules.conv._ConvNd))
    for weight in (weight for layer in convolutions for weight in layer.parameters() if weight.dim() == 5):
        weight.data = weight.data.to(memory_format=torch.channels_last_3d)
    return net


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


@dataclass
class Outputs:
    """What a network gives: ``logits (B, K)``; the ``taps`` asked for, by layer name; per-exit ``exits (B, E, K)``."""

    logits: torch.Tensor
    taps: dict[str, torch.Tensor] = field(default_factory=dict)
    exits: torch.Tensor | None = None


def outputs(net: nn.Module, x: torch.Tensor, taps: Iterable[str] = ()) -> Outputs:
    """Run ``net`` on video ``(B, C, T, H, W)`` and keep what the layers ``taps`` give, in the precision of the logits.

    Hooks read the layers, so any network can be tapped without editing it; a wrapped one by the names of the bare one.
    A tap is what the layer gave when it was first asked, whatever is done in place to that later. That of a 2-D layer
    on frames, ``(B·T, C, H, W)``, comes as ``(B, C, T, H, W)``. Raises ``ValueError`` for a name that it has not, and
    for a layer that gives no tensor or is not used.
    """
    found, taps = {}, list(taps)
    with _tapped(net, taps, len(x), found.__setitem__):
        logits = net(x)
    if not isinstance(logits, torch.Tensor):
        raise ValueError(f"{type(net).__name__} answers with {type(logits).__name__}, where logits (B, K) are wanted")
    _check_used(taps, found)
    return Outputs(logits, {name: out.to(logits.dtype) for name, out in found.items()})


def features(net: nn.Module, x: torch.Tensor, taps: Sequence[str]) -> dict[str, torch.Tensor]:
    """The ``taps`` of :func:`outputs` alone, in their order: nothing is computed after the last that answers."""
    found, wanted = {}, set(taps)

    def keep(name: str, out: torch.Tensor) -> None:
        found[name] = out
        if found.keys() == wanted:
            raise _AllKept

    with suppress(_AllKept), _tapped(net, wanted, len(x), keep):
        net(x)
    _check_used(taps, found)
    return {name: found[name].to(x.dtype) for name in taps}


class _AllKept(Exception):
    """All that was wanted of a forward pass."""


def layers_of(net: nn.Module) -> dict[str, nn.Module]:
    """The layers of the bare ``net`` by their names. Raises ``ValueError`` for TorchScript, which takes no hooks."""
    layers = dict(bare(net).named_modules(remove_duplicate=False))
    if scripted := [name or type(net).__name__ for name, layer in layers.items()
                    if isinstance(layer, torch.jit.ScriptModule)]:
        raise ValueError(f"{scripted[0]} is TorchScript, whose layers cannot be read: give the network as the "
                         "torch.nn.Module that it was made from")
    return layers


def _check_used(taps: Iterable[str], found: dict) -> None:
    if lost := [name for name in taps if name not in found]:
        raise ValueError(f"layer {lost[0]!r} is not used when this network is asked: name another")


@contextmanager
def _tapped(net: nn.Module, taps: Iterable[str], clips: int,
            keep: Callable[[str, torch.Tensor], None]) -> Iterator[None]:
    """Inside, ``keep(name, output)`` is called for each of the layers ``taps`` of ``net`` when it has first answered to
    so many ``clips``."""
    layers, handles = layers_of(net), []
    try:
        for name in taps:
            if name not in layers:
                raise ValueError(f"no layer {name!r} in {type(net).__name__}; it has {', '.join(filter(None, layers))}")
            handles.append(layers[name].register_forward_hook(_tap(name, clips, keep)))
        yield
    finally:
        for handle in handles:
            handle.remove()


def _tap(name: str, clips: int, keep: Callable[[str, torch.Tensor], None]) -> Callable:
    """The hook of a layer: its first output is kept, and the network goes on with a copy, which it may change in place.
    """
    kept = False

    def hook(_layer, _inputs, out):
        nonlocal kept
        if kept:
            return None
        kept = True
        if not isinstance(out, torch.Tensor):
            raise ValueError(f"layer {name!r} gives {type(out).__name__}, not a tensor: name a layer inside it")
        if out.dim() != 4 or len(out) % clips:
            keep(name, out)
            return out.clone()
        video = out.unflatten(0, (clips, -1)).transpose(1, 2)
        keep(name, video)
        return video.transpose(1, 2).flatten(0, 1).clone()  # the way goes through what is kept: gradients reach it

    return hook


def trunk(net: nn.Module, last: str) -> nn.Sequential:
    """The children of ``net`` up to the one in which the layer ``last`` lies, under their names: without the head,
    where that is the last stage. Video ``(B, C, T, H, W)`` → ``(B, C', T', H', W')``."""
    names = [name for name, _ in net.named_children()]
    if (child := last.split(".")[0]) not in names:
        raise ValueError(f"no layer {last!r} in {type(net).__name__}; its children are {', '.join(names)}")
    return nn.Sequential(OrderedDict(list(net.named_children())[: names.index(child) + 1]))


def at_random(net: nn.Module, seed: int = 0) -> nn.Module:
    """The untrained twin of ``net``: a frozen copy with other weights, decided by ``seed`` alone, behind the same
    normalisation of its clips."""
    twin = copy.deepcopy(net)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for part in twin.modules():
            if hasattr(part, "reset_parameters"):
                part.reset_parameters()
    return twin.eval().requires_grad_(False)
