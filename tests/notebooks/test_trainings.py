"""What is said of the notebooks beforehand is what their cells ask for."""

import ast
import contextlib
import json
import os
import sys
from unittest.mock import MagicMock

import pytest

from kdlab import paths
from kdlab.notebooks import trainings as known
from kdlab.notebooks.parameters import effective_parameters
from kdlab.notebooks.trainings import trainings
from kdlab.train import many, runs
from kdlab.train.many import in_order

NOTEBOOKS = sorted((paths.project_root() / "notebooks").glob("*.ipynb"))
ASKS = ("obtain(", "obtain_all(", "collect(", "collected(", ".training(")
#: Its classes stand in its cells, where no other process finds them.
IN_CELLS = "11_bring_your_own"

pytestmark = pytest.mark.skipif(not NOTEBOOKS, reason="not a clone: there is no folder notebooks/")


def names(tree: ast.AST, kind: type) -> set[str]:
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, kind)}


def in_turn(cells: list[str]) -> list[str]:
    """The cells that ask for runs, each after those that assign what it reads; the parameters and imports first."""
    chosen, trees = set(), [ast.parse("\n".join("" if line[:1] in "%!" else line for line in cell.split("\n")))
                            for cell in cells]

    def choose(number: int) -> None:
        if number in chosen:
            return
        chosen.add(number)
        for name in names(trees[number], ast.Load):
            for k in reversed(range(number)):
                if name in names(trees[k], ast.Store):
                    choose(k)
                    break

    for number, cell in enumerate(cells):
        if number < 2 or (any(word in cell for word in ASKS) and not cell.startswith("if data:")):  # there is none
            choose(number)
    return [cells[k] for k in sorted(chosen)]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_asks_for_what_is_said_of_it_and_for_nothing_else(path, monkeypatch, tmp_path):
    monkeypatch.setenv("KDLAB_PROFILE", "smoke")
    monkeypatch.setenv("KDLAB_RUNS", str(tmp_path))
    monkeypatch.chdir(path.parent)
    named = trainings(path, effective_parameters(path, {"profile": "smoke", "pretrained": False}))
    if path.stem == IN_CELLS:
        assert named == ()
        return
    asked = []

    def one(recipe, **how):
        asked.append(recipe)
        return MagicMock()

    def several(recipes, **how):
        return [one(recipe) for recipe in recipes]

    put = {runs.obtain: one, many.obtain_all: several}
    code = [cell for cell in json.loads(path.read_text("utf-8"))["cells"] if cell["cell_type"] == "code"]
    told = {"display": lambda *_: None}
    for count, cell in enumerate(in_turn(["".join(cell["source"]) for cell in code])):
        before = len(asked)
        with contextlib.suppress(Exception) if count > 1 else contextlib.nullcontext():  # of runs that are none
            exec(compile(cell, path.name, "exec"), told)
        for module in [module for name, module in sys.modules.items() if name.startswith("kdlab.")]:
            for name, value in list(vars(module).items()):
                if callable(value) and getattr(value, "__hash__", None) and value in put:
                    monkeypatch.setattr(module, name, put[value])
        told |= {name: put[value] for name, value in told.items() if callable(value) and value in put}
        assert len(asked) >= before
    assert {recipe.name for recipe in in_order(asked)} == {recipe.name for recipe in in_order(named)}
    assert not [name for name in os.listdir(tmp_path) if (tmp_path / name / "run.json").exists()], "nothing is trained"


def test_of_every_notebook_something_is_said_and_of_none_that_is_gone():
    assert known._NAMED.keys() == {path.stem for path in NOTEBOOKS}


def test_a_fault_of_kdlabs_is_not_taken_for_a_changed_notebook(monkeypatch):
    monkeypatch.setitem(known._NAMED, NOTEBOOKS[0].stem, lambda parameters: {}["recipe"])
    with pytest.raises(KeyError, match="recipe"):
        trainings(NOTEBOOKS[0], {})


def test_of_a_notebook_with_other_parameters_nothing_is_known():
    scoreboard = next(path for path in NOTEBOOKS if path.stem == "10_scoreboard")
    assert trainings(scoreboard, {"profile": "smoke", "data": ""}) == ()
    assert trainings(scoreboard, {"profile": "smoke"}) is None
