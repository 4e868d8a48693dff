"""Trace and extreme eigenvalues of a matrix that is known by its products alone (docs/methods.md, 5).

An operator has ``size`` P, ``dtype``, ``device`` and ``product``, rows ``(k, P)`` → ``(k, P)``. Its trace also needs
``blocks`` of the diagonal and products ``within`` them, as a :class:`kdlab.measure.flatness.Hessian` has. Products are
the main cost, so each serves twice. One Lanczos run gives the extreme eigenvalues *and* a subspace on which the trace
is exact. Probes then estimate the trace outside this subspace, where their variance is small: the few large eigenvalues
are gone. The variance itself is estimated from all numbers of a probe's image, which is far more precise than an
estimate from the probes' sums.
"""

import warnings
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from scipy.linalg import eigh_tridiagonal
from scipy.special import ndtri, stdtrit

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

    def __init__(self, operator, scale: torch.Tensor):
        self.operator, self.scale = operator, scale
        self.size, self.dtype, self.device = operator.size, operator.dtype, operator.device
        self.blocks = operator.blocks

    def product(self, rows: torch.Tensor) -> torch.Tensor:
        return self.scale * self.operator.product(rows * self.scale)

    def within(self, probes: Sequence[tuple[int, torch.Tensor]]) -> list[torch.Tensor]:
        images = self.operator.within(
            [(b, (row * self._part(b)).to(self.dtype)) for b, row in probes]
        )
        return [
            (image * self._part(b)).to(self.dtype)
            for (b, _), image in zip(probes, images, strict=True)
        ]

    def _part(self, block: int) -> torch.Tensor:
        return self.scale[self.blocks[block]]


