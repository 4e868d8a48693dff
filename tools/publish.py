"""Make the runs of a whole `make reproduce` the committed ones: pretrained/ becomes what the chapters train on `night`.

A committed run whose note has scores, also none (``{}``), trains too long for a reproduction. A study trains it
(studies/), or notebook 06 where it is stale. It stays, unless a run of its name takes its place; a run with a lower
score, or without one, is refused.

`.venv/bin/python tools/publish.py`, after a reproduction at demo size into an empty runs/. Then `kdlab refresh`, and
commit both.
"""

import shutil

from kdlab.datasets.user_clips import UserClips
from kdlab.system import paths
from kdlab.train.runs import Run, committed_runs, why_unusable


def main() -> None:
    made = [Run(note.parent) for note in sorted(paths.runs_dir().glob("*/run.json"))]
    for run in made:  # all are judged before the first goes
        if why := why_unusable(run):
            raise SystemExit(
                f"{run.folder.name} is not to be published: {why}; delete it, then run `make reproduce`"
            )
    for old in [old for old in committed_runs() if not stays(old, made)]:
        shutil.rmtree(old.folder)
    for run in made:
        if not isinstance(run.recipe.data, UserClips):
            shutil.copytree(
                run.folder,
                paths.pretrained_dir() / run.folder.name,
                ignore=shutil.ignore_patterns("*.tmp"),
            )
            print(run.folder.name)


def stays(old: Run, made: list[Run]) -> bool:
    """Whether ``old`` has scores, and no run of its name is in ``made``. Raises SystemExit for one that is worse."""
    scores = old.provenance.get("scores", {})
    named = [
        run
        for run in made
        if run.folder.name.rpartition("-")[0] == old.folder.name.rpartition("-")[0]
    ]
    for run in named:
        for name, score in scores.items():
            if (new := run.provenance.get("scores", {}).get(name)) is None or new < score:
                raise SystemExit(
                    f"{run.folder.name} is not to be published: its score on {name} is {new}, and the "
                    f"committed {old.folder.name} has {score}; publish it under another condition, or "
                    "keep the old one"
                )
    return "scores" in old.provenance and not named


if __name__ == "__main__":
    main()
