"""The loss along filter-normalised directions.

docs/methods.md, 5. Random directions show the bulk of the spectrum and miss the largest eigenvalue. Batch-norm buffers
stay those of the centre, so they no longer match the weights away from it.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from kdlab.measure.flatness import Hessian, flat
from kdlab.train.device import seeded


def _filters(hessian: Hessian, rows: Callable[[Tensor], Tensor]) -> Tensor:
    """One vector ``(P,)`` of ``rows`` applied to each weight as ``(filters, filter size)``; 0 for biases and norms."""
    return flat(
        rows(w.detach().double().flatten(1)) if w.dim() > 1 else torch.zeros_like(w)
        for w in hessian.weights
    )


def filter_direction(hessian: Hessian, seed: int = 0) -> Tensor:
    """A Gaussian direction ``(P,)`` in which every filter (an output channel of a convolution, a row of a linear layer)
    has the same norm as the network's filter (Li et al., arXiv 1712.09913)."""
    generator = seeded(seed, 5)

    def rows(w: Tensor) -> Tensor:
        d = torch.randn(w.shape, generator=generator, dtype=torch.float64).to(w.device)
        return d * (w.norm(dim=1, keepdim=True) / (d.norm(dim=1, keepdim=True) + 1e-10))

    return _filters(hessian, rows)


def filter_scale(hessian: Hessian) -> Tensor:
    """‖filter‖ / √(filter size) for each weight ``(P,)``. The trace of ``Scaled(hessian, filter_scale(hessian))`` is
    the expected curvature of :func:`curve` at 0. It is invariant to a scale of filters that the next layer undoes."""
    return _filters(
        hessian, lambda w: (w.norm(dim=1, keepdim=True) / w.shape[1] ** 0.5).expand_as(w)
    )


def curve(hessian: Hessian, direction: Tensor, at: np.ndarray) -> np.ndarray:
    """The losses ``(A,)`` at w + a × ``direction`` for each a of ``at (A,)``. For a surface over two directions, call it
    within ``hessian.moved(b * second)`` for each b."""
    losses = []
    for a in at:
        with hessian.moved(a * direction):
            losses.append(hessian.value())
    return np.array(losses)
