"""Trace, extreme eigenvalues and spectral density of a matrix known by its products alone (docs/methods.md, 5).

An operator has ``size`` P, ``dtype``, ``device`` and ``product``, rows ``(k, P)`` → ``(k, P)``; for its trace also
``blocks`` of its diagonal and ``within`` them: a :class:`kdlab.measure.flatness.Hessian`. Products are what costs, so
they serve twice: one Lanczos run gives extreme eigenvalues, density *and* a subspace on which the trace is known;
probes see what lies outside, where the few large eigenvalues that make them differ are gone.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from scipy.linalg import eigh_tridiagonal

from kdlab.train import seeded

__all__ = ["Extremes", "Krylov", "NotConverged", "Scaled", "Sketch", "Trace", "density", "dot", "extremes", "lanczos",
           "sketch", "trace"]

#: Weights taken at a time in sums and differences of vectors: what stays in a processor's cache costs hardly anything,
#: copies of millions in another precision as much as a product.
PIECE = 1 << 16


class NotConverged(ValueError):
    """An eigenvalue whose residual is still too large after the last Lanczos step."""


class Scaled:
    """D H D for the diagonal ``scale (P,)``: H where a step of 1 is a step of ``scale`` in each weight."""

    def __init__(self, operator, scale: torch.Tensor):
        self.operator, self.scale = operator, scale
        self.size, self.dtype, self.device = operator.size, operator.dtype, operator.device
        self.blocks = operator.blocks

    def product(self, rows: torch.Tensor) -> torch.Tensor:
        return self.scale * self.operator.product(rows * self.scale)

    def within(self, probes: Sequence[tuple[int, torch.Tensor]]) -> np.ndarray:
        return self.operator.within([(b, (row * self.scale[self.blocks[b]]).to(self.dtype)) for b, row in probes])


class Sketch(NamedTuple):
    """Orthonormal rows ``basis (m, P)``, the operator's ``images (m, P)`` of them, and the operator ``inner (m, m)`` on
    their span."""

    basis: torch.Tensor
    images: torch.Tensor
    inner: torch.Tensor

    @property
    def captured(self) -> float:
        """The trace of the operator on the span of the basis."""
        return float(self.inner.trace())

    def seen(self, block: slice, row: torch.Tensor) -> float:
        """What ``row``, 0 outside its ``block``, sees of the operator but for what maps the basis's complement to
        itself."""
        inside, image = self.basis[:, block] @ row, self.images[:, block] @ row
        return float(2 * inside @ image - inside @ self.inner @ inside)


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

    def seen(self, block: slice, row: torch.Tensor) -> float:
        """As :meth:`Sketch.seen`; the image of the basis needs no memory here."""
        inside = (self.basis[:, block] @ row).double().cpu().numpy()
        image = self.diagonal * inside
        image[1:] += self.beside[:-1] * inside[:-1]
        image[:-1] += self.beside[:-1] * inside[1:]
        out = self.beside[-1] * float(self.beyond[block] @ row)
        return float(inside @ image + 2 * inside[-1] * out)

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
    """An estimate, its standard ``error``, and what each block's ``probes (n,)`` saw outside the known subspace."""

    value: float
    error: float
    probes: tuple[np.ndarray, ...]


def _signs(operator, count: int, size: int, generator: torch.Generator) -> torch.Tensor:
    coins = torch.randint(0, 2, (count, size), generator=generator, dtype=torch.int8)
    return coins.to(operator.device, operator.dtype).mul_(2).sub_(1)


def sketch(operator, rank: int, seed: int = 0) -> Sketch:
    """The span of ``rank`` products with random signs, for 2 × ``rank`` products (Hutch++, arXiv 2010.09649)."""
    rows = operator.product(_signs(operator, min(rank, operator.size), operator.size, seeded(seed, 1)))
    basis = torch.linalg.qr(rows.T).Q.T.to(operator.dtype)
    images = operator.product(basis).to(operator.dtype)
    return Sketch(basis, images, basis @ images.T)


def _steps(operator, steps: int, start: torch.Tensor | None, seed: int) -> Iterator[Krylov]:
    steps = min(steps, operator.size)
    basis = torch.empty(steps + 1, operator.size, dtype=operator.dtype, device=operator.device)
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
        for part, its in zip(w.split(PIECE), basis[m].split(PIECE), strict=True):
            its.copy_(part.div_(beside[-1] or 1.0))
        yield Krylov(basis[:m], np.array(diagonal), np.array(beside), basis[m])
        if beside[-1] <= 100 * torch.finfo(operator.dtype).eps * np.abs(diagonal + beside).max():
            return


def dot(a: torch.Tensor, b: torch.Tensor) -> float:
    """Of two vectors, in fp64 over their pieces: fp32 sums over millions of weights lose three digits."""
    return sum(float(x.double() @ y.double()) for x, y in zip(a.split(PIECE), b.split(PIECE), strict=True))


