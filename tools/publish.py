"""Make the runs of a whole `make reproduce` the committed ones: for each run in pretrained/ that of the same name.

`.venv/bin/python tools/publish.py`, after a reproduction at demo size. Then `kdlab refresh`, and commit both.
"""

import shutil
import sys

from kdlab import paths
from kdlab.train.runs import Run


def main() -> None:
    new = {}
    for note in sorted(paths.runs_dir().glob("*/run.json"), key=lambda note: note.stat().st_mtime):
        if not Run(note.parent).staleness():
            new[note.parent.name.rpartition("-")[0]] = note.parent  # without the digits; the last one made
    for old in sorted(paths.pretrained_dir().iterdir()):
        made = new.get(old.name.rpartition("-")[0])
        if made is None:
            sys.exit(f"{old.name}: today's sources have trained nothing of this name here; run `make reproduce` first")
        shutil.rmtree(old)
        shutil.copytree(made, paths.pretrained_dir() / made.name, ignore=shutil.ignore_patterns("*.tmp"))


if __name__ == "__main__":
    main()
