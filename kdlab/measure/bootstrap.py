"""The one bootstrap: test units, repeats or trainings are drawn again, always the same draws.

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
    whole(1, replicates=replicates)
    rng = np.random.default_rng(0)
    return ends(np.array([statistic(*(rng.integers(n, size=n) for n in sizes)) for _ in range(replicates)]))
