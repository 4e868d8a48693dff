"""Trace and extreme eigenvalues of a matrix known by its products alone (docs/methods.md, 5).

An operator has ``size`` P, ``dtype``, ``device`` and ``product``, rows ``(k, P)`` → ``(k, P)``; for its trace also
``blocks`` of its diagonal and ``within`` them: a :class:`kdlab.measure.flatness.Hessian`. Products are what costs, so
they serve twice: one Lanczos run gives extreme eigenvalues *and* a subspace on which the trace is known; probes see
what lies outside, where the few large eigenvalues that make them differ are gone. And a probe's image of a
million numbers says more about how much probes differ than its one sum does.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from scipy.linalg import eigh_tridiagonal
from scipy.special import ndtri, stdtrit

from kdlab.train.loop import seeded

#: Weights taken at a time in sums and differences of vectors: what stays in a processor's cache costs hardly anything,
#: copies of millions in another precision as much as a product.
PIECE = 1 << 16
#: Vectors of a Lanczos basis that room is made for at first.
_ROWS = 16
#: Probes with which each block begins. Two would do for its variance, but leave too little of Student's t.
FIRST = 3


class Scaled:
    """D H D for the diagonal ``scale (P,)``: H where a step of 1 is a step of ``scale`` in each weight."""

    def __init__(self, operator, scale: torch.Tensor):
        self.operator, self.scale = operator, scale
        self.size, self.dtype, self.device = operator.size, operator.dtype, operator.device
        self.blocks = operator.blocks

    def product(self, rows: torch.Tensor) -> torch.Tensor:
        return self.scale * self.operator.product(rows * self.scale)

    def within(self, probes: Sequence[tuple[int, torch.Tensor]]) -> list[torch.Tensor]:
        images = self.operator.within([(b, (row * self._part(b)).to(self.dtype)) for b, row in probes])
        return [(image * self._part(b)).to(self.dtype) for (b, _), image in zip(probes, images, strict=True)]

    def _part(self, block: int) -> torch.Tensor:
        return self.scale[self.blocks[block]]


class Krylov(NamedTuple):
    """A Lanczos run of m steps: in the orthonormal rows of ``basis (m, P)`` the operator is tridiagonal, ``diagonal``
    and ``beside``, each ``(m,)``; the last of ``beside`` leads out of the basis, to ``beyond (P,)``, of length 1."""

    basis: torch.Tensor
    diagonal: np.ndarray
    beside: np.ndarray
    beyond: torch.Tensor

    @property
    def captured(self) -> float:
        """The trace of the operator on the span of the basis."""
        return float(self.diagonal.sum())

    def outside(self, block: slice, row: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
        """Of the operator's ``image`` of ``row``, both ``(P_block,)`` and the row 0 elsewhere: what the part of the
        operator that maps the basis's complement to itself has to do with it."""
        basis, beyond, out = self.basis[:, block], self.beyond[block], float(self.beside[-1])
        inside = (basis @ row).double().cpu().numpy()
        mapped = self.diagonal * inside
        mapped[1:] += self.beside[:-1] * inside[:-1]
        mapped[:-1] += self.beside[:-1] * inside[1:]
        mapped[-1] += out * float(beyond @ row)
        return image - torch.from_numpy(mapped).to(basis) @ basis - (out * float(inside[-1])) * beyond

    def ritz(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Approximate eigenvalues, ascending; their weights in the start vector, of sum 1; residuals ‖Hy − θy‖."""
        values, vectors = eigh_tridiagonal(self.diagonal, self.beside[:-1])
        return values, vectors[0] ** 2, self.beside[-1] * np.abs(vectors[-1])


class Extremes(NamedTuple):
    """The largest and the smallest eigenvalue (most negative, not least in magnitude), and the ``run`` behind them.
    ``residuals`` ‖Hy − θy‖ are relative: the largest's to itself, the smallest's to the larger magnitude of the two."""

    largest: float
    smallest: float
    residuals: tuple[float, float]
    run: Krylov


class Trace(NamedTuple):
    """An estimate, its standard ``error``, and what each block's ``probes (n,)`` say of its trace outside the known
    subspace, with standard deviation ``spread (blocks,)``.

    1.96 errors on both sides hold the truth in 95 of 100 cases: an error from few probes is widened by Student's t.
    """

    value: float
    error: float
    probes: tuple[np.ndarray, ...]
    spread: np.ndarray


class _Block:
    """The probes of one block: their ``values``, and from their images how much such probes differ.

    Let d = v ∘ Hv be a probe's numbers, of which it sees the sum. Each has the variance Σ_{j≠i} H_ij² under random
    signs, and their sum has twice the sum of these. So 2 Σ‖d − mean d‖² / (n − 1) is that variance without bias; and as
    it is made of very many numbers, few probes tell it well. Their few *sums* would not: two that agree by chance would
    stop the search, and often do.
    """

    def __init__(self):
        self.values, self.mean, self.apart = [], 0.0, 0.0

    def add(self, numbers: torch.Tensor) -> None:
        self.values.append(sum(float(part.sum(dtype=torch.float64)) for part in numbers.split(PIECE)))
        away = numbers - self.mean
        self.mean = self.mean + away / len(self.values)
        self.apart += dot(away, away) * (len(self.values) - 1) / len(self.values)

    @property
    def spread(self) -> float:
        """Standard deviation of what one probe sees."""
        return (2 * self.apart / (len(self.values) - 1)) ** 0.5


def _signs(operator, count: int, size: int, generator: torch.Generator) -> torch.Tensor:
    coins = torch.randint(0, 2, (count, size), generator=generator, dtype=torch.int8)
    return coins.to(operator.device, operator.dtype).mul_(2).sub_(1)


def _steps(operator, steps: int, start: torch.Tensor | None, seed: int) -> Iterator[Krylov]:
    steps = min(steps, operator.size)
    basis = torch.empty(min(steps + 1, _ROWS), operator.size, dtype=operator.dtype, device=operator.device)
    basis[0] = _signs(operator, 1, operator.size, seeded(seed, 2))[0] if start is None else start.to(basis)
    basis[0] /= dot(basis[0], basis[0]) ** 0.5
    diagonal, beside = [], []
    for m in range(1, steps + 1):
        w = operator.product(basis[m - 1 : m])[0].double()
        diagonal.append(dot(basis[m - 1], w))
        known, again = basis[:m].split(PIECE, 1), torch.zeros(m, dtype=torch.float64, device=w.device)
        for rows, part in zip(known, w.split(PIECE), strict=True):
            part.sub_(rows[-1], alpha=diagonal[-1])
            if m > 1:
                part.sub_(rows[-2], alpha=beside[-1])
            again += rows @ part.to(rows.dtype)
        # In exact arithmetic that is all; without this, rounding makes copies of eigenvalues that have converged.
        for rows, part in zip(known, w.split(PIECE), strict=True):
            part.sub_(again.to(rows.dtype) @ rows)
        beside.append(dot(w, w) ** 0.5)
        if m == len(basis):  # most searches end long before ``steps``
            basis = torch.cat([basis, basis.new_empty(min(m, steps + 1 - m), operator.size)])
        for part, piece in zip(w.split(PIECE), basis[m].split(PIECE), strict=True):
            piece.copy_(part.div_(beside[-1] or 1.0))
        yield Krylov(basis[:m], np.array(diagonal), np.array(beside), basis[m])
        if beside[-1] <= 100 * torch.finfo(operator.dtype).eps * np.abs(diagonal + beside).max():
            return


def dot(a: torch.Tensor, b: torch.Tensor) -> float:
    """Of two vectors, in fp64 over their pieces: fp32 sums over millions of weights lose three digits."""
    return sum(float(x.double() @ y.double()) for x, y in zip(a.split(PIECE), b.split(PIECE), strict=True))


def lanczos(operator, steps: int, start: torch.Tensor | None = None, seed: int = 0) -> Krylov:
    """``steps`` products from ``start (P,)`` (default: random signs); fewer where the operator closes their span."""
    *_, last = _steps(operator, steps, start, seed)
    return last


def extremes(operator, tolerance: float = 1e-2, max_steps: int = 100, smallest: bool = True,
             seed: int = 0) -> Extremes:
    """Extreme eigenvalues by Lanczos, once residuals are below ``tolerance`` and the largest moves by under 0.1 %.

    Without ``smallest`` only the largest is waited for. Raises ``ValueError`` with the residuals
    when they stay too large.
    """
    before = np.inf
    for run in _steps(operator, max_steps, None, seed):
        values, _, residuals = run.ritz()
        sizes = np.maximum((abs(values[-1]), np.abs(values).max()), np.finfo(float).tiny)
        found = Extremes(float(values[-1]), float(values[0]), tuple((residuals[[-1, 0]] / sizes).tolist()), run)
        good = max(found.residuals[: 1 + smallest]) <= tolerance
        if good and abs(found.largest - before) <= 1e-3 * abs(found.largest):
            break
        before = found.largest
    if not good:
        raise ValueError(f"after {len(run.diagonal)} Lanczos steps the largest eigenvalue {found.largest:.4g} has a "
                           f"relative residual of {found.residuals[0]:.2g}, the smallest, {found.smallest:.4g}, one of "
                           f"{found.residuals[1]:.2g}; asked for: {tolerance:g}. Raise max_steps or tolerance.")
    return found


def trace(operator, known: Krylov | None = None, relative_error: float = 0.02, min_probes: int = 10,
          max_probes: int = 512, seed: int = 0) -> Trace:
    """Hutchinson's estimate of the trace by random signs; with ``known``, exact on its span and estimated outside.

    Each probe is 0 but in one of the operator's ``blocks``. What one layer has to do with another adds nothing to a
    trace and most to the variance of its estimate; such probes do not see it, and walk only the graph behind their
    block. Where a block's differ more, it gets more of them (Neyman's allocation).

    With a :func:`lanczos` run that is Hutch++ (arXiv 2010.09649) in its Krylov form (2205.01736), whose subspace costs
    one product a vector. Begins with ``min_probes`` in all, at least :data:`FIRST` in each block, and goes on until the
    standard error is at most ``relative_error`` of the estimate, or every block that is short of probes has
    ``max_probes``. Probes are independent of the run, at any seed.
    """
    blocks, generator = operator.blocks, seeded(seed, 3)
    all_of = [_Block() for _ in blocks]
    wanted = np.full(len(blocks), max(FIRST, -(-min_probes // len(blocks))))
    while True:
        for start in range(0, max(wanted), FIRST):  # those of as many turns share a pass, and its graphs
            due = [b for turn in range(start, start + FIRST) for b in range(len(blocks))
                   if len(all_of[b].values) <= turn < wanted[b]]
            if not due:
                continue
            rows = [_signs(operator, 1, blocks[b].stop - blocks[b].start, generator)[0] for b in due]
            for b, row, image in zip(due, rows, operator.within(list(zip(due, rows, strict=True))), strict=True):
                all_of[b].add(row * (known.outside(blocks[b], row, image) if known else image))
        counts, spread = (np.array(part) for part in zip(*((len(b.values), b.spread) for b in all_of), strict=True))
        # One degree of freedom a probe, whichever block it is in: images tell more, but what probes see is skew.
        widened = float(stdtrit(sum(counts - 1), 0.975) / ndtri(0.975))
        value = (known.captured if known else 0.0) + sum(float(np.mean(b.values)) for b in all_of)
        error, allowed = float(widened * np.sqrt((spread**2 / counts).sum())), relative_error * abs(value)
        with np.errstate(divide="ignore", invalid="ignore"):
            ideal = np.nan_to_num(spread * spread.sum() * (widened / allowed) ** 2, nan=0.0)
        wanted = np.minimum(np.clip(np.ceil(ideal), counts, 2 * counts), np.maximum(counts, max_probes)).astype(int)
        if error <= allowed or (wanted == counts).all():
            return Trace(float(value), error, tuple(np.array(b.values) for b in all_of), spread)
