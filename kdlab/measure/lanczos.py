"""Trace, extreme eigenvalues and spectral density of a matrix known by its products alone (docs/methods.md, 5).

An operator has ``size`` P, ``dtype``, ``device`` and ``product``, rows ``(k, P)`` → ``(k, P)``: a
:class:`kdlab.measure.flatness.Hessian`. Products are what costs, so they serve twice: one Lanczos run gives extreme
eigenvalues, density *and* a subspace on which the trace is known; probes see what lies outside, where the few large
eigenvalues that make them differ are gone.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from scipy.linalg import eigh_tridiagonal

from kdlab.train import seeded

__all__ = ["Extremes", "Krylov", "NotConverged", "Scaled", "Sketch", "Trace", "density", "extremes", "lanczos",
           "sketch", "trace"]


class NotConverged(ValueError):
    """An eigenvalue whose residual is still too large after the last Lanczos step."""


class Scaled:
    """D H D for the diagonal ``scale (P,)``: H where a step of 1 is a step of ``scale`` in each weight."""

    def __init__(self, operator, scale: torch.Tensor):
        self.operator, self.scale = operator, scale
        self.size, self.dtype, self.device = operator.size, operator.dtype, operator.device

    def product(self, rows: torch.Tensor) -> torch.Tensor:
        return self.scale * self.operator.product(rows * self.scale)


class Sketch(NamedTuple):
    """Orthonormal rows ``basis (m, P)`` and the trace of the operator on their span."""

    basis: torch.Tensor
    captured: float


class Krylov(NamedTuple):
    """A Lanczos run of m steps: in the orthonormal rows of ``basis (m, P)`` the operator is tridiagonal, ``diagonal``
    and ``beside``, each ``(m,)``; the last of ``beside`` leads out of the basis."""

    basis: torch.Tensor
    diagonal: np.ndarray
    beside: np.ndarray

    @property
    def captured(self) -> float:
        """The trace of the operator on the span of the basis."""
        return float(self.diagonal.sum())

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
    """An estimate, its standard ``error``, and what each of the ``probes (n,)`` saw outside the known subspace."""

    value: float
    error: float
    probes: np.ndarray


def _signs(operator, count: int, generator: torch.Generator) -> torch.Tensor:
    coins = torch.randint(0, 2, (count, operator.size), generator=generator, dtype=torch.int8)
    return coins.to(operator.device, operator.dtype).mul_(2).sub_(1)


def sketch(operator, rank: int, seed: int = 0) -> Sketch:
    """The span of ``rank`` products with random signs, for 2 × ``rank`` products (Hutch++, arXiv 2010.09649)."""
    rows = operator.product(_signs(operator, min(rank, operator.size), seeded(seed, 1)))
    basis = torch.linalg.qr(rows.T).Q.T.to(operator.dtype)
    return Sketch(basis, float((basis * operator.product(basis)).sum()))


def _steps(operator, steps: int, start: torch.Tensor | None, seed: int) -> Iterator[Krylov]:
    steps = min(steps, operator.size)
    w = (_signs(operator, 1, seeded(seed, 2))[0] if start is None else start.to(operator.device)).double()
    basis = torch.empty(steps, operator.size, dtype=operator.dtype, device=operator.device)
    diagonal, beside, norm = [], [], float(w.norm())
    for m in range(1, steps + 1):
        basis[m - 1] = w / norm
        w = operator.product(basis[m - 1 : m])[0].double()  # fp32 sums over millions of weights lose three digits
        diagonal.append(float(basis[m - 1].double() @ w))
        w.sub_(basis[m - 1], alpha=diagonal[-1])
        if m > 1:
            w.sub_(basis[m - 2], alpha=beside[-1])
        # In exact arithmetic that is all; without this, rounding makes copies of eigenvalues that have converged.
        w.sub_((basis[:m] @ w.to(operator.dtype)) @ basis[:m])
        beside.append(norm := float(w.norm()))
        yield Krylov(basis[:m], np.array(diagonal), np.array(beside))
        if norm <= 100 * torch.finfo(operator.dtype).eps * np.abs(diagonal + beside).max():
            return


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
          max_probes: int = 512, block: int = 4, seed: int = 0) -> Trace:
    """Hutchinson's estimate of the trace by random signs; with ``known``, exact on its span and estimated outside.

    With a :func:`sketch` that is Hutch++, with a :func:`lanczos` run its Krylov form (after arXiv 2205.01736), whose
    subspace costs one product a vector. Probes go on, ``block`` at a time on shared graphs, until the standard error is
    at most ``relative_error`` of the estimate, or to ``max_probes``. They are independent of ``known``'s, at any seed.
    """
    generator, values = seeded(seed, 3), np.empty(0)
    captured = known.captured if known else 0.0
    while True:
        rows = _signs(operator, block, generator)
        if known:
            rows = rows - rows @ known.basis.T @ known.basis
        values = np.append(values, operator.product(rows).mul_(rows).sum(1).cpu().numpy())
        value, error = captured + values.mean(), values.std(ddof=1) / len(values) ** 0.5 if len(values) > 1 else np.inf
        if len(values) >= max_probes or len(values) >= min_probes and error <= relative_error * abs(value):
            return Trace(float(value), float(error), values)


def density(runs: Sequence[Krylov], at: np.ndarray, width: float) -> np.ndarray:
    """Spectral density, of integral 1, at the values ``at``: stochastic Lanczos quadrature over ``runs``.

    Every node is blurred by a Gaussian of standard deviation ``width`` (about 1 % of the range).
    """
    nodes, weights, _ = (np.concatenate(part) for part in zip(*(run.ritz() for run in runs), strict=True))
    bells = np.exp(-0.5 * ((at[:, None] - nodes) / width) ** 2) / (width * np.sqrt(2 * np.pi))
    return bells @ weights / len(runs)
