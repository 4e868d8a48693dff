"""How often the 95 % intervals of a mean over seeds and units hold the truth: kdlab's, and two that it does not use.

    python benchmarks/coverage.py [REPEATS]    # 15 minutes for 2,000; prints the table, writes coverage.json

Every number of a population is drawn: seeds with a spread of their own, units (15 points), and each seed's own answers
to each unit (42 points, as differences of right and wrong have). The rivals: a percentile bootstrap over both ways,
which kdlab used before, and Satterthwaite's t on the two-way variance.
"""

import json
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats
from tqdm import tqdm

from kdlab.measure.paired import effect

SEEDS, UNITS, SPREADS = (2, 3, 4, 5, 10, 15), (90, 440, 1100, 3300), (0, 1, 2, 4, 7)
SAMPLES = 400


@cache
def drawn(n: int) -> np.ndarray:
    return np.random.default_rng(n).multinomial(n, np.full(n, 1 / n), SAMPLES) / n


def bootstrapped(cells: np.ndarray) -> tuple[float, float]:
    seeds, units = map(drawn, cells.shape)
    return tuple(np.quantile(((units @ cells.T) * seeds).sum(1), [0.025, 0.975]))


def satterthwaite(cells: np.ndarray) -> tuple[float, float]:
    s, u = cells.shape
    rows, columns, mean = cells.mean(1), cells.mean(0), cells.mean()
    rest = ((cells - rows[:, None] - columns + mean) ** 2).sum() / ((s - 1) * (u - 1))
    squares = np.array([u * rows.var(ddof=1), s * columns.var(ddof=1), rest])
    variance = max(squares @ [1, 1, -1], 1e-12)
    freedom = max(1.0, variance**2 / (squares**2 / [s - 1, u - 1, (s - 1) * (u - 1)]).sum())
    half = stats.t.ppf(0.975, freedom) * np.sqrt(variance / (s * u))
    return mean - half, mean + half


def covered(seeds: int, units: int, spread: float, repeats: int) -> dict[str, float]:
    rng, hits = np.random.default_rng((seeds, units, int(10 * spread))), []
    for n in range(repeats):
        cells = spread * rng.normal(size=(seeds, 1)) + 15 * rng.normal(size=(1, units))
        cells = cells + 42 * rng.normal(size=(seeds, units))
        e = effect(cells / 100, 0 * cells)
        found = {"kdlab": (e.low, e.high), "satterthwaite": satterthwaite(cells)}
        if n % 5 == 0:  # a fifth is enough: it takes most of the time
            found["bootstrap"] = bootstrapped(cells)
        hits.append({name: low <= 0 <= high for name, (low, high) in found.items()})
    return pd.DataFrame(hits).mean().to_dict()


def main(repeats: int) -> None:
    cells = [(s, u, spread) for s in SEEDS for u in UNITS for spread in SPREADS]
    rows = [dict(seeds=s, units=u, spread=d) | covered(s, u, d, repeats) for s, u, d in tqdm(cells)]
    table = pd.DataFrame(rows)
    print((100 * table.set_index(["seeds", "units", "spread"]).unstack("spread")).round(1).to_string())
    few = table[table.seeds >= 5][["kdlab", "bootstrap", "satterthwaite"]]
    summary = {"least, five seeds on": few.min().to_dict(), "mean, five seeds on": few.mean().to_dict()}
    print((100 * pd.DataFrame(summary)).round(1).to_string())
    out = {"repeats": repeats, "summary": summary, "rows": table.round(4).to_dict("records")}
    Path(__file__).with_suffix(".json").write_text(json.dumps(out, indent=1) + "\n")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 2000)
