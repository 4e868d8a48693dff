"""Progress for people (a bar) and for logs (plain lines), from one call."""

import os
import sys
import time
from collections.abc import Iterable, Iterator

#: Printed where a widget would stand, above the static picture that is always drawn.
STILL = "Run this cell in JupyterLab for sliders; the next picture is one position of them."


def headless() -> bool:
    """True where nobody watches: ``KDLAB_HEADLESS`` is set (as notebook runners do), or output is no terminal."""
    if os.environ.get("KDLAB_HEADLESS") in ("1", "quiet"):
        return True
    return "ipykernel" not in sys.modules and not sys.stderr.isatty()


def track(items: Iterable, what: str, total: int | None = None, every: float = 10.0) -> Iterator:
    """Yield ``items`` under a bar named ``what``; when headless, print a line about every ``every`` seconds.

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
        if now - last >= every and done:
            left = f", about {(now - start) / done * (total - done):.0f} s left" if total else ""
            print(f"{what}: {done}{f' of {total}' if total else ''}{left}", flush=True)
            last = now
        yield item
