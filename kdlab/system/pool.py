"""Work in several processes, by loky: they start afresh, a killed one is an error, and an interruption ends them."""

import os
import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import loky


def available_cores() -> int:
    """Cores that this process may use, as its container and ``$LOKY_MAX_CPU_COUNT`` allow."""
    return loky.cpu_count()


@contextmanager
def pool(workers: int) -> Iterator[loky.ProcessPoolExecutor]:
    """An executor with ``workers`` processes, which an error and Ctrl-C end at once."""
    executor = loky.ProcessPoolExecutor(workers, initializer=_begin)
    try:
        yield executor
    except BaseException:
        executor.shutdown(kill_workers=True)
        raise
    executor.shutdown()


def each(work: Callable, *columns: Iterable, workers: int | None = None, chunk: int = 1) -> Iterator:
    """What ``work`` gives for each row of ``columns``, in their order, as it comes; of one row, or on one core, it is
    done in this process."""
    rows = list(zip(*columns, strict=False))
    workers = min(len(rows), workers or available_cores())
    if workers < 2:
        yield from (work(*row) for row in rows)
        return
    with pool(workers) as executor:
        yield from executor.map(work, *zip(*rows, strict=True), chunksize=chunk)


def _begin() -> None:
    """A worker leaves Ctrl-C to the process that started it, shows no progress, and starts no workers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ |= {"LOKY_MAX_CPU_COUNT": "1", "KDLAB_HEADLESS": "quiet"}
