"""Sweeps: a notebook for each of several values, and one table of what it returned."""

import nbformat
import numpy as np
import pandas as pd
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from kdlab import paths
from kdlab.notebooks import results
from kdlab.notebooks import sweep as sweeping
from kdlab.notebooks.parameters import NotebookError
from kdlab.notebooks.run import executed_dir
from kdlab.notebooks.sweep import product, separate, sweep

PARAMETERS = "seed = 0\nrate = 0.1\nname = 'a'\nseeds = [0]"


@pytest.fixture
def notebook(tmp_path, monkeypatch):
    """Makes ``03_x`` in a stand-in for the clone: a parameters cell, then these."""
    monkeypatch.setattr(paths, "project_root", lambda: tmp_path)
    monkeypatch.setenv("KDLAB_RUNS", str(tmp_path / "runs"))
    (tmp_path / "notebooks").mkdir()

    def make(*cells):
        made = [new_code_cell(PARAMETERS, metadata={"tags": ["parameters"]}), *map(new_code_cell, cells)]
        path = tmp_path / "notebooks" / "03_x.ipynb"
        nbformat.write(new_notebook(cells=made), path)
        return path

    return make


@pytest.mark.parametrize("text, parts", [
    ("0", ["0"]), ("0,1,2", ["0", "1", "2"]), ("0, 1", ["0", "1"]), ("0.1,1e-3", ["0.1", "1e-3"]),
    ("true,False", ["true", "False"]), ("smoke,demo", ["smoke", "demo"]), ("/a b/c,/d", ["/a b/c", "/d"]),
    ('"a, b"', ["a, b"]), ("'a, b'", ["a, b"]), ('"a, b",c', ["a, b", "c"]), ('"/a,b",/c', ["/a,b", "/c"]),
    ("[4, 5]", ["[4, 5]"]), ("[4, 5],[6]", ["[4, 5]", "[6]"]), ('{"a": 1, "b": 2}', ['{"a": 1, "b": 2}']),
    ("01,02", ["01", "02"]), ('"x"', ['"x"']), ("0,,1", ["0", "", "1"]), ("(" * 9000 + ",", ["(" * 9000, ""]),
], ids=lambda value: str(value)[:20])
def test_commas_separate_values_but_in_quotes_and_brackets(text, parts):
    assert separate(text) == parts


def test_several_lists_make_their_product():
    assert product({"a": ["0", "1"], "b": ["x"], "c": ["u", "v"]}) == [
        {"a": a, "b": "x", "c": c} for a in "01" for c in "uv"]
    assert product({}) == [{}]


def test_what_is_kept_comes_back(capsys):
    shown = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("IPython.display.display", lambda data, raw: shown.append(data))
        results.keep(gain=np.float32(1.5), clips=np.int64(3), name="a", sure=np.bool_(True), lost=float("nan"))
        results.keep(clips=4)
    assert shown[0]["text/plain"] == "kept: gain 1.5, clips 3, name a, sure True, lost None"
    page = new_notebook(cells=[new_code_cell(outputs=[nbformat.v4.new_output("display_data", data) for data in shown])])
    assert results.kept(page) == {"gain": 1.5, "clips": 4, "name": "a", "sure": True, "lost": None}
    for value in ([1.0], None, object()):
        with pytest.raises(ValueError, match="keep\\(gain=…\\) takes a number or a text, got .*give one number"):
            results.keep(gain=value)


