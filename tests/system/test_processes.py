import contextlib
import errno
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

from kdlab.system.processes import NoLocks, available_cores, each, in_turn, is_held, locked, longest_first, pool

REPOSITORY = str(Path(__file__).parents[2])

def test_a_pool_works_and_knows_how_many_cores_there_are():
    assert available_cores() >= 1
    with pool(1) as processes:
        assert processes.submit(os.getpid).result() != os.getpid()


def test_each_row_is_worked_at_in_other_processes_and_answered_in_order(monkeypatch):
    monkeypatch.setattr("kdlab.system.processes.available_cores", lambda: 2)
    assert list(each(math.pow, [2, 3, 4], repeat(2))) == [4, 9, 16]
    assert os.getpid() not in each(_process, range(3)) and list(each(_process, [])) == []
    assert list(each(partial(math.pow, 2), [1, 5])) == [2, 32]
    with pytest.raises(ZeroDivisionError):
        list(each(divmod, [1, 1], [1, 0]))


def test_on_one_core_and_for_one_row_there_is_no_other_process(monkeypatch):
    assert list(each(_process, [0])) == [os.getpid()]
    monkeypatch.setenv("KDLAB_CORES", "1")
    assert list(each(_process, range(3))) == 3 * [os.getpid()]


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


BUSY = """
import signal, time
from concurrent.futures import wait
from kdlab.system.processes import pool
if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background inherits it ignored
    try:
        with pool(2) as processes:
            list(processes.map(time.sleep, [0.2, 0.2]))  # both have begun
            jobs = [processes.submit(sum, range({high})), processes.submit(time.sleep, 60)]
            time.sleep(0.1)
            print("begun", flush=True)
            if {leaving}:
                raise ValueError
            while True:  # the first call has the interpreter's lock to its end
                wait(jobs[:1], timeout=2)  # as in_turn does: a signal that another thread takes is heard no sooner
    except KeyboardInterrupt:
        print("interrupted", flush=True)
        with pool(1) as processes:
            print(processes.submit(abs, -3).result(), flush=True)
"""


def begun(folder: Path, script: str) -> tuple[subprocess.Popen, list[psutil.Process]]:
    """A process that has just said so, and all that come from it: workers, their server and the resource tracker."""
    (folder / "owner.py").write_text(script)
    owner = subprocess.Popen([sys.executable, str(folder / "owner.py")], stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE, text=True, start_new_session=True)
    assert owner.stdout.readline() == "begun\n"
    return owner, psutil.Process(owner.pid).children(recursive=True)


def left(processes: list[psutil.Process], seconds: float = 5) -> list[psutil.Process]:
    """Those of ``processes`` that still live, as soon as none does, at latest after some seconds."""
    def alive(process):
        with contextlib.suppress(psutil.Error):
            return process.is_running() and process.status() != psutil.STATUS_ZOMBIE

    deadline = time.monotonic() + seconds
    while (living := [process for process in processes if alive(process)]) and time.monotonic() < deadline:
        time.sleep(0.05)
    return living


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
@pytest.mark.parametrize("number", ["SIGKILL", "SIGTERM"])
def test_nothing_outlives_the_process_that_uses_it(tmp_path, number):
    owner, others = begun(tmp_path, BUSY.format(leaving=False, high=10**12))
    assert len(others) == 4
    owner.send_signal(getattr(signal, number))
    owner.communicate()
    assert not left(others)


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
@pytest.mark.parametrize(("leaving", "times"), [(False, 1), (False, 2), (True, 1), (True, 2)])
def test_ctrl_c_gives_the_control_back_at_once_also_while_the_pool_ends(tmp_path, leaving, times):
    owner, others = begun(tmp_path, BUSY.format(leaving=leaving, high=10**12))
    for _ in range(times):
        os.killpg(owner.pid, signal.SIGINT)
        time.sleep(0.02)
    out, err = owner.communicate(timeout=20)
    if times == 1:
        assert (out, err) == ("interrupted\n3\n", ""), "and the next pool works"
    assert not left(others)


