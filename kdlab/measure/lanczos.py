"""Trace and extreme eigenvalues of a matrix that is known by its products alone (docs/methods.md, 5).

An operator has ``size`` P, ``dtype``, ``device`` and ``product``, rows ``(k, P)`` → ``(k, P)``. Its trace also needs
``blocks`` of the diagonal and products ``within`` them, as a :class:`kdlab.measure.flatness.Hessian` has. Products are
the main cost, so each serves twice. One Lanczos run gives the extreme eigenvalues *and* a subspace on which the trace
is exact. Probes then estimate the trace outside this subspace, where their variance is small: the few large eigenvalues
are gone. The variance itself is estimated from all numbers of a probe's image, which is far more precise than an
estimate from the probes' sums.
"""

import itertools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from scipy.linalg import eigh_tridiagonal
from scipy.special import ndtri, stdtrit
from torch import Tensor

from kdlab.train.device import seeded

#: The number of weights per piece in sums and differences of vectors. Pieces that fit a processor's cache cost very
#: little; a copy of millions of weights in another precision costs as much as a product.
PIECE = 1 << 16
#: The number of vectors for which a Lanczos basis allocates memory at first.
_ROWS = 16
#: The initial number of probes per block. Two would give a variance, but leave too few degrees of freedom for
#: Student's t.
FIRST = 3


class Scaled:
    """The operator D H D with the diagonal ``scale (P,)``: H in coordinates in which a step of 1 moves each weight by
    its ``scale``."""

    def __init__(self, operator, scale: Tensor):
        self.operator, self.scale = operator, scale
        self.size, self.dtype, self.device = operator.size, operator.dtype, operator.device
        self.blocks = operator.blocks

    def product(self, rows: Tensor) -> Tensor:
        return self.scale * self.operator.product(rows * self.scale)

    def within(self, probes: Sequence[tuple[int, Tensor]]) -> list[Tensor]:
        images = self.operator.within([(b, self._times(b, row)) for b, row in probes])
        return [self._times(b, image) for (b, _), image in zip(probes, images, strict=True)]

    def _times(self, block: int, row: Tensor) -> Tensor:
        """The row times the scale in its block."""
        return (row * self.scale[self.blocks[block]]).to(self.dtype)


