"""Where a network looks: Grad-CAM on video, scores of maps against the actor's true place, and tests of their fidelity.

docs/methods.md, 7. Maps are non-negative, ``(N, T, H, W)`` over the pixels of N clips; masks are bool in that shape.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kdlab.clips.cache import resize
from kdlab.clips.coviar import SegmentBatches
from kdlab.clips.windows import ClipBatches
from kdlab.nets.layers import bare, evaluating, features, layers_of
from kdlab.night.make import truth
from kdlab.video.compressed import scan


class Maps(NamedTuple):
    """``maps (N, T, H, W)``, float32, and a bool ``constant (N,)`` for each. A constant map has no information, and is
    1 everywhere."""

    maps: np.ndarray
    constant: np.ndarray


# --- the map ---------------------------------------------------------------------------------------------------


def grad_cam(
    net: nn.Module, x: Tensor, target: Tensor | int, layer: str, batch_size: int = 64
) -> Maps:
    """Grad-CAM (arXiv 1610.02391) of logit ``target`` (one, or ``(N,)``) at ``layer`` for clips ``x (N, C, T, H, W)``.

    At a 3-D layer, the weight of a channel is its mean gradient over time and space. At a 2-D layer, which sees N·T
    frames, it is the mean gradient over each frame. The map is rectified, then interpolated linearly to the clip's
    pixels, with each unit at the centre of the part of the picture that it sees. The network runs in eval mode. Raises
    ``ValueError`` for an unknown layer, a layer without extent in space or that runs twice in
    one forward pass, a network without logits ``(N, K)`` or a gradient from them to the layer, inference mode, and maps
    that are not finite.
    """
    if torch.is_inference_mode_enabled():
        raise ValueError(
            "Grad-CAM needs gradients, which inference mode forbids: leave torch.inference_mode()"
        )
    net = bare(net)
    from captum.attr import LayerGradCam  # takes a second to import

    targets, maps = torch.as_tensor(target).expand(len(x)), []
    try:
        with evaluating(net):
            to_pixels = _to_pixels(net, layer, x[:1])
            _check_runs_once(net, layer, x[:1])
            method = LayerGradCam(net, layers_of(net)[layer])
            for clips, wanted in zip(x.split(batch_size), targets.split(batch_size), strict=True):
                # Gradients flow even where the weights are frozen.
                inputs = clips.detach().clone().requires_grad_()
                values = method.attribute(inputs, target=wanted, relu_attributions=True)
                values = values.detach()[:, 0]
                if values.dim() == 3:  # of a 2-D layer, which sees frames
                    values = values.unflatten(0, (len(clips), -1))
                spread = torch.einsum("ntij,Tt,Hi,Wj->nTHW", values, *to_pixels)
                maps.append(spread.cpu().numpy())
    except (AssertionError, AttributeError, LookupError, RuntimeError, TypeError) as error:
        why = str(error).partition("\n")[0]
        raise ValueError(
            f"Grad-CAM needs logits (N, K) of {type(net).__name__}, and their gradient at layer "
            f"{layer!r}: {why}"
        ) from error
    maps = np.concatenate(maps)
    if not np.isfinite(maps).all():
        raise ValueError(f"the map at {layer!r} is not finite: look at the weights and the clips")
    # Rounding noise marks no place: a map whose range is below 1e-5 of its largest value counts as constant.
    constant = np.ptp(maps, axis=(1, 2, 3)) <= 1e-5 * np.abs(maps).max((1, 2, 3))
    maps[constant] = 1
    return Maps(maps.astype(np.float32), constant)


def _check_runs_once(net: nn.Module, layer: str, x: Tensor) -> None:
    calls = []
    count = layers_of(net)[layer].register_forward_hook(lambda *_: calls.append(layer))
    with torch.no_grad(), count:
        net(x)
    if len(calls) > 1:
        raise ValueError(
            f"layer {layer!r} runs {len(calls)} times in one forward pass, and a map belongs to one of them"
            ": name a layer that runs once"
        )


@torch.no_grad()
def _to_pixels(net: nn.Module, layer: str, x: Tensor) -> list[Tensor]:
    """The matrices that interpolate the units of ``layer`` to pixels along time, height and width, each ``(pixels,
    units)``: linear between units, constant beyond the first and the last.

    A unit stands at the centre of all paths that lead to it from pixels. At the edge, strides alone would misplace it,
    since half of its window is padding. This function therefore replaces each convolution and pool by the mean over
    the same window, skips norms, and feeds the network the pixels' coordinates. Each output is then the mean coordinate
    of the pixels that the unit sees.
    """
    sizes, far = x.shape[2:], 1e3  # so far from 0 that no rectifier cuts anything off
    places = torch.from_numpy(np.indices(sizes)).to(x) * (far / max(sizes))
    ends = x.new_tensor([0, far]).view(2, 1, 1, 1).expand(2, *sizes)
    shown = far + torch.cat([ends, places])
    with ExitStack() as hooks:
        for part in net.modules():
            if hasattr(part, "kernel_size") and hasattr(part, "stride"):
                hooks.enter_context(part.register_forward_hook(_window_mean))
            elif isinstance(part, nn.modules.batchnorm._NormBase | nn.GroupNorm | nn.LayerNorm):
                hooks.enter_context(part.register_forward_hook(lambda _, inputs, out: inputs[0]))
        seen = features(net, shown[:, None].repeat(1, x.shape[1], 1, 1, 1), [layer])[layer]
    if seen.dim() != 5 or len(seen) != len(shown) or seen.shape[-1] * seen.shape[-2] < 2:
        raise ValueError(
            f"layer {layer!r} gives {tuple(seen.shape)} for {len(shown)} clips, without extent in space "
            "for each: choose one before the pooling"
        )
    least, most, *ramps = seen.mean(1).double()
    matrices = []
    for axis, (ramp, size) in enumerate(zip(ramps, sizes, strict=True)):
        share = ((ramp - least) / (most - least)).movedim(axis, 0).flatten(1).mean(1)
        centres = max(sizes) * share.cpu().numpy()
        columns = [np.interp(np.arange(size), centres, row) for row in np.eye(len(centres))]
        matrices.append(torch.from_numpy(np.stack(columns, 1)).to(x))
    return matrices


def _window_mean(layer: nn.Module, inputs: tuple[Tensor, ...], out: Tensor) -> Tensor:
    """The mean over each window of a convolution or pool, in every output channel, with 0 beyond the edge. It replaces
    the layer's output."""
    h, dims = inputs[0].mean(1, keepdim=True), out.dim() - 2
    settings = layer.kernel_size, layer.stride, layer.padding, getattr(layer, "dilation", 1)
    kernel, stride, padding, dilation = (
        (v,) * dims if isinstance(v, int | str) else v for v in settings
    )
    pads = []
    for n, m, k, s, p, d in zip(
        h.shape[2:], out.shape[2:], kernel, stride, padding, dilation, strict=True
    ):
        missing = (m - 1) * s + d * (k - 1) + 1 - n
        if isinstance(p, str) or (missing > 2 * p and not getattr(layer, "ceil_mode", False)):
            p = missing // 2  # the layer pads its input itself
        pads = [p, missing - p, *pads]
    window = h.new_full((1, 1, *kernel), 1 / np.prod(kernel))
    convolve = getattr(F, f"conv{dims}d")
    mean = convolve(F.pad(h, pads), window, None, stride, 0, dilation)
    return mean.expand_as(out).contiguous()