def test_a_sweep_keeps_what_succeeded_and_names_what_failed(notebook, command):
    notebook("from kdlab.notebooks.results import keep\nkeep(double=2 * seed, where=name)",
             "assert seed != 1, 'odd one'")
    code, out, err = command("run", 3, "-p", "seed", "0,1,2", "-p", "name", "'b, c'")
    assert code == 1 and "1/3: seed=0\n" in out and "3/3: seed=2\n" in out
    assert "failed: seed=1: cell 4 of 4 (assert seed != 1, 'odd one'): AssertionError: odd one" in err
    (table,) = executed_dir().glob("*.csv")
    assert str(table) in out and table.name.startswith("03_x-name=b_c") and table.stem.endswith("-by-seed")
    found = pd.read_csv(table)
    assert list(found) == ["notebook", "status", "seed", "double", "where"]
    assert list(found.status) == ["done", "failed", "done"] and list(found.seed) == [0, 1, 2]
    assert found.double.fillna(-1).tolist() == [0, -1, 4] and found["where"].tolist()[::2] == ["b, c"] * 2
    assert [line.split() for line in out.splitlines() if line.split()[-2:] == ["b,", "c"]] == [
        ["done", "0", "0", "b,", "c"], ["done", "2", "4", "b,", "c"]]


@pytest.fixture
def ended(monkeypatch):
    """Runs are noted in the list returned, and not executed; they return their parameters."""
    from kdlab.notebooks.run import Executed

    noted = []
    monkeypatch.setattr(sweeping, "run_notebook",
                        lambda path, given, **how: noted.append(given) or Executed(path.stem, "done", 1.0))
    monkeypatch.setattr(sweeping, "_returned", lambda executed: {"sum": sum(noted[-1]["seeds"])})
    return noted


def test_lists_of_two_parameters(notebook, ended):
    swept = sweep(notebook(), product({"seeds": separate("[0, 1],[5]"), "rate": separate("1,2")}), say=lambda _: None)
    assert ended == [{"seeds": seeds, "rate": rate} for seeds in ([0, 1], [5]) for rate in (1.0, 2.0)]
    assert swept.table.name == "03_x-by-seeds-rate.csv" and pd.read_csv(swept.table)["sum"].tolist() == [1, 1, 5, 5]
    assert list(swept.executed) == ["seeds=[0, 1], rate=1.0", "seeds=[0, 1], rate=2.0", "seeds=[5], rate=1.0",
                                    "seeds=[5], rate=2.0"]


def test_what_a_notebook_returns_does_not_cover_the_columns_of_the_sweep(notebook, ended, monkeypatch):
    returned = {"seed": 9, "notebook": "mine", "status": "good", "a": 1}
    monkeypatch.setattr(sweeping, "_returned", lambda executed: returned)
    swept = sweep(notebook(), [{"seed": "0"}, {"seed": "1"}], say=lambda _: None)
    rows = pd.read_csv(swept.table).to_dict("records")
    assert rows == [{"notebook": "03_x", "status": "done", "seed": seed, "a": 1} for seed in (0, 1)]
    assert sweeping.is_swept(swept.table)


def test_every_value_is_checked_before_the_first_kernel(notebook, ended):
    for texts in (["0", "x"], ["0", ""]):
        with pytest.raises(NotebookError, match="parameter 'seed' takes a value of type int"):
            sweep(notebook(), [{"seed": text} for text in texts])
    with pytest.raises(NotebookError, match="these 2 runs of 03_x are the same one"):
        sweep(notebook(), [{"seed": "1"}, {"seed": "0x1"}])
    assert ended == []


def test_somebodys_table_is_not_written_over(notebook, ended):
    path = notebook()
    executed_dir().mkdir(parents=True)
    (mine := executed_dir() / "03_x-by-seed.csv").write_text("seed,notes\n")
    with pytest.raises(ValueError, match="no table of runs of kdlab's"):
        sweep(path, [{"seed": "0"}, {"seed": "1"}])
    assert ended == [] and mine.read_text() == "seed,notes\n"


def test_one_value_is_one_run_and_a_path_may_hold_a_comma(notebook, command):
    notebook()
    code, _, err = command("run", 3, "--data", "a,b")
    assert code == 2 and "03_x has no parameter 'data'" in err
    assert "separated by commas" in command("run", 3, "-p", "seed", "0", "-p", "seed", "1")[2]
