"""Ratios of CPU time: our loop to a bare one, distillation to CE, decoding to the cache.

    python benchmarks/steps.py            # prints a table, writes benchmarks/steps.json

One thread, interleaved repeats in one process, ratios of minima; the bare loop imports nothing of kdlab and gets the
same batches. The teacher has the student's size. Two sizes: the tiny R(2+1)D as the studies train it, and R(2+1)D-18 on
8 × 112². A second teacher has its batch norms folded into the convolutions before them. Stored targets are made before
the clock runs, as a training makes them once.
"""

import json
import platform
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from kdlab.clips.cache import FrameCache
from kdlab.clips.windows import Batch, ClipBatches, Window
from kdlab.distill.method import CrossEntropy
from kdlab.measure.cost import macs
from kdlab.nets.norms import folded
from kdlab.nets.torchvision_video import TorchvisionVideo
from kdlab.nets.video import TinyR2Plus1D, build
from kdlab.papers.dual_light.method import DualLight
from kdlab.papers.dual_light.recipes import dual_light
from kdlab.train.loop import fit
from kdlab.train.settings import Settings
from kdlab.train.sizes import SMOKE, STUDY

CLASSES = 11


def bare_loop(net: nn.Module, batches: Iterable, lr: float, steps: int) -> None:
    """What anybody would write; ten lines, no framework."""
    optimiser = torch.optim.AdamW(net.parameters(), lr, weight_decay=1e-2, fused=True)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimiser, lr, total_steps=steps)
    net.train()
    for x, y in batches:
        optimiser.zero_grad(set_to_none=True)
        loss = nn.functional.cross_entropy(net(x), y)
        loss.backward()
        optimiser.step()
        scheduler.step()


@dataclass
class Made:
    """The batches that both loops are given, in turn, in the shape that kdlab's loop asks for."""

    batches: list
    records: range
    served: int = 0

    def training(self, indices, generator):
        self.served += 1
        return self.batches[self.served % len(self.batches)]

    def evaluation(self):
        yield from self.batches


@dataclass(frozen=True)
class Stored(DualLight):
    """DL-KDD with soft targets that were prepared beforehand, and the row of each clip by its id."""

    targets: torch.Tensor | None = None
    rows: dict | None = None

    def soft_targets(self, nets, batch, progress):
        return self.targets[[self.rows[clip] for clip in batch.ids]]


def prepared(teacher: nn.Module, batches: list[Batch]) -> Stored:
    """The method with the targets of the ``teacher``."""
    with torch.no_grad():
        logits = torch.cat([teacher(batch.views["teacher"]) for batch in batches])
    ids = [clip for batch in batches for clip in batch.ids]
    targets = torch.softmax(logits / DualLight().temperature, -1)
    return Stored(targets=targets, rows={clip: row for row, clip in enumerate(ids)})


def interleaved(ways: dict, repeats: int) -> dict[str, list[float]]:
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


def steps(spec, window: Window, batch: int, number: int, repeats: int) -> dict[str, list[float]]:
    """CPU seconds of one step of each way, ``repeats`` means over ``number`` steps."""
    generator = torch.Generator().manual_seed(0)

    def pixels():
        shape = (batch, window.frames, window.crop, window.crop, 3)
        return torch.rand(shape, generator=generator).permute(
            0, 4, 1, 2, 3
        )  # channels-last, as ClipBatches makes them

    made = [
        Batch(
            {"student": pixels(), "teacher": pixels()},
            torch.randint(0, CLASSES, (batch,), generator=generator),
            tuple(f"{n}/{i}" for i in range(batch)),
        )
        for n in range(4)
    ]
    plain = [(made[n % 4].views["student"], made[n % 4].labels) for n in range(number)]
    settings = Settings(epochs=1, batch_size=batch, lr=1e-4)
    student, teacher = build(spec, CLASSES, 0), build(spec, CLASSES, 1).eval()
    lean = folded(teacher, made[0].views["teacher"])
    with torch.no_grad():
        off = float(
            (teacher(made[0].views["teacher"]) - lean(made[0].views["teacher"])).abs().max()
        )
    assert off < 1e-3, f"folding changed a logit by {off}"
    stored = prepared(teacher, made)

    def ours(method, **more):
        fit(method, {"student": student, **more}, Made(made, range(batch * number)), settings, 0)

    times = interleaved(
        {
            "bare loop, CE": lambda: bare_loop(student, plain, settings.lr, number),
            "kdlab, CE": lambda: ours(CrossEntropy()),
            "kdlab, DL-KDD, live teacher": lambda: ours(DualLight(), teacher=teacher),
            "kdlab, DL-KDD, live teacher, folded": lambda: ours(DualLight(), teacher=lean),
            "kdlab, DL-KDD, stored logits": lambda: ours(stored, teacher=teacher),
        },
        repeats,
    )
    return {name: [second / number for second in column] for name, column in times.items()}


