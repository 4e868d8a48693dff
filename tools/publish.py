"""Make the runs of a whole `make reproduce` the committed ones, one for each run in pretrained/.

A committed run whose like was not trained goes.

`.venv/bin/python tools/publish.py`, after a reproduction at demo size. Then `kdlab refresh`, and commit both.
"""

import shutil

from kdlab.system import paths
from kdlab.train.runs import Run, why_unusable


def main() -> None:
    for old in sorted(paths.pretrained_dir().iterdir()):
        made = paths.runs_dir() / old.name
        if not (made / "run.json").is_file():  # another recipe: of its condition, data and seed the longest training
            like = [Run(note.parent) for note in paths.runs_dir().glob(f"{old.name.rpartition('-')[0]}-*/run.json")]
            made = max(like, key=lambda run: run.provenance["steps"]).folder if like else None
        if made and (why := why_unusable(Run(made))):
            raise SystemExit(f"{made.name} is not to be published: {why}; run `make reproduce` first")
        print(f"{old.name}: {made.name if made else 'no chapter trains it any more, so it goes'}")
        shutil.rmtree(old)
        if made:
            shutil.copytree(made, paths.pretrained_dir() / made.name, ignore=shutil.ignore_patterns("*.tmp"))


if __name__ == "__main__":
    main()
