"""Where a network looks: Grad-CAM on video, scores of maps against the actor's true place, and tests of their fidelity.

docs/methods.md, 7. Maps are non-negative, ``(N, T, H, W)`` over the pixels of N clips; masks are bool in that shape.
"""

import difflib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from kdlab.clips.cache import resize
from kdlab.clips.coviar import SegmentBatches
from kdlab.clips.windows import ClipBatches
from kdlab.nets.layers import bare, features, layers_of
from kdlab.nets.norms import folded
from kdlab.night.make import truth
from kdlab.video.compressed import scan

SCORES = ("pointing_game", "energy_inside", "iou")


class Maps(NamedTuple):
    """``maps (N, T, H, W)``, float32, and a bool ``constant (N,)`` for each. A constant map has no information, and is
    1 everywhere."""

    maps: np.ndarray
    constant: np.ndarray


class Units(NamedTuple):
    """The matrices that interpolate a layer's units to pixels along time, height and width, each ``(pixels, units)``.

    A unit stands at the centre of the part of the picture that it sees. Values are linear between units, and constant
    beyond the first and the last.
    """

    time: torch.Tensor
    height: torch.Tensor
    width: torch.Tensor

    def spread(self, values: torch.Tensor) -> torch.Tensor:
        """The map ``(N, T, H, W)`` over the clip's pixels from one value per unit, ``(N, t, h, w)``."""
        return torch.einsum("ntij,Tt,Hi,Wj->nTHW", values, *(to.to(values) for to in self))


# --- the map ---------------------------------------------------------------------------------------------------


def grad_cam(
    net: nn.Module, x: torch.Tensor, target: torch.Tensor | int, layer: str, batch_size: int = 64
) -> Maps:
    """Grad-CAM (arXiv 1610.02391) of logit ``target`` (one, or ``(N,)``) at ``layer`` for clips ``x (N, C, T, H, W)``.

    At a 3-D layer, the weight of a channel is its mean gradient over time and space. At a 2-D layer, which sees N·T
    frames, it is the mean gradient over each frame. The map is rectified, then interpolated linearly to the clip's
    pixels, with each unit at the centre of the part of the picture that it sees. The network runs in eval mode. Raises
    ``ValueError`` for an unknown layer (with the nearest names), a layer without extent in space or that runs twice in
    one forward pass, a network without logits ``(N, K)`` or a gradient from them to the layer, inference mode, and maps
    that are not finite.
    """
    from captum.attr import LayerGradCam  # takes a second to import

    if torch.is_inference_mode_enabled():
        raise ValueError(
            "Grad-CAM needs gradients, which inference mode forbids: leave torch.inference_mode()"
        )
    with _evaluated(net, layer) as (net, module):
        units = _geometry(net, layer, x[:1])
        target = torch.as_tensor(target).expand(len(x))
        found = []
        for start in range(0, len(x), batch_size):
            batch = slice(start, start + batch_size)
            inputs = (
                x[batch].detach().clone().requires_grad_()
            )  # gradients flow even where the weights are frozen
            cam = LayerGradCam(net, module).attribute(
                inputs, target=target[batch], relu_attributions=True
            )
            cam = cam.detach()[:, 0]
            cam = cam if cam.dim() == 4 else cam.unflatten(0, (len(inputs), -1))
            found.append(units.spread(cam).cpu().numpy())
    maps = np.concatenate(found)
    if not np.isfinite(maps).all():
        raise ValueError(f"the map at {layer!r} is not finite: look at the weights and the clips")
    # Rounding noise marks no place: a map whose range is below 1e-5 of its largest value counts as constant.
    constant = np.ptp(maps, axis=(1, 2, 3)) <= 1e-5 * np.abs(maps).max((1, 2, 3))
    return Maps(np.where(constant[:, None, None, None], 1, maps).astype(np.float32), constant)


