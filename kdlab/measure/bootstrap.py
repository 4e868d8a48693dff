"""The one bootstrap: seeds, test units, repeats or trainings are drawn again, always the same draws.

The interval of a table must not change from one reading to the next, so every generator begins at 0. SciPy's bootstrap
resamples one axis, hence these lines.
"""

from collections.abc import Callable
from functools import lru_cache

import numpy as np

from kdlab.system.values import whole

LEVEL = 0.95
#: Fifteen rows of the ledger are read together: 1 − 0.05/15 each.
STRICT = 1 - 0.05 / 15


@lru_cache(maxsize=16)
def counts(seeds: int, units: int, replicates: int, at_once: int = 1000) -> tuple[np.ndarray, np.ndarray]:
    """How often each seed ``(R, S)`` and unit ``(R, U)`` is drawn; kept, since most of a bootstrap's time went into
    drawing. ``at_once`` samples of seeds are drawn, then as many of units, and so on."""
    whole(1, replicates=replicates)
    rng, drawn = np.random.default_rng(0), []
    for start in range(0, replicates, at_once):
        rows = min(at_once, replicates - start)
        draws = [rng.multinomial(n, np.full(n, 1 / n), rows) for n in (seeds, units)]
        drawn.append([often.astype(np.min_scalar_type(often.max())) for often in draws])  # hardly ever more than a byte
    return tuple(np.concatenate(column) for column in zip(*drawn, strict=True))


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
    whole(1, replicates=replicates)
    rng = np.random.default_rng(0)
    return ends(np.array([statistic(*(rng.integers(n, size=n) for n in sizes)) for _ in range(replicates)]))
