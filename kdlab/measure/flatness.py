"""The loss of a network as a function of its weights: gradient, Hessian products, SAM's and ASAM's sharpness.

docs/methods.md, 5: fixed clips, evaluation mode (fixed batch-norm buffers, no dropout), no weight decay, fp32 or fp64,
sums in fp64. A Hessian depends on its coordinates: the traces of two networks that compute the same function can have
any ratio. The Hessian of a cross-entropy shrinks as confidence grows.
"""

import contextlib
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from kdlab.nets.layers import evaluating, graph_of, one_thread
from kdlab.system.values import integer, positive
from kdlab.train.device import seeded

#: The number of blocks into which a network's weights are cut for the trace. With more blocks the variance of probes
#: falls, but each block needs its own probes (benchmarks/flatness.py).
BLOCKS = 8


def flat(tensors: Iterable[Tensor]) -> Tensor:
    """All ``tensors`` as one vector ``(P,)`` in fp64."""
    return torch.cat([t.detach().reshape(-1) for t in tensors]).double()


class Hessian:
    """The mean loss of ``net`` over ``data`` as a function of the P weights that need gradients: its value, gradient
    ``(P,)`` and Hessian products.

    ``data`` gives the same ``(inputs, labels)`` mini-batches in every pass: a list, a loader, or
    a function that returns an iterator. ``criterion(outputs, labels)`` is a mean over its mini-batch. ``gauss_newton``
    leaves out the network's own curvature: with a convex criterion, no eigenvalue is then negative.

    ``blocks`` are the slices of the weights for :func:`kdlab.measure.lanczos.trace`: whole layers, at most
    :data:`BLOCKS` slices. Memory holds one graph, which the rows of one :meth:`product` share. The graph of a single
    mini-batch is kept until a weight changes, so give all clips at once if they fit. Norms are not folded into
    convolutions. Folding would save a third of the time, but rounds differently: in fp32 some rectifiers would switch,
    which changes the products of a large network by a thousandth.

    Raises ``ValueError`` in inference mode, without weights to measure or a gradient, for half precision, NaN or no
    data, and where two passes differ (augmented data, a random layer).
    """

    def __init__(
        self,
        net: nn.Module,
        data: Iterable | Callable,
        *,
        criterion: Callable = F.cross_entropy,
        gauss_newton: bool = False,
    ):
        self.weights = [w for w in net.parameters() if w.requires_grad]
        _check_weights(net, self.weights)
        self.net, self.data, self.criterion, self.gauss_newton = net, data, criterion, gauss_newton
        self.dtype, self.device = self.weights[0].dtype, self.weights[0].device
        self._kept = None, None
        self._parts = _stretches(self.weights)
        ends = np.cumsum([0, *(w.numel() for w in self.weights)]).tolist()
        self.size = ends[-1]
        self.blocks = [slice(ends[part.start], ends[part.stop]) for part in self._parts]
        self._check_passes()

    @classmethod
    def of(cls, loss: Callable[[], Tensor], weights: Sequence[nn.Parameter]) -> "Hessian":
        """The Hessian of any ``loss()`` in ``weights``, such as a formula or a loss that is no mean over mini-batches."""
        net = nn.Module()
        net.weights, net.forward = nn.ParameterList(weights), lambda _: loss()
        return cls(net, [(torch.zeros(1), torch.zeros(1))], criterion=lambda value, _: value)

    def value(self) -> float:
        """The loss."""
        total = 0.0
        with self._mode(), torch.no_grad():
            for x, y in self._batches():
                total += len(y) * float(self.criterion(self.net(x), y))
        return total / self.samples

    def gradient(self) -> tuple[float, Tensor]:
        """Loss and its gradient ``(P,)`` in fp64."""
        total = gradient = 0
        with self._mode():
            for x, y in self._batches():
                loss = self.criterion(self.net(x), y)
                if not loss.requires_grad:
                    raise ValueError(
                        f"the loss has no gradient: {type(self.net).__name__} detaches what it computes"
                    )
                slopes = torch.autograd.grad(loss, self.weights, materialize_grads=True)
                total += len(y) * float(loss.detach())
                gradient += len(y) * flat(slopes)
        return total / self.samples, gradient / self.samples

    def product(self, rows: Tensor) -> Tensor:
        """The Hessian times each row of ``(k, P)``: ``(k, P)`` in fp64."""
        images = torch.zeros(len(rows), self.size, dtype=torch.float64, device=self.device)
        self._add([(slice(None), row) for row in rows], images)
        return images

    def within(self, probes: Sequence[tuple[int, Tensor]]) -> list[Tensor]:
        """H v within one block, ``(P_block,)``, for each pair (block number, ``v (P_block,)``) in ``probes``; v is 0 in
        all other weights.

        Only the graph behind the block is computed, so products in the last layers cost very little.
        """
        images = [torch.zeros_like(row) for _, row in probes]
        self._add([(self._parts[block], row) for block, row in probes], images)
        return images

    def _add(self, rows: Sequence[tuple[slice, Tensor]], images: Iterable[Tensor]) -> None:
        """Add the Hessian times each row to the matching one of ``images``, within the row's part of the weights."""
        with self._mode():
            for size, times in self._graphs():
                for (part, row), image in zip(rows, images, strict=True):
                    pieces = times(self._split(row, part), part)
                    whole = torch.cat([piece.reshape(-1) for piece in pieces])
                    image.add_(whole, alpha=size / self.samples)
                del times  # frees its graph before the next one is built

    @contextlib.contextmanager
    @torch.no_grad()
    def moved(self, step: Tensor):
        """A context in which the weights are moved by ``step (P,)``. Afterwards they are restored bit by bit."""
        before = [w.clone() for w in self.weights]
        try:
            for w, s in zip(self.weights, self._split(step), strict=True):
                w.add_(s)
            yield
        finally:
            for w, b in zip(self.weights, before, strict=True):
                w.copy_(b)

    def _split(self, row: Tensor, part: slice = slice(None)) -> list[Tensor]:
        """One tensor per weight, in the weight's memory layout: convolutions would convert others in every product."""
        weights = self.weights[part]
        pieces = row.split([w.numel() for w in weights])
        return [
            torch.empty_like(w).copy_(piece.view(w.shape))
            for piece, w in zip(pieces, weights, strict=True)
        ]

    @contextlib.contextmanager
    def _mode(self):
        if torch.is_inference_mode_enabled():
            raise ValueError(
                "flatness needs gradients, which inference mode forbids: leave torch.inference_mode()"
            )
        with (
            evaluating(self.net),
            torch.enable_grad(),
            torch.autocast(self.device.type, enabled=False),
            # The fused attention kernels have no second derivative; the plain kernel computes the same function.
            sdpa_kernel(SDPBackend.MATH),
            one_thread(self.device.type),
        ):
            yield

    def _batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        samples = 0
        for x, y in self.data() if callable(self.data) else self.data:
            samples += len(y)
            dtype = self.dtype if x.is_floating_point() else None
            yield x.to(self.device, dtype), y.to(self.device)
        if not samples:
            raise ValueError(
                "the data holds no mini-batch with samples, or is used up by one pass: give a list, or "
                "a function that returns an iterator"
            )
        self.samples = samples

    def _graphs(self) -> Iterator[tuple[int, Callable]]:
        """The number of samples in each mini-batch, and the function v → H v on it."""
        state = [w._version for w in self.weights]  # autograd's own count of changes in place
        if self._kept[0] == state:
            yield self._kept[1]
            return
        self._kept = None, None
        for x, y in self._batches():
            graph = None  # frees the last one
            graph = len(y), _times(self.net, self.criterion, x, y, self.weights, self.gauss_newton)
            if len(y) == self.samples:  # the only mini-batch
                self._kept = state, graph
            yield graph

    def _check_passes(self) -> None:
        (loss, gradient), (again, other) = self.gradient(), self.gradient()
        if not np.isfinite(loss):
            raise ValueError(f"the loss is {loss}: look at the inputs and the weights")
        rounding = 1e3 * torch.finfo(self.dtype).eps
        apart = abs(loss - again), (gradient - other).norm()
        if apart[0] > rounding * abs(loss) or apart[1] > rounding * gradient.norm():
            raise ValueError(
                f"two passes over the data differ (losses {loss:.9g} and {again:.9g}): a loader that "
                "augments, or a layer that is random in evaluation mode"
            )


