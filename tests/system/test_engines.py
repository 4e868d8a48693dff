"""Ray itself, with two nodes of one core each, and submitit's local executor; skipped where they are not installed."""

import contextlib
import importlib.util
import os
import socket
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path

import pytest
import torch

from kdlab import paths
from kdlab.system import engines
from kdlab.system.engines import EngineError, Ray, Slurm, WorkerLost, WorkFailed
from kdlab.system.launch import device

needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs the extra kdlab[ray]")
needs_submitit = pytest.mark.skipif(importlib.util.find_spec("submitit") is None, reason="needs the extra kdlab[slurm]")
LOCAL = Slurm(cluster="local", minutes=5, patience=1)


@pytest.fixture
def runs(monkeypatch, tmp_path) -> Path:
    monkeypatch.setenv("KDLAB_RUNS", str(tmp_path / "runs"))
    return tmp_path / "runs"


def done_by(engine, works: dict, needs: dict | None = None, workers: int = 2) -> dict:
    with engine.started(workers) as in_turn:
        return {item: result for ended in in_turn(works.get, needs or {item: set() for item in works})
                for item, result in ended}


def written(*names: str) -> list[str]:
    """Where a job leaves its name, and which of ``names`` had left theirs before."""
    place = paths.runs_dir()
    time.sleep(1.5 if names == ("b",) else 0)
    (place / names[0]).touch()
    return [name for name in names[1:] if (place / name).is_file()]


def chain() -> tuple[dict, dict]:
    works = {"a": partial(written, "a"), "c": partial(written, "c", "a", "b"), "b": partial(written, "b")}
    return works, {"c": {"a", "b"}, "a": set(), "b": set()}


def wrong(value: str):
    raise ValueError(f"{value} is wrong\nand more")


@needs_submitit
def test_jobs_come_after_those_they_need_and_leave_nothing(runs, monkeypatch):
    monkeypatch.setenv("KDLAB_FIGURES", str(runs.parent / "figures"))
    works, needs = chain()
    assert done_by(LOCAL, works | {"d": partial(os.getenv, "KDLAB_FIGURES")}, needs | {"d": {"c"}}) == {
        "a": [], "b": [], "c": ["a", "b"], "d": str(runs.parent / "figures")}
    assert sorted(path.name for path in runs.iterdir()) == ["a", "b", "c", "slurm"]
    assert not list((runs / "slurm").iterdir())


@needs_submitit
def test_a_job_that_fails_is_told_in_its_own_words_and_nothing_else_begins(runs):
    with pytest.raises(WorkFailed, match=r"^this is wrong\nand more \(see .*_log.err\)") as failed:
        done_by(LOCAL, {"a": partial(wrong, "this"), "b": partial(written, "b"), "c": partial(written, "c")},
                {"a": set(), "b": set(), "c": {"a"}})
    assert (runs / "b").is_file() and not (runs / "c").exists()
    assert "ValueError" in Path(str(failed.value).partition("(see ")[2][:-1]).read_text()


@pytest.mark.slow
@needs_submitit
def test_a_job_that_was_killed_is_told(runs):
    with pytest.raises(WorkerLost, match="ended without a word"):
        done_by(LOCAL, {"a": partial(os._exit, 3)})


@needs_submitit
def test_machines_that_do_not_share_the_runs_are_told_and_nothing_is_begun(runs, monkeypatch):
    monkeypatch.setattr(engines, "_probe", lambda: contextlib.nullcontext(runs / "not there"))
    with pytest.raises(EngineError, match=f"^{socket.gethostname()} does not see {runs}, .* let KDLAB_RUNS name"):
        done_by(LOCAL, {"a": partial(written, "a")})
    assert not (runs / "a").exists()


