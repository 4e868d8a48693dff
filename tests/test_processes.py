import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from kdlab.processes import available_cores, pool

OWNER = """
import os, time
from kdlab.processes import pool
if __name__ == "__main__":
    with pool(1) as processes:
        print(processes.submit(os.getpid).result(), flush=True)
        time.sleep(60)
"""


def test_a_pool_works_and_knows_how_many_cores_there_are():
    assert available_cores() >= 1
    with pool(1) as processes:
        assert processes.submit(os.getpid).result() != os.getpid()


def test_workers_see_todays_variables_also_when_the_fork_server_is_older(monkeypatch):
    for value in ("one", "two"):
        monkeypatch.setenv("KDLAB_RUNS", value)
        with pool(1) as processes:
            assert processes.submit(os.getenv, "KDLAB_RUNS").result() == value
    monkeypatch.delenv("KDLAB_RUNS")
    with pool(1) as processes:
        assert processes.submit(os.getenv, "KDLAB_RUNS").result() is None


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL is a POSIX signal")
def test_no_worker_outlives_the_process_that_uses_it(tmp_path):
    script = tmp_path / "owner.py"
    script.write_text(OWNER)
    owner = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True)
    worker = psutil.Process(int(owner.stdout.readline()))
    owner.send_signal(signal.SIGKILL)
    owner.wait()
    deadline = time.monotonic() + 20
    while worker.is_running() and worker.status() != psutil.STATUS_ZOMBIE and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE
