"""Work in several processes, by loky, and how far it is: a bar for people, plain lines for logs.

Processes start afresh, a killed one is an error, and an interruption ends them.
"""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import loky

#: Printed where a widget would stand, above the static picture that is always drawn.
STILL = "Run this cell in JupyterLab for sliders; the next picture is one position of them."


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


def headless() -> bool:
    """True where nobody watches: ``KDLAB_HEADLESS`` is set (as notebook runners do), or output is no terminal."""
    if os.environ.get("KDLAB_HEADLESS") in ("1", "quiet"):
        return True
    return "ipykernel" not in sys.modules and not sys.stderr.isatty()


def track(items: Iterable, what: str, total: int | None = None) -> Iterator:
    """Yield ``items`` under a bar named ``what``; when headless, print a line about every ten seconds.

    ``KDLAB_HEADLESS=quiet`` prints nothing: so the workers of a pool, whose owner shows how far they are.
    """
    if os.environ.get("KDLAB_HEADLESS") == "quiet":
        yield from items
        return
    total = len(items) if total is None and hasattr(items, "__len__") else total
    if not headless():
        from tqdm.auto import tqdm

        yield from tqdm(items, desc=what, total=total, leave=False)
        return
    start = last = time.monotonic()
    for done, item in enumerate(items):
        now = time.monotonic()
        if now - last >= 10 and done:
            left = f", about {(now - start) / done * (total - done):.0f} s left" if total else ""
            print(f"{what}: {done}{f' of {total}' if total else ''}{left}", flush=True)
            last = now
        yield item
