"""Our loop against a bare one, distillation against CE, and a cached epoch against decoding: ratios of CPU time.

    python benchmarks/loop.py            # prints a table, writes benchmarks/loop.json

One thread, interleaved repeats in one process; the bare loop imports nothing of kdlab and gets the same cached batches.
"""

import json
import platform
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

#: A training has hundreds of steps; with few, its start would weigh more here than it does there.
REPEATS, STEPS, BATCHES = 20, 70, 14


def bare_loop(net: nn.Module, batches: list, lr: float) -> None:
    """What anybody would write; twenty lines, no framework."""
    optimiser = torch.optim.AdamW(net.parameters(), lr, weight_decay=1e-2)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimiser, lr, total_steps=len(batches))
    net.train()
    for x, y in batches:
        optimiser.zero_grad(set_to_none=True)
        loss = nn.functional.cross_entropy(net(x), y)
        loss.backward()
        optimiser.step()
        scheduler.step()


@dataclass
class Cached:
    """The batches that both loops are given, in the shape that kdlab's loop asks for."""

    made: list
    records: range

    def training(self, indices, generator):
        return self.made[indices[0] % len(self.made)]

    def evaluation(self):
        yield from self.made[:1]


def interleaved(ways: dict, repeats: int = REPEATS) -> dict[str, list[float]]:
    """CPU seconds of each way, in turn, after one warm-up each."""
    times = {name: [] for name in ways}
    for way in ways.values():
        way()
    for _ in range(repeats):
        for name, way in ways.items():
            start = time.process_time()
            way()
            times[name].append(time.process_time() - start)
    return times


def main() -> None:
    torch.set_num_threads(1)
    import tempfile

    from kdlab.clips.cache import FrameCache
    from kdlab.clips.views import Batch, ClipBatches
    from kdlab.distill.dual_light import CrossEntropy, DualLight
    from kdlab.nets.video import build
    from kdlab.profiles import SMOKE, dual_light
    from kdlab.train import Settings, fit

    recipe = dual_light(SMOKE)["dlkdd"]
    spec, size = recipe.net, recipe.window
    generator = torch.Generator().manual_seed(0)

    def pixels():
        shape = (32, size.frames, size.crop, size.crop, 3)
        return torch.rand(shape, generator=generator).permute(0, 4, 1, 2, 3)

    made = [Batch({"student": pixels(), "teacher": pixels()}, torch.randint(0, 11, (32,), generator=generator), ())
            for _ in range(BATCHES)]
    cached = Cached(made, range(32 * STEPS))
    plain = [(b.views["student"], b.labels) for b in made] * (STEPS // BATCHES)
    settings = Settings(epochs=1, batch_size=32)
    teacher = build(spec, 11, 1)

    def ours(method, **more):
        fit(method, {"student": build(spec, 11, 0), **more}, cached, settings, 0)

    times = interleaved({
        "bare loop": lambda: bare_loop(build(spec, 11, 0), plain, settings.lr),
        "kdlab, CE": lambda: ours(CrossEntropy()),
        "kdlab, DL-KDD with a live teacher": lambda: ours(DualLight(), teacher=teacher),
    })

    records = recipe.data.catalogue().split("train")[:32]
    with tempfile.TemporaryDirectory() as folder:
        warm = ClipBatches(records, {"student": recipe.view}, size, FrameCache(Path(folder) / "warm"))
        none = ClipBatches(records, {"student": recipe.view}, size, FrameCache(Path(folder) / "none", limit_bytes=0))
        order = list(range(len(records)))
        cache_times = interleaved({
            "epoch of 32 clips, cached": lambda: warm.training(order, torch.Generator().manual_seed(0)),
            "epoch of 32 clips, decoded each time": lambda: none.training(order, torch.Generator().manual_seed(0)),
        }, repeats=20)

    rows = {}
    for name, column in (times | cache_times).items():
        column = 1000 * np.array(column) / (STEPS if name in times else 1)
        rows[name] = dict(min_ms=round(column.min(), 3), median_ms=round(float(np.median(column)), 3),
                          iqr_ms=round(float(np.subtract(*np.quantile(column, [0.75, 0.25]))), 3))
        print(f"{name:42} min {column.min():8.2f} ms   median {np.median(column):8.2f} ms")
    ratio = lambda a, b: round(rows[a]["min_ms"] / rows[b]["min_ms"], 3)  # noqa: E731
    ratios = {
        "our loop / bare loop": ratio("kdlab, CE", "bare loop"),
        "distillation step / CE step": ratio("kdlab, DL-KDD with a live teacher", "kdlab, CE"),
        "decoding / cache": ratio("epoch of 32 clips, decoded each time", "epoch of 32 clips, cached"),
    }
    for name, value in ratios.items():
        print(f"{name:42} {value}")
    about = {"python": platform.python_version(), "torch": torch.__version__, "machine": platform.machine(),
             "cpu": torch.backends.cpu.get_cpu_capability(), "repeats": REPEATS, "steps per repeat": STEPS}
    result = {"ratios": ratios, "rows": rows, "environment": about}
    Path(__file__).with_suffix(".json").write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
