"""Chapters run headlessly: parameters are checked, a cell that fails is named, what is finished is skipped."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import nbformat
import numpy as np
import psutil
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from kdlab.cli import notebooks
from kdlab.cli.notebooks import NotebookFailed
from kdlab.system import paths


@pytest.fixture
def clone(own_places, monkeypatch):
    monkeypatch.setattr(paths, "project_root", lambda: own_places)
    monkeypatch.setattr(notebooks, "available_cores", lambda: 2)
    (own_places / "notebooks").mkdir()
    return own_places


def write(clone, name, *cells, parameters="seed = 0\ndata = None\npretrained = True"):
    made = [
        new_markdown_cell(f"# {name}"),
        new_code_cell(parameters, metadata={"tags": ["parameters"]}),
    ]
    path = clone / "notebooks" / f"{name}.ipynb"
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(new_notebook(cells=[*made, *map(new_code_cell, cells)], metadata=kernel), path)
    return path


def test_chapters_are_found_by_number_or_name(clone):
    with pytest.raises(ValueError, match="no notebooks in .*`kdlab notebooks DIR` writes them"):
        notebooks.chapters()
    for name in ("03_x", "10_z", "03_x-Copy1"):
        write(clone, name)
    assert [path.stem for path in notebooks.chapters()] == ["03_x", "10_z"]
    assert [notebooks.find(name).stem for name in ("3", "03", "10_z")] == ["03_x", "03_x", "10_z"]
    with pytest.raises(ValueError, match="no notebook '4'; there are 03_x, 10_z"):
        notebooks.find("4")
    with pytest.raises(ValueError, match="no notebook ''"):
        notebooks.find("")
    one, other = (notebooks.executed(clone, {"data": f"/{place}/clips"}) for place in "ab")
    assert one != other  # two folders of one name


@pytest.mark.parametrize(
    "given, says",
    [
        ({"sed": 1}, "03_x has no parameter 'sed'; it has seed, data"),
        ({"data": "no/where"}, "no such data: .*no/where"),
    ],
)
def test_a_parameter_that_does_not_fit_is_refused_before_a_kernel_starts(clone, given, says):
    path = write(clone, "03_x", "open('ran', 'w')")
    with pytest.raises((ValueError, FileNotFoundError), match=says):
        notebooks.run(path, given)
    assert not (clone / "notebooks" / "ran").exists()


def test_a_chapter_works_in_its_folder_with_its_parameters_and_says_what_made_it(clone):
    path = write(clone, "03_x", "import os; print(seed, os.path.basename(os.getcwd()))")
    made = notebooks.run(path, {"seed": 3})
    assert made == paths.runs_dir() / "notebooks" / "03_x-seed=3.ipynb"
    page = json.loads(made.read_text("utf-8"))
    assert page["cells"][-1]["outputs"][0]["text"] == ["3 notebooks\n"]
    assert page["metadata"]["kdlab"]["made_by"] == notebooks.made_by(path, {"seed": 3})
    assert notebooks.made_by(path, {"seed": 3}) != notebooks.made_by(path, {"seed": 4})


@pytest.mark.parametrize(
    "cell, says",
    [
        ("raise KeyError('gone')", "KeyError"),
        (r"raise ValueError('2 clips:\n  a\n  b')", "ValueError: 2 clips: a;"),
        ("import sys; sys.exit(3)", "3|kernel died|SystemExit"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "[Kk]ernel died"),
    ],
)
def test_a_cell_that_raises_leaves_or_kills_its_kernel_is_a_failure(clone, cell, says):
    path = write(clone, "03_x", "x = 1", cell, "y = 2")
    with pytest.raises(
        NotebookFailed, match=f"^03_x: .*({says}).* did so far: .*03_x.partial.ipynb$"
    ):
        notebooks.run(path, {})
    assert not (paths.runs_dir() / "notebooks" / "03_x.ipynb").exists()
    assert (paths.runs_dir() / "notebooks" / "03_x.partial.ipynb").exists()


def test_reproduce_skips_what_is_finished_and_goes_on_after_a_failure(clone):
    first = write(clone, "01_a", "assert not pretrained")
    second = write(clone, "02_b", "raise ValueError('wrong')")
    with pytest.raises(NotebookFailed, match="02_b"):
        notebooks.reproduce(say=str)
    write(clone, "02_b", "x = 1")
    said = []
    ended = notebooks.reproduce(say=said.append)
    assert ended["01_a"].startswith("skipped")
    assert ended["02_b"].startswith("done")
    assert len(said) == 1
    write(clone, "01_a", "x = 2")
    # it has changed
    assert notebooks.reproduce(say=str)["01_a"].startswith("done")
    assert first.exists() and second.exists()


CALL = """
from pathlib import Path
from kdlab.cli import notebooks
from kdlab.system import paths
paths.project_root = lambda: Path(ROOT)
if __name__ == "__main__":
    notebooks.reproduce()