class Krylov(NamedTuple):
    """A Lanczos run of m steps. In the orthonormal rows of ``basis (m, P)`` the operator is tridiagonal, with
    ``diagonal`` and ``beside``, each ``(m,)``. The last of ``beside`` couples the basis to the next vector, ``beyond
    (P,)``, of length 1."""

    basis: torch.Tensor
    diagonal: np.ndarray
    beside: np.ndarray
    beyond: torch.Tensor

    @property
    def captured(self) -> float:
        """The trace of the operator on the span of the basis."""
        return float(self.diagonal.sum())

    def outside(self, block: slice, row: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
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
    ``run``. ``residuals`` ‖Hy − θy‖ of (largest, smallest) are relative: the first to the largest eigenvalue, the
    second to the larger magnitude of the two."""

    largest: float
    smallest: float
    residuals: tuple[float, float]
    run: Krylov


class Trace(NamedTuple):
    """An estimate of the trace, and its standard ``error``. ``probes``, ``(n,)`` for each block, estimate the trace of
    the block outside the known subspace; ``spread (blocks,)`` is their standard deviation.

    The interval of ± 1.96 errors contains the truth in 95 of 100 cases: Student's t widens an error from few probes.
    """

    value: float
    error: float
    probes: tuple[np.ndarray, ...]
    spread: np.ndarray


class _Block:
    """The probes of one block: their ``values``, and the variance of such probes, estimated from their images.

    Let d = v ∘ Hv be the numbers of a probe v, whose value is their sum. Under random signs, d_i has the variance
    Σ_{j≠i} H_ij², and the sum has twice the sum of these variances. So 2 Σ‖d − mean d‖² / (n − 1) estimates the
    variance of the values without bias. A few probes suffice for it, since it averages very many numbers. The variance
    of a few *values* would be unreliable: two that agree by chance would stop the search, and often do.
    """

    def __init__(self):
        self.values, self.mean, self.apart = [], 0.0, 0.0

    def add(self, numbers: torch.Tensor) -> None:
        self.values.append(
            sum(float(part.sum(dtype=torch.float64)) for part in numbers.split(PIECE))
        )
        away = numbers - self.mean
        self.mean = self.mean + away / len(self.values)
        self.apart += dot(away, away) * (len(self.values) - 1) / len(self.values)

    @property
    def spread(self) -> float:
        """The standard deviation of one probe's value."""
        return (2 * self.apart / (len(self.values) - 1)) ** 0.5


def _signs(operator, count: int, size: int, generator: torch.Generator) -> torch.Tensor:
    coins = torch.randint(0, 2, (count, size), generator=generator, dtype=torch.int8)
    return coins.to(operator.device, operator.dtype).mul_(2).sub_(1)


def _steps(operator, steps: int, start: torch.Tensor | None, seed: int) -> Iterator[Krylov]:
    steps = min(steps, operator.size)
    basis = torch.empty(
        min(steps + 1, _ROWS), operator.size, dtype=operator.dtype, device=operator.device
    )
    if (
        start is None
    ):  # random signs can be orthogonal to an eigenvector of a few weights, numbers almost surely not
        start = torch.randn(operator.size, generator=seeded(seed, 2), dtype=torch.float64)
    basis[0] = start
    basis[0] /= dot(basis[0], basis[0]) ** 0.5
    diagonal, beside = [], []
    for m in range(1, steps + 1):
        w = operator.product(basis[m - 1 : m])[0].double()
        diagonal.append(dot(basis[m - 1], w))
        known, again = (
            basis[:m].split(PIECE, 1),
            torch.zeros(m, dtype=torch.float64, device=w.device),
        )
        for rows, part in zip(known, w.split(PIECE), strict=True):
            part.sub_(rows[-1], alpha=diagonal[-1])
            if m > 1:
                part.sub_(rows[-2], alpha=beside[-1])
            again += rows @ part.to(rows.dtype)
        # Exact arithmetic needs no more. Without this, rounding makes copies of eigenvalues that have converged.
        for rows, part in zip(known, w.split(PIECE), strict=True):
            part.sub_(again.to(rows.dtype) @ rows)
        beside.append(dot(w, w) ** 0.5)
        if m == len(basis):  # allocated late, since most searches end long before ``steps``
            basis = torch.cat([basis, basis.new_empty(min(m, steps + 1 - m), operator.size)])
        for part, piece in zip(w.split(PIECE), basis[m].split(PIECE), strict=True):
            piece.copy_(part.div_(beside[-1] or 1.0))
        yield Krylov(basis[:m], np.array(diagonal), np.array(beside), basis[m])
        if beside[-1] <= 100 * torch.finfo(operator.dtype).eps * np.abs(diagonal + beside).max():
            return


def dot(a: torch.Tensor, b: torch.Tensor) -> float:
    """The dot product of two vectors in fp64, piece by piece: fp32 sums over millions of weights lose three digits."""
    return sum(
        float(x.double() @ y.double()) for x, y in zip(a.split(PIECE), b.split(PIECE), strict=True)
    )


def lanczos(operator, steps: int, start: torch.Tensor | None = None, seed: int = 0) -> Krylov:
    """A Lanczos run of ``steps`` products from ``start (P,)`` (default: Gaussian). It has fewer where the operator
    maps the span of the basis to itself."""
    *_, last = _steps(operator, steps, start, seed)
    return last


def extremes(
    operator, tolerance: float = 1e-2, max_steps: int = 100, smallest: bool = True, seed: int = 0
) -> Extremes:
    """Extreme eigenvalues by Lanczos, which stops when the residuals are below ``tolerance`` and the largest eigenvalue
    changes by less than 0.1 % per step.

    Without ``smallest``, only the residual of the largest eigenvalue counts. Raises ``ValueError`` with the residuals
    when they stay too large. Warns where both eigenvalues are 0, as behind rectifiers that are all dead.
    """
    before = np.inf
    for run in _steps(operator, max_steps, None, seed):
        values, _, residuals = run.ritz()
        sizes = np.maximum((abs(values[-1]), np.abs(values).max()), np.finfo(float).tiny)
        found = Extremes(
            float(values[-1]), float(values[0]), tuple((residuals[[-1, 0]] / sizes).tolist()), run
        )
        good = max(found.residuals[: 1 + smallest]) <= tolerance
        if good and abs(found.largest - before) <= 1e-3 * abs(found.largest):
            break
        before = found.largest
    if not good:
        raise ValueError(
            f"after {len(run.diagonal)} Lanczos steps the largest eigenvalue {found.largest:.4g} has a "
            f"relative residual of {found.residuals[0]:.2g}, the smallest, {found.smallest:.4g}, one of "
            f"{found.residuals[1]:.2g}; asked for: {tolerance:g}. Raise max_steps or tolerance."
        )
    if found.largest == found.smallest == 0:
        warnings.warn(
            "the operator maps a Gaussian vector to 0: there is no curvature to compare",
            stacklevel=2,
        )
    return found


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
    blocks, generator = operator.blocks, seeded(seed, 3)
    all_of = [_Block() for _ in blocks]
    wanted = np.full(len(blocks), max(FIRST, -(-min_probes // len(blocks))))
    while True:
        for start in range(
            0, max(wanted), FIRST
        ):  # the probes of FIRST turns share a pass, and its graphs
            due = [
                b
                for turn in range(start, start + FIRST)
                for b in range(len(blocks))
                if len(all_of[b].values) <= turn < wanted[b]
            ]
            if not due:
                continue
            rows = [
                _signs(operator, 1, blocks[b].stop - blocks[b].start, generator)[0] for b in due
            ]
            for b, row, image in zip(
                due, rows, operator.within(list(zip(due, rows, strict=True))), strict=True
            ):
                all_of[b].add(row * (known.outside(blocks[b], row, image) if known else image))
        counts, spread = (
            np.array(part)
            for part in zip(*((len(b.values), b.spread) for b in all_of), strict=True)
        )
        # One degree of freedom per probe, in any block: images give more, but the probes' values are skewed.
        widened = float(stdtrit(sum(counts - 1), 0.975) / ndtri(0.975))
        value = (known.captured if known else 0.0) + sum(float(np.mean(b.values)) for b in all_of)
        error = float(widened * np.sqrt((spread**2 / counts).sum()))
        allowed = np.float64(
            relative_error * abs(value)
        )  # of a trace of 0 it is 0, and NumPy divides by that
        with np.errstate(divide="ignore", invalid="ignore"):
            ideal = np.nan_to_num(spread * spread.sum() * (widened / allowed) ** 2, nan=0.0)
        wanted = np.minimum(
            np.clip(np.ceil(ideal), counts, 2 * counts), np.maximum(counts, max_probes)
        ).astype(int)
        if error <= allowed or (wanted == counts).all():
            return Trace(value, error, tuple(np.array(b.values) for b in all_of), spread)