LOCKED = """
import threading, time
from kdlab.system.processes import pool
if __name__ == "__main__":
    for masked in (False, True):
        try:
            with pool(1) as processes:
                job = processes.submit(time.sleep, 60)
                time.sleep(0.1)
                job._condition.acquire()  # as an interrupted `wait` leaves it: it would be waited for, for ever
                try:
                    raise KeyboardInterrupt
                finally:
                    if masked:
                        threading.Lock().release()
        except KeyboardInterrupt:
            with pool(1) as processes:
                print(processes.submit(abs, -3).result())
"""


def test_an_interruption_while_futures_are_locked_is_one(tmp_path):
    """``wait`` takes the locks of its futures one by one: Ctrl-C may come when it has the first, or be masked by the
    error of giving back what it has not got."""
    (tmp_path / "owner.py").write_text(LOCKED)
    ended = subprocess.run([sys.executable, str(tmp_path / "owner.py")], capture_output=True, text=True, timeout=20)
    assert (ended.stdout, ended.stderr) == ("3\n3\n", "")


def test_an_interruption_that_is_over_masks_no_error():
    try:
        raise KeyboardInterrupt
    except KeyboardInterrupt:
        with pytest.raises(ZeroDivisionError), pool(1) as processes:
            processes.submit(divmod, 1, 0).result()


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_all_stopped_for_a_while_goes_on(tmp_path):
    owner, others = begun(tmp_path, BUSY.format(leaving=False, high=5 * 10**7))
    for number in (signal.SIGSTOP, signal.SIGCONT):
        for process in (psutil.Process(owner.pid), *others):
            process.send_signal(number)
        time.sleep(1.2)
    assert owner.poll() is None and len(left(others, 0)) == 4
    os.killpg(owner.pid, signal.SIGINT)
    assert owner.communicate(timeout=20)[0] == "interrupted\n3\n"


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_an_interruption_while_the_server_starts_leaves_nothing(tmp_path):
    script = BUSY.format(leaving=False, high=10**12)
    script = script.replace("with pool(2)", 'print("begun", flush=True)\n        with pool(2)')
    for seconds in (0.0, 0.03, 0.06, 0.1, 0.2):
        (tmp_path / "owner.py").write_text(script)
        owner = subprocess.Popen([sys.executable, str(tmp_path / "owner.py")], stdout=subprocess.PIPE,
                                 stderr=subprocess.PIPE, text=True, start_new_session=True)
        assert owner.stdout.readline() == "begun\n"
        time.sleep(seconds)
        os.killpg(owner.pid, signal.SIGINT)
        out, err = owner.communicate(timeout=20)
        assert (out.replace("begun\n", ""), err) == ("interrupted\n3\n", "")
        group = [p for p in psutil.process_iter() if _group(p) == owner.pid]
        assert not left(group)


def _group(process: psutil.Process) -> int:
    try:
        return os.getpgid(process.pid)
    except ProcessLookupError:
        return -1


