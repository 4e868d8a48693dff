"""Batch norms in evaluation mode as parts of the convolutions before them, all weights still free.

There a norm is a scale and a shift a channel, which weights can take as well as pixels: the same function of the same
weights. But the second derivative of a norm goes over the features a dozen times, that of scaled weights over weights.
``kdlab.train.feeding.folded`` makes a new, frozen network of it; here gradients reach the norm's own parameters.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import torch
from torch import nn

#: A convolution, and the norm that alone reads its output.
Pair = tuple[nn.Module, nn.Module]
#: How many features a weight of the convolution must make: below, scaling weights costs more than scaling features.
WORTH = 4


def foldable(net: nn.Module, x: torch.Tensor) -> list[Pair]:
    """The pairs of ``net``, in evaluation mode, that a pass of ``x`` shows; none where the folded network would answer
    otherwise."""
    made, pairs, calls, handles = {}, [], Counter(), []

    def after(conv: nn.Module, _inputs, out: torch.Tensor) -> None:
        made[id(out)] = conv, out
        calls[conv] += 1

    def before(norm: nn.Module, inputs: tuple) -> None:
        calls[norm] += 1
        if id(inputs[0]) in made:
            pairs.append((*made[id(inputs[0])], norm))

    for module in net.modules():
        if isinstance(module, nn.modules.conv._ConvNd) and not module.transposed:
            handles.append(module.register_forward_hook(after))
        elif isinstance(module, nn.modules.batchnorm._BatchNorm) and module.running_var is not None:
            handles.append(module.register_forward_pre_hook(before))
    try:
        answer = net(x)
    finally:
        for handle in handles:
            handle.remove()
    if not pairs or not isinstance(answer, torch.Tensor):
        return []
    readers = Counter(parent for node in nodes([answer]) for parent, _ in node.next_functions)
    found = [(conv, norm) for conv, out, norm in pairs
             if out.grad_fn and readers[out.grad_fn] == 1 == calls[conv] == calls[norm]
             and out.numel() > WORTH * conv.weight.numel()]
    with folded_in(found), torch.no_grad():
        apart = (net(x) - answer).abs().max()
    return found if apart <= 1e-3 * answer.detach().abs().max() else []


@torch.no_grad()
def features(net: nn.Module, x: torch.Tensor) -> int:
    """How many numbers the layers of ``net`` make of ``x``."""
    count, handles = [], []
    for module in net.modules():
        if not list(module.children()):
            handles.append(module.register_forward_hook(
                lambda _m, _i, out: count.append(out.numel() if isinstance(out, torch.Tensor) else 0)))
    try:
        net(x)
    finally:
        for handle in handles:
            handle.remove()
    return sum(count)


@contextmanager
def folded_in(pairs: Sequence[Pair]) -> Iterator[None]:
    """Inside, each norm lies in its convolution; afterwards modules are what they were."""
    for conv, norm in pairs:
        conv._conv_forward, norm.forward = partial(_scaled, conv, norm), _as_it_is
    try:
        yield
    finally:
        for conv, norm in pairs:
            del conv._conv_forward, norm.forward


def nodes(tensors: Iterable[torch.Tensor]) -> list:
    """The nodes of the graph behind ``tensors``."""
    found = [t.grad_fn for t in tensors if t.grad_fn is not None]
    seen = set(found)
    for node in found:
        new = {parent for parent, _ in node.next_functions if parent is not None} - seen
        seen |= new
        found += new
    return found


def _scaled(conv: nn.Module, norm: nn.Module, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None):
    scale = (norm.running_var + norm.eps).rsqrt()
    scale = scale if norm.weight is None else scale * norm.weight
    shift = -norm.running_mean * scale if bias is None else (bias - norm.running_mean) * scale
    shift = shift if norm.bias is None else shift + norm.bias
    return type(conv)._conv_forward(conv, x, weight * scale.view(-1, *(1,) * (weight.dim() - 1)), shift)


def _as_it_is(x: torch.Tensor) -> torch.Tensor:
    return x
