"""Process pools: as many workers as there are cores for us, none of which outlives the process that started it."""

import inspect
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from contextlib import contextmanager, nullcontext, suppress
from functools import cache
from itertools import islice
from multiprocessing import get_all_start_methods, get_context, parent_process
from pathlib import Path

import psutil
from filelock import FileLock, Timeout

from kdlab.system.launch import COPIES, TORCHRUN
from kdlab.system.sources import in_cell

#: How workers begin. The fork server forks from a process in which nothing but imports has happened.
METHOD = "forkserver" if "forkserver" in get_all_start_methods() else "spawn"
#: The exit code of a worker that found itself running its owner's script again.
RAN_AGAIN = 86


class Unguarded(SystemExit):
    """A script without ``if __name__ == "__main__":`` that needs workers, which would each run it again.

    It ends the script with its one sentence, unless somebody catches it.
    """


class NoLocks(OSError):
    """A file system that keeps no locks."""


def available_cores() -> int:
    """Cores this process may use: those there are, fewer where a container, a batch system or ``$KDLAB_CORES`` allows
    fewer. Raises ``ValueError`` where that variable is no whole number from 1."""
    here = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    limit = os.environ.get("KDLAB_CORES") or str(here)
    if not limit.isdecimal() or int(limit) < 1:
        raise ValueError(f"KDLAB_CORES={limit!r}: give a whole number from 1, or unset it")
    return min(here, int(limit))


@contextmanager
def pool(workers: int, preload: Sequence[str] = ()) -> Iterator[ProcessPoolExecutor]:
    """``workers`` new processes that share nothing with this one (a fork would copy torch's threads in mid-air).

    An interruption of this process ends them at once, whatever they are at; after another error they end what they are
    at and begin nothing else. Where there is a fork server, the modules in ``preload`` are imported once for all of
    them. Raises :class:`Unguarded` in a script that lacks its main guard.
    """
    _end_a_rerun()
    script, handled = sys.modules["__main__"], sys.exc_info()[1]
    if getattr(script, "__file__", None) and not Path(script.__file__).is_file():  # read from stdin, or gone since:
        del script.__file__  # workers would look for it
    context = get_context(METHOD)
    with _undisturbed():
        if METHOD == "forkserver":
            _start_server(context, preload)
    places = {name: value for name, value in os.environ.items() if name.startswith("KDLAB_")}
    # An interruption can also come while the executor waits for its workers at the end: hence the outer one.
    with (_ended_when_interrupted(), ProcessPoolExecutor(workers, context, initializer=_begin, initargs=(places,))
          as processes, _ended_when_interrupted(processes)):
        try:
            yield processes
        except (Exception, GeneratorExit) as error:
            masked = error.__context__  # an interruption that came while locks were taken, or given back
            if isinstance(masked, KeyboardInterrupt) and masked is not handled:
                raise masked from None
            begun = list((processes._processes or {}).values())  # the executor says no more than that one is dead
            processes.shutdown(cancel_futures=True)
            if any(worker.exitcode == RAN_AGAIN for worker in begun):
                raise Unguarded(f"error: {script.__file__} starts worker processes, each of which would run it again: "
                                'put what it does below a line `if __name__ == "__main__":`') from None
            raise


def each(work: Callable, *columns: Iterable) -> Iterator:
    """What ``work``, a function of a module, gives for each row of ``columns``, in their order, as they come; as many
    at a time as there are cores. For work that keeps to one core: of one row, or on one core, it is done here, where
    imports are done already. When one raises, it is raised here."""
    rows = list(zip(*columns, strict=False))  # a column may be itertools.repeat
    workers = min(len(rows), available_cores())
    if workers < 2 or in_cell(rows):  # classes of a notebook's cell, which no other process finds
        yield from (work(*row) for row in rows)
        return
    with pool(workers, [getattr(work, "func", work).__module__]) as processes:
        yield from processes.map(work, *zip(*rows, strict=True))


def longest_first(needs: Mapping, seconds: Mapping) -> list:
    """The items of ``needs`` (item → set of items), those first whose chain is longest: their own ``seconds`` and those
    of the longest chain that waits for them. Equal ones stay in their order."""
    waiting = {item: [] for item in needs}
    for item, needed in needs.items():
        for other in needed:
            waiting.get(other, []).append(item)

    @cache
    def chain(item) -> float:
        return seconds[item] + max(map(chain, waiting[item]), default=0.0)

    return sorted(needs, key=chain, reverse=True)


def in_turn(begin: Callable, workers: int, needs: MutableMapping) -> Iterator[list[tuple]]:
    """What each item of ``needs`` (item → set of items) gives. ``begin(item)`` returns its future, and is called when
    those it needs have ended, of several items for the first.

    Yields a list of ``(item, result)``, maybe empty, whenever some have ended and at least every two seconds. No more
    than ``workers`` are at work at once. What is begun leaves ``needs``, and what the caller takes out is not begun.
    When one raises, those at work end, and no other is begun.
    """
    jobs, ended, failed = {}, set(), []
    while jobs or (needs and not failed):
        ready = (item for item in needs if not failed and needs[item] <= ended)
        for item in list(islice(ready, workers - len(jobs))):  # of many items the first are looked at
            del needs[item]
            jobs[begin(item)] = item
        finished = {job: jobs.pop(job) for job in wait(jobs, timeout=2, return_when=FIRST_COMPLETED).done}
        failed += [job for job in finished if job.exception()]
        ended.update(finished.values())
        yield [(item, job.result()) for job, item in finished.items() if job not in failed]
    if failed:
        failed[0].result()


