"""How often the 95 % intervals hold the truth: over worlds, and over seeds that share their test clips.

    python benchmarks/coverage.py [REPEATS]    # a minute for 20,000; prints the table, writes coverage.json

Populations of differences: normal, skewed to either side, with heavy tails, with a training that fails in
one world of twenty, and as shares of 440 test clips. `wrong` is the chance that Holm calls at least one of ten
questions without any effect decided. Where networks differ in few clips, intervals have a floor (docs/methods.md, 8);
`without` is what they hold without it. *All equal* counts only the intervals of worlds whose differences are equal.
"""

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from kdlab.measure.paired import Effect, effect, holm, quantile

WORLDS, QUESTIONS = (6, 10), 10
#: Differences of a world, less their mean, in units of their spread.
POPULATIONS = {
    "normal": lambda rng, shape: rng.normal(size=shape),
    "skewed upwards": lambda rng, shape: rng.exponential(size=shape) - 1,
    "skewed downwards": lambda rng, shape: 1 - rng.exponential(size=shape),
    "strongly skewed": lambda rng, shape: (rng.lognormal(0, 1, shape) - np.exp(0.5)) / 2.16,
    "heavy tails": lambda rng, shape: rng.standard_t(3, shape) / 3**0.5,
    "one in twenty fails": lambda rng, shape: (
        (rng.normal(size=shape) - 8 * (rng.random(shape) < 0.05) + 0.4) / 2
    ),
    "of 440 clips": lambda rng, shape: (
        (rng.binomial(440, 0.62, shape) - rng.binomial(440, 0.62, shape)) / 14.4
    ),
}


#: Worlds, test clips of each, and the chances that a clip is gained and lost.
FEW_CLIPS = (
    (3, 14, 0.10, 0.03),
    (3, 14, 0.03, 0.01),
    (10, 440, 0.004, 0.001),
    (10, 440, 0.0002, 0.0),
)


def shares(effects: list[Effect], truth: float = 0.0) -> dict[str, float]:
    """The share of intervals that hold the truth, lie above it, and below it."""
    low, high = np.array([(e.low, e.high) for e in effects]).T
    ends = (low <= truth) & (truth <= high), low > truth, high < truth
    return {
        name: float(some.mean())
        for name, some in zip(("holds", "above", "below"), ends, strict=True)
    }


def over_worlds(draw, worlds: int, repeats: int) -> dict[str, float]:
    """The shares, and `wrong`, over worlds whose differences lie around 0."""
    effects = [
        [Effect.of(each) for each in drawn]
        for drawn in draw(np.random.default_rng(0), (repeats // QUESTIONS, QUESTIONS, worlds))
    ]
    wrong = np.mean([(holm([e.p for e in asked]) < 0.05).any() for asked in effects])
    return shares(sum(effects, [])) | {"wrong": float(wrong)}


def over_few_clips(
    worlds: int, clips: int, gained: float, lost: float, repeats: int
) -> dict[str, dict]:
    """The shares over worlds of few test clips, of all draws and of those whose differences are all equal."""
    counts = np.random.default_rng(2).multinomial(
        clips, (gained, lost, 1 - gained - lost), (repeats, worlds)
    )
    each, truth, rows = 100 * (counts[..., 0] - counts[..., 1]) / clips, 100 * (gained - lost), {}
    equal = np.ptp(each, axis=1) == 0
    for name, drawn in (("", each), (", all equal", each[equal])):
        if len(drawn) < repeats / 100:
            continue  # too few to tell
        effects = [Effect.of(one, clips=clips) for one in drawn]
        inside = abs(drawn.mean(1) - truth) <= quantile(worlds) * drawn.std(1, ddof=1) / worlds**0.5
        row = f"{worlds} worlds of {clips} clips, {gained:.2%} gained and {lost:.2%} lost{name}"
        rows[row] = shares(effects, truth) | {"without": float(inside.mean())}
    return rows


def over_seeds(seeds: int, units: int, repeats: int) -> dict[str, float]:
    """The shares for seeds (a spread of 2 points) that cross test units (15 points, and 42 of each seed's own)."""
    rng, effects = np.random.default_rng(1), []
    for _ in range(repeats):
        cells = 2 * rng.normal(size=(seeds, 1)) + 15 * rng.normal(size=(1, units))
        cells = (cells + 42 * rng.normal(size=(seeds, units))) / 100
        effects.append(effect(cells, np.zeros_like(cells)))
    return shares(effects)


def over_shared_clips(seeds: int, clips: int, gained: float, repeats: int) -> dict[str, float]:
    """The shares where few test clips differ, the same in all seeds."""
    drawn = np.random.default_rng(3).random((repeats, 1, clips)) < gained
    right = np.repeat(drawn, seeds, 1).astype(float)
    return shares([effect(one, np.zeros_like(one)) for one in right], 100 * gained)


def main(repeats: int) -> None:
    rows = {
        f"{worlds} worlds, {name}": over_worlds(draw, worlds, repeats)
        for worlds in WORLDS
        for name, draw in tqdm(POPULATIONS.items())
    }
    sizes = (3, 132), (5, 440), (15, 2200)
    rows |= {f"{s} seeds, {u} shared clips": over_seeds(s, u, repeats // 10) for s, u in sizes}
    for row in FEW_CLIPS:
        rows |= over_few_clips(*row, repeats)
    rows |= {
        f"{s} seeds, {u} shared clips, 2 gained": over_shared_clips(s, u, 2 / u, repeats // 10)
        for s, u in sizes
    }
    table = pd.DataFrame(rows).T
    print((100 * table).round(1).to_string())
    out = {
        "repeats": repeats,
        "rows": table.round(4).reset_index(names="population").to_dict("records"),
    }
    Path(__file__).with_suffix(".json").write_text(json.dumps(out, indent=1) + "\n")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 20_000)
