"""One trained network in numbers: how flat the loss around it is, by every measure.

All networks that are compared see the same clips, each in its own modality, standardised by its own statistics; batch
norm is in evaluation mode (docs/methods.md, 5). A network of the study costs a dozen products, and as many gradients
and losses again.
"""

from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from torch import nn

from kdlab.measure.flatness import Hessian, sharpness
from kdlab.measure.lanczos import extremes, trace
from kdlab.measure.surface import curvature, curve, filter_direction, width
from kdlab.system.values import integer, positive
from kdlab.train.loop import one_thread
from kdlab.train.preparing import batches
from kdlab.train.recipe import Recipe

#: Mini-batches ``(inputs, labels)``.
Pairs = list[tuple[torch.Tensor, torch.Tensor]]
#: Radii of SAM's and ASAM's balls.
RADII = (0.05, 0.5)
#: By how many nats a filter-normalised curve is to rise.
RISES = (0.1, 1.0)
#: Where curves are looked at, going out from the network: a step of 1 is as long as the weights themselves.
STEPS = (0.05, 0.1, 0.2, 0.3, 0.45, 0.65, 0.9, 1.25)


def samples(recipe: Recipe, split: str = "train", per_class: int | None = None, at_once: int = 96) -> Pairs:
    """The first ``per_class`` clips of each class (default: all) of a ``split``, as the recipe's network sees them.

    Centre views in the catalogue's order, so that recipes which differ in view or network only get the same clips.
    Up to ``at_once`` clips are one mini-batch, whose graph then serves every product.
    """
    integer(1, at_once=at_once)
    if per_class is not None:
        integer(1, per_class=per_class)
    clips = batches(recipe, split, {"student": recipe.view})
    if per_class is not None:
        labels = pd.Series([record.label for record in clips.records])
        chosen = np.flatnonzero(labels.groupby(labels).cumcount() < per_class)
        clips = replace(clips, records=[clips.records[i] for i in chosen])
    with one_thread():
        loaded = list(clips.evaluation())
    x, y = (torch.cat(parts) for parts in zip(*((b.views["student"], b.labels) for b in loaded), strict=True))
    return list(zip(x.split(at_once), y.split(at_once), strict=True))


def flatness(net: nn.Module, clips: Pairs, *, error: float = 0.1, probes: int = 16, least: int = 10, most: int = 80,
             tolerance: float = 1e-2, directions: int = 6, ascent: int = 3) -> dict[str, float]:
    """Metric → value on ``clips``; the standard error of the trace is ``error`` of it, or that of ``probes``.

    ``least`` to ``most`` Lanczos steps are taken, to a residual of ``tolerance``; the trace uses them too. SAM and ASAM
    go up for ``ascent`` steps from the gradient's. Radii are infinite where most ``directions`` never rise so far.
    Raises what :class:`Hessian` and :func:`kdlab.measure.lanczos.extremes` do: nothing is measured on shuffled clips,
    or from NaN.
    """
    positive(error=error, tolerance=tolerance)
    integer(1, probes=probes, least=least, most=most, directions=directions)
    integer(0, ascent=ascent)
    hessian = Hessian(net, clips)
    loss, gradient = hessian.gradient()
    ends = extremes(hessian, tolerance, least, most)
    estimate = trace(hessian, ends.run, error, 4, probes)
    row = {"train_loss": loss, "gradient_norm": float(gradient.norm()), "products": hessian.products}
    row |= {"hessian_trace": estimate.value, "hessian_trace_error": estimate.error}
    row |= {"trace_per_weight": estimate.value / hessian.size}
    row |= {"lambda_max": ends.largest, "lambda_max_residual": ends.residuals[0]}
    row |= {"lambda_min": ends.smallest, "lambda_min_residual": ends.residuals[1]}
    for radius in RADII:
        for kind in ("sam", "asam"):
            found = sharpness(hessian, radius, kind == "asam", steps=ascent, starts=1, here=(loss, gradient))
            row[f"{kind}_{radius:g}"] = found.ascent
    return row | curves(hessian, directions)


def curves(hessian: Hessian, directions: int = 6, seed: int = 0) -> dict[str, float]:
    """Curvature at 0 of filter-normalised curves, its mean and standard error over ``directions``, and the median
    radius (half the width) within which they rise by less than each of :data:`RISES`."""
    bends, radii = [], []
    for k in range(directions):
        at, losses = walked(hessian, filter_direction(hessian, 1000 * seed + k))
        bends.append(curvature(at, losses))
        radii.append([width(at, losses, rise) / 2 for rise in RISES])
    error = float(np.std(bends, ddof=1) / len(bends) ** 0.5) if directions > 1 else np.nan
    found = {"filter_curvature": float(np.mean(bends)), "filter_curvature_error": error}
    return found | {f"filter_radius_{rise:g}": float(r) for rise, r in zip(RISES, np.median(radii, 0), strict=True)}


def walked(hessian: Hessian, direction: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """A curve ``at (A,)``, ``losses (A,)`` outwards from 0 on both sides, each until it has risen as far as it may."""
    found = {0.0: hessian.value()[0]}
    for sign in (1, -1):
        for step in STEPS:
            found[sign * step] = curve(hessian, direction, np.array([sign * step]))[0]
            if not found[sign * step] - found[0.0] < max(RISES) and step >= 0.1:  # curvature needs the points up to 0.1
                break
    at, losses = zip(*sorted(found.items()), strict=True)
    return np.array(at), np.array(losses)
