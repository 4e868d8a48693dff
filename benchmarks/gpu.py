"""Each paper's training step at its true shape on a GPU: clips/s beside a bare loop, memory, share of the peak, bits.

    python benchmarks/gpu.py [STEPS] [--tflops 989]    # prints a table, writes benchmarks/gpu.json

Batches are made once, on the GPU, and given to both loops, so that nothing is read. The bare loop is what anybody would
write for the same networks and loss: forward, backward, AdamW, autocast, no framework; of a method with a teacher it
runs the teacher, too. Interleaved repeats, ratios of best times. FLOPs are torch's count of a step, the share is of
``--tflops``, the device's dense bf16 rate. Bits: the weights of trainings with the same seed. Without a CUDA GPU it
says so and ends with 2.
"""

import argparse
import json
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

from kdlab.clips.windows import Batch
from kdlab.papers.dual_light import recipes as dual_light
from kdlab.papers.generative import recipes as generative
from kdlab.papers.paper_size import example
from kdlab.papers.progressive import recipes as progressive
from kdlab.train.device import bf16, seeded
from kdlab.train.loop import Progress, fit, weights_hash
from kdlab.train.recipe import Recipe

REPEATS, CLASSES = 3, 101


@dataclass
class Made:
    """Batches that lie on the device, in the shape that kdlab's loop asks for; several threads may ask."""

    batches: list
    records: range

    def training(self, indices, generator):
        return self.batches[indices[0] % len(self.batches)]


def trainings(precision: str = "bf16") -> dict[str, Recipe]:
    """A training of each kind at the papers' sizes."""
    root, found = Path("nowhere"), {}
    made = dual_light.paper_recipes(
        dual_light.PAPER.sets[0], root, dual_light.paper_profile(precision=precision)
    )
    found |= {f"DL-KDD: {name}": made["1", "gamma1.8", name] for name in ("ce_raw", "dlkdd")}
    found |= {
        f"CoViAR: {one.condition}": one
        for one in progressive.paper_profile(precision=precision).backbones
    }
    made = generative.paper_recipes(
        generative.PAPER.sets[0], root, generative.paper_profile(precision=precision)
    )
    # one pass on each batch in the place of epochs in turn, so that a step has both
    found["GenKD: genkd, both passes"] = replace(
        made["1", "rgb", "genkd"], method=replace(made["1", "rgb", "genkd"].method, alternating=0)
    )
    return found | {"GenKD: student_ce": made["1", "rgb", "student_ce"]}


def prepared(recipe: Recipe, device: str) -> tuple[dict, list[Batch]]:
    """Untrained networks of ``recipe``, their weights decided by its seed, and two batches of noise, on ``device``."""
    nets, one, _ = example(recipe, CLASSES)
    nets = {name: net.to(device) for name, net in nets.items()}
    batches, size = [], recipe.settings.batch_size
    for number in range(2):
        generator = seeded(number)
        views = {
            name: torch.rand(size, *x.shape[2:], x.shape[1], generator=generator)
            .permute(0, 4, 1, 2, 3)
            .to(device)
            for name, x in one.views.items()
        }
        labels = torch.randint(CLASSES, (size,), generator=generator).to(device)
        batches.append(Batch(views, labels, tuple(map(str, range(size)))))
    return nets, batches


def ours(recipe: Recipe, device: str, steps: int) -> tuple[float, str]:
    """Seconds of so many steps of kdlab's loop, and the hash of the weights that it ends with."""
    nets, batches = prepared(recipe, device)
    settings = replace(recipe.settings, epochs=1)
    count, stamps = steps * settings.batch_size, []

    def progress(numbers):
        for step in numbers:
            if step == 1:  # the first one pays for what is done once
                waited(device)
                stamps.append(time.perf_counter())
            yield step

    trained = fit(
        recipe.method, nets, Made(batches, range(count)), settings, 0, progress=progress, say=str
    )
    waited(device)
    seconds = time.perf_counter() - stamps[0]
    state = {
        f"{name}.{k}": v.cpu()
        for name in trained.owned
        for k, v in trained.nets[name].state_dict().items()
    }
    return seconds, weights_hash(state)


