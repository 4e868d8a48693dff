"""Operations on any network by the names of its layers: tap layers, remove the head, draw new random weights."""

import copy
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor, nn

#: Wrapper type → the attribute with its network. Types are given by name: to import their modules takes seconds.
_INSIDE = {
    "torch.nn.parallel.distributed.DistributedDataParallel": "module",
    "torch.nn.parallel.data_parallel.DataParallel": "module",
    "torch._dynamo.eval_frame.OptimizedModule": "_orig_mod",
    "kdlab.train.device.Mixed": "inside",
}


def bare(net: nn.Module) -> nn.Module:
    """The network inside the wrappers of data-parallel training, Fabric and torch.compile. Wrappers are identified by
    type, because a network's own layer may have any name."""
    while inner := next(
        filter(None, (_INSIDE.get(f"{t.__module__}.{t.__qualname__}") for t in type(net).__mro__)),
        "",
    ):
        net = getattr(net, inner)
    return net


def channels_last(net: nn.Module) -> nn.Module:
    """``net`` with the weights of its 3-D convolutions in channels-last order, like the pixels; other tensors are
    unchanged."""
    for layer in net.modules():
        if isinstance(layer, nn.modules.conv._ConvNd):
            for weight in layer.parameters():
                if weight.dim() == 5:
                    weight.data = weight.data.to(memory_format=torch.channels_last_3d)
    return net


@contextmanager
def one_thread(device: str = "cpu") -> Iterator[None]:
    """Use one torch thread inside, if ``device`` is the CPU: weights depend on the number of threads, and kdlab
    parallelises across runs instead."""
    before = torch.get_num_threads()
    if device == "cpu":
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def evaluating(net: nn.Module) -> Iterator[nn.Module]:
    """Evaluation mode inside. Afterwards each layer has its own mode again, which ``net.train()`` would not give."""
    modes = {layer: layer.training for layer in net.modules()}
    try:
        yield net.eval()
    finally:
        for layer, mode in modes.items():
            layer.training = mode


@contextmanager
def seeded_weights(seed: int) -> Iterator[None]:
    """Inside, torch's generator of the CPU depends on ``seed`` alone; afterwards it has its state from before."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def graph_of(tensors: Iterable[Tensor]) -> dict:
    """The nodes of autograd's graph behind ``tensors``, as the keys of a dict: in an order that is the same each time,
    the tensors' own nodes first."""
    nodes, new = {}, [tensor.grad_fn for tensor in tensors]
    while new := [node for node in dict.fromkeys(new) if node and node not in nodes]:
        nodes |= dict.fromkeys(new)
        new = [parent for node in new for parent, _ in node.next_functions]
    return nodes


@dataclass
class Outputs:
    """A network's outputs: ``logits (B, K)``; the requested ``taps``, by layer name; logits per exit,
    ``exits (B, E, K)``."""

    logits: Tensor
    taps: dict[str, Tensor] = field(default_factory=dict)
    exits: Tensor | None = None


def outputs(net: nn.Module, x: Tensor, taps: Iterable[str] = ()) -> Outputs:
    """Run ``net`` on video ``(B, C, T, H, W)``; return its logits and the outputs of the layers ``taps``, in the
    precision of the logits.

    Hooks read the layers, so any network can be tapped without a change to its code. The layer names of a wrapped
    network are those of the bare one. A tap is the layer's first output, and later in-place operations do not change
    it. The tap of a 2-D layer on frames, ``(B·T, C, H, W)``, is reshaped to ``(B, C, T, H, W)``. Raises ``ValueError``
    for an unknown name, and for a layer that is not used or returns no tensor.
    """
    taps = list(taps)
    with _tapped(net, taps, x.shape[0]) as tapped:  # not len(x): export would fix the batch
        logits = net(x)
    if not isinstance(logits, Tensor):
        raise ValueError(
            f"{type(bare(net)).__name__} returns {type(logits).__name__}, not logits (B, K)"
        )
    _check_used(taps, tapped)
    return Outputs(logits, {name: out.to(logits.dtype) for name, out in tapped.items()})