# --- the truth, and maps without a network ---------------------------------------------------------------------


def actor_masks(clips: ClipBatches) -> np.ndarray:
    """Masks of the actor in `night` clips, bool (N, T, h, w), at the moments, size and crop of the network's input.

    A pixel belongs to the actor where the actor covers a quarter of it: a threshold of half would lose arms. An I-frame
    has the mask of its own moment. Raises ``FileNotFoundError`` for clips that are not `night`'s.
    """
    view = next(iter(clips.views.values()))
    cuts = []
    for record in clips.records:
        draw = clips.window.centre(clips.length(record))
        moments = draw.frames
        if isinstance(clips, SegmentBatches) and view.modality == "iframe":
            moments = scan(record.path).keys[view.rows(record.path, moments)]
        masks = 255 * truth(record)["masks"][moments][..., None].astype(np.uint8)
        cuts.append(clips.window.cut(draw, resize(masks, clips.window.side))[..., 0] >= 64)
    return np.stack(cuts)


def centred(shape: Sequence[int]) -> np.ndarray:
    """A Gaussian in the middle of each frame (T, H, W); its standard deviation is a quarter of the short side."""
    y, x = np.meshgrid(*(np.arange(n) - (n - 1) / 2 for n in shape[1:]), indexing="ij")
    blob = np.exp(-(x**2 + y**2) / (2 * (0.25 * min(shape[1:])) ** 2))
    return np.broadcast_to(blob, shape).astype(np.float32)


# --- scores ----------------------------------------------------------------------------------------------------


def scores(maps: np.ndarray, masks: np.ndarray) -> dict[str, np.ndarray]:
    """Three scores in [0, 1], each (N,), of how well maps (N, T, H, W) find masks (N, T, H, W).

    ``pointing_game``: is the largest value on the actor? ``energy_inside``: the share of the map on the actor. ``iou``:
    the IoU of the mask and as many of the map's largest pixels. Tied pixels count by their share, so a constant map
    scores at chance. Each score is a mean over the frames that show the actor, and ``nan`` without such a frame. Raises
    ``ValueError`` for other shapes.
    """
    if maps.shape != masks.shape or maps.ndim != 4:
        raise ValueError(
            f"scores need maps and masks (N, T, H, W) of one shape, got {maps.shape} and {masks.shape}"
        )
    values = np.maximum(maps, 0).reshape(*maps.shape[:2], -1).astype(np.float64)
    values[values.max(2) == 0] = 1  # a frame of zeros counts as uniform
    inside = masks.reshape(values.shape) > 0
    count = inside.sum(2)

    def share(selected: np.ndarray) -> np.ndarray:
        return (selected & inside).sum(2) / np.maximum(selected.sum(2), 1)

    edge_at = np.clip(values.shape[2] - count, 0, values.shape[2] - 1)
    edge = np.take_along_axis(np.sort(values, 2), edge_at[..., None], 2)
    above = values > edge
    common = (above & inside).sum(2) + (count - above.sum(2)) * share(values == edge)
    by_frame = {
        "pointing_game": share(values == values.max(2, keepdims=True)),
        "energy_inside": (values * inside).sum(2) / values.sum(2),
        "iou": common / np.maximum(2 * count - common, 1e-9),
    }
    seen = count > 0
    frames = np.where(seen.any(1), seen.sum(1), np.nan)
    return {name: np.where(seen, score, 0).sum(1) / frames for name, score in by_frame.items()}
