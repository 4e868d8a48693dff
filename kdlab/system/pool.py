"""Process pools (loky) and progress: a bar on a screen, plain lines in a log.

Workers start as fresh processes. A killed worker raises an error, and an interruption ends all workers.
"""

import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import loky
import tqdm.auto


def available_cores() -> int:
    """Number of cores that this process may use, limited by its container and ``$LOKY_MAX_CPU_COUNT``."""
    return loky.cpu_count()


@contextmanager
def pool(workers: int) -> Iterator[loky.ProcessPoolExecutor]:
    """An executor with ``workers`` processes. An error or Ctrl-C ends them at once."""
    executor = loky.ProcessPoolExecutor(workers, initializer=_begin)
    try:
        yield executor
    except BaseException:
        executor.shutdown(kill_workers=True)
        raise
    executor.shutdown()


def each(
    work: Callable, *columns: Iterable, workers: int | None = None, chunk: int = 1
) -> Iterator:
    """Yield ``work(*row)`` for each row of ``columns``, in order, computed by a pool of ``workers`` processes.

    With one row or one core, this process does the work.
    """
    rows = list(zip(*columns, strict=False))
    workers = min(len(rows), workers or available_cores())
    if workers < 2:
        yield from (work(*row) for row in rows)
        return
    with pool(workers) as executor:
        yield from executor.map(work, *zip(*rows, strict=True), chunksize=chunk)


def _begin() -> None:
    """Initialise a worker: it ignores Ctrl-C, which its parent handles, shows no progress, and starts no workers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ |= {"LOKY_MAX_CPU_COUNT": "1", "KDLAB_HEADLESS": "quiet"}


def headless() -> bool:
    """True if nobody watches: ``KDLAB_HEADLESS`` is set, as by notebook runners, or the output is no terminal."""
    if os.environ.get("KDLAB_HEADLESS") in ("1", "quiet"):
        return True
    return "ipykernel" not in sys.modules and not sys.stderr.isatty()


def track(items: Iterable, what: str, total: int | None = None) -> Iterable:
    """``items`` under a bar of tqdm named ``what``; when headless, a line about every ten seconds.

    ``KDLAB_HEADLESS=quiet`` prints nothing. The workers of a pool use it, because their parent shows the progress.
    """
    how = dict(
        desc=what, total=total, leave=False, disable=os.environ.get("KDLAB_HEADLESS") == "quiet"
    )
    if headless():
        line = "{desc}: {n_fmt} of {total_fmt}, about {remaining} left\n"
        return tqdm.std.tqdm(
            items, **how, bar_format=line, delay=10, mininterval=10, file=sys.stdout
        )
    return tqdm.auto.tqdm(items, **how)
