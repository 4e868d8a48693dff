"""Process pools: as many workers as there are cores for us, none of which outlives the process that started it."""

import os
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_all_start_methods, get_context

import psutil

__all__ = ["available_cores", "pool"]


def available_cores() -> int:
    """Cores this process may use (a container or a batch system can allow fewer than there are)."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def pool(workers: int, preload: Sequence[str] = ()) -> ProcessPoolExecutor:
    """``workers`` new processes that share nothing with this one (a fork would copy torch's threads in mid-air).

    Where there is a fork server, the modules in ``preload`` are imported once for all of them.
    """
    context = get_context("forkserver" if "forkserver" in get_all_start_methods() else "spawn")
    if context.get_start_method() == "forkserver":
        context.set_forkserver_preload(list(preload))
    places = {name: value for name, value in os.environ.items() if name.startswith("KDLAB_")}
    return ProcessPoolExecutor(workers, context, initializer=_begin, initargs=(os.getpid(), places))


def _begin(owner: int, places: dict[str, str]) -> None:
    """Take over the ``KDLAB_`` variables of the owner, and end with it: nobody would collect what this worker makes.

    The worker's parent is no help in either: that is the fork server, which may be older than the variables and may
    outlive the owner.
    """
    for name in [name for name in os.environ if name.startswith("KDLAB_")]:
        del os.environ[name]
    os.environ.update(places)
    process = psutil.Process(owner)

    def watch():
        while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