@needs_submitit
def test_work_that_a_machine_cannot_import_is_told(runs, tmp_path, monkeypatch):
    module = tmp_path / "elsewhere_only.py"
    module.write_text("def work():\n    return 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    import elsewhere_only

    assert done_by(LOCAL, {"a": elsewhere_only.work}) == {"a": 1}, "its folder travels with it"
    module.unlink()
    with pytest.raises(EngineError, match="cannot import what the work is made of .*elsewhere_only.*PYTHONPATH"):
        done_by(LOCAL, {"a": elsewhere_only.work})


@pytest.mark.parametrize(("engine", "module", "mend"), [(Ray(), "ray", r"pip install 'kdlab\[ray\]'"),
                                                        (Slurm(), "submitit", r"pip install 'kdlab\[slurm\]'")])
def test_an_engine_that_is_not_installed_is_told(runs, monkeypatch, engine, module, mend):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(EngineError, match=f"{module} is not installed here: {mend}"):
        done_by(engine, {"a": partial(written, "a")})


@needs_ray
def test_an_address_at_which_nobody_answers_is_told_at_once(runs):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(EngineError, match=f"the Ray at {address} cannot be reached .*ray start --head"):
        done_by(Ray(address), {"a": partial(written, "a")})


@needs_submitit
def test_a_machine_without_slurm_is_told(runs, monkeypatch):
    monkeypatch.setenv("PATH", str(runs))
    with pytest.raises(EngineError, match="no sbatch"):
        done_by(Slurm(), {"a": partial(written, "a")})


#: On whose machines there is no kdlab: as if it had never been installed, in every process begun from here on.
NOBODY_HAS_IT = """
import os, sys

class Nowhere:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if os.environ.get("WITHOUT_KDLAB") and name.split(".")[0] == "kdlab":
            raise ModuleNotFoundError("No module named 'kdlab'", name="kdlab")

sys.meta_path.insert(0, Nowhere)
"""
ASKS = """
import math, os
from functools import partial
from kdlab.system.engines import EngineError, Ray, Slurm
import kdlab.system.launch, {module}
if __name__ == "__main__":
    os.environ["WITHOUT_KDLAB"] = "1"
    try:
        with {engine}.started(1) as in_turn:
            print(list(in_turn({{"a": partial(math.sqrt, 4)}}.get, {{"a": set()}})))
    except EngineError as error:
        print(error)
"""


@pytest.mark.slow
@pytest.mark.parametrize(("engine", "module", "mend"), [
    pytest.param("Ray('local', patience=1)", "ray", "a node of this Ray has no kdlab", marks=needs_ray),
    pytest.param("Slurm(cluster='local', minutes=5)", "submitit", "a node of this SLURM has no kdlab",
                 marks=needs_submitit)])
def test_a_node_without_kdlab_is_told(tmp_path, engine, module, mend):
    (tmp_path / "sitecustomize.py").write_text(NOBODY_HAS_IT)
    (tmp_path / "asks.py").write_text(ASKS.format(engine=engine, module=module))
    path = os.pathsep.join([str(tmp_path), *sys.path])
    ended = subprocess.run([sys.executable, str(tmp_path / "asks.py")], capture_output=True, text=True, timeout=120,
                           env=os.environ | {"PYTHONPATH": path, "KDLAB_RUNS": str(tmp_path / "runs")})
    assert ended.stdout.strip() == f"{mend}: install the same version there", ended.stdout + ended.stderr


@pytest.mark.slow
@pytest.mark.parametrize(("engine", "words"), [
    pytest.param(Ray("local"), "no node of this Ray has a GPU: start one that has, or set KDLAB", marks=needs_ray),
    pytest.param(LOCAL, "KDLAB_DEVICE='cuda': here is only cpu .*unset or mend it", marks=needs_submitit)])
def test_a_node_without_a_gpu_is_told(runs, monkeypatch, engine, words):
    if torch.cuda.is_available():
        pytest.skip("here is a GPU")
    monkeypatch.setenv("KDLAB_DEVICE", "cuda")
    with pytest.raises((EngineError, WorkFailed), match=words):
        done_by(engine, {"a": device})


def test_a_file_that_a_slow_file_system_shows_late_is_waited_for(tmp_path):
    file = tmp_path / "run.json"
    later = threading.Timer(0.3, file.touch)
    later.start()
    assert not engines.seen(file, 0) and engines.seen(file, 5) and engines.seen(file, 0)
    later.join()


@needs_submitit
def test_an_option_that_submitit_does_not_know_is_told(runs):
    with pytest.raises(EngineError, match="Mend the engine's options"):
        done_by(Slurm(cluster="local", options={"nonsense": 1}), {"a": partial(written, "a")})


def test_a_time_limit_in_which_nothing_could_be_done_is_refused():
    with pytest.raises(ValueError, match="minutes=2: give a whole number of at least 5; SLURM warns"):
        Slurm(minutes=2)


def test_items_stand_in_rows_that_need_only_those_before():
    assert engines._levels({"c": {"a", "gone"}, "a": set(), "b": set(), "d": {"c", "b"}}) == [["a", "b"], ["c"], ["d"]]
