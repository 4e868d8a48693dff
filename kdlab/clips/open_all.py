"""Opening every clip before a training: on all cores, with each bad file named, and with the frame cache filled."""

import os
import pickle
import time
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from dataclasses import replace
from itertools import repeat
from multiprocessing import parent_process

import cv2
import torch

from kdlab.clips.catalogue import ClipRecord
from kdlab.clips.decode import DamagedClip
from kdlab.clips.views import ClipBatches, TooShort, UnusableClips
from kdlab.system.processes import available_cores, pool
from kdlab.system.progress import track


def open_all(parts: Sequence[ClipBatches], what: str = "opening clips", patience: float = 5.0) -> None:
    """Open every clip of ``parts`` once, under each of their views, so that a bad file is named before any training.

    Raises :class:`DamagedClip`, :class:`TooShort` or FileNotFoundError for one bad clip, :class:`UnusableClips` for
    several, in the order of the parts. ``what`` names the bar.
    """
    if bad := unusable(parts, what, patience):
        raise bad[0] if len(bad) == 1 else UnusableClips(bad)


def unusable(parts: Sequence[ClipBatches], what: str = "opening clips", patience: float = 5.0) -> list[Exception]:
    """What ``open_all`` would raise, one error a clip. Fills the cache.

    Clips that are in the cache are opened in no time, so this process begins alone; where the rest would take it more
    than ``patience`` seconds, all cores help. A worker of a pool goes on alone, since its like have the other cores,
    and so does a process whose views no other can import (they stand in a notebook).
    """
    jobs = [(clips, record) for clips in parts
            for record in {(r.path, r.start, r.end): r for r in clips.records}.values()]
    return [error for error in track(_opened(jobs, patience), what, len(jobs)) if error]


def _opened(jobs: list[tuple[ClipBatches, ClipRecord]], patience: float) -> Iterator[Exception | None]:
    alone = parent_process() is not None or available_cores() == 1
    for number, job in enumerate(jobs, 1):
        began = time.monotonic()
        error = opened_under(*job)
        left = (time.monotonic() - began) * (len(jobs) - number)
        yield error
        if left > patience and not alone:
            yield from _on_all_cores(jobs[number:])
            return


def opened_under(clips: ClipBatches, record: ClipRecord) -> Exception | None:
    """Open one clip under every view, and look at it as an evaluation does; what is wrong with it."""
    one = replace(clips, records=(record,))  # with the same cache
    try:
        one.check()
        next(iter(one.evaluation()))
    except (DamagedClip, TooShort, FileNotFoundError) as error:
        return error


def kept(clips: ClipBatches, records: Sequence[ClipRecord]) -> tuple[Exception | None, str]:
    """Read sound clips into the cache of ``clips``: what is wrong with one all the same, and why none can be kept."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", RuntimeWarning)
        for record in records:
            if not clips.cache._stopped and (error := opened_under(clips, record)):
                return error, ""
    return None, next((str(warning.message) for warning in caught if warning.category is RuntimeWarning), "")


def _on_all_cores(jobs: list[tuple[ClipBatches, ClipRecord]]) -> Iterator[Exception | None]:
    workers = min(available_cores(), len(jobs))
    with ExitStack() as stack:
        try:
            packed = [pickle.dumps(replace(clips, records=(record,))) for clips, record in jobs]
            processes = stack.enter_context(pool(workers, preload=[__name__]))
            found = processes.map(_open, packed, chunksize=max(1, min(16, len(jobs) // (8 * workers))))
        except (pickle.PicklingError, AttributeError, TypeError, SystemExit):  # the last: a script without a main guard
            found = repeat("again")
        try:
            for job in jobs:
                error = next(found)
                yield opened_under(*job) if error == "again" else error
        except BrokenProcessPool as error:
            raise ChildProcessError(f"a process was killed while it opened {job[1].path} or a clip near it. Out of "
                                    "memory? Then make the clips smaller. The same call goes on from there.") from error


def _open(packed: bytes) -> Exception | str | None:
    """What is wrong with a clip, or "again" where the owner should see for itself."""
    os.environ["KDLAB_HEADLESS"] = "quiet"  # the owner shows how far it is
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    try:  # a view of the owner's own, which only the owner has; not every error survives the way between processes
        clips = pickle.loads(packed)
        return opened_under(clips, clips.records[0])
    except Exception:
        return "again"
