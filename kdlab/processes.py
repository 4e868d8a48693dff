"""Process pools: as many workers as there are cores for us, none of which outlives the process that started it."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from contextlib import contextmanager, suppress
from multiprocessing import get_all_start_methods, get_context

import psutil

__all__ = ["available_cores", "each", "in_turn", "pool"]


def available_cores() -> int:
    """Cores this process may use (a container or a batch system can allow fewer than there are)."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def pool(workers: int, preload: Sequence[str] = ()) -> Iterator[ProcessPoolExecutor]:
    """``workers`` new processes that share nothing with this one (a fork would copy torch's threads in mid-air).

    An interruption of this process ends them at once, whatever they are at. Where there is a fork server, the modules
    in ``preload`` are imported once for all of them.
    """
    context = get_context("forkserver" if "forkserver" in get_all_start_methods() else "spawn")
    if context.get_start_method() == "forkserver":
        from multiprocessing import forkserver, resource_tracker  # which Windows does not have

        context.set_forkserver_preload(list(preload))
        # Ctrl-C in a terminal reaches all processes; the server inherits that it is deaf to it while it imports. It
        # needs the tracker, whose start would end the deafness.
        resource_tracker.ensure_running()
        heard = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        forkserver.ensure_running()
        signal.pthread_sigmask(signal.SIG_SETMASK, heard)
    places = {name: value for name, value in os.environ.items() if name.startswith("KDLAB_")}
    with ProcessPoolExecutor(workers, context, initializer=_begin, initargs=(os.getpid(), places)) as processes:
        try:
            yield processes
        except KeyboardInterrupt:
            # all that come from this process, also one at its birth, of which the pool does not know, and their server
            for child in psutil.Process().children(recursive=True):
                with suppress(psutil.Error):
                    if "multiprocessing" in " ".join(child.cmdline()):
                        child.terminate()
            raise


def each(work: Callable, *columns: Iterable) -> Iterator:
    """What ``work``, a function of a module, gives for each row of ``columns``, in their order, as they come; as many
    at a time as there are cores. For work that keeps to one core. When one raises, it is raised here."""
    rows = list(zip(*columns, strict=False))  # a column may be itertools.repeat
    with pool(max(1, min(len(rows), available_cores())), [getattr(work, "func", work).__module__]) as processes:
        yield from processes.map(work, *zip(*rows, strict=True))


def in_turn(processes: ProcessPoolExecutor, workers: int, work: Callable, needs: Mapping) -> Iterator[list[tuple]]:
    """``work(item)`` for each item of ``needs`` (item → set of items), each after those it needs.

    Yields a list of ``(item, result)``, maybe empty, whenever some have ended and at least every two seconds. Hands
    over no more than ``workers`` at once: when one raises, those at work end, and no other is begun.
    """
    todo, jobs, ended, failed = dict(needs), {}, set(), []
    while jobs or (todo and not failed):
        ready = [item for item in todo if not failed and needs[item] <= ended]
        for item in ready[: workers - len(jobs)]:
            del todo[item]
            jobs[processes.submit(work, item)] = item
        finished = {job: jobs.pop(job) for job in wait(jobs, timeout=2, return_when=FIRST_COMPLETED).done}
        failed += [job for job in finished if job.exception()]
        ended.update(finished.values())
        yield [(item, job.result()) for job, item in finished.items() if job not in failed]
    if failed:
        failed[0].result()


def _begin(owner: int, places: dict[str, str]) -> None:
    """Take over the ``KDLAB_`` variables of the owner, and end with it: nobody would collect what this worker makes.

    The worker's parent is no help in either: that is the fork server, which may be older than the variables and may
    outlive the owner. Ctrl-C in a terminal reaches all processes: the owner alone decides.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for name in [name for name in os.environ if name.startswith("KDLAB_")]:
        del os.environ[name]
    os.environ.update(places)
    process = psutil.Process(owner)

    def watch():
        while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
