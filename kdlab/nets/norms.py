"""Faster norms: along rows while a network is trained, and folded into the convolutions before them once it is frozen.

torch's kernels process a channels-last picture with few channels pixel by pixel. The ``W·C`` numbers of a row are
contiguous in memory, so sums over rows are sums of long vectors. The norms equal torch's up to rounding and have the
same names of weights. docs/log.md gives the times of forward and backward passes.

In evaluation mode a batch norm is a scale and a shift per channel, which can be applied to the weights of the
convolution before it instead of to its output (:func:`folded`).
"""

import copy
from collections import Counter

import torch
import torch.fx
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_weights
from torch.utils._pytree import tree_leaves


class ClipNorm(nn.GroupNorm):
    """Instance norm of video ``(B, C, T, H, W)``: each channel of each clip has its own mean and deviation.

    It can be differentiated twice in evaluation mode, but not in training mode.
    """

    def __init__(self, channels: int):
        super().__init__(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        return _clip_norm(x, self.weight, self.bias, self.eps, self.training)


@torch.fx.wrap  # so that torch.fx can trace a network despite the tests of x
def _clip_norm(x, weight, bias, eps, training):
    along_rows = x.is_cpu and x.dtype == weight.dtype and x.permute(0, 2, 3, 4, 1).is_contiguous()
    if along_rows and (training or not torch.is_grad_enabled()):
        return _OfClips.apply(x, weight, bias, eps)
    return F.group_norm(x, len(weight), weight, bias, eps)


class _OfClips(torch.autograd.Function):
    """y = a x + c with a = w / σ and c = b − a μ, for each clip and channel."""

    @staticmethod
    def forward(ctx, x, weight, bias, eps):
        count, channels = x[0, 0].numel(), x.shape[1]
        if channels % 8:
            rows = _rows(x)
            mean = _sums(rows, channels) / count
            variance = _sums(rows * rows, channels) / count - mean * mean
            scale = (variance.clamp_min_(0) + eps).rsqrt_()
            slope = scale * weight
            out = torch.addcmul(_wide(bias - mean * slope, rows), rows, _wide(slope, rows))
            out = out.view(x.permute(0, 2, 3, 4, 1).shape).permute(0, 4, 1, 2, 3)
        else:  # full vectors: torch's forward pass is as fast, its backward pass is not
            out, mean, scale = torch.native_group_norm(
                x, weight, bias, len(x), channels, count, channels, eps
            )
        ctx.save_for_backward(x, weight, mean, scale)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        x, weight, mean, scale = ctx.saved_tensors
        rows, grads = _rows(x), _rows(grad.contiguous(memory_format=torch.channels_last_3d))
        products = rows * grads
        of_bias, channels = _sums(grads, len(weight)), len(weight)
        of_weight = (_sums(products, channels) - mean * of_bias) * scale
        slope = scale * weight
        bend = -slope * scale * of_weight / x[0, 0].numel()
        level = -slope * of_bias / x[0, 0].numel() - bend * mean
        torch.addcmul(_wide(level, rows), rows, _wide(bend, rows), out=products)
        of_x = products.addcmul_(grads, _wide(slope, rows))
        of_x = of_x.view(x.permute(0, 2, 3, 4, 1).shape).permute(0, 4, 1, 2, 3)
        return of_x, of_weight.sum(0), of_bias.sum(0), None


class PixelNorm(nn.BatchNorm2d):
    """Batch norm of pictures ``(B, C, H, W)`` that need no gradient: for a network's first layer."""

    def forward(self, x: Tensor) -> Tensor:
        whole = x.permute(0, 2, 3, 1)
        plain = (
            x.is_cpu
            and x.dtype == self.weight.dtype
            and whole.is_contiguous()
            and not x.requires_grad
        )
        if not plain or self.momentum is None:  # None: update_bn averages all batches
            return super().forward(x)
        rows, count = whole.flatten(0, 1).flatten(1)[None], x[:, 0].numel()  # (1, B·H, W·C)
        mean, variance = self.running_mean[None], self.running_var[None]
        if self.training:
            mean = _sums(rows, x.shape[1]) / count
            variance = _sums((rows - _wide(mean, rows)).square_(), x.shape[1]) / count
            self.running_mean.lerp_(mean[0], self.momentum)
            self.running_var.lerp_(variance[0] * (count / (count - 1)), self.momentum)
            self.num_batches_tracked.add_(1)
        slope = self.weight * (variance + self.eps).rsqrt()
        out = torch.addcmul(_wide(self.bias - mean * slope, rows), rows, _wide(slope, rows))
        return out.view(whole.shape).permute(0, 3, 1, 2)


def _rows(x: Tensor) -> Tensor:
    """A channels-last ``(B, C, T, H, W)`` as ``(B, T·H, W·C)``."""
    return x.permute(0, 2, 3, 4, 1).flatten(3).flatten(1, 2)


def _sums(rows: Tensor, channels: int) -> Tensor:
    """``(B, R, W·C)`` → ``(B, C)``."""
    return rows.sum(1).unflatten(1, (-1, channels)).sum(1)


def _wide(values: Tensor, rows: Tensor) -> Tensor:
    """``(B, C)`` → ``(B, 1, W·C)``: each channel's value, repeated along a row."""
    return values.repeat(1, rows.shape[2] // values.shape[1])[:, None]


# --- folded into convolutions ----------------------------------------------------------------------------------

#: The types of layers that fold. A subclass does not fold: it may use its weights in any way.
CONVOLUTIONS, NORMS = (
    (nn.Conv1d, nn.Conv2d, nn.Conv3d),
    (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d),
)
#: The largest difference between the outputs of the folded and the plain network, relative to the largest output.
ROUNDING = 1e-4


@torch.no_grad()
def folded(net: nn.Module, x: Tensor) -> nn.Module:
    """A copy of the frozen ``net`` in evaluation mode with its batch norms folded into the convolutions before them:
    the same function up to rounding, in a seventh less time.

    A convolution and a norm fold where only the norm reads the convolution's output, in code that torch.fx can trace:
    code whose path does not depend on its input. Where the outputs for the clips ``x`` differ by more than
    :data:`ROUNDING`, nothing folds. Layers keep their names and weights. While a hook is on either layer of a pair,
    both compute as before.
    """
    plain, lean = copy.deepcopy(net).eval(), copy.deepcopy(net).eval()
    with torch.random.fork_rng(devices=[]):
        answer = plain(x.clone())
        for conv, norm in pairs(copy.deepcopy(plain)):
            _fold(lean.get_submodule(conv), lean.get_submodule(norm))
        return lean if _alike(answer, lean(x.clone())) else plain


def _alike(one, other) -> bool:
    both = zip(tree_leaves(one), tree_leaves(other), strict=True)
    return all(
        torch.is_tensor(a) and (a - b).abs().max() <= ROUNDING * a.abs().max() for a, b in both
    )


def pairs(net: nn.Module, prefix: str = "") -> list[tuple[str, str]]:
    """The names of each convolution and of the norm that alone reads its output. A module that cannot be traced is
    searched child by child."""
    try:
        graph = torch.fx.Tracer().trace(net)
    except Exception:  # the network's code runs on proxies, and may raise anything
        return [
            pair
            for name, child in net.named_children()
            for pair in pairs(child, f"{prefix}{name}.")
        ]
    calls = [node for node in graph.nodes if node.op == "call_module"]
    times, names = Counter(node.target for node in calls), []
    for conv, norm in ((node, next(iter(node.users))) for node in calls if len(node.users) == 1):
        if norm.op == "call_module" and times[conv.target] == times[norm.target] == 1:
            layers = net.get_submodule(conv.target), net.get_submodule(norm.target)
            if (
                type(layers[0]) in CONVOLUTIONS
                and type(layers[1]) in NORMS
                and layers[1].running_var is not None
            ):
                names.append((prefix + conv.target, prefix + norm.target))
    return names


def _fold(conv: nn.Module, norm: nn.Module) -> None:
    """Make the convolution output what its norm would compute from it, and the norm return its input."""
    weight, bias = fuse_conv_bn_weights(
        conv.weight,
        conv.bias,
        norm.running_mean,
        norm.running_var,
        norm.eps,
        norm.weight,
        norm.bias,
    )
    conv.register_buffer("folded_weight", weight.detach(), persistent=False)
    conv.register_buffer("folded_bias", bias.detach(), persistent=False)
    for layer in (conv, norm):
        layer.__class__ = _FOLDED[type(layer)]
        vars(layer)["pair"] = conv, norm  # not registered: a layer has one name


class _Folded:
    @property
    def hooked(self) -> bool:
        """Whether a hook is on either layer, which must then return its own output."""
        conv, norm = self.pair
        return bool(conv._forward_hooks or norm._forward_hooks or norm._forward_pre_hooks)


class _Convolution(_Folded):
    def _conv_forward(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        own = (weight, bias) if self.hooked else (self.folded_weight, self.folded_bias)
        return super()._conv_forward(x, *own)


class _Norm(_Folded):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) if self.hooked else x


_FOLDED = {
    kind: type(f"Folded{kind.__name__}", (mixin, kind), {})
    for mixin, kinds in ((_Convolution, CONVOLUTIONS), (_Norm, NORMS))
    for kind in kinds
}