@contextmanager
def _evaluated(net: nn.Module, layer: str) -> Iterator[tuple[nn.Module, nn.Module]]:
    """The bare ``net`` in evaluation mode, and its layer. What fails inside for another reason than a ``ValueError``
    becomes one."""
    net, modules = bare(net), {name: module for name, module in layers_of(net).items() if name}
    if layer not in modules:
        near = difflib.get_close_matches(layer, modules, 3, 0.3) or list(modules)[-3:]
        raise ValueError(
            f"no layer {layer!r} in {type(net).__name__}; the nearest are {', '.join(near)}"
        )
    modes = {module: module.training for module in net.modules()}
    try:
        yield net.eval(), modules[layer]
    except (AssertionError, AttributeError, LookupError, RuntimeError, TypeError) as error:
        why = str(error).partition("\n")[0]
        raise ValueError(
            f"Grad-CAM needs logits (N, K) of {type(net).__name__}, and their gradient at layer "
            f"{layer!r}: {why}"
        ) from error
    finally:
        for module, mode in modes.items():
            module.training = mode


@torch.no_grad()
def _geometry(net: nn.Module, name: str, x: torch.Tensor) -> Units:
    """The :class:`Units` of the output of layer ``name``.

    A unit stands at the centre of all paths that lead to it from pixels. At the edge, strides alone would misplace it,
    since half of its window is padding. This function therefore replaces each convolution and pool by the mean over
    the same window, skips norms, and feeds the network the pixels' coordinates. Each output is then the mean coordinate
    of the pixels that the unit sees.
    """
    calls = []
    handle = layers_of(net)[name].register_forward_hook(lambda *_: calls.append(name))
    try:
        net(x)
    finally:
        handle.remove()
    if len(calls) > 1:
        raise ValueError(
            f"layer {name!r} runs {len(calls)} times in one forward pass, and a map belongs to one of them"
            ": name a layer that runs once"
        )
    handles, sizes, far = [], x.shape[2:], 1e3  # so far from 0 that no rectifier cuts anything off
    for part in net.modules():
        if hasattr(part, "kernel_size") and hasattr(part, "stride"):
            handles.append(part.register_forward_hook(_window_mean))
        elif isinstance(part, nn.modules.batchnorm._NormBase | nn.GroupNorm | nn.LayerNorm):
            handles.append(part.register_forward_hook(lambda _m, inputs, _o: inputs[0]))
    ramps = torch.meshgrid(
        *(torch.arange(n).to(x) * (far / max(sizes)) for n in sizes), indexing="ij"
    )
    shown = far + torch.stack([torch.zeros(sizes).to(x), torch.full(sizes, far).to(x), *ramps])
    try:
        seen = features(net, shown[:, None].repeat(1, x.shape[1], 1, 1, 1), [name])[name]
    finally:
        for handle in handles:
            handle.remove()
    if seen.dim() != 5 or len(seen) != len(shown) or seen.shape[-1] * seen.shape[-2] < 2:
        raise ValueError(
            f"layer {name!r} gives {tuple(seen.shape)} for {len(shown)} clips, without extent in space "
            "for each: choose one before the pooling"
        )
    means = seen.mean(1)
    none, all_, *ramps = means.double()
    shares = [
        ((ramp - none) / (all_ - none)).movedim(k, 0).flatten(1).mean(1)
        for k, ramp in enumerate(ramps)
    ]
    return Units(
        *(
            _interpolation(max(sizes) * v.cpu().numpy(), n)
            for v, n in zip(shares, sizes, strict=True)
        )
    )


def _window_mean(
    layer: nn.Module, inputs: tuple[torch.Tensor, ...], out: torch.Tensor
) -> torch.Tensor:
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
        inside = (
            isinstance(p, str) or missing > 2 * p and not getattr(layer, "ceil_mode", False)
        )  # layer pads itself
        front = missing // 2 if inside else p
        pads = [front, missing - front, *pads]
    window = h.new_full((1, 1, *kernel), 1 / np.prod(kernel))
    convolve = (F.conv1d, F.conv2d, F.conv3d)[dims - 1]
    return convolve(F.pad(h, pads), window, None, stride, 0, dilation).repeat(
        1, out.shape[1], *(1,) * dims
    )


def _interpolation(centres: np.ndarray, length: int) -> torch.Tensor:
    """The interpolation matrix ``(length, units)``: linear between units at ``centres (units,)``, constant beyond the
    first and the last."""
    columns = [np.interp(np.arange(length), centres, row) for row in np.eye(len(centres))]
    return torch.from_numpy(np.stack(columns, 1)).float()


# --- the truth, and maps without a network ---------------------------------------------------------------------


