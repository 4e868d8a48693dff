"""How often the 95 % intervals hold the truth: over ten worlds, and over seeds that share their test clips.

    python benchmarks/coverage.py [REPEATS]    # a minute for 20,000; prints the table, writes coverage.json

Populations of differences: normal, skewed to either side, with heavy tails, with a training that fails in
one world of twenty, and as shares of 440 test clips. `wrong` is the chance that Holm calls at least one of ten
questions without any effect decided.
"""

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from kdlab.measure.paired import Effect, effect, holm

WORLDS, QUESTIONS = 10, 10
#: Differences of a world, less their mean, in units of their spread.
POPULATIONS = {
    "normal": lambda rng, shape: rng.normal(size=shape),
    "skewed upwards": lambda rng, shape: rng.exponential(size=shape) - 1,
    "skewed downwards": lambda rng, shape: 1 - rng.exponential(size=shape),
    "strongly skewed": lambda rng, shape: (rng.lognormal(0, 1, shape) - np.exp(0.5)) / 2.16,
    "heavy tails": lambda rng, shape: rng.standard_t(3, shape) / 3**0.5,
    "one in twenty fails": lambda rng, shape: (rng.normal(size=shape) - 8 * (rng.random(shape) < 0.05) + 0.4) / 2,
    "of 440 clips": lambda rng, shape: (rng.binomial(440, 0.62, shape) - rng.binomial(440, 0.62, shape)) / 14.4,
}


def over_worlds(draw, repeats: int) -> dict[str, float]:
    """The share of intervals that hold the mean, lie above it, and below it; and `wrong`."""
    rng, found, wrong = np.random.default_rng(0), [], 0
    for drawn in draw(rng, (repeats // QUESTIONS, QUESTIONS, WORLDS)):
        effects = [Effect.of(each) for each in drawn]
        found += [(e.low <= 0 <= e.high, e.low > 0, e.high < 0) for e in effects]
        wrong += bool((holm([e.p for e in effects]) < 0.05).any())
    shares = dict(zip(("holds", "above", "below"), np.mean(found, 0).tolist(), strict=True))
    return shares | {"wrong": wrong / (repeats // QUESTIONS)}


def over_seeds(seeds: int, units: int, repeats: int) -> dict[str, float]:
    """The same for seeds (a spread of 2 points) that cross test units (15 points, and 42 of each seed's own)."""
    rng, found = np.random.default_rng(1), []
    for _ in range(repeats):
        cells = 2 * rng.normal(size=(seeds, 1)) + 15 * rng.normal(size=(1, units))
        e = effect((cells + 42 * rng.normal(size=(seeds, units))) / 100, np.zeros((seeds, units)))
        found.append((e.low <= 0 <= e.high, e.low > 0, e.high < 0))
    return dict(zip(("holds", "above", "below"), np.mean(found, 0).tolist(), strict=True))


def main(repeats: int) -> None:
    rows = {f"{WORLDS} worlds, {name}": over_worlds(draw, repeats) for name, draw in tqdm(POPULATIONS.items())}
    sizes = (3, 132), (5, 440), (15, 2200)
    rows |= {f"{s} seeds, {u} shared clips": over_seeds(s, u, repeats // 10) for s, u in sizes}
    table = pd.DataFrame(rows).T
    print((100 * table).round(1).to_string())
    out = {"repeats": repeats, "rows": table.round(4).reset_index(names="population").to_dict("records")}
    Path(__file__).with_suffix(".json").write_text(json.dumps(out, indent=1) + "\n")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 20_000)