"""


@pytest.mark.slow
def test_the_first_chapter_passes_beside_a_run_of_another_kind_of_cpu(own_places):
    env = os.environ | {
        "KDLAB_PROFILE": "demo",
        "ATEN_CPU_CAPABILITY": "avx2",
        "ONEDNN_MAX_CPU_ISA": "SSE41",
    }
    done = subprocess.run(
        [sys.executable, "-m", "kdlab.cli.main", "run", "00"], env=env, stderr=subprocess.PIPE
    )
    assert done.returncode == 0, done.stderr.decode()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_an_interrupted_reproduction_leaves_no_kernel(clone):
    write(
        clone, "01_a", f"import time\nopen({str(clone / 'began')!r}, 'w').close()\ntime.sleep(100)"
    )
    (clone / "call.py").write_text(CALL.replace("ROOT", repr(str(clone))))
    env = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    child = subprocess.Popen(
        [sys.executable, str(clone / "call.py")], env=env, stderr=subprocess.DEVNULL
    )
    while not (clone / "began").exists():
        assert child.poll() is None
    everything = psutil.Process(child.pid).children(recursive=True)
    child.send_signal(signal.SIGINT)
    assert child.wait(timeout=30) and not psutil.wait_procs(everything, timeout=10)[1]


def test_committed_outputs_are_replaced_and_known_to_be_stale(clone):
    path = write(clone, "01_a", "seed + 41")
    trained = notebooks._about(notebooks.run(path, {"pretrained": False}))
    assert notebooks.stale() == ["01_a"]
    notebooks.refresh(str)
    # the order of the next reproduction
    assert notebooks._about(path)["seconds"] == trained["seconds"]
    assert notebooks.stale() == [] and "data" in path.read_text("utf-8")
    assert json.loads(path.read_text("utf-8"))["cells"][-1]["outputs"][0]["data"]["text/plain"] == [
        "41"
    ]


@pytest.mark.parametrize(
    "losses, weights, good", [([1.0], "a", True), ([1.0], "b", True), ([1.1], "b", False)]
)
def test_todays_runs_agree_with_the_committed_ones(clone, monkeypatch, losses, weights, good):
    (paths.runs_dir() / "run").mkdir(parents=True)
    (paths.runs_dir() / "run" / "run.json").write_text("{}")

    def run(folder, weights=weights, losses=losses):
        note = {"weights": weights, "needed": {}, "first_losses": losses}
        said = SimpleNamespace(accuracy=np.float64(50))
        return SimpleNamespace(folder=folder, provenance=note, predictions=lambda: said)

    monkeypatch.setattr("kdlab.train.runs.Run", run)
    monkeypatch.setattr("kdlab.train.runs.committed_runs", lambda: [run(clone / "run", "a", [1.0])])
    lines, agrees = notebooks.compared_with_pretrained()
    assert agrees == good and ("the same bits" in lines[0]) == (weights == "a")