def reading(repeats: int = 10) -> dict[str, list[float]]:
    """CPU seconds of an epoch of 32 clips, from the cache and decoded each time."""
    recipe = dual_light(SMOKE)["dlkdd"]
    records = recipe.data.catalogue().split("train")[:32]
    with tempfile.TemporaryDirectory() as folder:
        views, order = {"student": recipe.view}, list(range(len(records)))
        warm = ClipBatches(records, views, recipe.window, FrameCache(Path(folder) / "warm"))
        none = ClipBatches(
            records, views, recipe.window, FrameCache(Path(folder) / "none", limit_bytes=0)
        )
        return interleaved(
            {
                "epoch of 32 clips, cached": lambda: warm.training(
                    order, torch.Generator().manual_seed(0)
                ),
                "epoch of 32 clips, decoded each time": lambda: none.training(
                    order, torch.Generator().manual_seed(0)
                ),
            },
            repeats,
        )


def summary(rows: dict[str, list[float]]) -> dict[str, dict[str, float]]:
    """Minimum, median and interquartile range in milliseconds of repeated CPU ``seconds``; prints a line each."""
    table = {}
    for name, seconds in rows.items():
        column = 1000 * np.array(seconds)
        table[name] = dict(
            min_ms=round(column.min(), 3),
            median_ms=round(float(np.median(column)), 3),
            iqr_ms=round(float(np.subtract(*np.quantile(column, [0.75, 0.25]))), 3),
        )
        print(f"{name:50} min {column.min():9.2f} ms   median {np.median(column):9.2f} ms")
    return table


def environment(start: float) -> dict[str, object]:
    """Versions, machine, and the CPU seconds since ``start`` (of ``time.process_time``)."""
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "machine": platform.machine(),
        "cpu": torch.backends.cpu.get_cpu_capability(),
        "CPU seconds": round(time.process_time() - start),
    }


def main() -> None:
    torch.set_num_threads(1)
    start = time.process_time()
    sizes = {
        "tiny": (TinyR2Plus1D(), STUDY.window, STUDY.settings.batch_size, 80, 6),
        "r2plus1d_18": (TorchvisionVideo("r2plus1d_18"), Window(8, 112, 112), 2, 2, 5),
    }
    rows, ratios, about = {}, {}, {}
    for size, (spec, window, batch, number, repeats) in sizes.items():
        rows |= {
            f"{size}: {name}": column
            for name, column in steps(spec, window, batch, number, repeats).items()
        }
        shape = (1, 3, window.frames, window.crop, window.crop)
        about[size] = {
            "batch": batch,
            "clip": shape[1:],
            "MACs a clip": macs(spec.make(CLASSES), shape),
            "steps per repeat": number,
            "repeats": repeats,
        }
        best = {
            name: min(rows[f"{size}: {name}"])
            for name in (
                "bare loop, CE",
                "kdlab, CE",
                "kdlab, DL-KDD, live teacher",
                "kdlab, DL-KDD, live teacher, folded",
                "kdlab, DL-KDD, stored logits",
            )
        }
        bare, ce, live, lean, stored = best.values()
        ratios[size] = {
            "our loop / bare loop": ce / bare,
            "live teacher / CE": live / ce,
            "live teacher, batch norm folded / CE": lean / ce,
            "stored logits / CE": stored / ce,
        }
    rows |= reading()
    cached, decoded = (
        min(rows[f"epoch of 32 clips, {how}"]) for how in ("cached", "decoded each time")
    )
    ratios["reading"] = {"decoding / cache": decoded / cached}
    ratios = {
        size: {name: round(value, 3) for name, value in its.items()} for size, its in ratios.items()
    }

    table = summary(rows)
    for size, its in ratios.items():
        for name, value in its.items():
            print(f"{size:12} {name:40} {value}")
    result = {"ratios": ratios, "rows": table, "sizes": about, "environment": environment(start)}
    Path(__file__).with_suffix(".json").write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
