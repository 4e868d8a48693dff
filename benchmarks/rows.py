"""Memory and seconds of what reads many rows, over 1,000, 10,000 and 100,000 of them.

    python benchmarks/rows.py              # prints a table, writes rows.json
    python benchmarks/rows.py clips runs   # of evidence, trainings, runs, clips these; rows.json keeps the others

What is read is made first, in a temporary folder (empty clips, small notes). Each number is of a forked process that
has imported kdlab, on Linux: seconds of the wall, and the megabytes by which it grew at most. "times" compares the
seconds with those of a tenth of the rows: about 10 is linear, 100 quadratic. One that takes longer than a minute is
ended.
"""

import json
import os
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from steps import environment

import kdlab
from kdlab.cli.cleaning import look
from kdlab.clips.catalogue import open_clips
from kdlab.clips.shards import _add, in_shards
from kdlab.clips.tables import read_list
from kdlab.clips.views import Window
from kdlab.nets.video import TinyR2Plus1D
from kdlab.night import Night
from kdlab.study.scores import Scores
from kdlab.study.table import convergence, load_rows
from kdlab.system.engines import _levels
from kdlab.system.files import save_arrays
from kdlab.system.processes import in_turn, longest_first
from kdlab.system.stored import sealed
from kdlab.train.many import in_order
from kdlab.train.recipe import Recipe
from kdlab.train.runs import Run, find
from kdlab.train.status import TRIED, standings, tried

COUNTS = (1_000, 10_000, 100_000)
LONGEST = 60.0


def clips(folder: Path, count: int) -> dict[str, Callable]:
    """Empty clips in class folders, their table, a released list, and a manifest in which they all stand."""
    names = [f"class{k % 50:02}/clip{k:06}.mp4" for k in range(count)]
    for k in range(50):
        (folder / "set" / f"class{k:02}").mkdir(parents=True)
    for name in names:
        (folder / "set" / name).touch()
    rows = [f"{name},{name[:7]},{('train', 'train', 'val', 'test')[k // 50 % 4]},g{k // 50}"
            for k, name in enumerate(names)]
    table, listed, manifest = (folder / name for name in ("index.csv", "list.txt", "manifest.jsonl"))
    (folder / "set" / table.name).write_text("path,label,split,group\n" + "\n".join(rows))
    listed.write_text("\n".join(f"{name} {k % 50}" for k, name in enumerate(names)))
    files = [folder / "set" / name for name in names]
    marks = [f"asked {(about := file.stat()).st_size} {about.st_mtime_ns}" for file in files]
    _add(manifest, [{"file": str(file), "what": mark, "row": {"frames": 90, "bytes": 12345, "kept": False}}
                    for file, mark in zip(files, marks, strict=True)])
    return {
        "table of clips": lambda: len(open_clips(folder / "set" / "index.csv").records),
        "its fingerprint": lambda: open_clips(folder / "set" / "index.csv").fingerprint() and count,
        "released list": lambda: len(read_list(listed, 2)),
        "manifest": lambda: sum(kept for *_, kept in in_shards(len, files, manifest, "asked")),
    }


def runs(folder: Path, count: int) -> dict[str, Callable]:
    """Run folders with their notes, and the list of trainings."""
    os.environ["KDLAB_RUNS"] = str(place := folder / "runs")
    note = {"recipe": {"type": "kdlab.train.recipe:Recipe"}, "cpu_seconds": 1.0, "weights": "0" * 64}
    content = json.dumps(sealed(note))
    names = [f"ce_raw-clips-s{k}-{k:06x}" for k in range(count)]
    for name in names:
        (place / name).mkdir(parents=True)
        (place / name / "run.json").write_text(content)
    (place / TRIED).write_text("time,sources,data,run\n" + "".join(f"2026-01-01,a,b,{name}\n" for name in names))

    class Named:
        def __init__(self, name: str):
            self.name = name

    recipes = [Named(name) for name in names]
    return {
        "runs found and their notes read": lambda: sum(
            find(recipe, False).provenance["cpu_seconds"] > 0 for recipe in recipes),
        "trainings ever tried": lambda: tried(names),
        "clean --runs, what there is": lambda: len(look("runs").ours),
    }


def trainings(folder: Path, count: int) -> dict[str, Callable]:
    """Trainings, half of which need the one before: their names and how far they are, and their order."""
    os.environ["KDLAB_RUNS"] = str(folder / "none")
    needs = {k: {k - 1} if k % 2 else set() for k in range(count)}

    class Done:
        exception, result = staticmethod(lambda: None), staticmethod(lambda: 1)

    def scheduled() -> int:
        from unittest.mock import patch

        class Ended:
            def __init__(self, jobs):
                self.done = list(jobs)

        with patch("kdlab.system.processes.wait", lambda jobs, **how: Ended(jobs)):
            return sum(map(len, in_turn(lambda item: Done(), 64, {k: set(v) for k, v in needs.items()})))

    recipes = [Recipe("ce_raw", Night(), TinyR2Plus1D(), window=Window(), seed=k) for k in range(count)]
    return {
        "longest chain first": lambda: len(longest_first(needs, dict.fromkeys(needs, 1.0))),
        "items in turn": scheduled,
        "status of trainings": lambda: len(standings(in_order(recipes), {})),
        "rows of an engine": lambda: sum(map(len, _levels(needs))),
    }


