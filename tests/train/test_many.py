import contextlib
import dataclasses
import importlib.util
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest
from filelock import FileLock
from kdlab.system.engines import EngineError, Ray, Slurm
from tests.system.test_processes import left

from kdlab.clips.enhance import Gamma
from kdlab.clips.views import Enhanced
from kdlab.train.many import TrainingFailed, refuse_at_home
from tests.train.test_runs import clips, make_recipe, make_student, obtain_all, places  # noqa: F401

CELL = """
import sys
sys.path[:0] = {paths!r}
from pathlib import Path
from tests.train.test_runs import make_recipe, obtain_all
runs = obtain_all([make_recipe(Path({clips!r}), seed, {epochs}) for seed in (0, 1, 2)], pretrained=False, workers=2)
print([run.provenance["weights"] for run in runs])
"""


class Kernel:
    """A kernel as JupyterLab's server starts, interrupts and restarts it."""

    def __init__(self, folder: Path, code: str):
        from ipykernel.kernelspec import get_kernel_dict
        from jupyter_client.kernelspec import KernelSpec
        from jupyter_client.manager import KernelManager

        class ThisInterpreter(KernelManager):
            kernel_spec = KernelSpec(**get_kernel_dict())

        self.manager, self.code = ThisInterpreter(connection_file=str(folder / "kernel.json")), code
        self.manager.start_kernel(cwd=str(folder))
        self.client = self.manager.blocking_client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=300)

    def begin(self, runs: Path) -> list[psutil.Process]:
        """Run the cell until its trainings have come further; all processes of the kernel, itself first."""
        before = self.written(runs)
        self.asked = self.client.execute(self.code)
        until(lambda: len(before ^ self.written(runs)) > 1)
        kernel = psutil.Process(self.manager.provisioner.pid)
        return [kernel, *kernel.children(recursive=True)]

    @staticmethod
    def written(runs: Path) -> set[tuple[Path, int]]:
        """The checkpoints, and when they were written."""
        with contextlib.suppress(FileNotFoundError):  # one whose training has ended meanwhile
            return {(path, path.stat().st_mtime_ns) for path in runs.glob("*/checkpoint.safetensors")}
        return set()

    def reply(self, seconds: float) -> dict:
        deadline = time.monotonic() + seconds
        while True:
            reply = self.client.get_shell_msg(timeout=max(0.1, deadline - time.monotonic()))
            if reply["parent_header"].get("msg_id") == self.asked:
                return reply["content"]


def until(found, seconds=300):
    deadline = time.monotonic() + seconds
    while not found():
        assert time.monotonic() < deadline, "it took too long"
        time.sleep(0.02)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_a_notebook_stopped_in_any_way_leaves_nothing_and_goes_on_to_the_same_bits(clips, places, monkeypatch):  # noqa: F811
    epochs, runs = 100, places / "kernel"
    monkeypatch.setenv("KDLAB_RUNS", str(places / "whole"))
    whole = obtain_all([make_recipe(clips, seed, epochs) for seed in (0, 1, 2)], pretrained=False, workers=2,
                       say=lambda _: None)
    monkeypatch.setenv("KDLAB_RUNS", str(runs))
    paths = [str(Path(__file__).parents[2])]
    kernel = Kernel(places, CELL.format(paths=paths, clips=str(clips), epochs=epochs))
    try:
        for times in (1, 2):  # the stop button
            _, *others = kernel.begin(runs)
            assert len(others) == 4, "two workers, their server and the tracker"
            began = time.monotonic()
            for _ in range(times):
                kernel.manager.interrupt_kernel()
            reply = kernel.reply(20)
            assert reply["status"] == "error" and reply["ename"] == "KeyboardInterrupt", reply
            assert time.monotonic() < began + 5
            assert [p for p in left(others, 2) if "resource_tracker" not in " ".join(p.cmdline())] == []
            for lock in runs.glob("*.lock"):
                with FileLock(lock, timeout=0):
                    pass

        everything = kernel.begin(runs)  # the lid is closed for a while, then the kernel is restarted
        for number in (signal.SIGSTOP, signal.SIGCONT):
            for process in everything:
                process.send_signal(number)
            time.sleep(3)
        assert len(left(everything, 0)) == 5
        kernel.manager.restart_kernel(now=True)
        assert not left(everything)
        kernel.client.wait_for_ready(timeout=300)

        everything = kernel.begin(runs)  # the notebook is shut down, as kernels are asked first
        kernel.manager.shutdown_kernel(now=False)
        assert not left(everything)
    finally:
        kernel.client.stop_channels()
        kernel.manager.shutdown_kernel(now=True)
    again = obtain_all([make_recipe(clips, seed, epochs) for seed in (0, 1, 2)], pretrained=False, workers=2,
                       say=lambda _: None)
    assert [run.provenance["weights"] for run in again] == [run.provenance["weights"] for run in whole]
    assert json.loads((runs / again[0].folder.name / "run.json").read_text())["steps"] == whole[0].provenance["steps"]
    assert os.environ["KDLAB_RUNS"] == str(runs)


needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs the extra kdlab[ray]")
needs_submitit = pytest.mark.skipif(importlib.util.find_spec("submitit") is None, reason="needs the extra kdlab[slurm]")


def weights(runs) -> list[str]:
    return [run.provenance["weights"] for run in runs]


