"""Ratios of whole trainings at demo size: DL-KDD to CE, GenKD to CE of a gated student, two at once to one alone;
and of a step of the loop to one of a bare loop.

    python benchmarks/training.py [EPOCHS]       # prints a table, writes benchmarks/training.json

CPU seconds of `obtain`: clips opened (they lie in the cache), statistics, steps, validation, predictions, files. One
thread, a process each, in turn, ratios of minima; 10 epochs, of which 40 have the same ratios but for what is done
once. Teachers have one epoch. Two at once need two cores with nothing else to do. The bare loop is that of
`benchmarks/steps.py`.
"""

import json
import os
import shutil
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import torch
from steps import environment, steps, summary

from kdlab.papers.dual_light.recipes import dual_light
from kdlab.papers.generative.recipes import DEMO as GENERATIVE
from kdlab.papers.generative.recipes import conditions, night
from kdlab.system.pool import pool
from kdlab.train.obtain import obtain
from kdlab.train.recipe import Recipe
from kdlab.train.sizes import DEMO

REPEATS, STEPS = 3, 40


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


def at_once(recipes: list[Recipe], teachers: str) -> list[float]:
    """CPU seconds of each of ``recipes``, trained side by side in new processes, with the ``teachers`` of a folder."""
    with tempfile.TemporaryDirectory() as runs, pool(len(recipes)) as processes:
        shutil.copytree(teachers, runs, dirs_exist_ok=True)
        return list(processes.map(seconds, recipes, [runs] * len(recipes)))


def main() -> None:
    start, epochs = time.process_time(), int(sys.argv[1]) if len(sys.argv) > 1 else 10
    dark, generative = dual_light(DEMO), conditions(GENERATIVE, night(GENERATIVE))
    ways = {
        "CE": [dark["ce_raw"]],
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
                rows[name].append(sum(at_once(recipes, teachers)) / len(recipes))
    best = {name: min(column) for name, column in rows.items()}
    ratios = {
        f"{name} / {of}": round(best[name] / best[of], 3)
        for name, of in (
            ("DL-KDD", "CE"),
            ("GenKD", "CE, gated student"),
            ("CE, two at once", "CE"),
        )
    }
    loops = steps(DEMO.net, DEMO.window, DEMO.settings.batch_size, STEPS, 2 * REPEATS)
    rows |= loops
    ratios["a step of the loop / of a bare loop"] = round(
        min(loops["kdlab, CE"]) / min(loops["bare loop, CE"]), 3
    )
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
