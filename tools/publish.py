"""Make the runs of a whole `make reproduce` the committed ones: `pretrained/` with its numbers, and the notebooks.

`.venv/bin/python tools/publish.py`, after a reproduction at demo size. The runs are the first seeds of every condition
that the studies show at that size, with all that they need; a committed run of another size stays.
"""

import sys
from pathlib import Path

import pandas as pd

from kdlab import paths
from kdlab.notebooks.parameters import all_notebooks, declared_parameters, effective_parameters
from kdlab.notebooks.refresh import put_back
from kdlab.notebooks.reproduce import finished_record
from kdlab.notebooks.run import executed_file
from kdlab.papers.dual_light.enhancer import TrainedCurves
from kdlab.studies import every
from kdlab.train.runs import find, publish
from kdlab.train.sizes import DEMO

#: The parameters of what may be published: all else at its default.
_GIVEN = ({"profile": "demo"}, {"profile": "demo", "pretrained": False})


def executed(notebook: Path) -> Path | None:
    """The copy of ``notebook`` that was executed last, at demo size, to its end and by today's sources; ``None`` where
    there is none."""
    declared, found = declared_parameters(notebook), {}
    for given in _GIVEN:
        record = finished_record(notebook, given) if given.keys() <= declared.keys() else None
        if record:
            found[record["finished"]] = executed_file(notebook, effective_parameters(notebook, given))
    return found[max(found)] if found else None


def main() -> None:
    if not paths.figures_are_committed():
        sys.exit("committed notebooks show the committed evidence: unset KDLAB_FIGURES")
    studies = [study for study in every().values() if study.yours]
    recipes = [column[0] for study in studies for column in study.yours().recipes.values()]
    recipes = [*dict.fromkeys([*recipes, TrainedCurves(DEMO.night).recipe()])]
    runs = {recipe: find(recipe, pretrained=False) for recipe in recipes}
    if lost := [recipe.name for recipe, run in runs.items() if run is None]:
        sys.exit(f"not trained here: {', '.join(lost)}; run `make reproduce` first")
    pages = {notebook: executed(notebook) for notebook in all_notebooks()}
    if lost := [notebook.stem for notebook, page in pages.items() if page is None]:
        sys.exit(f"not executed to the end by today's sources: {', '.join(lost)}; run `make reproduce` first")
    publish(runs.values())
    pd.concat([study.demo() for study in studies]).to_csv(paths.pretrained_dir() / "demo.csv", index=False)
    for notebook, page in pages.items():
        put_back(notebook, page, "demo")
    print(f"{len(runs)} runs and {len(pages)} notebooks")


if __name__ == "__main__":
    main()