@pytest.fixture(scope="module")
def two_nodes():
    """A Ray whose head has no core, and two nodes of one core each."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        from ray.cluster_utils import Cluster

        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
        nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
        yield cluster, nodes
        cluster.shutdown()


@pytest.mark.slow
@needs_ray
def test_a_study_on_ray_of_which_a_node_is_killed_ends_in_the_same_bits(clips, places, monkeypatch, two_nodes):  # noqa: F811
    (cluster, nodes), recipes, said = two_nodes, [make_student(clips, seed, epochs=100) for seed in (0, 2)], []
    monkeypatch.setenv("KDLAB_RUNS", str(places / "pool"))
    pool = obtain_all(recipes, pretrained=False, workers=2, say=lambda _: None)
    runs = places / "ray"
    monkeypatch.setenv("KDLAB_RUNS", str(runs))

    def kill():
        until(lambda: len(list(runs.glob("*/checkpoint.safetensors"))) == 2)
        cluster.remove_node(nodes[0], allow_graceful=False)

    killer = threading.Thread(target=kill)
    killer.start()
    found = obtain_all(recipes, pretrained=False, engine=Ray(cluster.address), say=said.append)
    killer.join()
    assert weights(found) == weights(pool) and sum("trained in" in line for line in said) == 4
    nodes[0] = cluster.add_node(num_cpus=1)
    begun = [line.rpartition(",")[2] for line in (runs / "tried.csv").read_text().splitlines()[1:]]
    assert len(begun) == 5 and len(set(begun)) == 4, "one was begun twice, and went on from its checkpoint"
    assert weights(obtain_all(recipes, pretrained=False, engine=Slurm(cluster="nowhere"), say=said.append)) == weights(
        pool), "what one engine has finished, another finds"


@pytest.mark.slow
@needs_ray
def test_ray_tells_what_fails_and_ends_what_is_at_work(clips, places, two_nodes):  # noqa: F811
    wrong = make_recipe(clips, 1, settings=dataclasses.replace(make_recipe(clips).settings, lr=1e9))
    recipes = [wrong, make_recipe(clips, 2, condition="other", start=wrong), make_recipe(clips, 3)]
    with pytest.raises(TrainingFailed, match=r"^ce_raw-clips.*-s1-.*Lower the learning rate(.|\n)*runs are finished"):
        obtain_all(recipes, pretrained=False, engine=Ray(two_nodes[0].address), say=lambda _: None)


@pytest.mark.slow
@needs_submitit
def test_jobs_of_submitit_give_the_same_bits_and_go_on_where_they_were_preempted(clips, places, monkeypatch):  # noqa: F811
    recipes = [make_student(clips, 0, epochs=80)]
    monkeypatch.setenv("KDLAB_RUNS", str(places / "pool"))
    pool = obtain_all(recipes, pretrained=False, workers=1, say=lambda _: None)
    runs = places / "slurm"
    monkeypatch.setenv("KDLAB_RUNS", str(runs))

    def preempt():
        until(lambda: any(runs.glob("*/checkpoint.safetensors")))
        job, = [p for p in psutil.Process().children(recursive=True) if "submitit.core._submit" in p.cmdline()]
        job.send_signal(signal.SIGUSR2)  # as SLURM does before the time limit

    killer = threading.Thread(target=preempt)
    killer.start()
    found = obtain_all(recipes, pretrained=False, engine=Slurm(cluster="local", minutes=5), say=lambda _: None)
    killer.join()
    assert weights(found) == weights(pool)
    begun = [line.rpartition(",")[2] for line in (runs / "tried.csv").read_text().splitlines()[1:]]
    assert len(begun) == 3 and len(set(begun)) == 2


@pytest.mark.slow
@needs_submitit
def test_two_engines_at_one_run_folder_train_each_run_once_to_the_same_bits(clips, places, monkeypatch):  # noqa: F811
    recipes = [make_recipe(clips, seed, 30) for seed in (0, 1, 2)]
    monkeypatch.setenv("KDLAB_RUNS", str(places / "alone"))
    alone = obtain_all(recipes, pretrained=False, workers=1, say=lambda _: None)
    monkeypatch.setenv("KDLAB_RUNS", str(runs := places / "shared"))
    code = CELL.format(paths=[str(Path(__file__).parents[2])], clips=str(clips), epochs=30)
    script = places / "pool.py"
    script.write_text("if __name__ == '__main__':" + code.replace("\n", "\n    "))
    pool = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True)
    found = obtain_all(recipes, pretrained=False, engine=Slurm(cluster="local", minutes=5), say=lambda _: None)
    said, _ = pool.communicate(timeout=120)
    assert weights(found) == weights(alone) and str(weights(alone)) in said, said
    begun = [line.rpartition(",")[2] for line in (runs / "tried.csv").read_text().splitlines()[1:]]
    assert len(begun) == len(set(begun)) == 3, "each was trained by one of them, and found by the other"


@pytest.mark.parametrize(("module", "environment", "message"), [
    ("__main__", {}, "Own stands in a notebook's cell, .* put it into a module beside it"),
    ("own", {"RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "0", "MASTER_ADDR": "x", "MASTER_PORT": "1"},
     "torchrun has started 2 processes, and an engine starts its own")])
def test_what_no_other_machine_can_train_is_refused(clips, places, monkeypatch, module, environment, message):  # noqa: F811
    Own = dataclasses.make_dataclass("Own", [("gamma", float, 1.5)], frozen=True, bases=(Gamma,))
    Own.__module__ = module
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(EngineError, match=message):
        refuse_at_home([make_recipe(clips, view=Enhanced(Own()))])