def actor_masks(clips: ClipBatches) -> np.ndarray:
    """Masks of the actor in `night` clips, bool (N, T, h, w), at the moments, size and crop of the network's input.

    A pixel belongs to the actor where the actor covers a quarter of it: a threshold of half would lose arms. An I-frame
    has the mask of its own moment. Raises ``FileNotFoundError`` for clips that are not `night`'s.
    """
    (view, *_), found = clips.views.values(), []
    for record in clips.records:
        masks, draw = truth(record)["masks"], clips.window.centre(clips.length(record))
        frames = draw.frames
        if isinstance(clips, SegmentBatches) and view.modality == "iframe":
            frames = scan(record.path).keys[view.rows(record.path, frames)]
        small = resize(255 * masks[frames][..., None].astype(np.uint8), clips.window.side)
        found.append(clips.window.cut(draw, small)[..., 0] >= 64)
    return np.stack(found)


def centred(shape: Sequence[int]) -> np.ndarray:
    """A Gaussian in the middle of each frame (T, H, W); its standard deviation is a quarter of the short side."""
    y, x = np.meshgrid(*(np.arange(n) - (n - 1) / 2 for n in shape[1:]), indexing="ij")
    blob = np.exp(-(x**2 + y**2) / (2 * (0.25 * min(shape[1:])) ** 2))
    return np.broadcast_to(blob, shape).astype(np.float32)


def _blurred(frames: np.ndarray, sigma: float) -> np.ndarray:
    flat = np.ascontiguousarray(frames, np.float32).reshape(-1, *frames.shape[-2:])
    return np.stack([cv2.GaussianBlur(f, (0, 0), sigma) for f in flat]).reshape(frames.shape)


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
    m, inside = (
        np.maximum(maps, 0).reshape(*maps.shape[:2], -1).astype(np.float64),
        masks.reshape(*maps.shape[:2], -1),
    )
    m = np.where(m.max(2, keepdims=True) > 0, m, 1)  # a frame of zeros counts as uniform
    count = inside.sum(2)
    share = lambda selected: (selected & inside).sum(2) / np.maximum(selected.sum(2), 1)  # noqa: E731
    point = share(m == m.max(2, keepdims=True))
    energy = (m * inside).sum(2) / m.sum(2)
    edge = np.take_along_axis(
        np.sort(m, 2), np.clip(m.shape[2] - count, 0, m.shape[2] - 1)[..., None], 2
    )
    above, level = m > edge, m == edge
    common = (above & inside).sum(2) + (count - above.sum(2)) * share(level)
    iou = common / np.maximum(2 * count - common, 1e-9)
    seen = count > 0
    frames = np.where(seen.any(1), seen.sum(1), np.nan)
    named = zip(SCORES, (point, energy, iou), strict=True)
    return {name: np.where(seen, values, 0).sum(1) / frames for name, values in named}


@torch.no_grad()
def fidelity(
    net: nn.Module, x: torch.Tensor, target: torch.Tensor, maps: np.ndarray
) -> dict[str, np.ndarray]:
    """Deletion and insertion curves (arXiv 1806.07421), each ``(N, 11)``: the probability of ``target (N,)`` while the
    pixels of ``x`` are blurred (deletion) or restored (insertion). Each step changes a tenth of the pixels, in falling
    order of the map.

    Compare with the curves of maps that belong to *other* clips: any smooth map deletes faster than scattered pixels.
    """
    net = folded(net, x[:2])
    blurred = torch.from_numpy(_blurred(x.numpy(), 0.15 * min(x.shape[3:])))
    places = maps.reshape(len(maps), -1)
    rank = np.empty(places.shape, np.int64)
    np.put_along_axis(
        rank, (-places).argsort(1, kind="stable"), np.arange(places.shape[1])[None], 1
    )
    rank = torch.from_numpy(rank).view(len(x), 1, *x.shape[2:])

    def asked(pixels: torch.Tensor) -> np.ndarray:
        probabilities = torch.cat([net(batch).softmax(1) for batch in pixels.split(64)])
        return probabilities.gather(1, target[:, None])[:, 0].numpy()

    firsts = [rank < round(k * places.shape[1] / 10) for k in range(1, 10)]
    whole, none = asked(x), asked(blurred)  # each curve ends where the other begins
    deletion = [asked(torch.where(first, blurred, x)) for first in firsts]
    insertion = [asked(torch.where(first, x, blurred)) for first in firsts]
    return {
        "deletion": np.stack([whole, *deletion, none], 1),
        "insertion": np.stack([none, *insertion, whole], 1),
    }
