import contextlib
import json
import os
import signal
import sys
import time
from pathlib import Path

import psutil
import pytest
from filelock import FileLock

from tests.system.test_processes import left
from tests.train.test_runs import clips, make_recipe, obtain_all, places  # noqa: F401

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
