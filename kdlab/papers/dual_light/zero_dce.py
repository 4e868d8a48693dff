"""Zero-DCE: learning to brighten without references (Guo et al., arXiv 2001.06826; docs/methods.md, 1.1).

A network predicts curves that brighten a picture. Four losses describe a well exposed picture; none needs a label or a
bright twin:

    L = 1·L_spa + 10·L_exp + 5·L_col + 200·L_TV

Pictures are ``(B, 3, H, W)`` in [0, 1]. Formulas and weights are those of the released code. The optimiser differs: it
is that of ``kdlab.train.loop``, AdamW under one cycle without clipping. The release uses Adam at a constant 1e-4 and
clips the norm of the gradient at 0.1. After as many steps ours reaches a lower loss (docs/methods.md, 1.1).
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kdlab.distill.method import CrossEntropy, weighted_sum
from kdlab.protocols import Net
from kdlab.system.values import alike, integer


def apply_curves(x: Tensor, curves: Tensor) -> Tensor:
    """``x ← x + r (x² − x)`` for each map r of ``curves`` in turn, per pixel and colour.

    x: ``(B, 3, …)`` in [0, 1]; curves: ``(B, 3 n, …)`` in [−1, 1], n maps of three colours (dimensions of size 1
    broadcast). The result has the shape of x. −1 brightens, 0 is the identity, +1 darkens. A curve maps [0, 1] into
    itself and preserves the order of values.
    """
    for r in curves.split(3, dim=1):
        x = x + r * (x * x - x)
    return x


class CurveNet(nn.Module):
    """Seven 3 × 3 convolutions of ``width`` channels with skips 3→5, 2→6, 1→7; the last gives the maps, through tanh.

    79,416 parameters at the released width of 32, with 8 maps. Fully convolutional: pictures may have any size.
    """

    def __init__(self, width: int = 32):
        super().__init__()
        inputs, outputs = [3, *3 * [width], *3 * [2 * width]], [*6 * [width], 3 * 8]
        self.convs = nn.ModuleList(
            nn.Conv2d(i, o, 3, padding=1) for i, o in zip(inputs, outputs, strict=True)
        )
        for conv in self.convs:
            nn.init.normal_(conv.weight, 0, 0.02)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Pictures ``(B, 3, H, W)`` in [0, 1] → curves ``(B, 24, H, W)``, brightened x."""
        skips = [torch.relu(self.convs[0](x))]
        for conv in self.convs[1:4]:
            skips.append(torch.relu(conv(skips[-1])))
        one, two, three, y = skips
        for conv, skip in zip(self.convs[4:6], (three, two), strict=True):
            y = torch.relu(conv(torch.cat([skip, y], 1)))
        curves = torch.tanh(self.convs[6](torch.cat([one, y], 1)))
        return curves, apply_curves(x, curves)


@dataclass(frozen=True)
class Curves(Net):
    """The spec of a :class:`CurveNet` with ``width`` channels; it has no classes."""

    width: int = 16

    def __post_init__(self):
        integer(1, width=self.width)

    def make(self, num_classes: int) -> CurveNet:
        return CurveNet(self.width)


def spatial_loss(enhanced: Tensor, x: Tensor) -> Tensor:
    """L_spa: preserve the contrast between neighbouring 4 × 4 regions.

    With Y and I the grey regions of output and input, Σ over four neighbours ((Y_i − Y_j) − (I_i − I_j))², mean over
    regions. Outside the picture the values are zero, as in the released code.
    """
    alike(enhanced=enhanced, x=x)
    # the differences are linear: compute them once
    gain = F.avg_pool2d((enhanced - x).mean(1, keepdim=True), 4)
    wide = F.pad(gain, (1, 1, 1, 1))
    sides = wide[..., 1:-1, :-2], wide[..., 1:-1, 2:], wide[..., :-2, 1:-1], wide[..., 2:, 1:-1]
    return sum((gain - side) ** 2 for side in sides).mean()


def exposure_loss(enhanced: Tensor) -> Tensor:
    """L_exp: mean of (grey mean of a patch − 0.6)² over patches of 16 × 16 pixels."""
    return ((F.avg_pool2d(enhanced.mean(1, keepdim=True), 16) - 0.6) ** 2).mean()


def colour_loss(enhanced: Tensor) -> Tensor:
    """L_col: no colour dominates. sqrt(Σ over pairs of channels (m_a − m_b)⁴) of the channel means, mean over pictures.

    Here the gradient of the norm at zero is zero; the root in the released code has an infinite one for a grey picture.
    """
    r, g, b = enhanced.mean((2, 3)).unbind(1)
    pairs = torch.stack([(r - g) ** 2, (r - b) ** 2, (g - b) ** 2], 1)
    return torch.linalg.vector_norm(pairs, dim=1).mean()


def smoothness_loss(curves: Tensor) -> Tensor:
    """L_TV of curves ``(B, 24, H, W)``: (2/B) (Σ(∂_h r)² / ((H−1) W) + Σ(∂_w r)² / (H (W−1))), summed over the maps."""
    h, w = curves.shape[2:]
    maps = curves.permute(0, 2, 3, 1)  # the order in memory, so that the gradient has it, too
    down = F.mse_loss(maps[:, 1:], maps[:, :-1], reduction="sum")
    right = F.mse_loss(maps[:, :, 1:], maps[:, :, :-1], reduction="sum")
    return 2 / len(curves) * (down / ((h - 1) * w) + right / (h * (w - 1)))


@dataclass(frozen=True)
class ZeroDce(CrossEntropy):
    """The method for :func:`kdlab.train.loop.fit`: ``nets["student"]`` is a ``CurveNet``, its view the dark clip."""

    def losses(self, nets, batch, progress):
        """Yield the weighted sum and its four unweighted terms; labels are not used."""
        x = batch.views["student"].transpose(1, 2).flatten(0, 1)  # each frame is a picture
        curves, enhanced = nets["student"](x)
        terms = {
            "spatial": (1.0, spatial_loss(enhanced, x)),
            "exposure": (10.0, exposure_loss(enhanced)),
            "colour": (5.0, colour_loss(enhanced)),
            "smoothness": (200.0, smoothness_loss(curves)),
        }
        yield "net", *weighted_sum(terms)