def features(net: nn.Module, x: Tensor, taps: Sequence[str]) -> dict[str, Tensor]:
    """Only the ``taps`` of :func:`outputs`, in their order; the forward pass stops once all are found."""
    with _tapped(net, taps, x.shape[0], stop=True) as tapped, suppress(_AllKept):
        net(x)
    _check_used(taps, tapped)
    return {name: tapped[name].to(x.dtype) for name in taps}


class _AllKept(Exception):
    """Ends a forward pass once all requested taps are found."""


def layers_of(net: nn.Module) -> dict[str, nn.Module]:
    """The layers of the bare ``net`` by name. Raises ``ValueError`` for TorchScript, which supports no hooks."""
    layers = dict(bare(net).named_modules(remove_duplicate=False))
    if scripted := [
        name or type(layer).__name__
        for name, layer in layers.items()
        if isinstance(layer, torch.jit.ScriptModule)
    ]:
        raise ValueError(
            f"{scripted[0]} is TorchScript, whose layers cannot be read: give the network as the "
            "torch.nn.Module that it was made from"
        )
    return layers


def _check_used(taps: Iterable[str], tapped: dict) -> None:
    if lost := [name for name in taps if name not in tapped]:
        raise ValueError(f"layer {lost[0]!r} is not called when this network runs: name another")


@contextmanager
def _tapped(
    net: nn.Module, taps: Sequence[str], clips: int, stop: bool = False
) -> Iterator[dict[str, Tensor]]:
    """Gives a dict that receives, inside, the first output of each of the layers ``taps`` of ``net``, for an input of
    ``clips`` clips. With ``stop``, the last of them raises :class:`_AllKept`."""
    layers, handles, tapped = layers_of(net), [], {}

    def tap(name: str, _layer, _inputs, out):
        if name in tapped:
            return None
        if not isinstance(out, Tensor):
            raise ValueError(
                f"layer {name!r} gives {type(out).__name__}, not a tensor: name a layer inside it"
            )
        of_frames = out.dim() == 4 and out.shape[0] % clips == 0
        tapped[name] = out.unflatten(0, (clips, -1)).transpose(1, 2) if of_frames else out
        if stop and tapped.keys() == set(taps):
            raise _AllKept
        # the network may change the copy in place; it is computed from the tap, so gradients reach that
        kept = tapped[name].transpose(1, 2).flatten(0, 1) if of_frames else out
        return kept.clone()

    try:
        for name in taps:
            if name not in layers:
                raise ValueError(
                    f"no layer {name!r} in {type(layers['']).__name__}; it has "
                    f"{', '.join(filter(None, layers))}"
                )
            handles.append(layers[name].register_forward_hook(partial(tap, name)))
        yield tapped
    finally:
        for handle in handles:
            handle.remove()


def trunk(net: nn.Module, last: str) -> nn.Sequential:
    """The children of ``net`` up to and including the one that contains the layer ``last``, under their names. Where
    ``last`` is the last stage, this is the network without its head. Video ``(B, C, T, H, W)`` →
    ``(B, C', T', H', W')``. Raises ``ValueError`` where ``last`` lies in none."""
    names = [name for name, _ in net.named_children()]
    if (child := last.split(".")[0]) not in names:
        raise ValueError(
            f"no layer {last!r} in {type(net).__name__}; its children are {', '.join(names)}"
        )
    return nn.Sequential(OrderedDict(list(net.named_children())[: names.index(child) + 1]))


def pooled(width: int, num_classes: int, dropout: float | None = None) -> OrderedDict:
    """The layers, by name, from maps ``(B, width, T, H, W)`` to logits: mean pooling, dropout if any, and ``fc``."""
    layers = OrderedDict(avg_pool=nn.AdaptiveAvgPool3d(1), flatten=nn.Flatten())
    if dropout is not None:
        layers["dropout"] = nn.Dropout(dropout)
    layers["fc"] = nn.Linear(width, num_classes)
    return layers


def at_random(net: nn.Module, seed: int = 0) -> nn.Module:
    """The untrained twin of ``net``: a frozen copy with other weights, which ``seed`` alone determines, and the same
    input normalisation."""
    twin = copy.deepcopy(net)
    with seeded_weights(seed):
        for part in twin.modules():
            if hasattr(part, "reset_parameters"):
                part.reset_parameters()
    return twin.eval().requires_grad_(False)
