"""The trainings of a small study by every engine: the pool, Ray on two nodes of this machine, Ray that loses one of
them, and submitit's local executor. Are the bits equal, and how long does each take?

    python benchmarks/engines.py            # prints a table, writes engines.json
    python benchmarks/engines.py pool ray   # these engines; what is not installed is left out, and said

The trainings are those of DL-KDD at smoke size, its teacher and CE, by two seeds, but for the epochs (EPOCHS), so that
a node can be killed in the middle of one. Runs, clips and cache lie in a temporary folder; the clips are made and
in the cache before the first clock starts. A row's digest is over the bytes of all weights.safetensors, in the order of
their folders' names.
"""

import hashlib
import importlib.util
import json
import os
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch
from steps import environment

from kdlab.night import make_night
from kdlab.papers.dual_light.recipes import dual_light
from kdlab.system.engines import Engine, Ray, Slurm
from kdlab.train.many import in_order, obtain_all
from kdlab.train.preparing import open_ahead
from kdlab.train.recipe import Recipe
from kdlab.train.sizes import SMOKE

EPOCHS, SEEDS, WORKERS = 10, 2, 2
NEEDS = {"pool": None, "ray": "ray", "ray, a node killed": "ray", "submitit, local": "submitit"}


def longer(recipe: Recipe) -> Recipe:
    """The recipe and those it needs, for EPOCHS epochs."""
    needed = {name: longer(other) for name in ("teacher", "start") if (other := getattr(recipe, name))}
    return replace(recipe, settings=replace(recipe.settings, epochs=EPOCHS), **needed)


@contextmanager
def engine(name: str, runs: Path) -> Iterator[Engine | None]:
    """The engine of a row, begun; Ray's killed node dies once two trainings have a checkpoint."""
    if name == "pool":
        yield None
    elif name == "submitit, local":
        yield Slurm(cluster="local", minutes=5)
    else:
        from ray.cluster_utils import Cluster

        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
        nodes, over = [cluster.add_node(num_cpus=1) for _ in range(2)], threading.Event()

        def kill() -> None:
            while len(list(runs.glob("*/checkpoint.safetensors"))) < 2:
                if over.wait(0.01):
                    return
            cluster.remove_node(nodes[0], allow_graceful=False)

        killer = threading.Thread(target=kill)
        try:
            if "killed" in name:
                killer.start()
            yield Ray(cluster.address)
        finally:
            over.set()
            if "killed" in name:
                killer.join()
            cluster.shutdown()


def row(name: str, recipes: list[Recipe], place: Path) -> dict:
    """Train by the engine ``name`` in a folder of its own."""
    runs = place / name
    os.environ["KDLAB_RUNS"] = str(runs)
    with engine(name, runs) as its:
        start = time.monotonic()
        obtain_all(recipes, pretrained=False, engine=its, workers=WORKERS, say=lambda line: None)
        wall = time.monotonic() - start
    digest, files = hashlib.sha256(), sorted(runs.glob("*/weights.safetensors"))
    for file in files:
        digest.update(file.parent.name.encode() + file.read_bytes())
    begun = len((runs / "tried.csv").read_text().splitlines()) - 1
    return {"trainings": len(files), "begun": begun, "wall_seconds": round(wall, 1), "digest": digest.hexdigest()[:16]}


def main() -> None:
    start, wanted = time.process_time(), sys.argv[1:]
    os.environ |= {"KDLAB_HEADLESS": "quiet", "RAY_USAGE_STATS_ENABLED": "0"}
    torch.set_num_threads(1)
    rows, failed = {}, []
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        place = Path(folder)
        os.environ |= {f"KDLAB_{name}": str(place / name.lower()) for name in ("DATA", "CACHE", "RUNS", "FIGURES")}
        recipes = [longer(dual_light(SMOKE, seed)[name]) for seed in range(SEEDS) for name in ("ce_raw", "dlkdd")]
        for night in {recipe.data for recipe in in_order(recipes)}:
            make_night(night, progress=False)
        open_ahead(in_order(recipes))
        for name, module in NEEDS.items():
            if wanted and not any(name.startswith(word) for word in wanted):
                continue
            if module and importlib.util.find_spec(module) is None:
                print(f"{name}: {module} is not installed here")
                continue
            try:
                rows[name] = row(name, recipes, place)
            except Exception as error:  # a Ray that does not start in the half minute that it gives itself, say
                print(f"{name}: {type(error).__name__}: {error}")
                failed.append(name)
    print(f"{'engine':22}{'trainings':>10}{'begun':>7}{'wall s':>8}   weights")
    for name, found in rows.items():
        print(f"{name:22}{found['trainings']:10}{found['begun']:7}{found['wall_seconds']:8.1f}   {found['digest']}")
    equal = len({found["digest"] for found in rows.values()}) == 1
    print(f"the same bits from {len(rows)} engines" if equal else "OTHER BITS")
    if not wanted and not failed:
        about = {"rows": rows, "epochs": EPOCHS, "seeds": SEEDS, "environment": environment(start)}
        Path(__file__).with_suffix(".json").write_text(json.dumps(about, indent=1))
    sys.exit(0 if equal and not failed else 1)


if __name__ == "__main__":
    main()
