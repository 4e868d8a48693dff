"""Does skipped work save time? Anytime inference against all twelve exits in one pass.

    python benchmarks/anytime.py            # prints a table, writes benchmarks/anytime.json

CoViAR's trio as the PKD study has it (ResNet-50 and two ResNet-18 at 224², random weights) with its nine heads. Which
samples stop where is forced, so that 100, 75, 50 and 25 % of the MACs are spent, in two ways: all samples stop at the
two exits next to that cost ("together"), or as many as it takes at the very first exit and the others at the last
("apart"). CPU time, one thread, interleaved repeats, the views in memory; ratios of minima.
"""

import json
import platform
from functools import partial
from pathlib import Path

import numpy as np
import torch

from kdlab.measure.cost import cpu_times
from kdlab.nets.compressed import CHANNELS, CoViARNet
from kdlab.nets.video import build
from kdlab.papers.progressive.anytime import cost_per_exit, walk
from kdlab.papers.progressive.networks import ExitHeads, Trio

SAMPLES, SEGMENTS, CLASSES, REPEATS = 8, 1, 101, 3
SHARES = (1.0, 0.75, 0.5, 0.25)


def places(costs: np.ndarray, share: float, between: tuple[int, int]) -> np.ndarray:
    """The exit of each sample: the two of ``between`` in such numbers that ``share`` of all MACs is spent."""
    early, late = between
    stop_early = round(SAMPLES * (costs[late] - share * costs[-1]) / (costs[late] - costs[early]))
    return np.where(np.arange(SAMPLES) < stop_early, early, late)


def go(trio: Trio, views: dict, costs: np.ndarray, stops: np.ndarray):
    alive = np.arange(SAMPLES)

    def decide(k, logits):
        nonlocal alive
        stop = stops[alive] == k - 1
        alive = alive[~stop]
        return torch.from_numpy(stop), logits.mean(1)

    return walk(trio, lambda modality, indices: views[modality][indices], decide, SAMPLES, costs)


def main() -> None:
    torch.manual_seed(0)
    specs = {m: CoViARNet(m, 50 if m == "iframe" else 18) for m in CHANNELS}
    nets = {
        m: build(spec, CLASSES, 0, *map(torch.tensor, spec.statistics)) for m, spec in specs.items()
    }
    trio = Trio(nets, ExitHeads.on(**specs).make(CLASSES)).eval()
    shapes = {m: (c, SEGMENTS, 224, 224) for m, c in CHANNELS.items()}
    views, costs = (
        {m: torch.rand(SAMPLES, *shape) for m, shape in shapes.items()},
        cost_per_exit(trio, shapes),
    )
    stops = {}
    for share in SHARES:
        late = int(np.searchsorted(costs, share * costs[-1]))
        stops[f"{share:.0%} together"] = places(costs, share, (late - 1, late))
        stops[f"{share:.0%} apart"] = places(costs, share, (0, 11))
    ways = {name: partial(go, trio, views, costs, where) for name, where in stops.items()}
    times = cpu_times(ways | {"one pass": lambda: trio(views)}, REPEATS)
    best = {name: float(t.min()) for name, t in times.items()}
    full, rows = best.pop("one pass"), {}
    for name, time in best.items():
        spent = float(costs[stops[name]].mean() / costs[-1])
        saved = round((1 - time / full) / (1 - spent), 3) if spent < 1 else None
        rows[name] = {
            "macs": round(spent, 3),
            "time": round(time / full, 3),
            "time saved over MACs saved": saved,
        }
        print(f"{name:14s} {rows[name]}")
    note = {
        "rows": rows,
        "seconds_in_one_pass": round(full, 2),
        "samples": SAMPLES,
        "segments": SEGMENTS,
        "gmac_per_sample": round(costs[-1] / 1e9, 2),
        "torch": torch.__version__,
        "machine": platform.machine(),
    }
    Path(__file__).with_suffix(".json").write_text(
        json.dumps(note, indent=1) + "\n", encoding="utf-8"
    )


if __name__ == "__main__":
    main()
