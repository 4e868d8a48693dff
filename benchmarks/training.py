"""Ratios of whole trainings at demo size: DL-KDD to CE, GenKD to CE of a gated student, two at once to one alone; CE
to a bare training.

    python benchmarks/training.py [EPOCHS]       # prints a table, writes benchmarks/training.json

CPU seconds of `obtain`: clips opened (they lie in the cache), statistics, steps, validation, predictions, files. One
thread, a process each, in turn, ratios of minima; 20 epochs. Teachers have one epoch. Two at once need two cores with
nothing else to do. The bare training is what anybody would write: the same frames in memory, the same number of draws
and steps (the loop of `benchmarks/steps.py`), predictions of validation and test clips at its end.
"""

import json
import os
import shutil
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from steps import bare_loop, environment, summary
from torchvision.transforms.v2 import CenterCrop, Compose, RandomCrop, RandomHorizontalFlip

from kdlab.nets.video import build
from kdlab.papers.dual_light.recipes import dual_light
from kdlab.papers.generative.recipes import DEMO as GENERATIVE
from kdlab.papers.generative.recipes import conditions, night
from kdlab.system.pool import pool
from kdlab.train.obtain import obtain
from kdlab.train.preparing import batches
from kdlab.train.recipe import Recipe
from kdlab.train.sizes import DEMO

REPEATS = 3


def short(recipe: Recipe, epochs: int) -> Recipe:
    """The recipe for so many epochs, under a teacher of one."""
    taught = replace(recipe, settings=replace(recipe.settings, epochs=epochs))
    return replace(taught, teacher=short(recipe.teacher, 1)) if recipe.teacher else taught


def seconds(recipe: Recipe, runs: str) -> float:
    """CPU seconds of training ``recipe``, whose teacher is found in ``runs``."""
    os.environ |= {"KDLAB_RUNS": runs, "KDLAB_HEADLESS": "quiet"}
    torch.set_num_threads(1)
    start = time.process_time()
    obtain(recipe, pretrained=False, say=str)
    return time.process_time() - start


def bare(recipe: Recipe, _: str) -> float:
    """CPU seconds of training the network of ``recipe`` without kdlab's loop."""
    torch.set_num_threads(1)
    start, size, count = time.process_time(), recipe.settings.batch_size, recipe.window.frames
    clips, tested, labels = [], [], []
    for split in ("train", "val", "test"):
        its = batches(recipe, split)
        for record in its.records:
            pixels = its.pixels(record, recipe.view, np.arange(its.length(record)))
            clip = torch.from_numpy(pixels).permute(0, 3, 1, 2)
            (clips if split == "train" else tested).append(clip)
            labels.append(record.label)
    labels = torch.tensor(labels)
    pixels = torch.cat(clips) / 255
    spread = pixels.mean((0, 2, 3)), pixels.std((0, 2, 3))
    net = build(recipe.net, len(labels.unique()), recipe.seed, *spread)
    centre = CenterCrop(recipe.window.crop)
    place = Compose([RandomCrop(recipe.window.crop), RandomHorizontalFlip()])

    def cut(some, how, phase=0.5):
        moments = (torch.arange(count) + phase) / count
        cuts = [how(clip[(moments * len(clip)).long()]) for clip in some]
        return torch.stack(cuts).transpose(1, 2) / 255

    def drawn():
        for _ in range(recipe.settings.epochs):
            for some in torch.randperm(len(clips)).split(size)[: len(clips) // size]:
                yield cut([clips[i] for i in some], place, torch.rand(())), labels[some]

    steps = recipe.settings.epochs * (len(clips) // size)
    bare_loop(net, drawn(), recipe.settings.lr, steps)
    with torch.no_grad():
        for first in range(0, len(tested), 32):
            net.eval()(cut(tested[first : first + 32], centre))
    return time.process_time() - start


def at_once(recipes: list[Recipe], teachers: str, way=seconds) -> list[float]:
    """CPU seconds by a ``way`` of each of ``recipes``, trained side by side in new processes, with the ``teachers`` of a
    folder."""
    with tempfile.TemporaryDirectory() as runs, pool(len(recipes)) as processes:
        shutil.copytree(teachers, runs, dirs_exist_ok=True)
        return list(processes.map(way, recipes, [runs] * len(recipes)))


def main() -> None:
    start, epochs = time.process_time(), int(sys.argv[1]) if len(sys.argv) > 1 else 20
    dark, generative = dual_light(DEMO), conditions(GENERATIVE, night(GENERATIVE))
    ways = {
        "CE": [dark["ce_raw"]],
        "a bare training": [dark["ce_raw"]],
        "DL-KDD": [dark["dlkdd"]],
        "CE, gated student": [generative["student_gate"]],
        "GenKD": [generative["genkd"]],
        "CE, two at once": [dark["ce_raw"], replace(dark["ce_raw"], seed=1)],
    }
    ways = {name: [short(recipe, epochs) for recipe in recipes] for name, recipes in ways.items()}
    rows = {name: [] for name in ways}
    with tempfile.TemporaryDirectory() as teachers:
        for recipe in (recipe for recipes in ways.values() for recipe in recipes if recipe.teacher):
            seconds(recipe.teacher, teachers)
        for _ in range(REPEATS):
            for name, recipes in ways.items():
                way = bare if name == "a bare training" else seconds
                rows[name].append(sum(at_once(recipes, teachers, way)) / len(recipes))
    best = {name: min(column) for name, column in rows.items()}
    ratios = {
        f"{name} / {of}": round(best[name] / best[of], 3)
        for name, of in (
            ("CE", "a bare training"),
            ("DL-KDD", "CE"),
            ("GenKD", "CE, gated student"),
            ("CE, two at once", "CE"),
        )
    }
    table = summary(rows)
    for name, value in ratios.items():
        print(f"{name:40} {value}")
    result = {
        "ratios": ratios,
        "rows": table,
        "epochs": epochs,
        "repeats": REPEATS,
        "environment": environment(start),
    }
    Path(__file__).with_suffix(".json").write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