def lanczos(operator, steps: int, start: torch.Tensor | None = None, seed: int = 0) -> Krylov:
    """``steps`` products from ``start (P,)`` (default: random signs); fewer where the operator closes their span."""
    return list(_steps(operator, steps, start, seed))[-1]


def extremes(operator, tolerance: float = 1e-2, min_steps: int = 0, max_steps: int = 100, smallest: bool = True,
             seed: int = 0) -> Extremes:
    """Extreme eigenvalues by Lanczos, once residuals are below ``tolerance`` and the largest moves by under 0.1 %.

    Without ``smallest`` only the largest is waited for. ``min_steps`` beyond that are for :func:`trace`: one more
    eigenvalue θ known saves 2 (θ / wanted standard error)² probes. Raises :class:`NotConverged` with the residuals.
    """
    before = np.inf
    for run in _steps(operator, max_steps, None, seed):
        values, _, residuals = run.ritz()
        sizes = np.maximum((abs(values[-1]), np.abs(values).max()), np.finfo(float).tiny)
        found = Extremes(float(values[-1]), float(values[0]), tuple((residuals[[-1, 0]] / sizes).tolist()), run)
        good = max(found.residuals[: 1 + smallest]) <= tolerance
        if good and len(values) >= min_steps and abs(found.largest - before) <= 1e-3 * abs(found.largest):
            break
        before = found.largest
    if not good:
        raise NotConverged(f"after {len(run.diagonal)} Lanczos steps the largest eigenvalue {found.largest:.4g} has a "
                           f"relative residual of {found.residuals[0]:.2g}, the smallest, {found.smallest:.4g}, one of "
                           f"{found.residuals[1]:.2g}; asked for: {tolerance:g}. Raise max_steps or tolerance.")
    return found


def trace(operator, known: Krylov | Sketch | None = None, relative_error: float = 0.02, min_probes: int = 10,
          max_probes: int = 512, seed: int = 0) -> Trace:
    """Hutchinson's estimate of the trace by random signs; with ``known``, exact on its span and estimated outside.

    Each probe is 0 but in one of the operator's ``blocks``. What one layer has to do with another adds nothing to a
    trace and most to the variance of its estimate; such probes do not see it, and walk only the graph behind their
    block. Where a block's differ more, it gets more of them (Neyman's allocation).

    With a :func:`sketch` that is Hutch++, with a :func:`lanczos` run its Krylov form (after arXiv 2205.01736), whose
    subspace costs one product a vector. Begins with ``min_probes`` in all, at least two in each block, and goes on
    until the standard error is at most ``relative_error`` of the estimate, or every block that is short of probes has
    ``max_probes``. They are independent of ``known``'s, at any seed.
    """
    blocks, generator = operator.blocks, seeded(seed, 3)
    saw, wanted = [[] for _ in blocks], np.full(len(blocks), max(2, -(-min_probes // len(blocks))))
    captured = known.captured if known else 0.0
    while True:
        for turn in range(max(wanted)):  # probes of one turn are as large as one vector
            some = [b for b in range(len(blocks)) if len(saw[b]) <= turn < wanted[b]]
            rows = [_signs(operator, 1, blocks[b].stop - blocks[b].start, generator)[0] for b in some]
            for b, row, value in zip(some, rows, operator.within(list(zip(some, rows, strict=True))), strict=True):
                saw[b].append(value - (known.seen(blocks[b], row) if known else 0.0))
        counts, spread = np.array([len(s) for s in saw]), np.array([np.std(s, ddof=1) for s in saw])
        value, error = captured + sum(map(np.mean, saw)), float(np.sqrt((spread**2 / counts).sum()))
        allowed = relative_error * abs(value)
        with np.errstate(divide="ignore", invalid="ignore"):
            ideal = np.nan_to_num(spread * spread.sum() / allowed**2, nan=0.0)
        wanted = np.minimum(np.clip(np.ceil(ideal), counts, 2 * counts), np.maximum(counts, max_probes)).astype(int)
        if error <= allowed or (wanted == counts).all():
            return Trace(float(value), error, tuple(map(np.array, saw)))


def density(runs: Sequence[Krylov], at: np.ndarray, width: float) -> np.ndarray:
    """Spectral density, of integral 1, at the values ``at``: stochastic Lanczos quadrature over ``runs``.

    Every node is blurred by a Gaussian of standard deviation ``width`` (about 1 % of the range).
    """
    nodes, weights, _ = (np.concatenate(part) for part in zip(*(run.ritz() for run in runs), strict=True))
    bells = np.exp(-0.5 * ((at[:, None] - nodes) / width) ** 2) / (width * np.sqrt(2 * np.pi))
    return bells @ weights / len(runs)