class Krylov(NamedTuple):
    """A Lanczos run of m steps. In the orthonormal rows of ``basis (m, P)`` the operator is tridiagonal, with
    ``diagonal`` and ``beside``, each ``(m,)``. The last of ``beside`` couples the basis to the next vector, ``beyond
    (P,)``, of length 1."""

    basis: Tensor
    diagonal: np.ndarray
    beside: np.ndarray
    beyond: Tensor

    def outside(self, block: slice, row: Tensor, image: Tensor) -> Tensor:
        """``row`` under (I − Q) H (I − Q), ``(P_block,)``, where Q projects onto the basis: the operator H on the
        complement of the basis. ``image`` is H times ``row`` within the block; both are ``(P_block,)``, and the row is
        0 in all other weights."""
        basis, beyond, out = self.basis[:, block], self.beyond[block], float(self.beside[-1])
        inside = (basis @ row).double().cpu().numpy()
        mapped = self.diagonal * inside
        mapped[1:] += self.beside[:-1] * inside[:-1]
        mapped[:-1] += self.beside[:-1] * inside[1:]
        mapped[-1] += out * float(beyond @ row)
        return (
            image - torch.from_numpy(mapped).to(basis) @ basis - (out * float(inside[-1])) * beyond
        )

    def ritz(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Approximate eigenvalues θ, ascending; their weights in the start vector, which sum to 1; and the residuals
        ‖Hy − θy‖."""
        values, vectors = eigh_tridiagonal(self.diagonal, self.beside[:-1])
        return values, vectors[0] ** 2, self.beside[-1] * np.abs(vectors[-1])


class Extremes(NamedTuple):
    """The largest and the smallest eigenvalue (the most negative, not the least in magnitude), and their Lanczos
    ``run``."""

    largest: float
    smallest: float
    run: Krylov


class Trace(NamedTuple):
    """An estimate of the trace, and its standard ``error``. ``probes``, ``(n,)`` for each block, estimate the trace of
    the block outside the known subspace.

    The interval of ± 1.96 errors contains the truth in 95 of 100 cases: Student's t widens an error from few probes.
    """

    value: float
    error: float
    probes: tuple[np.ndarray, ...]


class _Block:
    """The probes of one block: their ``values``, and the variance of such probes, estimated from their images.

    Let d = v ∘ Hv be the numbers of a probe v, whose value is their sum. Under random signs, d_i has the variance
    Σ_{j≠i} H_ij², and the sum has twice the sum of these variances. So 2 Σ‖d − mean d‖² / (n − 1) estimates the
    variance of the values without bias. A few probes suffice for it, since it averages very many numbers. The variance
    of a few *values* would be unreliable: two that agree by chance would stop the search, and often do.
    """

    def __init__(self):
        self.values, self.mean, self.apart = [], 0.0, 0.0

    def add(self, numbers: Tensor) -> None:
        self.values.append(float(numbers.sum(dtype=torch.float64)))
        away = numbers - self.mean
        self.mean = self.mean + away / len(self.values)
        self.apart += dot(away, away) * (len(self.values) - 1) / len(self.values)

    @property
    def spread(self) -> float:
        """The standard deviation of one probe's value."""
        return (2 * self.apart / (len(self.values) - 1)) ** 0.5


def _steps(operator, steps: int, start: Tensor | None, seed: int) -> Iterator[Krylov]:
    """The Lanczos run after each of its steps. Its basis is orthogonal to rounding."""
    steps = min(steps, operator.size)
    if start is None:
        # Random signs can be orthogonal to an eigenvector of a few weights, Gaussian numbers almost surely not.
        start = torch.randn(operator.size, generator=seeded(seed, 2), dtype=torch.float64)
    rows = min(steps + 1, _ROWS)
    basis = torch.empty(rows, operator.size, dtype=operator.dtype, device=operator.device)
    basis[0] = start
    basis[0] /= dot(basis[0], basis[0]) ** 0.5
    diagonal, beside = [], []
    for m in range(1, steps + 1):
        w = operator.product(basis[m - 1 : m])[0].double()
        diagonal.append(dot(basis[m - 1], w))
        _orthogonalise(w, basis[:m], [*beside[-1:], diagonal[-1]])
        beside.append(dot(w, w) ** 0.5)
        if m == len(basis):  # allocated late, since most searches end long before ``steps``
            basis = torch.cat([basis, basis.new_empty(min(m, steps + 1 - m), operator.size)])
        basis[m] = w / (beside[-1] or 1.0)
        yield Krylov(basis[:m], np.array(diagonal), np.array(beside), basis[m])
        if beside[-1] <= 100 * torch.finfo(operator.dtype).eps * np.abs(diagonal + beside).max():
            return


def _orthogonalise(w: Tensor, basis: Tensor, overlaps: Sequence[float]) -> None:
    """Subtract from ``w`` its part in the ``basis``. In exact arithmetic only the last two rows have ``overlaps`` with
    it. The other rows are subtracted too, because rounding would make copies of eigenvalues that have converged."""
    rest = torch.zeros(len(basis), dtype=torch.float64, device=w.device)
    for part, rows in _pieces(w, basis):
        for back, overlap in enumerate(reversed(overlaps), 1):
            part.sub_(rows[-back], alpha=overlap)
        rest += rows @ part.to(rows.dtype)
    for part, rows in _pieces(w, basis):
        part.sub_(rest.to(rows.dtype) @ rows)


def _pieces(*tensors: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """The ``tensors (..., P)``, piece by piece."""
    return zip(*(tensor.split(PIECE, -1) for tensor in tensors), strict=True)


def dot(a: Tensor, b: Tensor) -> float:
    """The dot product of two vectors in fp64, piece by piece: fp32 sums over millions of weights lose three digits."""
    return sum(float(x.double() @ y.double()) for x, y in _pieces(a, b))


def lanczos(operator, steps: int, start: Tensor | None = None) -> Krylov:
    """A Lanczos run of ``steps`` products from ``start (P,)`` (default: Gaussian). It has fewer where the operator
    maps the span of the basis to itself."""
    *_, last = _steps(operator, steps, start, 0)
    return last


def extremes(
    operator, tolerance: float = 1e-2, max_steps: int = 100, smallest: bool = True, seed: int = 0
) -> Extremes:
    """Extreme eigenvalues by Lanczos, which stops when the residuals are below ``tolerance`` and the largest eigenvalue
    changes by less than 0.1 % per step. Residuals ‖Hy − θy‖ are relative: that of the largest eigenvalue to it, that of
    the smallest to the larger magnitude of the two.

    Without ``smallest``, only the residual of the largest eigenvalue counts. Raises ``ValueError`` with the residuals
    when they stay too large. Both eigenvalues are 0 where there is no curvature, as behind rectifiers that are all dead.
    """
    before = np.inf
    for run in _steps(operator, max_steps, None, seed):
        values, _, residuals = run.ritz()
        largest, least = values[[-1, 0]].tolist()
        sizes = np.maximum((abs(largest), np.abs(values).max()), np.finfo(float).tiny)
        relative = residuals[[-1, 0]] / sizes
        good = max(relative[: 1 + smallest]) <= tolerance
        if good and abs(largest - before) <= 1e-3 * abs(largest):
            break
        before = largest
    if not good:
        raise ValueError(
            f"after {len(run.diagonal)} Lanczos steps the largest eigenvalue {largest:.4g} has a "
            f"relative residual of {relative[0]:.2g}, the smallest, {least:.4g}, one of "
            f"{relative[1]:.2g}; asked for: {tolerance:g}. Raise max_steps or tolerance."
        )
    return Extremes(largest, least, run)


def trace(
    operator,
    known: Krylov | None = None,
    relative_error: float = 0.02,
    min_probes: int = 10,
    max_probes: int = 512,
    seed: int = 0,
) -> Trace:
    """Hutchinson's estimate of the trace by random signs; with ``known``, exact on its span and estimated outside.

    Each probe is zero except in one of the operator's ``blocks``. Couplings between layers add nothing to the trace,
    but most of the variance of its estimate. A probe in one block does not see them, and only computes the graph behind
    its block. Blocks whose probes vary more get more probes (Neyman's allocation).

    With a :func:`lanczos` run as ``known``, this is Hutch++ (arXiv 2010.09649) in its Krylov form (2205.01736), whose
    subspace costs one product per vector. The search begins with ``min_probes`` in all, at least :data:`FIRST` in each
    block. It stops when the standard error is at most ``relative_error`` of the estimate, or when every block that
    needs more probes has ``max_probes``. Probes are independent of the run, at any seed.
    """
    generator = seeded(seed, 3)
    blocks = [_Block() for _ in operator.blocks]
    wanted = np.full(len(blocks), max(FIRST, -(-min_probes // len(blocks))))
    while True:
        _probe(operator, known, blocks, wanted, generator)
        counts = np.array([len(block.values) for block in blocks])
        spread = np.array([block.spread for block in blocks])
        # One degree of freedom per probe, in any block: images give more, but the probes' values are skewed.
        widened = float(stdtrit(sum(counts - 1), 0.975) / ndtri(0.975))
        outside = sum(float(np.mean(block.values)) for block in blocks)
        # the sum of the diagonal is the trace on the span of the basis
        value = (float(known.diagonal.sum()) if known else 0.0) + outside
        error = float(widened * np.sqrt((spread**2 / counts).sum()))
        allowed = relative_error * abs(value)
        wanted = _allocated(counts, spread, allowed / widened, max_probes)
        if error <= allowed or (wanted == counts).all():
            probes = tuple(np.array(block.values) for block in blocks)
            return Trace(value, error, probes)


def _probe(operator, known, blocks: Sequence[_Block], wanted, generator: torch.Generator) -> None:
    """Add random signs to the ``blocks`` until they have ``wanted`` probes. The probes of :data:`FIRST` turns share a
    pass, and its graphs."""
    due = []
    for b, block in enumerate(blocks):
        due += [(turn, b) for turn in range(len(block.values), wanted[b])]
    for _, turns in itertools.groupby(sorted(due), lambda pair: pair[0] // FIRST):
        probes = []
        for _, b in turns:
            place = operator.blocks[b]
            size = place.stop - place.start
            coins = torch.randint(0, 2, (size,), generator=generator, dtype=torch.int8)
            probes.append((b, coins.to(operator.device, operator.dtype).mul_(2).sub_(1)))
        for (b, row), image in zip(probes, operator.within(probes), strict=True):
            if known:
                image = known.outside(operator.blocks[b], row, image)
            blocks[b].add(row * image)


def _allocated(counts: np.ndarray, spread: np.ndarray, error: float, max_probes: int) -> np.ndarray:
    """The number of probes in each block for this ``error`` of their sum (Neyman's allocation): in proportion to the
    block's ``spread``, none less than its ``counts``, and at most twice as many."""
    with np.errstate(divide="ignore", invalid="ignore"):  # a trace of 0 allows no error
        ideal = np.nan_to_num(spread * spread.sum() / np.float64(error) ** 2, nan=0.0)
    most = np.maximum(counts, max_probes)
    return np.clip(np.ceil(ideal), counts, np.minimum(2 * counts, most)).astype(int)