def evidence(folder: Path, count: int) -> dict[str, Callable]:
    """Predictions of ``count`` clips by five seeds of two conditions; and a study's table of as many rows."""
    rng, os.environ["KDLAB_FIGURES"] = np.random.default_rng(0), str(folder)
    ids, labels = np.array([f"class/clip{k:06}" for k in range(count)]), rng.integers(0, 11, count)
    said = {name: np.where(rng.random((5, count)) < share, labels, 0) for name, share in (("a", 0.7), ("b", 0.6))}
    logits = rng.normal(size=(count, 11)).astype(np.float32)
    units = np.array([f"g{k // 20}" for k in range(count)])
    Scores(tuple("abcdefghijk"), tuple(range(5)), ids, units, labels, said, {"a": logits}).save(folder / "scores.npz")
    save_arrays(folder / "predictions.npz", {"test_ids": ids, "test_groups": units, "test_labels": labels,
                                             "test_logits": logits})
    (folder / "run.json").write_text(json.dumps(sealed({"files": {}})))
    pd.DataFrame({"study": "s", "data": "d", "condition": [("ce_raw", "ce_2x")[k % 2] for k in range(count)],
                  "seed": [k // 2 for k in range(count)], "fold": "", "metric": "val_accuracy",
                  "value": rng.normal(60, 2, count), "unit": "%", "recipe": "x"}).to_csv(folder / "s.csv", index=False)

    def judged() -> int:
        scores = Scores.load(folder / "scores.npz")
        return len(scores.ids) * (scores.effect("a", "b").mean > 0)

    return {
        "predictions of a run": lambda: len(Run(folder).predictions().ids) * (Run(folder).predictions().accuracy > 0),
        "scores and a paired effect": judged,
        "table of a study": lambda: len(load_rows("s")) * (abs(convergence(load_rows("s"), "d")[0]) < 9),
    }


def measured(work: Callable[[], int], count: int) -> dict:
    """Seconds and megabytes of ``work()``, which must say ``count``, in a fork."""
    out, into = os.pipe()
    begun, pid = time.monotonic(), os.fork()
    if pid == 0:
        code = 1
        try:
            kdlab.give_memory_back()
            Path("/proc/self/clear_refs").write_text("5")  # the peak is from here on
            before, begun = _kilobytes("VmRSS"), time.monotonic()
            if (found := work()) != count:
                raise RuntimeError(f"{found} instead of {count} rows")
            seconds, grown = time.monotonic() - begun, _kilobytes("VmHWM") - before
            os.write(into, json.dumps({"seconds": round(seconds, 3), "megabytes": round(grown / 1024, 1)}).encode())
            code = 0
        except Exception:
            traceback.print_exc()
        finally:
            os._exit(code)
    os.close(into)
    while not (ended := os.waitpid(pid, os.WNOHANG))[0]:
        time.sleep(0.01)
        if time.monotonic() - begun > LONGEST:
            os.kill(pid, 9)
            os.waitpid(pid, 0)
            return {"seconds": None, "megabytes": None}
    if ended[1]:
        sys.exit(1)
    with open(out) as answer:
        return json.loads(answer.read())


def _kilobytes(which: str) -> int:
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith(which))


def main() -> None:
    start, words, kept = time.process_time(), sys.argv[1:], Path(__file__).with_suffix(".json")
    table = json.loads(kept.read_text())["rows"] if words and kept.is_file() else {}
    for make in (evidence, trainings, runs, clips):
        for count in COUNTS:
            if words and make.__name__ not in words:
                continue
            with tempfile.TemporaryDirectory() as place:
                for name, work in make(Path(place), count).items():
                    table.setdefault(name, {})[str(count)] = measured(work, count)
                    print(_line(name, table[name]), flush=True)
            kept.write_text(json.dumps({"rows": table, "environment": environment(start)}, indent=1))


def _line(name: str, row: dict[str, dict]) -> str:
    """Of ``name``: each count's seconds, megabytes, and times the seconds before."""
    cells, last = [], None
    for count, found in row.items():
        seconds = found["seconds"]
        times = f", {seconds / last:.1f} times" if last and seconds else ""
        cells.append(f"{int(count):,}: " + (f"over {LONGEST:.0f} s" if seconds is None else
                                            f"{seconds:.2f} s {found['megabytes']:.0f} MB{times}"))
        last = seconds
    return f"{name:34}" + "   ".join(cells)


if __name__ == "__main__":
    main()
