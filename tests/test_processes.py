import contextlib
import math
import os
import signal
import subprocess
import sys
import time
from functools import partial
from itertools import repeat
from pathlib import Path

import psutil
import pytest

from kdlab.processes import available_cores, each, in_turn, locked, pool

REPOSITORY = str(Path(__file__).parents[1])

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


def test_each_row_is_worked_at_in_other_processes_and_answered_in_order():
    assert list(each(math.pow, [2, 3, 4], repeat(2))) == [4, 9, 16]
    assert os.getpid() not in each(_process, range(3)) and list(each(_process, [])) == []
    assert list(each(partial(math.pow, 2), [1, 5])) == [2, 32]
    with pytest.raises(ZeroDivisionError):
        list(each(divmod, [1, 1], [1, 0]))


def _process(_) -> int:
    return os.getpid()


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


INTERRUPTED = """
import signal, time
from kdlab.processes import in_turn, pool
if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background inherits it ignored
    try:
        with pool(2, preload=["slow_to_import"]) as processes:
            print("begun", flush=True)
            for ended in in_turn(processes, 2, time.sleep, {60: set(), 61: set()}):
                pass
    except KeyboardInterrupt:
        print("interrupted")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_ctrl_c_is_the_owners_and_ends_workers_also_while_they_begin(tmp_path):
    (tmp_path / "slow_to_import.py").write_text("import time\ntime.sleep(1)")
    (tmp_path / "owner.py").write_text(INTERRUPTED)
    for seconds in (0.5, 2.5):
        owner = subprocess.Popen([sys.executable, str(tmp_path / "owner.py")], stdout=subprocess.PIPE,
                                 stderr=subprocess.PIPE, text=True, start_new_session=True)
        assert owner.stdout.readline() == "begun\n"
        time.sleep(seconds)
        os.killpg(owner.pid, signal.SIGINT)
        assert owner.communicate(timeout=30) == ("interrupted\n", "")


def test_items_are_worked_at_in_turn_and_after_a_failure_no_other_begins():
    with pool(2) as processes:
        got = [pair for ended in in_turn(processes, 2, abs, {-3: {-2}, -2: {-1}, -1: set()}) for pair in ended]
        assert got == [(-1, 1), (-2, 2), (-3, 3)]
        got = []
        with pytest.raises(TypeError, match="str"):
            for ended in in_turn(processes, 2, time.sleep, {"x": set(), 1.0: set(), 0.1: set()}):
                got += ended
        assert got == [(1.0, None)], "what was at work ends and is told; the third must not begin"


UNGUARDED = """
import sys
from kdlab.processes import each, locked, pool
{condition}
    with locked({lock!r}):
        print(list(each(abs, [-1, -2])))
"""


@pytest.mark.parametrize("condition", ["for _ in [1]:", "if sys.argv:", "if __name__ != 'x':"])
def test_a_script_without_a_main_guard_gets_one_sentence_at_once(tmp_path, condition):
    """Below another condition only a worker finds it out, which must not wait for the lock that the owner holds."""
    script = tmp_path / "mine.py"
    script.write_text(UNGUARDED.format(condition=condition, lock=str(tmp_path / "lock")))
    ended = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=60)
    assert ended.returncode == 1 and ended.stdout == ""
    assert ended.stderr.count("\n") == 1 and "mine.py" in ended.stderr and '`if __name__ == "__main__":`' in ended.stderr


@pytest.mark.parametrize("how", ["guarded", "-c", "stdin", "-m"])
def test_guarded_scripts_and_those_that_no_worker_can_import_work(tmp_path, how):
    text = UNGUARDED.format(condition="for _ in [1]:", lock=str(tmp_path / "lock"))
    (tmp_path / "guarded.py").write_text(UNGUARDED.format(condition="if __name__ == '__main__':",
                                                          lock=str(tmp_path / "lock")))
    arguments = {"guarded": [str(tmp_path / "guarded.py")], "-c": ["-c", text], "stdin": [], "-m": ["-m", "guarded"]}
    ended = subprocess.run([sys.executable, *arguments[how]], capture_output=True, text=True, timeout=60, cwd=tmp_path,
                           input=text if how == "stdin" else None, env=os.environ | {"PYTHONPATH": REPOSITORY})
    assert (ended.stdout, ended.stderr) == ("[1, 2]\n", "")