def bare(recipe: Recipe, device: str, steps: int) -> float:
    """Seconds of so many steps of what anybody would write."""
    nets, batches = prepared(recipe, device)
    parts, settings = recipe.method.networks_by_optimiser(nets), recipe.settings
    for name, net in nets.items():
        owned = any(name in names for names in parts.values())
        net.requires_grad_(owned).train(owned)
    weights = {
        key: [p for name in names for p in nets[name].parameters()] for key, names in parts.items()
    }
    optimisers = {
        key: torch.optim.AdamW(some, settings.lr, weight_decay=settings.weight_decay, fused=True)
        for key, some in weights.items()
    }
    began = 0.0
    for step in range(steps):
        if step == 1:
            waited(device)
            began = time.perf_counter()
        with torch.autocast(device, torch.bfloat16, settings.precision == "bf16"):
            for key, loss, _ in recipe.method.losses(
                nets, batches[step % 2], Progress(step, steps)
            ):
                optimisers[key].zero_grad(set_to_none=True)
                loss.backward()
                optimisers[key].step()
    waited(device)
    return time.perf_counter() - began


def flops(recipe: Recipe, device: str) -> int:
    """FLOPs of one step, by torch's counter."""
    nets, batches = prepared(recipe, device)
    with FlopCounterMode(display=False) as counted:
        for _, loss, _ in recipe.method.losses(nets, batches[0], Progress(0, 1)):
            loss.backward()
    return counted.get_total_flops()


def waited(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def row(recipe: Recipe, device: str, steps: int, peak: float) -> dict[str, object]:
    """What one kind of training does: clips/s of both loops and their ratio, memory, share of ``peak`` FLOP/s, bits."""
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    times, hashes = {"kdlab": [], "bare": []}, set()
    for _ in range(REPEATS):
        seconds, weights = ours(recipe, device, steps)
        times["kdlab"].append(seconds)
        hashes.add(weights)
        memory = torch.cuda.max_memory_allocated() if device == "cuda" else 0
        times["bare"].append(bare(recipe, device, steps))
    best, clips = (
        {name: min(column) for name, column in times.items()},
        (steps - 1) * recipe.settings.batch_size,
    )
    work = flops(replace(recipe, settings=replace(recipe.settings, batch_size=1)), device) * clips
    return {
        "batch": recipe.settings.batch_size,
        "clips/s": round(clips / best["kdlab"], 2),
        "bare clips/s": round(clips / best["bare"], 2),
        "ours / bare": round(best["bare"] / best["kdlab"], 3),
        "GiB": round(memory / 2**30, 2),
        "share of peak": round(work / best["kdlab"] / peak, 3),
        "same bits": len(hashes) == 1,
    }


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument(
        "steps", nargs="?", type=int, default=20, help="of each way, the first one not timed"
    )
    options.add_argument(
        "--tflops", type=float, default=989, help="dense bf16 rate; 989 of an H100, H200"
    )
    given = options.parse_args()
    if not torch.cuda.is_available():
        print(
            "benchmarks/gpu.py measures a CUDA GPU, and torch sees none here: run it where `kdlab doctor` names one.",
            file=sys.stderr,
        )
        return 2
    if given.steps < 2:
        options.error(f"steps={given.steps}: the first one is not timed, so give at least 2")
    half, why = bf16()
    table = {}
    for name, recipe in trainings("bf16" if half else "fp32").items():
        table[name] = row(recipe, "cuda", given.steps, given.tflops * 1e12)
        print(f"{name:28}", *(f"{key} {value}" for key, value in table[name].items()), sep="  ")
        torch.cuda.empty_cache()
    about = {
        "gpu": torch.cuda.get_device_name(),
        "bf16": why,
        "torch": torch.__version__,
        "steps": given.steps,
        "repeats": REPEATS,
        "TFLOP/s": given.tflops,
    }
    Path(__file__).with_suffix(".json").write_text(
        json.dumps({"rows": table, "environment": about}, indent=1)
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
