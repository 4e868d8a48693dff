"""Make the runs of a whole `make reproduce` the committed ones: `pretrained/` with its numbers, and the notebooks.

`.venv/bin/python tools/publish.py`, after a reproduction at demo size. The runs are the first seeds of every condition
that the studies show at that size, with all that they need; a committed run of another size stays.
"""

import sys

import pandas as pd

from kdlab import paths
from kdlab.notebooks.parameters import all_notebooks
from kdlab.notebooks.refresh import put_back
from kdlab.notebooks.run import executed_dir
from kdlab.papers.dual_light.enhancer import TrainedCurves
from kdlab.studies import every
from kdlab.train.runs import find, publish
from kdlab.train.sizes import DEMO


def main() -> None:
    studies = [study for study in every().values() if study.yours]
    recipes = [column[0] for study in studies for column in study.yours().recipes.values()]
    recipes = [*dict.fromkeys([*recipes, TrainedCurves(DEMO.night).recipe()])]
    runs = {recipe: find(recipe, pretrained=False) for recipe in recipes}
    if lost := [recipe.name for recipe, run in runs.items() if run is None]:
        sys.exit(f"not trained here: {', '.join(lost)}; run `make reproduce` first")
    publish(runs.values())
    pd.concat([study.demo() for study in studies]).to_csv(paths.pretrained_dir() / "demo.csv", index=False)
    for notebook in all_notebooks():
        made = executed_dir().glob(f"{notebook.stem}-demo*.ipynb")
        put_back(notebook, max(made, key=lambda path: path.stat().st_mtime), "demo")
    print(f"{len(runs)} runs and {len(all_notebooks())} notebooks")


if __name__ == "__main__":
    main()
