"""Fast norms for few channels: they compute along rows, where torch's kernels process a channels-last picture pixel by
pixel.

The ``W·C`` numbers of a row are contiguous in memory, so sums over rows are sums of long vectors. The norms equal
torch's up to rounding and have the same names of weights. docs/log.md gives the times of forward and backward passes.
"""

import torch
import torch.fx
from torch import nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F


class ClipNorm(nn.GroupNorm):
    """Instance norm of video ``(B, C, T, H, W)``: each channel of each clip has its own mean and deviation.

    It can be differentiated twice in evaluation mode, but not in training mode.
    """

    def __init__(self, channels: int):
        super().__init__(channels, channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
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
            out, mean, scale = torch.native_group_norm(x, weight, bias, len(x), channels, count, channels, eps)
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

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        whole = x.permute(0, 2, 3, 1)
        plain = x.is_cpu and x.dtype == self.weight.dtype and whole.is_contiguous() and not x.requires_grad
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


def _rows(x: torch.Tensor) -> torch.Tensor:
    """A channels-last ``(B, C, T, H, W)`` as ``(B, T·H, W·C)``."""
    return x.permute(0, 2, 3, 4, 1).flatten(3).flatten(1, 2)


def _sums(rows: torch.Tensor, channels: int) -> torch.Tensor:
    """``(B, R, W·C)`` → ``(B, C)``."""
    return rows.sum(1).unflatten(1, (-1, channels)).sum(1)


def _wide(values: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """``(B, C)`` → ``(B, 1, W·C)``: each channel's value, repeated along a row."""
    return values.repeat(1, rows.shape[2] // values.shape[1])[:, None]