def _check_weights(net: nn.Module, weights: Sequence[Tensor]) -> None:
    if not weights:
        raise ValueError(
            f"{type(net).__name__} has no parameter to measure that needs gradients: call "
            "net.requires_grad_(True)"
        )
    for name, weight in net.named_parameters():
        if weight.dtype not in (torch.float32, torch.float64):
            raise ValueError(
                f"{name} is {weight.dtype}; flatness needs fp32 or fp64: "
                "call net.float(), and let no weight be complex"
            )


def _stretches(weights: Sequence[Tensor]) -> list[slice]:
    """At most :data:`BLOCKS` slices of consecutive ``weights``, with equal numbers of layers. A layer is a weight of
    two or more dimensions with the biases and norms that follow it."""
    layers = [i for i, w in enumerate(weights) if w.dim() > 1 or i == 0]
    count = min(BLOCKS, len(layers))
    chosen = [layers[len(layers) * i // count] for i in range(count)]
    return [slice(*pair) for pair in itertools.pairwise([*chosen, len(weights)])]


def _times(net, criterion, x, y, weights, gauss_newton: bool) -> Callable[..., Sequence]:
    """The function (v, part) → H v within ``part`` of the weights, or with ``gauss_newton`` Jᵀ C J v. J is the Jacobian
    of the outputs, C the Hessian of the criterion."""
    z = net(x)
    if not gauss_newton:
        gradient = _gradient(criterion(z, y), weights)
        return lambda vector, part: _gradient(gradient[part], weights[part], vector, last=True)
    free, u = z.detach().requires_grad_(), torch.zeros_like(z, requires_grad=True)
    slope = _gradient(criterion(free, y), [free])
    back = _gradient(z, weights, [u])  # Jᵀu is linear in u, so its derivative gives Jv

    def times(vector, part):
        forward = _gradient(back[part], [u], vector, last=True)
        return _gradient(z, weights[part], _gradient(slope, [free], forward, last=True), last=True)

    return times


def _gradient(outputs, inputs, vectors=None, last: bool = False) -> Sequence[Tensor]:
    """The gradient, with a graph of its own unless it is the ``last``; zeros where ``outputs`` do not depend on
    ``inputs``. Raises ``ValueError`` for an operation without a second derivative."""
    outputs = [outputs] if isinstance(outputs, Tensor) else outputs
    vectors = vectors or [None] * len(outputs)
    pairs = [(z, v) for z, v in zip(outputs, vectors, strict=True) if z.requires_grad]
    if not pairs:  # a loss that is linear in the weights
        return [torch.zeros_like(w) for w in inputs]
    outputs, vectors = zip(*pairs, strict=True)
    settings = dict(retain_graph=True, create_graph=not last, materialize_grads=True)
    try:
        gradients = torch.autograd.grad(outputs, inputs, vectors, **settings)
    except RuntimeError as error:
        if "not implemented" not in str(error):
            raise
        raise ValueError(f"an operation has no second derivative: {error}") from error
    # For a function marked once_differentiable, torch would silently return zeros.
    if not last and any("Error" in node.name() for node in graph_of(gradients)):
        own = torch.autograd.function.BackwardCFunction
        names = sorted({node.name() for node in graph_of(outputs) if isinstance(node, own)})
        raise ValueError(
            f"an operation has no second derivative: {', '.join(names)} is once_differentiable"
        )
    return gradients


class Sharpness(NamedTuple):
    """The rise of the loss within a ball: ``one_step`` by SAM's single step (nan where the gradient is only rounding),
    and ``ascent`` by projected ascent, which is at least as large."""

    one_step: float
    ascent: float


def sharpness(
    hessian: Hessian, radius: float = 0.05, adaptive: bool = False, steps: int = 20
) -> Sharpness:
    """max L(w + ε) − L(w) over ‖ε‖ ≤ ``radius`` (SAM, arXiv 2010.01412), or over ‖ε / |w|‖ ≤ ``radius`` (``adaptive``:
    ASAM, arXiv 2102.11600; blind to a scale that the next layer takes back).

    The gradient is that of all samples. Ascent begins with SAM's step (at a minimum, where that is 0/0, with a random
    one and its opposite), and takes ``steps`` more of length ``radius``, projected into the ball. (Steps of ``radius`` /
    5 were never better, and stayed 0.1 % below a closed form. Away from a minimum, one or two are enough.)
    """
    positive(radius=radius)
    integer(0, steps=steps)
    stretch = flat(hessian.weights).abs() if adaptive else 1.0
    base, gradient = hessian.gradient()
    start, rises = stretch * gradient, []
    # A rise within rounding has no direction.
    blind = radius * float(start.norm()) <= torch.finfo(hessian.dtype).eps * max(1.0, abs(base))
    if blind:
        start = torch.randn(hessian.size, generator=seeded(0, 4), dtype=torch.float64).to(start)
    for first in (start, -start) if blind else (start,):
        u = first * (radius / first.norm())
        for _ in range(steps):
            with hessian.moved(stretch * u):
                loss, gradient = hessian.gradient()
            rises.append(loss - base)
            slope = stretch * gradient
            u = u + slope * (radius / slope.norm().clamp_min(1e-300))
            u = u * (radius / u.norm()).clamp_max(1.0)
        with hessian.moved(stretch * u):
            rises.append(hessian.value() - base)
    return Sharpness(np.nan if blind else rises[0], float(np.max([0.0, *rises])))
