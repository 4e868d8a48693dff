"""How long a notebook takes to the end of its first imports, and what takes it.

    python benchmarks/imports.py             # prints a table, writes benchmarks/imports.json

The parameters and the cell after them run in a process that has imported the kernel already: its start is Jupyter's.
Seconds are the least of :data:`REPEATS`, notebooks in turn; quiet, or the wall tells nothing. Beside them the packages
whose own modules take longest to import, in milliseconds, as ``python -X importtime`` counts them.
"""

import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import torch

from kdlab.system import paths

REPEATS = 2
TIMED = """import time, ipykernel.kernelapp, matplotlib_inline.backend_inline
wall, cpu = time.perf_counter(), time.process_time()
{cells}
print("\\n", time.perf_counter() - wall, time.process_time() - cpu)
"""


def first_cells(notebook: Path) -> str:
    """The cell of parameters and the one after it."""
    cells = [
        cell
        for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]
        if cell["cell_type"] == "code"
    ]
    return "\n".join("".join(cell["source"]) for cell in cells[:2])


def seconds(code: str) -> tuple[float, float]:
    """Wall and CPU seconds of one start."""
    said = subprocess.run(
        [sys.executable, "-c", TIMED.format(cells=code)], capture_output=True, text=True, check=True
    )
    return tuple(map(float, said.stdout.split()[-2:]))


def packages(code: str, most: int = 6) -> dict[str, int]:
    """Package → milliseconds in its own modules, the longest first."""
    run = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", f"import ipykernel.kernelapp\n{code}"],
        capture_output=True,
        text=True,
        check=True,
    )
    spent = Counter()
    for own, name in re.findall(r"import time:\s+(\d+) \|\s+\d+ \|\s+(\w+)", run.stderr):
        spent[name] += int(own) / 1000
    return {name: round(ms) for name, ms in spent.most_common(most)}


def main() -> None:
    notebooks = {
        file.stem: first_cells(file)
        for file in sorted((paths.project_root() / "notebooks").glob("*.ipynb"))
    }
    times = {name: [] for name in notebooks}
    for _ in range(REPEATS):
        for name, code in notebooks.items():
            times[name].append(seconds(code))
    rows = {}
    for name, code in notebooks.items():
        wall, cpu = (round(min(column), 2) for column in zip(*times[name], strict=True))
        rows[name] = {"wall": wall, "cpu": cpu, "packages": packages(code)}
        most = ", ".join(f"{package} {ms}" for package, ms in rows[name]["packages"].items())
        print(f"{name:38} {wall:5.2f} s, CPU {cpu:5.2f} s; {most}")
    note = {"torch": torch.__version__, "notebooks": rows}
    Path(__file__).with_suffix(".json").write_text(
        json.dumps(note, indent=1) + "\n", encoding="utf-8"
    )


if __name__ == "__main__":
    main()
