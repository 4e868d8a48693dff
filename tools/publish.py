"""Make the runs of a whole `make reproduce` the committed ones, one for each run in pretrained/.

A committed run whose like was not trained goes, unless its note has scores: then a study trained it (studies/), and it
stays. A run whose note has a lower score than the committed one under its name, or lacks one, is refused.

`.venv/bin/python tools/publish.py`, after a reproduction at demo size. Then `kdlab refresh`, and commit both.
"""

import shutil
from pathlib import Path

from kdlab.system import paths
from kdlab.train.runs import Run, committed_runs, why_unusable


def like(old: Run) -> Path | None:
    """The folder of the run that takes the place of ``old``: of its name, or else, of its condition, data and seed, the
    longest training. Raises SystemExit for a run that is stale, or worse than ``old``."""
    made = paths.runs_dir() / old.folder.name
    if not (made / "run.json").is_file():
        stem = old.folder.name.rpartition("-")[0]
        others = [Run(note.parent) for note in paths.runs_dir().glob(f"{stem}-*/run.json")]
        made = max(others, key=lambda run: run.provenance["steps"]).folder if others else None
    if made and (why := why_unusable(Run(made))):
        raise SystemExit(f"{made.name} is not to be published: {why}; run `make reproduce` first")
    for name, score in old.provenance.get("scores", {}).items() if made else ():
        if (new := Run(made).provenance.get("scores", {}).get(name)) is None or new < score:
            raise SystemExit(f"{made.name} is not to be published: its score on {name} is {new}, and the committed "
                             f"{old.folder.name} has {score}; publish it under another condition, or keep the old one")
    return made


def main() -> None:
    for old, made in [(old, like(old)) for old in committed_runs()]:  # all are judged before the first goes
        if not made and old.provenance.get("scores"):
            print(f"{old.folder.name}: stays, since no chapter but a study trains it")
            continue
        print(f"{old.folder.name}: {made.name if made else 'no chapter trains it any more, so it goes'}")
        shutil.rmtree(old.folder)
        if made:
            shutil.copytree(made, paths.pretrained_dir() / made.name, ignore=shutil.ignore_patterns("*.tmp"))


if __name__ == "__main__":
    main()