@contextmanager
def locked(path: str | os.PathLike, timeout: float = -1) -> Iterator[None]:
    """Holds the lock ``path`` between processes; the kernel frees it when its holder dies. Waits for it ``timeout``
    seconds, then raises filelock's ``Timeout``; by default it waits for ever.

    A worker that runs its owner's script again never waits for it: it is the owner that holds it. Raises
    :class:`NoLocks` where the file system keeps none.
    """
    _end_a_rerun()
    lock = FileLock(path)
    try:
        lock.acquire(timeout)
    except Timeout:
        raise
    except (OSError, NotImplementedError) as error:
        raise NoLocks(f"{path}: the file system there gives no lock ({getattr(error, 'strerror', '') or error}), so "
                      "two processes could write one file: mount it with locks (NFS 4, Lustre with flock), or let "
                      "KDLAB_RUNS and KDLAB_DATA name folders elsewhere") from error
    try:
        yield
    finally:
        lock.release()


def is_held(path: Path) -> bool:
    """Whether a process, whichever, holds the lock ``path``; no lock is left behind by asking."""
    try:
        with locked(path, timeout=0) if path.is_file() else nullcontext():
            return False
    except Timeout:
        return True


# --- scripts without a main guard ------------------------------------------------------------------------------


def _end_a_rerun() -> None:
    """End this process where it is a worker that imports its owner's script and was led here by it."""
    frame = inspect.currentframe()
    while frame := frame.f_back:
        if frame.f_code.co_name == "<module>" and frame.f_globals.get("__name__") == "__mp_main__":
            os._exit(RAN_AGAIN)


# --- beginning and ending --------------------------------------------------------------------------------------


def _start_server(context, preload: Sequence[str]) -> None:
    from multiprocessing import forkserver, resource_tracker  # which Windows does not have

    context.set_forkserver_preload(list(preload))
    # Ctrl-C in a terminal reaches all processes; the server inherits that it is deaf to it while it imports. It
    # needs the tracker, whose start would end the deafness.
    resource_tracker.ensure_running()
    heard = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    forkserver.ensure_running()
    signal.pthread_sigmask(signal.SIG_SETMASK, heard)


@contextmanager
def _undisturbed() -> Iterator[None]:
    """What would interrupt the inside, once or several times, does so at its end."""
    came = []
    handlers = {s: h for s in (signal.SIGINT, signal.SIGTERM) if callable(h := signal.getsignal(s))}
    if threading.current_thread() is not threading.main_thread():  # which alone hears signals, and may set handlers
        handlers = {}
    for number in handlers:
        signal.signal(number, lambda *heard: came.append(heard))
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    if came:
        handlers[came[0][0]](*came[0])


@contextmanager
def _ended_when_interrupted(processes: ProcessPoolExecutor | None = None) -> Iterator[None]:
    try:
        yield
    except (KeyboardInterrupt, SystemExit):
        with _undisturbed():
            _let_go(processes)
            _end_workers()
        raise


def _let_go(processes: ProcessPoolExecutor | None) -> None:
    """Free what this thread still holds of futures: an interruption just after ``wait`` took their locks leaves them
    taken, and the executor's own thread, which answers every future at the end, would wait for them for ever."""
    for item in list((getattr(processes, "_pending_work_items", None) or {}).values()):  # the executor does not say
        with suppress(RuntimeError):  # not ours
            while True:
                item.future._condition.release()


def _end_workers() -> None:
    """End all workers of this process, also one at its birth, of which no executor knows yet, and their server.

    Killed, because a process that is stopped hears nothing else. The server is stopped first, lest it fork on.
    """
    doomed = []
    for child in psutil.Process().children():
        with suppress(psutil.Error):
            if f"multiprocessing.{METHOD}" in " ".join(child.cmdline()):
                child.suspend()
                doomed += [*child.children(recursive=True), child]
    for process in doomed:
        with suppress(psutil.Error):
            process.kill()
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline and not all(map(_gone, doomed)):  # else the next pool would ask a dying server
        time.sleep(0.01)


def _gone(process: psutil.Process) -> bool:
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.Error:
        return True


def _begin(places: dict[str, str]) -> None:
    """Take over the ``KDLAB_`` variables of the owner, and end with it: nobody would collect what this worker makes.

    The owner is not the parent by birth: that is the fork server, which may be older than the variables and may
    outlive the owner. Ctrl-C in a terminal reaches all processes: the owner alone decides.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for name in [name for name in os.environ if name.startswith("KDLAB_")]:
        del os.environ[name]
    os.environ.update(places)
    for name in (*TORCHRUN, *COPIES):  # a worker is none of the processes that train together
        os.environ.pop(name, None)
    owner = parent_process()
    seen = psutil.Process(owner.pid)

    def watch():
        # Its end closes a pipe, which tells at once, unless another process that it forked keeps the pipe open.
        while owner.is_alive() and not _gone(seen):
            owner.join(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
    with suppress(ImportError, OSError, AttributeError):  # Linux can end also a worker in a call that admits no thread
        import fcntl

        signal.signal(signal.SIGIO, signal.SIG_DFL)
        fcntl.fcntl(owner.sentinel, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(owner.sentinel, fcntl.F_SETFL, os.O_ASYNC | fcntl.fcntl(owner.sentinel, fcntl.F_GETFL))
