"""The one bootstrap: test units, repeats or trainings are drawn again, always the same draws.

The interval of a table must not change from one reading to the next, so every generator begins at 0. SciPy's bootstrap
resamples one axis, hence these lines.
"""

import json
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path

import numpy as np

from kdlab import paths
from kdlab.system.values import whole

LEVEL = 0.95
#: Rows that the ledger had before claims were registered: fewer in a register do not make the strict level milder.
ROWS = 15


def comparisons() -> int:
    """m, how many claims are read together: those in the register ``figures/claims.json``, and :data:`ROWS` at least.

    A claim that was changed and registered again is one. Raises ``ValueError`` for a register that is damaged.
    """
    file = paths.figures_dir() / "claims.json"
    try:
        return _comparisons(file, file.stat().st_mtime_ns)
    except FileNotFoundError:
        return ROWS


@lru_cache(maxsize=4)  # each effect asks
def _comparisons(file: Path, changed: int) -> int:
    try:
        return max(ROWS, len({entry["claim"] for entry in json.loads(file.read_text(encoding="utf-8"))}))
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{file} is no register of claims ({error}): restore the committed file") from None


def strict_level() -> float:
    """1 − 0.05/m: the level at which each of m claims is read, so that all hold together at 95 %."""
    return 1 - 0.05 / comparisons()


@lru_cache(maxsize=16)
def counts(units: int, replicates: int) -> np.ndarray:
    """How often each unit is drawn, ``(R, units)``; kept, since most of a bootstrap's time went into drawing."""
    whole(1, replicates=replicates)
    often = np.random.default_rng(0).multinomial(units, np.full(units, 1 / units), replicates)
    return often.astype(np.min_scalar_type(often.max()))  # hardly ever more than a byte


def ends(samples: np.ndarray, level: float | None = None) -> tuple[float, float]:
    """The interval that holds a share ``level`` of the ``samples`` (95 %), as much left out on either side; NaN do not
    count."""
    # (1 − 0.95) / 2 is not 0.025 to the last bit, and committed numbers are told to the last digit
    shares = (0.025, 0.975) if level is None else ((1 - level) / 2, (1 + level) / 2)
    low, high = np.nanquantile(samples, shares)
    return float(low), float(high)


def interval(statistic: Callable[..., float], *sizes: int, replicates: int) -> tuple[float, float]:
    """The 95 % interval of ``statistic``, called with one array of drawn places for each of ``sizes``: ``(n,)``, from
    0 to n − 1, each drawn anew for every sample."""
    return ends(np.array([statistic(*drawn) for drawn in draws(*sizes, replicates=replicates)]))


def draws(*sizes: int, replicates: int) -> Iterator[list[np.ndarray]]:
    """The places that :func:`interval` draws, sample after sample."""
    whole(1, replicates=replicates)
    rng = np.random.default_rng(0)
    for _ in range(replicates):
        yield [rng.integers(n, size=n) for n in sizes]