INTERRUPTED = """
import signal, time
from kdlab.system.processes import in_turn, pool
if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background inherits it ignored
    try:
        with pool(2, preload=["slow_to_import"]) as processes:
            print("begun", flush=True)
            for ended in in_turn(lambda s: processes.submit(time.sleep, s), 2, {60: set(), 61: set()}):
                pass
    except KeyboardInterrupt:
        print("interrupted")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_ctrl_c_is_the_owners_and_ends_workers_also_while_they_begin(tmp_path):
    (tmp_path / "slow_to_import.py").write_text("import time\ntime.sleep(0.5)")
    (tmp_path / "owner.py").write_text(INTERRUPTED)
    for seconds in (0.3, 1.2):  # in that import, and after it
        owner = subprocess.Popen([sys.executable, str(tmp_path / "owner.py")], stdout=subprocess.PIPE,
                                 stderr=subprocess.PIPE, text=True, start_new_session=True)
        assert owner.stdout.readline() == "begun\n"
        time.sleep(seconds)
        os.killpg(owner.pid, signal.SIGINT)
        assert owner.communicate(timeout=30) == ("interrupted\n", "")


def test_items_are_worked_at_in_turn_and_after_a_failure_no_other_begins():
    needs = {-3: {-2}, -2: {-1}, -1: set()}
    with pool(2) as processes:
        got = [pair for ended in in_turn(partial(processes.submit, abs), 2, needs) for pair in ended]
        assert got == [(-1, 1), (-2, 2), (-3, 3)]
        got, sleep = [], partial(processes.submit, time.sleep)
        with pytest.raises(TypeError, match="str"):
            for ended in in_turn(sleep, 2, {"x": set(), 1.0: set(), 0.1: set()}):
                got += ended
        assert got == [(1.0, None)], "what was at work ends and is told; the third must not begin"
        needs = {0.2: set(), 0.1: {0.2}, 0.0: {0.1}}
        for ended in in_turn(sleep, 2, needs):
            needs.pop(0.1, None), needs.pop(0.0, None)
            got += ended
        assert got[1:] == [(0.2, None)], "what its owner takes out is not begun"


def test_the_longest_chain_goes_first():
    needs = {"short": set(), "student": {"teacher"}, "teacher": set(), "equal": set(), "notebook": {"student", "short"}}
    seconds = {"short": 5, "student": 20, "teacher": 10, "equal": 35, "notebook": 15}
    assert longest_first(needs, seconds) == ["teacher", "student", "equal", "short", "notebook"]
    assert longest_first({"b": set(), "a": {"gone"}}, {"a": 1, "b": 1}) == ["b", "a"], "equal ones as they were given"
    assert longest_first({"a": {"b"}, "b": set()}, {"a": 0, "b": 1}) == ["b", "a"]


def test_a_file_system_that_keeps_no_locks_is_told(tmp_path, monkeypatch):
    def refuses(handle, how):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    lock = tmp_path / "a.lock"
    with locked(lock):
        assert is_held(lock)
    assert not is_held(lock)
    monkeypatch.setattr("fcntl.flock", refuses)
    for asks in (locked(lock).__enter__, partial(is_held, lock)):
        with pytest.raises(NoLocks, match=r"a\.lock: the file system there gives no lock \(No locks avail.*NFS 4"):
            asks()


def test_a_variable_limits_the_cores(monkeypatch):
    here = available_cores()
    for value, found in (("1", 1), ("9999", here), ("", here)):
        monkeypatch.setenv("KDLAB_CORES", value)
        assert available_cores() == found
    for value in ("0", "two", "-1", "1.5"):
        monkeypatch.setenv("KDLAB_CORES", value)
        with pytest.raises(ValueError, match=f"KDLAB_CORES='{value}': give a whole number from 1"):
            available_cores()


UNGUARDED = """
import sys
from kdlab.system.processes import locked, pool
{condition}
    with locked({lock!r}):
        try:
            with pool(2) as processes:
                print(list(processes.map(abs, [-1, -2])))
        except Exception as error:  # as those who use a pool do, to say what was at work
            raise ChildProcessError("killed") from error
"""


@pytest.mark.parametrize("condition", ["for _ in [1]:", "if sys.argv:", "if __name__ != 'x':"])
def test_a_script_without_a_main_guard_gets_one_sentence_at_once(tmp_path, condition):
    """Below another condition only a worker finds it out, which must not wait for the lock that the owner holds."""
    script = tmp_path / "mine.py"
    script.write_text(UNGUARDED.format(condition=condition, lock=str(tmp_path / "lock")))
    ended = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=60)
    assert ended.returncode == 1 and ended.stdout == ""
    assert ended.stderr.count("\n") == 1
    assert "mine.py" in ended.stderr and '`if __name__ == "__main__":`' in ended.stderr


@pytest.mark.parametrize("how", ["guarded", "-c", "stdin", "-m"])
def test_guarded_scripts_and_those_that_no_worker_can_import_work(tmp_path, how):
    text = UNGUARDED.format(condition="for _ in [1]:", lock=str(tmp_path / "lock"))
    (tmp_path / "guarded.py").write_text(UNGUARDED.format(condition="if __name__ == '__main__':",
                                                          lock=str(tmp_path / "lock")))
    arguments = {"guarded": [str(tmp_path / "guarded.py")], "-c": ["-c", text], "stdin": [], "-m": ["-m", "guarded"]}
    ended = subprocess.run([sys.executable, *arguments[how]], capture_output=True, text=True, timeout=60, cwd=tmp_path,
                           input=text if how == "stdin" else None, env=os.environ | {"PYTHONPATH": REPOSITORY})
    assert (ended.stdout, ended.stderr) == ("[1, 2]\n", "")
