"""What notebook 08 asks of single networks: the loss around them and along directions, twins that answer the same with
other weights, and five measures at once."""

import copy
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from scipy.linalg import eigh_tridiagonal
from torch import nn

from kdlab.measure.flatness import Hessian, sharpness
from kdlab.measure.lanczos import Scaled, extremes, lanczos, trace
from kdlab.measure.minima import Pairs
from kdlab.measure.surface import curve, filter_direction, filter_scale, surface

#: The direction of the largest eigenvalue, among random ones.
STEEPEST = "the steepest"


class Walk(NamedTuple):
    """Along one direction from a network: places ``at (A,)`` in steps, ``losses (A,)`` in nats and ``accuracies (A,)``
    in percent on the clips of the walk."""

    at: np.ndarray
    losses: np.ndarray
    accuracies: np.ndarray


def relief(net: nn.Module, clips: Pairs, around: np.ndarray) -> np.ndarray:
    """Loss in nats ``(A, A)`` around ``net`` in two random filter-normalised directions, ``around (A,)`` steps."""
    hessian = Hessian(net, clips)
    return surface(hessian, filter_direction(hessian, 0), filter_direction(hessian, 1), around, around)


def directions(hessian: Hessian, randoms: int = 2, steps: int = 16) -> dict[str, torch.Tensor]:
    """Name → direction ``(P,)``: some drawn at random, and that of the largest eigenvalue as ``steps`` of Lanczos find
    it. All are as long as the first random one, so that steps in them can be compared."""
    found = {f"random {k + 1}": filter_direction(hessian, k) for k in range(randoms)}
    run, length = lanczos(hessian, steps), found["random 1"].norm()
    _, vectors = eigh_tridiagonal(run.diagonal, run.beside[:-1])
    steepest = torch.from_numpy(vectors[:, -1]).to(run.basis) @ run.basis
    return found | {STEEPEST: (length * steepest / steepest.norm()).to(found["random 1"])}


def walks(net: nn.Module, clips: Pairs, at: np.ndarray, steps: int = 16) -> dict[str, Walk]:
    """A :class:`Walk` of steps ``at (A,)`` along each of :func:`directions`."""
    hessian, found = Hessian(net, clips), {}
    for name, direction in directions(hessian, steps=steps).items():
        values = []
        for step in at:
            with hessian.moved(step * direction):
                values.append(hessian.value())
        losses, accuracies = np.array(values).T
        found[name] = Walk(at, losses, 100 * accuracies)
    return found


def rises(hessian: Hessian, count: int, at: np.ndarray) -> np.ndarray:
    """How much the loss rises along ``count`` random filter-normalised directions: ``(count, A)`` nats."""
    base = hessian.value()[0]
    return np.stack([curve(hessian, filter_direction(hessian, k), at) - base for k in range(count)])


def rescaled(net: nn.Module, c: float) -> nn.Module:
    """A copy that computes the same from other weights: in each residual block of a compressed network, convolutions
    before a batch norm times ``c``, which the norm's statistics take back. Raises ``ValueError`` where there is none.
    """
    twin = copy.deepcopy(net)
    blocks = [block for block in twin.modules() if hasattr(block, "conv1") and hasattr(block, "bn1")]
    if not blocks:
        raise ValueError(f"{type(net).__name__} has no residual block with conv1 and bn1: nothing to rescale")
    with torch.no_grad():
        for conv, norm in (pair for b in blocks for pair in ((b.conv1, b.bn1), (b.conv2, b.bn2))):
            conv.weight *= c
            norm.running_mean *= c
            norm.running_var.add_(norm.eps).mul_(c**2).sub_(norm.eps)
    return twin


def five(net: nn.Module, clips: Pairs, quick: bool = False) -> dict[str, float]:
    """Five of the six measures (the sixth, the density, is a curve): first the raw ones, then those that a scale of
    filters does not move. Of the Gauss-Newton matrix, which has no negative eigenvalue and here the same trace;
    ``quick``: only roughly."""
    hessian = Hessian(net, clips, gauss_newton=True)
    ends = extremes(hessian, 1.0 if quick else 1e-2, max_steps=60, smallest=False)
    normal = Scaled(hessian, filter_scale(hessian))
    return {"trace": trace(hessian, ends.run, 0.1, 4, 8).value, "largest eigenvalue": ends.largest,
            "SAM 0.05": sharpness(hessian, 0.05, steps=1, starts=1).ascent,
            "ASAM 0.5": sharpness(hessian, 0.5, True, steps=1, starts=1).ascent,
            "filter-normalised": trace(normal, None, 0.1, 8, 8).value}


def moved(ratios: Sequence[float], least: float = 1.3) -> bool:
    """Whether a measure is moved by a rescaling that changes no answer: by a factor of ``least`` or more."""
    return float(np.abs(np.log(np.asarray(ratios, float))).max()) > np.log(least)
